//go:build !linux

package main

import "time"

// An exactTimer is one that this system does not have.
type exactTimer struct{}

func newExactTimer() (*exactTimer, error) { return nil, nil }

func (*exactTimer) sleep(time.Duration) {}
func (*exactTimer) close()              {}
