'use strict';
// Sum over AMP in Node.js: node node_sum.js HOST:PORT
//
// What a good library would do: commands are declared with the types of their
// arguments and looked up by name, a responder gets an object and returns one or
// a promise of one. Boxes are parsed where they lie, integers are read and
// written without strings in between, answers gather in a pooled buffer, and
// what one read brought is answered with one write.

const net = require('node:net');

const MAX_KEY = 255;
const MAX_VALUE = 65535;

// --- types of arguments: parse(bytes, from, to) and write(out, value) ---

const integer = {
  parse(bytes, from, to) {
    let at = from;
    const negative = bytes[at] === 0x2d;
    if (negative) at++;
    if (to - at < 1 || to - at > 15) return integer.parseSlowly(bytes, from, to);
    let n = 0;
    for (; at < to; at++) {
      const digit = bytes[at] - 0x30;
      if (digit < 0 || digit > 9) return integer.parseSlowly(bytes, from, to);
      n = n * 10 + digit;
    }
    return negative ? -n : n;
  },
  // Python's int() also takes spaces around a number, a plus and underscores.
  parseSlowly(bytes, from, to) {
    const text = bytes.latin1Slice(from, to).trim().replace(/(?<=\d)_(?=\d)/g, '');
    if (!/^[+-]?\d+$/.test(text)) throw new RangeError(`${JSON.stringify(text)} is no integer`);
    const n = Number(text);
    return Number.isSafeInteger(n) ? n : BigInt(text);
  },
  write(out, n) {
    if (typeof n === 'number' && n >= 0 && n <= 9 && Number.isInteger(n)) {
      out.room(3);
      const { bytes } = out;
      bytes[out.at++] = 0;
      bytes[out.at++] = 1;
      bytes[out.at++] = 0x30 + n;
      return;
    }
    if (Number.isSafeInteger(n)) out.value(String(n));
    else out.value(BigInt(n).toString()); // a RangeError if it is none
  },
};

// --- commands ---

class Command {
  constructor(name, { args = {}, response = {} }, responder) {
    this.name = name;
    this.args = Object.entries(args).map(([key, type]) => ({ key, bytes: Buffer.from(key), type }));
    this.response = Object.entries(response).map(([key, type]) => ({ key, bytes: keyOf(key), type }));
    this.responder = responder;
  }
}

// keyOf is a key as it goes over the wire, with its length.
function keyOf(key) {
  const text = Buffer.from(key);
  return Buffer.concat([Buffer.from([0, text.length]), text]);
}

const ASK = Buffer.from('_ask');
const COMMAND = Buffer.from('_command');
const ANSWER = keyOf('_answer');
const ERROR = keyOf('_error');
const ERROR_CODE = keyOf('_error_code');
const ERROR_DESCRIPTION = keyOf('_error_description');

// --- answers ---

const SIZE = 64 * 1024;
const pool = [];

// An Out gathers what goes to a socket. Its buffers go back to the pool once
// the socket has written them.
class Out {
  constructor(socket) {
    this.socket = socket;
    this.bytes = null;
    this.at = 0;
    this.scheduled = false;
    this.flushSoon = () => {
      this.scheduled = false;
      this.flush();
    };
  }

  // room makes room for n bytes, at most SIZE, in one buffer.
  room(n) {
    if (this.bytes === null) {
      this.bytes = pool.pop() ?? Buffer.allocUnsafeSlow(SIZE);
    } else if (this.at + n > SIZE) {
      this.flush();
      this.bytes = pool.pop() ?? Buffer.allocUnsafeSlow(SIZE);
    }
  }

  copy(from, start, end) {
    const n = end - start;
    this.room(n);
    const { bytes } = this;
    let { at } = this;
    if (n < 24) for (let i = start; i < end; i++) bytes[at++] = from[i];
    else at += from.copy(bytes, at, start, end);
    this.at = at;
  }

  length(n) {
    this.room(2);
    this.bytes[this.at++] = n >> 8;
    this.bytes[this.at++] = n & 255;
  }

  value(text) {
    const n = Buffer.byteLength(text);
    if (n > MAX_VALUE) throw new RangeError('a value is too long');
    this.length(n);
    this.room(n);
    this.at += this.bytes.utf8Write(text, this.at, n);
  }

  flush() {
    if (this.at === 0) return;
    const { bytes, at } = this;
    this.bytes = null;
    this.at = 0;
    const drained = this.socket.write(bytes.subarray(0, at), () => pool.push(bytes));
    if (!drained) this.socket.pause(); // until drain: who does not read is not read
  }

  // schedule has what is written outside of a read go out with what else is.
  schedule() {
    if (!this.scheduled) {
      this.scheduled = true;
      process.nextTick(this.flushSoon);
    }
  }
}

// --- connections ---

// pairs are where keys and values of the box at hand lie: four numbers for each.
const pairs = new Int32Array(4 * 1024);

class Connection {
  constructor(socket, commands) {
    this.socket = socket;
    this.commands = commands;
    this.out = new Out(socket);
    this.rest = null; // the start of a box whose end has not come
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.data(chunk));
    socket.on('drain', () => socket.resume());
    socket.on('error', () => socket.destroy());
  }

  data(chunk) {
    let bytes = chunk;
    if (this.rest !== null) {
      bytes = Buffer.concat([this.rest, chunk]);
      this.rest = null;
    }
    this.socket.cork();
    let at = 0;
    while (at < bytes.length) {
      const next = this.box(bytes, at);
      if (next < 0) break;
      at = next;
    }
    if (at < bytes.length) this.rest = bytes.subarray(at);
    this.out.flush();
    this.socket.uncork();
  }

  // box handles the box at a place and returns where the next one is, or -1 if
  // its end has not come.
  box(bytes, at) {
    const end = bytes.length;
    let n = 0;
    for (;;) {
      if (at + 2 > end) return -1;
      const keyLength = (bytes[at] << 8) | bytes[at + 1];
      at += 2;
      if (keyLength === 0) break;
      if (keyLength > MAX_KEY || n === pairs.length) {
        this.socket.destroy();
        return end;
      }
      const valueAt = at + keyLength + 2;
      if (valueAt > end) return -1;
      const valueEnd = valueAt + ((bytes[valueAt - 2] << 8) | bytes[valueAt - 1]);
      if (valueEnd > end) return -1;
      pairs[n++] = at;
      pairs[n++] = at + keyLength;
      pairs[n++] = valueAt;
      pairs[n++] = valueEnd;
      at = valueEnd;
    }
    this.call(bytes, n);
    return at;
  }

  call(bytes, n) {
    const named = find(bytes, n, COMMAND);
    if (named < 0) {
      this.socket.destroy(); // an answer, and this server asks nothing
      return;
    }
    const name = bytes.latin1Slice(pairs[named + 2], pairs[named + 3]);
    const asked = find(bytes, n, ASK);
    const tagFrom = asked < 0 ? 0 : pairs[asked + 2];
    const tagTo = asked < 0 ? -1 : pairs[asked + 3];
    const command = this.commands.get(name);
    let result;
    try {
      if (command === undefined) throw Object.assign(new Error(`Unhandled Command: '${name}'`), { code: 'UNHANDLED' });
      const args = {};
      for (const { key, bytes: wanted, type } of command.args) {
        const i = find(bytes, n, wanted);
        if (i < 0) throw new TypeError(`${name} needs ${key}`);
        args[key] = type.parse(bytes, pairs[i + 2], pairs[i + 3]);
      }
      result = command.responder(args, this);
    } catch (error) {
      this.error(bytes, tagFrom, tagTo, error);
      return;
    }
    if (typeof result?.then !== 'function') {
      this.answer(bytes, tagFrom, tagTo, command, result);
      return;
    }
    const length = tagTo - tagFrom;
    const tag = length < 0 ? bytes : Buffer.from(bytes.subarray(tagFrom, tagTo)); // a copy
    result.then(
      (value) => this.answer(tag, 0, length, command, value),
      (error) => this.error(tag, 0, length, error),
    ).finally(() => this.out.schedule());
  }

  answer(bytes, tagFrom, tagTo, command, result) {
    if (tagTo < tagFrom) return; // nobody wants it
    try {
      this.writeAnswer(bytes, tagFrom, tagTo, command, result);
    } catch (error) {
      console.error(command.name, error);
      this.socket.destroy(); // half a box is written
    }
  }

  writeAnswer(bytes, tagFrom, tagTo, command, result) {
    const { out } = this;
    out.copy(ANSWER, 0, ANSWER.length);
    out.length(tagTo - tagFrom);
    out.copy(bytes, tagFrom, tagTo);
    for (const { key, bytes: wire, type } of command.response) {
      out.copy(wire, 0, wire.length);
      type.write(out, result[key]);
    }
    out.length(0);
  }

  error(bytes, tagFrom, tagTo, error) {
    if (tagTo < tagFrom) return;
    const { out } = this;
    out.copy(ERROR, 0, ERROR.length);
    out.length(tagTo - tagFrom);
    out.copy(bytes, tagFrom, tagTo);
    out.copy(ERROR_CODE, 0, ERROR_CODE.length);
    out.value(error.code ?? 'UNKNOWN');
    out.copy(ERROR_DESCRIPTION, 0, ERROR_DESCRIPTION.length);
    out.value(error.code ? error.message : 'Unknown Error');
    out.length(0);
  }
}

// find returns where among the pairs of a box a key is, or -1.
function find(bytes, n, key) {
  const { length } = key;
  next: for (let i = 0; i < n; i += 4) {
    const from = pairs[i];
    if (pairs[i + 1] - from !== length) continue;
    for (let j = 0; j < length; j++) if (bytes[from + j] !== key[j]) continue next;
    return i;
  }
  return -1;
}

// --- the server ---

const commands = new Map();
for (const command of [
  new Command(
    'Sum',
    { args: { a: integer, b: integer }, response: { total: integer } },
    ({ a, b }) => ({ total: a + b }),
  ),
]) {
  commands.set(command.name, command);
}

const [host, port] = process.argv[2].split(':');
net.createServer((socket) => new Connection(socket, commands)).listen(Number(port), host);
