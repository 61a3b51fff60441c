package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/host"
)

// amphost, with all limits, deadlines and logging as shipped.
var (
	amphostScript = contender{
		name: "script", title: "amphost, script", has: amphostVersion,
		start: func(ctx context.Context, b *bench) (*running, error) { return b.startAmphost(ctx, "") },
	}
	amphostWorkers = contender{
		name: "workers", title: "amphost, script, `workers: 2`", has: amphostVersion,
		start: func(ctx context.Context, b *bench) (*running, error) {
			return b.startAmphost(ctx, "export const plugin = { workers: 2 };\n")
		},
	}
	amphostGo = contender{
		name: "go", title: "amphost, Go responder", has: amphostVersion,
		start: func(ctx context.Context, b *bench) (*running, error) {
			return b.startAMP(ctx, b.self, "server", "amphost")
		},
	}
)

func amphostVersion(ctx context.Context) (string, error) { return revision(ctx), nil }

// startAmphost starts `amphost serve` with plugins/math.js, and more behind it.
func (b *bench) startAmphost(ctx context.Context, more string) (*running, error) {
	dir, err := b.mkdir("amphost")
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile("../plugins/math.js")
	if err != nil {
		return nil, err
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(plugins, "math.js"), append(source, more...), 0o600); err != nil {
		return nil, err
	}
	p, address, err := serve(ctx, b.amphost, plugins, dir)
	if err != nil {
		return nil, err
	}
	return b.runningAMP(p, address), nil
}

// SumArgs and SumResult are exported for net/rpc, which has them, too.
type SumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type SumResult struct {
	Total int `amp:"total"`
}

// serveAmphostGo embeds a host whose Sum is a Go function, beside a directory of
// plugins that is empty.
func serveAmphostGo(ctx context.Context, listen listen, _ []string) error {
	plugins, err := os.MkdirTemp("", "plugins")
	if err != nil {
		return err
	}
	defer os.RemoveAll(plugins)
	var commands amp.Mux
	amp.Command[SumArgs, SumResult]{Name: "Sum"}.HandleInline(&commands, func(_ context.Context, args SumArgs) (SumResult, error) {
		return SumResult{args.A + args.B}, nil
	})
	h, err := host.New(ctx, host.Config{
		Plugins:  plugins,
		Watch:    true,
		Commands: &commands,
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer h.Shutdown(ctx) // which has ended: at once
	l, err := listen()
	if err != nil {
		return err
	}
	return h.Serve(l)
}
