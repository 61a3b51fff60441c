package amp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/rpc"
	"testing"
	"time"
)

// bare answers Sum with fixed boxes: it reads boxes and writes answers, and
// does nothing else. It is the limit of what a server can reach.
func bare(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			r := bufio.NewReaderSize(nc, 64<<10)
			var out []byte
			for {
				var tag [16]byte
				n := 0
				for {
					head, err := r.Peek(2)
					if err != nil {
						return
					}
					key := int(head[1])
					if key == 0 {
						r.Discard(2)
						break
					}
					pair, err := r.Peek(2 + key + 2)
					if err != nil {
						return
					}
					size := int(pair[2+key])<<8 | int(pair[3+key])
					isAsk := string(pair[2:2+key]) == keyAsk
					r.Discard(4 + key)
					if isAsk {
						value, err := r.Peek(size)
						if err != nil {
							return
						}
						n = copy(tag[:], value)
					}
					r.Discard(size)
				}
				out = append(out, "\x00\x07_answer\x00"...)
				out = append(out, byte(n))
				out = append(out, tag[:n]...)
				out = append(out, "\x00\x05total\x00\x0294\x00\x00"...)
				if r.Buffered() == 0 {
					if _, err := nc.Write(out); err != nil {
						return
					}
					out = out[:0]
				}
			}
		}()
	}
}

// RPCMath, RPCArgs and RPCResult are exported for net/rpc, which asks for it.
type RPCMath struct{}

type RPCArgs struct{ A, B int }

type RPCResult struct{ Total int }

func (RPCMath) Sum(args *RPCArgs, result *RPCResult) error {
	result.Total = args.A + args.B
	return nil
}

func inlineMux() *Mux {
	m := new(Mux)
	sum.HandleInline(m, func(_ context.Context, args sumArgs) (sumResult, error) {
		return sumResult{args.A + args.B}, nil
	})
	return m
}

// BenchmarkCall calls Sum over TCP loopback with 1, 64 and 512 calls in flight
// on one connection: client and server share the machine.
func BenchmarkCall(b *testing.B) {
	typed := func(b *testing.B, c *Conn) {
		if got, err := sum.Call(context.Background(), c, sumArgs{13, 81}); err != nil || got.Total != 94 {
			b.Error(got, err)
		}
	}
	untyped := func(b *testing.B, c *Conn) {
		got, err := c.Call(context.Background(), "Sum", Box{"a": []byte("13"), "b": []byte("81")})
		if err != nil || string(got["total"]) != "94" {
			b.Error(got, err)
		}
	}
	run := func(b *testing.B, inFlight int, call func()) {
		b.ReportAllocs()
		b.SetParallelism(max(1, inFlight/2)) // times GOMAXPROCS, see below
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call()
			}
		})
	}
	for _, inFlight := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("bare/%d", inFlight), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go bare(l)
			c := dial(b, l.Addr().String(), nil, nil)
			run(b, inFlight, func() { typed(b, c) })
		})
		b.Run(fmt.Sprintf("go/%d", inFlight), func(b *testing.B) {
			c := dial(b, serve(b, &Server{Handler: mathMux()}), nil, nil)
			run(b, inFlight, func() { typed(b, c) })
		})
		b.Run(fmt.Sprintf("inline/%d", inFlight), func(b *testing.B) {
			c := dial(b, serve(b, &Server{Handler: inlineMux()}), nil, nil)
			run(b, inFlight, func() { typed(b, c) })
		})
		b.Run(fmt.Sprintf("untyped/%d", inFlight), func(b *testing.B) {
			c := dial(b, serve(b, &Server{Handler: mathMux()}), nil, nil)
			run(b, inFlight, func() { untyped(b, c) })
		})
		b.Run(fmt.Sprintf("netrpc/%d", inFlight), func(b *testing.B) {
			server := rpc.NewServer()
			if err := server.RegisterName("Math", RPCMath{}); err != nil {
				b.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() { // ends with l; server.Accept would log that
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					go server.ServeConn(nc)
				}
			}()
			client, err := rpc.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			run(b, inFlight, func() {
				var got RPCResult
				if err := client.Call("Math.Sum", &RPCArgs{13, 81}, &got); err != nil || got.Total != 94 {
					b.Error(got, err)
				}
			})
		})
	}
}

func BenchmarkAppendBox(b *testing.B) {
	box := Box{"_ask": []byte("1f"), "_command": []byte("Sum"), "a": []byte("13"), "b": []byte("81")}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, _ = box.Append(buf[:0])
	}
}

func BenchmarkReadBox(b *testing.B) {
	wire, _ := Box{"_ask": []byte("1f"), "_command": []byte("Sum"), "a": []byte("13"), "b": []byte("81")}.Append(nil)
	b.ReportAllocs()
	r := bytes.NewReader(nil)
	for b.Loop() {
		r.Reset(wire)
		if _, err := ReadBox(r); err != nil {
			b.Fatal(err)
		}
	}
}

// marshalled has a value of most types.
type marshalled struct {
	ID    int64     `amp:"id"`
	Name  string    `amp:"name"`
	Key   []byte    `amp:"key"`
	Half  float64   `amp:"half"`
	Yes   bool      `amp:"yes"`
	When  time.Time `amp:"when"`
	Price Decimal   `amp:"price"`
	List  []int     `amp:"list"`
	Rows  []sumArgs `amp:"rows"`
}

func marshalledValue() *marshalled {
	return &marshalled{
		7, "ada", []byte("key"), 0.5, true, time.Date(2012, 1, 23, 12, 34, 56, 0, time.UTC), NewDecimal(1999, -2),
		[]int{1, 2, 3}, []sumArgs{{13, 81}, {1, 5}},
	}
}

func BenchmarkMarshal(b *testing.B) {
	v := marshalledValue()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	box, err := Marshal(marshalledValue())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var v marshalled
		if err := Unmarshal(box, &v); err != nil {
			b.Fatal(err)
		}
	}
}
