package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/amphost/amphost/scripting"
)

// firstPlugin is what to begin with where there are no plugins yet.
const firstPlugin = `import * as amp from "amphost";

const Hello = new amp.Command("Hello", { response: { text: amp.Unicode() } });
Hello.responder(() => ({ text: "hello, world" }));
`

// announce says what is served and how to begin: on stdout for people, in the
// log for programs.
func announce(stdout io.Writer, log *slog.Logger, f serveFlags, ends endpoints, plugins []scripting.Status) {
	addr := ends[0].shown()
	if f.log == logJSON {
		log.Info("listening", "address", addr, "plugins", f.plugins, "watch", f.watch, "store", f.store)
		logEndpoints(log, ends, plugins)
		for _, p := range plugins {
			if p.Generation > 0 {
				log.Info("plugin", "plugin", p.Name, "commands", commandLines(p))
			}
		}
		if len(plugins) == 0 {
			log.Warn(noPlugins(f))
		}
		return
	}
	var b strings.Builder
	for _, p := range ends[1:] {
		if p.commands() {
			addr += ", " + p.text()
		}
	}
	fmt.Fprintf(&b, "amphost listens on %s\n\n", addr)
	example := exampleCall(plugins)
	if len(plugins) == 0 {
		fmt.Fprintf(&b, "  plugins  %s\n           %s init%s makes a first one, or this will do as %s:\n\n",
			noPlugins(f), ownName(), dirArgument(filepath.Clean(f.plugins)), filepath.Join(f.plugins, "hello.js"))
		for line := range strings.Lines(firstPlugin) {
			fmt.Fprintf(&b, "             %s", line)
		}
		fmt.Fprintln(&b)
		example = "Hello"
	} else {
		fmt.Fprintf(&b, "  plugins  %s\n", whatBecomesOfChanges(f))
		writePlugins(&b, plugins)
	}
	writeEndpoints(&b, ends, plugins)
	fmt.Fprintf(&b, "  store    %s\n", f.store)
	if example != "" && !ends[0].secure {
		fmt.Fprintf(&b, "  try      %s call %s %s\n", ownName(), ends[0].text(), example)
	}
	fmt.Fprintln(&b)
	io.WriteString(stdout, b.String())
}

// noPlugins says why nothing is served and what to do.
func noPlugins(f serveFlags) string {
	what := "there is no plugin in " + f.plugins
	if _, err := os.Stat(f.plugins); errors.Is(err, fs.ErrNotExist) {
		what = "there is no directory " + f.plugins
	}
	if f.watch == watchOff {
		return what + ": save a plugin there and start again"
	}
	return what + " yet: save a plugin there and it is served at once"
}

// whatBecomesOfChanges says where plugins are, and when a change counts.
func whatBecomesOfChanges(f serveFlags) string {
	if f.watch == watchOff {
		return f.plugins + ", as they are now"
	}
	return f.plugins + ", replaced as they are saved"
}

// writePlugins writes a table of plugins and their commands.
func writePlugins(b *strings.Builder, plugins []scripting.Status) {
	width := 0
	for _, p := range plugins {
		width = max(width, len(p.Name))
	}
	for _, p := range plugins {
		rows := commandLines(p)
		switch {
		case p.Generation == 0:
			rows = []string{"not served: see the log"}
		case len(rows) == 0:
			rows = []string{"no commands"}
		}
		name := p.Name
		for _, row := range rows {
			fmt.Fprintf(b, "             %-*s  %s\n", width, name, row)
			name = ""
		}
	}
}

// commandLines returns what a plugin answers, a line for each command.
func commandLines(p scripting.Status) []string {
	var lines []string
	for _, c := range p.Commands {
		lines = append(lines, c.String())
	}
	return lines
}

// ownName returns what to type to run this program once more.
func ownName() string {
	path, err := os.Executable()
	switch {
	case err != nil:
		return "amphost"
	case strings.Contains(path, string(filepath.Separator)+"go-build"): // by go run
		return "go run ./cmd/amphost"
	}
	if found, err := exec.LookPath("amphost"); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil && found == path {
			return "amphost"
		}
	}
	return os.Args[0]
}

// reachable returns the address at which a client on this machine finds a
// listener that is there for every address.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}
