// RegExp with \p{…} and, for what has no set operations in it, the flag v.
(function (native, shared) {
"use strict";

const Original = RegExp;
const cache = new Map();
const translate = (source, flags) => {
  if (!/[uv]/.test(flags)) return [source, flags];
  if (flags.includes("v")) {
    if (/\[[^\]]*(?:--|&&|\[)/.test(source)) throw new SyntaxError(`Invalid regular expression: /${source}/${flags}: set operations are not supported`);
    flags = flags.replace("v", "u");
  }
  if (!/\\[pP]\{/.test(source)) return [source, flags];
  if (!cache.has(source)) cache.set(source, native.expandProperties(source));
  return [cache.get(source), flags];
};
const Guarded = function RegExp(pattern, flags) {
  if (new.target === undefined && pattern instanceof Original && flags === undefined) return pattern;
  const source = pattern instanceof Original ? pattern.source : pattern === undefined ? "" : String(pattern);
  const f = flags === undefined ? (pattern instanceof Original ? pattern.flags : "") : String(flags);
  return Reflect.construct(Original, translate(source, f), new.target === undefined || new.target === Guarded ? Original : new.target);
};
Object.setPrototypeOf(Guarded, Original);
Guarded.prototype = Original.prototype;
Object.defineProperty(Original.prototype, "constructor", { value: Guarded, writable: true, configurable: true });
Object.defineProperty(globalThis, "RegExp", { value: Guarded, writable: true, configurable: true });
})
