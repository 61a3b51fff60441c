package examples

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// twistedServer starts one of the Python programs in testdata, a server, and returns
// the address it listens on.
func twistedServer(t *testing.T, dir, line string) (*program, string) {
	t.Helper()
	p := start(t, dir, "python3 examples/testdata/"+line)
	return p, "127.0.0.1:" + p.await(t, `listening on (\d+)\n`)[1]
}

// serve starts amphost, and returns the address of each --listen by its place.
func serve(t *testing.T, dir, line string, listen ...string) (*program, []string) {
	t.Helper()
	var addresses []string
	for _, name := range listen {
		address := "127.0.0.1:" + freePort(t)
		addresses = append(addresses, address)
		line += " --listen " + name + address
	}
	p := start(t, dir, "amphost serve "+line)
	p.await(t, `(?m)^  store .*\n`)
	return p, addresses
}

func same(t *testing.T, who, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s printed\n%s\nwant\n%s", who, got, want)
	}
}

func TestCountWithATwistedServer(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, address := twistedServer(t, dir, "count_server.py")
	got := start(t, dir, "amphost run examples/count/client.js "+address).wait()
	same(t, "the client", ports{"8750": address[len("127.0.0.1:"):]}.plain(got), `connection established: 127.0.0.1:? to 127.0.0.1:8750
sending: 1
received: 2
sending: 3
received: 4
sending: 5
received: 6
sending: 7
received: 8
sending: 9
closing the connection: 127.0.0.1:? to 127.0.0.1:8750
`)
	server.await(t, "connection lost: ConnectionDone\n")
	same(t, "the server", strings.SplitAfterN(server.interrupt(), "\n", 2)[1], `received: 1
sending: 2
received: 3
sending: 4
received: 5
sending: 6
received: 7
sending: 8
received: 9
connection lost: ConnectionDone
`)
}

// The client waits for its Twisted server, and finds it again. The server goes
// right after an answer: a call that was under way then would be lost.
func TestMathClientWithATwistedServer(t *testing.T) {
	t.Parallel()
	dir, free := workDir(t), freePort(t)
	client := start(t, dir, "amphost run examples/math-client/client.js 127.0.0.1:"+free+" 0.5")
	server, _ := twistedServer(t, dir, "math_server.py "+free)
	client.expect(t, 2)
	server.kill()
	server, _ = twistedServer(t, dir, "math_server.py "+free)
	same(t, "the client", client.wait(), strings.Repeat("{'total': 6}\n", 7))
	server.await(t, `Did a sum: 1 \+ 5 = 6\n`)
}

// And the other way round: a Twisted client that comes back by itself.
func TestTwistedMathClientWaitsForItsServer(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	dir, free := workDir(t), freePort(t)
	client := start(t, dir, "python3 examples/testdata/math_client.py "+free+" 0.2")
	client.await(t, "connecting\n")
	server := start(t, dir, "amphost serve --port "+free)
	client.expect(t, 3)
	server.interrupt()
	server = start(t, dir, "amphost serve --port "+free)
	same(t, "the client", client.wait(), "connecting\n"+strings.Repeat("{'total': 6}\n", 7))
	server.await(t, `Did a sum: 1 \+ 5 = 6`)
}

// What is to happen a second apart does; here a second is shorter.
func TestScriptsTakeTheirTime(t *testing.T) {
	t.Parallel()
	dir, address := workDir(t), "127.0.0.1:"+freePort(t)
	server := start(t, dir, "go run ./examples/math-server -listen "+address)
	server.expect(t, 1)
	for line, least := range map[string]time.Duration{
		"amphost run examples/countdown/countdown.js 0.1":                 6 * 100 * time.Millisecond,
		"amphost run examples/math-client/client.js " + address + " 0.05": 18 * 50 * time.Millisecond,
	} {
		began := time.Now()
		out := start(t, dir, line).wait()
		if took := time.Since(began); took < least || strings.Count(out, "\n") != 7 {
			t.Errorf("%s took %v, want %v at least; it printed\n%s", line, took, least, out)
		}
	}
}

func TestBasicWithTwisted(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, address := twistedServer(t, dir, "basic_server.py")
	same(t, "the client", start(t, dir, "amphost run examples/basic/client.js "+address).wait(), "connected to "+address+"\ndisconnected\n")
	server.await(t, "connected\ndisconnected: ConnectionDone\n")

	free := freePort(t)
	server = start(t, dir, "amphost run examples/basic/server.js 127.0.0.1:"+free)
	server.await(t, "listening on .*\n")
	same(t, "the client in Twisted", start(t, dir, "python3 examples/testdata/basic_client.py "+free).wait(), "connected\nUnhandledCommand\n")
	server.await(t, `connected: 127.0.0.1:\d+\ndisconnected: 127.0.0.1:\d+: the peer closed the connection\n`)
}

func TestRegisterWithATwistedServer(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, address := twistedServer(t, dir, "register_server.py")
	for _, want := range []string{"Registration result: {'uid': 1}\nexit status 0\n", "UsernameUnavailable: ada is taken\nexit status 1\n"} {
		got := start(t, dir, "amphost run examples/register-user/client.js "+address+" ada 'ssh-ed25519 AAAA'; echo exit status $?").wait()
		same(t, "the client", got, want)
	}
	server.await(t, `ada: b'ssh-ed25519 AAAA'\n`)
}

func TestReflectorWithTwisted(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, address := twistedServer(t, dir, "reflector_server.py")
	want := "received: { hello: 'world' }\nreceived: {}\nreceived: { _answer: '7', empty: '' }\n"
	same(t, "the client", start(t, dir, "amphost run examples/reflector/client.js "+address).wait(), want)
	server.await(t, "stopped: ConnectionDone\n")

	server, addresses := serve(t, dir, "--plugins examples/reflector/plugins", "", "reflect=")
	port := strings.TrimPrefix(addresses[1], "127.0.0.1:")
	same(t, "the client in Twisted", start(t, dir, "python3 examples/testdata/reflector_client.py "+port).wait(),
		"[(b'hello', b'world')]\n[]\n[(b'_ask', b'1'), (b'_command', b'Sum')]\n[(b'_answer', b'7'), (b'empty', b'')]\n")
	server.await(t, "stopped: the peer closed the connection")
}

// What is refused leaves AMP going on, what is granted ends it.
func TestPoetryOverAMPWithATwistedClient(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	_, addresses := serve(t, dir, "--config examples/poetry/amphost.toml --plugins examples/poetry/plugins", "")
	port := strings.TrimPrefix(addresses[0], "127.0.0.1:")
	same(t, "the client", start(t, dir, "python3 examples/testdata/poetry_client.py "+port+" verlaine").wait(), "NoSuchPoem: ozymandias\n"+poem(t, "verlaine"))
}

func poem(t *testing.T, name string) string {
	t.Helper()
	return readFile(t, "poetry/plugins/poetry/"+name+".txt")
}

// Three at once take as long as the slowest, and what comes is interleaved;
// one after another they take as long as all.
func TestPoetryClientsTakeTheTimeTheyShould(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	var addresses []string
	const chunks, delay = 15, 100 * time.Millisecond
	for range 3 { // 143 bytes, 10 at a time
		_, address := twistedServer(t, dir, "poetry_server.py 0 examples/poetry/plugins/poetry/goethe.txt 10 0.1")
		addresses = append(addresses, address)
	}
	one := chunks * delay // Twisted waits once more before it hangs up
	took := make(map[string]time.Duration)
	for _, client := range []string{"async", "blocking"} {
		got := start(t, dir, "amphost run examples/poetry/"+client+".js "+strings.Join(addresses, " ")).wait()
		var n int
		var seconds float64
		if _, err := fmt.Sscanf(got[strings.LastIndex(got, "Got "):], "Got %d poems in 0:00:%f\n", &n, &seconds); err != nil || n != 3 {
			t.Errorf("%s: %d poems, %v\n%s", client, n, err, got)
		}
		took[client] = time.Duration(seconds*float64(time.Second)) + 20*time.Millisecond // it was rounded
		if first := strings.Index(got, "Task 3: got"); client == "async" && (first < 0 || first > strings.LastIndex(got, "Task 1: got")) {
			t.Errorf("nothing is interleaved:\n%s", got)
		}
		if n := strings.Count(got, poem(t, "goethe")); client == "blocking" && n != 3 {
			t.Errorf("the poem is there %d times:\n%s", n, got)
		}
	}
	if took["async"] < one || took["blocking"] < 3*one || took["async"] >= took["blocking"] {
		t.Errorf("one poem takes %v; three at once took %v, one after another %v", one, took["async"], took["blocking"])
	}
}

// A connection that breaks is no poem, also when some of it has come.
func TestABrokenPoemIsNotCounted(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, workDir(t), "amphost run examples/poetry/async.js "+l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "Half a p")
	p.await(t, "got 8 bytes")
	c.(*net.TCPConn).SetLinger(0) // resets the connection
	c.Close()
	got := p.wait()
	if !strings.Contains(got, "Task 1: Poem failed: ") || !strings.Contains(got, "Got 0 poems") {
		t.Errorf("the client printed\n%s", got)
	}
}
