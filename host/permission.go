package host

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// netRules say where each plugin may connect to.
type netRules map[string][]netRule

// A netRule is a pattern of addresses.
type netRule struct{ host, port, path string }

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
	name, port, err := net.SplitHostPort(pattern)
	if err != nil || name == "" || port == "" || strings.Contains(strings.TrimPrefix(name, "*."), "*") && name != "*" {
		return netRule{}, fmt.Errorf("%q is no pattern of addresses: use HOST:PORT or unix:PATH; a host may be *.example.com or *, a port *", pattern)
	}
	return netRule{host: plainHost(name), port: port}, nil
}

// plainHost returns a host in the one form that is compared.
func plainHost(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// check is scripting.Options.Net.
func (rules netRules) check(plugin, address string) error {
	for _, r := range rules[plugin] {
		if r.allows(address) {
			return nil
		}
	}
	return fmt.Errorf("it has no permission; --allow-net %s=%s gives it, or Config.AllowNet", plugin, address)
}

func (r netRule) allows(address string) bool {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return r.path != "" && r.path == path
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil || r.path != "" || r.port != "*" && r.port != port {
		return false
	}
	name = plainHost(name)
	if suffix, ok := strings.CutPrefix(r.host, "*."); ok {
		return strings.HasSuffix(name, "."+suffix)
	}
	return r.host == "*" || r.host == name
}
