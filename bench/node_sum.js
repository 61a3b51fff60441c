'use strict';
// Sum over AMP in Node.js: node node_sum.js HOST:PORT
//
// A library for AMP as a good one would be. Boxes are parsed where they lie in
// what was read; commands are declared with the types of their arguments and
// looked up by name; a responder gets an object and returns one, or a promise of
// one. Answers gather in a pooled buffer, and what came with one read is answered
// with one corked write.

const net = require('node:net');

const MAX_KEY = 255;
const MAX_VALUE = 65535;

// --- types of arguments: parse what lies there, format to a text ---

const integer = {
  parse(bytes, from, to) {
    const text = bytes.latin1Slice(from, to);
    const n = Number(text);
    if (Number.isSafeInteger(n) && text.length > 0) return n;
    // Python's int() takes what is longer, and underscores.
    return BigInt(text.replace(/(?<=\d)_(?=\d)/g, ''));
  },
  format(n) {
    if (typeof n !== 'bigint' && !Number.isInteger(n)) throw new TypeError(`${n} is no integer`);
    return String(typeof n === 'bigint' || Number.isSafeInteger(n) ? n : BigInt(n));
  },
};

// --- commands ---

class AMPError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

class Command {
  constructor(name, { args = {}, response = {} }, responder) {
    this.name = name;
    this.args = Object.entries(args);
    this.response = Object.entries(response);
    this.responder = responder;
  }

  parse(box) {
    const args = {};
    for (const [key, type] of this.args) {
      const i = box.find(key);
      if (i < 0) throw new TypeError(`${this.name} needs ${key}`);
      args[key] = type.parse(box.bytes, box.from[i], box.to[i]);
    }
    return args;
  }
}

// --- boxes ---

// A Box is where its values lie. There is one, for the call at hand.
class Box {
  bytes = null;
  keys = [];
  from = [];
  to = [];

  // find returns which value is that of a key, or -1.
  find(key) {
    return this.keys.indexOf(key);
  }

  // text returns a value as a text of Latin-1, undefined if it is not there.
  text(key) {
    const i = this.find(key);
    return i < 0 ? undefined : this.bytes.latin1Slice(this.from[i], this.to[i]);
  }
}

const box = new Box();

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
  }

  // room makes room for n bytes, at most SIZE, in one buffer.
  room(n) {
    if (this.at + n > SIZE) this.flush();
    this.bytes ??= pool.pop() ?? Buffer.allocUnsafeSlow(SIZE);
  }

  // key and value are texts of Latin-1.
  pair(key, value) {
    const length = value.length;
    if (length > MAX_VALUE - MAX_KEY) throw new RangeError(`${key} is too long`);
    this.room(4 + key.length + length);
    const { bytes } = this;
    let { at } = this;
    bytes[at++] = 0;
    bytes[at++] = key.length;
    at += bytes.latin1Write(key, at);
    bytes[at++] = length >> 8;
    bytes[at++] = length & 255;
    at += bytes.latin1Write(value, at);
    this.at = at;
  }

  end() {
    this.room(2);
    this.bytes[this.at++] = 0;
    this.bytes[this.at++] = 0;
  }

  flush() {
    this.scheduled = false;
    if (this.at === 0) return;
    const { bytes, at } = this;
    this.bytes = null;
    this.at = 0;
    const drained = this.socket.write(bytes.subarray(0, at), () => pool.push(bytes));
    if (!drained) this.socket.pause(); // until drain: who does not read is not read
  }

  // schedule has what is written outside of a read go out with what else is.
  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(() => this.flush());
  }
}

// --- connections ---

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
    const bytes = this.rest === null ? chunk : Buffer.concat([this.rest, chunk]);
    this.rest = null;
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
    box.bytes = bytes;
    box.keys.length = box.from.length = box.to.length = 0;
    for (;;) {
      if (at + 2 > end) return -1;
      const keyLength = (bytes[at] << 8) | bytes[at + 1];
      at += 2;
      if (keyLength === 0) break;
      if (keyLength > MAX_KEY) {
        this.socket.destroy();
        return end;
      }
      const valueAt = at + keyLength + 2;
      if (valueAt > end) return -1;
      const valueEnd = valueAt + ((bytes[valueAt - 2] << 8) | bytes[valueAt - 1]);
      if (valueEnd > end) return -1;
      box.keys.push(bytes.latin1Slice(at, at + keyLength));
      box.from.push(valueAt);
      box.to.push(valueEnd);
      at = valueEnd;
    }
    this.call(box.text('_command'), box.text('_ask'));
    return at;
  }

  call(name, tag) {
    if (name === undefined) {
      this.socket.destroy(); // an answer, and this server asks nothing
      return;
    }
    let command;
    let result;
    try {
      command = this.commands.get(name);
      if (command === undefined) throw new AMPError('UNHANDLED', `Unhandled Command: '${name}'`);
      result = command.responder(command.parse(box), this);
    } catch (error) {
      this.error(tag, error);
      return;
    }
    if (typeof result?.then !== 'function') {
      this.answer(tag, command, result);
      return;
    }
    result.then(
      (value) => this.answer(tag, command, value),
      (error) => this.error(tag, error),
    ).finally(() => this.out.schedule());
  }

  answer(tag, command, result) {
    if (tag === undefined) return; // nobody wants it
    const values = [];
    try {
      for (const [key, type] of command.response) values.push(key, type.format(result[key]));
    } catch (error) {
      this.error(tag, error);
      return;
    }
    this.out.pair('_answer', tag);
    for (let i = 0; i < values.length; i += 2) this.out.pair(values[i], values[i + 1]);
    this.out.end();
  }

  error(tag, error) {
    if (!(error instanceof AMPError)) console.error(error);
    if (tag === undefined) return;
    this.out.pair('_error', tag);
    this.out.pair('_error_code', error instanceof AMPError ? error.code : 'UNKNOWN');
    this.out.pair('_error_description', error instanceof AMPError ? error.message : 'Unknown Error');
    this.out.end();
  }
}

// --- the server ---

const commands = new Map();
for (const command of [
  new Command('Sum', { args: { a: integer, b: integer }, response: { total: integer } }, ({ a, b }) => ({ total: a + b })),
]) {
  commands.set(command.name, command);
}

const [host, port] = process.argv[2].split(':');
net.createServer((socket) => new Connection(socket, commands)).listen(Number(port), host);
