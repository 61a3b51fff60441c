package amp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sink is a stream that takes everything and gives nothing.
type sink struct{}

func (sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (sink) Write(p []byte) (int, error) { return len(p), nil }
func (sink) Close() error                { return nil }

// The reading side of a typed command allocates nothing but the argument
// values: the struct they are in, and each text. What is measured is the way
// of a box in the input buffer to the handler function.
func TestReadingAllocatesOnlyTheArguments(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	type numbers struct {
		A int     `amp:"a"`
		B uint16  `amp:"b"`
		C float64 `amp:"c"`
		D bool    `amp:"d"`
		E int     `amp:"e,optional"`
	}
	type texts struct {
		A string `amp:"a"`
		B []byte `amp:"b"`
	}
	m := new(Mux)
	ran := 0
	Command[numbers, struct{}]{Name: "Numbers"}.HandleInline(m, func(_ context.Context, args numbers) (struct{}, error) {
		ran += args.A
		return struct{}{}, nil
	})
	Command[texts, struct{}]{Name: "Texts"}.HandleInline(m, func(_ context.Context, args texts) (struct{}, error) {
		ran += len(args.A)
		return struct{}{}, nil
	})
	for _, test := range []struct {
		box  []string
		most float64
	}{
		{[]string{"_command", "Numbers", "a", "1", "b", "65535", "c", "1.5", "d", "True"}, 1},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 100)}, 3},
		{[]string{"_command", "Texts", "a", "x", "b", strings.Repeat("y", 1000)}, 3},
	} {
		c := newConn(sink{}, m, nil, nil)
		box := wire(test.box)
		copy(c.in.buf, box)
		if len(box) > len(c.in.buf) {
			c.in.borrow()
			copy(c.in.buf, box)
		}
		ran = 0
		allocs := testing.AllocsPerRun(1000, func() {
			c.in.r, c.in.w = 0, len(box)
			if err := c.dispatchAll(); err != nil {
				t.Fatal(err)
			}
		})
		if ran != 1001 {
			t.Errorf("%s ran %d times", test.box[1], ran)
		}
		if allocs > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.box[1], allocs, test.most)
		}
		c.end(ErrClosed)
	}
}

// A scanned box, and one that is appended, allocate nothing.
func TestBoxesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	box := wire(ask("1", "Sum", "a", "13", "b", "81"))
	opts := new(Options).withDefaults()
	var s scanner
	if n := testing.AllocsPerRun(100, func() {
		pairs, _, err := s.next(box, opts)
		if h := headerOf(pairs); err != nil || h.kind != command {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("reading a box: %v allocations", n)
	}
	b := Box{"a": []byte("13"), "b": []byte("81")}
	var buf []byte
	if n := testing.AllocsPerRun(100, func() { buf, _ = b.Append(buf[:0]) }); n != 0 {
		t.Errorf("appending a box: %v allocations", n)
	}
}

// idleServerEnv makes this test program hold idle connections to an address
// instead of running tests: see TestMain.
const idleServerEnv = "AMP_IDLE_SERVER"

// holdIdleConns makes connections that each call once and then say nothing,
// until its standard input ends. It is told their number, and the length of an
// argument, on the command line.
func holdIdleConns(addr string) int {
	n, _ := strconv.Atoi(os.Args[1])
	size, _ := strconv.Atoi(os.Args[2])
	command := wire(ask("1", "Sum", "a", "1", "b", "2", "c", strings.Repeat("x", size)))
	var conns []net.Conn
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		conns = append(conns, nc)
		if _, err := nc.Write(command); err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := ReadBox(nc); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return 0
}

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
	if raceEnabled {
		t.Skip("the race detector takes memory")
	}
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
