// Calls Greet before and after it has logged in: ADDRESS USER, and PASSWORD in the
// environment. With a number it tries to log in so often.
import * as amp from "amphost";

const Login = new amp.Command("Login", { arguments: { user: amp.Unicode(), password: amp.Unicode() } });
const Greet = new amp.Command("Greet", { response: { text: amp.Unicode() } });

const [address, user, times = "1"] = amp.args;
const password = amp.env.PASSWORD ?? "";

amp.onLoad(async () => {
  const server = await amp.connect(`tcp://${address}`);
  const say = async (what: string, call: () => Promise<string>) => {
    try {
      console.log(what, await call());
    } catch (e) {
      console.log(what, (e as Error).message);
    }
  };
  const greet = async () => (await server.callRemote(Greet)).text;
  await say("before:", greet);
  for (let i = 0; i < Number(times); i++) {
    await say("login: ", async () => { await server.callRemote(Login, { user, password }); return "ok"; });
  }
  await say("after: ", greet);
  server.loseConnection();
});
