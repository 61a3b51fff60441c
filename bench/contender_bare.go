package main

import (
	"context"
	"encoding/binary"
	"net"
	"runtime"
)

// bare parses boxes and writes fixed answers: no server that speaks AMP over
// Go's net package can be faster.
var bare = contender{
	name: "bare", title: "bare Go loop",
	has: func(context.Context) (string, error) { return runtime.Version(), nil },
	start: func(ctx context.Context, b *bench) (*running, error) {
		return b.startAMP(ctx, b.self, "server", "bare")
	},
}

func serveBare(_ context.Context, l listen, _ []string) error { return accept(l, answerBoxes) }

// answerBoxes answers each box with the total 3, and with one write all that
// came with one read.
func answerBoxes(nc net.Conn) {
	defer nc.Close()
	in := make([]byte, 64<<10)
	var out []byte
	have := 0
	for {
		n, err := nc.Read(in[have:])
		if err != nil {
			return
		}
		have += n
		out = out[:0]
		rest := in[:have]
		for {
			tag, size := parseBox(rest)
			if size == 0 {
				break
			}
			rest = rest[size:]
			out = append(out, "\x00\x07_answer\x00"...)
			out = append(out, byte(len(tag)))
			out = append(out, tag...)
			out = append(out, "\x00\x05total\x00\x013\x00\x00"...)
		}
		have = copy(in, rest)
		if _, err := nc.Write(out); err != nil || have == len(in) {
			return
		}
	}
}

// parseBox returns the tag of the call at the start of b, which is shorter than
// 256 bytes, and how long its box is: 0 if it is not all there.
func parseBox(b []byte) (tag []byte, size int) {
	for at := 0; at+2 <= len(b); {
		keyLength := int(binary.BigEndian.Uint16(b[at:]))
		at += 2
		if keyLength == 0 {
			return tag, at
		}
		valueAt := at + keyLength + 2
		if valueAt > len(b) {
			break
		}
		end := valueAt + int(binary.BigEndian.Uint16(b[valueAt-2:]))
		if end > len(b) {
			break
		}
		if string(b[at:at+keyLength]) == "_ask" {
			tag = b[valueAt:end]
		}
		at = end
	}
	return nil, 0
}
