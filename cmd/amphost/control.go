package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
)

// A control is the socket through which other amphost commands talk to one
// that serves. It speaks AMP, and carries descriptors.
//
// It lies beside the store, and only its owner can open it: who can, can read
// the store. Commands are handlers of its mux.
type control struct {
	mux      amp.Mux
	path     string
	listener net.Listener
	server   amp.Server
	serving  sync.WaitGroup
}

// controlOff is the path that stands for no socket at all.
const controlOff = "off"

// controlPath returns where the control socket of a store is, if path is what
// --control says, and "" if there is none.
func controlPath(path, store string) string {
	switch path {
	case controlOff:
		return ""
	case "":
		return store + ".sock"
	}
	return path
}

// openControl makes the control socket at path, or nothing if path is "". It
// answers once serve is called. The socket of a server that has died is
// replaced.
func openControl(path string, log *slog.Logger) (*control, error) {
	c := &control{path: path}
	if path == "" {
		return c, nil
	}
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// Its mode must be right before somebody else can connect.
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return privateSocket(raw) }}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err == nil {
		if err = os.Chmod(path, 0o600); err != nil {
			l.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w: name another with --control, or do without with --control off", path, cause(err))
	}
	c.listener = l
	c.server.Handler = &c.mux
	c.server.Options = &amp.Options{Logger: log}
	return c, nil
}

// serve begins to answer.
func (c *control) serve() {
	if c.listener != nil {
		c.serving.Go(func() { c.server.Serve(c.listener) }) // ends with close
	}
}

// close ends it, and waits a moment for what it is doing. What is under way
// then is cut off: its context ends.
func (c *control) close() {
	if c.listener == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.server.Shutdown(ctx)
	c.listener.Close() // if it never served
	c.serving.Wait()
}

// maxSocketPath is how long the path of a UNIX socket may be: its place in the
// system's structure, less the zero byte at its end.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("control socket %s: its path has %d bytes, and the system takes %d: name a shorter one with --control, or do without with --control off", path, len(path), maxSocketPath)
	}
	return nil
}

// removeStale removes the socket that a dead server has left at path.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: there is something else of that name: remove it, or name another with --control", path)
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		nc.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) { // also if it is too busy to answer
		return fmt.Errorf("control socket %s: another server listens on it: name another with --control", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

var errNoServer = errors.New("no server listens")

// dialControl connects to the server whose control socket is at path.
func dialControl(ctx context.Context, path string) (*amp.Conn, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	conn, err := amp.Dial(ctx, "unix", path, nil, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on the control socket %s", errNoServer, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the control socket %s is another user's: run this as %s", path, ownerOf(path))
	case err != nil:
		return nil, fmt.Errorf("control socket %s: %w", path, cause(err))
	}
	return conn, nil
}

// cause takes what is said already out of an error of packages net and os.
func cause(err error) error {
	for {
		switch e := err.(type) {
		case *net.OpError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		case *fs.PathError:
			err = e.Err
		default:
			return err
		}
	}
}

// controlFlags say where a server's control socket is.
type controlFlags struct {
	store, control string
	json           bool
}

func (f *controlFlags) add(cmd *cobra.Command) *cobra.Command {
	flags := cmd.Flags()
	flags.StringVar(&f.store, "store", defaultStore, "`file` of the server's store, beside which its control socket is")
	flags.StringVar(&f.control, "control", "", "control `socket` of the server (default the store's name and .sock)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// dial connects to the server.
func (f *controlFlags) dial(ctx context.Context) (*amp.Conn, error) {
	path := controlPath(f.control, f.store)
	if path == "" {
		return nil, errors.New("--control off is no server: name its control socket")
	}
	conn, err := dialControl(ctx, path)
	if errors.Is(err, errNoServer) {
		return nil, fmt.Errorf("%w: name the server's store with --store, or its socket with --control", err)
	}
	return conn, err
}

// explainControl says what an error of a call means.
func explainControl(err error) error {
	if errors.Is(err, amp.ErrUnhandled) {
		return errors.New("what listens on the control socket is no amphost of this version")
	}
	if e, ok := errors.AsType[*amp.Error](err); ok && errors.Is(err, errReload) {
		return errors.New(strings.TrimPrefix(e.Description, errReload.Error()+": "))
	}
	return err
}
