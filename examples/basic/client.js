// Connects, says so and disconnects. Who can't connect says that, and fails.
import * as amp from "amphost";

amp.onLoad(async () => {
  try {
    const peer = await amp.connect(`tcp://${amp.args[0] ?? "127.0.0.1:8750"}`);
    console.log("connected to", peer.remoteAddress);
    peer.loseConnection();
    console.log("disconnected");
  } catch (e) {
    console.error("could not connect:", /** @type {Error} */ (e).message);
    amp.exit(1);
  }
});
