package host

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// permissions are what plugins may do.
type permissions struct {
	net netRules
	env envRules
}

// readPermissions reads AllowNet and AllowEnv.
func readPermissions(c Config) (*permissions, error) {
	net, err := readNetRules(c.AllowNet)
	if err != nil {
		return nil, fmt.Errorf("Config.AllowNet: %w", err)
	}
	env, err := readEnvRules(c.AllowEnv)
	if err != nil {
		return nil, fmt.Errorf("Config.AllowEnv: %w", err)
	}
	return &permissions{net, env}, nil
}

// permit adds what is allowed now to what the host's program allows by functions
// of its own.
func (h *Host) permit(mayConnect func(string, string, netip.Addr) error, mayRead func(string, string) error) (
	func(plugin, address string, resolved netip.Addr) error, func(plugin, name string) error) {
	connect := func(plugin, address string, resolved netip.Addr) error {
		if mayConnect != nil && mayConnect(plugin, address, resolved) == nil {
			return nil
		}
		return h.allowed.Load().net.check(plugin, address, resolved)
	}
	read := func(plugin, name string) error {
		if mayRead != nil && mayRead(plugin, name) == nil {
			return nil
		}
		return h.allowed.Load().env.check(plugin, name)
	}
	return connect, read
}

// netRules say where each plugin may connect to.
type netRules map[string][]netRule

// A netRule is a pattern of addresses. It names hosts, a range of IP addresses,
// or a socket.
type netRule struct {
	host   string       // "", a name, "*.name" or "*"
	prefix netip.Prefix // of an IP address or a range; else not valid
	port   string       // or "*"
	path   string       // of a UNIX socket, absolute
}

// readNetRules reads Config.AllowNet.
func readNetRules(allow map[string][]string) (netRules, error) {
	rules := make(netRules)
	for plugin, patterns := range allow {
		for _, pattern := range patterns {
			r, err := readNetRule(pattern)
			if err != nil {
				return nil, err
			}
			rules[plugin] = append(rules[plugin], r)
		}
	}
	return rules, nil
}

func readNetRule(pattern string) (netRule, error) {
	if path, ok := strings.CutPrefix(pattern, "unix:"); ok && path != "" {
		abs, err := filepath.Abs(path)
		return netRule{path: abs}, err
	}
	bad := fmt.Errorf("%q is no pattern of addresses: use HOST:PORT or unix:PATH; a host may be *.example.com, * or a range as in 10.0.0.0/8, a port *", pattern)
	name, port, err := net.SplitHostPort(pattern)
	if err != nil || name == "" || !isPort(port) {
		return netRule{}, bad
	}
	if prefix, err := netip.ParsePrefix(name); err == nil {
		return netRule{prefix: prefix.Masked(), port: port}, nil
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		ip = ip.WithZone("").Unmap()
		return netRule{prefix: netip.PrefixFrom(ip, ip.BitLen()), port: port}, nil
	}
	rest := strings.TrimPrefix(name, "*.")
	if strings.ContainsAny(rest, "*/ ") && name != "*" {
		return netRule{}, bad
	}
	if strings.ContainsFunc(rest, func(c rune) bool { return c >= 0x80 }) {
		return netRule{}, fmt.Errorf("%q: write the host as it is looked up, xn--…", pattern)
	}
	return netRule{host: plainHost(name), port: port}, nil
}

func isPort(text string) bool {
	return text == "*" || text != "" && strings.Trim(text, "0123456789") == ""
}

// plainHost returns a host's name in the one form that is compared.
func plainHost(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// check is scripting.Options.Net. A name is allowed by a pattern for it, an
// address that is private by one that names it and by no other: what a name
// stands for is decided elsewhere.
func (rules netRules) check(plugin, address string, resolved netip.Addr) error {
	allowed := func(ok func(netRule) bool) bool { return slices.ContainsFunc(rules[plugin], ok) }
	none := fmt.Errorf("it has no permission; --allow-net %s=%s gives it (net below [plugins.%s] in amphost.toml, AllowNet in Go)", plugin, address, plugin)
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if allowed(func(r netRule) bool { return r.path != "" && r.path == path }) {
			return nil
		}
		return none
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	name = plainHost(name)
	literal, err := netip.ParseAddr(name)
	switch {
	case err == nil:
		if ip := literal; allowed(func(r netRule) bool { return r.allowsPort(port) && r.allowsIP(ip) }) {
			return nil
		}
		return none
	case !allowed(func(r netRule) bool { return r.allowsPort(port) && r.allowsName(name) }):
		return none
	case !resolved.IsValid() || isPublic(resolved):
		return nil
	case allowed(func(r netRule) bool {
		return r.allowsPort(port) && (r.prefix.IsValid() && r.allowsIP(resolved) || r.host == name && isLocalhost(name) && resolved.IsLoopback())
	}):
		return nil
	}
	return fmt.Errorf("it is %s, which is not a public address; --allow-net %s=%s allows that (net below [plugins.%s] in amphost.toml, AllowNet in Go)",
		resolved, plugin, net.JoinHostPort(resolved.String(), port), plugin)
}

func (r netRule) allowsPort(port string) bool { return r.port == "*" || r.port == port }

func (r netRule) allowsIP(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	return r.prefix.IsValid() && r.prefix.Contains(ip) || r.host == "*" && isPublic(ip)
}

func (r netRule) allowsName(name string) bool {
	if suffix, ok := strings.CutPrefix(r.host, "*."); ok {
		return strings.HasSuffix(name, "."+suffix)
	}
	return r.host == "*" || r.host == name && name != ""
}

// isLocalhost reports whether a name is one that means this machine everywhere.
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// notPublic are addresses, besides those that package netip knows, which are
// not where they seem to be or are reached by nobody on the Internet.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // behind a provider's NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), // these hold an IPv4 address, and hide which
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fec0::/10"),
}

// nat64 are the addresses by which IPv6 networks reach IPv4 ones: the last four
// bytes are the address meant.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// isPublic reports whether an address is one of the Internet's: not private,
// loopback, link-local, multicast or special otherwise.
func isPublic(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// envRules name the variables of the environment that each plugin may read.
type envRules map[string][]string

// readEnvRules reads Config.AllowEnv.
func readEnvRules(allow map[string][]string) (envRules, error) {
	for _, names := range allow {
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, "=*\x00 ") {
				return nil, fmt.Errorf("%q is no name of an environment variable", name)
			}
		}
	}
	return allow, nil
}

// check is scripting.Options.Env.
func (rules envRules) check(plugin, name string) error {
	if slices.Contains(rules[plugin], name) {
		return nil
	}
	return fmt.Errorf("it has no permission; --allow-env %s=%s gives it (env below [plugins.%s] in amphost.toml, AllowEnv in Go)", plugin, name, plugin)
}
