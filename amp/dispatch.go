package amp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A header is the protocol's part of a box.
type header struct {
	kind    boxKind
	id      []byte // _ask, _answer or _error
	ask     []byte
	asked   bool // there is an _ask, empty or not (item G1)
	command []byte
	lead    int // how many bytes of pairs that are the protocol's the box begins with
}

type boxKind int

const (
	noKind boxKind = iota // none of _answer, _error and _command
	command
	failure
	answer // _answer goes before _error, and that before _command (item K2)
)

// add takes a pair of the box into account, which is at an offset, in the order in
// which they come. Of two with one key the later counts (item F6).
func (h *header) add(pair []byte, at int) {
	n := 2 + int(pair[1])
	value := pair[n+2 : len(pair) : len(pair)]
	switch key := pair[2:n]; {
	case string(key) == keyAsk:
		h.asked, h.ask = true, value
	case string(key) == keyCommand:
		h.command = value
		h.kind = max(h.kind, command)
	case string(key) == keyAnswer:
		h.kind, h.id = answer, value
	case string(key) == keyError:
		if h.kind <= failure {
			h.kind, h.id = failure, value
		}
	default:
		return
	}
	if at == h.lead {
		h.lead += len(pair)
	}
}

// close is called after the last pair.
func (h *header) close() {
	if h.kind == command {
		h.id = h.ask
	}
}

// dispatch handles one box on the reading goroutine. An error ends the
// connection.
func (c *Conn) dispatch(h *header, pairs []byte) error {
	if c.recv != nil {
		return c.receive(boxOf(pairs, nil))
	}
	switch h.kind {
	case command:
		return c.dispatchCommand(h, pairs)
	case answer:
		return c.dispatchAnswer(h.id, pairs, nil)
	case failure:
		code, ok := findPair(pairs, keyErrorCode)
		text, ok2 := findPair(pairs, keyErrorDescription)
		if !ok || !ok2 { // item K6
			return malformed("an error without a code or a description")
		}
		e := &Error{Code: string(code), Description: strings.ToValidUTF8(string(text), "\uFFFD")}
		return c.dispatchAnswer(h.id, nil, e)
	}
	if len(pairs) == 0 {
		return malformed("an empty box") // item F14
	}
	return malformed("a box that is neither a command nor an answer") // item F15
}

// malformed says what no AMP peer would send.
func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// dispatchCommand hands a command to the handler.
func (c *Conn) dispatchCommand(h *header, pairs []byte) error {
	name := c.intern(h.command)
	if c.opts.Strict && !isASCII(name) {
		return malformed("a command whose name is not ASCII") // item L8
	}
	r := c.spare
	if r == nil {
		r = requests.Get().(*Request)
	}
	c.spare = nil
	r.lend(c, name, h, pairs)
	if !c.forgetful {
		r.Defer()
	}
	c.running.Add(1)
	switch {
	case c.tooManyRun(r, 1) && !c.awaitRunning(r):
		r.Fail(ErrOverloaded.Describe("%d commands of this connection are running", c.running.Load()-1))
		return nil
	case c.attention.Load() && c.isDraining():
		r.Fail(ErrShuttingDown.Describe("the server is shutting down"))
		return nil
	case name == startTLSName:
		r.Defer()
		return c.serveStartTLS(r)
	}
	c.serve(r)
	c.served()
	return nil
}

// A spareJob is a typedJob that nothing runs in.
type spareJob interface{ free() }

// keepJob keeps one for the next request of this batch.
func (c *Conn) keepJob(j spareJob) {
	if c.spareJob != nil {
		c.spareJob.free()
	}
	c.spareJob = j
}

// served does what the handler of the last command wants of the reader.
func (c *Conn) served() {
	if d := c.rest; d > 0 {
		c.rest = 0
		c.takeRest(d)
	}
	if p := c.paused; p != nil {
		c.paused = nil
		c.awaitAnswer(p)
	}
}

// serve has the handler answer a command. A request that is still lent then
// serves for the next one, too.
func (c *Conn) serve(r *Request) {
	c.handle(r)
	switch {
	case !c.lending: // it may belong to somebody else by now
	case !r.early:
		r.Fail(errForgotten)
	default:
		c.lending = false
		r.forget()
		c.spare = r
	}
}

// handle is the part of serve in which a handler may panic.
func (c *Conn) handle(r *Request) {
	defer r.recoverHandler()
	c.h.ServeAMP(r)
}

var errForgotten = errors.New("the handler has forgotten the request: it has neither answered it nor called Defer")

// receive gives a box to the receiver. If that panics the connection ends.
func (c *Conn) receive(b Box) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("amp: box receiver: %w", handlerPanic(v))
		}
	}()
	c.recv.BoxReceived(b)
	return nil
}

// tooManyRun reports whether more than times the limits runs, r among it. The
// bytes of r itself don't count: one box of any size may run.
func (c *Conn) tooManyRun(r *Request, times int) bool {
	return over(int(c.running.Load()), times*c.opts.MaxRunning) ||
		over(int(c.held.Load())-r.held(), times*c.opts.MaxRunningBytes)
}

// takeRest reads nothing for so long, but for the answers that this end waits for.
func (c *Conn) takeRest(d time.Duration) {
	c.tally.holdBack()
	c.endBatch()
	until := time.Now().Add(d)
	timer := time.AfterFunc(d, c.wake)
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitLocked(func() bool { return !time.Now().Before(until) || c.waitsLocked() || c.state >= closing })
	c.out.batch = true
}

// awaitRunning waits until another command may run. It reports false if it
// must not wait any longer, because this end waits for answers itself or is to
// close, and far too many run.
func (c *Conn) awaitRunning(r *Request) bool {
	r.Defer() // it may wait for long, and counts as running
	c.tally.holdBack()
	c.endBatch()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitLocked(func() bool { return !c.tooManyRun(r, 1) || c.waitsLocked() || c.state >= closing })
	c.out.batch = true // the reader goes on with its batch
	return c.state == ended || !c.tooManyRun(r, 16)
}

// awaitAnswer waits until a paused request is answered, or the connection is
// to close.
func (c *Conn) awaitAnswer(r *Request) {
	c.endBatch()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitLocked(func() bool { return r.answered.Load() || c.state >= closing })
	c.out.batch = true
}

func (c *Conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained
}

// maxNames bounds the command names that a connection remembers. Few peers call
// more: a list of few takes a tenth of the memory that a map takes, and is searched as fast.
const maxNames = 32

// intern returns a command's name without allocating it each time.
func (c *Conn) intern(name []byte) string {
	for _, s := range c.names {
		if s == string(name) {
			return s
		}
	}
	s := string(name)
	if len(c.names) < maxNames && len(name) <= MaxKey {
		c.names = append(c.names, s)
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
