package amp

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

// What was asked before a connection breaks off in the middle of a box is
// answered, as it is before a half close between two boxes.
func TestHalfCloseWithinABoxIsAnswered(t *testing.T) {
	release := make(chan struct{})
	m := new(Mux)
	m.HandleFunc("Later", func(context.Context, Box) (Box, error) {
		<-release
		return Box{"ok": []byte("True")}, nil
	})
	p := dialPeer(t, serve(t, &Server{Handler: m, Options: &Options{Logger: quiet}}))
	p.Write(append(wire(ask("1", "Later")), "\x00\x04_as"...))
	p.Conn.(*net.TCPConn).CloseWrite()
	close(release)
	p.want("_answer", "1", "ok", "True")
	if _, err := p.next(); err != io.EOF {
		t.Errorf("after the answer: %v, want the end", err)
	}
}

// The same for a box beyond the limits.
func TestAnswersBeforeABoxThatIsTooBig(t *testing.T) {
	p := dialPeer(t, serve(t, &Server{Handler: mathMux(), Options: &Options{MaxPairs: 6, Logger: quiet}}))
	many := []string{"_ask", "2", "_command", "Sum"}
	for _, key := range "abcdefgh" {
		many = append(many, string(key), "1")
	}
	p.send(ask("1", "Sum", "a", "1", "b", "2"), many)
	p.want("_answer", "1", "total", "3")
	if _, err := p.next(); err != io.EOF {
		t.Errorf("after the answer: %v, want the end", err)
	}
}

// A peer that has spoken AMP is not taken for an HTTP client later on.
func TestHTTPIsAnsweredAtTheBeginningOnly(t *testing.T) {
	addr := serve(t, &Server{Handler: mathMux(), Options: &Options{Logger: quiet}})
	p := dialPeer(t, addr)
	p.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if text, err := io.ReadAll(p.r); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") || !strings.Contains(string(text), "AMP") {
		t.Errorf("an HTTP client gets %q, %v", text, err)
	}
	p = dialPeer(t, addr)
	p.Write(append(wire(ask("1", "Sum", "a", "1", "b", "2")), "HELLO"...))
	p.want("_answer", "1", "total", "3")
	if rest, err := io.ReadAll(p.r); err != nil || len(rest) > 0 {
		t.Errorf("behind the answer an AMP client gets %q, %v, want the end", rest, err)
	}
}

// A peer that has asked for a switch sends no answers until it has one, so a
// call to it that is pending is no reason to read on (items S2, S3).
func TestBytesBehindASwitchWhileACallWaits(t *testing.T) {
	conns := make(chan *Conn, 1)
	p := dialPeer(t, serve(t, &Server{Handler: lineMux(), OnConnect: func(c *Conn) {
		c.Go("Wait", nil, func(Box, error) {})
		conns <- c
	}}))
	<-conns
	if box, err := p.next(); err != nil || string(box["_command"]) != "Wait" {
		t.Fatalf("got %q, %v, want the server's call", box, err)
	}
	p.Write(append(wire(ask("1", "Lines", "name", "")), "hello\n"...))
	p.want("_answer", "1")
	if got, err := p.r.ReadString('\n'); got != "HELLO\n" {
		t.Errorf("got %q, %v, want the new protocol's answer", got, err)
	}
}

// A handler that has logged its failure itself.
func TestErrFailedIsUnknownAndNotLogged(t *testing.T) {
	for _, strict := range []bool{false, true} {
		log := new(logbook)
		m := new(Mux)
		m.Handle("Broken", HandlerFunc(func(r *Request) { r.Fail(ErrFailed) }))
		m.Handle("Picky", HandlerFunc(func(r *Request) { r.Fail(BadArguments(io.ErrShortBuffer)) }))
		addr := serve(t, &Server{Handler: m, Options: &Options{Strict: strict, Logger: log.logger()}})
		p := dialPeer(t, addr)
		p.send(ask("1", "Broken"))
		p.want("_error", "1", "_error_code", "UNKNOWN", "_error_description", "Unknown Error")
		if log.String() != "" {
			t.Errorf("strict=%v: the log says %q", strict, log)
		}
		if strict {
			if _, err := p.next(); err != io.EOF {
				t.Errorf("strict: after the error %v, want the end", err)
			}
			p = dialPeer(t, addr)
		}
		p.send(ask("2", "Picky"))
		if strict {
			p.want("_error", "2", "_error_code", "UNKNOWN", "_error_description", "Unknown Error")
		} else {
			p.want("_error", "2", "_error_code", "BAD_ARGUMENTS", "_error_description", "short buffer")
		}
	}
}
