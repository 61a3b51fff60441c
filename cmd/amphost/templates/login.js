// Who is on the other end: a name is given out once, with a token that proves it
// on later connections. Every plugin sees who has logged in, as peer.identity.
import * as amp from "amphost";

class Taken extends Error {}
class Refused extends Error {}
class NotLoggedIn extends Error {}

const ExampleJoin = new amp.Command("ExampleJoin", {
  arguments: { user: amp.Unicode() },
  response: { token: amp.Unicode() },
  errors: { TAKEN: Taken },
});

const Example = new amp.Command("Example", {
  arguments: { user: amp.Unicode(), token: amp.Unicode() },
  errors: { REFUSED: Refused },
});

const ExampleWhoAmI = new amp.Command("ExampleWhoAmI", {
  response: { user: amp.Unicode() },
  errors: { NOT_LOGGED_IN: NotLoggedIn },
});

// A token is random and long, so a plain hash of it may be kept. A password is
// neither: amp.password is for those.
const hashOf = async (token = "") => Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(token)));

const session = amp.peerState(() => ({ failures: 0 }));

ExampleJoin.responder(async ({ user }) => {
  const token = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
  const hash = await hashOf(token);
  return amp.store.update((tx) => {
    if (tx.get(user) !== undefined) throw new Taken(user);
    tx.put(user, hash);
    return { token };
  });
});

Example.responder(async ({ user, token }, peer) => {
  const hash = await hashOf(token);
  const kept = amp.store.view((tx) => tx.get(user));
  if (kept === undefined || !crypto.timingSafeEqual(hash, kept)) {
    if (++session(peer).failures >= 3) peer.loseConnection();
    throw new Refused("no such user, or another token");
  }
  if (peer.identity === null) peer.authenticate({ user });
});

ExampleWhoAmI.responder((_, peer) => {
  if (peer.identity === null) throw new NotLoggedIn("call Example first");
  return { user: peer.identity.user };
});
