// What no plugin answers yet, the old server does. Boxes go through as they are.
import * as amp from "amphost";

/** @type {{ server: string, commands: string[] }} */
const { server, commands } = amp.plugin.config;
const forwarded = new Map(commands.map((name) => [name, new amp.Command(name, { arguments: amp.Box, response: amp.Box })]));

/** @type {amp.Peer} */
let old;
amp.onLoad(async () => {
  old = await amp.connect(`tcp://${server}`, { reconnect: true });
});

amp.unhandled(async (name, box) => {
  const command = forwarded.get(name);
  if (!command) return undefined; // nobody answers it
  try {
    return await old.callRemote(command, box);
  } catch (e) {
    // An error of the old server is the caller's business, not a mistake here.
    if (e instanceof amp.RemoteAmpError) throw new amp.RemoteAmpError(e.code, e.description);
    throw e;
  }
});
