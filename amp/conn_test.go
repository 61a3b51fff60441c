package amp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

type sumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type sumResult struct {
	Total int `amp:"total"`
}

var sum = Command[sumArgs, sumResult]{Name: "Sum"}

var errZero = errors.New("division by zero")

type divideArgs struct {
	Numerator   int `amp:"numerator"`
	Denominator int `amp:"denominator"`
}

type divideResult struct {
	Result float64 `amp:"result"`
}

var divide = Command[divideArgs, divideResult]{
	Name:   "Divide",
	Errors: ErrorCodes{{"ZERO_DIVISION", errZero}},
}

func mathMux() *Mux {
	m := new(Mux)
	sum.Handle(m, func(_ context.Context, args sumArgs) (sumResult, error) {
		return sumResult{args.A + args.B}, nil
	})
	divide.Handle(m, func(_ context.Context, args divideArgs) (divideResult, error) {
		if args.Denominator == 0 {
			return divideResult{}, fmt.Errorf("divide %d: %w", args.Numerator, errZero)
		}
		return divideResult{float64(args.Numerator) / float64(args.Denominator)}, nil
	})
	return m
}

// serve starts a server on loopback and returns its address.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != ErrServerClosed {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return l.Addr().String()
}

func dial(t testing.TB, addr string, h Handler, opts *Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), "tcp", addr, h, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-c.Done() })
	return c
}

func TestTypedCallsAndDeclaredErrors(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: mathMux()}), nil, nil)
	if got, err := sum.Call(t.Context(), c, sumArgs{13, 81}); err != nil || got.Total != 94 {
		t.Errorf("Sum(13, 81) = %v, %v, want 94", got, err)
	}
	_, err := divide.Call(t.Context(), c, divideArgs{1, 0})
	if !errors.Is(err, errZero) || !errors.Is(err, &Error{Code: "ZERO_DIVISION"}) {
		t.Errorf("Divide(1, 0) fails with %v, want errZero with its code", err)
	}
	if got, err := divide.Call(t.Context(), c, divideArgs{1, 4}); err != nil || got.Result != 0.25 {
		t.Errorf("Divide(1, 4) after an error = %v, %v, want 0.25", got, err)
	}
	if _, err := c.Call(t.Context(), "Nope", nil); !errors.Is(err, ErrUnhandled) || err.(*Error).Description != "Unhandled Command: b'Nope'" {
		t.Errorf("an unknown command fails with %v", err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	c := dial(t, serve(t, &Server{Handler: mathMux()}), nil, nil)
	var wg sync.WaitGroup
	for i := range 5000 {
		wg.Go(func() {
			got, err := sum.Call(t.Context(), c, sumArgs{i, 1})
			if err != nil || got.Total != i+1 {
				t.Errorf("Sum(%d, 1) = %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}
