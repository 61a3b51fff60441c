// What the program measures, in words that can be changed while it runs.
import * as amp from "amphost";

const Temperature = new amp.Command("Temperature", {
  arguments: { place: amp.Unicode() },
  response: { celsius: amp.Float() },
});

const Describe = new amp.Command("Describe", {
  arguments: { place: amp.Unicode() },
  response: { text: amp.Unicode(), asked: amp.Integer() },
});

Describe.responder(async ({ place }) => {
  const { celsius } = await amp.call(Temperature, { place });
  const asked = await amp.store.update((tx) => tx.counter(place).next());
  return { text: `It is ${celsius < 15 ? "cold" : "warm"} in the ${place}.`, asked };
});
