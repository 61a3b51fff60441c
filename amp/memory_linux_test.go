//go:build !race

package amp

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// residentMemory is how many bytes of this process are in memory.
func residentMemory(t testing.TB) int {
	t.Helper()
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what is in pools goes the second time
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("this system does not tell how much memory is resident")
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	var kib int
	if _, err := fmt.Sscanf(after, "%d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// An idle connection costs at most 10 KiB of resident memory in the server's
// process, after a call of some size: 10,000 of them in a long run, or as many as
// the limit on descriptors allows. The clients are in another process.
func TestMemoryOfIdleConnections(t *testing.T) {
	n := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - 200; n > most {
		t.Logf("scaled down to %d connections: RLIMIT_NOFILE is %d", most, limit.Cur)
		n = most
	}
	if !long {
		n = min(n, 2000)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1000} {
		s := &Server{Handler: mathMux(), MaxConns: -1, MaxConnsPerAddr: -1}
		addr := serve(t, s)
		if _, err := sum.Call(t.Context(), dial(t, addr, nil, nil), sumArgs{1, 2}); err != nil { // all is warm
			t.Fatal(err)
		}
		before := residentMemory(t)
		clients := exec.Command(exe, strconv.Itoa(n), strconv.Itoa(size))
		clients.Env = append(os.Environ(), idleServerEnv+"="+addr)
		stdin, err := clients.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := clients.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := clients.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if line != "ready\n" {
			t.Fatalf("the clients say %q, %v", line, err)
		}
		eventually(t, "they are idle", func() bool {
			for _, c := range s.Conns() {
				if c.Running() > 0 {
					return false
				}
			}
			return len(s.Conns()) == n+1
		})
		<-time.After(3 * lullTime) // they give their buffers back
		each := (residentMemory(t) - before) / n
		t.Logf("%d idle connections after a call of %d bytes: %d bytes of resident memory each", n, size, each)
		if each > 10<<10 {
			t.Errorf("an idle connection takes %d bytes of resident memory, want at most %d", each, 10<<10)
		}
		stdin.Close()
		if err := clients.Wait(); err != nil {
			t.Error(err)
		}
		eventually(t, "they are gone", func() bool { return len(s.Conns()) <= 1 })
	}
}
