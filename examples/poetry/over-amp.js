// Asks for a poem over AMP, and gets it over what was an AMP connection.
import * as amp from "amphost";

const Recite = new amp.ProtocolSwitchCommand("Recite", { arguments: { poem: amp.Unicode({ optional: true }) } });

/** @type {Buffer[]} */
const chunks = [];
amp.protocol("poem", () => ({
  dataReceived: (data) => chunks.push(data),
  connectionLost: () => console.log(Buffer.concat(chunks).toString()),
}));

amp.onLoad(async () => {
  const [address, poem] = amp.args;
  const peer = await amp.connect(`tcp://${address}`);
  await peer.callRemote(Recite, { poem }, { protocol: "poem" });
});
