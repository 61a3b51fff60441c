// One poem over AMP: Recite turns the connection into the poem's stream. Its words
// are those of a program; the plugin beside it takes its own from amphost.toml.
import * as amp from "amphost";
import { poem } from "./plugins/poetry/poems.js";
import { recite } from "./plugins/poetry/recite.js";

/** @type {(why: string) => never} */
function usage(why) {
  console.error(`${why}\nusage: server.js [--iface ADDRESS] [--port N] [--num-bytes N] [--delay SECONDS] POEM`);
  amp.exit(2);
}

/** @type {Record<string, string>} */
const options = { iface: "127.0.0.1", port: "10000", "num-bytes": "10", delay: "0.1" };
/** @type {string[]} */
const names = [];
const words = [...amp.args];
for (let word = words.shift(); word !== undefined; word = words.shift()) {
  const [, option, value] = /^--([^=]+)=?(.*)$/.exec(word) ?? [];
  if (option === undefined) names.push(word);
  else if (!Object.hasOwn(options, option)) usage(`there is no option --${option}`);
  else options[option] = word.includes("=") ? value : words.shift() ?? "";
}
if (names.length !== 1) usage("one poem, please");
const numBytes = Number(options["num-bytes"]);
const delay = Number(options.delay);
if (!(numBytes >= 1) || !(delay >= 0)) usage("--num-bytes is 1 at least, --delay not negative");
let text = "";
try {
  text = poem(names[0]);
} catch (e) {
  usage(/** @type {Error} */ (e).message);
}

amp.protocol("poem", (transport) => recite(transport, text, numBytes, delay));
const Recite = new amp.ProtocolSwitchCommand("Recite");
Recite.responder(() => "poem");

amp.onLoad(async () => {
  const { address } = await amp.listen(`tcp://${options.iface}:${options.port}`);
  console.log("listening on", address);
});
