// The last command that has moved. Nothing is forwarded any more.
import * as amp from "amphost";

class ZeroDivisionError extends Error {}

const Divide = new amp.Command("Divide", {
  arguments: { numerator: amp.Integer(), denominator: amp.Integer() },
  response: { result: amp.Float() },
  errors: { ZERO_DIVISION: ZeroDivisionError },
});

Divide.responder(({ numerator, denominator }) => {
  if (denominator === 0) throw new ZeroDivisionError("division by zero");
  const result = numerator / denominator;
  console.log(`Divided: ${numerator} / ${denominator} = ${result}`);
  return { result };
});
