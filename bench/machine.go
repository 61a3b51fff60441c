package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// machine says in a line what is measured on, and when.
func machine() string {
	parts := []string{
		counted(runtime.NumCPU(), "core") + " of " + or(field("/proc/cpuinfo", "model name"), runtime.GOARCH),
		or(memory(), "memory unknown"),
		"Linux " + or(firstLine("/proc/sys/kernel/osrelease"), "unknown"),
		or(strings.Trim(valueOf("/etc/os-release", "PRETTY_NAME"), `"`), "unknown system"),
		runtime.Version(),
		time.Now().Format(time.DateOnly),
	}
	return strings.Join(parts, "; ") + "."
}

func memory() string {
	var kib uint64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d kB", &kib); err != nil {
		return ""
	}
	return fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// field returns what stands behind "name:" in a file of the kernel's, "" if
// nothing does.
func field(path, name string) string { return lineOf(path, name, ":") }

// valueOf is the same for "name=".
func valueOf(path, name string) string { return lineOf(path, name, "=") }

func lineOf(path, name, sep string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, sep); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
