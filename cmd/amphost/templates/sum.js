// Adds two numbers.
import * as amp from "amphost";

const Example = new amp.Command("Example", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer() },
});

Example.responder(({ a, b }) => {
  const total = a + b;
  console.log(`${a} + ${b} = ${total}`);
  return { total };
});
