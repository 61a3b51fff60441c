package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An exactTimer is the kernel's. Go's own timers are up to a millisecond late
// while nothing else runs, and the server would be charged for that.
type exactTimer struct{ file *os.File }

func newExactTimer() (*exactTimer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &exactTimer{os.NewFile(uintptr(fd), "timer")}, nil
}

// sleep returns after d, or once the timer is closed.
func (t *exactTimer) sleep(d time.Duration) {
	c, err := t.file.SyscallConn()
	if err != nil {
		return // closed
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if c.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &at, nil) }) != nil || err != nil {
		return
	}
	var times [8]byte // how often it has gone off
	_, _ = t.file.Read(times[:])
}

// close ends sleep, also one that has not begun.
func (t *exactTimer) close() { _ = t.file.Close() }
