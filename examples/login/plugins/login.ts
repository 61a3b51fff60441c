// Who may call: until a peer has logged in it may call Login, and nothing else of
// any plugin.
import * as amp from "amphost";

class InvalidLogin extends Error {}
class Locked extends Error {}
class NotAllowed extends Error {}
class Taken extends Error {}

const who = { user: amp.Unicode(), password: amp.Unicode() };
const Login = new amp.Command("Login", { arguments: who, errors: { INVALID_LOGIN: InvalidLogin, LOCKED: Locked } });
const AddUser = new amp.Command("AddUser", { arguments: who, errors: { NOT_ALLOWED: NotAllowed, TAKEN: Taken } });

amp.authorize((peer, command) => command === "Login" || peer.identity !== null);

// Users by name. The first one comes from the environment.
type User = { hash: string; admin: boolean };
const add = async (user: string, password: string, admin: boolean) => {
  const hash = await amp.password.hash(password);
  await amp.store.update((tx) => {
    if (tx.get(`user/${user}`) !== undefined) throw new Taken(user);
    tx.put(`user/${user}`, { hash, admin } satisfies User);
  });
};

let decoy: string | undefined; // the hash of nobody's password
let failures = new Map<string, { count: number; until: number }>(); // attempts since the last login, by user
amp.hot.save(() => ({ decoy, failures }));
amp.onLoad(async (saved) => {
  if (saved) ({ decoy, failures } = saved);
  decoy ??= await amp.password.hash(crypto.randomUUID());
  const none = amp.store.view((tx) => [...tx.scan({ prefix: "user/", limit: 1 })].length === 0);
  if (none && amp.env.ADMIN_PASSWORD) await add("admin", amp.env.ADMIN_PASSWORD, true);
});

const TRIES = 5;
const LOCKED = 60_000; // milliseconds, twice as long with every failure after that
const MOST = 10_000; // users to remember failures of

// attempt counts an attempt as failed before its password is looked at: of many at
// once none can come before the others have been counted.
const attempt = (user: string) => {
  const now = Date.now();
  const f = failures.get(user) ?? { count: 0, until: 0 };
  if (f.until > now) throw new Locked(`too many failures, try again in ${Math.ceil((f.until - now) / 60_000)} min`);
  f.count++;
  if (f.count >= TRIES) f.until = now + LOCKED * 2 ** Math.min(f.count - TRIES, 10);
  failures.delete(user); // the one that was tried last comes last
  failures.set(user, f);
  if (failures.size > MOST) failures.delete(failures.keys().next().value!);
};

Login.responder(async ({ user, password }, peer) => {
  attempt(user);
  const kept = amp.store.view((tx) => tx.get<User>(`user/${user}`));
  // What takes time happens for users who do not exist, too: nobody learns who does.
  const right = await amp.password.verify(password, kept?.hash ?? decoy!);
  if (!right || kept === undefined) throw new InvalidLogin("no such user, or another password");
  failures.delete(user);
  peer.authenticate({ user, admin: kept.admin });
});

AddUser.responder(async ({ user, password }, peer) => {
  if (!peer.identity.admin) throw new NotAllowed("only for admins");
  await add(user, password, false);
});
