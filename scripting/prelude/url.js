// URL and URLSearchParams. Go parses; what is here is the interface.
(function (native, shared) {
"use strict";

const text = (v) => { v = `${v}`; return v.isWellFormed() ? v : v.toWellFormed(); };
const custom = Symbol.for("nodejs.util.inspect.custom");
const names = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
const special = ["http:", "https:", "ws:", "wss:", "ftp:"];
const need = (args, n, what) => { if (args.length < n) throw new TypeError(`${what}: ${n} argument${n > 1 ? "s" : ""} required, and ${args.length} present`); };

let update; // tells a URL that its parameters have changed
let reset;  // sets the parameters of a URL that has changed

class URLSearchParams {
  #list = []; // pairs
  #url = null;
  static {
    reset = (params, search, url) => {
      params.#list = pairs(search.replace(/^\?/, ""));
      if (url) params.#url = url;
    };
  }
  constructor(init = undefined) {
    if (init === undefined || init === null && arguments.length === 0) return;
    if (typeof init === "object" && init !== null || typeof init === "function") {
      const iterate = init[Symbol.iterator];
      if (iterate !== undefined && iterate !== null) {
        for (const pair of init) {
          if (Object(pair) !== pair || typeof pair[Symbol.iterator] !== "function") throw new TypeError("URLSearchParams: each element must be a pair of a name and a value");
          const two = [...pair];
          if (two.length !== 2) throw new TypeError("URLSearchParams: each element must be a pair of a name and a value");
          this.#list.push([text(two[0]), text(two[1])]);
        }
        return;
      }
      const seen = new Map();
      for (const key of Reflect.ownKeys(init)) {
        if (Object.prototype.propertyIsEnumerable.call(init, key)) seen.set(text(key), text(init[key]));
      }
      this.#list = [...seen];
      return;
    }
    this.#list = pairs(text(init).replace(/^\?/, ""));
  }
  #changed() { if (this.#url) update(this.#url, this.toString()); }
  append(name, value) {
    need(arguments, 2, "append");
    this.#list.push([text(name), text(value)]);
    this.#changed();
  }
  delete(name, value = undefined) {
    need(arguments, 1, "delete");
    name = text(name);
    if (value !== undefined) value = text(value);
    this.#list = this.#list.filter(([n, v]) => n !== name || value !== undefined && v !== value);
    this.#changed();
  }
  get(name) {
    need(arguments, 1, "get");
    name = text(name);
    return this.#list.find(([n]) => n === name)?.[1] ?? null;
  }
  getAll(name) {
    need(arguments, 1, "getAll");
    name = text(name);
    return this.#list.filter(([n]) => n === name).map(([, v]) => v);
  }
  has(name, value = undefined) {
    need(arguments, 1, "has");
    name = text(name);
    if (value !== undefined) value = text(value);
    return this.#list.some(([n, v]) => n === name && (value === undefined || v === value));
  }
  set(name, value) {
    need(arguments, 2, "set");
    name = text(name);
    value = text(value);
    const first = this.#list.findIndex(([n]) => n === name);
    if (first < 0) this.#list.push([name, value]);
    else {
      this.#list[first] = [name, value];
      this.#list = this.#list.filter(([n], i) => n !== name || i === first);
    }
    this.#changed();
  }
  sort() {
    this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#changed();
  }
  toString() { return this.#list.map(([n, v]) => `${native.formEncode(n)}=${native.formEncode(v)}`).join("&"); }
  forEach(fn, self = undefined) {
    if (typeof fn !== "function") throw new TypeError("forEach takes a function");
    for (let i = 0; i < this.#list.length; i++) fn.call(self, this.#list[i][1], this.#list[i][0], this);
  }
  *entries() { for (let i = 0; i < this.#list.length; i++) yield [this.#list[i][0], this.#list[i][1]]; }
  *keys() { for (let i = 0; i < this.#list.length; i++) yield this.#list[i][0]; }
  *values() { for (let i = 0; i < this.#list.length; i++) yield this.#list[i][1]; }
  get size() { return this.#list.length; }
  get [Symbol.toStringTag]() { return "URLSearchParams"; }
  [custom](depth, options, inspect) {
    return `URLSearchParams {${this.#list.map(([n, v]) => ` ${inspect(n)} => ${inspect(v)}`).join(",")}${this.#list.length ? " " : ""}}`;
  }
}
Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, { value: URLSearchParams.prototype.entries, writable: true, configurable: true });

function pairs(query) {
  const flat = native.formParse(query), list = [];
  for (let i = 0; i < flat.length; i += 2) list.push([flat[i], flat[i + 1]]);
  return list;
}

class URL {
  #parts; // by names
  #params = null;
  static {
    update = (url, query) => { url.#parts = native.urlSet(url.#parts[0], "search", query) ?? url.#parts; };
  }
  constructor(url, base = undefined) {
    need(arguments, 1, "URL");
    this.#parts = parse(url, base);
    if (!this.#parts) {
      const e = new TypeError("Invalid URL");
      e.code = "ERR_INVALID_URL";
      e.input = text(url);
      if (base !== undefined) e.base = text(base);
      throw e;
    }
  }
  static canParse(url, base = undefined) { need(arguments, 1, "canParse"); return parse(url, base) !== undefined; }
  static parse(url, base = undefined) { need(arguments, 1, "parse"); return parse(url, base) ? new URL(url, base) : null; }
  #set(what, value) {
    this.#parts = native.urlSet(this.#parts[0], what, text(value)) ?? this.#parts;
  }
  get href() { return this.#parts[0]; }
  set href(value) {
    const parts = parse(value);
    if (!parts) throw new TypeError("Invalid URL");
    this.#parts = parts;
    if (this.#params) reset(this.#params, parts[8]);
  }
  get origin() {
    const protocol = this.#parts[1];
    if (special.includes(protocol)) return `${protocol}//${this.#parts[4]}`;
    if (protocol === "blob:") {
      const inner = parse(this.#parts[7]);
      if (inner && ["http:", "https:"].includes(inner[1])) return `${inner[1]}//${inner[4]}`;
    }
    return "null";
  }
  get search() { return this.#parts[8]; }
  set search(value) {
    this.#set("search", value);
    if (this.#params) reset(this.#params, this.#parts[8]);
  }
  get searchParams() {
    if (!this.#params) {
      this.#params = new URLSearchParams();
      reset(this.#params, this.#parts[8], this);
    }
    return this.#params;
  }
  toString() { return this.#parts[0]; }
  toJSON() { return this.#parts[0]; }
  static {
    for (const [i, name] of names.entries()) {
      if (name === "href" || name === "search") continue;
      Object.defineProperty(URL.prototype, name, {
        get() { return this.#parts[i]; },
        set(value) { this.#set(name, value); },
        enumerable: true, configurable: true,
      });
    }
  }
  get [Symbol.toStringTag]() { return "URL"; }
  [custom](depth, options, inspect) {
    const shown = { href: this.href, origin: this.origin };
    for (const name of names.slice(1)) {
      if (name === "hash") shown.searchParams = this.searchParams;
      shown[name] = this[name];
    }
    return "URL " + inspect(shown);
  }
}
function parse(url, base) {
  return native.urlParse(text(url), base === undefined ? undefined : text(base));
}
for (const klass of [URL, URLSearchParams]) {
  for (const [name, d] of Object.entries(Object.getOwnPropertyDescriptors(klass.prototype))) {
    if (name !== "constructor") Object.defineProperty(klass.prototype, name, { ...d, enumerable: true });
  }
  shared.define(globalThis, klass.name, klass);
}
})
