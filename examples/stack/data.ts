// The same in a data callback, in TypeScript, and of an error after an await.
import * as amp from "amphost";

interface Poem {
  lines?: string[];
}

async function firstLine(poem: Poem): Promise<string> {
  await null;
  return poem.lines![0];
}

amp.protocol("server", (transport) => {
  transport.write("hello");
  transport.loseConnection();
});

amp.protocol("client", () => ({
  async dataReceived(data: Buffer) {
    console.trace(`The stack of a data callback, with "${data}":`);
    await firstLine({});
  },
}));

// A connection that speaks AMP, and then no more.
const Switch = new amp.ProtocolSwitchCommand("Switch");
Switch.responder(() => "server");

amp.onLoad(async () => {
  const listener = await amp.listen("tcp://127.0.0.1:0");
  const peer = await amp.connect(listener.address);
  await peer.callRemote(Switch, {}, { protocol: "client" });
  await listener.close();
});
