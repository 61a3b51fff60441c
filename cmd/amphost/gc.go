package main

import (
	"os"
	"runtime/debug"
)

// tuneGC lets garbage pile up further than Go does by itself: what lives is
// small here and what a call leaves behind is not, so that collecting at twice
// the live heap would take a large part of the time. The soft limit of two
// thirds of what the heap may become, negative for no limit, makes it collect
// sooner where there is little. Whoever sets GOGC or GOMEMLIMIT knows better.
func tuneGC(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		if limit > 0 {
			debug.SetMemoryLimit(limit / 3 * 2)
		}
	}
}
