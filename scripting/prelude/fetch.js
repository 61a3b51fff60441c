// fetch, and what it takes and gives: the part of the web's that works with whole
// bodies. Go makes the request.
(function (native, shared) {
"use strict";

const custom = Symbol.for("nodejs.util.inspect.custom");
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const headerName = (name) => {
  name = `${name}`;
  if (!token.test(name)) throw new TypeError(`Headers: ${JSON.stringify(name)} is not a header's name`);
  return name.toLowerCase();
};
const headerValue = (value) => {
  value = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === 0 || c === 10 || c === 13 || c > 255) throw new TypeError(`Headers: ${JSON.stringify(value)} can't be a header's value`);
  }
  return value;
};

class Headers {
  #list = []; // names, in small letters, and values
  constructor(init = undefined) {
    if (init === undefined) return;
    if (typeof init !== "object" && typeof init !== "function" || init === null) throw new TypeError("Headers takes an object of names and values, or pairs");
    if (typeof init[Symbol.iterator] === "function") {
      for (const pair of init) {
        const two = Object(pair) === pair && typeof pair[Symbol.iterator] === "function" ? [...pair] : [];
        if (two.length !== 2) throw new TypeError("Headers: each element must be a pair of a name and a value");
        this.append(two[0], two[1]);
      }
    } else {
      for (const key of Reflect.ownKeys(init)) if (Object.prototype.propertyIsEnumerable.call(init, key)) this.append(key, init[key]);
    }
  }
  append(name, value) { this.#list.push([headerName(name), headerValue(value)]); }
  delete(name) {
    name = headerName(name);
    this.#list = this.#list.filter(([n]) => n !== name);
  }
  get(name) {
    name = headerName(name);
    const values = this.#list.filter(([n]) => n === name).map(([, v]) => v);
    return values.length ? values.join(", ") : null;
  }
  getSetCookie() { return this.#list.filter(([n]) => n === "set-cookie").map(([, v]) => v); }
  has(name) {
    name = headerName(name);
    return this.#list.some(([n]) => n === name);
  }
  set(name, value) {
    name = headerName(name);
    value = headerValue(value);
    const first = this.#list.findIndex(([n]) => n === name);
    if (first < 0) this.#list.push([name, value]);
    else {
      this.#list[first] = [name, value];
      this.#list = this.#list.filter(([n], i) => n !== name || i === first);
    }
  }
  *entries() {
    const names = [...new Set(this.#list.map(([n]) => n))].sort();
    for (const name of names) {
      if (name === "set-cookie") for (const value of this.getSetCookie()) yield [name, value];
      else yield [name, this.get(name)];
    }
  }
  *keys() { for (const [n] of this.entries()) yield n; }
  *values() { for (const [, v] of this.entries()) yield v; }
  forEach(fn, self = undefined) {
    if (typeof fn !== "function") throw new TypeError("forEach takes a function");
    for (const [name, value] of this.entries()) fn.call(self, value, name, this);
  }
  get [Symbol.toStringTag]() { return "Headers"; }
  [custom](depth, options, inspect) { return "Headers " + inspect(Object.fromEntries(this.entries())); }
}
Object.defineProperty(Headers.prototype, Symbol.iterator, { value: Headers.prototype.entries, writable: true, configurable: true });

// A body is bytes, or a promise of bytes, that are given away once.
let bodyOf; // the bytes of a Request or Response
class Body {
  #bytes; #used = false;
  constructor(bytes) { this.#bytes = bytes; }
  static { bodyOf = (b) => b.#bytes; }
  get bodyUsed() { return this.#used; }
  async #take() {
    if (this.#used) throw new TypeError("the body has been read already: clone() before, to read it twice");
    if (this.#bytes !== null) this.#used = true;
    return (await this.#bytes) ?? Buffer.alloc(0);
  }
  async text() { return new TextDecoder().decode(await this.#take()); }
  async json() { return JSON.parse(await this.text()); }
  async bytes() { return new Uint8Array(await this.#take()); }
  async arrayBuffer() { return (await this.bytes()).buffer; }
}
// extract is what a body is made of, as bytes of its own, and its type.
const extract = (body) => {
  if (body === undefined || body === null) return [null, null];
  if (body instanceof URLSearchParams) return [Buffer.from(body.toString()), "application/x-www-form-urlencoded;charset=UTF-8"];
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return [Buffer.from(shared.bytesOf(body, "the body")), null];
  if (typeof body === "object" && Object.prototype.toString === body.toString) throw new TypeError("the body must be text, bytes or URLSearchParams: for JSON use JSON.stringify");
  return [Buffer.from(`${body}`.toWellFormed()), "text/plain;charset=UTF-8"];
};
const optionsOf = (options, what) => {
  if (options !== undefined && (typeof options !== "object" || options === null)) throw new TypeError(`${what}: the options must be an object`);
  return options ?? {};
};

const methods = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
class Request extends Body {
  #method; #url; #headers; #redirect; #signal;
  constructor(input, init = undefined) {
    if (arguments.length === 0) throw new TypeError("Request takes a URL or a Request");
    const from = input instanceof Request ? input : null;
    init = optionsOf(init, "Request");
    let url = from?.#url;
    if (!from) {
      const parsed = URL.parse(input);
      if (!parsed) throw new TypeError(`fetch: ${JSON.stringify(`${input}`)} is no URL: it begins with http:// or https://`);
      if (parsed.username || parsed.password) throw new TypeError("fetch: a URL must not hold a name and a password: send them in the header Authorization");
      url = parsed.href;
    }
    let method = init.method === undefined ? from?.#method ?? "GET" : `${init.method}`;
    if (!token.test(method)) throw new TypeError(`fetch: ${JSON.stringify(method)} is not a method`);
    if (methods.includes(method.toUpperCase())) method = method.toUpperCase();
    if (["CONNECT", "TRACE", "TRACK"].includes(method.toUpperCase())) throw new TypeError(`fetch: the method ${method} is not allowed`);
    const redirect = init.redirect === undefined ? from?.#redirect ?? "follow" : `${init.redirect}`;
    if (!["follow", "error", "manual"].includes(redirect)) throw new TypeError(`fetch: redirect must be "follow", "error" or "manual", not ${JSON.stringify(redirect)}`);
    const signal = init.signal === undefined ? from?.#signal ?? null : init.signal;
    if (signal !== null && !(signal instanceof AbortSignal)) throw new TypeError("fetch: signal must be an AbortSignal");
    const headers = new Headers(init.headers ?? from?.#headers);
    const given = init.body !== undefined && init.body !== null;
    if (from?.bodyUsed && !given) throw new TypeError("fetch: the body of the Request has been read already");
    const [bytes, type] = given ? extract(init.body) : [from ? bodyOf(from) : null, null];
    if (bytes !== null && (method === "GET" || method === "HEAD")) throw new TypeError(`fetch: a request with the method ${method} can't have a body`);
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    super(bytes);
    this.#method = method;
    this.#url = url;
    this.#headers = headers;
    this.#redirect = redirect;
    this.#signal = signal;
  }
  get method() { return this.#method; }
  get url() { return this.#url; }
  get headers() { return this.#headers; }
  get redirect() { return this.#redirect; }
  get signal() { return (this.#signal ??= new AbortController().signal); }
  clone() { return new Request(this); }
  get [Symbol.toStringTag]() { return "Request"; }
  [custom](depth, options, inspect) { return "Request " + inspect({ method: this.method, url: this.url, headers: this.headers, redirect: this.redirect }); }
}

const empty = [101, 103, 204, 205, 304];
// Raw is what a Response is made of that no script has made.
class Raw {
  constructor(bytes, status, statusText, url, redirected, headers, type = "basic") { Object.assign(this, { bytes, status, statusText, url, redirected, headers, type }); }
}
class Response extends Body {
  #status; #statusText; #headers; #url = ""; #redirected = false; #type = "default";
  constructor(body = null, init = undefined) {
    if (body instanceof Raw) {
      super(body.bytes);
      this.#status = body.status;
      this.#statusText = body.statusText;
      this.#url = body.url;
      this.#redirected = body.redirected;
      this.#headers = body.headers;
      this.#type = body.type;
      return;
    }
    init = optionsOf(init, "Response");
    const status = init.status === undefined ? 200 : Number(init.status);
    if (!(Number.isInteger(status) && status >= 200 && status <= 599)) throw new RangeError("Response: the status must be 200 to 599");
    const text = `${init.statusText ?? ""}`;
    if (/[^\t\x20-\x7e\x80-\xff]/.test(text)) throw new TypeError("Response: the statusText has characters that can't be");
    const headers = new Headers(init.headers ?? undefined);
    const [bytes, type] = extract(body);
    if (bytes !== null && empty.includes(status)) throw new TypeError(`Response: one with the status ${status} can't have a body`);
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    super(bytes);
    this.#status = status;
    this.#statusText = text;
    this.#headers = headers;
  }
  static json(data, init = undefined) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Response.json: the value has no JSON");
    const r = new Response(text, init);
    if (!new Headers(init?.headers ?? undefined).has("content-type")) r.headers.set("content-type", "application/json");
    return r;
  }
  static error() { return new Response(new Raw(null, 0, "", "", false, new Headers(), "error")); }
  static redirect(url, status = 302) {
    const to = new URL(url).href;
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError("Response.redirect: the status must be 301, 302, 303, 307 or 308");
    return new Response(null, { status, headers: { location: to } });
  }
  get status() { return this.#status; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get statusText() { return this.#statusText; }
  get headers() { return this.#headers; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  get type() { return this.#type; }
  clone() {
    if (this.bodyUsed) throw new TypeError("Response.clone: the body has been read already");
    return new Response(new Raw(bodyOf(this), this.#status, this.#statusText, this.#url, this.#redirected, new Headers(this.#headers), this.#type));
  }
  get [Symbol.toStringTag]() { return "Response"; }
  [custom](depth, options, inspect) {
    return "Response " + inspect({ status: this.status, statusText: this.statusText, headers: this.headers, url: this.url, redirected: this.redirected, bodyUsed: this.bodyUsed });
  }
}

shared.fetchError = (message, late) => (late ? new DOMException(message, "TimeoutError") : new TypeError(message));

function fetch(input, init = undefined) {
  try {
    const request = new Request(input, init);
    const signal = request.signal;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (!/^https?:/.test(request.url)) throw new TypeError(`fetch: ${request.url} begins with neither http:// nor https://`);
    const headers = [];
    for (const [name, value] of request.headers) headers.push(name, value);
    const [head, body, id] = native.fetch(request.method, request.url, headers, bodyOf(request) ?? undefined, request.redirect);
    const stop = () => native.cancelFetch(id, signal.reason);
    const done = () => signal.removeEventListener("abort", stop);
    signal.addEventListener("abort", stop);
    body.then(done, done); // also: that nobody reads it is no mistake
    return head.then(
      ([status, statusText, url, redirected, list]) => {
        const headers = new Headers();
        for (let i = 0; i < list.length; i += 2) headers.append(list[i], list[i + 1]);
        return new Response(new Raw(body, status, statusText, url, redirected, headers));
      },
      (e) => { done(); throw e; },
    );
  } catch (e) {
    return Promise.reject(e);
  }
}

for (const [name, value] of Object.entries({ Headers, Request, Response, fetch })) {
  if (name !== "fetch") {
    for (const [key, d] of Object.entries(Object.getOwnPropertyDescriptors(value.prototype))) {
      if (key !== "constructor") Object.defineProperty(value.prototype, key, { ...d, enumerable: true });
    }
  }
  shared.define(globalThis, name, value);
}
})
