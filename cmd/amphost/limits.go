package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// A limit is one of those that --limit and the table [limits] set. Its value is
// a number, a number of bytes or a duration, or "off" for none.
type limit struct {
	kind     string // "count", "bytes", "duration", "memory"
	fallback string // the default, as people write it
	needed   bool   // it can't be off
	live     bool   // a SIGHUP changes it
	about    string
	counter  string                 // what tells a Go program of those beyond it
	field    func(*host.Config) any // *int, *int64, *time.Duration: negative stands for off
}

// knownLimits are all there are, by name.
var knownLimits = map[string]limit{
	"connections":             {"count", "10000", false, true, "connections that are open, and never more than the limit of descriptors less 32; further ones are closed", "Stats.Conns, Refused", func(c *host.Config) any { return &c.MaxConns }},
	"connections-per-address": {"count", "1000", false, true, "those from one IP address", "Stats.Refused", func(c *host.Config) any { return &c.MaxConnsPerAddr }},
	"calls-per-connection":    {"count", "1024", false, true, "calls of one connection that are not answered; beyond it nothing is read from it", "Stats.HeldBack", func(c *host.Config) any { return &c.Conn.MaxRunning }},
	"calls-per-plugin":        {"count", "10000", true, false, "calls of one plugin that are not answered; further ones are OVERLOADED", "Stats.Failed", func(c *host.Config) any { return &c.Script.MaxInFlight }},
	"calls":                   {"count", "65536", true, false, "calls of all plugins that are not answered; further ones are OVERLOADED", "Stats.Running, Failed", func(c *host.Config) any { return &c.Script.MaxInFlightTotal }},
	"rate-per-connection":     {"count", "off", false, true, "calls a second over one connection, and for a moment as many at once; beyond it the connection is read that slowly", "Stats.HeldBack, Limited", func(c *host.Config) any { return &c.MaxCallsPerConn }},
	"rate-per-address":        {"count", "off", false, true, "the same for one IP address or, where there are any, one client's certificate; further calls are OVERLOADED", "Stats.HeldBack, Limited", func(c *host.Config) any { return &c.MaxCallsPerAddr }},
	"rate-per-command":        {"count", "off", false, true, "the same for one command", "Stats.HeldBack, Limited", func(c *host.Config) any { return &c.MaxCallsPerCommand }},
	"outgoing":                {"count", "10000", true, false, "calls and commits of one plugin that it waits for; one more throws", "Status.Failure", func(c *host.Config) any { return &c.Script.MaxOutgoing }},
	"call-stack":              {"count", "2000", true, false, "how deep a script's functions may call each other", "Status.Restarts", func(c *host.Config) any { return &c.Script.MaxCallStack }},
	"restarts":                {"count", "10", false, false, "how often a plugin's runtime may die in a row before the plugin is quarantined", "Status.Restarts, Quarantined", func(c *host.Config) any { return &c.Script.MaxRestarts }},
	"log-lines":               {"count", "1000", false, false, "lines a second that one plugin may log; the rest is dropped", "the log", func(c *host.Config) any { return &c.Script.MaxLogLines }},
	"dial":                    {"duration", "30s", true, false, "how long a plugin's attempt to connect may take", "Status.Failure", func(c *host.Config) any { return &c.Script.DialTimeout }},
	"fetch":                   {"duration", "30s", true, false, "how long a plugin's fetch may take", "Status.Failure", func(c *host.Config) any { return &c.Script.FetchTimeout }},
	"fetch-body":              {"bytes", "8MiB", true, false, "the body of what is fetched", "Status.Failure", func(c *host.Config) any { return &c.Script.MaxFetchBody }},
	"workers":                 {"count", "16", true, false, "what a plugin may ask for with its setting workers; it does not get more", "Status", func(c *host.Config) any { return &c.Script.MaxWorkers }},
	"timers":                  {"count", "10000", true, false, "timers that wait in one plugin", "Status.Failed", func(c *host.Config) any { return &c.Script.MaxTimers }},
	"box":                     {"bytes", "4MiB", false, true, "a box that is received; a larger one ends the connection", "Stats.Cut", func(c *host.Config) any { return &c.Conn.MaxBox }},
	"pairs":                   {"count", "10000", false, true, "the pairs of a box that is received", "Stats.Cut", func(c *host.Config) any { return &c.Conn.MaxPairs }},
	"unread":                  {"bytes", "16MiB", false, true, "answers that a client does not read; at half of it no calls are read, beyond it the connection ends", "Stats.HeldBack, Cut", func(c *host.Config) any { return &c.Conn.MaxUnwritten }},
	"progress":                {"duration", "30s", false, true, "how long a client that has answers to read may take none of them", "Stats.Cut", func(c *host.Config) any { return &c.Conn.WriteTimeout }},
	"finish-box":              {"duration", "1m", false, true, "how long a client may take for a box once begun", "Stats.Cut", func(c *host.Config) any { return &c.Conn.BoxTimeout }},
	"handshake":               {"duration", "10s", false, true, "how long a TLS handshake may take", "Stats.Cut", func(c *host.Config) any { return &c.Conn.HandshakeTimeout }},
	"idle":                    {"duration", "off", false, true, "how long a connection may be idle", "Stats.Cut", func(c *host.Config) any { return &c.Conn.IdleTimeout }},
	"turn":                    {"duration", "1s", true, false, "how long JavaScript may run without returning to its loop", "Status.Restarts", func(c *host.Config) any { return &c.Script.TurnTimeout }},
	"call":                    {"duration", "30s", false, false, "how long a call may stay unanswered; then it fails with TIMEOUT", "Stats.Failed", func(c *host.Config) any { return &c.Script.CallTimeout }},
	"keepalive":               {"duration", "15s", false, true, "how long a TCP connection may be idle before the client's system is asked whether it is there, and how long until it is asked again; after three questions without an answer the connection ends", "Stats.Gone", func(c *host.Config) any { return &c.Conn.KeepAlive }},
	"user-timeout":            {"duration", "30s", false, true, "how long the client's system may take to acknowledge what was sent, or asked: TCP_USER_TIMEOUT, on Linux", "Stats.Gone", func(c *host.Config) any { return &c.Conn.UserTimeout }},
	"memory":                  {"memory", "75%", false, false, "the heap of the process, in bytes or of the memory of the control group or the machine; before it is used up, the plugin that asks for most gets no calls, which are OVERLOADED, and then loses its runtime; where GOMEMLIMIT is set, eight ninths of it are the default", "Stats.Failed, Status.Restarts", func(c *host.Config) any { return &c.Script.MemoryLimit }},
	"load":                    {"duration", "5s", true, false, "how long a plugin may take to load", "Status.Err", func(c *host.Config) any { return &c.Script.LoadTimeout }},
}

// limits are the values of --limit, by name.
type limits map[string]string

// String implements pflag.Value.
func (l limits) String() string { return strings.Join(l.given(), " ") }

// Type implements pflag.Value.
func (l limits) Type() string { return "name=value" }

// given implements repeated.
func (l limits) given() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		list = append(list, name+"="+l[name])
	}
	return list
}

// Set implements pflag.Value.
func (l limits) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("use NAME=VALUE, as in connections=1000")
	}
	k, known := knownLimits[name]
	if !known {
		names := slices.Sorted(maps.Keys(knownLimits))
		if near := closest(name, names); near != "" {
			return fmt.Errorf("there is no limit %q: do you mean %q?", name, near)
		}
		return fmt.Errorf("there is no limit %q: there are %s", name, strings.Join(names, ", "))
	}
	if _, err := k.parse(value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l[name] = value
	return nil
}

// parse reads a value: -1 is off, a duration is in nanoseconds.
func (k limit) parse(text string) (int64, error) {
	switch {
	case text == "off" && !k.needed:
		return -1, nil
	case text == "off":
		return 0, errors.New("it can't be off")
	}
	var n int64
	var err error
	switch k.kind {
	case "duration":
		var d time.Duration
		d, err = time.ParseDuration(text)
		n = int64(d)
	case "bytes":
		n, err = parseBytes(text)
	case "memory":
		if percent, ok := strings.CutSuffix(text, "%"); ok {
			n, err = strconv.ParseInt(percent, 10, 8)
			if err == nil && n > 0 && n <= 100 {
				return partOfMemory(n), nil
			}
			return 0, fmt.Errorf("%q is not from 1%% to 100%%", text)
		}
		n, err = parseBytes(text)
	default:
		n, err = strconv.ParseInt(text, 10, 32)
	}
	if err == nil && n > 0 {
		return n, nil
	}
	switch k.kind {
	case "duration":
		return 0, fmt.Errorf("%q is no duration, such as 10s", text)
	case "bytes":
		return 0, fmt.Errorf("%q is no number of bytes, such as 4MiB", text)
	case "memory":
		return 0, fmt.Errorf("%q is no number of bytes, such as 4GiB, and no part of the memory, such as 75%%", text)
	}
	return 0, fmt.Errorf("%q is no number from 1 up", text)
}

// partOfMemory returns so many hundredths of the memory, or -1 if nobody knows
// how much there is.
func partOfMemory(percent int64) int64 {
	if all := scripting.SystemMemory(); all > 0 {
		return all / 100 * percent
	}
	return -1
}

// apply sets every limit in a configuration of a host: what was given, or else
// what people are told is the default.
func (l limits) apply(c *host.Config) {
	for name, k := range knownLimits {
		if name == "memory" && l[name] == "" && os.Getenv("GOMEMLIMIT") != "" {
			continue // package scripting goes by that
		}
		n, err := k.parse(cmp.Or(l[name], k.fallback))
		if err != nil {
			panic(err) // Set refuses such values
		}
		switch field := k.field(c).(type) {
		case *int:
			*field = int(n)
		case *int64:
			*field = n
		case *time.Duration:
			*field = time.Duration(n)
		}
	}
	c.MaxConns = descriptorLimit(c.MaxConns)
}

// descriptorReserve is how many descriptors connections leave to everything else.
const descriptorReserve = 32

// descriptorLimit bounds a number of connections, 0 for the default and negative
// for no limit, by the descriptors that this process may have.
func descriptorLimit(conns int) int {
	most, known := maxDescriptors()
	if !known {
		return conns
	}
	most = max(most-descriptorReserve, 1)
	switch {
	case conns == 0:
		return min(10_000, most)
	case conns < 0:
		return most
	}
	return min(conns, most)
}
