// Registers a user, and tells why it can't.
import * as amp from "amphost";

class UsernameUnavailable extends Error {}

const RegisterUser = new amp.Command("RegisterUser", {
  arguments: { username: amp.Unicode(), publickey: amp.String() },
  response: { uid: amp.Integer() },
  errors: { "username-unavailable": UsernameUnavailable },
});

amp.onLoad(async () => {
  const [address, username, publickey] = amp.args;
  if (publickey === undefined) {
    console.error("usage: client.js HOST:PORT USERNAME PUBLICKEY");
    amp.exit(2);
  }
  const server = await amp.connect(`tcp://${address}`);
  try {
    const { uid } = await server.callRemote(RegisterUser, { username, publickey });
    console.log(`Registration result: {'uid': ${uid}}`);
  } catch (e) {
    if (!(e instanceof UsernameUnavailable)) throw e;
    console.error("UsernameUnavailable:", e.message);
    amp.exit(1);
  }
  server.loseConnection();
});
