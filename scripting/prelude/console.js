// console, which shows values as Node's util.inspect does.
(function (native, shared) {
"use strict";

const WIDTH = 80;
const MOST_ITEMS = 100;
const identifier = /^[A-Za-z_]\w*$/;
const quote = (s) => {
  const q = !s.includes("'") ? "'" : !s.includes('"') ? '"' : !s.includes("`") && !s.includes("${") ? "`" : "'";
  let out = "";
  for (const c of s) {
    const code = c.codePointAt(0);
    if (c === q || c === "\\") out += "\\" + c;
    else if (c === "\n") out += "\\n";
    else if (c === "\t") out += "\\t";
    else if (c === "\r") out += "\\r";
    else if (c === "\b") out += "\\b";
    else if (c === "\f") out += "\\f";
    else if (c === "\v") out += "\\v";
    else if (code < 32 || code === 127) out += "\\x" + code.toString(16).padStart(2, "0").toUpperCase();
    else if (code >= 0xd800 && code <= 0xdfff) out += "\\u" + code.toString(16).toUpperCase();
    else out += c;
  }
  return q + out + q;
};
const keyText = (key) => (key === "__proto__" ? "['__proto__']" : typeof key === "symbol" ? `[${String(key)}]` : identifier.test(key) ? key : quote(key));

function inspect(value, options) {
  const depth = options?.depth === undefined ? 2 : options.depth === null ? Infinity : options.depth;
  return show(value, { depth, seen: [], refs: new Map(), breakLength: options?.breakLength ?? WIDTH, compact: options?.compact ?? 3, showHidden: Boolean(options?.showHidden) }, 0, 0, false);
}

function show(value, ctx, level, indent, typed) {
  switch (typeof value) {
    case "string": return level === 0 && !typed ? quote(value) : longString(value, ctx, indent);
    case "number": return Object.is(value, -0) ? "-0" : String(value);
    case "bigint": return `${value}n`;
    case "symbol": return String(value);
    case "undefined": case "boolean": return String(value);
  }
  if (value === null) return "null";
  if (native.isProxy(value)) return native.proxyTarget(value) === undefined ? "<Revoked Proxy>" : show(native.proxyTarget(value), ctx, level, indent, typed);
  if (ctx.seen.includes(value)) {
    if (!ctx.refs.has(value)) ctx.refs.set(value, ctx.refs.size + 1);
    return `[Circular *${ctx.refs.get(value)}]`;
  }
  const custom = value[inspect.custom];
  if (typeof custom === "function" && custom !== inspect) {
    const r = custom.call(value, ctx.depth - level, {}, inspect);
    return typeof r === "string" ? r.replaceAll("\n", "\n" + " ".repeat(indent)) : show(r, ctx, level, indent, true);
  }
  const text = object(value, ctx, level, indent);
  return ctx.refs.has(value) ? `<ref *${ctx.refs.get(value)}> ${text}` : text;
}

const longString = (value, ctx, indent) => {
  if (value.length > 16 && value.length > ctx.breakLength - indent - 10 && value.includes("\n")) {
    return value.split(/(?<=\n)/).map(quote).join(" +\n" + " ".repeat(indent + 2));
  }
  return value.length > 10000 ? `${quote(value.slice(0, 10000))}... ${value.length - 10000} more characters` : quote(value);
};

const nameOf = (value) => {
  for (let o = value, first = true; o !== null && o !== undefined; o = Object.getPrototypeOf(o), first = false) {
    const d = Object.getOwnPropertyDescriptor(o, "constructor");
    if (d && typeof d.value === "function" && d.value.name !== "" && (first || value instanceof d.value || o !== value)) return d.value.name;
  }
  return null;
};
const prefix = (name, fallback, tag, size) => {
  const s = size === undefined ? "" : `(${size})`;
  let p = name === null ? `[${fallback}${s}: null prototype] ` : `${name}${s} `;
  if (tag && tag !== name) p += `[${tag}] `;
  return p;
};

function object(value, ctx, level, indent) {
  const name = nameOf(value);
  let tag = value[Symbol.toStringTag];
  if (typeof tag !== "string" || tag === "" || Object.prototype.propertyIsEnumerable.call(value, Symbol.toStringTag)) tag = "";
  // Of many bytes nobody wants to see the names: they are their numbers.
  let keys = ArrayBuffer.isView(value) && value.length > 100 ? [] : Object.keys(value);
  const symbols = Object.getOwnPropertySymbols(value).filter((s) => Object.prototype.propertyIsEnumerable.call(value, s));
  let start = "", open = "{", close = "}", parts = null, base = "";
  const inner = indent + 2;
  const child = (v) => show(v, ctx, level + 1, inner, true);

  if (Array.isArray(value)) {
    keys = keys.filter((k) => !/^(0|[1-9]\d*)$/.test(k));
    open = "["; close = "]";
    start = name === "Array" && !tag ? "" : prefix(name, "Array", tag, value.length);
    if (value.length === 0 && keys.length + symbols.length === 0) return start + "[]";
    parts = () => items(value, child);
  } else if (value instanceof Set) {
    start = prefix(name, "Set", tag === "Set" ? "" : tag, value.size);
    parts = () => [...Set.prototype.values.call(value)].map(child);
    if (value.size === 0 && keys.length + symbols.length === 0) return start + "{}";
  } else if (value instanceof Map) {
    start = prefix(name, "Map", tag === "Map" ? "" : tag, value.size);
    parts = () => [...Map.prototype.entries.call(value)].map(([k, v]) => `${child(k)} => ${child(v)}`);
    if (value.size === 0 && keys.length + symbols.length === 0) return start + "{}";
  } else if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    keys = keys.filter((k) => !/^(0|[1-9]\d*)$/.test(k));
    if ((shared.Buffer && value instanceof shared.Buffer)) {
      const hex = [...value.subarray(0, 50)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
      base = `<Buffer${hex ? " " + hex : ""}${value.length > 50 ? ` ... ${value.length - 50} more bytes` : ""}>`;
    } else {
      open = "["; close = "]";
      start = prefix(name, "TypedArray", "", value.length);
      if (value.length === 0 && keys.length === 0) return start + "[]";
      parts = () => items(value, child);
    }
  } else if (value instanceof DataView) {
    start = prefix(name, "DataView", "");
    parts = () => [`byteLength: ${child(value.byteLength)}`, `byteOffset: ${child(value.byteOffset)}`, `buffer: ${child(value.buffer)}`];
  } else if (value instanceof ArrayBuffer) {
    const bytes = [...new Uint8Array(value).subarray(0, 50)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
    start = prefix(name, "ArrayBuffer", "");
    parts = () => [`[Uint8Contents]: <${bytes}${value.byteLength > 50 ? ` ... ${value.byteLength - 50} more bytes` : ""}>`, `byteLength: ${value.byteLength}`];
  } else if (typeof value === "function") {
    const text = Function.prototype.toString.call(value);
    const own = Object.getOwnPropertyDescriptor(value, "name")?.value;
    if (text.startsWith("class")) {
      base = `[class ${own || "(anonymous)"}`;
      const parent = Object.getPrototypeOf(value)?.name;
      if (parent) base += ` extends ${parent}`;
      base += "]";
    } else {
      base = `[${name && /Function$/.test(name) ? (tag && tag !== name ? tag : name) : "Function"}${own ? `: ${own}` : " (anonymous)"}]`;
    }
  } else if (value instanceof Error) {
    base = errorText(value, indent);
    keys = keys.filter((k) => !["stack", "message", "name"].includes(k) || !base.includes(String(value[k])));
    if (Object.hasOwn(value, "cause") && !keys.includes("cause")) keys.push("cause");
    if (Array.isArray(value.errors) && !keys.includes("errors")) keys.push("errors");
  } else if (value instanceof RegExp) {
    base = RegExp.prototype.toString.call(value);
  } else if (value instanceof Date) {
    base = Number.isNaN(Date.prototype.getTime.call(value)) ? "Invalid Date" : Date.prototype.toISOString.call(value);
    if (value instanceof shared.DateTimeValue) base = `DateTimeValue ${shared.dateText(value)}`;
    else if (name !== "Date") base = `${name} ${base}`;
    if (value instanceof shared.DateTimeValue) keys = keys.filter((k) => k !== "microsecond" && k !== "offset");
  } else if (value instanceof Promise) {
    const [state, result] = native.promise(value);
    start = prefix(name, "Promise", tag === "Promise" ? "" : tag);
    parts = () => [state === 0 ? "<pending>" : state === 1 ? child(result) : `<rejected> ${child(result)}`];
  } else if (value instanceof WeakMap || value instanceof WeakSet) {
    start = prefix(name, "WeakMap", "");
    parts = () => ["<items unknown>"];
  } else if (value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof Symbol || value instanceof BigInt) {
    const v = value.valueOf();
    if (typeof v === "string") keys = keys.filter((k) => !/^\d+$/.test(k));
    base = `[${typeof v === "bigint" ? "BigInt" : name}: ${show(v, ctx, 0, 0, true)}]`;
  } else {
    if (name !== "Object" || tag) start = prefix(name, "Object", tag);
    if (keys.length + symbols.length === 0) return start + "{}";
  }
  const all = [...keys, ...symbols];
  if (base && all.length === 0) return base;
  if (level > ctx.depth) return `[${Array.isArray(value) ? "Array" : name === null ? "Object: null prototype" : tag || name}]`;
  ctx.seen.push(value);
  ctx.deepest = level; // of what was shown last
  try {
    const list = parts ? parts() : [];
    for (const key of all) list.push(property(value, key, child, ctx, level, inner));
    return join(list, base ? base + " {" : start + open, close, indent, ctx, open === "[" ? value : null, level);
  } finally {
    ctx.seen.pop();
  }
}

function items(value, child) {
  const list = [];
  const most = Math.min(value.length, MOST_ITEMS);
  for (let i = 0; i < most; i++) {
    if (!(i in value)) {
      let n = 0;
      while (i + n < value.length && !(i + n in value) && n < 1e6) n++;
      list.push(`<${n} empty item${n > 1 ? "s" : ""}>`);
      i += n - 1;
    } else {
      list.push(child(value[i]));
    }
  }
  if (value.length > most) list.push(`... ${value.length - most} more item${value.length - most > 1 ? "s" : ""}`);
  return list;
}

function property(value, key, child, ctx, level, indent) {
  const d = Object.getOwnPropertyDescriptor(value, key) ?? { value: value[key], enumerable: true };
  let text;
  if (d.get) text = d.set ? "[Getter/Setter]" : "[Getter]";
  else if (d.set) text = "[Setter]";
  else text = child(d.value);
  const k = keyText(key);
  return `${d.enumerable || typeof key === "symbol" ? k : `[${String(key)}]`}: ${text}`;
}

// join puts entries together as Node does: on one line if they fit there and
// hold no more than three levels, many elements of an array as a table.
function join(list, open, close, indent, ctx, value, level) {
  const pad = " ".repeat(indent);
  const rows = value && list.length > 6 ? group(list, value, indent, ctx) : list;
  if (ctx.deepest - level < ctx.compact && rows === list) {
    const length = list.reduce((n, s) => n + s.length, list.length);
    if (length + list.length + indent + open.length + 10 <= ctx.breakLength && !list.some((s) => s.includes("\n")) && !open.includes("\n")) return `${open} ${list.join(", ")} ${close}`;
  }
  return `${open}\n${pad}  ${rows.join(`,\n${pad}  `)}\n${pad}${close}`;
}

function group(list, value, indent, ctx) {
  const count = list.length - (value.length > MOST_ITEMS ? 1 : 0); // without "... more items"
  const lengths = list.slice(0, count).map((s) => s.length);
  const total = lengths.reduce((n, l) => n + l + 2, 0);
  const longest = Math.max(...lengths), width = longest + 2;
  if (width * 3 + indent >= ctx.breakLength || !(total / width > 5 || longest <= 6)) return list;
  const bias = Math.max(width - 3 - Math.sqrt(width - total / list.length), 1);
  const columns = Math.min(Math.round(Math.sqrt(2.5 * bias * count) / bias), Math.floor((ctx.breakLength - indent) / width), ctx.compact * 4, 15);
  if (columns <= 1) return list;
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...lengths.filter((_, j) => j % columns === i)) + 2);
  const right = list.every((_, i) => typeof value[i] === "number" || typeof value[i] === "bigint");
  const rows = [];
  for (let i = 0; i < count; i += columns) {
    const last = Math.min(i + columns, count) - 1;
    let row = "";
    for (let j = i; j < last; j++) row += right ? `${list[j]}, `.padStart(widths[j - i]) : `${list[j]}, `.padEnd(widths[j - i]);
    rows.push(row + (right ? list[last].padStart(widths[last - i] - 2) : list[last]));
  }
  return rows.concat(list.slice(count));
}

function errorText(e, indent) {
  let stack = typeof e.stack === "string" ? native.stack(e.stack) : "";
  const title = titleOf(e);
  if (!stack) return `[${title}]`;
  return (title + (stack ? "\n" + stack : "")).replaceAll("\n", "\n" + " ".repeat(indent));
}
function titleOf(e) {
  let name = e.name, message = e.message;
  name = name === undefined ? "Error" : String(name);
  message = message === undefined ? "" : String(message);
  const ctor = nameOf(e);
  if (name === "Error" && ctor && ctor !== "Error" && ctor !== "Object") name = ctor;
  const code = e.code !== undefined && typeof e.code === "string" && !(e instanceof DOMException) && !message.includes(e.code) ? ` [${e.code}]` : "";
  return message ? `${name}${code}: ${message}` : name + code;
}
inspect.format = (...args) => format(args); // what util.format is
inspect.custom = Symbol.for("nodejs.util.inspect.custom");
shared.inspect = inspect;
shared.title = (e) => (e instanceof Error ? titleOf(e) : "Uncaught " + inspect(e));

// format joins arguments as console.log does: %s %d %i %f %j %o %O %c %%.
function format(args) {
  let i = 0, out = "";
  if (typeof args[0] === "string") {
    if (args.length === 1) return args[0];
    i = 1;
    out = args[0].replace(/%[sdifjoOc%]/g, (spec) => {
      if (spec === "%%") return "%";
      if (i >= args.length) return spec;
      const v = args[i++];
      switch (spec) {
        case "%s": return typeof v === "string" ? v : typeof v === "bigint" ? `${v}n` : typeof v === "object" && v !== null && !(v instanceof Error) ? inspect(v, { depth: 0 }) : v instanceof Error ? titleOf(v) : Object.is(v, -0) ? "-0" : String(v);
        case "%d": return typeof v === "bigint" ? `${v}n` : typeof v === "symbol" ? "NaN" : String(Number(v));
        case "%i": return typeof v === "bigint" ? `${v}n` : typeof v === "symbol" ? "NaN" : String(Number.parseInt(v));
        case "%f": return typeof v === "symbol" ? "NaN" : String(Number.parseFloat(v));
        case "%j": try { return JSON.stringify(v); } catch { return "[Circular]"; }
        case "%o": return inspect(v, { depth: 4, showHidden: true });
        case "%O": return inspect(v);
        case "%c": return "";
      }
    });
  }
  for (; i < args.length; i++) {
    const v = args[i];
    if (i > 0) out += " ";
    out += typeof v === "string" ? v : inspect(v);
  }
  return out;
}
shared.format = format;

const DEBUG = -4, INFO = 0, WARN = 4, ERROR = 8;
let indentation = "";
const write = (level, args) => { if (native.mayWrite(level)) put(level, args); };
const put = (level, args) => { // once native.mayWrite has said so
  const text = format(args);
  native.log(level, indentation ? indentation + text.replaceAll("\n", "\n" + indentation) : text);
};
const counts = new Map(), times = new Map();
const took = (label) => {
  const t = times.get(label);
  if (t === undefined) return undefined;
  const ms = native.now() - t;
  return ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${ms.toFixed(3)}ms`;
};
// What nobody reads, or is dropped, costs a script next to nothing: Go looks first.
const method = (name, level) => native.ifMayWrite(name, level, (...args) => { put(level, args); });
const console = {
  log: method("log", INFO),
  info: method("info", INFO),
  debug: method("debug", DEBUG),
  warn: method("warn", WARN),
  error: method("error", ERROR),
  trace(...args) {
    if (!native.mayWrite(DEBUG)) return;
    const stack = native.stack(new Error().stack);
    put(DEBUG, [`Trace${args.length ? ": " + format(args) : ""}\n${stack}`]);
  },
  assert(ok, ...args) {
    if (ok) return;
    if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else args.unshift("Assertion failed");
    write(ERROR, args);
  },
  dir(value, options) { if (native.mayWrite(INFO)) put(INFO, [inspect(value, options)]); },
  dirxml(...args) { write(INFO, args); },
  count(label = "default") { label = String(label); const n = (counts.get(label) ?? 0) + 1; counts.set(label, n); write(INFO, [`${label}: ${n}`]); },
  countReset(label = "default") { counts.delete(String(label)); },
  time(label = "default") { times.set(String(label), native.now()); },
  timeLog(label = "default", ...args) { const t = took(String(label)); write(t ? INFO : WARN, t ? [`${label}: ${t}`, ...args] : [`No such label '${label}' for console.timeLog()`]); },
  timeEnd(label = "default") { const t = took(String(label)); times.delete(String(label)); write(t ? INFO : WARN, [t ? `${label}: ${t}` : `No such label '${label}' for console.timeEnd()`]); },
  group(...args) { if (args.length) write(INFO, args); indentation += "  "; },
  groupCollapsed(...args) { console.group(...args); },
  groupEnd() { indentation = indentation.slice(2); },
  table(data, columns) {
    if (!native.mayWrite(INFO)) return;
    if (typeof data !== "object" || data === null) return put(INFO, [data]);
    const rows = data instanceof Map ? [...data.entries()] : Object.entries(data);
    const heads = [...new Set(rows.flatMap(([, v]) => (typeof v === "object" && v !== null ? Object.keys(v) : [])))].filter((h) => !columns || columns.includes(h));
    const plain = rows.some(([, v]) => typeof v !== "object" || v === null);
    const head = ["(index)", ...heads, ...(plain ? ["Values"] : [])];
    const cell = (v) => (v === undefined ? "" : inspect(v, { depth: 0 }));
    const body = rows.map(([k, v]) => [String(k), ...heads.map((h) => (typeof v === "object" && v !== null && h in v ? cell(v[h]) : "")), ...(plain ? [typeof v !== "object" || v === null ? cell(v) : ""] : [])]);
    const widths = head.map((h, i) => Math.max(h.length, ...body.map((r) => r[i].length)) + 2);
    const line = (l, m, r) => l + widths.map((w) => "─".repeat(w)).join(m) + r;
    const row = (cells) => "│" + cells.map((c, i) => " " + c.padEnd(widths[i] - 1)).join("│") + "│";
    put(INFO, [[line("┌", "┬", "┐"), row(head), line("├", "┼", "┤"), ...body.map(row), line("└", "┴", "┘")].join("\n")]);
  },
  inspect,
};
Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
Object.defineProperty(console, "inspect", { enumerable: false });
shared.define(globalThis, "console", console);
})
