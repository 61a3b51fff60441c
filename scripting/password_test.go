package scripting

import (
	"strings"
	"testing"
	"time"
)

const passwordSource = `import * as amp from "amphost";
const out = { arguments: { password: amp.Unicode(), hash: amp.Unicode({ optional: true }) }, response: { out: amp.Unicode() }, errors: { TYPE: TypeError, ERROR: Error } };
new amp.Command("Hash", out).responder(async ({ password }) => ({ out: await amp.password.hash(password) }));
new amp.Command("Verify", out).responder(async ({ password, hash }) => ({ out: String(await amp.password.verify(password, hash)) }));
new amp.Command("Odd", out).responder(async () => {
  const all = [];
  for (const args of [[], [1, 2], ["\ud800", "x"], ["x", null]]) {
    for (const fn of [amp.password.hash, amp.password.verify]) {
      try { const v = fn(...args); all.push(v instanceof Promise); await v; } catch (e) { all.push(e.constructor.name); }
    }
  }
  return { out: all.join(" ") };
});
let turns = 0;
new amp.Command("Busy", out).responder(async () => {
  const timer = setInterval(() => turns++, 1);
  const hashes = await Promise.all(Array.from({ length: 6 }, (_, i) => amp.password.hash("p" + i)));
  clearInterval(timer);
  return { out: new Set(hashes).size + " " + (turns > 3) };
});
new amp.Command("Flood", out).responder(() => {
  const all = Array.from({ length: 1001 }, () => amp.password.hash("x"));
  all.forEach((p, i) => p.catch((e) => { if (i === 1000) console.log("flooded:", e.message); }));
  return { out: "" };
});
`

func TestPassword(t *testing.T) {
	p, l := run(t, "pw", passwordSource, nil)
	call := func(command, password, hash string) string {
		t.Helper()
		args := box("password", password)
		if hash != "" {
			args["hash"] = []byte(hash)
		}
		b, err := ask(t, p, command, args)
		if err != nil {
			return err.Error()
		}
		return string(b["out"])
	}
	hash := call("Hash", "pä55", "")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || call("Hash", "pä55", "") == hash {
		t.Errorf("a hash is %s", hash)
	}
	const short = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Zm9yZWlnbg" // too little of a key
	for _, c := range []struct{ password, hash, want string }{
		{"pä55", hash, "true"},
		{"pä56", hash, "false"},
		{"", hash, "false"},
		{"x", "", "TYPE: amp.password.verify takes text"},
		{"x", "plain", "TYPE: amp.password.verify: the hash can't be read: it is no hash of amp.password.hash"},
		{"x", "$2b$12$abcdefghijklmnopqrstuv", `TYPE: amp.password.verify: the hash can't be read: it was made by "2b"`},
		{"x", strings.TrimSuffix(hash, hash[len(hash)-30:]), "TYPE: amp.password.verify: the hash can't be read: its salt or its key is damaged"},
		{"x", strings.Replace(hash, "v=19", "v=16", 1), "TYPE: amp.password.verify: the hash can't be read: it is cut off, or of another version"},
		{"x", strings.Replace(hash, "m=19456", "m=4294967295", 1), "TYPE: amp.password.verify: the hash can't be read: its parameters"},
		{"x", strings.Replace(hash, "t=2", "t=0", 1), "TYPE: amp.password.verify: the hash can't be read: its parameters"},
		{"x", short, "TYPE: amp.password.verify: the hash can't be read: its salt or its key is damaged"},
	} {
		if got := call("Verify", c.password, c.hash); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q with %s: %s, want %s", c.password, c.hash, got, c.want)
		}
	}
	if got, want := call("Odd", "", ""), "true TypeError true TypeError true TypeError true TypeError true TypeError true TypeError true true TypeError"; got != want {
		t.Errorf("odd arguments: %s, want %s", got, want)
	}
	if got := call("Busy", "", ""); got != "6 true" {
		t.Errorf("six at a time: %s", got)
	}
	call("Flood", "", "")
	l.wait("flooded: amp.password: 1000 passwords wait")
	// What waits for its turn does not keep the plugin from ending.
	began := time.Now()
	for _, w := range p.workers {
		w.cut(errStopped)
	}
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Errorf("the plugin has not ended after %v", time.Since(began))
	}
}

// A hash that another program has made, with other parameters.
func TestPasswordOfAnotherProgram(t *testing.T) {
	// echo -n password | argon2 somesalt -id -t 2 -k 64 -p 2 -l 24 -e
	const other = "$argon2id$v=19$m=64,t=2,p=2$c29tZXNhbHQ$NQrDciL0Nsy1wJcvHr079rlYvyBxhBNi"
	h, err := readPasswordHash(other)
	if err != nil || !h.matches("password") || h.matches("Password") {
		t.Errorf("%+v, %v", h, err)
	}
	if h.String() != other {
		t.Errorf("it is written as %s", h)
	}
}
