package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/amphost/amphost/amp"
)

// testBench is a bench whose loads are short.
func testBench(t *testing.T) *bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{amphost: amphostBinary(t), self: self, dir: t.TempDir(), rounds: 1, time: 100 * time.Millisecond}
}

// need skips a test of a contender that is not on this machine. With CI set it
// fails for those that make needs installs.
func need(t *testing.T, c contender) {
	t.Helper()
	_, err := c.has(t.Context())
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" && (c.needs == "python3-twisted" || c.needs == "nodejs") {
		t.Fatalf("%v: apt-get install %s", err, c.needs)
	}
	t.Skipf("SKIPPED, NOT PASSED: %v: apt-get install %s", err, c.needs)
}

// Every contender that is on the machine answers every load without an error,
// and is charged for it. A load checks what it is answered.
func TestContenders(t *testing.T) {
	b := testBench(t)
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			need(t, c)
			runs, err := b.measure(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range shapes {
				if r := runs[s]; r.rate <= 0 || r.p50 <= 0 || r.p99 < r.p50 {
					t.Errorf("%s at %v: %+v, want a rate and latencies", c.name, s, r)
				}
			}
		})
	}
}

// The contenders of AMP answer what they are asked, however it arrives: none of
// them is fast because it does less.
func TestContendersSpeakAMP(t *testing.T) {
	b := testBench(t)
	for _, c := range []contender{amphostScript, amphostWorkers, amphostGo, twisted, node, nodeTuned} {
		t.Run(c.name, func(t *testing.T) {
			need(t, c)
			server, err := c.start(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := server.stop(); err != nil {
					t.Error(err)
				}
			})
			conn, err := amp.Dial(t.Context(), "tcp", server.address, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, sum := range [][3]string{{"13", "81", "94"}, {"-7", "3", "-4"}, {"+4", "5", "9"}, {"123456789012", "1", "123456789013"}} {
				answer, err := conn.Call(t.Context(), "Sum", amp.Box{"a": []byte(sum[0]), "b": []byte(sum[1])})
				if err != nil || string(answer["total"]) != sum[2] {
					t.Errorf("%s + %s = %s, %v, want %s", sum[0], sum[1], answer["total"], err, sum[2])
				}
			}
			if _, err := conn.Call(t.Context(), "Nothing", nil); err == nil || !strings.Contains(err.Error(), "UNHANDLED") {
				t.Errorf("a command that is not there: error %v, want UNHANDLED", err)
			}
			answersInPieces(t, server.address, 94)
		})
	}
}

// The bare loop answers all that it is asked, if always the same.
func TestBareLoop(t *testing.T) {
	server, err := bare.start(t.Context(), testBench(t))
	if err != nil {
		t.Fatal(err)
	}
	answersInPieces(t, server.address, 3)
	if err := server.stop(); err != nil {
		t.Error(err)
	}
}

// answersInPieces asks a server for 13 + 81 twice, in pieces of every size.
func answersInPieces(t *testing.T, address string, total int) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(nc)
	ask, err := amp.Box{"_ask": []byte("t1"), "_command": []byte("Sum"), "a": []byte("13"), "b": []byte("81")}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	ask = append(ask, bytes.Replace(ask, []byte("t1"), []byte("t2"), 1)...)
	for cut := 1; cut < len(ask); cut += 7 {
		for _, piece := range [][]byte{ask[:cut], ask[cut:]} {
			if _, err := nc.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		for _, tag := range []string{"t1", "t2"} {
			answer, err := amp.ReadBox(r)
			if err != nil || string(answer["_answer"]) != tag || string(answer["total"]) != fmt.Sprint(total) {
				t.Fatalf("cut at %d: answer %q, %v, want total %d for %s", cut, answer, err, total, tag)
			}
		}
	}
}

// The times of a pipeline are from when a call went out to when it was answered.
func TestPipelineTimes(t *testing.T) {
	const pause = 20 * time.Millisecond
	near, far := net.Pipe()
	go func() { // ends with far
		in := make([]byte, 64)
		for {
			n, err := far.Read(in)
			if err != nil {
				return
			}
			time.Sleep(pause) // what the server takes
			if _, err := far.Write(in[:n]); err != nil {
				return
			}
		}
	}()
	p := pipeline{near, []byte("x"), func(r *bufio.Reader) error {
		_, err := r.ReadByte()
		return err
	}}
	r, err := loadLines(t.Context(), shape{1, 8}, 3*pause, func() (line, error) { return p, nil })
	if err != nil {
		t.Fatal(err)
	}
	if r.Calls < 8 || r.Calls%8 != 0 || r.Latency["p50"] < 20 {
		t.Errorf("%d calls, half of them within %v ms, want a multiple of 8, and 20 ms at least", r.Calls, r.Latency["p50"])
	}
}

// A load whose server answers wrongly is no measurement.
func TestLoadFailsWithACall(t *testing.T) {
	want := fmt.Errorf("1 + 2 = 4")
	_, err := loadLines(t.Context(), shape{2, 3}, time.Minute, func() (line, error) {
		return caller{func() error { return isThree(4) }, closer(func() {})}, nil
	})
	if err == nil || err.Error() != want.Error() {
		t.Errorf("loadLines of calls that fail: error %v, want %v", err, want)
	}
}

// One contender that fails does not cost what the others have taken minutes for.
func TestRunGoesOnWithoutWhoFails(t *testing.T) {
	b := testBench(t)
	b.rounds = 2
	answers := contender{name: "answers", start: func(context.Context, *bench) (*running, error) {
		return &running{load: func(context.Context, shape, time.Duration) (report, error) {
			return report{Calls: 1, Rate: 1}, nil
		}}, nil
	}}
	starts := 0
	fails := contender{name: "fails", start: func(context.Context, *bench) (*running, error) {
		starts++
		return nil, errors.New("no such thing")
	}}
	r, err := b.run(t.Context(), []present{{fails, ""}, {answers, ""}})
	if err == nil || err.Error() != "fails: no such thing" || starts != 1 {
		t.Errorf("run with one that fails: error %v, started %d times, want its error, and once", err, starts)
	}
	if r == nil || len(r.list) != 1 || len(r.runs["answers"][shapes[0]]) != 2 {
		t.Errorf("run with one that fails = %+v, want both rounds of the other", r)
	}
}

func TestMarkdown(t *testing.T) {
	r := &results{
		bench: &bench{rounds: 3, time: time.Second},
		runs: map[string]map[shape][]run{
			"script":  {shapes[0]: {{rate: 900, p50: 2, p99: 4, cpu: 5}, {rate: 1000, p50: 2, p99: 30, cpu: 5}, {rate: 1500, p50: 1, p99: 5, cpu: 7}}},
			"twisted": {shapes[0]: {{rate: 90}, {rate: 95}, {rate: 99}}},
			"node":    {shapes[0]: {{rate: 2000}}},
		},
	}
	for _, c := range []contender{amphostScript, twisted, node} {
		r.list = append(r.list, present{c, "v1"})
	}
	text := regexp.MustCompile(" +").ReplaceAllString(r.markdown(), " ")
	for _, want := range []string{
		"| amphost, script | 1,000 | (90–150 %) | 10.5 | 0.50 | | 2 ms | 5 ms | 5.00 µs |",
		"| script ÷ Twisted, calls/s | 8 × 64 | at least 10 | 10.5 | reached |",
		"| script ÷ Node.js, calls/s | 8 × 64 | at least 0.8 | 0.50 | **not reached** |",
		"| script, p99 ÷ p50 | 8 × 64 | at most 5 | 2.50 | reached |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack\n%s\nin\n%s", want, text)
		}
	}
	if strings.Contains(text, "bare loop, p50") {
		t.Error("a ratio is shown with a contender that was not measured")
	}
}
