// Counts down, a second apart, and ends.
import * as amp from "amphost";

const second = Number(amp.args[0] ?? 1) * 1000;
let counter = 5;

console.log("Start!");
const timer = setInterval(() => {
  if (counter > 0) return console.log(counter--);
  console.log("Stop!");
  clearInterval(timer);
}, second);
