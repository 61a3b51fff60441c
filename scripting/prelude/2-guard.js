// What would end the process, or could not be interrupted, is refused. Most of
// that is in guard.go; here are the constructors, and code made of text.
(function (native, shared) {
"use strict";

// Real functions, not proxies: goja's instanceof refuses a proxy.
const sized = (Original, name, size) => {
  const Guarded = function (...args) {
    if (new.target === undefined) throw new TypeError(`${name} must be called with new`);
    native.checkBuffer(name, args[0], size);
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

// What operators are that the build guards.
shared.power = (a, b) => a ** b;
shared.left = (a, b) => a << b;
shared.right = (a, b) => a >> b;

// BigInt reads a text, which takes the square of its length.
const $BigInt = BigInt;
const GuardedBigInt = function BigInt(value) {
  if (new.target !== undefined) throw new TypeError("BigInt is not a constructor");
  native.checkDigits(value);
  return $BigInt(value);
};
GuardedBigInt.prototype = $BigInt.prototype;
for (const name of ["asIntN", "asUintN"]) Object.defineProperty(GuardedBigInt, name, { value: $BigInt[name], writable: true, configurable: true });
Object.defineProperty($BigInt.prototype, "constructor", { value: GuardedBigInt, writable: true, configurable: true });
Object.defineProperty(globalThis, "BigInt", { value: GuardedBigInt, writable: true, configurable: true });

const $RegExp = RegExp;
const GuardedRegExp = function RegExp(pattern, flags) {
  native.checkPattern(pattern);
  if (new.target === undefined && flags === undefined && pattern instanceof $RegExp && pattern.constructor === GuardedRegExp) return pattern;
  return new.target === undefined ? $RegExp(pattern, flags) : Reflect.construct($RegExp, [pattern, flags], new.target === GuardedRegExp ? $RegExp : new.target);
};
for (const key of Reflect.ownKeys($RegExp)) Object.defineProperty(GuardedRegExp, key, Object.getOwnPropertyDescriptor($RegExp, key));
Object.defineProperty($RegExp.prototype, "constructor", { value: GuardedRegExp, writable: true, configurable: true });
Object.defineProperty(globalThis, "RegExp", { value: GuardedRegExp, writable: true, configurable: true });

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
