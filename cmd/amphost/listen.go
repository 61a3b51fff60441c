package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/amphost/amphost/host"
	"github.com/amphost/amphost/scripting"
)

// An endpoint is where serve accepts connections.
type endpoint struct {
	given            string // on the command line, or in the configuration
	name             string // of the box receiver or protocol they are for; "" for commands
	network, address string
	listener         net.Listener // nil until it is opened
}

// endpoints are the values of --listen.
type endpoints []endpoint

// String implements pflag.Value.
func (e *endpoints) String() string { return "" }

// Type implements pflag.Value.
func (e *endpoints) Type() string { return "address" }

// given implements repeated.
func (e *endpoints) given() []string {
	list := make([]string, len(*e))
	for i, p := range *e {
		list[i] = p.given
	}
	return list
}

// namedAddress splits NAME=ADDRESS. An address may hold a "=", behind a ":".
var namedAddress = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)=(.*)$`)

// Set implements pflag.Value.
func (e *endpoints) Set(text string) error {
	p := endpoint{given: text}
	if m := namedAddress.FindStringSubmatch(text); m != nil {
		p.name, text = m[1], m[2]
	}
	var err error
	if p.network, p.address, err = parseAddress(text); err != nil {
		return err
	}
	*e = append(*e, p)
	return nil
}

// listenAll opens the endpoints of serve: those of --listen, and before them
// the one of --host and --port, unless --listen alone says where commands are
// answered. The first one is for commands.
func listenAll(ctx context.Context, f serveFlags) (list endpoints, err error) {
	defer func() {
		if err != nil {
			list.close()
		}
	}()
	rest := f.listen
	first := -1
	for i, p := range rest {
		if p.name == "" && first < 0 {
			first = i
		}
	}
	if first < 0 || f.portNamed {
		l, err := listen(ctx, f.host, f.port)
		if err != nil {
			return nil, err
		}
		list = append(list, endpoint{network: "tcp", address: l.Addr().String(), listener: l})
	} else {
		rest = append(endpoints{rest[first]}, append(rest[:first:first], rest[first+1:]...)...)
	}
	for _, p := range rest {
		if p.listener, err = listenAt(ctx, p.network, p.address); err != nil {
			return list, err
		}
		list = append(list, p)
	}
	return list, nil
}

// close closes what is open.
func (e endpoints) close() {
	for _, p := range e {
		p.listener.Close()
	}
}

// serve has a host accept connections until it is shut down.
func (p endpoint) serve(h *host.Host) error {
	if p.name != "" {
		return h.ServeNamed(p.listener, p.name)
	}
	return h.Serve(p.listener)
}

// text is the address as it is shown to people, and typed.
func (p endpoint) text() string {
	if p.network == "unix" {
		return "unix:" + p.address
	}
	return reachable(p.listener.Addr())
}

// listen is net.Listen with errors that say what to do.
func listen(ctx context.Context, host string, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	switch dns, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d of %s is in use by another program: stop that one, or choose another with --port", port, host)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("port %d needs rights that you do not have: choose one above 1023 with --port", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this machine does not have the address %s: choose one that it has with --host", host)
	case isDNS && dns.IsNotFound:
		return nil, fmt.Errorf("there is no host called %s: choose an address of this machine with --host", host)
	case err != nil:
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// listenAt opens an address of --listen.
func listenAt(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	if network == "unix" && errors.Is(err, syscall.EADDRINUSE) && isLeftBehind(address) {
		if err = os.Remove(address); err == nil {
			l, err = lc.Listen(ctx, network, address)
		}
	}
	switch dns, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--listen %s: it is in use by another program: stop that one, or choose another address", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("--listen %s: it needs rights that you do not have", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("--listen %s: this machine does not have that address", address)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("--listen %s: there is no such directory", address)
	case isDNS && dns.IsNotFound:
		return nil, fmt.Errorf("--listen %s: there is no host called %s", address, dns.Name)
	case err != nil:
		return nil, fmt.Errorf("--listen %s: %w", address, err)
	}
	return l, nil
}

// isLeftBehind reports whether path is a socket that nobody listens on any
// more: its program has died.
func isLeftBehind(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		nc.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// whatListens says what a named endpoint is for.
func whatListens(p endpoint, plugins []scripting.Status) string {
	for _, s := range plugins {
		for _, name := range s.Receivers {
			if name == p.name {
				return "box receiver of " + s.Name
			}
		}
	}
	for _, s := range plugins {
		for _, name := range s.Protocols {
			if name == p.name {
				return "protocol of " + s.Name
			}
		}
	}
	return fmt.Sprintf("no plugin has amp.boxReceiver(%q, …) or amp.protocol(%q, …) yet", p.name, p.name)
}

// logEndpoints tells programs where connections are accepted, but for the
// first endpoint.
func logEndpoints(log *slog.Logger, list endpoints, plugins []scripting.Status) {
	for _, p := range list[1:] {
		if p.name == "" {
			log.Info("listening", "address", p.text())
		} else {
			log.Info("listening", "address", p.text(), "listener", p.name, "for", whatListens(p, plugins))
		}
	}
}

// writeEndpoints writes where connections are accepted besides commands.
func writeEndpoints(b *strings.Builder, list endpoints, plugins []scripting.Status) {
	title := "listen"
	for _, p := range list {
		if p.name != "" {
			fmt.Fprintf(b, "  %-7s  %s=%s: %s\n", title, p.name, p.text(), whatListens(p, plugins))
			title = ""
		}
	}
}

// allowFlag is the value of --allow-net and its like, which may be repeated:
// PLUGIN=PATTERN,…
type allowFlag struct {
	byPlugin      map[string][]string
	what, example string // for errors
}

// String implements pflag.Value.
func (a allowFlag) String() string { return "" }

// Type implements pflag.Value.
func (a allowFlag) Type() string { return "plugin=" + strings.ToLower(a.what) + ",…" }

// given implements repeated.
func (a allowFlag) given() []string {
	var list []string
	for _, plugin := range slices.Sorted(maps.Keys(a.byPlugin)) {
		list = append(list, plugin+"="+strings.Join(a.byPlugin[plugin], ","))
	}
	return list
}

// Set implements pflag.Value.
func (a allowFlag) Set(text string) error {
	plugin, list, ok := strings.Cut(text, "=")
	if !ok || plugin == "" || list == "" {
		return fmt.Errorf("use PLUGIN=%s, as in %s", a.what, a.example)
	}
	a.byPlugin[plugin] = append(a.byPlugin[plugin], strings.Split(list, ",")...)
	return nil
}

// pluginNames is the value of --authorizers, which may be repeated: NAME,…
type pluginNames []string

// String implements pflag.Value.
func (p *pluginNames) String() string { return "" }

// Type implements pflag.Value.
func (p *pluginNames) Type() string { return "plugins" }

// given implements repeated.
func (p *pluginNames) given() []string { return *p }

// Set implements pflag.Value.
func (p *pluginNames) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if !scripting.ValidName(name) {
			return fmt.Errorf("%q can't be a plugin's name", name)
		}
		*p = append(*p, name)
	}
	return nil
}
