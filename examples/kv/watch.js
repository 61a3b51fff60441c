// Shows the keys with a prefix: what is there, then what changes.
import * as amp from "amphost";

const Watch = new amp.Command("Watch", {
  arguments: { prefix: amp.Unicode() },
  response: { version: amp.Integer() },
});
const Changed = new amp.Command("Changed", {
  arguments: { key: amp.Unicode(), value: amp.String(), version: amp.Integer() },
  requiresAnswer: false,
});
Changed.responder(({ key, value, version }) => console.log(`${version}: ${key} = ${value}`));

amp.onLoad(async () => {
  const [address, prefix = ""] = amp.args;
  const server = await amp.connect(`tcp://${address}`);
  const { version } = await server.callRemote(Watch, { prefix });
  console.log(`that is all, as of version ${version}`);
});
