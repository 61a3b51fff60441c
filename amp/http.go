package amp

import "errors"

// notHTTP answers a client that speaks HTTP: somebody has typed the port into
// a browser, or a health check is set up for the wrong protocol.
const notHTTP = "HTTP/1.1 400 Bad Request\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\n\r\n" +
	"This port speaks AMP, Twisted's Asynchronous Messaging Protocol, and not HTTP: use an AMP client.\n"

// answerHTTP tells an HTTP client of its mistake: the first bytes it sent are no
// box, and begin with a capital letter.
func (c *Conn) answerHTTP(err error) {
	long, ok := errors.AsType[*TooLongError](err)
	if !ok || c.in.begun || c.opts.Initiator || c.opts.Strict || !looksLikeHTTP(long.Len) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state < switched {
		dst := c.out.dstLocked()
		dst.b = append(dst.b, notHTTP...)
		c.kickLocked()
	}
}

// looksLikeHTTP guesses from the length of an impossible key, the first two
// bytes of what a peer sent.
func looksLikeHTTP(length int) bool {
	first := byte(length >> 8)
	return first >= 'A' && first <= 'Z'
}
