// Answers commands and knows nothing of the network: which connections they come
// by, and whether by any, is not its business.
import * as amp from "amphost";

const Shout = new amp.Command("Shout", {
  arguments: { text: amp.Unicode() },
  response: { text: amp.Unicode() },
});
Shout.responder(({ text }) => ({ text: text.toUpperCase() }));
