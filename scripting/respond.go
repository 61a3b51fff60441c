package scripting

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// respond answers a request with the responder of its command.
func (r *realm) respond(req *amp.Request, waited time.Duration) {
	cmd := r.responders[req.Command]
	if cmd == nil {
		if cmd = r.unhandled; cmd == nil {
			r.w.fail(req, amp.ErrUnhandled)
			return
		}
	}
	var args goja.Value
	var err error
	if cmd.arguments.any {
		args, err = r.decodeBox(req.Args())
	} else {
		args, err = r.newArguments(cmd.arguments, req)
	}
	if err != nil {
		r.w.fail(req, amp.BadArguments(argumentError(err)))
		return
	}
	c := r.begin(req, cmd)
	c.waited = waited
	var v goja.Value
	switch {
	case cmd == r.unhandled:
		v, err = cmd.fn(goja.Undefined(), r.rt.ToValue(req.Command), args, r.peerOf(req.Conn()))
	case cmd.seesPeer:
		v, err = cmd.fn(goja.Undefined(), args, r.peerOf(req.Conn()))
	default: // a peer takes 900 bytes of each connection
		r.sole[0] = args
		v, err = cmd.fn(goja.Undefined(), r.sole[:]...)
		r.sole[0] = nil
	}
	r.current = nil
	if err != nil {
		r.fail(c, err)
		return
	}
	if o, ok := v.(*goja.Object); ok && o.ExportType() == typePromise {
		r.await(c, o)
		return
	}
	r.finish(c, v)
}

// argumentError words what is wrong with an argument: argument "a": missing.
func argumentError(err error) error {
	if k, ok := errors.AsType[*keyError](err); ok {
		return fmt.Errorf("argument %q: %s", k.path, strings.TrimPrefix(k.err.Error(), "amp: "))
	}
	return fmt.Errorf("argument %w", err)
}

// begin makes the call that a request becomes.
func (r *realm) begin(req *amp.Request, cmd *command) *call {
	c := r.spare
	if c == nil {
		c = new(call)
	}
	r.spare = nil
	c.req, c.cmd = req, cmd
	r.current, r.serving = c, c
	return c
}

// end gives a call back that has been answered.
func (r *realm) end(c *call) {
	r.serving = nil
	r.w.answered()
	if !c.kept {
		r.w.loop.spent = c.req
		*c = call{}
		r.spare = c
	}
}

// endWith answers a call with an error.
func (r *realm) endWith(c *call, err error) {
	c.req.Fail(r.w.p.sign(err))
	r.w.p.tally.failed.Add(1)
	r.end(c)
}

// await answers the call when the promise settles, which it may have already.
func (r *realm) await(c *call, o *goja.Object) {
	p, _ := o.Export().(*goja.Promise)
	switch p.State() {
	case goja.PromiseStateFulfilled:
		r.finish(c, p.Result())
	case goja.PromiseStateRejected:
		r.handled(p)
		r.failWith(c, p.Result(), nil)
	default:
		c.kept, r.serving = true, nil
		r.nextID++
		c.id = r.nextID
		r.queue(c)
		if u := r.updates[o]; u != nil && u.call == 0 {
			u.call = c.id
			return
		}
		r.watch(o, c.id)
	}
}

// watch has a call answered when a promise settles.
func (r *realm) watch(o *goja.Object, call uint64) {
	if _, err := r.fn.watch(nil, o, r.rt.ToValue(call)); err != nil && isFatal(err) {
		r.die(err)
	}
}

// queue has a call wait for its promise, for as long as it may.
func (r *realm) queue(c *call) {
	limit := r.w.p.callTimeout()
	if limit > 0 {
		limit = max(limit-c.waited, time.Nanosecond)
		c.deadline = time.Now().Add(limit)
	}
	r.w.calls.add(c)
	if limit > 0 && (r.expiry == nil || r.expiry.stopped || r.expiry.when.After(c.deadline)) {
		r.expiry.stop()
		r.expiry = r.w.loop.timers.after(limit, r.expire)
	}
}

// expire fails the calls whose time is up. One timer serves them all.
func (r *realm) expire() {
	r.expiry = nil
	if next := r.expireCalls(); !next.IsZero() {
		r.expiry = r.w.loop.timers.after(time.Until(next), r.expire)
	}
}

// settle is called by the prelude when a responder's promise is fulfilled, or
// rejected. The call may have been answered meanwhile: its time was up.
func (r *realm) settle(id uint64, v goja.Value, rejected bool) {
	c := r.w.calls.remove(id)
	if c == nil {
		return
	}
	serving, current := r.serving, r.current // whose turn has settled this one
	r.serving = c
	if rejected {
		r.failWith(c, v, nil)
	} else {
		r.finish(c, v)
	}
	r.serving, r.current = serving, current
}

// finish answers a call with what its responder returned.
func (r *realm) finish(c *call, v goja.Value) {
	if c.cmd == r.unhandled && absent(v) {
		r.endWith(c, amp.ErrUnhandled)
		return
	}
	outer := r.answering // a getter of the response may settle another call
	r.answering.c, r.answering.v, r.answering.err = c, v, nil
	ran := r.try(r.answering.write)
	err := r.answering.err
	r.answering = outer
	switch {
	case ran != nil:
		r.fail(c, ran)
		return
	case err == nil:
		r.end(c)
		return
	}
	if p := r.thenable(v); p != nil {
		r.await(c, p)
		return
	}
	if r.dead != nil { // of that
		r.endWith(c, ErrRestarted)
		return
	}
	r.unknown(c, &Error{Message: fmt.Sprintf("bad response of %s: %v", c.cmd.name, err)})
}

// An answering is what finish does in try: fields instead of what a closure
// would allocate for each call.
type answering struct {
	write func() // writeAnswer
	c     *call
	v     goja.Value
	err   error
}

// writeAnswer answers the call with the value, or sets err. It runs the
// script's getters, if the value has some.
func (r *realm) writeAnswer() {
	c, v := r.answering.c, r.answering.v
	r.answering.err = r.answerWith(c, v)
}

func (r *realm) answerWith(c *call, v goja.Value) error {
	if c.cmd.switches {
		return r.switchTo(c, v)
	}
	o, ok := v.(*goja.Object)
	quit := ok && o.Prototype() == r.quitProto
	if quit {
		o, ok = o.GetSymbol(r.id).(*goja.Object)
	}
	switch {
	case c.cmd.response.any || quit:
		return r.answerBox(c, o, quit)
	case ok:
		pairs := r.pairs[:0]
		r.pairs = nil // while a getter may settle another call
		pairs, err := r.encodeShape(pairs, c.cmd.response, o)
		if err == nil {
			c.req.AnswerPairs(pairs)
		}
		r.pairs = pairs
		return err
	case absent(v) && !c.cmd.response.needed:
		c.req.AnswerPairs(nil)
		return nil
	}
	return fmt.Errorf("%s is not an object", r.brief(v))
}

// answerBox answers a call with a box that is not built in place.
func (r *realm) answerBox(c *call, o *goja.Object, quit bool) error {
	var box amp.Box
	var err error
	switch {
	case o == nil && c.cmd.response.needed, o == nil && c.cmd.response.any:
		return errors.New("nothing was returned")
	case o == nil:
		box = amp.Box{}
	case c.cmd.response.any:
		box, err = r.encodeBox(o)
	default:
		var pairs []byte
		if pairs, err = r.encodeShape(nil, c.cmd.response, o); err == nil {
			box = boxOfPairs(pairs)
		}
	}
	if err != nil {
		return err
	}
	if quit {
		c.req.Quit(box)
	} else {
		c.req.Answer(box)
	}
	return nil
}

// thenable returns a promise of an object that has a then of its own. It is
// asked only of what is no response.
func (r *realm) thenable(v goja.Value) *goja.Object {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil
	}
	var promise *goja.Object
	_ = r.try(func() {
		if _, ok := goja.AssertFunction(o.Get("then")); ok {
			if p, err := r.fn.resolve(nil, o); err == nil {
				promise, _ = p.(*goja.Object)
			}
		}
	})
	return promise
}

// fail answers a call whose responder threw.
func (r *realm) fail(c *call, err error) {
	if err = r.interruption(err); isFatal(err) {
		// The worker tells the story and fails what else was running.
		r.die(err)
		r.endWith(c, ErrRestarted)
		return
	}
	var thrown *goja.Exception
	if errors.As(err, &thrown) {
		r.failWith(c, thrown.Value(), thrown)
		return
	}
	r.unknown(c, r.describe(err))
}

// failWith answers a call whose responder threw v, or returned a promise that
// was rejected with it.
func (r *realm) failWith(c *call, v goja.Value, thrown *goja.Exception) {
	var told *amp.Error
	_ = r.try(func() { told = r.declared(c.cmd, v) })
	if told != nil {
		r.endWith(c, told)
		return
	}
	var e *Error
	if thrown != nil {
		e = r.describe(thrown)
	} else {
		e = r.describeValue(v)
	}
	r.unknown(c, e)
}

// declared returns what the peer is told of a thrown value, or nil if that is
// nothing: an instance of a declared class, the first that fits (amp-wire item
// E4.2), or an amp.RemoteAmpError that the script made.
func (r *realm) declared(cmd *command, v goja.Value) *amp.Error {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil
	}
	for _, e := range cmd.errors {
		if r.rt.InstanceOf(o, e.class) {
			description := ""
			if m := o.Get("message"); !absent(m) {
				description = m.String()
			}
			told := &amp.Error{Code: e.code, Description: description, Fatal: e.fatal}
			for _, f := range cmd.errors {
				if f.fatal && f.class.SameAs(e.class) { // declared as both, it is fatal (item E4.3)
					told.Code, told.Fatal = f.code, true
				}
			}
			return told
		}
	}
	if !r.rt.InstanceOf(o, r.remoteClass) {
		return nil
	}
	// A peer's error that came back from callRemote is not this plugin's.
	if foreign, err := r.fn.isRemote(nil, o); err != nil || foreign.ToBoolean() {
		return nil
	}
	e := &amp.Error{Code: o.Get("code").String(), Description: o.Get("description").String()}
	if fatal := o.Get("fatal"); fatal != nil {
		e.Fatal = fatal.ToBoolean()
	}
	return e
}

// unknown answers a call with UNKNOWN, and puts the story into the log. One that
// does not know where it was is told with the responder's place.
func (r *realm) unknown(c *call, e *Error) {
	if p := c.cmd.fnPlace; e.File == "" {
		p.fn = "the responder of " + c.cmd.name
		at := r.errorAt(e.Message, []place{p})
		at.Cause, at.Errors = e.Cause, e.Errors
		e = at
	}
	r.report(slog.LevelError, "responder failed", e, c)
	r.endWith(c, amp.ErrFailed)
}

// boxOfPairs splits pairs in wire form.
func boxOfPairs(pairs []byte) amp.Box {
	box := make(amp.Box)
	for len(pairs) > 0 {
		n := 2 + int(pairs[1])
		m := n + 2 + int(pairs[n])<<8 + int(pairs[n+1])
		box[string(pairs[2:n])] = pairs[n+2 : m : m]
		pairs = pairs[m:]
	}
	return box
}
