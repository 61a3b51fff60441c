// What would end the process, or could not be interrupted, is refused.
(function (native, shared) {
"use strict";

const MAX_BYTES = 256 * 1024 * 1024; // of one buffer
const MAX_CHARS = 64 * 1024 * 1024;  // of one made string
const MAX_ITEMS = 16 * 1024 * 1024;  // of an array that a built-in function walks

// Deep texts end the process in the parser.
const $parse = JSON.parse;
JSON.parse = { parse(text, reviver) {
  text = String(text);
  native.checkDepth(text);
  return reviver === undefined ? $parse(text) : $parse(text, reviver);
} }.parse;

const replace = (object, name, make) => {
  const original = object[name];
  if (typeof original !== "function") return;
  const value = { [name](...args) { return make.call(this, original, args); } }[name];
  Object.defineProperty(value, "length", { value: original.length, configurable: true });
  Object.defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
};

replace(String.prototype, "repeat", function (f, args) {
  const text = String(this);
  if (text.length * Number(args[0]) > MAX_CHARS) throw new RangeError("repeat: the string would be too long");
  return f.apply(text, args);
});
for (const name of ["padStart", "padEnd"]) {
  replace(String.prototype, name, function (f, args) {
    if (Number(args[0]) > MAX_CHARS) throw new RangeError(name + ": the string would be too long");
    return f.apply(this, args);
  });
}
for (const name of ["join", "fill"]) {
  const original = Array.prototype[name];
  const guarded = { [name]() {
    // Real arrays of a sane length, the usual case, cost one comparison.
    if (!(this?.length <= MAX_ITEMS) && Number(this?.length) > MAX_ITEMS) throw new RangeError(name + ": the array is too long");
    return original.apply(this, arguments);
  } }[name];
  Object.defineProperty(guarded, "length", { value: original.length, configurable: true });
  Object.defineProperty(Array.prototype, name, { value: guarded, writable: true, enumerable: false, configurable: true });
}
const $from = Array.from;
Array.from = { from(items, ...rest) {
  if (items != null && typeof items !== "string" && !items[Symbol.iterator] && Number(items.length) > MAX_ITEMS) throw new RangeError("from: the array would be too long");
  return $from.call(this, items, ...rest);
} }.from;

// Real functions, not proxies: goja's instanceof refuses a proxy.
const sized = (Original, name, size) => {
  const Guarded = function (...args) {
    if (new.target === undefined) throw new TypeError(`${name} must be called with new`);
    if (typeof args[0] === "number" && args[0] * size > MAX_BYTES) throw new RangeError(`${name}: more than ${MAX_BYTES} bytes`);
    return Reflect.construct(Original, args, new.target);
  };
  Object.setPrototypeOf(Guarded, Object.getPrototypeOf(Original));
  Guarded.prototype = Original.prototype;
  Object.defineProperty(Guarded, "name", { value: name });
  for (const key of ["BYTES_PER_ELEMENT", "isView", "fromBase64", "fromHex"]) {
    if (Object.hasOwn(Original, key)) Object.defineProperty(Guarded, key, { value: Original[key] });
  }
  return Guarded;
};
shared.Uint8Array = Uint8Array;
shared.ArrayBuffer = ArrayBuffer;
for (const name of ["ArrayBuffer", "Uint8Array", "Uint8ClampedArray", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array",
  "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"]) {
  const Original = globalThis[name];
  if (!Original) continue;
  const guarded = sized(Original, name, Original.BYTES_PER_ELEMENT ?? 1);
  Object.defineProperty(Original.prototype, "constructor", { value: guarded, writable: true, configurable: true });
  Object.defineProperty(globalThis, name, { value: guarded, writable: true, configurable: true });
}

// Text is never code: what a plugin is made of is what was built.
const refuse = (name) => function () { throw new EvalError(`${name} is not available: plugins run only the code they were built from`); };
for (const f of [function () {}, function* () {}, async function () {}]) {
  const proto = Object.getPrototypeOf(f);
  const none = refuse("Function");
  Object.defineProperty(none, "prototype", { value: proto });
  Object.defineProperty(none, "name", { value: "Function" });
  Object.defineProperty(proto, "constructor", { value: none, writable: true, configurable: true });
  if (proto === Function.prototype) Object.defineProperty(globalThis, "Function", { value: none, writable: true, configurable: true });
}
Object.defineProperty(globalThis, "eval", { value: refuse("eval"), writable: true, configurable: true });
})
