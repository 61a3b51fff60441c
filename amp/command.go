package amp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"unsafe"
)

// A Command is a command's name on the wire with the Go types of its arguments
// and its response, which are structs as Marshal takes them. Both ends declare
// it once and share it; it is a value without state.
//
//	var Divide = amp.Command[DivideArgs, DivideResult]{
//		Name:   "Divide",
//		Errors: amp.ErrorCodes{{"ZERO_DIVISION", ErrZeroDivision}},
//	}
type Command[Args, Result any] struct {
	Name string

	// Errors gives codes to the errors that answer the command. The first whose
	// Err the handler's error is, by errors.Is, decides; so an error that wraps
	// a declared one has its code. At the calling end a code becomes an *Error
	// that wraps the declared one. FatalErrors are compared after Errors, and
	// close the connection once they are written.
	Errors      ErrorCodes
	FatalErrors ErrorCodes

	// NoAnswer makes Call ask for no answer, return once the command is queued,
	// and report nothing of how it went: Twisted's requiresAnswer = False. It
	// is the caller's choice alone (item G6).
	NoAnswer bool

	// Quit closes the connection once the answer is written: Twisted's
	// QuitBox as responseType.
	Quit bool
}

// Call sends the command and waits for its answer, as Conn.Call does. An
// answer that does not decode is an error of the call; the connection stays.
func (cmd Command[Args, Result]) Call(ctx context.Context, caller Caller, args Args) (Result, error) {
	var result Result
	c, err := caller.callConn(ctx)
	if err != nil {
		return result, err
	}
	argsPlan, err := planFor(reflect.TypeFor[Args]())
	if err != nil {
		return result, err
	}
	resultPlan, err := planFor(reflect.TypeFor[Result]())
	if err != nil {
		return result, err
	}
	send := &sending{plan: argsPlan, value: reflect.ValueOf(&args).Elem()}
	if cmd.NoAnswer {
		return result, c.post(ctx, cmd.Name, send)
	}
	err = c.call(ctx, cmd.Name, send, func(pairs []byte) error {
		d := decoder{}
		if resultPlan.hasFiles() {
			d.file = c.takeFile
		}
		if err := d.decodeStruct(resultPlan, pairs, reflect.ValueOf(&result)); err != nil {
			return fmt.Errorf("amp: answer to %s: %w", cmd.Name, err)
		}
		return nil
	})
	return result, declaredError(err, cmd.Errors, cmd.FatalErrors)
}

// Handle has m answer the command with fn. Each call runs in a goroutine of
// its own, so calls of one connection may overtake each other. Arguments that
// are missing or malformed never reach fn. ctx ends when the connection does;
// ConnFrom finds the connection in it, to call back over, for instance. It
// panics, as Mux.Handle does, if Args or Result is no struct that AMP can carry.
func (cmd Command[Args, Result]) Handle(m *Mux, fn func(ctx context.Context, args Args) (Result, error)) {
	cmd.handle(m, true, fn)
}

// HandleInline is Handle for functions that never block: fn runs on the
// connection's reading goroutine, in the order in which commands arrive, which
// saves a goroutine for each. It must not call back over the connection.
func (cmd Command[Args, Result]) HandleInline(m *Mux, fn func(ctx context.Context, args Args) (Result, error)) {
	cmd.handle(m, false, fn)
}

func (cmd Command[Args, Result]) handle(m *Mux, spawn bool, fn func(ctx context.Context, args Args) (Result, error)) {
	t := &typed[Args, Result]{cmd: cmd, fn: fn, args: mustPlan[Args](cmd.Name), result: mustPlan[Result](cmd.Name)}
	t.direct = reflect.TypeFor[Args]().Kind() == reflect.Struct
	t.early = !cmd.Quit && !t.result.hasFiles() && reflect.TypeFor[Result]().Kind() == reflect.Struct
	m.Handle(cmd.Name, commandHandler(func(r *Request) {
		j := t.job(r)
		args := unsafe.Pointer(&j.args)
		if !t.direct {
			args = structOf(reflect.ValueOf(&j.args))
		}
		if err := r.decode(t.args, args); err != nil {
			r.Fail(err)
			j.end()
			return
		}
		switch {
		case spawn:
			r.patient = true
			r.spawn(j)
		case r.lent:
			j.answer() // a panic is the reader's: see serve
		default:
			j.run()
		}
	}))
}

// A commandHandler is the handler of a Command. It keeps no request.
type commandHandler func(r *Request)

// ServeAMP calls h.
func (h commandHandler) ServeAMP(r *Request) { h(r) }

// ForgetsRequests implements Forgetful.
func (h commandHandler) ForgetsRequests() {}

// typed is a handler function with its types.
type typed[Args, Result any] struct {
	cmd    Command[Args, Result]
	fn     func(ctx context.Context, args Args) (Result, error)
	args   *plan
	result *plan
	direct bool      // Args is a struct, and not a pointer to one
	early  bool      // an answer may be written as it is encoded
	jobs   sync.Pool // of *typedJob[Args, Result]
}

// A typedJob is one call of it.
type typedJob[Args, Result any] struct {
	*typed[Args, Result]
	r      *Request
	args   Args
	result Result

	scratch []byte // for the box of an answer
}

// job returns a job for a request.
func (t *typed[Args, Result]) job(r *Request) *typedJob[Args, Result] {
	var j *typedJob[Args, Result]
	if r.lent { // the next in a batch is likely of the same command
		if j, _ = r.conn.spareJob.(*typedJob[Args, Result]); j != nil && j.typed == t {
			r.conn.spareJob = nil
			j.r = r
			return j
		}
	}
	if j, _ = t.jobs.Get().(*typedJob[Args, Result]); j == nil {
		j = &typedJob[Args, Result]{typed: t}
	}
	j.r = r
	return j
}

func (j *typedJob[Args, Result]) run() {
	defer j.r.recoverHandler()
	j.answer()
}

func (j *typedJob[Args, Result]) answer() {
	r := j.r
	var err error
	if j.result, err = j.fn(r.ctx, j.args); err != nil {
		r.Fail(codedError(err, j.cmd.Errors, j.cmd.FatalErrors))
	} else {
		j.succeed()
	}
	j.end()
}

// succeed answers with the result.
func (j *typedJob[Args, Result]) succeed() {
	r, p := j.r, j.typed.result
	if !r.lent || !r.asked || !j.early {
		r.answerStruct(p, reflect.ValueOf(&j.result).Elem(), j.cmd.Quit)
		return
	}
	e := encoder{buf: j.scratch[:0], first: -1}
	if err := e.answer(p, r.tag, unsafe.Pointer(&j.result)); err != nil {
		r.Fail(fmt.Errorf("answer %s: %w", r.Command, err))
		return
	}
	r.answerEarly(e.buf)
	if cap(e.buf) <= keepScratch {
		j.scratch = e.buf
	}
}

// keepScratch is the largest buffer that a job keeps.
const keepScratch = 4 << 10

// end gives the job and its request back.
func (j *typedJob[Args, Result]) end() {
	var args Args
	var result Result
	r := j.r
	j.r, j.args, j.result = nil, args, result
	if r.lent {
		r.conn.keepJob(j)
		return
	}
	r.release()
	j.free()
}

// free gives the job back.
func (j *typedJob[Args, Result]) free() { j.jobs.Put(j) }

// mustPlan returns how a type of a command travels, or panics: a programmer's
// mistake, found at start-up.
func mustPlan[T any](command string) *plan {
	p, err := planFor(reflect.TypeFor[T]())
	if err != nil {
		panic(fmt.Sprintf("amp: command %s: %v", command, err))
	}
	return p
}

// answerStruct answers with a struct.
func (r *Request) answerStruct(p *plan, v reflect.Value, quit bool) {
	if p.hasFiles() && r.conn != nil && r.asked {
		r.answerFiles(p, v, quit)
		return
	}
	scratch := buffers.Get().(*buffer)
	e := encoder{buf: scratch.b[:0], first: -1}
	if err := e.encodeStruct(p, v); err != nil {
		r.Fail(fmt.Errorf("answer %s: %w", r.Command, err))
	} else {
		r.answer(e.buf, quit)
	}
	scratch.b = e.buf
	scratch.release()
}

// codedError gives a handler's error the code that the command declares.
func codedError(err error, codes, fatal ErrorCodes) error {
	for i, list := range [...]ErrorCodes{codes, fatal} {
		for _, declared := range list {
			target := declared.Err
			if target == nil {
				target = &Error{Code: declared.Code}
			}
			if !errors.Is(err, target) {
				continue
			}
			e := &Error{Code: declared.Code, Fatal: i == 1}
			if i == 0 {
				// Declared as both, it is fatal (item E4.3).
				for _, f := range fatal {
					if f.Err != nil && f.Err == declared.Err {
						e.Code, e.Fatal = f.Code, true
					}
				}
			}
			if sent, ok := errors.AsType[*Error](err); ok {
				e.Description = sent.Description
			} else {
				e.Description = err.Error()
			}
			return e
		}
	}
	return err
}

// declaredError makes an error that the peer sent wrap the Go error that the
// command declares for its code.
func declaredError(err error, codes, fatal ErrorCodes) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	for _, list := range [...]ErrorCodes{codes, fatal} {
		for _, declared := range list {
			if declared.Code == e.Code && declared.Err != nil {
				d := *e
				d.err = declared.Err
				return &d
			}
		}
	}
	return err
}
