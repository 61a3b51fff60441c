package examples

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// programs is where the Twisted programs are that the plugins are tested with.
const programs = "../cmd/amphost/testdata"

func twisted(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(python, append([]string{"-B", program}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+programs)
	cmd.Stderr = os.Stderr
	return cmd
}

// A Twisted client uses each server in Go.
func TestTwistedClients(t *testing.T) {
	needTwisted(t)
	const count = "received: 2\nsending: 3\nreceived: 4\nsending: 5\nreceived: 6\nsending: 7\nreceived: 8\nsending: 9\n"
	for _, test := range []struct {
		server, client string
		args           []string
		want           string
		lines          []string // that the server prints, in this order
	}{
		{"count", programs + "/count_client.py", nil, "sending: 1\n" + count,
			strings.Split("connection established,received: 1,sending: 2,received: 3,sending: 4,received: 5,sending: 6,received: 7,sending: 8,received: 9,connection lost", ",")},
		{"math-server", programs + "/maths_client.py", nil, "{'total': 94}\n{'result': 617.0}\nZeroDivisionError: division by zero\n{'total': 0}\n",
			[]string{"Did a sum: 13 + 81 = 94", "Divided: 1234 / 2 = 617", "Did a sum"}},
		{"basic", "testdata/client.py", []string{"basic"}, "UnhandledCommand: Unhandled Command: b'Sum'\nencrypted: True\n",
			[]string{"connected", "disconnected"}},
		{"user-registration", programs + "/register_client.py", []string{"ada", "ada", "../evil.txt"},
			"Registration result: {'uid': 1}\nUsernameUnavailable: ada is taken\nRegistration result: {'uid': 2}\nInvalidKey: a key is one line\n",
			[]string{"registered ada as 1", "registered ../evil.txt as 2"}},
		{"reflector", "testdata/client.py", []string{"reflector"}, "the same: True\n", []string{"stopped"}},
	} {
		t.Run(test.server, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			server := start(t, t.TempDir(), "go run ./examples/"+test.server+" -listen 127.0.0.1:"+port)
			server.expect(t, 1) // it listens
			out, err := twisted(test.client, append([]string{port}, test.args...)...).Output()
			if err != nil || string(out) != test.want {
				t.Errorf("the client printed\n%s%v, want\n%s", out, err, test.want)
			}
			log := server.interrupt()
			rest := log
			for _, line := range test.lines {
				_, after, ok := strings.Cut(rest, line)
				if !ok {
					t.Fatalf("the server does not print %q in its place:\n%s", line, log)
				}
				rest = after
			}
		})
	}
}

// Each client in Go uses a Twisted server.
func TestTwistedServers(t *testing.T) {
	needTwisted(t)
	for _, test := range []struct {
		name   string
		server []string
		client string
		want   []string // of each run
	}{
		{"count", []string{"testdata/server.py", "count"}, "count -connect $",
			[]string{"connection established: 127.0.0.1:? to 127.0.0.1:?\nreceived: 2\nsending: 3\nreceived: 4\nsending: 5\nreceived: 6\nsending: 7\nreceived: 8\nsending: 9\n"}},
		{"math-client", []string{programs + "/maths_server.py"}, "math-client -second 20ms -connect $",
			[]string{strings.Repeat("{'total': 6}\n", 7)}},
		{"basic", []string{"testdata/server.py", "basic"}, "basic -connect $",
			[]string{"connected to 127.0.0.1:?\nthe server has no Hello; goodbye\n"}},
		{"register-user", []string{"testdata/server.py", "register"}, "register-user -connect $ ada ssh-ed25519-AAAA",
			[]string{"Registration result: {'uid': 1}\n", "UsernameUnavailable: username-unavailable: ada\nexit status 1\n"}},
		{"reflector", []string{"testdata/server.py", "reflector"}, "reflector -connect $",
			[]string{"received: map[\"hello\":\"world\"]\nreceived: map[]\nreceived: map[\"_answer\":\"7\" \"empty\":\"\"]\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := twisted(test.server[0], test.server[1:]...)
			out, err := server.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Process.Kill(); server.Wait() })
			r := bufio.NewReader(out)
			port, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, r) // ends with the server
			line := strings.ReplaceAll(test.client, "$", "127.0.0.1:"+strings.TrimSpace(port))
			for _, want := range test.want {
				got := start(t, t.TempDir(), "go run ./examples/"+line).wait()
				if got := (ports{}).plain(got); got != want {
					t.Errorf("%s prints\n%swant\n%s", line, got, want)
				}
			}
		})
	}
}
