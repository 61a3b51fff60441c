package examples

import (
	"os"
	"strings"
	"testing"
)

// At each step the same client gets the same answers, and who answers what is
// as it should be.
func TestTwistedMigration(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	dir, oldPort := workDir(t), freePort(t)
	const here = "/examples/twisted-migration/"
	config := strings.ReplaceAll(readFile(t, dir+here+"amphost.toml"), "1234", oldPort)
	if err := os.WriteFile(dir+"/amphost.toml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	move := func(name string) {
		if err := os.WriteFile(dir+"/live/"+name, []byte(readFile(t, dir+here+name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/live", 0o700); err != nil {
		t.Fatal(err)
	}
	move("forward.js")
	old := start(t, dir, "python3 examples/twisted-migration/server.py "+oldPort)
	old.await(t, "listening on")
	server, addresses := serve(t, dir, "--plugins live", "")
	port := strings.TrimPrefix(addresses[0], "127.0.0.1:")

	// answered counts the sums and divisions that a server has logged.
	answered := func(p *program) [2]int {
		return [2]int{strings.Count(p.out.String(), "Did a sum: 13 + 81 = 94"), strings.Count(p.out.String(), "Divided: 1234 / 2 = 617")}
	}
	step := func(what string, wantOld, wantNew [2]int) {
		t.Helper()
		got := start(t, dir, "python3 examples/twisted-migration/client.py "+port).wait()
		if want := "{'total': 94}\n{'result': 617.0}\nZeroDivisionError\nUnhandledCommand\n"; got != want {
			t.Errorf("%s: the client printed\n%s", what, got)
		}
		if o, n := answered(old), answered(server); o != wantOld || n != wantNew {
			t.Errorf("%s: the old server has answered %v, want %v; the new one %v, want %v", what, o, wantOld, n, wantNew)
		}
	}
	step("all is forwarded", [2]int{1, 1}, [2]int{0, 0})
	move("sum.js")
	server.await(t, "plugin loaded plugin=sum")
	step("Sum has moved", [2]int{1, 2}, [2]int{1, 0})
	move("divide.js")
	server.await(t, "plugin loaded plugin=divide")
	if err := os.Remove(dir + "/live/forward.js"); err != nil {
		t.Fatal(err)
	}
	server.await(t, "plugin removed plugin=forward")
	old.kill()
	step("all have moved", [2]int{1, 2}, [2]int{2, 1})
	if log := server.out.String(); strings.Contains(log, "ERR") {
		t.Errorf("something went wrong:\n%s", log)
	}
}
