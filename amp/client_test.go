package amp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A lab is a server in memory that clients dial; it can be switched off.
type lab struct {
	down atomic.Bool

	mu    sync.Mutex // guards the fields below
	times []time.Time
	ends  []*Conn // the server's ends
}

var errDown = errors.New("the server is down")

func (l *lab) dial(context.Context) (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, time.Now())
	if l.down.Load() {
		return nil, errDown
	}
	a, b := Pipe(nil, mathMux())
	l.ends = append(l.ends, b)
	return a, nil
}

// dials returns when it was dialled.
func (l *lab) dials() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.times)
}

// cut closes the latest connection.
func (l *lab) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[len(l.ends)-1].Close()
}

func TestClientReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{}
		var states []string
		client := NewClient(l.dial, &ClientOptions{OnState: func(c *Conn, err error) {
			states = append(states, fmt.Sprint(c != nil, " ", err))
		}})
		defer client.Close()
		for i := range 3 {
			if got, err := sum.Call(t.Context(), client, sumArgs{i, 1}); err != nil || got.Total != i+1 {
				t.Errorf("Sum = %v, %v", got, err)
			}
			if box, err := client.Call(t.Context(), "Sum", Box{"a": []byte("1"), "b": []byte("2")}); err != nil || string(box["total"]) != "3" {
				t.Errorf("Sum = %v, %v", box, err)
			}
			l.cut()
			synctest.Wait()
		}
		want := "[true <nil> false EOF true <nil> false EOF true <nil> false EOF]"
		if got := fmt.Sprint(states); got != want {
			t.Errorf("the states were %s, want %s", got, want)
		}
	})
}

// Pauses grow up to their limit, partly by chance, and start anew after a
// connection that lasted.
func TestClientPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{}
		l.down.Store(true)
		client := NewClient(l.dial, &ClientOptions{MinPause: time.Second, MaxPause: 10 * time.Second})
		defer client.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		pause := time.Second
		dials := l.dials()
		for i := range len(dials) - 1 {
			got := dials[i+1].Sub(dials[i])
			if got < pause/2 || got > pause {
				t.Errorf("pause %d was %v, want %v to %v", i, got, pause/2, pause)
			}
			pause = min(2*pause, 10*time.Second)
		}
		if len(dials) < 9 || len(dials) > 16 {
			t.Errorf("dialled %d times in a minute", len(dials))
		}
		l.down.Store(false)
		if _, err := client.Conn(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		start := time.Now()
		l.cut()
		if _, err := sum.Call(t.Context(), client, sumArgs{1, 2}); err != nil {
			// The call may have been sent before the end was noticed.
			_, err = sum.Call(t.Context(), client, sumArgs{1, 2})
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("connected again after %v", took)
		}
	})
}

// A connection that ends at once does not count as one that lasted, however
// long dialling took: a server that accepts slowly and closes is not hammered.
func TestClientPausesAfterSlowDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		client := NewClient(func(context.Context) (*Conn, error) {
			dials = append(dials, time.Now())
			time.Sleep(5 * time.Second)
			a, b := Pipe(nil, nil)
			b.Close()
			return a, nil
		}, &ClientOptions{MinPause: time.Second, MaxPause: time.Minute})
		time.Sleep(time.Hour)
		client.Close()
		if n := len(dials); n > 160 { // with pauses of half a minute to a minute
			t.Errorf("dialled %d times in an hour", n)
		}
	})
}

func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{}
		l.down.Store(true)
		var states atomic.Int64
		client := NewClient(l.dial, &ClientOptions{MaxAttempts: 4, OnState: func(*Conn, error) { states.Add(1) }})
		defer client.Close()
		for range 2 {
			if _, err := sum.Call(t.Context(), client, sumArgs{1, 2}); !errors.Is(err, errDown) || err.Error() != "amp: gave up after 4 attempts to connect: the server is down" {
				t.Errorf("Sum = %v", err)
			}
		}
		if n := len(l.dials()); n != 4 || states.Load() != 4 {
			t.Errorf("%d attempts, %d states", n, states.Load())
		}
	})
}

// A call made while there is no connection waits for one (seed row 3), for its
// context, or for Close.
func TestCallsWaitForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{}
		l.down.Store(true)
		client := NewClient(l.dial, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := sum.Call(ctx, client, sumArgs{1, 2}); err != context.DeadlineExceeded {
			t.Errorf("Sum = %v", err)
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if got, err := sum.Call(t.Context(), client, sumArgs{i, 1}); err != nil || got.Total != i+1 {
					t.Errorf("Sum = %v, %v", got, err)
				}
			})
		}
		time.Sleep(time.Hour)
		l.down.Store(false)
		wg.Wait()

		l.down.Store(true)
		l.cut()
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if _, err := client.Call(t.Context(), "Sum", nil); err != ErrClosed {
					t.Errorf("a call of a closed client = %v", err)
				}
			})
		}
		synctest.Wait()
		client.Close()
		wg.Wait()
		if _, err := client.Conn(t.Context()); err != ErrClosed {
			t.Errorf("Conn after Close = %v", err)
		}
		client.Close()
	})
}

// A call that was sent and not answered fails: nobody knows whether it was
// executed.
func TestCallFailsWhenItsConnectionEnds(t *testing.T) {
	var conns atomic.Int64
	client := NewClient(func(context.Context) (*Conn, error) {
		conns.Add(1)
		a, b := net.Pipe()
		go func() {
			ReadBox(b)
			b.Close()
		}()
		return NewConn(a, nil, nil), nil
	}, nil)
	defer client.Close()
	if _, err := client.Call(t.Context(), "X", nil); err == nil {
		t.Error("the call was answered")
	}
	eventually(t, "it connects again", func() bool { return conns.Load() > 1 })
}

func TestCloseWhileDialling(t *testing.T) {
	dialling := make(chan struct{})
	client := NewClient(func(ctx context.Context) (*Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}, nil)
	<-dialling
	client.Close()
}

// The real thing: a server that goes away and comes back on its port.
func TestClientOverTCP(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	connected := make(chan struct{}, 10)
	client := NewClient(func(ctx context.Context) (*Conn, error) {
		return Dial(ctx, "tcp", addr, nil, nil)
	}, &ClientOptions{MinPause: time.Millisecond, MaxPause: 20 * time.Millisecond, OnState: func(c *Conn, _ error) {
		if c != nil {
			connected <- struct{}{}
		}
	}})
	defer client.Close()
	for range 3 {
		<-connected
		s := &Server{Handler: mathMux()}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		if got, err := sum.Call(t.Context(), client, sumArgs{1, 2}); err != nil || got.Total != 3 {
			t.Errorf("Sum = %v, %v", got, err)
		}
		s.Close()
		<-served
		var err error
		if l, err = net.Listen("tcp", addr); err != nil {
			t.Fatalf("listen again: %v", err)
		}
		t.Cleanup(func() { l.Close() })
	}
}
