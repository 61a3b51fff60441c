package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm wakes who begins calls at fixed times. Go's own timers are up to a
// millisecond late while nothing else runs, and the server would be charged for
// that; the kernel's are not.
type alarm struct{ timer *os.File }

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{os.NewFile(uintptr(fd), "timer")}, nil
}

// sleep returns after d, or once the alarm is closed.
func (a *alarm) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	c, err := a.timer.SyscallConn()
	if err != nil {
		return // closed
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if c.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &at, nil) }) != nil || err != nil {
		return
	}
	var times [8]byte // how often it has gone off
	_, _ = a.timer.Read(times[:])
}

// close ends sleep, also one that has not begun. There may be no alarm.
func (a *alarm) close() {
	if a != nil {
		_ = a.timer.Close()
	}
}
