// Asks another plugin of the same host: in the process, without a connection.
import * as amp from "amphost";

const Shout = new amp.Command("Shout", {
  arguments: { text: amp.Unicode() },
  response: { text: amp.Unicode() },
});

const Greet = new amp.Command("Greet", {
  arguments: { name: amp.Unicode() },
  response: { text: amp.Unicode() },
});
Greet.responder(({ name }) => amp.call(Shout, { text: `hello, ${name}` }));
