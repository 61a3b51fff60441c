package amp

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// long is set for tests with many more rounds: make long.
var long = os.Getenv("AMPHOST_LONG") != ""

// TestMain fails if a goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	if addr := os.Getenv(idleServerEnv); addr != "" {
		os.Exit(holdIdleConns(addr))
	}
	goleak.VerifyTestMain(m)
}
