// The small part of the web platform that servers share.
(function (native, shared) {
"use strict";
const { define } = shared;
const bytesOf = (...args) => { Buffer; return shared.bytesOf(...args); };

const codes = { InvalidCharacterError: 5, SyntaxError: 12, InvalidStateError: 11, TimeoutError: 23, TypeMismatchError: 17, AbortError: 20, DataCloneError: 25, QuotaExceededError: 22, NotSupportedError: 9, OperationError: 0 };
class DOMException extends Error {
  #name;
  constructor(message = "", options = "Error") {
    const name = typeof options === "object" ? options.name ?? "Error" : options;
    super(message, typeof options === "object" && "cause" in options ? { cause: options.cause } : undefined);
    this.#name = String(name);
  }
  get name() { return this.#name; }
  get code() { return codes[this.#name] ?? 0; }
}
shared.DOMException = DOMException;
define(globalThis, "DOMException", DOMException);

class Event {
  #type; #cancelable; #prevented = false;
  target = null; currentTarget = null; stopped = false;
  timeStamp = native.now();
  constructor(type, options = {}) { this.#type = String(type); this.#cancelable = Boolean(options?.cancelable); }
  get type() { return this.#type; }
  get cancelable() { return this.#cancelable; }
  get defaultPrevented() { return this.#prevented; }
  preventDefault() { if (this.#cancelable) this.#prevented = true; }
  stopImmediatePropagation() { this.stopped = true; }
  stopPropagation() {}
}
class CustomEvent extends Event {
  #detail;
  constructor(type, options = {}) { super(type, options); this.#detail = options?.detail ?? null; }
  get detail() { return this.#detail; }
}
class EventTarget {
  #listeners = new Map();
  addEventListener(type, listener, options) {
    if (!listener) return;
    const once = typeof options === "object" && Boolean(options?.once);
    const signal = typeof options === "object" ? options?.signal : undefined;
    if (signal?.aborted) return;
    const list = this.#listeners.get(type) ?? [];
    if (list.some((l) => l.listener === listener)) return;
    this.#listeners.set(type, [...list, { listener, once }]);
    signal?.addEventListener("abort", () => this.removeEventListener(type, listener));
  }
  removeEventListener(type, listener) {
    const list = this.#listeners.get(type);
    if (list) this.#listeners.set(type, list.filter((l) => l.listener !== listener));
  }
  dispatchEvent(event) {
    event.target = event.currentTarget = this;
    for (const { listener, once } of this.#listeners.get(event.type) ?? []) {
      if (event.stopped) break;
      if (once) this.removeEventListener(event.type, listener);
      run(() => (typeof listener === "function" ? listener.call(this, event) : listener.handleEvent(event)));
    }
    return !event.defaultPrevented;
  }
}
const run = (fn) => { try { fn(); } catch (e) { native.report("uncaught in an event listener", e); } };
define(globalThis, "Event", Event);
define(globalThis, "CustomEvent", CustomEvent);
define(globalThis, "EventTarget", EventTarget);

const made = Symbol("made here");
class AbortSignal extends EventTarget {
  #aborted = false; #reason = undefined;
  #onabort = null;
  #heed = (event) => this.#onabort.call(this, event);
  constructor(key) { if (key !== made) throw new TypeError("AbortSignal: use an AbortController"); super(); }
  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  get onabort() { return this.#onabort; }
  set onabort(fn) { // it is called in the place where it was set first
    fn = typeof fn === "function" ? fn : null;
    if (fn === null) this.removeEventListener("abort", this.#heed);
    else if (this.#onabort === null) this.addEventListener("abort", this.#heed);
    this.#onabort = fn;
  }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  static abort(reason) { const c = new AbortController(); c.abort(reason); return c.signal; }
  static timeout(ms) {
    if (!(Number(ms) >= 0 && Number(ms) <= Number.MAX_SAFE_INTEGER)) throw new RangeError("AbortSignal.timeout takes milliseconds, zero or more");
    const signal = new AbortSignal(made);
    native.idleTimer(setTimeout(() => AbortSignal.fire(made, signal, new DOMException("the time is up", "TimeoutError")), ms));
    return signal;
  }
  static any(signals) {
    const c = new AbortController();
    for (const s of signals) {
      if (s.aborted) { c.abort(s.reason); break; }
      s.addEventListener("abort", () => c.abort(s.reason), { once: true });
    }
    return c.signal;
  }
  static fire(key, signal, reason) {
    if (key !== made || signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason = reason;
    signal.dispatchEvent(new Event("abort"));
  }
}
class AbortController {
  #signal = new AbortSignal(made);
  get signal() { return this.#signal; }
  abort(reason = new DOMException("this operation was aborted", "AbortError")) { AbortSignal.fire(made, this.#signal, reason); }
}
define(globalThis, "AbortSignal", AbortSignal);
define(globalThis, "AbortController", AbortController);

class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return new Uint8Array(native.fromText(String(text), "utf8")); }
  encodeInto(text, target) {
    let read = 0, written = 0;
    for (const c of String(text)) {
      const bytes = native.fromText(c, "utf8");
      if (written + bytes.byteLength > target.length) break;
      target.set(new Uint8Array(bytes), written);
      written += bytes.byteLength;
      read += c.length;
    }
    return { read, written };
  }
}
const labels = { "utf-8": "utf8", utf8: "utf8", "unicode-1-1-utf-8": "utf8", latin1: "latin1", "iso-8859-1": "latin1", ascii: "latin1", "us-ascii": "latin1", "windows-1252": "latin1", "utf-16le": "utf16le", "utf-16": "utf16le" };
class TextDecoder {
  #encoding; #label; #fatal; #ignoreBOM; #rest = new Uint8Array(0); #started = false;
  constructor(label = "utf-8", options = {}) {
    this.#encoding = labels[String(label).trim().toLowerCase()];
    if (!this.#encoding) throw new RangeError(`TextDecoder: unknown encoding ${String(label)}`);
    this.#label = { utf8: "utf-8", latin1: "windows-1252", utf16le: "utf-16le" }[this.#encoding];
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBOM = Boolean(options?.ignoreBOM);
  }
  get encoding() { return this.#label; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(data = new Uint8Array(0), options = {}) {
    let bytes = bytesOf(data, "the argument");
    if (this.#rest.length) {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      bytes = joined;
    }
    let end = bytes.length;
    if (options?.stream) end = native.wholeEnd(bytes, this.#encoding);
    const text = native.decodeText(bytes, this.#encoding, end, this.#fatal);
    if (text === undefined) throw new TypeError("TextDecoder: the data is not valid " + this.#label);
    this.#rest = options?.stream ? bytes.slice(end) : new Uint8Array(0);
    const first = !this.#started && text.length > 0;
    this.#started = Boolean(options?.stream) && (this.#started || text.length > 0);
    return first && !this.#ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}
define(globalThis, "TextEncoder", TextEncoder);
define(globalThis, "TextDecoder", TextDecoder);

const integerArray = (a) => ArrayBuffer.isView(a) && !(a instanceof Float32Array) && !(a instanceof Float64Array) && !(a instanceof DataView);
const subtle = Object.freeze({
  async digest(algorithm, data) {
    const name = String(typeof algorithm === "object" ? algorithm?.name : algorithm).toUpperCase();
    const sum = native.digest(name, bytesOf(data, "the data"));
    if (sum === undefined) throw new DOMException(`digest: there is no ${JSON.stringify(name)}, but SHA-1, SHA-256, SHA-384 and SHA-512`, "NotSupportedError");
    return sum;
  },
});
define(globalThis, "crypto", Object.freeze({
  subtle,
  randomUUID: () => native.randomUUID(),
  getRandomValues(array) {
    if (!integerArray(array)) throw new DOMException("crypto.getRandomValues takes an integer typed array", "TypeMismatchError");
    if (array.byteLength > 65536) throw new DOMException("getRandomValues: more than 65536 bytes", "QuotaExceededError");
    native.random(bytesOf(array));
    return array;
  },
  timingSafeEqual: (a, b) => native.timingSafeEqual(bytesOf(a, "the first argument"), bytesOf(b, "the second argument")),
}));
define(globalThis, "performance", Object.freeze({ now: () => native.now(), timeOrigin: native.timeOrigin, mark() {}, measure() {} }));

// structuredClone, for the values that scripts use.
const clone = (value, seen, path) => {
  if (typeof value === "function" || typeof value === "symbol") throw new DOMException(`${path || "the value"} is a ${typeof value} and can't be cloned`, "DataCloneError");
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (copy) => { seen.set(value, copy); return copy; };
  if (Array.isArray(value)) {
    const copy = keep(new Array(value.length));
    for (const key of Object.keys(value)) copy[key] = clone(value[key], seen, `${path}[${key}]`);
    return copy;
  }
  if (value instanceof shared.DateTimeValue) return keep(new shared.DateTimeValue(value, value));
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (value instanceof Buffer) return keep(Buffer.from(value));
  if (ArrayBuffer.isView(value)) {
    const buffer = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
    return keep(value instanceof DataView ? new DataView(buffer) : new (Object.getPrototypeOf(value).constructor)(buffer));
  }
  if (value instanceof Map) {
    const copy = keep(new Map());
    for (const [k, v] of value) copy.set(clone(k, seen, path + ".key"), clone(v, seen, `${path}.get(${String(k)})`));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    for (const v of value) copy.add(clone(v, seen, path + ".value"));
    return copy;
  }
  if (value instanceof Error) {
    const kinds = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
    const copy = keep(new (kinds[value.name] ?? Error)(value.message));
    Object.defineProperty(copy, "stack", { value: String(value.stack), writable: true, configurable: true });
    if (Object.hasOwn(value, "cause")) define(copy, "cause", clone(value.cause, seen, path + ".cause"));
    return copy;
  }
  for (const kind of [Promise, WeakMap, WeakSet, WeakRef]) {
    if (value instanceof kind) throw new DOMException(`${path || "the value"} is a ${kind.name} and can't be cloned`, "DataCloneError");
  }
  if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) return keep(Object(value.valueOf()));
  const copy = keep({});
  for (const key of Object.keys(value)) {
    Object.defineProperty(copy, key, { value: clone(value[key], seen, path ? `${path}.${key}` : key), writable: true, enumerable: true, configurable: true });
  }
  return copy;
};
define(globalThis, "structuredClone", function structuredClone(value) {
  if (arguments.length === 0) throw new TypeError("structuredClone takes a value");
  return clone(value, new Map(), "");
});
})
