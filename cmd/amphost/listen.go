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
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/amphost/amphost/scripting"
)

// listenAll opens the endpoints of serve: those of --listen, and before them
// the one of --host and --port, unless --listen alone says where commands are
// answered. The first one is for commands.
func listenAll(ctx context.Context, f serveFlags, log *slog.Logger) (list endpoints, err error) {
	defer func() {
		if err != nil {
			list.close()
		}
	}()
	rest := slices.Clone(f.listen)
	first := slices.IndexFunc(rest, func(p *endpoint) bool { return p.commands() })
	if first < 0 || f.portNamed {
		l, err := listen(ctx, f.host, f.port)
		if err != nil {
			return nil, err
		}
		list = append(list, &endpoint{network: "tcp", address: l.Addr().String(), listener: l})
	} else {
		p := rest[first]
		rest = slices.Insert(slices.Delete(rest, first, first+1), 0, p)
	}
	for _, p := range rest {
		if err := p.open(ctx, log); err != nil {
			return list, err
		}
		list = append(list, p)
	}
	if open := slices.IndexFunc(list, (*endpoint).isOpenToAll); open >= 0 {
		log.Warn("everybody who reaches this machine can connect, and what passes is not encrypted: --listen 'tls://…?certificate=FILE&key=FILE' speaks TLS", "address", list[open].listener.Addr().String())
	}
	return list, nil
}

// close closes what is open.
func (e endpoints) close() {
	for _, p := range e {
		p.listener.Close()
	}
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

// openSocket opens the socket of an address of --listen.
func (p *endpoint) openSocket(ctx context.Context) (net.Listener, error) {
	network, address := p.network, p.address
	if network == "systemd" {
		return takeActivated(address)
	}
	var lc net.ListenConfig
	if p.mode != 0 || p.owner != "" {
		// Its mode and owner must be right before somebody else can connect.
		lc.Control = func(_, _ string, raw syscall.RawConn) error { return privateSocket(raw) }
	}
	l, err := lc.Listen(ctx, network, address)
	if network == "unix" && errors.Is(err, syscall.EADDRINUSE) && isLeftBehind(address) {
		if err = os.Remove(address); err == nil {
			l, err = lc.Listen(ctx, network, address)
		}
	}
	if err == nil && lc.Control != nil {
		if err = p.hand(); err != nil {
			l.Close()
			return nil, fmt.Errorf("%s: %w", p.said("address"), err)
		}
	}
	switch dns, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: it is in use by another program: stop that one, or choose another address", p.said("address"))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: it needs rights that you do not have", p.said("address"))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine does not have that address", p.said("address"))
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such directory", p.said("address"))
	case isDNS && dns.IsNotFound:
		return nil, fmt.Errorf("%s: there is no host called %s", p.said("address"), dns.Name)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.said("address"), err)
	}
	return l, nil
}

// hand gives a UNIX socket its owner and its mode.
func (p *endpoint) hand() error {
	if p.owner != "" {
		uid, gid, err := lookUpOwner(p.owner)
		if err == nil {
			err = os.Chown(p.address, uid, gid)
		}
		if err != nil {
			return fmt.Errorf("owner %s: %w", p.owner, cause(err))
		}
	}
	mode := p.mode
	if mode == 0 {
		mode = 0o600 // an owner was named
	}
	return os.Chmod(p.address, mode)
}

// lookUpOwner returns the numbers of "user", "user:group" or ":group"; -1 stands
// for what stays as it is.
func lookUpOwner(text string) (uid, gid int, err error) {
	name, group, both := strings.Cut(text, ":")
	uid, gid = -1, -1
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			if u, err = user.LookupId(name); err != nil {
				return 0, 0, fmt.Errorf("there is no user %s", name)
			}
		}
		uid, _ = strconv.Atoi(u.Uid)
	}
	if both && group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			if g, err = user.LookupGroupId(group); err != nil {
				return 0, 0, fmt.Errorf("there is no group %s", group)
			}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return uid, gid, nil
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
func whatListens(p *endpoint, plugins []scripting.Status) string {
	for _, s := range plugins {
		for _, name := range s.Receivers {
			if name == p.opts.Name {
				return "box receiver of " + s.Name
			}
		}
	}
	for _, s := range plugins {
		for _, name := range s.Protocols {
			if name == p.opts.Name {
				return "protocol of " + s.Name
			}
		}
	}
	return fmt.Sprintf("no plugin has amp.boxReceiver(%q, …) or amp.protocol(%q, …) yet", p.opts.Name, p.opts.Name)
}

// logEndpoints tells programs where connections are accepted, but for the
// first endpoint.
func logEndpoints(log *slog.Logger, list endpoints, plugins []scripting.Status) {
	for _, p := range list[1:] {
		if p.commands() {
			log.Info("listening", "address", p.text())
		} else {
			log.Info("listening", "address", p.text(), "listener", p.opts.Name, "for", whatListens(p, plugins))
		}
	}
}

// writeEndpoints writes where connections are accepted besides commands.
func writeEndpoints(b *strings.Builder, list endpoints, plugins []scripting.Status) {
	title := "listen"
	for _, p := range list {
		if !p.commands() {
			fmt.Fprintf(b, "  %-7s  %s=%s: %s\n", title, p.opts.Name, p.text(), whatListens(p, plugins))
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
