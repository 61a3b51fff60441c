// Buffer: Node's, as far as plugins need it. A Uint8Array underneath.
(function (native, shared) {
"use strict";

const encodings = { utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", latin1: "latin1", binary: "latin1", ascii: "ascii", utf16le: "utf16le", "utf-16le": "utf16le", ucs2: "utf16le", "ucs-2": "utf16le" };
const encodingOf = (name) => {
  if (name === undefined || name === null) return "utf8";
  const e = encodings[String(name).toLowerCase()];
  if (!e) throw new TypeError(`Unknown encoding: ${String(name)}`);
  return e;
};
const isView = (v) => ArrayBuffer.isView(v);
const bytesOf = (v, what) => {
  if (v instanceof Uint8Array) return v;
  if (isView(v)) return new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
  if (v instanceof ArrayBuffer) return new Uint8Array(v);
  throw new TypeError(`${what} must be a Buffer or Uint8Array`);
};
const clamp = (v, fallback, max) => {
  if (v === undefined) return fallback;
  v = Math.trunc(Number(v)) || 0;
  return Math.min(Math.max(v, 0), max);
};

class Buffer extends Uint8Array {
  static poolSize = 0;

  static from(value, second, third) {
    if (typeof value === "string") return native.bufferOf(value, encodingOf(second));
    if (value instanceof ArrayBuffer) return new Buffer(value, second, third);
    if (value instanceof String) return native.bufferOf(String(value), encodingOf(second));
    if (value === null || value === undefined || typeof value !== "object") throw new TypeError("Buffer.from takes a string, an array, an ArrayBuffer or a Buffer");
    if (value.type === "Buffer" && Array.isArray(value.data)) value = value.data;
    if (isView(value) && !(value instanceof Uint8Array) && !(Symbol.iterator in value)) value = bytesOf(value);
    const b = new Buffer(value.length >>> 0);
    if (value instanceof Uint8Array) b.set(value);
    else for (let i = 0; i < b.length; i++) b[i] = value[i];
    return b;
  }
  static of(...items) { return Buffer.from(items); }
  static alloc(size, fill, encoding) {
    if (typeof size !== "number") throw new TypeError("Buffer.alloc takes a size, a number");
    if (!(size >= 0)) throw new RangeError("Buffer.alloc takes a size of zero or more");
    const b = new Buffer(size);
    return fill === undefined || fill === 0 ? b : b.fill(fill, encoding);
  }
  static allocUnsafe(size) { return Buffer.alloc(size); }
  static allocUnsafeSlow(size) { return Buffer.alloc(size); }
  static byteLength(value, encoding) {
    return typeof value === "string" ? native.fromText(value, encodingOf(encoding)).byteLength : bytesOf(value, "the argument").byteLength;
  }
  static isBuffer(v) { return v instanceof Buffer; }
  static isEncoding(name) { return typeof name === "string" && name.toLowerCase() in encodings; }
  static compare(a, b) { return native.compare(bytesOf(a, "the first argument"), bytesOf(b, "the second argument")); }
  static concat(list, length) {
    if (!Array.isArray(list)) throw new TypeError("Buffer.concat takes an array of Buffers");
    const whole = length === undefined ? native.concat(list) : undefined;
    if (whole !== undefined) return whole;
    let total = 0;
    for (let i = 0; i < list.length; i++) total += bytesOf(list[i], `list[${i}]`).length;
    const b = Buffer.alloc(length ?? total);
    let at = 0;
    for (const part of list) {
      if (at >= b.length) break;
      const bytes = bytesOf(part);
      b.set(at + bytes.length > b.length ? bytes.subarray(0, b.length - at) : bytes, at);
      at += bytes.length;
    }
    return b;
  }

  get parent() { return this.buffer; }
  get offset() { return this.byteOffset; }

  toString(encoding, start, end) {
    start = clamp(start, 0, this.length);
    end = clamp(end, this.length, this.length);
    return start >= end ? "" : native.toText(this, encodingOf(encoding), start, end);
  }
  toLocaleString(encoding, start, end) { return this.toString(encoding, start, end); }
  toJSON() { return { type: "Buffer", data: Array.from(this) }; }
  equals(other) { return Buffer.compare(this, other) === 0; }
  compare(other, ts = 0, te = other.length, ss = 0, se = this.length) {
    return native.compare(this.subarray(ss, se), bytesOf(other, "the argument").subarray(ts, te));
  }
  indexOf(value, from, encoding) { return search(this, value, from, encoding, false); }
  lastIndexOf(value, from, encoding) { return search(this, value, from, encoding, true); }
  includes(value, from, encoding) { return search(this, value, from, encoding, false) >= 0; }
  // Node's slice shares memory, as subarray does.
  slice(start, end) { return this.subarray(start, end); }
  subarray(start, end) {
    const n = this.length;
    const at = (v, fallback) => {
      if (v === undefined) return fallback;
      v = Math.trunc(Number(v)) || 0;
      return v < 0 ? Math.max(n + v, 0) : Math.min(v, n);
    };
    start = at(start, 0);
    end = at(end, n);
    return new Buffer(this.buffer, this.byteOffset + start, Math.max(end - start, 0));
  }
  fill(value, start, end, encoding) {
    if (typeof start === "string") { encoding = start; start = undefined; }
    if (typeof end === "string") { encoding = end; end = undefined; }
    start = clamp(start, 0, this.length);
    end = clamp(end, this.length, this.length);
    if (typeof value === "number" || typeof value === "boolean") {
      super.fill(Number(value) & 255, start, end);
      return this;
    }
    const bytes = typeof value === "string" ? Buffer.from(value, encoding) : bytesOf(value, "the value");
    if (bytes.length === 0) {
      if (typeof value === "string" && value !== "") throw new TypeError(`fill: ${JSON.stringify(value)} has no bytes in this encoding`);
      super.fill(0, start, end);
      return this;
    }
    super.set(bytes.subarray(0, Math.max(end - start, 0)), start);
    for (let n = bytes.length; n < end - start; n *= 2) super.copyWithin(start + n, start, start + Math.min(n, end - start - n));
    return this;
  }
  copy(target, at = 0, start = 0, end = this.length) {
    bytesOf(target, "the target");
    if (at < 0) throw new RangeError(`offset ${at} is outside of the target`);
    if (start < 0 || start > this.length) throw new RangeError(`offset ${start} is outside of the buffer of ${this.length} bytes`);
    if (at >= target.length) return 0;
    const part = this.subarray(start, Math.min(end, start + Math.max(target.length - at, 0)));
    target.set(part, at);
    return part.length;
  }
  write(text, offset, length, encoding) {
    if (typeof offset === "string") { encoding = offset; offset = undefined; length = undefined; }
    if (typeof length === "string") { encoding = length; length = undefined; }
    if (typeof text !== "string") throw new TypeError("write takes text");
    if (offset < 0 || offset > this.length) throw new RangeError(`offset ${offset} is outside of the buffer of ${this.length} bytes`);
    offset = clamp(offset, 0, this.length);
    const bytes = Buffer.from(text, encoding);
    return bytes.copy(this, offset, 0, Math.min(bytes.length, length ?? bytes.length));
  }
  swap16() { return swap(this, 2); }
  swap32() { return swap(this, 4); }
  swap64() { return swap(this, 8); }

  readUIntBE(offset, n) { width(n); let v = 0; for (let i = 0; i < n; i++) v = v * 256 + byteAt(this, offset + i); return v; }
  readUIntLE(offset, n) { width(n); let v = 0; for (let i = n - 1; i >= 0; i--) v = v * 256 + byteAt(this, offset + i); return v; }
  readIntBE(offset, n) { const v = this.readUIntBE(offset, n); return v >= 2 ** (8 * n - 1) ? v - 2 ** (8 * n) : v; }
  readIntLE(offset, n) { const v = this.readUIntLE(offset, n); return v >= 2 ** (8 * n - 1) ? v - 2 ** (8 * n) : v; }
  writeUIntBE(v, offset, n) { fits(v, 0, 2 ** (8 * n) - 1, n); room(this, offset, n); for (let i = n - 1; i >= 0; i--) { this[offset + i] = v % 256; v = Math.floor(v / 256); } return offset + n; }
  writeUIntLE(v, offset, n) { fits(v, 0, 2 ** (8 * n) - 1, n); room(this, offset, n); for (let i = 0; i < n; i++) { this[offset + i] = v % 256; v = Math.floor(v / 256); } return offset + n; }
  writeIntBE(v, offset, n) { fits(v, -(2 ** (8 * n - 1)), 2 ** (8 * n - 1) - 1, n); return this.writeUIntBE(v < 0 ? v + 2 ** (8 * n) : v, offset, n); }
  writeIntLE(v, offset, n) { fits(v, -(2 ** (8 * n - 1)), 2 ** (8 * n - 1) - 1, n); return this.writeUIntLE(v < 0 ? v + 2 ** (8 * n) : v, offset, n); }
}

const swap = (b, n) => {
  if (b.length % n !== 0) throw new RangeError(`the buffer of ${b.length} bytes is no multiple of ${n}`);
  for (let i = 0; i < b.length; i += n) b.subarray(i, i + n).reverse();
  return b;
};
const width = (n) => {
  if (typeof n !== "number") throw new TypeError("the number of bytes must be a number");
  if (!(n >= 1 && n <= 6)) throw new RangeError(`${n} is not a number of bytes from 1 to 6`);
};
const fits = (v, low, high, n) => {
  width(n);
  if (!(v >= low && v <= high)) throw new RangeError(`${v} does not fit ${n} byte${n > 1 ? "s" : ""}`);
};
const byteAt = (b, i) => {
  if (typeof i !== "number") throw new TypeError("an offset must be a number");
  const v = b[i];
  if (v === undefined) throw new RangeError(`offset ${i} is outside of the buffer of ${b.length} bytes`);
  return v;
};
const room = (b, offset, n) => {
  if (typeof offset !== "number") throw new TypeError("an offset must be a number");
  if (!(offset >= 0 && offset + n <= b.length)) throw new RangeError(`offset ${offset} is outside of the buffer of ${b.length} bytes`);
};
const method = (name, value) => Object.defineProperty(Buffer.prototype, name, { value, writable: true, configurable: true });
const alias = (name, value) => {
  method(name, value);
  if (name.includes("UInt")) method(name.replace("UInt", "Uint"), value);
};
for (const order of ["BE", "LE"]) {
  for (const name of ["readUInt" + order, "writeUInt" + order]) alias(name, Buffer.prototype[name]);
  for (const n of [1, 2, 4]) {
    if (n === 1 && order === "LE") continue;
    const suffix = n === 1 ? "8" : n * 8 + order;
    for (const kind of ["UInt", "Int"]) {
      alias("read" + kind + suffix, function (offset = 0) { return this[`read${kind}${order}`](offset, n); });
      alias("write" + kind + suffix, function (v, offset = 0) {
        return this[`write${kind}${order}`](v, offset, n);
      });
    }
  }
  for (const [name, type, n] of [["Float", "Float32", 4], ["Double", "Float64", 8], ["BigInt64", "BigInt64", 8], ["BigUInt64", "BigUint64", 8]]) {
    const view = (b, offset) => { room(b, offset, n); return new DataView(b.buffer, b.byteOffset, b.byteLength); };
    alias("read" + name + order, function (offset = 0) { return view(this, offset)["get" + type](offset, order === "LE"); });
    alias("write" + name + order, function (v, offset = 0) {
      if (name === "BigInt64" && typeof v === "bigint" && BigInt.asIntN(64, v) !== v || name === "BigUInt64" && typeof v === "bigint" && BigInt.asUintN(64, v) !== v) throw new RangeError(`${v} does not fit 8 bytes`);
      view(this, offset)["set" + type](offset, v, order === "LE"); return offset + n; });
  }
}

function search(b, value, from, encoding, last) {
  if (typeof from === "string") { encoding = from; from = undefined; }
  if (typeof value === "number") {
    value &= 255;
    return native.indexOf(b, Buffer.from([value]), from, last);
  }
  if (typeof value === "string") return native.indexOf(b, value, from, last, encodingOf(encoding));
  return native.indexOf(b, bytesOf(value, "the value"), from, last);
}

native.quicken(Buffer);
shared.define(globalThis, "Buffer", Buffer);
shared.Buffer = Buffer;
shared.bytesOf = bytesOf;

shared.define(globalThis, "btoa", function btoa(text) {
  if (arguments.length === 0) throw new TypeError("btoa takes text");
  text = String(text);
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) throw new DOMException("btoa: a character is beyond U+00FF", "InvalidCharacterError");
  return Buffer.from(text, "latin1").toString("base64");
});
shared.define(globalThis, "atob", function atob(text) {
  if (arguments.length === 0) throw new TypeError("atob takes text");
  text = String(text).replace(/[\t\n\f\r ]/g, "");
  if (text.length % 4 === 0) text = text.replace(/==?$/, "");
  if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw new DOMException("atob: not base64", "InvalidCharacterError");
  return Buffer.from(text, "base64").toString("latin1");
});
})
