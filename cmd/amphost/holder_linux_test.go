package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/amphost/amphost/amp"
)

// holderVariable has the test's own program be a holder in place of the tests.
const holderVariable = "AMPHOST_TEST_HOLDER"

func init() {
	if os.Getenv(holderVariable) == "" {
		return
	}
	if err := hold(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold opens so many connections to an address, by turns from each of some IP
// addresses, and does what the lines of stdin say until it ends:
//
//	call COMMAND   over each connection, and wait for the answers
//	send COMMAND   over each connection
//
// After each, and at the beginning, it says with how many connections that was done.
func hold(address, number string, sources []string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	if err := raiseDescriptors(n + 100); err != nil {
		return err
	}
	conns := make([]net.Conn, n)
	each := func(do func(i int) error) error {
		var next atomic.Int64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
					if err := do(i); err != nil {
						err = fmt.Errorf("connection %d: %w", i, err)
						failed.Store(&err)
					}
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
	err = each(func(i int) (err error) {
		var d net.Dialer
		if len(sources) > 0 {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(sources[i%len(sources)])}
		}
		conns[i], err = d.Dial("tcp", address)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("opened", n)
	for scan := bufio.NewScanner(os.Stdin); scan.Scan(); {
		verb, command, _ := strings.Cut(scan.Text(), " ")
		box, err := amp.Box{"_ask": []byte("1"), "_command": []byte(command)}.Append(nil)
		if err != nil {
			return err
		}
		err = each(func(i int) error {
			if _, err := conns[i].Write(box); err != nil || verb == "send" {
				return err
			}
			answer, err := amp.ReadBox(bufio.NewReader(conns[i]))
			if err == nil && answer["_answer"] == nil {
				err = fmt.Errorf("answered with %q", answer)
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(verb, command, n)
	}
	return nil
}

// raiseDescriptors has this process and those that it starts from then on have as
// many descriptors as n at least.
func raiseDescriptors(n int) error {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	if r.Cur >= uint64(n) {
		return nil
	}
	r.Cur, r.Max = uint64(n), max(r.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return fmt.Errorf("%d descriptors: %w", n, err)
	}
	return nil
}

// A holder is a process that holds connections: see hold.
type holder struct {
	*process
	in io.Writer
}

// startHolder starts one, by way of a command line that runs another, if there is one.
func startHolder(t *testing.T, by []string, address string, n int, sources ...string) *holder {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(append([]string{}, by...), own, address, strconv.Itoa(n))
	line = append(line, sources...)
	cmd := exec.Command(line[0], line[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), holderVariable+"=1", "GORACE="+noExitPause)
	h := &holder{process: startCommand(t, cmd), in: in}
	h.await("opened " + strconv.Itoa(n))
	return h
}

// do has the holder do something with each of its connections, and waits until
// it has.
func (h *holder) do(line string) {
	h.t.Helper()
	fmt.Fprintln(h.in, line)
	h.await(line + ` \d+`)
}

// await waits until the holder has said something, or what went wrong.
func (h *holder) await(re string) {
	h.t.Helper()
	if m := h.stdout.await(h.t, `(?m)^(`+re+`|error: .*)$`); strings.HasPrefix(m[1], "error") {
		h.t.Fatalf("the process with the connections: %s", m[1])
	}
}
