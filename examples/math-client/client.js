// Calls a server now and then, over a connection that comes back by itself.
import * as amp from "amphost";

const Sum = new amp.Command("Sum", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer() },
});

const [address = "127.0.0.1:1234", second = "1"] = amp.args;

/** @type {(ms: number) => Promise<void>} */
const until = (ms) => new Promise((resolve) => setTimeout(resolve, ms - performance.now()));

amp.onLoad(async () => {
  // The connection is there before it is used. When it is lost it is made again,
  // and a call waits for that.
  const server = await amp.connect(`tcp://${address}`, { reconnect: true });
  const start = performance.now();
  for (const s of [1, 3, 6, 9, 12, 15, 18]) {
    await until(start + s * Number(second) * 1000);
    const { total } = await server.callRemote(Sum, { a: 1, b: 5 });
    console.log(`{'total': ${total}}`);
  }
  server.loseConnection();
});
