package scripting

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// An authority decides what the peers of a host may call: it asks the plugins
// that have called amp.authorize, before anything of a request is decoded. All
// of them have to agree. Whatever keeps one from agreeing, be it that it is
// restarted, is stuck or is gone, refuses.
//
// The requests of one connection are handed on in the order in which they came,
// whenever the decisions do.
type authority struct {
	// panel returns the plugins to ask, or why nothing is allowed now.
	panel func() ([]*Plugin, *amp.Error)
	limit time.Duration // for a decision; <= 0 for none
	log   *slog.Logger

	waiting   atomic.Int64   // requests in lines
	handovers sync.WaitGroup // goroutines that hand requests on

	mu    sync.Mutex // guards the fields below
	lines map[*amp.Conn]*admissions
	timer *time.Timer // looks for decisions that take too long; nil while nobody waits
	ended bool
}

// admissions are the requests of one connection that are not handed on yet.
type admissions struct {
	list    []*admission // in the order they came
	handing bool         // a goroutine hands on those that are decided
}

// An admission is a request that waits for a decision, or for the requests
// before it.
type admission struct {
	req     *amp.Request
	next    amp.Handler
	since   time.Time
	decided bool
	refused error // why it was, or nil
}

// admit has next called with r once it is allowed, else fails r. It never
// blocks. next is called at once if nobody is to be asked, and then on the
// caller's goroutine. pause says that r may be answered by a switch.
func (a *authority) admit(r *amp.Request, pause bool, next amp.Handler) {
	conn := r.Conn()
	if conn == nil {
		next.ServeAMP(r) // from within: there is no peer to ask about
		return
	}
	if panel, closed := a.panel(); len(panel) == 0 && closed == nil && a.waiting.Load() == 0 {
		next.ServeAMP(r)
		return
	}
	if pause {
		r.Pause()
	}
	r.Keep()
	r.Detach()
	x := &admission{req: r, next: next, since: time.Now()}
	a.mu.Lock()
	if a.lines == nil {
		a.lines = make(map[*amp.Conn]*admissions)
	}
	l := a.lines[conn]
	if l == nil {
		l = new(admissions)
		a.lines[conn] = l
	}
	l.list = append(l.list, x)
	a.waiting.Add(1)
	if a.timer == nil && a.limit > 0 {
		a.timer = time.AfterFunc(a.limit, a.expire)
	}
	a.mu.Unlock()
	a.ask(x)
}

// ask puts a request to the plugins that decide now.
func (a *authority) ask(x *admission) {
	panel, closed := a.panel()
	if closed != nil {
		a.decide(x, closed)
		return
	}
	a.askFrom(x, panel, 0)
}

// askFrom asks panel[i], and then those after it.
func (a *authority) askFrom(x *admission, panel []*Plugin, i int) {
	if i == len(panel) {
		a.decide(x, nil)
		return
	}
	if panel[i].judge(x.req, func(no error) {
		if no != nil {
			a.decide(x, no)
			return
		}
		a.askFrom(x, panel, i+1)
	}) {
		return
	}
	// It has been replaced, so there are others to ask; if there are none it
	// was stopped for good, or is quarantined.
	switch now, _ := a.panel(); {
	case !slices.Equal(now, panel):
		a.ask(x)
	case panel[i].health.quarantined.Load() != nil:
		a.decide(x, ErrForbidden)
	default:
		a.decide(x, amp.ErrShuttingDown)
	}
}

// decide notes a decision, the first one, and has what is decided handed on.
func (a *authority) decide(x *admission, refused error) {
	a.mu.Lock()
	conn := x.req.Conn()
	l := a.lines[conn]
	if x.decided {
		a.mu.Unlock()
		return
	}
	x.decided, x.refused = true, refused
	hand := !l.handing && l.list[0].decided
	l.handing = l.handing || hand
	ended := a.ended
	if hand && !ended {
		// Not here: this may be a plugin's loop, and what is handed on a
		// command in Go. It ends with what is decided; close waits.
		a.handovers.Go(func() { a.handOn(conn, l) })
	}
	a.mu.Unlock()
	if hand && ended {
		a.handOn(conn, l)
	}
}

// handOn hands on the requests of a line until one is not decided.
func (a *authority) handOn(conn *amp.Conn, l *admissions) {
	for {
		a.mu.Lock()
		if len(l.list) == 0 || !l.list[0].decided {
			l.handing = false
			if len(l.list) == 0 {
				delete(a.lines, conn)
			}
			a.mu.Unlock()
			return
		}
		x := l.list[0]
		a.mu.Unlock()
		if x.refused != nil {
			x.req.Fail(x.refused)
		} else {
			x.next.ServeAMP(x.req)
		}
		a.mu.Lock()
		l.list[0] = nil
		l.list = l.list[1:]
		// Not before it was handed on: what comes next may be handed on at once.
		a.waiting.Add(-1)
		a.mu.Unlock()
	}
}

// expire refuses the requests whose decision takes too long.
func (a *authority) expire() {
	var late []*admission
	a.mu.Lock()
	next := time.Duration(-1)
	for _, l := range a.lines {
		for _, x := range l.list {
			if left := a.limit - time.Since(x.since); !x.decided && left <= 0 {
				late = append(late, x)
			} else if !x.decided && (next < 0 || left < next) {
				next = left
			}
		}
	}
	a.timer = nil
	if next >= 0 {
		a.timer = time.AfterFunc(next, a.expire)
	}
	a.mu.Unlock()
	for _, x := range late {
		a.log.LogAttrs(context.Background(), slog.LevelWarn, "call refused: amp.authorize has not decided in time", append((&call{req: x.req}).attrs(), slog.Duration("after", a.limit))...)
		a.decide(x, ErrTimeout)
	}
}

// close waits for what is being handed on. Its plugins have ended: what still
// comes is refused by whoever brings it.
func (a *authority) close() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.handovers.Wait()
}

// A judgement is a decision that a realm's authorizers are asked for.
type judgement struct {
	id   uint64
	req  *amp.Request
	fns  []goja.Callable // still to be asked
	call *call           // for logs
	done func(error)     // called once, with nil or why the command is refused
}

// judge asks the plugin whether a command may be called; done is called with
// nil if so, else with why not, on any goroutine. It is false if the plugin has
// been replaced: nobody was asked.
func (p *Plugin) judge(req *amp.Request, done func(error)) bool {
	w := p.workerOf(req.Conn())
	return w.loop.offer(req.Conn().ID(), func() {
		w.inOrder(func(w *worker) {
			if w.realm == nil {
				done(ErrForbidden)
				return
			}
			r := w.realm
			r.nextID++
			j := &judgement{id: r.nextID, req: req, fns: r.handlers["authorize"], call: &call{req: req, kept: true}, done: done}
			r.judgements[j.id] = j
			r.pending++
			r.closers.add(j, func() { done(ErrRestarted) }) // if the runtime is abandoned
			r.judge(j)
		})
	})
}

// judge asks a realm's authorizers, one after the other.
func (r *realm) judge(j *judgement) {
	for len(j.fns) > 0 {
		fn := j.fns[0]
		j.fns = j.fns[1:]
		r.current = j.call
		v, err := r.enter(fn, r.peerOf(j.req.Conn()), r.rt.ToValue(j.req.Command))
		r.current = nil
		if err != nil && isFatal(err) {
			return // all judgements of the realm fail with it
		}
		if err != nil {
			var thrown *goja.Exception
			if errors.As(err, &thrown) {
				r.refuse(j, thrown.Value(), err)
			} else {
				r.refuse(j, nil, err)
			}
			return
		}
		if o, ok := v.(*goja.Object); ok {
			r.awaitJudgement(j, o)
			return
		}
		if !r.allows(j, v) {
			return
		}
	}
	r.judged(j, nil)
}

// awaitJudgement goes on with what a promise settles as, or what else is or has
// something that can be waited for.
func (r *realm) awaitJudgement(j *judgement, o *goja.Object) {
	ok := func(c goja.FunctionCall) goja.Value {
		v := c.Argument(0)
		r.post(func() { // native functions must not enter the script again
			if r.allows(j, v) {
				r.judge(j)
			}
		})
		return goja.Undefined()
	}
	no := func(c goja.FunctionCall) goja.Value {
		v := c.Argument(0)
		r.post(func() { r.refuse(j, v, nil) })
		return goja.Undefined()
	}
	promise, err := r.enter(r.fn.resolve, o)
	if err == nil {
		_, err = r.enter(r.fn.then, promise, r.rt.ToValue(ok), r.rt.ToValue(no))
	}
	if err != nil && !isFatal(err) {
		r.refuse(j, nil, err)
	}
}

// allows reads what an authorizer has returned: nothing, or what is true. If
// that refuses, it does so.
func (r *realm) allows(j *judgement, v goja.Value) bool {
	if v == nil || goja.IsUndefined(v) || v.ToBoolean() {
		return true
	}
	r.judged(j, ErrForbidden)
	return false
}

// refuse refuses because an authorizer threw: err is set if at once. The peer
// learns why from an amp.RemoteAmpError, the log from anything else.
func (r *realm) refuse(j *judgement, thrown goja.Value, err error) {
	no := ErrForbidden
	told := false
	if thrown != nil {
		_ = r.try(func() {
			if e := r.declared(&command{}, thrown); e != nil {
				no, told = &amp.Error{Code: ErrForbidden.Code, Description: e.Description, Fatal: e.Fatal}, true
			}
		})
	}
	if !told {
		var e *Error
		if err != nil {
			e = r.describe(err)
		} else {
			e = r.describeValue(thrown)
		}
		r.log.LogAttrs(r.w.ctx, slog.LevelWarn, "call refused: amp.authorize threw", append(j.call.attrs(), slog.Any("error", e))...)
	}
	r.judged(j, no)
}

// judged ends a judgement.
func (r *realm) judged(j *judgement, no error) {
	if r.judgements[j.id] == nil {
		return
	}
	delete(r.judgements, j.id)
	r.closers.remove(j)
	r.pending--
	j.done(no)
}
