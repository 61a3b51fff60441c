package main

import (
	"os"
	"runtime/debug"

	"github.com/amphost/amphost/scripting"
)

// tuneGC lets garbage pile up further than Go does by itself: what lives is
// small here and what a call leaves behind is not, so that collecting at twice
// the live heap would take a large part of the time. The soft limit of half
// the memory makes it collect sooner where there is little. Whoever sets GOGC
// or GOMEMLIMIT knows better.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		if memory := scripting.SystemMemory(); memory > 0 {
			debug.SetMemoryLimit(memory / 2)
		}
	}
}
