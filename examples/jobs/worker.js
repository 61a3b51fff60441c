// Takes jobs until none is waiting. One whose payload is "hard" succeeds the second time.
import * as amp from "amphost";

class Empty extends Error {}

const Take = new amp.Command("Take", {
  arguments: { lease: amp.Float() },
  response: { id: amp.Integer(), attempt: amp.Integer(), payload: amp.String() },
  errors: { EMPTY: Empty },
});
const held = { arguments: { id: amp.Integer(), attempt: amp.Integer() } };
const Done = new amp.Command("Done", held);
const Retry = new amp.Command("Retry", held);

amp.onLoad(async () => {
  const queue = await amp.connect(`tcp://${amp.args[0]}`);
  try {
    for (;;) {
      const { id, attempt, payload } = await queue.callRemote(Take, { lease: 60 });
      if (payload.toString() === "hard" && attempt === 1) {
        console.log(`job ${id} failed, once more`);
        await queue.callRemote(Retry, { id, attempt });
        continue;
      }
      console.log(`job ${id}: ${payload} (attempt ${attempt})`);
      await queue.callRemote(Done, { id, attempt });
    }
  } catch (e) {
    if (!(e instanceof Empty)) throw e;
    console.log(e.message);
  }
  queue.loseConnection();
});
