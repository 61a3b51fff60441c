package main

import "context"

// node is what people who write JavaScript would use instead: a library for AMP,
// ours for want of one that is kept up, as good as such a library would be.
// nodeTuned is how fast JavaScript can be if all is laid out for the commands
// that are declared: no text and no Buffer is made for a call.
var (
	node      = nodeContender("node", "Node.js", "node_sum.js")
	nodeTuned = nodeContender("node-tuned", "Node.js, without a text or Buffer per call", "node_tuned.js")
)

func nodeContender(name, title, script string) contender {
	return contender{
		name: name, title: title, needs: "nodejs",
		has: func(ctx context.Context) (string, error) { return output(ctx, "node", "--version") },
		start: func(ctx context.Context, b *bench) (*running, error) {
			return b.startAMP(ctx, "node", script)
		},
	}
}
