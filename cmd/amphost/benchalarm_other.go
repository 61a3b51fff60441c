//go:build !linux

package main

import (
	"sync"
	"time"
)

// An alarm wakes who begins calls at fixed times.
type alarm struct {
	end  chan struct{}
	once sync.Once // closes end
}

func newAlarm() (*alarm, error) { return &alarm{end: make(chan struct{})}, nil }

// sleep returns after d, or once the alarm is closed.
func (a *alarm) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-a.end:
	}
}

// close ends sleep, also one that has not begun. There may be no alarm.
func (a *alarm) close() {
	if a != nil {
		a.once.Do(func() { close(a.end) })
	}
}
