package scripting

import (
	"fmt"
	"strings"

	"github.com/dop251/goja"
)

// caller is where the script called into the prelude.
func (r *realm) caller() place {
	for _, p := range placesOf(r.rt.CaptureCallStack(0, nil)) {
		return p
	}
	return place{}
}

// mustLoad panics with a TypeError unless the plugin is loading.
func (r *realm) mustLoad(what string) {
	if !r.loading {
		panic(r.rt.NewTypeError("%s: declare it at the top of the plugin: once it is loaded its commands and handlers are fixed", what))
	}
}

// declareCommand is new amp.Command: (name, arguments, response, errors,
// requiresAnswer, switches) → its number.
func (r *realm) declareCommand(c goja.FunctionCall) goja.Value {
	name := c.Argument(0).String()
	r.mustLoad("new amp.Command(" + name + ")")
	cmd := &command{
		id: len(r.commands), name: name,
		arguments: r.readShape(c.Argument(1)), response: r.readShape(c.Argument(2)),
		answers: c.Argument(4).ToBoolean(), switches: c.Argument(5).ToBoolean(),
		place: r.caller(),
	}
	list := c.Argument(3).ToObject(r.rt)
	for i := range list.Get("length").ToInteger() {
		e := list.Get(fmt.Sprint(i)).ToObject(r.rt)
		cmd.errors = append(cmd.errors, errorClass{code: e.Get("0").String(), class: e.Get("1").ToObject(r.rt), fatal: e.Get("2").ToBoolean()})
	}
	r.commands = append(r.commands, cmd)
	return r.rt.ToValue(cmd.id)
}

// declareResponder is Command.responder: (number, function).
func (r *realm) declareResponder(c goja.FunctionCall) goja.Value {
	cmd := r.commands[c.Argument(0).ToInteger()]
	r.mustLoad(cmd.name + ".responder")
	at := r.caller()
	if other := r.responders[cmd.name]; other != nil {
		panic(r.rt.NewTypeError("%s has a responder already, at %s", cmd.name, other.fnPlace))
	}
	if err := checkCommandName(cmd.name); err != nil {
		panic(r.rt.NewTypeError("%s", err))
	}
	cmd.fn, _ = goja.AssertFunction(c.Argument(1))
	cmd.fnPlace = at
	cmd.seesPeer = r.maySee(c.Argument(1), 1)
	r.responders[cmd.name] = cmd
	return goja.Undefined()
}

// declareHandler is amp.onLoad and its like: (kind, function).
func (r *realm) declareHandler(c goja.FunctionCall) goja.Value {
	kind := c.Argument(0).String()
	r.mustLoad("amp." + kind)
	fn, _ := goja.AssertFunction(c.Argument(1))
	if kind == "unhandled" {
		at := r.caller()
		if r.unhandled != nil {
			panic(r.rt.NewTypeError("amp.unhandled was called already, at %s", r.unhandledPlace))
		}
		r.unhandledPlace = at.String()
		r.unhandled = &command{name: "(unhandled)", arguments: &shape{any: true}, response: &shape{any: true}, fn: fn, fnPlace: at}
		return goja.Undefined()
	}
	if kind == "save" && len(r.handlers[kind]) > 0 {
		panic(r.rt.NewTypeError("amp.hot.save was called already"))
	}
	r.handlers[kind] = append(r.handlers[kind], fn)
	return goja.Undefined()
}

// checkCommandName refuses the names that plugins can't answer.
func checkCommandName(name string) error {
	switch {
	case name == "StartTLS":
		return fmt.Errorf("StartTLS is answered by amphost itself")
	case strings.HasPrefix(name, "_"):
		return fmt.Errorf("%q: names that begin with _ are amphost's", name)
	case len(name) > 65535:
		return fmt.Errorf("a command's name has at most 65535 bytes")
	}
	return nil
}
