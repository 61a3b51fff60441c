// Counts down by calling its caller, over the connection that the call came on.
import * as amp from "amphost";

const Example = new amp.Command("Example", {
  arguments: { from: amp.Integer() },
  response: { heard: amp.Integer() },
});

// The caller answers this one.
const ExampleTick = new amp.Command("ExampleTick", {
  arguments: { left: amp.Integer() },
});

Example.responder(async ({ from }, peer) => {
  let heard = 0;
  try {
    for (let left = from; left > 0; left--) {
      await peer.callRemote(ExampleTick, { left }, { timeout: 5000 });
      heard++;
    }
  } catch (e) {
    if (!(e instanceof amp.UnhandledCommand)) throw e;
    console.warn("the caller does not answer ExampleTick");
  }
  return { heard };
});
