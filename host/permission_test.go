package host

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetRules(t *testing.T) {
	rules, err := readNetRules(map[string][]string{"p": {
		"api.example.com:443", "*.example.org:*", "[2001:db8::1]:80", "10.0.0.0/8:5432", "localhost:1", "App.localhost.:2",
	}, "any": {"*:443"}})
	if err != nil {
		t.Fatal(err)
	}
	const (
		public = "93.184.215.14"
		none   = "it has no permission; --allow-net "
	)
	for _, c := range []struct{ plugin, address, resolved, want string }{
		{"p", "api.example.com:443", "", ""},
		{"p", "API.Example.com.:443", "", ""},
		{"p", "api.example.com:443", public, ""},
		{"p", "api.example.com:80", "", none + "p=api.example.com:80 gives it"},
		{"p", "example.org:1", "", none},
		{"p", "a.b.example.org:1", public, ""},
		{"p", "[2001:db8::1]:80", "2001:db8::1", ""},
		{"p", "[2001:DB8:0::1]:80", "", ""},
		{"p", "[2001:db8::2]:80", "", none + "p=[2001:db8::2]:80 gives it"},
		{"p", "10.1.2.3:5432", "10.1.2.3", ""},
		{"p", "11.1.2.3:5432", "", none},
		{"p", "[::ffff:10.1.2.3]:5432", "10.1.2.3", ""},
		{"q", "api.example.com:443", "", none + "q="},
		{"any", "anything.example:443", public, ""},
		{"any", public + ":443", public, ""},
		{"any", "anything.example:80", "", none},
		{"any", "unix:/run/x", "", none + "any=unix:/run/x gives it"},

		// What a name stands for is somebody else's to say: it reaches no
		// address that the operator has not named.
		{"p", "api.example.com:443", "10.1.2.3", "it is 10.1.2.3, which is not a public address; --allow-net p=10.1.2.3:443 allows that"},
		{"p", "db.example.org:5432", "10.1.2.3", ""},
		{"p", "db.example.org:5432", "192.168.0.1", "it is 192.168.0.1"},
		{"p", "localhost:1", "127.0.0.1", ""},
		{"p", "localhost:1", "::1", ""},
		{"p", "localhost:1", "10.0.0.1", "it is 10.0.0.1"},
		{"p", "app.localhost:2", "127.0.0.1", ""},
		{"p", "127.0.0.1:1", "", none},
		{"any", "localhost:443", "127.0.0.1", "it is 127.0.0.1"},
	} {
		var resolved netip.Addr
		if c.resolved != "" {
			resolved = netip.MustParseAddr(c.resolved)
		}
		got := ""
		if err := rules.check(c.plugin, c.address, resolved); err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s to %s, which is %s: %q, want %q", c.plugin, c.address, c.resolved, got, c.want)
		}
	}
	for _, special := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.255.255", "169.254.169.254",
		"100.64.0.1", "192.0.0.170", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1",
	} {
		if rules.check("any", "some.example:443", netip.MustParseAddr(special)) == nil {
			t.Errorf("a name that stands for %s reaches it", special)
		}
		if rules.check("any", "["+special+"]:443", netip.Addr{}) == nil {
			t.Errorf("*:443 allows %s", special)
		}
	}
	for _, ip := range []string{"1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"} {
		if err := rules.check("any", "some.example:443", netip.MustParseAddr(ip)); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
	if _, err := readNetRules(map[string][]string{"p": {"bücher.example:443"}}); err == nil || !strings.Contains(err.Error(), "xn--") {
		t.Errorf("a host that is not ASCII: %v", err)
	}
}
