// Sends boxes to a reflector and shows what comes back. It makes and reads the
// bytes itself, so that any box can be sent: commands are boxes with certain keys.
import * as amp from "amphost";

const boxes = [{ hello: "world" }, {}, { _answer: "7", empty: "" }];

/** @type {(text: string) => Buffer} */
function counted(text) {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** @type {(box: object) => Buffer} */
const encode = (box) => Buffer.concat([...Object.entries(box).flat().map(counted), Buffer.alloc(2)]);

let received = Buffer.alloc(0);
let count = 0;

/** @type {(transport: amp.Transport, data: Buffer) => void} */
function dataReceived(transport, data) {
  received = Buffer.concat([received, data]);
  for (;;) {
    /** @type {string[]} */
    const words = [];
    let at = 0;
    for (;;) {
      if (received.length < at + 2) return; // more will come
      const length = received.readUInt16BE(at);
      at += 2;
      if (length === 0 && words.length % 2 === 0) break;
      if (received.length < at + length) return;
      words.push(received.toString("utf8", at, at + length));
      at += length;
    }
    received = received.subarray(at);
    const box = Object.fromEntries(Array.from({ length: words.length / 2 }, (_, i) => words.slice(2 * i, 2 * i + 2)));
    console.log("received:", box);
    if (++count === boxes.length) transport.loseConnection();
  }
}

amp.onLoad(async () => {
  const transport = await amp.dial(`tcp://${amp.args[0] ?? "127.0.0.1:8750"}`, (transport) => ({
    dataReceived: (data) => dataReceived(transport, data),
  }));
  for (const box of boxes) await transport.write(encode(box));
});
