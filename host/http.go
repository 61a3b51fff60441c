package host

import (
	"io"
	"net"
)

// notHTTP answers a client that speaks HTTP: somebody has typed the port into
// a browser, or a health check is set up for the wrong protocol.
const notHTTP = "HTTP/1.1 400 Bad Request\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\n\r\n" +
	"This port speaks AMP, Twisted's Asynchronous Messaging Protocol, and not HTTP.\n" +
	"Call it with: amphost call ADDRESS COMMAND key=value\n"

// httpHints is a listener whose connections tell HTTP clients of their mistake.
type httpHints struct{ net.Listener }

// Accept implements net.Listener.
func (l httpHints) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if tc, ok := nc.(*net.TCPConn); ok {
		return &httpHint{TCPConn: tc}, nil
	}
	return nc, err
}

// An httpHint is a connection that answers HTTP with notHTTP. It changes
// nothing of what is read: the server sees that this is not AMP, logs it and
// closes the connection.
type httpHint struct {
	*net.TCPConn
	seen bool // the first byte has been looked at; only the reading goroutine
}

// Read implements io.Reader. A box begins with the length of a key, of which
// the first byte is zero: a capital letter is a method of HTTP.
func (c *httpHint) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if !c.seen && n > 0 {
		c.seen = true
		if p[0] >= 'A' && p[0] <= 'Z' {
			io.WriteString(c.TCPConn, notHTTP) // fits a new connection's buffer: it does not wait
		}
	}
	return n, err
}
