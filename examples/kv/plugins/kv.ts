// Keys with values. Each change has a version, greater than all before it; who
// watches hears of each, once and in order, also across a reload.
import * as amp from "amphost";

class Conflict extends Error {}

const Get = new amp.Command("Get", {
  arguments: { key: amp.Unicode() },
  response: { value: amp.String({ optional: true }), version: amp.Integer() }, // 0: there is none
});
const Put = new amp.Command("Put", {
  arguments: { key: amp.Unicode(), value: amp.String() },
  response: { version: amp.Integer() },
});
const CompareAndSet = new amp.Command("CompareAndSet", {
  arguments: { key: amp.Unicode(), version: amp.Integer(), value: amp.String() },
  response: { version: amp.Integer() },
  errors: { CONFLICT: Conflict },
});
const Watch = new amp.Command("Watch", {
  arguments: { prefix: amp.Unicode() },
  response: { version: amp.Integer() }, // what it was told by now is the state as of this version
});

// This one who watches answers.
const Changed = new amp.Command("Changed", {
  arguments: { key: amp.Unicode(), value: amp.String(), version: amp.Integer() },
  requiresAnswer: false,
});

interface Entry {
  value: Buffer;
  version: number;
}

function set(tx: amp.Tx, key: string, value: Buffer) {
  const version = tx.counter("version").next();
  tx.put(key, { value, version });
  return { version };
}

Get.responder(({ key }) => amp.store.view((tx) => tx.get<Entry>(key)) ?? { version: 0 });

Put.responder(({ key, value }) => amp.store.update((tx) => set(tx, key, value)));

CompareAndSet.responder(({ key, version, value }) =>
  amp.store.update((tx) => {
    const now = tx.get<Entry>(key)?.version ?? 0;
    if (now !== version) throw new Conflict(`${key} has version ${now}, not ${version}`);
    return set(tx, key, value);
  }),
);

// What a peer watches, and the version up to which it was told. It outlives a reload,
// over which the same change may be told to both versions of the plugin.
const session = amp.peerState(() => ({ prefix: undefined as string | undefined, told: 0 }));

function tell(peer: amp.Peer, key: string, entry: Entry) {
  peer.callRemote(Changed, { key, ...entry }).catch(() => {}); // it has gone
}

Watch.responder(({ prefix }, peer) =>
  amp.store.view((tx) => {
    const entries = [...tx.scan<Entry>({ prefix })].sort(([, a], [, b]) => a.version - b.version);
    for (const [key, entry] of entries) tell(peer, key, entry);
    const version = tx.counter("version").value;
    Object.assign(session(peer), { prefix, told: version });
    return { version };
  }),
);

amp.store.watch("", (changes) => {
  for (const peer of amp.peers()) {
    const watching = session(peer);
    if (watching.prefix === undefined) continue;
    for (const { key, value } of changes.filter(({ value }) => value.version > watching.told)) {
      if (key.startsWith(watching.prefix)) tell(peer, key, value);
      watching.told = value.version;
    }
  }
});
