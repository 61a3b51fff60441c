// Count to nine together: either side calls the other over the same connection.
import * as amp from "amphost";

const Count = new amp.Command("Count", {
  arguments: { n: amp.Integer() },
  response: { ok: amp.Boolean() },
});

Count.responder(({ n }, peer) => {
  console.log("received:", n);
  if (n + 1 < 10) {
    console.log("sending:", n + 1);
    // Not awaited: the answer to this call does not wait for the next one.
    peer.callRemote(Count, { n: n + 1 }).catch((e) => console.warn("call failed:", e.message));
  }
  return { ok: true };
});

amp.onConnect((peer) => console.log(`connection established: ${peer.remoteAddress} to ${peer.localAddress}`));
amp.onDisconnect((peer, reason) => console.log(`connection lost: ${peer.remoteAddress} to ${peer.localAddress}: ${reason.message}`));
