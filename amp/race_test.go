//go:build race

package amp

// raceEnabled says that the race detector is on: it allocates, and is slow.
const raceEnabled = true
