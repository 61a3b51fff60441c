package main

import "context"

// python is the one that Debian's python3-twisted is for.
const python = "/usr/bin/python3"

var twisted = contender{
	name: "twisted", title: "Twisted", needs: "python3-twisted",
	has: func(ctx context.Context) (string, error) {
		return output(ctx, python, "-c", "import platform, twisted; print(twisted.__version__, 'on CPython', platform.python_version())")
	},
	start: func(ctx context.Context, b *bench) (*running, error) {
		return b.startAMP(ctx, python, "twisted_sum.py")
	},
}
