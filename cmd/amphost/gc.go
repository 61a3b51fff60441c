package main

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
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
		if memory := memorySize(); memory > 0 {
			debug.SetMemoryLimit(memory / 2)
		}
	}
}

// memorySize returns how many bytes this process may use: what its control
// group or the machine has, or 0 where that is not known.
func memorySize() int64 {
	var size int64
	for _, limit := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2, as seen in a container
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		text, _ := os.ReadFile(limit)
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err == nil && n > 0 && (size == 0 || n < size) {
			size = n
		}
	}
	text, _ := os.ReadFile("/proc/meminfo") // MemTotal:       24676532 kB
	if fields := bytes.Fields(text); len(fields) > 1 && string(fields[0]) == "MemTotal:" {
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err == nil && (size == 0 || kib<<10 < size) {
			size = kib << 10
		}
	}
	return size
}
