// What plugins and scripts of amphost can use. Made by `amphost types`, which
// replaces it: changes here are lost. For TypeScript 5.7 and newer.

declare module "amphost" {
  // ---- Argument types --------------------------------------------------------

  /** How one value is declared and travels: what `Integer()`, `Unicode()` and the rest return. */
  interface ArgumentType<Decoded, Encoded = Decoded, Optional extends boolean = boolean> {
    readonly kind: string;
    readonly optional: Optional;
    /** For the compiler only: what a script gets, and what it may give. */
    readonly "~types"?: { decoded: Decoded; encoded: Encoded };
  }
  interface TypeOptions {
    /** The value may be absent: it is `undefined` then. An empty value is not absent. */
    optional?: boolean;
  }
  type IsOptional<O> = O extends { optional: infer B extends boolean } ? B : false;
  type Fields = { readonly [name: string]: ArgumentType<any, any> };

  /** A `number`; a number beyond ±(2^53-1) is refused, never rounded. With `{ bigint: true }` a `bigint` of any size. */
  function Integer<const O extends TypeOptions & { bigint?: boolean } = {}>(
    options?: O,
  ): ArgumentType<O extends { bigint: true } ? bigint : number, number | bigint, IsOptional<O>>;
  /** A `number`, also `Infinity`, `-Infinity` and `NaN`. */
  function Float<const O extends TypeOptions = {}>(options?: O): ArgumentType<number, number, IsOptional<O>>;
  function Boolean<const O extends TypeOptions = {}>(options?: O): ArgumentType<boolean, boolean, IsOptional<O>>;
  /** A `string`: text, as UTF-8. */
  function Unicode<const O extends TypeOptions = {}>(options?: O): ArgumentType<string, string, IsOptional<O>>;
  /** A `Buffer`: bytes. A string that is given for one travels as UTF-8. */
  function String<const O extends TypeOptions = {}>(options?: O): ArgumentType<Buffer, Bytes, IsOptional<O>>;
  /** A `string` in Python's canonical form: `"1.10"`, `"1E+2"`, `"NaN"`. */
  function Decimal<const O extends TypeOptions = {}>(options?: O): ArgumentType<string, string, IsOptional<O>>;
  /** A `DateTimeValue`. A plain `Date` that is given for one travels as UTC. */
  function DateTime<const O extends TypeOptions = {}>(options?: O): ArgumentType<DateTimeValue, Date, IsOptional<O>>;
  /** A `string`: an absolute path. */
  function Path<const O extends TypeOptions = {}>(options?: O): ArgumentType<string, string, IsOptional<O>>;
  /** An array of one type, which can be neither optional nor an `AmpList`. */
  function ListOf<D, E, const O extends TypeOptions = {}>(
    element: ArgumentType<D, E, false> & { readonly fields?: never },
    options?: O,
  ): ArgumentType<D[], readonly E[], IsOptional<O>>;
  /** An array of objects. */
  function AmpList<F extends Fields, const O extends TypeOptions = {}>(
    fields: F,
    options?: O,
  ): ArgumentType<Decoded<F>[], readonly Encoded<F>[], IsOptional<O>> & { readonly fields: F };

  /** Instead of a list of arguments or of a response: the whole box, whatever its keys. */
  const Box: { readonly kind: "Box" };
  /** A whole box. A key's bytes are the string's Latin-1 characters. */
  type Box = { [key: string]: Buffer };
  /** What may be given where bytes are wanted. A string is taken as UTF-8. */
  type Bytes = Uint8Array | ArrayBuffer | string;

  /** A `Date` with what Python's datetime has besides. It can't be changed. */
  class DateTimeValue extends Date {
    constructor(value: Date | number | string, options?: { microsecond?: number; offset?: number });
    /** 0 to 999, beyond the milliseconds. */
    readonly microsecond: number;
    /** Minutes east of UTC. */
    readonly offset: number;
  }

  // ---- Commands --------------------------------------------------------------

  type Shape = Fields | typeof Box;
  /** The object that a responder gets, or a call answers with. */
  type Decoded<S extends Shape> = S extends typeof Box
    ? Box
    : { -readonly [K in keyof S]: S[K] extends ArgumentType<infer D, any, infer O> ? (true extends O ? D | undefined : D) : never };
  /** The object that a call takes, or a responder returns. */
  type Encoded<S extends Shape> = S extends typeof Box
    ? { readonly [key: string]: Bytes }
    : Flat<
        { [K in keyof S as S[K] extends ArgumentType<any, any, false> ? K : never]: EncodedType<S[K]> } & {
          [K in keyof S as S[K] extends ArgumentType<any, any, false> ? never : K]?: EncodedType<S[K]> | undefined;
        }
      >;
  type EncodedType<T> = T extends ArgumentType<any, infer E> ? E : never;
  type Flat<T> = { [K in keyof T]: T[K] } & {};
  /** What a responder returns: nothing, if no key of the response is required. */
  type Answer<R extends Shape> = {} extends Encoded<R> ? (object & Encoded<R>) | void : Encoded<R>;
  /** What follows the command in a call: its arguments, which may be left out if none is required, and options. */
  type CallArguments<A, O> = {} extends A ? [args?: A, options?: O] : [args: A, options?: O];

  type ErrorClass = new (...args: any[]) => Error;
  interface CommandOptions<A extends Shape, R extends Shape, Q extends boolean> {
    arguments?: A;
    response?: R;
    /** The class whose instances travel under a code. */
    errors?: { readonly [code: string]: ErrorClass };
    /** As `errors`, and the connection ends. */
    fatalErrors?: { readonly [code: string]: ErrorClass };
    /** `false` for calls that nobody answers. */
    requiresAnswer?: Q;
  }

  /** A command: what it is called on the wire, what it takes and answers. Declared once, for calling and for answering. */
  class Command<A extends Shape = {}, R extends Shape = {}, Q extends boolean = true> {
    constructor(name: string, options?: CommandOptions<A, R, Q>);
    readonly name: string;
    readonly "~command"?: { arguments: A; response: R; requiresAnswer: Q };
    /**
     * Has this plugin answer the command. An instance of a declared error class that it throws, or rejects with, goes to
     * the caller under its code; a `RemoteAmpError` as it is; anything else as `UNKNOWN`, with the story in the log.
     */
    responder(fn: (args: Decoded<A>, peer: Peer) => Answer<R> | Promise<Answer<R>>): this;
  }

  /** A command that hands its connection over to a raw protocol. Its responder returns the name of an `amp.protocol`. */
  class ProtocolSwitchCommand<A extends Shape = {}> {
    constructor(name: string, options?: Pick<CommandOptions<A, {}, true>, "arguments" | "errors" | "fatalErrors">);
    readonly name: string;
    readonly "~switch"?: { arguments: A };
    responder(fn: (args: Decoded<A>, peer: Peer) => string | Promise<string>): this;
  }

  /** Returned by a responder: the answer, after which the connection is closed. To the compiler it is the answer. */
  const QuitBox: new <T extends object = {}>(values?: T) => T;

  /** An error with a code of its own, for the caller; also what a call rejects with whose peer failed under another code. */
  class RemoteAmpError extends Error {
    constructor(code: string, description?: string, options?: { fatal?: boolean });
    readonly code: string;
    readonly description: string;
    /** `true` in one whose connection ends. */
    readonly fatal?: boolean;
  }
  /** What a call rejects with that nobody there answers. */
  class UnhandledCommand extends Error {
    readonly code: "UNHANDLED";
  }
  /** What a call rejects with whose connection has ended. */
  class ConnectionLost extends Error {}
  /** What a call rejects with that was not answered in time. */
  class TimeoutError extends Error {
    readonly code: "TIMEOUT";
  }
  /** What `tx.files.create` throws. */
  class FileExistsError extends Error {
    readonly file: string;
  }

  interface CallOptions {
    /** Milliseconds, after which the call rejects with a `TimeoutError`. */
    timeout?: number;
    /** Ends the wait: the call rejects with its reason. */
    signal?: AbortSignal;
  }

  /** The commands of this host by name. `amphost types` fills it in; what Go answers can be added by hand. */
  interface Commands {}
  type ArgumentsOf<C> = C extends keyof Commands
    ? Commands[C] extends { arguments: infer A } ? A : never
    : C extends Command<infer A, any, any> ? Encoded<A> : never;
  type ResponseOf<C> = C extends keyof Commands
    ? Commands[C] extends { response: infer R } ? R : never
    : C extends Command<any, infer R, infer Q> ? (Q extends false ? void : Decoded<R>) : never;
  /** Calls a command of this host, in the process: by its name if a plugin here answers it, or as declared. */
  function call<C extends keyof Commands | Command<any, any, any>>(
    command: C,
    ...rest: CallArguments<ArgumentsOf<C>, CallOptions>
  ): Promise<ResponseOf<C>>;
  /** Is asked for every command that nobody answers; `undefined` leaves it unanswered. One per host. */
  function unhandled(fn: (name: string, box: Box, peer: Peer) => Answer<typeof Box> | void | Promise<Answer<typeof Box> | void>): void;

  // ---- Peers -----------------------------------------------------------------

  /** The other end of a connection: the same object for the same connection. */
  interface Peer {
    readonly id: number;
    readonly remoteAddress: string;
    readonly localAddress: string;
    /** The name of the listener that the connection came from, or `""`. */
    readonly listener: string;
    /**
     * Has the connection switch to the `amp.protocol` of this plugin that `options.protocol` names. A call that its timeout or
     * signal ends takes the connection with it.
     */
    callRemote<A extends Shape>(command: ProtocolSwitchCommand<A>, args: Encoded<A>, options: CallOptions & { protocol: string }): Promise<void>;
    /**
     * Calls a command of the peer. Rejects with the class that the command declares for the code, a `RemoteAmpError`, an
     * `UnhandledCommand`, a `ConnectionLost`, a `TimeoutError`, or the signal's reason.
     */
    callRemote<A extends Shape, R extends Shape, Q extends boolean>(
      command: Command<A, R, Q>,
      ...rest: CallArguments<Encoded<A>, CallOptions>
    ): Promise<Q extends false ? void : Decoded<R>>;
    /** Closes the connection once what is running on it has been answered. */
    loseConnection(): void;
    /** `null` on a plaintext connection. */
    readonly tls: TLSState | null;
    /**
     * Asks for TLS. The options are for connections of `amp.connect`: on others this side is the TLS server, and the
     * certificate the operator's.
     */
    startTLS(options?: TLSOptions): Promise<void>;
    /** Who the peer is, once some plugin has said so; `null` until then. */
    readonly identity: any;
    /** Says who the peer is, to every plugin. Once. */
    authenticate(identity: unknown): void;
    /** This plugin's, for this connection. It survives a reload. See `peerState`. */
    readonly state: { [key: string]: any };
  }
  interface TLSState {
    readonly version: string;
    readonly cipher: string;
    readonly serverName: string;
    /** What was verified, or `null`. */
    readonly peerCertificate: Certificate | null;
  }
  interface Certificate {
    readonly subject: string;
    readonly issuer: string;
    readonly commonName: string;
    readonly names: string[];
    readonly serialNumber: string;
    readonly notBefore: DateTimeValue;
    readonly notAfter: DateTimeValue;
    /** The certificate in DER form. */
    readonly raw: Buffer;
  }
  interface TLSOptions {
    /** Whose certificate is wanted. Default the host of the address. */
    serverName?: string;
    /** Certificates to trust instead of the system's, in PEM form. */
    ca?: string;
    /** Trusts any certificate. */
    insecure?: boolean;
  }

  /** All connections now. */
  function peers(): Peer[];
  /** `peer.state` with a type: `const session = amp.peerState(() => ({ user: "" }))`, then `session(peer).user`. */
  function peerState<T extends object>(init?: () => T): (peer: Peer) => T;
  function onConnect(fn: (peer: Peer) => unknown): void;
  function onDisconnect(fn: (peer: Peer, reason: ConnectionLost) => unknown): void;
  /**
   * Is asked about every command of every peer, in whatever plugin, before its arguments are decoded: `false`, or a throw,
   * refuses it with `FORBIDDEN`.
   */
  function authorize(fn: (peer: Peer, command: string) => boolean | void | Promise<boolean | void>): void;
  /**
   * Connects to `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:PATH`. With `reconnect` the connection comes back by
   * itself. The next version of the plugin takes the connection over by asking for the same address while it loads.
   */
  function connect(address: string, options?: { reconnect?: boolean; tls?: TLSOptions }): Promise<Peer>;
  /** As `connect`, without AMP. */
  function dial(address: string, options?: { tls?: TLSOptions }): Promise<Transport>;
  function dial(address: string, fn: (transport: Transport) => Protocol | void, options?: { tls?: TLSOptions }): Promise<Transport>;

  // ---- Boxes and raw bytes ---------------------------------------------------

  /** What takes the bytes of a raw connection. */
  interface Protocol {
    dataReceived?(data: Buffer): unknown;
    connectionLost?(reason: ConnectionLost): unknown;
  }
  /** A raw connection. One that `dial` gave has its handlers as properties. */
  interface Transport extends Protocol {
    readonly remoteAddress: string;
    readonly localAddress: string;
    /** The promise is kept once the bytes are written: wait for it to send no faster than the peer reads. */
    write(data: Bytes): Promise<void>;
    /** Closes the connection once everything is written. */
    loseConnection(): void;
    pause(): void;
    resume(): void;
  }
  /** Raw bytes: for a listener that names it, or as the target of a protocol switch. */
  function protocol(name: string, fn: (transport: Transport) => Protocol | void): void;

  interface BoxReceiver {
    ampBoxReceived?(box: Box): unknown;
    stopReceivingBoxes?(reason: ConnectionLost): unknown;
  }
  interface BoxSender {
    readonly peer: Peer;
    sendBox(box: { readonly [key: string]: Bytes }): void;
    loseConnection(): void;
  }
  /** Takes whole connections, instead of commands, of a listener that names it: `--listen NAME=ADDRESS`. */
  function boxReceiver(name: string, fn: (sender: BoxSender) => BoxReceiver | void): void;

  // ---- Store -----------------------------------------------------------------

  /** What this plugin keeps. The function of a transaction is synchronous, touches only `tx`, and may be run again. */
  const store: {
    /** The promise is kept once what `fn` did is durable. If `fn` throws, nothing is written. */
    update<T>(fn: (tx: Tx) => Synchronous<T>): Promise<T>;
    /** Reads what is durable. */
    view<T>(fn: (tx: Tx) => Synchronous<T>): T;
    /** Tells of each commit that changes keys with the prefix, in order. */
    watch(prefix: string, fn: (changes: Change[]) => unknown): void;
  };
  type Synchronous<T> = T extends PromiseLike<unknown> ? "the function of a transaction must not be async" : T;
  interface Change {
    readonly key: string;
    /** `undefined` if the key was deleted. */
    readonly value: any;
  }
  /** A value that a key can have: `null`, booleans, numbers, strings, bigints, dates, bytes, and arrays and plain objects of these. */
  type Storable<T> = T extends null | undefined | boolean | number | string | bigint | Date | Uint8Array
    ? T
    : T extends symbol | Unstorable
      ? never
      : { [K in keyof T]: Storable<T[K]> };
  type Unstorable = ((...args: any[]) => any) | ReadonlyMap<any, any> | ReadonlySet<any> | PromiseLike<any> | RegExp | Error | WeakMap<any, any> | WeakSet<any>;

  interface Tx {
    get<T = any>(key: string): T | undefined;
    put<T extends {} | null>(key: string, value: Storable<T>): void;
    delete(key: string): void;
    /** Keys and values in the order of the keys' UTF-8 bytes. `start` is included, `end` is not. */
    scan<T = any>(options?: {
      prefix?: string;
      start?: string;
      end?: string;
      limit?: number;
      reverse?: boolean;
    }): Generator<[key: string, value: T], void, undefined>;
    counter(name: string): Counter;
    readonly files: Files;
  }
  /** A number that is exact up to 2^53-1. */
  interface Counter {
    readonly value: number;
    /** Adds one, and returns the sum. */
    next(): number;
    add(n: number): number;
  }
  /** Files by name. A name is a key, never a path. */
  interface Files {
    exists(name: string): boolean;
    read(name: string): Buffer | undefined;
    readText(name: string): string | undefined;
    /** The contents are what is given, one after the other. Throws a `FileExistsError` if there is one. */
    create(name: string, ...contents: [Bytes, ...Bytes[]]): void;
    write(name: string, ...contents: [Bytes, ...Bytes[]]): void;
    /** `false` if there was none. */
    remove(name: string): boolean;
    list(prefix?: string): Generator<string, void, undefined>;
  }

  // ---- The plugin ------------------------------------------------------------

  /** Runs after the module, and is awaited before the plugin serves; `saved` is what `hot.save` of the version before returned. */
  function onLoad(fn: (saved: any) => unknown): void;
  /** Runs when this version has drained. */
  function onUnload(fn: () => unknown): void;
  const hot: {
    /** `fn` returns the state to hand over to the next version, without side effects. */
    save(fn: () => unknown): void;
  };
  const plugin: {
    readonly name: string;
    readonly generation: number;
    /** What the operator wrote under `[plugins.NAME]`. */
    readonly config: any;
  };
  /** What a plugin may ask for, with `export const plugin: amp.PluginSettings = { … }`. The operator's caps win. */
  interface PluginSettings {
    /** The longest time that JavaScript may run without returning to its loop: `"1s"`. */
    deadline?: string;
    /** The longest time that a call may stay unanswered: `"30s"`, or `"none"`. */
    callTimeout?: string;
    /** Calls beyond it are refused with `OVERLOADED`. */
    maxInFlight?: number;
    /** As many runtimes side by side; module variables are then each one's own. */
    workers?: number;
  }
  /** argon2id, off the loop and a few at a time. */
  const password: {
    /** A hash with a salt of its own, as text that can be stored: `$argon2id$v=19$m=19456,t=2,p=1$…`. */
    hash(text: string): Promise<string>;
    /** Rejects with a `TypeError` if `hash` is none. */
    verify(text: string, hash: string): Promise<boolean>;
  };
  /** The environment. Needs the permission `env`: a variable that is not allowed is a `TypeError`, one that is not set `undefined`. */
  const env: { readonly [name: string]: string | undefined };

  // ---- Under `amphost run` ---------------------------------------------------

  /** The words behind the script's name. */
  const args: readonly string[];
  /** Ends the program, at once. */
  function exit(status?: number): never;
  /** Serves the script's commands on `tcp://HOST:PORT` or `unix:PATH`; port 0 picks a free one. */
  function listen(address: string): Promise<Listener>;
  interface Listener {
    /** What `connect` takes, with the real port. */
    readonly address: string;
    /** Takes no more connections, and ends those there are once their calls are answered. */
    close(): Promise<void>;
  }
}

// Files that a plugin may import besides scripts and JSON.
declare module "*.txt" { const text: string; export default text; }
declare module "*.md" { const text: string; export default text; }
declare module "*.html" { const text: string; export default text; }
declare module "*.sql" { const text: string; export default text; }
declare module "*.pem" { const text: string; export default text; }
declare module "*.bin" { const data: Uint8Array<ArrayBuffer>; export default data; }

// ---- Modules of Node's -------------------------------------------------------
// Those that are there, in part: `node:events` and the rest are the same. What
// else Node has, plugins have not.

declare module "buffer" {
  const B: BufferConstructor;
  type B = Buffer;
  export { B as Buffer };
  export const kMaxLength: number;
  export const constants: { readonly MAX_LENGTH: number };
  const all: { Buffer: typeof B; kMaxLength: typeof kMaxLength; constants: typeof constants };
  export default all;
}
declare module "crypto" {
  export const webcrypto: Crypto;
  export const subtle: SubtleCrypto;
  export const randomUUID: Crypto["randomUUID"];
  export const getRandomValues: Crypto["getRandomValues"];
  export const timingSafeEqual: Crypto["timingSafeEqual"];
  export function randomBytes(size: number): Buffer;
  export function randomFillSync<T extends ArrayBufferView>(array: T): T;
  const all: Omit<typeof import("crypto"), "default">;
  export default all;
}
declare module "events" {
  type Listener = (...args: any[]) => unknown;
  export class EventEmitter {
    static EventEmitter: typeof EventEmitter;
    on(name: string | symbol, listener: Listener): this;
    once(name: string | symbol, listener: Listener): this;
    off(name: string | symbol, listener: Listener): this;
    addListener(name: string | symbol, listener: Listener): this;
    prependListener(name: string | symbol, listener: Listener): this;
    removeListener(name: string | symbol, listener: Listener): this;
    removeAllListeners(name?: string | symbol): this;
    emit(name: string | symbol, ...args: any[]): boolean;
    listeners(name: string | symbol): Listener[];
    listenerCount(name: string | symbol): number;
    eventNames(): (string | symbol)[];
    setMaxListeners(n: number): this;
  }
  export function once(emitter: EventEmitter, name: string | symbol): Promise<any[]>;
  export default EventEmitter;
}
declare module "perf_hooks" {
  const p: Performance;
  export { p as performance };
  const all: { performance: Performance };
  export default all;
}
declare module "timers" {
  export const setTimeout: typeof globalThis.setTimeout;
  export const setInterval: typeof globalThis.setInterval;
  export const setImmediate: typeof globalThis.setImmediate;
  export const clearTimeout: typeof globalThis.clearTimeout;
  export const clearInterval: typeof globalThis.clearInterval;
  export const clearImmediate: typeof globalThis.clearImmediate;
}
declare module "url" {
  const U: typeof URL;
  type U = URL;
  const P: typeof URLSearchParams;
  type P = URLSearchParams;
  export { U as URL, P as URLSearchParams };
  const all: { URL: typeof U; URLSearchParams: typeof P };
  export default all;
}
declare module "util" {
  export function inspect(value: any, options?: { depth?: number | null; breakLength?: number; compact?: number; showHidden?: boolean }): string;
  export function format(...values: any[]): string;
  export function promisify(fn: (...args: any[]) => unknown): (...args: any[]) => Promise<any>;
  export function inherits(constructor: Function, parent: Function): void;
  export function deprecate<F>(fn: F): F;
  export function debuglog(section: string): (...values: any[]) => void;
  export const types: {};
  const E: typeof TextEncoder;
  type E = TextEncoder;
  const D: typeof TextDecoder;
  type D = TextDecoder;
  export { E as TextEncoder, D as TextDecoder };
  const all: Omit<typeof import("util"), "default">;
  export default all;
}
declare module "node:buffer" {
  export * from "buffer";
  export { default } from "buffer";
}
declare module "node:crypto" {
  export * from "crypto";
  export { default } from "crypto";
}
declare module "node:events" {
  export * from "events";
  export { default } from "events";
}
declare module "node:perf_hooks" {
  export * from "perf_hooks";
  export { default } from "perf_hooks";
}
declare module "node:timers" {
  export * from "timers";
}
declare module "node:url" {
  export * from "url";
  export { default } from "url";
}
declare module "node:util" {
  export * from "util";
  export { default } from "util";
}

// ---- Globals -----------------------------------------------------------------

// Of JavaScript, what TypeScript 5.7 does not know yet.
interface ErrorConstructor {
  isError(value: unknown): value is Error;
}
interface RegExpConstructor {
  escape(text: string): string;
}
interface Math {
  sumPrecise(numbers: Iterable<number>): number;
}
interface JSON {
  rawJSON(text: string): { readonly rawJSON: string };
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
}
interface Base64Options {
  alphabet?: "base64" | "base64url" | undefined;
  lastChunkHandling?: "loose" | "strict" | "stop-before-partial" | undefined;
}
interface Uint8ArrayConstructor {
  fromBase64(text: string, options?: Base64Options): Uint8Array<ArrayBuffer>;
  fromHex(text: string): Uint8Array<ArrayBuffer>;
}
interface Uint8Array<TArrayBuffer extends ArrayBufferLike> {
  toBase64(options?: { alphabet?: "base64" | "base64url" | undefined; omitPadding?: boolean | undefined }): string;
  toHex(): string;
  setFromBase64(text: string, options?: Base64Options): { read: number; written: number };
  setFromHex(text: string): { read: number; written: number };
}

declare function require(name: "amphost"): typeof import("amphost");
declare function require(name: string): any;

type BufferEncoding = "utf8" | "utf-8" | "hex" | "base64" | "base64url" | "latin1" | "binary" | "ascii" | "utf16le" | "utf-16le" | "ucs2" | "ucs-2";
type BufferLike = Uint8Array | ArrayBufferView | ArrayBuffer;

/** Bytes, as in Node. */
interface Buffer extends Uint8Array<ArrayBuffer>, UintToo<BufferNumbers> {
  toString(encoding?: BufferEncoding, start?: number, end?: number): string;
  toJSON(): { type: "Buffer"; data: number[] };
  equals(other: Uint8Array): boolean;
  compare(other: Uint8Array, targetStart?: number, targetEnd?: number, sourceStart?: number, sourceEnd?: number): -1 | 0 | 1;
  includes(value: string | number | Uint8Array, from?: number, encoding?: BufferEncoding): boolean;
  indexOf(value: string | number | Uint8Array, from?: number, encoding?: BufferEncoding): number;
  lastIndexOf(value: string | number | Uint8Array, from?: number, encoding?: BufferEncoding): number;
  /** Shares the bytes. */
  slice(start?: number, end?: number): Buffer;
  subarray(start?: number, end?: number): Buffer;
  fill(value: string | number | Uint8Array, start?: number, end?: number, encoding?: BufferEncoding): this;
  fill(value: string, encoding: BufferEncoding): this;
  copy(target: Uint8Array, targetStart?: number, sourceStart?: number, sourceEnd?: number): number;
  write(text: string, encoding?: BufferEncoding): number;
  write(text: string, offset: number, encoding?: BufferEncoding): number;
  write(text: string, offset: number, length: number, encoding?: BufferEncoding): number;
  /** Swaps the bytes of each pair, in place. */
  swap16(): this;
  swap32(): this;
  swap64(): this;
}
interface BufferNumbers {
  readUInt8(offset?: number): number;
  readUInt16BE(offset?: number): number;
  readUInt16LE(offset?: number): number;
  readUInt32BE(offset?: number): number;
  readUInt32LE(offset?: number): number;
  readInt8(offset?: number): number;
  readInt16BE(offset?: number): number;
  readInt16LE(offset?: number): number;
  readInt32BE(offset?: number): number;
  readInt32LE(offset?: number): number;
  readFloatBE(offset?: number): number;
  readFloatLE(offset?: number): number;
  readDoubleBE(offset?: number): number;
  readDoubleLE(offset?: number): number;
  readBigInt64BE(offset?: number): bigint;
  readBigInt64LE(offset?: number): bigint;
  readBigUInt64BE(offset?: number): bigint;
  readBigUInt64LE(offset?: number): bigint;
  readUIntBE(offset: number, byteLength: number): number;
  readUIntLE(offset: number, byteLength: number): number;
  readIntBE(offset: number, byteLength: number): number;
  readIntLE(offset: number, byteLength: number): number;
  writeUInt8(value: number, offset?: number): number;
  writeUInt16BE(value: number, offset?: number): number;
  writeUInt16LE(value: number, offset?: number): number;
  writeUInt32BE(value: number, offset?: number): number;
  writeUInt32LE(value: number, offset?: number): number;
  writeInt8(value: number, offset?: number): number;
  writeInt16BE(value: number, offset?: number): number;
  writeInt16LE(value: number, offset?: number): number;
  writeInt32BE(value: number, offset?: number): number;
  writeInt32LE(value: number, offset?: number): number;
  writeFloatBE(value: number, offset?: number): number;
  writeFloatLE(value: number, offset?: number): number;
  writeDoubleBE(value: number, offset?: number): number;
  writeDoubleLE(value: number, offset?: number): number;
  writeBigInt64BE(value: bigint, offset?: number): number;
  writeBigInt64LE(value: bigint, offset?: number): number;
  writeBigUInt64BE(value: bigint, offset?: number): number;
  writeBigUInt64LE(value: bigint, offset?: number): number;
  writeUIntBE(value: number, offset: number, byteLength: number): number;
  writeUIntLE(value: number, offset: number, byteLength: number): number;
  writeIntBE(value: number, offset: number, byteLength: number): number;
  writeIntLE(value: number, offset: number, byteLength: number): number;
}
/** Node has both spellings. */
type UintToo<T> = T & { [K in keyof T as K extends `${infer A}UInt${infer B}` ? `${A}Uint${B}` : never]: T[K] };
interface BufferConstructor {
  readonly prototype: Buffer;
  from(text: string, encoding?: BufferEncoding): Buffer;
  from(bytes: Uint8Array | readonly number[]): Buffer;
  /** Shares the bytes. */
  from(bytes: ArrayBuffer, offset?: number, length?: number): Buffer;
  of(...bytes: number[]): Buffer;
  alloc(size: number, fill?: string | number | Uint8Array, encoding?: BufferEncoding): Buffer;
  /** As `alloc`: the bytes are zero. */
  allocUnsafe(size: number): Buffer;
  /** As `alloc`: the bytes are zero. */
  allocUnsafeSlow(size: number): Buffer;
  concat(list: readonly Uint8Array[], length?: number): Buffer;
  byteLength(value: string | BufferLike, encoding?: BufferEncoding): number;
  compare(a: Uint8Array, b: Uint8Array): -1 | 0 | 1;
  isBuffer(value: unknown): value is Buffer;
  isEncoding(name: string): name is BufferEncoding;
}
declare var Buffer: BufferConstructor;

interface Console {
  log(...values: any[]): void;
  info(...values: any[]): void;
  debug(...values: any[]): void;
  warn(...values: any[]): void;
  error(...values: any[]): void;
  trace(...values: any[]): void;
  assert(condition?: unknown, ...values: any[]): void;
  dir(value: any, options?: { depth?: number | null }): void;
  dirxml(...values: any[]): void;
  table(rows: any, columns?: readonly string[]): void;
  count(label?: string): void;
  countReset(label?: string): void;
  time(label?: string): void;
  timeLog(label?: string, ...values: any[]): void;
  timeEnd(label?: string): void;
  group(...values: any[]): void;
  groupCollapsed(...values: any[]): void;
  groupEnd(): void;
}
declare var console: Console;

declare function setTimeout<A extends any[]>(fn: (...args: A) => unknown, milliseconds?: number, ...args: A): number;
declare function setTimeout(fn: (_: void) => unknown, milliseconds?: number): number; // as in new Promise((resolve) => setTimeout(resolve, 100))
declare function setInterval<A extends any[]>(fn: (...args: A) => unknown, milliseconds?: number, ...args: A): number;
declare function setImmediate<A extends any[]>(fn: (...args: A) => unknown, ...args: A): number;
declare function setImmediate(fn: (_: void) => unknown): number;
declare function clearTimeout(timer: number | undefined): void;
declare function clearInterval(timer: number | undefined): void;
declare function clearImmediate(timer: number | undefined): void;
declare function queueMicrotask(fn: () => void): void;
/** Logs an error as one that nobody caught. */
declare function reportError(error: unknown): void;
declare var self: typeof globalThis;

declare function structuredClone<T>(value: T): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;

interface TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, target: Uint8Array): { read: number; written: number };
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };
interface TextDecoder {
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(bytes?: BufferLike, options?: { stream?: boolean }): string;
}
declare var TextDecoder: { prototype: TextDecoder; new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder };

interface URL {
  hash: string;
  host: string;
  hostname: string;
  href: string;
  readonly origin: string;
  password: string;
  pathname: string;
  port: string;
  protocol: string;
  search: string;
  readonly searchParams: URLSearchParams;
  username: string;
  toString(): string;
  toJSON(): string;
}
declare var URL: { prototype: URL; new (url: string | URL, base?: string | URL): URL; canParse(url: string | URL, base?: string | URL): boolean; parse(url: string | URL, base?: string | URL): URL | null };
interface URLSearchParams {
  append(name: string, value: string): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  toString(): string;
  forEach(fn: (value: string, name: string, params: URLSearchParams) => void): void;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  entries(): IterableIterator<[name: string, value: string]>;
  [Symbol.iterator](): IterableIterator<[name: string, value: string]>;
  readonly size: number;
}
declare var URLSearchParams: {
  prototype: URLSearchParams;
  new (init?: string | URLSearchParams | Iterable<readonly [name: string, value: string]> | { readonly [name: string]: string }): URLSearchParams;
};

interface Event {
  readonly type: string;
  readonly target: any;
  readonly currentTarget: any;
  readonly cancelable: boolean;
  readonly defaultPrevented: boolean;
  readonly timeStamp: number;
  preventDefault(): void;
  stopPropagation(): void;
  stopImmediatePropagation(): void;
}
declare var Event: { prototype: Event; new (type: string, options?: { cancelable?: boolean }): Event };
interface CustomEvent<T = any> extends Event {
  readonly detail: T;
}
declare var CustomEvent: { prototype: CustomEvent; new <T = any>(type: string, options?: { cancelable?: boolean; detail?: T }): CustomEvent<T> };
type EventListener<E extends Event = any> = ((event: E) => unknown) | { handleEvent(event: E): unknown };
interface EventTarget {
  addEventListener(type: string, listener: EventListener | null, options?: { once?: boolean; signal?: AbortSignal }): void;
  removeEventListener(type: string, listener: EventListener | null): void;
  dispatchEvent(event: Event): boolean;
}
declare var EventTarget: { prototype: EventTarget; new (): EventTarget };
interface DOMException extends Error {
  readonly code: number;
}
declare var DOMException: { prototype: DOMException; new (message?: string, options?: string | { name?: string; cause?: unknown }): DOMException };
interface AbortSignal extends EventTarget {
  readonly aborted: boolean;
  readonly reason: any;
  onabort: ((event: Event) => unknown) | null;
  throwIfAborted(): void;
}
declare var AbortSignal: {
  prototype: AbortSignal;
  abort(reason?: unknown): AbortSignal;
  timeout(milliseconds: number): AbortSignal;
  any(signals: Iterable<AbortSignal>): AbortSignal;
};
interface AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}
declare var AbortController: { prototype: AbortController; new (): AbortController };

interface Crypto {
  randomUUID(): `${string}-${string}-${string}-${string}-${string}`;
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  timingSafeEqual(a: BufferLike, b: BufferLike): boolean;
  readonly subtle: SubtleCrypto;
}
interface SubtleCrypto {
  digest(algorithm: "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512" | { name: string }, data: BufferLike): Promise<ArrayBuffer>;
}
declare var crypto: Crypto;

interface Performance {
  now(): number;
  readonly timeOrigin: number;
  /** Is there for packages that call it, and does nothing. */
  mark(name: string): void;
  /** Is there for packages that call it, and does nothing. */
  measure(name: string): void;
}
declare var performance: Performance;

interface Headers {
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  /** Each value of `Set-Cookie`, which can't be joined. */
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(fn: (value: string, name: string, headers: Headers) => void): void;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  entries(): IterableIterator<[name: string, value: string]>;
  [Symbol.iterator](): IterableIterator<[name: string, value: string]>;
}
type HeadersInit = Headers | Iterable<readonly [name: string, value: string]> | { readonly [name: string]: string };
declare var Headers: { prototype: Headers; new (init?: HeadersInit): Headers };
/** What a request or a response is about, read whole and once. */
interface Body {
  readonly bodyUsed: boolean;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  json(): Promise<any>;
  text(): Promise<string>;
}
type BodyInit = string | BufferLike | URLSearchParams;
interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  /** `"follow"`, at most 20 times, is the default; with `"manual"` the response is the redirect itself. */
  redirect?: "follow" | "error" | "manual";
  /** Ends the request, or the reading of the body: it rejects with the signal's reason. */
  signal?: AbortSignal | null;
}
interface Request extends Body {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly redirect: "follow" | "error" | "manual";
  readonly signal: AbortSignal;
  clone(): Request;
}
declare var Request: { prototype: Request; new (input: string | URL | Request, options?: RequestInit): Request };
interface ResponseInit {
  status?: number;
  statusText?: string;
  headers?: HeadersInit;
}
interface Response extends Body {
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly url: string;
  readonly redirected: boolean;
  readonly type: string;
  readonly headers: Headers;
  clone(): Response;
}
declare var Response: {
  prototype: Response;
  new (body?: BodyInit | null, options?: ResponseInit): Response;
  json(data: any, options?: ResponseInit): Response;
  error(): Response;
  redirect(url: string | URL, status?: number): Response;
};
/**
 * Needs the permission `net` for `HOST:PORT`, and for that of every redirect. A response of any status is no error; one that
 * does not come, that takes longer than 30 s or whose body is larger than 8 MiB, is a `TypeError`, or a `DOMException`
 * called `TimeoutError`.
 */
declare function fetch(input: string | URL | Request, options?: RequestInit): Promise<Response>;
