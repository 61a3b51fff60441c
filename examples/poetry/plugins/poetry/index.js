// Slow poetry: a raw protocol for each poem, on a listener of its own (--listen
// goethe=127.0.0.1:10000) or by a switch from AMP. [plugins.poetry] in
// amphost.toml has the pace.
import * as amp from "amphost";
import { poem, poems } from "./poems.js";
import { recite } from "./recite.js";

for (const name of Object.keys(amp.plugin.config)) poem(name); // a clear error, if there is none
for (const name of Object.keys(poems)) {
  const { "num-bytes": numBytes = 10, delay = 0.1 } = amp.plugin.config[name] ?? {};
  if (!(numBytes >= 1) || !(delay >= 0)) throw new Error(`[plugins.poetry.${name}]: num-bytes must be 1 at least, and delay not negative`);
  amp.protocol(name, (transport) => recite(transport, poem(name), numBytes, delay));
}

class NoSuchPoem extends Error {}

const Recite = new amp.ProtocolSwitchCommand("Recite", {
  arguments: { poem: amp.Unicode() },
  errors: { NO_SUCH_POEM: NoSuchPoem },
});
Recite.responder(({ poem: name }) => {
  if (!Object.hasOwn(poems, name)) throw new NoSuchPoem(name); // AMP goes on
  return name;
});
