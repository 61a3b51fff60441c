// Everything that a script can hold. A test compares what TypeScript believes of
// each thing with what is there: look(NAME, THING, BASE) is read by both, and
// what is the base's is not ours.
import * as amp from "amphost";
import * as bufferModule from "buffer";
import * as cryptoModule from "node:crypto";
import { EventEmitter } from "events";
import * as eventsModule from "node:events";
import * as perfHooksModule from "perf_hooks";
import * as timersModule from "node:timers";
import * as urlModule from "url";
import * as utilModule from "node:util";

const namesOf = (thing: object) => {
  const names = new Set<string>();
  for (let o = thing; o && o !== Object.prototype && o !== Function.prototype; o = Object.getPrototypeOf(o)) {
    for (const name of Object.getOwnPropertyNames(o)) names.add(name);
  }
  for (const name of ["constructor", "length", "name", "prototype"]) if (typeof thing === "function" || name !== "name") names.delete(name);
  return names;
};
const look = (name: string, thing: object, base: object = {}) =>
  console.log("look", name, [...namesOf(thing).difference(namesOf(base))].sort().join(" "));

// Globals. What is everywhere is JavaScript's.
look("globalThis", globalThis);
look("Buffer", Buffer, Uint8Array);
look("buffer", Buffer.alloc(1), new Uint8Array(1));
look("console", console);
look("TextEncoder", new TextEncoder());
look("TextDecoder", new TextDecoder());
look("Event", new Event("x"));
look("CustomEvent", new CustomEvent("x"));
look("EventTarget", new EventTarget());
look("DOMException", new DOMException("x"), new Error("x"));
look("AbortController", new AbortController());
look("AbortSignal", AbortSignal);
look("signal", new AbortController().signal);
look("crypto", crypto);
look("subtle", crypto.subtle);
look("performance", performance);

// The module.
look("amp", amp);
look("Command", new amp.Command("X"));
look("ProtocolSwitchCommand", new amp.ProtocolSwitchCommand("Y"));
look("Integer", amp.Integer({ bigint: true }));
look("Unicode", amp.Unicode());
look("ListOf", amp.ListOf(amp.Float()));
look("AmpList", amp.AmpList({ x: amp.Boolean() }));
look("Box", amp.Box, { toString() {} });
look("DateTimeValue", new amp.DateTimeValue(0), new Date(0));
look("RemoteAmpError", new amp.RemoteAmpError("X", "x", { fatal: true }), new Error("x"));
look("UnhandledCommand", new amp.UnhandledCommand("x"), new Error("x"));
look("ConnectionLost", new amp.ConnectionLost("x"), new Error("x"));
look("TimeoutError", new amp.TimeoutError("x"), new Error("x"));
look("FileExistsError", new amp.FileExistsError("x"), new Error("x"));
look("plugin", amp.plugin);
look("hot", amp.hot);
look("store", amp.store);
amp.store.view((tx) => {
  look("Tx", tx);
  look("Counter", tx.counter("x"));
  look("Files", tx.files);
});
amp.onConnect((peer) => look("Peer", peer));
amp.boxReceiver("boxes", (sender) => look("BoxSender", sender));

// Modules of Node's.
look("module:buffer", bufferModule);
look("module:crypto", cryptoModule);
look("module:events", eventsModule);
look("EventEmitter", new EventEmitter());
look("module:perf_hooks", perfHooksModule);
look("module:timers", timersModule);
look("module:url", urlModule);
look("module:util", utilModule);

// Under amphost run.
amp.onLoad(async () => {
  const listener = await amp.listen("tcp://127.0.0.1:0").catch(() => undefined);
  if (listener === undefined) return; // a plugin of serve's
  look("Listener", listener);
  look("Transport", await amp.dial(listener.address));
  await amp.connect(listener.address);
  amp.exit();
});
