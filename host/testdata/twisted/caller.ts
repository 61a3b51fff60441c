// Calls a Twisted server that has amp/testdata/twisted/commands.py. Each command
// is one scenario: it answers, or its log tells what is wrong.
import * as amp from "amphost";

const { Integer, String: Bytes, Unicode, Float, Boolean, Decimal, DateTime, Path, ListOf, AmpList } = amp;
const scenario = (name: string, fn: (address: string) => Promise<void>) =>
  new amp.Command(name, { arguments: { address: Unicode() } }).responder(({ address }) => fn(address));
const show = (v: unknown) => (console as any).inspect(v, { depth: 9 });
function equal(got: unknown, want: unknown, what: string) {
  if (show(got) !== show(want)) throw new Error(`${what} came back as ${show(got)}, sent was ${show(want)}`);
}
async function fails(promise: Promise<unknown>, klass: Function, message?: string) {
  try {
    await promise;
  } catch (e: any) {
    if (e.constructor === klass && (message ?? e.message) === e.message) return e;
    throw new Error(`failed with ${show(e)}, not ${klass.name}: ${message ?? ""}`);
  }
  throw new Error(`did not fail with ${klass.name}`);
}

const row = { x: Integer(), y: Unicode({ optional: true }) };
const at = (iso: string, microsecond: number, offset: number) => new amp.DateTimeValue(iso, { microsecond, offset });
const values: Record<string, [any, unknown[]]> = {
  Integer: [Integer({ bigint: true }), [0n, -1n, 2n ** 53n + 1n, -(2n ** 64n), 10n ** 116n]],
  String: [Bytes(), [Buffer.alloc(0), Buffer.from([0, 255, 13, 10]), Buffer.alloc(65535, "x")]],
  Unicode: [Unicode(), ["", "héllo", "e\u0301\ufeff\0", "☃\u{10ffff}"]],
  Float: [Float(), [0, -0, 1, 0.1, 1e16, 1e-5, 5e-324, 1.7976931348623157e308, Infinity, -Infinity, NaN]],
  Boolean: [Boolean(), [true, false]],
  Decimal: [Decimal(), ["0", "-0", "1.10", "1E+2", "0E-7", "-1.5E-9", "Infinity", "NaN123", "-sNaN"]],
  DateTime: [DateTime(), [at("2012-01-23T13:57:56.054Z", 321, -83), at("2024-02-29T00:00:00Z", 0, 0), at("9999-12-31T09:59:59.999Z", 999, 840)]],
  Path: [Path(), ["/", "/tmp/héllo"]],
  Integers: [ListOf(Integer({ bigint: true })), [[], [1n, -2n, 10n ** 30n]]],
  Texts: [ListOf(Unicode()), [[], [""], ["☃", "", "x"]]],
  Floats: [ListOf(Float()), [[1, Infinity, -0]]],
  Decimals: [ListOf(Decimal()), [["1E+2", "-0"]]],
  DateTimes: [ListOf(DateTime()), [[at("2012-01-23T00:00:00Z", 0, 0)]]],
  Matrix: [ListOf(ListOf(Integer())), [[], [[]], [[1, 2], [], [3]]]],
  Rows: [AmpList(row), [[], [{ x: 7, y: "hello" }, { x: 9 }, { x: 1, y: "" }]]],
  Tables: [AmpList({ rows: AmpList(row), marks: ListOf(Boolean(), { optional: true }) }), [[{ rows: [{ x: 1 }], marks: [true, false] }, { rows: [] }]]],
};
const echoes = Object.entries(values).map(([kind, [type, list]]) =>
  [kind, new amp.Command("Echo" + kind, { arguments: { v: type }, response: { v: type } }), list] as const);
const Mirror = new amp.Command("Mirror", { arguments: amp.Box, response: amp.Box });
scenario("Values", async (address) => {
  const peer = await amp.connect(address);
  for (const [kind, command, list] of echoes) {
    for (const v of list) equal(((await peer.callRemote(command, { v })) as any).v, v, kind);
  }
  const box = { Constructor: Buffer.from("x"), ["__proto__"]: Buffer.from("own"), k: Buffer.from("v"), "\xff\0": Buffer.alloc(0) };
  equal(await peer.callRemote(Mirror, box), box, "a box");
  peer.loseConnection();
});

class Oops extends Error {}
class Fatality extends Error {}
class ZeroDivisionError extends Error {}
const Fail = new amp.Command("Fail", { arguments: { kind: Unicode(), text: Unicode({ optional: true }) }, errors: { OOPS: Oops }, fatalErrors: { FATALITY: Fatality } });
const Divide = new amp.Command("Divide", { arguments: { numerator: Integer(), denominator: Integer() }, response: { result: Float() }, errors: { ZERO_DIVISION: ZeroDivisionError } });
const Nope = new amp.Command("Nope");
scenario("Errors", async (address) => {
  let peer = await amp.connect(address);
  const e = await fails(peer.callRemote(Divide, { numerator: 1, denominator: 0 }), ZeroDivisionError, "division by zero");
  equal([e.code, e instanceof Error], ["ZERO_DIVISION", true], "an error");
  equal(await peer.callRemote(Divide, { numerator: 1, denominator: 4 }), { result: 0.25 }, "1/4");
  await fails(peer.callRemote(Fail, { kind: "declared", text: "hé" }), Oops, "hé");
  await fails(peer.callRemote(Fail, { kind: "subclass", text: "" }), Oops, "");
  const remote = await fails(peer.callRemote(Fail, { kind: "remote", text: "x" }), amp.RemoteAmpError, "CUSTOM: x");
  equal([remote.code, remote.description], ["CUSTOM", "x"], "an error of another code");
  await fails(peer.callRemote(Nope, {}), amp.UnhandledCommand, "Unhandled Command: b'Nope'");
  await fails(peer.callRemote(Fail, { kind: "fatal", text: "bye" }), Fatality, "bye");
  await fails(peer.callRemote(Nope, {}), amp.ConnectionLost);
  peer = await amp.connect(address);
  await fails(peer.callRemote(Fail, { kind: "surprise" }), amp.RemoteAmpError, "UNKNOWN: Unknown Error");
  await fails(peer.callRemote(Nope, {}), amp.ConnectionLost);
});

const Note = new amp.Command("Note", { arguments: { text: Unicode() }, requiresAnswer: false });
const Notes = new amp.Command("Notes", { response: { texts: ListOf(Unicode()) } });
const CallMeBack = new amp.Command("CallMeBack", { arguments: { times: Integer() }, response: { total: Integer() } });
const Count = new amp.Command("Count", { arguments: { n: Integer() }, response: { n: Integer() } });
Count.responder(async ({ n }) => ({ n: n + 1 }));
const Quit = new amp.Command("Quit", { response: { goodbye: Unicode() } });
const Hold = new amp.Command("Hold", { arguments: { name: Unicode() }, response: { name: Unicode() } });
scenario("Talk", async (address) => {
  const peer = await amp.connect(address);
  for (const text of ["one", "two", "three"]) equal(await peer.callRemote(Note, { text }), undefined, "a note");
  equal(await peer.callRemote(Notes), { texts: ["one", "two", "three"] }, "notes");
  const totals = await Promise.all(Array.from({ length: 100 }, () => peer.callRemote(CallMeBack, { times: 4 })));
  equal(totals.filter((t) => t.total === 10).length, 100, "both ways");
  await fails(peer.callRemote(Hold, { name: "never" }, { timeout: 10 }), amp.TimeoutError, "Hold was not answered within 10ms");
  equal(await peer.callRemote(Quit), { goodbye: "everyone" }, "quit");
  await fails(peer.callRemote(Notes), amp.ConnectionLost);
});

const Switch = new amp.ProtocolSwitchCommand("Switch", { arguments: { name: Unicode() }, errors: { OOPS: Oops } });
let heard = "", hear: (text: string) => void;
amp.protocol("client", (transport) => {
  heard = "";
  return {
    dataReceived(data) {
      heard += data.toString();
      if (heard === "welcome;") transport.write("hello;");
      if (heard.endsWith("HELLO;")) transport.loseConnection();
    },
    connectionLost() { hear(heard); },
  };
});
scenario("SwitchTo", async (address) => {
  const peer = await amp.connect(address);
  await fails(peer.callRemote(Switch, { name: "refuse" }, { protocol: "client" }), Oops, "not today");
  const all = new Promise<string>((ok) => { hear = ok; });
  await peer.callRemote(Switch, { name: "shout" }, { protocol: "client" });
  equal(await all, "welcome;HELLO;", "the other protocol");
});

const WhoAmI = new amp.Command("WhoAmI", { response: { name: Unicode() } });
scenario("Secure", async (address) => {
  const peer = await amp.connect(address);
  equal(peer.tls, null, "in the clear");
  const held = Promise.all(Array.from({ length: 20 }, () => peer.callRemote(CallMeBack, { times: 2 })));
  await peer.startTLS({ ca: `AUTHORITY`, serverName: "localhost" });
  equal([peer.tls!.version, peer.tls!.serverName, peer.tls!.peerCertificate!.commonName], ["TLS 1.3", "localhost", "localhost"], "tls");
  equal(await peer.callRemote(WhoAmI), { name: "" }, "who I am");
  equal((await held).length, 20, "what was in flight");
  const other = await amp.connect(address);
  const e = await other.startTLS({ serverName: "localhost" }).then(() => "it was trusted", (e) => e);
  if (!(e instanceof amp.ConnectionLost) || !e.message.includes("unknown authority")) throw new Error(show(e));
});
