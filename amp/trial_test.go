package amp

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The commands of trial -j, from twisted.trial._dist.workercommands and
// managercommands. The manager starts workers and speaks AMP with each over
// two pipes: it calls Start and Run, and the worker calls back with what it
// found.

type (
	trialSuccess struct {
		Success bool `amp:"success"`
	}
	trialStart struct {
		Directory string `amp:"directory"`
	}
	trialRun struct {
		TestCase string `amp:"testCase"`
	}
	trialTest struct {
		TestName string `amp:"testName"`
	}
	trialError struct {
		TestName   string   `amp:"testName"`
		Error      string   `amp:"error"`
		ErrorClass string   `amp:"errorClass"`
		Frames     []string `amp:"frames"`
	}
	trialFailure struct {
		TestName  string   `amp:"testName"`
		Fail      string   `amp:"fail"`
		FailClass string   `amp:"failClass"`
		Frames    []string `amp:"frames"`
	}
	trialSkip struct {
		TestName string `amp:"testName"`
		Reason   string `amp:"reason"`
	}
	trialExpected struct {
		TestName string `amp:"testName"`
		Error    string `amp:"error"`
		Todo     string `amp:"todo"`
	}
	trialUnexpected struct {
		TestName string `amp:"testName"`
		Todo     string `amp:"todo"`
	}
	trialWrite struct {
		Out string `amp:"out"`
	}
)

// pipes is a stream made of two pipes.
type pipes struct {
	io.Reader
	io.Writer
	closers []io.Closer
}

func (p *pipes) Close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// trialWorker starts a worker of trial, and returns the connection to it.
func trialWorker(t *testing.T, h Handler) *Conn {
	t.Helper()
	cmd := exec.Command(twistedPython(t), "-B", "-m", "twisted.trial._dist.workertrial")
	path, err := filepath.Abs("testdata/twisted")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PYTHONPATH="+path)
	cmd.Stderr = os.Stderr
	workerIn, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirs, workerOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{workerIn, workerOut} // descriptors 3 and 4
	err = cmd.Start()
	workerIn.Close()
	workerOut.Close()
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(&pipes{theirs, ours, []io.Closer{ours, theirs}}, h, nil)
	t.Cleanup(func() {
		c.Close() // upon which the worker ends
		<-c.Done()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	return c
}

// TestTrialWorker is a manager of trial -j: a program that was written for
// Twisted alone.
func TestTrialWorker(t *testing.T) {
	var mu sync.Mutex
	found := make(map[string]string) // by test
	var written []string
	note := func(test, what string) (trialSuccess, error) {
		mu.Lock()
		defer mu.Unlock()
		found[strings.TrimPrefix(test, "trial_sample.SampleTests.")] = what
		return trialSuccess{true}, nil
	}
	m := new(Mux)
	Command[trialTest, trialSuccess]{Name: "AddSuccess"}.Handle(m, func(_ context.Context, a trialTest) (trialSuccess, error) {
		return note(a.TestName, "success")
	})
	Command[trialError, trialSuccess]{Name: "AddError"}.Handle(m, func(_ context.Context, a trialError) (trialSuccess, error) {
		if len(a.Frames)%3 != 0 || len(a.Frames) == 0 {
			t.Errorf("AddError has frames %q", a.Frames)
		}
		return note(a.TestName, "error "+a.ErrorClass+" "+a.Error)
	})
	Command[trialFailure, trialSuccess]{Name: "AddFailure"}.Handle(m, func(_ context.Context, a trialFailure) (trialSuccess, error) {
		if !slices.Contains(a.Frames, "test_fail") {
			t.Errorf("AddFailure has frames %q", a.Frames)
		}
		return note(a.TestName, "failure "+a.FailClass+" "+a.Fail)
	})
	Command[trialSkip, trialSuccess]{Name: "AddSkip"}.Handle(m, func(_ context.Context, a trialSkip) (trialSuccess, error) {
		return note(a.TestName, "skip "+a.Reason)
	})
	Command[trialExpected, trialSuccess]{Name: "AddExpectedFailure"}.Handle(m, func(_ context.Context, a trialExpected) (trialSuccess, error) {
		return note(a.TestName, "expected failure "+a.Todo)
	})
	Command[trialUnexpected, trialSuccess]{Name: "AddUnexpectedSuccess"}.Handle(m, func(_ context.Context, a trialUnexpected) (trialSuccess, error) {
		return note(a.TestName, "unexpected success "+a.Todo)
	})
	Command[trialWrite, trialSuccess]{Name: "TestWrite"}.Handle(m, func(_ context.Context, a trialWrite) (trialSuccess, error) {
		mu.Lock()
		defer mu.Unlock()
		written = append(written, a.Out)
		return trialSuccess{true}, nil
	})

	worker := trialWorker(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := Command[trialStart, trialSuccess]{Name: "Start"}
	if got, err := start.Call(ctx, worker, trialStart{t.TempDir()}); err != nil || !got.Success {
		t.Fatalf("Start = %v, %v", got, err)
	}
	run := Command[trialRun, trialSuccess]{Name: "Run"}
	for _, name := range []string{"pass", "fail", "error", "skip", "todo", "unexpected", "log"} {
		if got, err := run.Call(ctx, worker, trialRun{"trial_sample.SampleTests.test_" + name}); err != nil || !got.Success {
			t.Errorf("Run(test_%s) = %v, %v", name, got, err)
		}
	}
	// What a test found was reported before Run was answered, but the handler
	// may still run.
	if err := worker.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"test_pass":       "success",
		"test_fail":       "failure twisted.trial.unittest.FailTest ", // the text depends on the version
		"test_error":      "error builtins.KeyError 'h\u00e9'",
		"test_skip":       "skip not today",
		"test_todo":       "expected failure later",
		"test_unexpected": "unexpected success never",
		"test_log":        "success",
	}
	mu.Lock()
	defer mu.Unlock()
	for test, what := range want {
		if got := found[test]; !strings.HasPrefix(got, what) {
			t.Errorf("%s: the worker reports %q, want %q", test, got, what)
		}
	}
	if !slices.ContainsFunc(written, func(line string) bool { return strings.Contains(line, "a line of the log") }) {
		t.Errorf("the worker's log is %q", written)
	}
}
