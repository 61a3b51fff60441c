package scripting

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/amphost/amphost/amp"
)

const connectSource = `import * as amp from "amphost";
const Sum = new amp.Command("Sum", { arguments: { a: amp.Integer(), b: amp.Integer() }, response: { total: amp.Integer() } });
new amp.Command("Mine", { response: { n: amp.Integer() } }).responder(() => ({ n: 7 }));
let kept;
const args = { arguments: { address: amp.Unicode() }, response: { out: amp.Unicode() } };
const result = async (f) => { try { return { out: String(await f()) }; } catch (e) { return { out: e.name + ": " + e.message }; } };
new amp.Command("Once", args).responder(({ address }) => result(async () => {
  const peer = await amp.connect(address);
  const { total } = await peer.callRemote(Sum, { a: 2, b: 3 });
  peer.loseConnection();
  return total + " " + peer.remoteAddress;
}));
new amp.Command("Again", args).responder(({ address }) => result(async () => {
  kept ??= await amp.connect(address, { reconnect: true });
  return (await kept.callRemote(Sum, { a: 1, b: 1 }, { timeout: 5000 })).total;
}));
new amp.Command("Secure", args).responder(({ address }) => result(async () => {
  const peer = await amp.connect(address);
  await peer.startTLS({ insecure: true });
  const { total } = await peer.callRemote(Sum, { a: 4, b: 4 });
  return [total, peer.tls.version, peer.tls.peerCertificate].join(" ");
}));
new amp.Command("Raw", args).responder(({ address }) => result(() => new Promise(async (ok, no) => {
  const transport = await amp.dial(address, (t) => ({ dataReceived(d) { ok(d.toString().trim()); t.loseConnection(); } })).catch(no);
  await transport?.write("hello\n");
})));
`

func TestConnect(t *testing.T) {
	serve := func(l net.Listener) *amp.Server {
		mux := new(amp.Mux)
		mux.Handle("Sum", amp.HandlerFunc(func(r *amp.Request) {
			a, _ := r.Arg("a")
			r.Conn().Go("Mine", nil, func(b amp.Box, err error) { // the other side may call, too
				if err != nil || string(b["n"]) != "7" {
					t.Errorf("Mine = %q, %v", b, err)
				}
				r.Answer(box("total", string(a)+"0"))
			})
		}))
		s := &amp.Server{Handler: mux}
		go func() {
			if err := s.Serve(l); !errors.Is(err, amp.ErrServerClosed) {
				t.Errorf("serve: %v", err)
			}
		}()
		return s
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	s := serve(l)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	go func() {
		for {
			nc, err := raw.Accept()
			if err != nil {
				return
			}
			text, _ := bufio.NewReader(nc).ReadString('\n')
			_, _ = io.WriteString(nc, strings.ToUpper(text))
			nc.Close()
		}
	}()
	p, log := run(t, "calls", connectSource, &Options{Net: func(plugin, to string, _ netip.Addr) error {
		if plugin == "calls" && (to == address || to == raw.Addr().String() || to == "127.0.0.1:1") {
			return nil
		}
		return errors.New("start with --allow-net")
	}})
	out := func(command, address string) string {
		t.Helper()
		b, err := ask(t, p, command, box("address", address))
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, log)
		}
		return string(b["out"])
	}
	for _, c := range []struct{ command, address, want string }{
		{"Once", "tcp://" + address, "20 " + address},
		{"Once", address, "20 " + address},
		{"Once", "tcp://127.0.0.1:1", "ConnectionLost: dial tcp 127.0.0.1:1"},
		{"Once", "tcp://127.0.0.1:2", "TypeError: calls may not connect to 127.0.0.1:2: start with --allow-net"},
		{"Once", "http://x", `TypeError: "http://x" is no address`},
		{"Again", address, "10"},
		{"Secure", address, "40 TLS 1.3 "},
		{"Raw", raw.Addr().String(), "HELLO"},
		{"Raw", "127.0.0.1:1", "ConnectionLost: dial tcp 127.0.0.1:1"},
	} {
		if got := out(c.command, c.address); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s(%s) = %s, want %s", c.command, c.address, got, c.want)
		}
	}
	// The server goes and comes back: the call waits.
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	done := make(chan string, 1)
	go func() { done <- out("Again", address) }()
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	s = serve(l)
	if got := <-done; got != "10" && !strings.HasPrefix(got, "ConnectionLost") { // sent as the server went
		t.Errorf("after the server came back: %s", got)
	}
	if got := out("Again", address); got != "10" {
		t.Errorf("after the server came back: %s", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	denied, _ := run(t, "denied", connectSource, nil)
	if b, err := ask(t, denied, "Once", box("address", address)); err != nil || !strings.Contains(string(b["out"]), "no permission") {
		t.Errorf("without a permission: %q, %v", b, err)
	}
}
