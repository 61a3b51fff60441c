// Joins a room. With words to say it says them and leaves, without it listens.
import * as amp from "amphost";

const Join = new amp.Command("Join", {
  arguments: { room: amp.Unicode(), name: amp.Unicode() },
  response: { others: amp.ListOf(amp.Unicode()) },
});
const Say = new amp.Command("Say", { arguments: { room: amp.Unicode(), text: amp.Unicode() } });
const Heard = new amp.Command("Heard", {
  arguments: { room: amp.Unicode(), name: amp.Unicode(), text: amp.Unicode() },
  requiresAnswer: false,
});

Heard.responder(({ name, text }) => console.log(`${name}: ${text}`));

amp.onLoad(async () => {
  const [address, room, name, ...texts] = amp.args;
  const server = await amp.connect(`tcp://${address}`);
  const { others } = await server.callRemote(Join, { room, name });
  console.log(`in ${room} with ${others.join(", ") || "nobody"}`);
  for (const text of texts) await server.callRemote(Say, { room, text });
  if (texts.length > 0) server.loseConnection();
});
