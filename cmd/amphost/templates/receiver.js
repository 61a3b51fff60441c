// Takes whole connections, box by box, instead of commands: those of a listener
// that names it, as in
//
//   amphost serve --listen example=127.0.0.1:8751
import * as amp from "amphost";

amp.boxReceiver("example", (sender) => {
  console.log("open:", sender.peer.remoteAddress);
  let received = 0;
  return {
    ampBoxReceived(box) {
      received++;
      sender.sendBox({ ...box, received: `${received}` });
    },
    stopReceivingBoxes(reason) {
      console.log("closed:", reason.message);
    },
  };
});
