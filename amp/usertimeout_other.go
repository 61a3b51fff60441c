//go:build !linux

package amp

import (
	"net"
	"time"
)

// setUserTimeout does nothing: only Linux has TCP_USER_TIMEOUT. A peer that is
// gone while something is sent to it is noticed by Options.WriteTimeout.
func setUserTimeout(*net.TCPConn, time.Duration) {}
