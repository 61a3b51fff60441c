// What is guarded knows nothing of how: it finds who has logged in.
import * as amp from "amphost";

const Greet = new amp.Command("Greet", { response: { text: amp.Unicode() } });
Greet.responder((_, peer) => ({ text: `Hello, ${peer.identity.user}!` }));
