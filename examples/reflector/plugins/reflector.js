// A box receiver: whole boxes instead of commands. Every one goes back.
import * as amp from "amphost";

amp.boxReceiver("reflect", (sender) => ({
  ampBoxReceived: (box) => sender.sendBox(box),
  stopReceivingBoxes: (reason) => console.log("stopped:", reason.message),
}));
