package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server that answers at a loopback address.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer  // what it has written; only after exited
	exited chan struct{} // closed once it has ended
	err    error         // how it ended; only after exited
}

// A server that does not answer within startTime, or does not end within
// stopTime after a SIGTERM, is killed.
const (
	startTime = 30 * time.Second
	stopTime  = 10 * time.Second
)

// start starts a server and waits until it accepts connections at address. The
// server ends with stop, or with ctx.
func start(ctx context.Context, address, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTime
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process; stop waits
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.await(ctx, address); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// await returns once address accepts connections.
func (p *process) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("%s does not accept connections at %s", p.cmd.Path, address))
	defer cancel()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-again.C:
		case <-p.exited:
			return fmt.Errorf("%s ended before it accepted connections", p.cmd.Path)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the server and waits for its end. An error is that it had ended by
// itself or did not end when it was told to, with what it has written. How it
// ends when it is told to is its own affair: some call that a failure.
func (p *process) stop() error {
	early := p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s does not end within %v of a SIGTERM\n%s", p.cmd.Path, stopTime, bytes.TrimSpace(p.output.Bytes()))
	}
	if early != nil {
		return fmt.Errorf("%s ended by itself: %w\n%s", p.cmd.Path, cmp.Or(p.err, errors.New("exit status 0")), bytes.TrimSpace(p.output.Bytes()))
	}
	return nil
}

// cpu is the CPU time the server has taken so far, of all its threads, in user
// and in kernel mode.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
	if err != nil {
		return 0, err
	}
	return cpuOfStat(string(text))
}

// cpuOfStat reads utime and stime, fields 14 and 15 of a stat file of proc(5).
func cpuOfStat(text string) (time.Duration, error) {
	// The second field is the program's name, in parentheses, and may have
	// spaces and parentheses itself.
	_, rest, _ := cutLast(text, ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q is no stat file of a process", text)
	}
	var ticks uint64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat file of a process: %w", err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ: Linux has no other for programs
	return time.Duration(ticks) * (time.Second / perSecond), nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
