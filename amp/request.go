package amp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Handler answers commands: what Twisted calls a locator, apart from any
// connection. One handler may serve many connections and servers at a time.
//
// ServeAMP is called on the connection's reading goroutine, once for each
// command in the order they arrived, and must not block: it answers with one
// of the request's methods, at once or later, from any goroutine. To answer
// from a plain function use Command.Handle or Mux.HandleFunc, which give it a
// goroutine. A handler that panics is logged, and answers UNKNOWN.
type Handler interface{ ServeAMP(r *Request) }

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(r *Request)

// ServeAMP calls f.
func (f HandlerFunc) ServeAMP(r *Request) { f(r) }

// A Forgetful handler does nothing with a request once it has handed it to
// another handler or has answered it, unless it has called Request.Keep, and
// answers before ServeAMP returns, unless it has called Request.Defer. Requests
// may then be used again, and a plugin may be run on the goroutine that reads:
// see Request.Occupy. A Mux is one, and looks after the handlers it has.
type Forgetful interface {
	Handler
	ForgetsRequests()
}

// A Request is one command to be answered exactly once, with Answer,
// AnswerPairs, Quit, Switch or Fail; a second answer is dropped and logged.
// The handler may keep it. Answering never blocks, and does nothing once the
// connection has ended.
type Request struct {
	Command string

	conn     *Conn
	ctx      context.Context
	reply    func(Box, error) // for a request that came from no connection
	tag      []byte           // the peer's _ask
	pairs    []byte           // the whole box as it came, without a terminator
	lead     int              // how many bytes of pairs come before the first that is no protocol's
	asked    bool             // the peer wants an answer
	lent     bool             // tag and pairs are where they were read, and only the reader uses r: until Defer
	early    bool             // a lent request is answered
	detached bool             // ServeAMP has returned, or may have
	patient  bool             // a handler function answers, and may wait for room
	ours     bool             // whoever has seen it is Forgetful
	batch    *Batch           // what its answer waits for, or nil
	answered atomic.Bool
	holds    atomic.Int32 // the reading goroutine; see Occupy
	answerer atomic.Pointer[Answerer]
	store    []byte // our own copy of pairs, in few or elsewhere
	few      [192]byte
}

// requests recycles the requests that never leave this package.
var requests = sync.Pool{New: func() any { return new(Request) }}

// release gives a request back, if nobody else can hold on to it. One that is
// lent stays the reader's.
func (r *Request) release() {
	if r.lent || !r.ours {
		return
	}
	if cap(r.store) <= len(r.few) || cap(r.store) > 16<<10 {
		r.store = nil // keep a larger buffer only, and not one of any size
	}
	r.forget()
	r.answered.Store(false)
	requests.Put(r)
}

// Release says that nobody refers to the request any more, which has been answered:
// another command may be given it. Who has called Defer may call it, once.
func (r *Request) Release() { r.release() }

// forget lets go of what belongs to the request that r was.
func (r *Request) forget() {
	r.Command, r.conn, r.ctx, r.reply, r.tag, r.pairs, r.batch = "", nil, nil, nil, nil, nil, nil
	r.asked, r.detached, r.patient, r.ours = false, false, false, false
	r.lent, r.early = false, false
	if r.answerer.Load() != nil {
		r.answerer.Store(nil)
	}
}

// held is how many bytes of memory r takes up beside itself while it runs.
func (r *Request) held() int {
	if n := len(r.pairs); !r.lent && n > len(r.few) {
		return n
	}
	return 0
}

// lend makes r the request of a box in the reader's input.
func (r *Request) lend(c *Conn, command string, h *header, pairs []byte) {
	r.Command, r.conn, r.ctx = command, c, c.ctx
	r.tag, r.pairs, r.lead, r.asked = h.id, pairs, h.lead, h.asked
	r.lent, r.ours = true, c.forgetful
	c.lending = true
}

// Defer says that the request is answered, or looked at, once ServeAMP has
// returned, or by another goroutine than that which has called it: until then the
// request is in the buffer that the connection reads into. Forgetful handlers call
// it, before ServeAMP returns; for all others it has been called.
func (r *Request) Defer() {
	if !r.lent {
		return
	}
	r.lent, r.conn.lending = false, false
	if r.store == nil {
		r.store = r.few[:0]
	}
	r.store = append(r.store[:0], r.pairs...)
	r.pairs = r.store
	if r.asked {
		r.tag, _ = findPair(r.pairs, keyAsk)
	}
	if r.early { // and it was counted with the answer
		r.early = false
		r.answered.Store(true)
		return
	}
	r.conn.tally.begin()
	if n := r.held(); n > 0 {
		r.conn.held.Add(int64(n))
	}
}

// NewRequest returns a request that came from no connection; its answer goes
// to reply, on whatever goroutine answers.
func NewRequest(ctx context.Context, command string, args Box, reply func(Box, error)) *Request {
	r := &Request{Command: command, ctx: ctx, asked: true, reply: reply}
	pairs, err := args.appendPairs(nil)
	if err != nil {
		r.answered.Store(true)
		reply(nil, err)
	}
	r.pairs = pairs
	return r
}

// Ask has h answer one command in this process, without a network, and waits
// for the answer. An error that would have crossed the wire is an *Error.
func Ask(ctx context.Context, h Handler, command string, args Box) (Box, error) {
	type result struct {
		box Box
		err error
	}
	done := make(chan result, 1)
	r := NewRequest(ctx, command, args, func(b Box, err error) { done <- result{b, err} })
	if !r.answered.Load() {
		h.ServeAMP(r)
	}
	select {
	case res := <-done:
		return res.box, res.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Context ends when the connection does. ConnFrom finds the connection in it.
func (r *Request) Context() context.Context { return r.ctx }

// Conn returns the connection the request came over, or nil.
func (r *Request) Conn() *Conn { return r.conn }

// Tag returns the peer's name for the request, its _ask: arbitrary bytes that
// may repeat, for logs. It is empty if no answer is wanted.
func (r *Request) Tag() string { return string(r.tag) }

// WantsAnswer reports whether the peer asked for an answer. The request must
// be answered all the same.
func (r *Request) WantsAnswer() bool { return r.asked }

// Arg returns the value of an argument. The bytes belong to the request, and must
// not be changed. They stay valid as long as the request may be used, see Forgetful;
// but those that were returned before Defer are not valid after it.
func (r *Request) Arg(key string) (value []byte, ok bool) { return findPair(r.pairs, key) }

// Keep says that somebody may hold on to the request beyond its answer, though
// it came to a Forgetful handler. It is Defer, too.
func (r *Request) Keep() {
	r.Defer()
	r.ours = false
}

// Pairs returns the whole box as it came, the protocol's own keys included: pairs
// in wire form without a terminator. The bytes belong to the request, as those of
// Arg do.
func (r *Request) Pairs() []byte { return r.pairs }

// Args returns a copy of the arguments, without the protocol's own keys.
func (r *Request) Args() Box { return boxOf(r.pairs, reserved[[]byte]) }

// An Answerer is who answers requests on behalf of a Handler that has others do
// so: one generation of a plugin.
type Answerer struct {
	Name       string // the plugin's
	Generation int    // from 1
}

// Answerer returns who answers the request, once a Handler has said so with
// SetAnswerer; nil otherwise. A plugin does so as it takes the request: before
// ServeAMP returns, unless the request has to be authorized first. It must not
// be changed.
func (r *Request) Answerer() *Answerer { return r.answerer.Load() }

// SetAnswerer says who answers the request.
func (r *Request) SetAnswerer(a *Answerer) { r.answerer.Store(a) }

// Unmarshal decodes the arguments into the struct v points to, as the function
// Unmarshal does. An error of it, given to Fail, becomes BAD_ARGUMENTS.
func (r *Request) Unmarshal(v any) error {
	rv := reflect.ValueOf(v)
	p, err := planForValue("Unmarshal", rv)
	if err != nil {
		return err
	}
	if rv.Kind() != reflect.Pointer {
		return fmt.Errorf("amp: Unmarshal into %s: it needs a pointer to set the fields", rv.Type())
	}
	return r.decode(p, structOf(rv))
}

// decode sets the struct at base from the arguments.
func (r *Request) decode(p *plan, base unsafe.Pointer) error {
	d := decoder{}
	if r.conn != nil && p.hasFiles() {
		d.file = r.conn.takeFile
	}
	if err := d.finish(d.pairs(p, r.pairs[r.lead:], base)); err != nil {
		return BadArguments(err)
	}
	return nil
}

// Pause stops the connection from reading beyond this request until it is
// answered. A handler that may answer with Switch calls it before ServeAMP
// returns: what follows in the stream is then for the new protocol (item S2).
// Until it has answered it must not wait for a call to the same peer, who sends
// nothing meanwhile (item S3).
func (r *Request) Pause() {
	if r.conn != nil && !r.detached {
		r.Keep() // for the reader
		r.conn.paused = r
	}
}

// Rest has the connection read no further for d, beyond this request: so a peer
// that calls too often feels it. A handler calls it before ServeAMP returns, and
// answers as usual. While this end waits for the peer's answers it reads on.
func (r *Request) Rest(d time.Duration) {
	if r.conn != nil && !r.detached {
		r.conn.rest = max(r.conn.rest, d)
	}
}

// Detach says that the handler hands the request to another one later, perhaps when
// ServeAMP has returned: the connection reads on, so that Pause has no effect
// any more. What switches all the same works for peers that wait for the answer
// before they speak the new protocol, as Twisted's do. It is Defer, too.
func (r *Request) Detach() {
	r.Defer()
	r.detached = true
}

// Answer sends b to the peer. A value that is too long makes the answer an
// UNKNOWN, and is logged (item E2).
func (r *Request) Answer(b Box) { r.answerBox(b, false) }

// Quit is Answer, and closes the connection once the answer is written:
// Twisted's QuitBox (item S1).
func (r *Request) Quit(b Box) { r.answerBox(b, true) }

func (r *Request) answerBox(b Box, quit bool) {
	for key := range b {
		if reserved(key) {
			r.Fail(fmt.Errorf("answer %s: %w: %q", r.Command, ErrReservedKey, key))
			return
		}
	}
	var few [256]byte
	pairs, err := b.appendPairs(few[:0])
	if err != nil {
		r.Fail(fmt.Errorf("answer %s: %w", r.Command, err))
		return
	}
	r.answer(pairs, quit)
}

// AnswerPairs is Answer for pairs that are in wire form already, in the byte
// order of their keys and without a terminator: what AppendPair makes. They
// are copied.
func (r *Request) AnswerPairs(pairs []byte) {
	if !checkPairs(pairs) {
		r.Fail(fmt.Errorf("answer %s: %w", r.Command, ErrMalformed))
		return
	}
	r.answer(pairs, false)
}

// answer sends pairs that are known to be well formed.
func (r *Request) answer(pairs []byte, quit bool) {
	if r.lent && !r.early && r.asked && !quit {
		scratch := buffers.Get().(*buffer)
		scratch.b = appendTagged(scratch.b, keyAnswer, r.tag, pairs)
		r.answerEarly(scratch.b)
		scratch.release()
		return
	}
	if !r.answerOnce() {
		return
	}
	switch {
	case r.conn == nil:
		r.reply(boxOf(pairs, nil), nil)
	case !r.asked:
		r.conn.finish(false) // the answer would close it, and is not sent
	default:
		r.conn.writeAnswer(r, pairs, quit)
	}
}

// answerEarly answers a lent request, which wants one and has none, with a whole
// box, which it copies.
func (r *Request) answerEarly(box []byte) {
	c := r.conn
	r.early = true
	c.early++
	c.mu.Lock()
	dst := c.replyLocked()
	if dst == nil {
		return
	}
	dst.b = append(dst.b, box...)
	c.repliedLocked(len(box), false, r.batch)
}

// Fail sends err to the peer. An *Error, or what wraps one, arrives with its
// code and description, and closes the connection if it is Fatal; an error of
// Unmarshal becomes BAD_ARGUMENTS with its text. Any other error is logged and
// becomes UNKNOWN, of which the peer learns nothing more.
func (r *Request) Fail(err error) {
	if !r.answerOnce() {
		return
	}
	e := r.wireError(err)
	if r.conn == nil {
		r.reply(nil, e)
		return
	}
	r.conn.tally.fail(e.Code)
	if !r.asked {
		// Nobody would learn of it. Twisted closes then (item E10).
		if !errors.Is(err, ErrFailed) {
			r.log().Warn("amp: a command that wants no answer failed", r.attrs(err)...)
		}
		r.conn.finish(r.conn.opts.Strict || e.Fatal)
		return
	}
	if r.conn.opts.Strict && errors.Is(err, ErrTooLong) {
		r.conn.finish(true) // item E2: no box at all
		return
	}
	r.conn.writeError(r, e)
}

// wireError returns what the peer is told of err, and logs what it is not.
func (r *Request) wireError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		switch {
		case e.Description != "":
		case e.Code == ErrUnknown.Code:
			e = e.Describe(unknownText)
		case e.Code == ErrUnhandled.Code:
			e = e.Describe("Unhandled Command: %s", pythonBytes(r.Command)) // item L8
		}
		return e
	}
	strict := r.conn != nil && r.conn.opts.Strict
	if e, ok := errors.AsType[*argumentsError](err); ok && !strict {
		return ErrBadArguments.Describe("%s", e.Error())
	}
	if !errors.Is(err, ErrFailed) {
		r.log().Error("amp: command failed", r.attrs(err)...)
	}
	return &Error{Code: ErrUnknown.Code, Description: unknownText, Fatal: strict}
}

func (r *Request) log() *slog.Logger {
	if r.conn != nil {
		return r.conn.opts.Logger
	}
	return slog.Default()
}

func (r *Request) attrs(err error) []any {
	attrs := []any{"command", r.Command, "error", err}
	if r.asked {
		attrs = append(attrs, "tag", r.Tag())
	}
	if r.conn != nil {
		attrs = append(attrs, r.conn.peerAttrs()...)
	}
	return attrs
}

// answerOnce reports whether this is the first answer.
func (r *Request) answerOnce() bool {
	if !r.markAnswered() {
		r.answeredTwice()
		return false
	}
	return true
}

// markAnswered reports whether r was not answered yet. Whoever marks it wakes
// the reader afterwards, which may wait for that.
func (r *Request) markAnswered() bool {
	if r.lent {
		if r.early {
			return false
		}
		r.Defer()
	}
	if r.answered.Swap(true) {
		return false
	}
	if r.conn == nil {
		return true
	}
	if n := r.held(); n > 0 {
		r.conn.held.Add(-int64(n))
	}
	r.conn.tally.end()
	return true
}

func (r *Request) answeredTwice() {
	r.log().Error("amp: a request was answered twice, the second answer is dropped", "command", r.Command)
}

// Switch answers, and then gives the connection's raw stream to fn, which owns
// it from then on: Twisted's ProtocolSwitchCommand. fn runs in a goroutine of
// the connection; what the peer sent behind its request comes first from nc.
// The Conn itself has ended then, with ErrSwitched; late answers to other
// requests are dropped (items S2, S3). Call Pause first. A request without
// _ask is answered by nothing and does not switch (item G7).
func (r *Request) Switch(fn func(nc net.Conn)) {
	switch {
	case r.conn == nil:
		r.Fail(ErrUnknown.Describe("a protocol switch needs a connection"))
	case !r.asked:
		r.answer(nil, false)
	case !r.conn.writeSwitch(r, fn):
		r.answeredTwice()
	}
}

// Answered reports whether the request has been answered.
func (r *Request) Answered() bool { return r.lent && r.early || r.answered.Load() }
