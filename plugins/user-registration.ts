// State that survives a restart, decided and written in one transaction: two
// clients that ask for one name at the same moment get one uid between them.
import * as amp from "amphost";

class UsernameUnavailable extends Error {}
class InvalidKey extends Error {}

const RegisterUser = new amp.Command("RegisterUser", {
  arguments: { username: amp.Unicode(), publickey: amp.String() },
  response: { uid: amp.Integer() },
  errors: { "username-unavailable": UsernameUnavailable, "invalid-publickey": InvalidKey },
});

RegisterUser.responder(({ username, publickey }) => {
  // A second line would be a second user to whoever reads the key file.
  if (publickey.includes("\n")) throw new InvalidKey("a key is one line");
  return amp.store.update((tx) => {
    if (tx.files.exists(username)) throw new UsernameUnavailable(username);
    const uid = tx.counter("uid").next();
    tx.files.create(username, `${uid} `, publickey, "\n");
    return { uid };
  });
});
