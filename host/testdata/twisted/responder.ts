// Answers what amp/testdata/twisted/commands.py has, as its Responder does.
import * as amp from "amphost";

const { Integer, String: Bytes, Unicode, Float, Boolean, Decimal, DateTime, Path, ListOf, AmpList } = amp;
const row = { x: Integer(), y: Unicode({ optional: true }) };
const types: Record<string, any> = {
  Integer: Integer({ bigint: true }), String: Bytes(), Unicode: Unicode(), Float: Float(), Boolean: Boolean(),
  Decimal: Decimal(), DateTime: DateTime(), Path: Path(),
  Integers: ListOf(Integer({ bigint: true })), Texts: ListOf(Unicode()), Floats: ListOf(Float()), Decimals: ListOf(Decimal()),
  DateTimes: ListOf(DateTime()), Matrix: ListOf(ListOf(Integer())), Rows: AmpList(row),
  Tables: AmpList({ rows: AmpList(row), marks: ListOf(Boolean(), { optional: true }) }),
};
for (const [kind, type] of Object.entries(types)) {
  new amp.Command("Echo" + kind, { arguments: { v: type }, response: { v: type } }).responder(async (values) => values);
}
const echo = (name: string, list: any) => new amp.Command(name, { arguments: list, response: list }).responder((values: any) => values);
const optional = { optional: true };
echo("Optional", {
  integer: Integer({ bigint: true, optional: true }), string: Bytes(optional), unicode: Unicode(optional), float: Float(optional), boolean: Boolean(optional),
  decimal: Decimal(optional), datetime: DateTime(optional), path: Path(optional), integers: ListOf(Integer({ bigint: true }), optional), rows: AmpList(row, optional),
});
echo("Names", { from: Unicode(), class: Unicode(), mixedCase: Unicode(), "dash-arg": Unicode(), _private: Unicode(), Zed: Unicode() });
new amp.Command("Empty").responder(() => {});
new amp.Command("Mirror", { arguments: amp.Box, response: amp.Box }).responder((box) => box);
new amp.Command("Blob", { arguments: { size: Integer() }, response: { blob: Bytes() } })
  .responder(({ size }) => ({ blob: Buffer.alloc(size, "x"), extra: "dropped" }));
new amp.Command("BadReturn", { response: { v: Integer() } }).responder((() => null) as any);

// Errors.
class Oops extends Error {}
class SmallOops extends Oops {}
class Fatality extends Error {}
class ValueError extends Error {}
class ZeroDivisionError extends Error {}
function fail({ kind, text = "" }: { kind: string; text?: string }): never {
  switch (kind) {
    case "declared": throw new Oops(text);
    case "subclass": throw new SmallOops(text);
    case "fatal": throw new Fatality(text);
    case "value": throw new ValueError(text);
    case "remote": throw new amp.RemoteAmpError("CUSTOM", text);
    case "remote-fatal": throw new amp.RemoteAmpError("CUSTOM", text, { fatal: true });
    case "remote-unknown": throw new amp.RemoteAmpError("UNKNOWN", text);
  }
  throw new Error("secret " + kind);
}
const failing = { kind: Unicode(), text: Unicode({ optional: true }) };
new amp.Command("Fail", { arguments: failing, errors: { OOPS: Oops }, fatalErrors: { FATALITY: Fatality } }).responder(fail);
new amp.Command("FailMore", { arguments: failing, errors: { OOPS: Oops, VALUE: ValueError }, fatalErrors: { FATALITY: Fatality } }).responder(async (args) => fail(args));
new amp.Command("FailBoth", { errors: { OOPS: Oops }, fatalErrors: { FATAL_OOPS: Oops } }).responder(() => { throw new Oops("both"); });
new amp.Command("OwnUnknown", { errors: { UNKNOWN: Oops } }).responder(() => { throw new Oops("mine"); });
new amp.Command("Divide", { arguments: { numerator: Integer(), denominator: Integer() }, response: { result: Float() }, errors: { ZERO_DIVISION: ZeroDivisionError } })
  .responder(({ numerator, denominator }) => {
    if (denominator === 0) throw new ZeroDivisionError("division by zero");
    return { result: numerator / denominator };
  });
new amp.Command("Sum", { arguments: { a: Integer(), b: Integer() }, response: { total: Integer() } }).responder(({ a, b }) => ({ total: a + b }));

// Talk.
let notes: string[] = [];
new amp.Command("Note", { arguments: { text: Unicode() }, errors: { OOPS: Oops }, requiresAnswer: false }).responder(({ text }) => {
  if (text === "declared") throw new Oops(text);
  if (text === "undeclared") throw new Error(text);
  notes.push(text);
});
new amp.Command("Notes", { response: { texts: ListOf(Unicode()) } }).responder(() => {
  const texts = notes;
  notes = [];
  return { texts };
});
const held = new Map<string, () => void>();
const name = { name: Unicode() };
new amp.Command("Hold", { arguments: name, response: name }).responder((args, peer) => new Promise((ok) => held.set(peer.id + args.name, () => ok(args))));
new amp.Command("Release", { arguments: name }).responder(({ name }, peer) => { held.get(peer.id + name)!(); });
const Count = new amp.Command("Count", { arguments: { n: Integer() }, response: { n: Integer() } });
Count.responder(({ n }) => ({ n: n + 1 }));
new amp.Command("CallMeBack", { arguments: { times: Integer() }, response: { total: Integer() } }).responder(async ({ times }, peer) => {
  let total = 0;
  for (let n = 0; n < times; n++) total += (await peer.callRemote(Count, { n })).n;
  return { total };
});
new amp.Command("Quit", { response: { goodbye: Unicode() } }).responder(() => new amp.QuitBox({ goodbye: "everyone" }));
new amp.Command("Hang").responder((_, peer) => { peer.loseConnection(); return new Promise(() => {}); });

// Other protocols, and TLS.
new amp.ProtocolSwitchCommand("Switch", { arguments: name, errors: { OOPS: Oops } }).responder(async ({ name }) => {
  if (name === "refuse") throw new Oops("not today");
  if (name === "undeclared") throw new Error("secret");
  return name;
});
amp.protocol("shout", (transport) => {
  transport.write("welcome;");
  return {
    dataReceived(data) {
      if (data.includes("release")) for (const release of held.values()) release();
      transport.write(data.toString().toUpperCase());
    },
  };
});
amp.boxReceiver("reflect", (sender) => ({ ampBoxReceived(box) { sender.sendBox(box); } }));
new amp.Command("WhoAmI", { response: { name: Unicode() } }).responder((_, peer) => {
  if (peer.tls?.version !== "TLS 1.3") throw new Error("tls is " + JSON.stringify(peer.tls));
  return { name: peer.tls.peerCertificate?.commonName ?? "" };
});
new amp.Command("EncryptMe").responder((_, peer) => { setTimeout(() => peer.startTLS(), 1); });
