//go:build unix

package main

import (
	"math"
	"syscall"
)

// maxDescriptors returns how many descriptors this process may have. The Go
// runtime has raised the soft limit to the hard one by now.
func maxDescriptors() (n int, known bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > math.MaxInt32 {
		return 0, false
	}
	return int(r.Cur), true
}
