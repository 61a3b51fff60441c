package scripting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dop251/goja"

	"github.com/amphost/amphost/amp"
)

// A refusal says what a plugin has no permission for, and what gives it.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// mayConnect asks Options.Net. It returns nil or a *refusal.
func (p *Plugin) mayConnect(address string, resolved netip.Addr) error {
	err := errors.New("plugins have no permission to connect anywhere")
	if p.opts.Net != nil {
		err = p.opts.Net(p.prog.Name, address, resolved)
	}
	if err == nil {
		return nil
	}
	return &refusal{fmt.Sprintf("%s may not connect to %s: %v", p.prog.Name, address, err)}
}

// dial opens a connection for a plugin that may connect to the address, "unix"
// and a path or "tcp" and "host:port". What a host's name stands for is checked
// where nothing can change it any more: between the lookup and the connection.
// A *refusal is returned as it is.
func (p *Plugin) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	if network != "unix" {
		d.ControlContext = func(_ context.Context, _, to string, _ syscall.RawConn) error {
			resolved, err := netip.ParseAddrPort(to)
			if err != nil {
				return err
			}
			return p.mayConnect(address, resolved.Addr().Unmap())
		}
	}
	nc, err := d.DialContext(ctx, network, address)
	if no, ok := errors.AsType[*refusal](err); ok {
		return nil, no
	}
	return nc, err
}

// tellRefusal logs why a connection that comes back by itself does not: once,
// for its calls just wait.
func tellRefusal(log *slog.Logger) func(*amp.Conn, error) {
	told := ""
	return func(_ *amp.Conn, err error) {
		if no, ok := errors.AsType[*refusal](err); ok && no.text != told {
			told = no.text
			log.Warn("amp.connect is refused, and calls wait", "error", no)
		}
	}
}

// envNatives are what amp.env is made of.
func (r *realm) envNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	may := func(name string) error {
		if r.w.p.opts.Env == nil {
			return errors.New("plugins have no permission to read the environment")
		}
		return r.w.p.opts.Env(r.prog.Name, name)
	}
	set("env", func(c goja.FunctionCall) goja.Value {
		name := c.Argument(0).String()
		if err := may(name); err != nil {
			panic(r.rt.NewTypeError("%s may not read the environment variable %s: %s", r.prog.Name, name, err))
		}
		if value, ok := os.LookupEnv(name); ok {
			return r.rt.ToValue(value)
		}
		return goja.Undefined()
	})
	set("envNames", func(goja.FunctionCall) goja.Value {
		list := []any{}
		for _, pair := range slices.Sorted(slices.Values(os.Environ())) {
			if name, _, _ := strings.Cut(pair, "="); name != "" && may(name) == nil {
				list = append(list, name)
			}
		}
		return r.rt.NewArray(list...)
	})
}
