// What must compile, and the types that come of it.
import * as amp from "amphost";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** is<A, B>(true) compiles if A and B are the same type. */
const is = <A, B>(_: Equal<A, B>) => {};

class Gone extends Error {}
class Taken extends Error {
  constructor(readonly owner: { name: string }) { super(`taken by ${owner.name}`); }
}

// Every type of argument, both ways.
const All = new amp.Command("All", {
  arguments: {
    integer: amp.Integer(), big: amp.Integer({ bigint: true }), maybe: amp.Integer({ optional: true }),
    float: amp.Float(), boolean: amp.Boolean(), unicode: amp.Unicode(), string: amp.String(), decimal: amp.Decimal(),
    time: amp.DateTime(), path: amp.Path(), list: amp.ListOf(amp.Integer()), lists: amp.ListOf(amp.ListOf(amp.Unicode())),
    objects: amp.AmpList({ x: amp.Unicode(), y: amp.Float({ optional: true }) }, { optional: true }),
  },
  response: { n: amp.Integer(), o: amp.String({ optional: true }) },
  errors: { GONE: Gone },
  fatalErrors: { TAKEN: Taken },
});
const all = {
  integer: 1, big: 2n, float: 0.5, boolean: true, unicode: "", string: "text", decimal: "1.10",
  time: new Date(), path: "/", list: [1, 2n], lists: [["a"]],
} as const;
All.responder((args, peer) => {
  is<typeof args, {
    integer: number; big: bigint; maybe: number | undefined;
    float: number; boolean: boolean; unicode: string; string: Buffer; decimal: string;
    time: amp.DateTimeValue; path: string; list: number[]; lists: string[][];
    objects: { x: string; y: number | undefined }[] | undefined;
  }>(true);
  is<typeof peer, amp.Peer>(true);
  return { n: 1n };
});

// Every way to answer.
All.responder(() => ({ n: 1, o: "text" }));
All.responder(() => ({ n: 1, o: new Uint8Array(3), surplus: "is dropped" }));
All.responder(async () => ({ n: 1, o: undefined }));
All.responder(() => new amp.QuitBox({ n: 1 }));
All.responder(async () => (Math.random() > 0.5 ? new amp.QuitBox({ n: 1 }) : { n: 2 }));
All.responder(() => { throw new Taken({ name: "ada" }); });
All.responder(() => { throw new amp.RemoteAmpError("BUSY", "later", { fatal: true }); });
All.responder(() => amp.store.update((tx) => ({ n: tx.counter("n").next() })));
const None = new amp.Command("None");
None.responder(() => {});
None.responder(async () => {});
None.responder(() => new amp.QuitBox());
const Optional = new amp.Command("Optional", { arguments: { a: amp.Integer({ optional: true }) }, response: { z: amp.Boolean({ optional: true }) } });
Optional.responder(() => {});
Optional.responder(({ a }) => ({ z: a === undefined }));
const Raw = new amp.Command("Raw", { arguments: amp.Box, response: amp.Box });
Raw.responder((box) => {
  is<typeof box, amp.Box>(true);
  return { ...box, text: "x", bytes: new Uint8Array(3) };
});
const Note = new amp.Command("Note", { arguments: { a: amp.Integer() }, requiresAnswer: false });
const Switch = new amp.ProtocolSwitchCommand("Switch", { arguments: { a: amp.Integer() } });
Switch.responder(({ a }) => (a > 1 ? "one" : "two"));
Switch.responder(async () => "one");

// Calls.
amp.onConnect(async (peer) => {
  const r = await peer.callRemote(All, all, { timeout: 1000, signal: AbortSignal.timeout(500) });
  is<typeof r, { n: number; o: Buffer | undefined }>(true);
  await peer.callRemote(None);
  await peer.callRemote(Optional);
  await peer.callRemote(Optional, { a: 1 }, { timeout: 1 });
  const nothing = await peer.callRemote(Note, { a: 1 });
  is<typeof nothing, void>(true);
  await peer.callRemote(Switch, { a: 1 }, { protocol: "one" });
  const box = await peer.callRemote(Raw, { a: Buffer.from("x") });
  is<typeof box, amp.Box>(true);
  const sum = await amp.call("Sum", { a: 1, b: 2n });
  is<typeof sum, { total: number }>(true);
  await amp.call("Ping");
  const same = await amp.call(All, all);
  is<typeof same, typeof r>(true);
});

// Peers.
const session = amp.peerState(() => ({ user: "" }));
amp.onConnect((peer) => {
  session(peer).user = `${peer.id} ${peer.remoteAddress} ${peer.localAddress} ${peer.listener}`;
  peer.state.anything = 1;
  peer.authenticate({ user: "ada" });
  console.log(peer.identity?.user, peer.tls?.cipher, peer.tls?.peerCertificate?.notAfter.offset);
  peer.startTLS({ serverName: "example.com" }).then(() => peer.loseConnection());
});
amp.onDisconnect((peer, reason) => console.log(amp.peers().length, peer.id, reason.message));
amp.authorize((peer, command) => command === "Login" || peer.identity !== null);
amp.unhandled(async (name, box) => (name === "Echo" ? box : undefined));
amp.unhandled((name) => { if (name === "Echo") return { text: "x" }; });

// Boxes and raw bytes.
amp.protocol("one", (transport) => ({
  dataReceived(data) { transport.pause(); transport.write(data.subarray(1)).then(() => transport.resume()); },
  connectionLost(reason) { console.log(transport.remoteAddress, reason.message); },
}));
amp.protocol("two", (transport) => { transport.write("bye"); transport.loseConnection(); });
amp.boxReceiver("boxes", (sender) => ({ ampBoxReceived(box) { sender.sendBox({ ...box, seen: String(sender.peer.id) }); } }));

// The store.
interface User { name: string; tags?: string[]; at: Date; key: Uint8Array }
const user: User = { name: "ada", at: new Date(), key: new Uint8Array() };
const name = amp.store.update((tx) => {
  tx.put("user", user);
  tx.put("null", null);
  tx.put("nested", { a: [1, "x", { b: 2n }], c: undefined } as const);
  for (const [key, value] of tx.scan<User>({ prefix: "u", limit: 5, reverse: true })) {
    is<typeof value, User>(true);
    is<typeof key, string>(true);
  }
  tx.delete("null");
  return tx.get<User>("user")?.name;
});
is<typeof name, Promise<string | undefined>>(true);
const names = amp.store.view((tx) => [...tx.files.list()]);
is<typeof names, string[]>(true);
amp.store.update((tx) => { tx.counter("x").next(); });
amp.store.update((tx) => {
  if (tx.files.exists("f")) throw new amp.FileExistsError("f");
  tx.files.create("f", "text");
  tx.files.write("f", tx.files.read("g") ?? Buffer.alloc(3));
  tx.files.remove(tx.files.readText("h") ?? "");
});
amp.store.watch("user", (changes) => { for (const { key, value } of changes) console.log(key, value); });
/** A function of one's own around a transaction. */
const twice = <T>(fn: (tx: amp.Tx) => amp.Synchronous<T>) => [amp.store.update(fn), amp.store.view(fn)];
twice((tx) => tx.get("x"));

// The plugin.
export const plugin: amp.PluginSettings = { deadline: "1s", callTimeout: "none", maxInFlight: 10, workers: 2 };
amp.onLoad(async (saved) => {
  const peer = await amp.connect("tcp://127.0.0.1:1", { reconnect: true, tls: { ca: "…" } });
  const transport = await amp.dial("unix:/run/x.sock");
  transport.dataReceived = (data) => data.length;
  await amp.dial("tcp://127.0.0.1:1", (t) => ({ dataReceived: (data) => t.write(data) }), { tls: {} });
  console.log(saved?.count, peer.id, amp.plugin.name, amp.plugin.generation, amp.plugin.config?.key, amp.env.HOME);
});
amp.onUnload(() => console.log("unloaded"));
amp.hot.save(() => ({ count: 1 }));
amp.password.hash("secret").then((hash) => amp.password.verify("secret", hash));

// A program.
async function main() {
  const listener = await amp.listen("tcp://127.0.0.1:0");
  console.log(listener.address, amp.args.length);
  await listener.close();
  const never: never = amp.exit(2);
}

// Around.
const timer: number = setTimeout((text: string) => text, 3, "x");
new Promise((resolve) => setTimeout(resolve, 3));
new Promise((resolve) => setImmediate(resolve));
clearTimeout(timer);
Buffer.concat([Buffer.from("ff", "hex"), new Uint8Array(2)]).readUInt16BE(0).toFixed();
const bytes: Uint8Array = Buffer.from([1, 2]).slice(1);
fetch("https://example.com", { method: "POST", body: "x" }).then(async (r) => (r.ok ? r.json() : r.headers.get("date")));
new URL("/a?b=c", "https://example.com").searchParams.get("b");
structuredClone({ a: 1 }).a.toFixed();
new TextDecoder("utf-8", { fatal: true }).decode(new TextEncoder().encode("x")).length;
crypto.subtle.digest("SHA-256", crypto.getRandomValues(new Uint8Array(8))).then((d) => d.byteLength);
performance.now().toFixed();
const abort = new AbortController();
abort.signal.addEventListener("abort", (event) => console.log(event.type), { once: true });
abort.abort(new Error("enough"));
const target = new EventTarget();
target.addEventListener("done", { handleEvent(event) { console.log(event.type); } }, { once: true });
target.dispatchEvent(new CustomEvent("done", { detail: { n: 1 }, cancelable: true }));
new DOMException("too late", "TimeoutError").code.toFixed();
self.reportError(new Error("seen"));
Buffer.allocUnsafe(8).swap16().readUint32LE(4).toFixed();
import { EventEmitter, once } from "node:events";
import { Buffer as SameBuffer } from "buffer";
import util, { inspect } from "util";
const emitter = new EventEmitter().on("a", (n: number) => n + 1);
once(emitter, "a").then(([n]) => inspect(n));
const same: SameBuffer = SameBuffer.from(util.format("%s", "x"));
is<typeof same, Buffer>(true);
const kept: unknown = JSON.parse("1");
if (Error.isError(kept)) kept.message.length;
new RegExp(RegExp.escape("a.b")).test(JSON.stringify(JSON.rawJSON("1.0")));
Uint8Array.fromBase64("AQI=").toHex().length;
Math.sumPrecise([0.1, 0.2]).toFixed();
// What ES2023 has not.
Object.groupBy([1], (n) => (n > 1 ? "many" : "one"));
new Set([1]).union(new Set([2]));
[1].values().map((n) => n + 1).toArray();
Promise.withResolvers<number>().promise.then((n) => n.toFixed());
