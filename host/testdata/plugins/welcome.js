import * as amp from "amphost";

const Greet = new amp.Command("Greet", { arguments: { name: amp.Unicode() }, response: { text: amp.Unicode() } });
const Welcome = new amp.Command("Welcome", { arguments: { name: amp.Unicode() }, response: { text: amp.Unicode() } });

Welcome.responder(async ({ name }) => {
  const { text } = await amp.call(Greet, { name });
  return { text: `${text}, and welcome` };
});
