// What must not compile. Each directive names the codes that its line may fail
// with, which differ between versions of TypeScript, and in quotes what the
// message has to mention.
import * as amp from "amphost";

const Sum = new amp.Command("Sum", {
  arguments: { a: amp.Integer(), b: amp.Integer() },
  response: { total: amp.Integer(), note: amp.Unicode({ optional: true }) },
});
const Bytes = new amp.Command("Bytes", { response: { data: amp.String() } });
const Maybe = new amp.Command("Maybe", { arguments: { n: amp.Integer({ optional: true }) } });
const Switch = new amp.ProtocolSwitchCommand("Switch", { arguments: { to: amp.Unicode() } });

// Declarations.
// @ts-expect-error TS2322: a type is called, 'ArgumentType<any, any, boolean>'
new amp.Command("X", { arguments: { a: amp.Integer } });
// @ts-expect-error TS2561: an option that is spelt wrong, 'argument'
new amp.Command("X", { argument: { a: amp.Integer() } });
// @ts-expect-error TS2345: a name is a 'string'
new amp.Command(5);
// @ts-expect-error TS2322: an error is a class, 'ErrorClass'
new amp.Command("X", { errors: { GONE: "Gone" } });
// @ts-expect-error TS2322: whether it wants an answer is a 'boolean'
new amp.Command("X", { requiresAnswer: "no" });
// @ts-expect-error TS2353: only an Integer can be a 'bigint'
amp.Float({ bigint: true });
// @ts-expect-error TS2322: whether it is optional is a 'boolean'
amp.Integer({ optional: "yes" });
// @ts-expect-error TS2345: an element is not optional, 'ArgumentType<number, number | bigint, true>'
amp.ListOf(amp.Integer({ optional: true }));
// @ts-expect-error TS2345: a list holds no AmpList, 'fields'
amp.ListOf(amp.AmpList({ x: amp.Integer() }));
// @ts-expect-error TS2353: a list is of one type, 'x'
amp.ListOf({ x: amp.Integer() });
// @ts-expect-error TS2353: a switch has no 'response'
new amp.ProtocolSwitchCommand("X", { response: { a: amp.Integer() } });

// Responders.
// @ts-expect-error TS2322: a key of the response is missing, '{ sum: number; }' 'total: number | bigint'
Sum.responder(({ a, b }) => ({ sum: a + b }));
// @ts-expect-error TS2322: a key of the response is no 'string' but 'number | bigint'
Sum.responder(({ a, b }) => ({ total: `${a + b}` }));
// @ts-expect-error TS2322: nor is it by promise, 'Promise<{ total: string; }>' 'number | bigint'
Sum.responder(async ({ a, b }) => ({ total: `${a + b}` }));
// @ts-expect-error TS2345: nothing is returned, 'void'
Sum.responder(() => {});
// @ts-expect-error TS2345: nothing is returned by promise, 'Promise<void>'
Sum.responder(async () => {});
// @ts-expect-error TS2322: an optional key is no 'number' but a 'string'
Sum.responder(() => ({ total: 1, note: 2 }));
// @ts-expect-error TS2322: a key of the last answer is missing, 'total: number | bigint'
Sum.responder(() => new amp.QuitBox({}));
// @ts-expect-error TS2339: there is no such argument, 'c'
Sum.responder(({ c }) => ({ total: c }));
// @ts-expect-error TS2339: an argument is a 'number'
Sum.responder(({ a }) => ({ total: a.length }));
// @ts-expect-error TS2322: a number is no 'Bytes'
Bytes.responder(() => ({ data: 5 }));
// @ts-expect-error TS18048: an optional argument may be 'undefined'
Maybe.responder(({ n }) => console.log(n + 1));
// @ts-expect-error TS2322|TS2345: a response is an 'object'
Maybe.responder(() => 5);
// @ts-expect-error TS2322: a switch answers with a protocol's name, a 'string | Promise<string>'
Switch.responder(() => ({ to: "x" }));

amp.onConnect(async (peer) => {
  // Calls.
  // @ts-expect-error TS2345|TS2741: an argument is missing, 'b'
  await peer.callRemote(Sum, { a: 1 });
  // @ts-expect-error TS2322: an argument is no 'string' but 'number | bigint'
  await peer.callRemote(Sum, { a: 1, b: "2" });
  // @ts-expect-error TS2353: there is no such argument, 'c'
  await peer.callRemote(Sum, { a: 1, b: 2, c: 3 });
  // @ts-expect-error TS2554: there are no arguments, 'Expected 2-3 arguments'
  await peer.callRemote(Sum);
  // @ts-expect-error TS2353|TS2561|TS2769: there is no such option, 'timeOut'
  await peer.callRemote(Sum, { a: 1, b: 2 }, { timeOut: 5 });
  // @ts-expect-error TS2339: there is no such key in the answer, 'sum'
  (await peer.callRemote(Sum, { a: 1, b: 2 })).sum;
  // @ts-expect-error TS2322: a key of the answer is a 'number'
  const text: string = (await peer.callRemote(Sum, { a: 1, b: 2 })).total;
  // @ts-expect-error TS2339: the promise is not waited for, 'Promise<{ total: number; note: string | undefined; }>'
  peer.callRemote(Sum, { a: 1, b: 2 }).total;
  // @ts-expect-error TS2345|TS2769: a peer's command has to be declared, 'Command<Shape, Shape, boolean>'
  await peer.callRemote("Sum", { a: 1, b: 2 });
  // @ts-expect-error TS2345: a switch names its protocol, 'ProtocolSwitchCommand<'
  await peer.callRemote(Switch, { to: "x" });
  // @ts-expect-error TS2345: nobody here answers it, '"Smu"' 'keyof Commands'
  await amp.call("Smu", { a: 1, b: 2 });
  // @ts-expect-error TS2345|TS2741: an argument is missing, 'b'
  await amp.call("Sum", { a: 1 });
  // @ts-expect-error TS2339: there is no such key in the answer, 'sum'
  (await amp.call("Sum", { a: 1, b: 2 })).sum;
  // @ts-expect-error TS2540: an identity is given with authenticate, 'identity'
  peer.identity = "ada";
  // @ts-expect-error TS2339: a state of one's own has its type, 'name'
  amp.peerState(() => ({ user: "" }))(peer).name;
  // @ts-expect-error TS18047: there may be no TLS, 'null'
  peer.tls.cipher;
});

// The store.
// @ts-expect-error TS2345: an async body, 'must not be async'
amp.store.update(async (tx) => { tx.put("a", 1); });
// @ts-expect-error TS2322: a body that returns a promise, 'must not be async'
amp.store.update((tx) => amp.store.update((tx) => 1));
// @ts-expect-error TS2322: an async body, 'must not be async'
amp.store.view(async (tx) => tx.get("a"));
// @ts-expect-error TS2345: a function can't be kept, 'never'
amp.store.update((tx) => tx.put("a", () => 1));
// @ts-expect-error TS2322: nor can a map, 'Map<any, any>'
amp.store.update((tx) => tx.put("a", { seen: new Map() }));
// @ts-expect-error TS2345: nor can nothing, 'undefined'
amp.store.update((tx) => tx.put("a", undefined));
// @ts-expect-error TS2345: a key is a 'string'
amp.store.update((tx) => tx.get(1));
// @ts-expect-error TS2353: there is no such option, 'from'
amp.store.view((tx) => [...tx.scan({ from: "a" })]);
// @ts-expect-error TS2540: a counter is changed by next and add, 'value'
amp.store.update((tx) => { tx.counter("a").value = 5; });

// The rest.
// @ts-expect-error TS2561: a setting that is spelt wrong, 'deadLine'
export const plugin: amp.PluginSettings = { deadLine: "1s" };
// @ts-expect-error TS2322: a setting is a 'number'
export const settings: amp.PluginSettings = { workers: "4" };
// @ts-expect-error TS2551: a name that is spelt wrong, 'onConnect'
amp.onconnect(() => {});
// @ts-expect-error TS2542: arguments are not assigned, 'only permits reading'
amp.args[0] = "x";
// @ts-expect-error TS2322: a handler is a function, 'number'
amp.protocol("p", () => ({ dataReceived: 1 }));
// @ts-expect-error TS2304|TS2580|TS2591: Node's globals are not here, 'process'
process.exit(1);
// @ts-expect-error TS2307|TS2591: nor are its modules, 'node:fs'
import fs from "node:fs";
// @ts-expect-error TS2584|TS2304: nor is a browser, 'document'
document.title;
