// A server without commands: each is answered with UNHANDLED, StartTLS aside.
import * as amp from "amphost";

amp.onConnect((peer) => console.log("connected:", peer.remoteAddress));
amp.onDisconnect((peer, reason) => console.log(`disconnected: ${peer.remoteAddress}: ${reason.message}`));

amp.onLoad(async () => {
  const { address } = await amp.listen(`tcp://${amp.args[0] ?? "127.0.0.1:8750"}`);
  console.log("listening on", address);
});
