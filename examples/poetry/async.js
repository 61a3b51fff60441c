// Gets poems all at once: it takes as long as the slowest.
import * as amp from "amphost";
import { elapsed, getPoem } from "./get.js";

amp.onLoad(async () => {
  const start = performance.now();
  const poems = await Promise.allSettled(
    amp.args.map((address, i) => getPoem(address, (bytes) => console.log(`Task ${i + 1}: got ${bytes} bytes of poetry from ${address}`))),
  );
  let got = 0;
  for (const [i, poem] of poems.entries()) {
    if (poem.status === "fulfilled") {
      console.log(`Task ${i + 1}: ${poem.value.bytes} bytes of poetry`);
      got++;
    } else console.log(`Task ${i + 1}: Poem failed: ${poem.reason.message}`);
  }
  console.log(`Got ${got} poems in ${elapsed(performance.now() - start)}`);
});
