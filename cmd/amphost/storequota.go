package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/amphost/amphost/store"
)

// A storeQuota is how many bytes plugins may store: the value of the flag
// --store-quota, which may be given more than once.
type storeQuota struct {
	all    int64            // each plugin, or 0 for no limit
	single map[string]int64 // single plugins
}

// String implements pflag.Value.
func (q *storeQuota) String() string {
	var list []string
	if q.all > 0 {
		list = append(list, fmt.Sprint(q.all))
	}
	for name, n := range q.single {
		list = append(list, fmt.Sprintf("%s=%d", name, n))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// given implements repeated.
func (q *storeQuota) given() []string { return strings.Fields(q.String()) }

// Type implements pflag.Value.
func (q *storeQuota) Type() string { return "bytes" }

// Set implements pflag.Value: BYTES, or NAME=BYTES.
func (q *storeQuota) Set(text string) error {
	name, size, single := strings.Cut(text, "=")
	if !single {
		size = text
	}
	n, err := parseBytes(size)
	if err != nil {
		return err
	}
	if !single {
		q.all = n
		return nil
	}
	if err := store.CheckNamespace(name); err != nil {
		return fmt.Errorf("%q is no plugin's name", name)
	}
	if q.single == nil {
		q.single = make(map[string]int64)
	}
	q.single[name] = n
	return nil
}

// parseBytes reads a number of bytes: digits, then perhaps KiB, MiB or GiB.
func parseBytes(text string) (int64, error) {
	digits, unit := text, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if before, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = before, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is no number of bytes, such as 1000000 or 64MiB", text)
	}
	return n * unit, nil
}
