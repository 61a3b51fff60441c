// The first command that has moved.
import * as amp from "amphost";

const Sum = new amp.Command("Sum", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer() },
});

Sum.responder(({ a, b }) => {
  const total = a + b;
  console.log(`Did a sum: ${a} + ${b} = ${total}`);
  return { total };
});
