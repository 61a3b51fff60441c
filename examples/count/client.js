// Counts to nine with a server: either side calls the other over the same connection.
import * as amp from "amphost";

const Count = new amp.Command("Count", {
  arguments: { n: amp.Integer() },
  response: { ok: amp.Boolean() },
});

/** @type {(peer: amp.Peer, n: number) => Promise<void>} */
async function send(peer, n) {
  console.log("sending:", n);
  await peer.callRemote(Count, { n });
  if (n + 1 < 10) return;
  // Nobody has a call to make any more.
  console.log(`closing the connection: ${peer.localAddress} to ${peer.remoteAddress}`);
  peer.loseConnection();
}

Count.responder(({ n }, peer) => {
  console.log("received:", n);
  // Not awaited: the answer to this call does not wait for the next one. What
  // nobody catches ends the program.
  if (n + 1 < 10) send(peer, n + 1);
  return { ok: true };
});

amp.onLoad(async () => {
  const peer = await amp.connect(`tcp://${amp.args[0] ?? "127.0.0.1:8750"}`);
  console.log(`connection established: ${peer.localAddress} to ${peer.remoteAddress}`);
  await send(peer, 1);
});
