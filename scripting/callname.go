package scripting

import (
	"github.com/dop251/goja"
)

// askNamed is amp.call of a command that is named and not declared: (name,
// arguments, timeout). Its types are those that the plugin which answers it
// has declared.
func (r *realm) askNamed(c goja.FunctionCall) goja.Value {
	name := c.Argument(0).String()
	s, ok := r.w.p.hub.describe(name)
	if !ok {
		panic(r.rt.NewTypeError("amp.call: no plugin here answers %q, so its types are not known: declare it with new amp.Command, and call that", name))
	}
	return r.askFor(&command{name: name, arguments: s.arguments, response: s.response, answers: true}, c)
}

// describe returns what a plugin of the directory answers a command with.
func (d *Dir) describe(command string) (Signature, bool) {
	if p := d.table.Load().commands[command]; p != nil {
		return p.describe(command)
	}
	return Signature{}, false
}

func (p *Plugin) describe(command string) (Signature, bool) {
	for _, s := range p.signatures {
		if s.Name == command {
			return s, true
		}
	}
	return Signature{}, false
}
