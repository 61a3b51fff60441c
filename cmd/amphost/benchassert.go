package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An assertion is one condition of --assert: p99<5ms.
type assertion struct {
	text  string
	name  string // "p99", "errors" …
	op    string
	limit float64 // in nanoseconds if name is a time
}

// assertions are the value of --assert: conditions with commas between them.
type assertions []assertion

// String implements pflag.Value.
func (a *assertions) String() string {
	list := make([]string, len(*a))
	for i := range *a {
		list[i] = (*a)[i].text
	}
	return strings.Join(list, ",")
}

// Type implements pflag.Value.
func (a *assertions) Type() string { return "conditions" }

var condition = regexp.MustCompile(`^\s*([a-z0-9.]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*$`)

// Set implements pflag.Value.
func (a *assertions) Set(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		m := condition.FindStringSubmatch(one)
		if m == nil {
			return fmt.Errorf("%q is no condition, such as p99<5ms or errors==0", one)
		}
		c := assertion{text: strings.TrimSpace(one), name: m[1], op: m[2]}
		_, isPercentile := percentileOf(c.name)
		switch {
		case isPercentile || c.name == "mean" || c.name == "max" || c.name == "min":
			d, err := time.ParseDuration(m[3])
			if err != nil {
				return fmt.Errorf("%s is a time: %q is none, such as 5ms", c.name, m[3])
			}
			c.limit = float64(d)
		case c.name == "errors" || c.name == "calls" || c.name == "rate":
			n, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return fmt.Errorf("%s is a number: %q is none", c.name, m[3])
			}
			c.limit = n
		default:
			return fmt.Errorf("there is no %q: there are p50, p99.9 and the like, min, mean, max, errors, calls and rate", c.name)
		}
		*a = append(*a, c)
	}
	return nil
}

// percentileOf returns 99.9 for "p99.9".
func percentileOf(name string) (float64, bool) {
	digits, ok := strings.CutPrefix(name, "p")
	if !ok {
		return 0, false
	}
	p, err := strconv.ParseFloat(digits, 64)
	return p, err == nil && p >= 0 && p <= 100
}

// failures says which of the conditions a report does not meet, and how.
func (a assertions) failures(r *benchReport) []string {
	var out []string
	for _, c := range a {
		got, shown := r.figure(c.name)
		holds := map[string]bool{
			"<": got < c.limit, "<=": got <= c.limit, ">": got > c.limit, ">=": got >= c.limit, "==": got == c.limit, "!=": got != c.limit,
		}[c.op]
		if !holds {
			out = append(out, fmt.Sprintf("%s does not hold: %s is %s", c.text, c.name, shown))
		}
	}
	return out
}

// about reports whether a condition is for a number of that name.
func (a assertions) about(name string) bool {
	return slices.ContainsFunc(a, func(c assertion) bool { return c.name == name })
}
