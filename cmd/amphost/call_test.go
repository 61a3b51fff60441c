package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/scripting"
)

func TestAddressesAsPeopleWriteThem(t *testing.T) {
	for _, c := range []struct{ text, network, address string }{
		{"127.0.0.1:8751", "tcp", "127.0.0.1:8751"},
		{":8751", "tcp", "127.0.0.1:8751"},
		{"localhost", "tcp", "localhost:8750"},
		{"[::1]:8751", "tcp", "[::1]:8751"},
		{"::1", "tcp", "[::1]:8750"},
		{"tcp://127.0.0.1:8751", "tcp", "127.0.0.1:8751"},
		{"unix:/run/amphost.sock", "unix", "/run/amphost.sock"},
		{"unix:///run/amphost.sock", "unix", "/run/amphost.sock"},
		{"unix:here.sock", "unix", "here.sock"},
		{"", "", ""},
		{"unix:", "", ""},
		{"http://127.0.0.1:8750/", "", ""},
	} {
		network, address, err := parseAddress(c.text)
		if network != c.network || address != c.address || (err != nil) != (c.network == "") {
			t.Errorf("parseAddress(%q) = %q, %q, %v, want %q, %q", c.text, network, address, err, c.network, c.address)
		}
	}
}

func TestCallOverAUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "amp.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var commands amp.Mux
	commands.HandleFunc("Echo", func(_ context.Context, args amp.Box) (amp.Box, error) { return args, nil })
	srv := &amp.Server{Handler: &commands}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { srv.Close(); <-served })

	stdout, stderr, code := amphost(t, ".", "call", "unix:"+path, "Echo", "b=2", "a=Grüße")
	if stdout != "a: Grüße\nb: 2\n" || code != 0 {
		t.Errorf("printed %q, %q, exit status %d", stdout, stderr, code)
	}
	srv.Close()
	complain(t, ".", 1, []string{"call", "unix:" + path, "Echo"}, path)
}

func TestAnswersArePrintedForPeople(t *testing.T) {
	var b bytes.Buffer
	err := printBox(&b, amp.Box{
		"b": []byte("Grüße, 世界"), "a": []byte("two\nlines"), "c": {0, 0xff}, "d": nil, "\x01": []byte("\x1b[2J"), "e": []byte(`"quoted"`),
	})
	want := `"\x01": "\x1b[2J"
a: "two\nlines"
b: Grüße, 世界
c: "\x00\xff"
d: 
e: "quoted"
`
	if b.String() != want || err != nil {
		t.Errorf("printBox wrote\n%s%v\nwant\n%s", b.String(), err, want)
	}
}

func TestExampleIsChosenFromWhatIsLoaded(t *testing.T) {
	divide := scripting.Signature{Name: "Divide", Arguments: []scripting.Field{{Name: "numerator", Type: "Integer"}, {Name: "denominator", Type: "Integer"}}}
	sum := scripting.Signature{Name: "Sum", Arguments: []scripting.Field{{Name: "a", Type: "Integer"}, {Name: "b", Type: "Integer"}}}
	many := scripting.Signature{Name: "Many", Arguments: []scripting.Field{{Name: "values", Type: "ListOf(Integer)"}}}
	odd := scripting.Signature{Name: "rm -rf", Arguments: []scripting.Field{{Name: "n", Type: "Integer"}}}
	set := scripting.Signature{Name: "Set", Arguments: []scripting.Field{{Name: "key", Type: "Unicode"}, {Name: "at", Type: "DateTime", Optional: true}, {Name: "on", Type: "Boolean"}}}
	for _, c := range []struct {
		want     string
		commands []scripting.Signature
	}{
		{"", nil},
		{"Sum a=13 b=81", []scripting.Signature{divide, sum}},
		{"Divide numerator=13 denominator=81", []scripting.Signature{many, divide, set}},
		{"Set key=ada on=True", []scripting.Signature{odd, many, set}},
		{"", []scripting.Signature{odd, many}},
		{"Ping", []scripting.Signature{{Name: "Ping"}}},
	} {
		if got := exampleCall([]scripting.Status{{Name: "p", Commands: c.commands}}); got != c.want {
			t.Errorf("exampleCall(%v) = %q, want %q", c.commands, got, c.want)
		}
	}
}

func TestReachableAddress(t *testing.T) {
	for ip, want := range map[string]string{"0.0.0.0": "127.0.0.1:8750", "::": "127.0.0.1:8750", "192.0.2.1": "192.0.2.1:8750"} {
		if got := reachable(&net.TCPAddr{IP: net.ParseIP(ip), Port: 8750}); got != want {
			t.Errorf("reachable(%s) = %s, want %s", ip, got, want)
		}
	}
}
