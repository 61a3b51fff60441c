// The module "amphost".
(function (native, shared) {
"use strict";

const kId = native.id; // the number that Go knows a Command, Peer or Tx by
const hide = (object, key, value) => Object.defineProperty(object, key, { value, enumerable: false });
const named = (klass, name = klass.name) => { Object.defineProperty(klass.prototype, "name", { value: name, writable: true, configurable: true }); return klass; };

// Errors.
const remote = new WeakSet(); // RemoteAmpErrors that a peer sent
class RemoteAmpError extends Error {
  constructor(code, description = "", options = {}) {
    if (typeof code !== "string" || code === "") throw new TypeError("RemoteAmpError: the code must be a string that is not empty");
    super(description === "" ? code : `${code}: ${description}`);
    this.code = code;
    this.description = String(description);
    if (options?.fatal) this.fatal = true;
  }
}
class UnhandledCommand extends Error { code = "UNHANDLED"; }
class ConnectionLost extends Error {}
class TimeoutError extends Error { code = "TIMEOUT"; }
class FileExistsError extends Error {
  constructor(file) { super(`a file called ${JSON.stringify(file)} exists`); this.file = file; }
}
for (const klass of [RemoteAmpError, UnhandledCommand, ConnectionLost, TimeoutError, FileExistsError]) named(klass);
for (const klass of [UnhandledCommand, TimeoutError]) {
  // code is a detail, not something to show twice.
  klass.hidden = true;
}

shared.RemoteAmpError = RemoteAmpError;
shared.isRemote = (e) => remote.has(e);
shared.remoteError = (code, description) => {
  const e = code === "UNHANDLED" ? new UnhandledCommand(description || code) : new RemoteAmpError(code || "UNKNOWN", description);
  if (e instanceof RemoteAmpError) { e.code = code; remote.add(e); }
  return e;
};
shared.declaredError = (Class, code, description) => {
  const e = new Class(description);
  if (!(e instanceof Error)) return e;
  e.code = code;
  if (e.message !== description) e.message = description;
  return e;
};
shared.timeoutError = (message) => new TimeoutError(message);
shared.connectionLost = (message) => new ConnectionLost(message);
shared.fileExists = (name) => new FileExistsError(name);
shared.plainError = (message) => new Error(message);

// Argument types.
class ArgumentType {
  constructor(kind, options, rest) {
    if (options !== undefined && (typeof options !== "object" || options === null)) throw new TypeError(`amp.${kind}: the options must be an object, as in { optional: true }`);
    for (const key of Object.keys(options ?? {})) {
      if (key !== "optional" && !(key === "bigint" && kind === "Integer")) throw new TypeError(`amp.${kind}: there is no option ${JSON.stringify(key)}`);
    }
    this.kind = kind;
    this.optional = Boolean(options?.optional);
    if (kind === "Integer") this.bigint = Boolean(options?.bigint);
    Object.assign(this, rest);
    Object.freeze(this);
  }
}
const simple = (kind) => ({ [kind](options) { return new ArgumentType(kind, options); } })[kind];
const fieldsOf = (fields, what) => {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw new TypeError(`${what} must be an object of argument types, as in { a: amp.Integer() }`);
  return Object.keys(fields).map((name) => {
    const type = fields[name];
    if (type instanceof ArgumentType) return [name, type];
    const hint = typeof type === "function" && type.name in types ? `: call it, amp.${type.name}()` : "";
    throw new TypeError(`${what}.${name} is not an argument type${hint || ", such as amp.Integer()"}`);
  });
};
const types = {
  Integer: simple("Integer"), Float: simple("Float"), Boolean: simple("Boolean"), Unicode: simple("Unicode"), String: simple("String"),
  Decimal: simple("Decimal"), DateTime: simple("DateTime"), Path: simple("Path"),
  ListOf(element, options) {
    if (!(element instanceof ArgumentType)) throw new TypeError("amp.ListOf takes an argument type, as in amp.ListOf(amp.Integer())");
    if (element.kind === "AmpList") throw new TypeError("amp.ListOf can't hold an AmpList: no AMP peer reads that");
    if (element.optional) throw new TypeError("amp.ListOf: an element can't be optional");
    return new ArgumentType("ListOf", options, { element });
  },
  AmpList(fields, options) { return new ArgumentType("AmpList", options, { fields: fieldsOf(fields, "amp.AmpList's fields") }); },
};
const Box = Object.freeze({ kind: "Box", toString() { return "amp.Box"; } });

// DateTimeValue: a Date with what it lacks.
class DateTimeValue extends Date {
  constructor(value, { microsecond = 0, offset = 0 } = {}) {
    super(value instanceof Date ? value.getTime() : value);
    if (!Number.isInteger(microsecond) || microsecond < 0 || microsecond > 999) throw new RangeError("DateTimeValue: microsecond must be 0 to 999, those beyond the milliseconds");
    if (!Number.isInteger(offset) || Math.abs(offset) > 1439) throw new RangeError("DateTimeValue: offset must be minutes east of UTC, less than a day");
    this.microsecond = microsecond;
    this.offset = offset;
    Object.freeze(this);
  }
}
for (const name of Object.getOwnPropertyNames(Date.prototype)) {
  if (name.startsWith("set")) Object.defineProperty(DateTimeValue.prototype, name, { value() { throw new TypeError("a DateTimeValue can't be changed: make a Date of it with new Date(value)"); }, writable: true, configurable: true });
}
shared.DateTimeValue = DateTimeValue;
shared.dateTime = (ms, microsecond, offset) => new DateTimeValue(ms, { microsecond, offset });
shared.dateText = (d) => {
  if (Number.isNaN(d.getTime())) return "Invalid Date";
  const pad = (n) => String(n).padStart(2, "0");
  const o = Math.abs(d.offset);
  return new Date(d.getTime() + d.offset * 60000).toISOString().slice(0, -1) + String(d.microsecond).padStart(3, "0") + (d.offset < 0 ? "-" : "+") + pad(Math.floor(o / 60)) + ":" + pad(o % 60);
};

// Commands.
shared.textOf = Function.prototype.call.bind(Function.prototype.toString);
const known = ["arguments", "response", "errors", "fatalErrors", "requiresAnswer"];
class Command {
  constructor(name, options = {}) { declare(this, name, options, false); }
  responder(fn) {
    if (typeof fn !== "function") throw new TypeError(`${this.name}.responder takes a function`);
    native.responder(this[kId], fn);
    return this;
  }
}
class ProtocolSwitchCommand {
  constructor(name, options = {}) { declare(this, name, options, true); }
  responder(fn) { return Command.prototype.responder.call(this, fn); }
}
function declare(command, name, options, switches) {
  if (typeof name !== "string" || name === "") throw new TypeError("a Command's name must be a string that is not empty");
  if (typeof options !== "object" || options === null) throw new TypeError(`Command ${name}: the second argument must be an object, as in { arguments: { a: amp.Integer() } }`);
  for (const key of Object.keys(options)) {
    if (!known.includes(key) || (switches && (key === "response" || key === "requiresAnswer"))) throw new TypeError(`Command ${name}: there is no option ${JSON.stringify(key)}; there are ${known.join(", ")}`);
  }
  const list = (key) => {
    const v = options[key];
    return v === undefined ? [] : v === Box ? null : fieldsOf(v, `Command ${name}: ${key}`);
  };
  const errors = [];
  for (const [key, fatal] of [["errors", false], ["fatalErrors", true]]) {
    const map = options[key] ?? {};
    if (typeof map !== "object") throw new TypeError(`Command ${name}: ${key} must map codes to classes, as in { NOT_FOUND: NotFoundError }`);
    for (const code of Object.keys(map)) {
      if (typeof map[code] !== "function") throw new TypeError(`Command ${name}: ${key}.${code} is not a class`);
      errors.push([code, map[code], fatal]);
    }
  }
  hide(command, "name", name);
  hide(command, kId, native.command(name, list("arguments"), list("response"), errors, options.requiresAnswer !== false, switches));
}
Object.defineProperty(Command.prototype, Symbol.toStringTag, { value: "Command", configurable: true });

class QuitBox {
  constructor(values = {}) {
    if (typeof values !== "object" || values === null) throw new TypeError("QuitBox takes the response's keys and values");
    hide(this, kId, values);
  }
}
shared.QuitBox = QuitBox;

// Peers.
class Peer {
  callRemote(command, args, options) {
    try {
      if (!(command instanceof Command) && !(command instanceof ProtocolSwitchCommand)) throw new TypeError("callRemote takes a Command, and its arguments");
      if (command instanceof ProtocolSwitchCommand) {
        if (typeof options?.protocol !== "string") throw new TypeError("callRemote: a ProtocolSwitchCommand needs { protocol: NAME }, the amp.protocol of this plugin that the connection switches to");
        return remoteCall((timeout) => native.callSwitch(this.id, command[kId], args ?? {}, options.protocol, timeout), options);
      }
      return remoteCall((timeout) => native.callRemote(this.id, command[kId], args ?? {}, timeout), options);
    } catch (e) {
      return Promise.reject(e);
    }
  }
  loseConnection() { native.loseConnection(this.id); }
  get identity() { return native.identity(this.id); }
  authenticate(identity) { native.authenticate(this.id, identity); }
  get state() { return native.state(this.id); }
  get tls() { return native.tls(this.id); }
  startTLS(options) {
    try { return native.startTLS(this.id, options); } catch (e) { return Promise.reject(e); }
  }
}
const peerState = (init = () => ({})) => {
  if (typeof init !== "function") throw new TypeError("amp.peerState takes a function that makes the state, as in amp.peerState(() => ({ user: \"\" }))");
  const seen = new WeakSet();
  return (peer) => {
    if (!(peer instanceof Peer)) throw new TypeError("a peer state is asked for with a peer");
    const state = peer.state;
    if (!seen.has(state)) {
      // What the version before has left stays.
      for (const [key, value] of Object.entries(init())) if (!Object.hasOwn(state, key)) state[key] = value;
      seen.add(state);
    }
    return state;
  };
};
Object.defineProperty(Peer.prototype, Symbol.toStringTag, { value: "Peer", configurable: true });
shared.peerPrototype = Peer.prototype;

// remoteCall starts a call that start makes, and ends it by its signal.
function remoteCall(start, options) {
  if (options === undefined || options === null) return start(-1)[0];
  if (typeof options !== "object") throw new TypeError("the options must be an object, as in { timeout: 1000 }");
  const { timeout, signal } = options;
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0)) throw new TypeError("timeout must be milliseconds, zero or more");
  if (signal === undefined) return start(timeout ?? -1)[0];
  if (!(signal instanceof AbortSignal)) throw new TypeError("signal must be an AbortSignal");
  if (signal.aborted) return Promise.reject(signal.reason);
  const [promise, id] = start(timeout ?? -1);
  const stop = () => native.cancelCall(id, signal.reason);
  signal.addEventListener("abort", stop);
  const done = () => signal.removeEventListener("abort", stop);
  promise.then(done, done);
  return promise;
}

// Raw bytes and boxes.
class Transport {
  write(data) {
    try { return native.transportWrite(this[kId], data); } catch (e) { return Promise.reject(e); }
  }
  loseConnection() { native.transportLose(this[kId]); }
  pause() { native.transportPause(this[kId], true); }
  resume() { native.transportPause(this[kId], false); }
}
shared.transport = (id, remoteAddress, localAddress) => {
  const t = new Transport();
  hide(t, kId, id);
  t.remoteAddress = remoteAddress;
  t.localAddress = localAddress;
  return t;
};
class BoxSender {
  constructor(id, peer) { hide(this, kId, id); this.peer = peer; }
  sendBox(box) { native.sendBox(this[kId], box); }
  loseConnection() { native.loseConnection(this.peer.id); }
}
shared.sender = (id, peer) => new BoxSender(id, peer);
const factory = (kind) => (name, fn) => {
  if (typeof name !== "string" || name === "") throw new TypeError(`amp.${kind} takes a name and a function`);
  if (typeof fn !== "function") throw new TypeError(`amp.${kind} takes a function that makes the handlers of a connection`);
  native[kind](name, fn);
};

// Store.
// Their other methods are Go's.
class Counter {}
class Files {
  readText(name) { const b = this.read(name); return b === undefined ? undefined : new TextDecoder("utf-8", { fatal: true }).decode(b); }
  *list(prefix = "") {
    for (let after = undefined; ;) {
      const names = native.fileList(this, prefix, after);
      yield* names;
      if (names.length < 256) return;
      after = names[names.length - 1];
    }
  }
}
class Tx {
  *scan(options = {}) {
    if (typeof options !== "object" || options === null) throw new TypeError("scan takes { prefix, start, end, limit, reverse }");
    const { prefix = "", start = "", end = "", limit = Infinity, reverse = false } = options;
    for (const key of Object.keys(options)) if (!["prefix", "start", "end", "limit", "reverse"].includes(key)) throw new TypeError(`scan: there is no option ${JSON.stringify(key)}`);
    if (typeof limit !== "number" || !(limit >= 0)) throw new TypeError("scan: limit must be zero or more");
    let left = limit, from = start, to = end;
    while (left > 0) {
      const want = Math.min(left, 128);
      const list = native.scan(this, prefix, from, to, want, Boolean(reverse), from !== start && !reverse);
      for (const entry of list) yield entry;
      left -= list.length;
      if (list.length < want) return;
      const [last] = list[list.length - 1];
      if (reverse && last === "") return; // an end of "" is none
      if (reverse) to = last;
      else from = last;
    }
  }
}
native.txObjects(Tx, Files, Counter, Object.getPrototypeOf(async () => {}));
// Go's own functions: with one of the prelude around it a small update takes a
// twentieth longer.
const entitled = (name, fn) => Object.defineProperties(fn, { name: { value: name }, length: { value: 1 } });
const store = Object.freeze({
  update: entitled("update", native.update),
  view: entitled("view", native.view),
  watch(prefix, fn) {
    if (typeof fn !== "function") throw new TypeError("amp.store.watch takes a prefix and a function of the changes");
    native.watchStore(prefix, fn);
  },
});

// The environment, as far as the plugin may see it: a name that it may not read
// is an error which says what to add, and not undefined.
const env = new Proxy({}, {
  get: (target, name) => (typeof name === "symbol" || name in Object.prototype || name === "toJSON" || name === "then" ? target[name] : native.env(name)),
  has: (target, name) => (typeof name === "symbol" ? false : native.envNames().includes(name)),
  ownKeys: () => native.envNames(),
  getOwnPropertyDescriptor: (target, name) => (typeof name === "symbol" || !native.envNames().includes(name) ? undefined : { value: native.env(name), enumerable: true, configurable: true }),
  set: (target, name) => { throw new TypeError(`amp.env.${String(name)}: the environment can't be changed`); },
  defineProperty: () => false,
  deleteProperty: () => false,
});

const handler = (kind) => (fn) => {
  if (typeof fn !== "function") throw new TypeError(`amp.${kind} takes a function`);
  native.handler(kind, fn);
};

let config;
shared.module = {
  Command, ProtocolSwitchCommand, QuitBox, Box, ...types, DateTimeValue,
  RemoteAmpError, UnhandledCommand, ConnectionLost, TimeoutError, FileExistsError,
  onLoad: handler("onLoad"), onUnload: handler("onUnload"), onConnect: handler("onConnect"), onDisconnect: handler("onDisconnect"),
  unhandled: handler("unhandled"), authorize: handler("authorize"),
  protocol: factory("protocol"), boxReceiver: factory("boxReceiver"),
  connect(address, options = {}) {
    try { return native.connect(String(address), Boolean(options?.reconnect), options?.tls); } catch (e) { return Promise.reject(e); }
  },
  dial(address, fn, options = {}) {
    if (typeof fn === "object" && fn !== null) [fn, options] = [undefined, fn];
    try { return native.dial(String(address), options?.tls, fn); } catch (e) { return Promise.reject(e); }
  },
  hot: Object.freeze({ save: handler("save") }),
  peers: () => native.peers(),
  peerState,
  call(command, args, options) {
    try {
      if (typeof command === "string") return remoteCall((timeout) => native.askNamed(command, args ?? {}, timeout), options);
      if (!(command instanceof Command)) throw new TypeError("amp.call takes a Command or a command's name, and its arguments");
      return remoteCall((timeout) => native.ask(command[kId], args ?? {}, timeout), options);
    } catch (e) {
      return Promise.reject(e);
    }
  },
  store,
  plugin: Object.freeze({ ...native.plugin, get config() { return (config ??= native.config()); } }),
  env,
  password: Object.freeze({
    hash(text) {
      try { return native.hashPassword(text); } catch (e) { return Promise.reject(e); }
    },
    verify(text, hash) {
      try { return native.verifyPassword(text, hash); } catch (e) { return Promise.reject(e); }
    },
  }),
  args: native.program.args,
  exit(status) { native.program.exit(status); },
  listen(address) {
    try { return native.program.listen(String(address)); } catch (e) { return Promise.reject(e); }
  },
};
Object.freeze(shared.module);
})
