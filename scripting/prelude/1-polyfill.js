// What the language has and goja has not. Each file of the prelude is a
// function of native, which Go provides, and shared, which its files share
// with each other and with Go.
(function (native, shared) {
"use strict";

// Most plugins use few of the globals: those of a file are made when the first
// of them is used.
const waiting = new Set();
const lazily = (file, names) => {
  for (const name of names) {
    waiting.add(name);
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get() { load(file, names); return globalThis[name]; },
      set(value) { Object.defineProperty(globalThis, name, { value, writable: true, enumerable: true, configurable: true }); },
    });
  }
};
const load = (file, names) => {
  for (const name of names) {
    // One that the plugin has replaced stays.
    if (Object.getOwnPropertyDescriptor(globalThis, name)?.get && waiting.has(name)) delete globalThis[name];
    waiting.delete(name);
  }
  native.load(file);
};
lazily("buffer.js", ["Buffer", "atob", "btoa"]);
lazily("web.js", ["DOMException", "Event", "CustomEvent", "EventTarget", "AbortSignal", "AbortController", "TextEncoder", "TextDecoder", "crypto", "performance", "structuredClone"]);
lazily("url.js", ["URL", "URLSearchParams"]);
lazily("fetch.js", ["Headers", "Request", "Response", "fetch"]);
lazily("console.js", ["console"]);

const define = (object, name, value) => {
  if (!Object.hasOwn(object, name)) {
    Object.defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
  }
};
const defineAll = (object, methods) => {
  for (const name of Object.getOwnPropertyNames(methods)) define(object, name, methods[name]);
};
shared.define = define;
shared.defineAll = defineAll;

for (const name of ["asyncIterator", "dispose", "asyncDispose"]) {
  if (!Symbol[name]) Object.defineProperty(Symbol, name, { value: Symbol("Symbol." + name) });
}

const $then = Promise.prototype.then;
const $resolve = Promise.resolve.bind(Promise);

defineAll(Promise, {
  withResolvers() {
    let resolve, reject;
    const promise = new this((a, b) => { resolve = a; reject = b; });
    return { promise, resolve, reject };
  },
  try(fn, ...args) {
    return new this((resolve) => resolve(fn(...args)));
  },
});

const groupBy = (items, fn, add) => {
  let i = 0;
  for (const item of items) add(fn(item, i++), item);
};
defineAll(Object, {
  groupBy(items, fn) {
    const groups = Object.create(null);
    groupBy(items, fn, (key, item) => {
      key = typeof key === "symbol" ? key : String(key);
      (groups[key] ??= []).push(item);
    });
    return groups;
  },
});
defineAll(Map, {
  groupBy(items, fn) {
    const groups = new Map();
    groupBy(items, fn, (key, item) => {
      const group = groups.get(key);
      group ? group.push(item) : groups.set(key, [item]);
    });
    return groups;
  },
});

defineAll(Array, {
  async fromAsync(items, fn, self) {
    const result = typeof this === "function" ? new this() : [];
    let n = 0;
    const add = async (value) => {
      const v = fn ? await fn.call(self, value, n) : value;
      Object.defineProperty(result, n++, { value: v, writable: true, enumerable: true, configurable: true });
    };
    if (items[Symbol.asyncIterator]) {
      const it = items[Symbol.asyncIterator]();
      try {
        for (let step = await it.next(); !step.done; step = await it.next()) await add(step.value);
      } catch (e) {
        await it.return?.();
        throw e;
      }
    } else if (items[Symbol.iterator]) {
      for (const item of items) await add(await item);
    } else {
      const length = Math.min(Math.max(Math.trunc(Number(items.length)) || 0, 0), Number.MAX_SAFE_INTEGER);
      for (let i = 0; i < length; i++) await add(await items[i]);
    }
    result.length = n;
    return result;
  },
});

defineAll(String.prototype, {
  isWellFormed() { return native.wellFormed(String(this)); },
  toWellFormed() { return native.toWellFormed(String(this)); },
});

defineAll(RegExp, {
  escape(text) {
    if (typeof text !== "string") throw new TypeError("RegExp.escape takes a string");
    const hex = (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0");
    return text
      .replace(/[\^$\\.*+?()[\]{}|/]/g, "\\$&")
      .replace(/^[0-9A-Za-z]/, hex)
      .replace(/[,\-=<>#&!%:;@~'`"]/g, hex)
      .replace(/[\t\n\v\f\r ]/g, (c) => ({ "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r" })[c] ?? "\\x20");
  },
});

// goja takes a locale for a radix.
for (const proto of [Number.prototype, BigInt.prototype]) {
  const $toString = proto.toString;
  Object.defineProperty(proto, "toLocaleString", { value: { toLocaleString() { return $toString.call(this); } }.toLocaleString, writable: true, enumerable: false, configurable: true });
}

defineAll(Error, {
  captureStackTrace(object) {
    if (!Object.hasOwn(object, "stack")) define(object, "stack", new Error().stack);
  },
});

defineAll(Math, {
  sumPrecise(items) {
    let sum = 0, c = 0, any = false;
    for (const x of items) {
      any = true;
      const t = sum + x;
      c += Math.abs(sum) >= Math.abs(x) ? sum - t + x : x - t + sum;
      sum = t;
    }
    return any ? (Number.isFinite(sum) ? sum + c : sum) : -0;
  },
});

// Nothing is collected early: a WeakRef holds on to its target.
define(globalThis, "WeakRef", class WeakRef {
  #target;
  constructor(target) {
    if (Object(target) !== target) throw new TypeError("WeakRef: the target must be an object");
    this.#target = target;
  }
  deref() { return this.#target; }
  get [Symbol.toStringTag]() { return "WeakRef"; }
});
define(globalThis, "FinalizationRegistry", class FinalizationRegistry {
  constructor(fn) { if (typeof fn !== "function") throw new TypeError("FinalizationRegistry takes a function"); }
  register() {}
  unregister() { return false; }
  get [Symbol.toStringTag]() { return "FinalizationRegistry"; }
});

// Iterator and its helpers.
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
if (!globalThis.Iterator) {
  const Iterator = function Iterator() {
    if (new.target === undefined || new.target === Iterator) throw new TypeError("Iterator is abstract");
  };
  Object.defineProperty(Iterator, "prototype", { value: IteratorPrototype });
  define(IteratorPrototype, "constructor", Iterator);
  define(globalThis, "Iterator", Iterator);
  Iterator.from = (items) => {
    const it = items[Symbol.iterator] ? items[Symbol.iterator]() : items;
    return it instanceof Iterator ? it : (function* () { for (let s = it.next(); !s.done; s = it.next()) yield s.value; })();
  };
}
const must = (fn) => { if (typeof fn !== "function") throw new TypeError(`${String(fn)} is not a function`); };
const count = (n) => {
  const x = Number(n);
  if (Number.isNaN(x) || x < 0) throw new RangeError(`${String(n)} must not be negative`);
  return Math.trunc(x);
};
const lazy = {
  *map(fn) { let i = 0; for (const x of this) yield fn(x, i++); },
  *filter(fn) { let i = 0; for (const x of this) if (fn(x, i++)) yield x; },
  *flatMap(fn) { let i = 0; for (const x of this) yield* fn(x, i++); },
};
for (const name of Object.keys(lazy)) {
  const generate = lazy[name];
  define(IteratorPrototype, name, function (fn) { must(fn); return generate.call(this, fn); });
}
const take = function* (it, n) { if (n > 0) for (const x of it) { yield x; if (--n <= 0) return; } };
const drop = function* (it, n) { for (const x of it) if (n-- <= 0) yield x; };
defineAll(IteratorPrototype, {
  take(n) { return take(this, count(n)); },
  drop(n) { return drop(this, count(n)); },
  toArray() { return [...this]; },
  forEach(fn) { must(fn); let i = 0; for (const x of this) fn(x, i++); },
  some(fn) { must(fn); let i = 0; for (const x of this) if (fn(x, i++)) return true; return false; },
  every(fn) { must(fn); let i = 0; for (const x of this) if (!fn(x, i++)) return false; return true; },
  find(fn) { must(fn); let i = 0; for (const x of this) if (fn(x, i++)) return x; },
  reduce(fn, ...rest) {
    must(fn);
    let i = 0, acc, has = rest.length > 0;
    if (has) acc = rest[0];
    for (const x of this) {
      if (has) acc = fn(acc, x, i);
      else { acc = x; has = true; }
      i++;
    }
    if (!has) throw new TypeError("reduce of an empty iterator with no initial value");
    return acc;
  },
});

// An exception outside of any call is logged, as one in a timer is.
define(globalThis, "reportError", (e) => native.report("uncaught", e));
define(globalThis, "queueMicrotask", (fn) => {
  must(fn);
  $then.call($resolve(), () => { try { fn(); } catch (e) { native.report("uncaught in a microtask", e); } });
});
define(globalThis, "self", globalThis);

// watch tells Go how a responder's promise settles.
shared.within = (f) => f();
shared.watch = (promise, id) => { $then.call(promise, (v) => native.settle(id, v), (e) => native.fail(id, e)); };
shared.then = (promise, ok, no) => { $then.call(promise, ok, no); };
shared.resolve = $resolve;
shared.freeze = Object.freeze;
shared.own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);
shared.call = (fn, args) => fn(...args);
})
