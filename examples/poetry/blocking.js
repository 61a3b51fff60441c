// Gets poems one after another.
import * as amp from "amphost";
import { elapsed, getPoem } from "./get.js";

amp.onLoad(async () => {
  const start = performance.now();
  let poems = 0;
  for (const [i, address] of amp.args.entries()) {
    console.log(`Task ${i + 1}: get poetry from: ${address}`);
    const began = performance.now();
    try {
      const { text, bytes } = await getPoem(address);
      console.log(text);
      console.log(`Task ${i + 1}: got ${bytes} bytes of poetry from ${address} in ${elapsed(performance.now() - began)}`);
      poems++;
    } catch (e) {
      console.log(`Task ${i + 1}: Poem failed: ${/** @type {Error} */ (e).message}`);
    }
  }
  console.log(`Got ${poems} poems in ${elapsed(performance.now() - start)}`);
});
