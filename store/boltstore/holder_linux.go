package boltstore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lockHolder returns the process that has the file at path locked, and its
// name, if /proc tells.
func lockHolder(path string) (pid int, name string, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, "", false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, "", false
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, "", false
	}
	pid, ok = findLock(string(locks), stat.Ino)
	if !ok {
		return 0, "", false
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return pid, "unknown", true
	}
	return pid, strings.TrimSpace(string(comm)), true
}

// findLock returns the process that holds a flock on the inode, by the text of
// /proc/locks, whose lines are like
//
//	1: FLOCK  ADVISORY  WRITE 4711 fe:00:393227 0 EOF
//
// The device is not compared: some file systems show another one here than
// elsewhere. If that leaves more than one process, none is returned.
func findLock(locks string, inode uint64) (pid int, ok bool) {
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" {
			continue // a line that begins with "1: ->" is one that waits
		}
		if !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		found, err := strconv.Atoi(fields[4])
		if err != nil || found <= 0 { // 0 for a process of another container
			continue
		}
		if ok && found != pid {
			return 0, false
		}
		pid, ok = found, true
	}
	return pid, ok
}
