package main

import (
	"sync"
	"time"
)

// An alarm wakes who begins calls at fixed times.
type alarm struct {
	exact *exactTimer   // nil for Go's timers
	end   chan struct{} // closed once the alarm is
	once  sync.Once     // closes end
}

// newAlarm returns an alarm. An exact one takes a descriptor where there are
// timers that do.
func newAlarm(exact bool) (a *alarm, err error) {
	a = &alarm{end: make(chan struct{})}
	if exact {
		a.exact, err = newExactTimer()
	}
	return a, err
}

// sleep returns after d, or once the alarm is closed.
func (a *alarm) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	if a.exact != nil {
		a.exact.sleep(d)
		return
	}
	select {
	case <-time.After(d):
	case <-a.end:
	}
}

// close ends sleep, also one that has not begun. There may be no alarm.
func (a *alarm) close() {
	if a == nil {
		return
	}
	a.once.Do(func() { close(a.end) })
	if a.exact != nil {
		a.exact.close()
	}
}
