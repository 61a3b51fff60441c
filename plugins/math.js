// Sum and Divide: arguments, an answer, and an error that the caller can name.
import * as amp from "amphost";

class ZeroDivisionError extends Error {}

const Sum = new amp.Command("Sum", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer() },
});

const Divide = new amp.Command("Divide", {
  arguments: { numerator: amp.Integer(), denominator: amp.Integer() },
  response: { result: amp.Float() },
  errors: { ZERO_DIVISION: ZeroDivisionError },
});

Sum.responder(({ a, b }) => {
  const total = a + b;
  console.log("Did a sum: %d + %d = %d", a, b, total);
  return { total };
});

Divide.responder(({ numerator, denominator }) => {
  if (denominator === 0) throw new ZeroDivisionError("division by zero");
  const result = numerator / denominator;
  console.log("Divided: %d / %d = %d", numerator, denominator, result);
  return { result };
});
