package amp

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// countingConn counts its writes.
type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// startBatch starts a connection whose requests wait in a channel, and asks n
// things over it.
func startBatch(t *testing.T, n int) (*countingConn, *peer, chan *Request) {
	a, b := net.Pipe()
	counted := &countingConn{Conn: a}
	requests := make(chan *Request, n)
	c := NewConn(counted, HandlerFunc(func(r *Request) { requests <- r }), nil)
	p := &peer{t, b, bufio.NewReader(b)}
	t.Cleanup(func() { b.Close(); c.Close(); <-c.Done() })
	var asks [][]string
	for i := range n {
		asks = append(asks, ask(fmt.Sprint(i), "Any"))
	}
	p.send(asks...)
	return counted, p, requests
}

func TestBatchIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5
		conn, p, requests := startBatch(t, n)
		synctest.Wait() // what is answered while the reader is at it waits for the reader
		var b Batch
		for i := range n {
			r := <-requests
			b.Add(r)
			if i%2 == 0 {
				r.Answer(nil)
			} else {
				r.Fail(&Error{Code: "ODD"})
			}
		}
		synctest.Wait()
		if got := conn.writes.Load(); got != 0 {
			t.Errorf("%d writes before Flush", got)
		}
		b.Flush()
		for i := range n {
			if box, err := p.next(); err != nil || string(box["_answer"])+string(box["_error"]) != fmt.Sprint(i) {
				t.Errorf("answer %d is %q, %v", i, box, err)
			}
		}
		if got := conn.writes.Load(); got != 1 {
			t.Errorf("%d writes, want 1", got)
		}
		b.Flush() // of nothing
		synctest.Wait()
		if got := conn.writes.Load(); got != 1 {
			t.Errorf("%d writes after another Flush", got)
		}
	})
}

// What is not flushed is written all the same, soon, however often others are.
func TestBatchWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Batch
		for _, flushed := range []int{0, 1, 3} {
			conn, p, requests := startBatch(t, 10)
			synctest.Wait()
			for range flushed {
				r := <-requests
				b.Add(r)
				r.Answer(nil)
				b.Flush()
				if _, err := p.next(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(batchTime / 2)
			}
			before := conn.writes.Load()
			r := <-requests
			b.Add(r)
			r.Answer(nil)
			began := time.Now()
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took <= 0 || took > 2*batchTime {
				t.Errorf("after %d times Flush it took %v, want at most %v", flushed, took, 2*batchTime)
			}
			if got := conn.writes.Load() - before; got != 1 {
				t.Errorf("%d writes, want 1", got)
			}
		}
	})
}

// Anything else that is written takes along what waits; what ends the connection
// does not wait.
func TestBatchIsNoDelayForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p, requests := startBatch(t, 5)
		synctest.Wait()
		var b, other Batch
		began := time.Now()
		r := <-requests
		b.Add(r)
		r.Answer(nil)
		(<-requests).Answer(nil)
		p.want("_answer", "0")
		p.want("_answer", "1")

		r = <-requests
		b.Add(r)
		r.Answer(nil)
		r = <-requests
		other.Add(r)
		r.Answer(nil)
		other.Flush()
		p.want("_answer", "2")
		p.want("_answer", "3")
		b.Flush()

		r = <-requests
		b.Add(r)
		r.Quit(nil)
		p.want("_answer", "4")
		p.wantEnd()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if got := conn.writes.Load(); got != 3 {
			t.Errorf("%d writes, want 3", got)
		}
	})
}

// A connection may end while answers wait.
func TestBatchOutlivesConnections(t *testing.T) {
	_, p, requests := startBatch(t, 2)
	var b Batch
	r := <-requests
	b.Add(r)
	r.Answer(nil)
	r.Conn().Close()
	<-r.Conn().Done()
	b.Flush()
	r = <-requests
	b.Add(r)
	r.Answer(nil)
	b.Flush()
	p.wantEnd()
}

// Nothing is lost or swapped when answers are given, flushed and written at once.
func TestBatchUnderLoad(t *testing.T) {
	var b Batch
	requests := make(chan *Request, 100)
	var answering sync.WaitGroup
	answering.Go(func() { // ends when requests is closed
		n := 0
		for r := range requests {
			b.Add(r)
			r.AnswerPairs(r.Pairs())
			if n++; n%7 == 0 {
				b.Flush()
			}
		}
	})
	addr := serve(t, &Server{Handler: HandlerFunc(func(r *Request) { requests <- r })})
	var wg sync.WaitGroup
	for range 4 {
		c := dial(t, addr, nil, nil)
		wg.Go(func() {
			slots := make(chan struct{}, 50)
			for i := range 2000 {
				slots <- struct{}{}
				wg.Add(1)
				want := fmt.Sprint(i)
				c.Go("Any", Box{"n": []byte(want)}, func(box Box, err error) {
					if err != nil || string(box["n"]) != want {
						t.Errorf("call %s is answered by %q, %v", want, box, err)
					}
					<-slots
					wg.Done()
				})
			}
		})
	}
	wg.Wait()
	close(requests)
	answering.Wait()
}
