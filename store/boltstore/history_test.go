package boltstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/amphost/amphost/store"
)

// A history is what many clients of a store asked for and were told, in the
// order in which it happened, crashes included. It is good if there is an order
// of all transactions, each between its call and its return, in which one after
// another would have given the same; a transaction that a crash has cut off may
// have happened before it, or never.
//
// A state is the values of a few keys. A transaction is written as
//
//	set 2 abc   sets key 2, and returns the state before
//	swap 0 3    swaps two keys, and returns the state before
//	read        reads all in a transaction that could write
//	fail        as read, and the transaction fails
//	view        reads all in one that could not

const historyKeys = 4

const emptyState = ",,,"

// childHistory runs random transactions from eight goroutines. It says of each
// that it begins, "c ID TRANSACTION", and what it was told, "r ID STATE".
func childHistory(path string) {
	s, err := Open(path, nil)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println("open")
	run := time.Now().UnixNano()
	var wg sync.WaitGroup
	for g := range 8 {
		// Half of them wait for their commits, and so may do the writing.
		ctx, cancel := context.Background(), func() {}
		if g%2 == 0 {
			ctx, cancel = context.WithCancel(ctx)
		}
		wg.Go(func() { // ends when the process is killed
			defer cancel()
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d/%d/%d", run, g, i)
				input := randomTransaction(id)
				// One write each, so that lines of goroutines don't mix.
				os.Stdout.WriteString("c " + id + " " + input + ".\n")
				state, err := transact(ctx, s, input)
				if err != nil {
					os.Stdout.WriteString(fmt.Sprintf("error: %s: %v\n", input, err))
					return
				}
				os.Stdout.WriteString("r " + id + " " + state + ".\n")
			}
		})
	}
	wg.Wait()
}

func randomTransaction(id string) string {
	switch rand.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("set %d %s", rand.IntN(historyKeys), id)
	case 2:
		return fmt.Sprintf("swap %d %d", rand.IntN(historyKeys), rand.IntN(historyKeys))
	case 3:
		return "fail"
	case 4:
		return "read"
	}
	return "view"
}

// transact runs a transaction, and returns the state that it read.
func transact(ctx context.Context, s store.Store, input string) (state string, err error) {
	body := func(tx store.Tx) error {
		values := make([]string, historyKeys)
		for i := range values {
			value, err := tx.Get(store.Keys, fmt.Sprint(i))
			if err != nil {
				return err
			}
			values[i] = string(value)
		}
		state = strings.Join(values, ",")
		after := strings.Split(apply(state, input), ",")
		for i, value := range after {
			if value != values[i] {
				if err := tx.Put(store.Keys, fmt.Sprint(i), []byte(value)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	switch input {
	case "view":
		return state, errors.Join(store.View(ctx, s, ns, body))
	case "fail":
		why := errors.New("on purpose")
		err := store.Update(ctx, s, ns, func(tx store.Tx) error { return errors.Join(why, body(tx)) })
		if errors.Is(err, why) && !errors.Is(err, store.ErrUncertain) {
			err = nil
		}
		return state, err
	}
	err = store.Update(ctx, s, ns, body)
	return state, err
}

// apply returns the state after a transaction.
func apply(state, input string) string {
	values := strings.Split(state, ",")
	words := strings.Fields(input)
	var i, j int
	switch words[0] {
	case "set":
		fmt.Sscan(words[1], &i)
		values[i] = words[2]
	case "swap":
		fmt.Sscan(words[1], &i)
		fmt.Sscan(words[2], &j)
		values[i], values[j] = values[j], values[i]
	}
	return strings.Join(values, ",")
}

// unknown is what a transaction returns that a crash has cut off.
const unknown = "?"

// historyModel says what transactions do, for porcupine.
var historyModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{emptyState} },
	Step: func(state, input, output any) []any {
		after := apply(state.(string), input.(string))
		switch output {
		case unknown:
			return []any{state, after}
		case state:
			return []any{after}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}

// A historyLog collects the history of several runs of childHistory.
type historyLog struct {
	events []porcupine.Event
	ids    map[string]int // of transactions that have begun
	open   map[int]bool   // those that have not returned
	told   int            // how many have returned
}

// note notes what the child says.
func (h *historyLog) note(t *testing.T, line string) {
	t.Helper()
	what, rest, _ := strings.Cut(line, " ")
	id, text, _ := strings.Cut(rest, " ")
	text, whole := strings.CutSuffix(text, ".")
	switch {
	case what == "error:":
		t.Fatalf("the child says %q", line)
	case !whole: // the line it was killed in
	case what == "c":
		n := len(h.ids)
		h.ids[id] = n
		h.open[n] = true
		h.events = append(h.events, porcupine.Event{Kind: porcupine.CallEvent, Value: text, Id: n})
	case what == "r":
		n := h.ids[id]
		delete(h.open, n)
		h.told++
		h.events = append(h.events, porcupine.Event{Kind: porcupine.ReturnEvent, Value: text, Id: n})
	}
}

// crash notes that the store has crashed.
func (h *historyLog) crash() {
	for n := range h.open {
		h.events = append(h.events, porcupine.Event{Kind: porcupine.ReturnEvent, Value: unknown, Id: n})
	}
	clear(h.open)
}

// check checks the whole history.
func (h *historyLog) check(t *testing.T) {
	t.Helper()
	switch porcupine.CheckEventsTimeout(historyModel.ToModel(), h.events, 2*time.Minute) {
	case porcupine.Illegal:
		t.Error("there is no order of the transactions in which they would have been told this")
		path := filepath.Join(os.TempDir(), "amphost-bad-history.txt")
		var text strings.Builder
		for _, e := range h.events {
			fmt.Fprintf(&text, "%v %d %v\n", map[porcupine.EventKind]string{porcupine.CallEvent: "c", porcupine.ReturnEvent: "r"}[e.Kind], e.Id, e.Value)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err == nil {
			t.Logf("it is in %s", path)
		}
	case porcupine.Unknown:
		t.Error("the history is too tangled to check in two minutes")
	}
}

func newHistory() *historyLog {
	return &historyLog{ids: make(map[string]int), open: make(map[int]bool)}
}

// TestHistory checks histories in which the program is killed again and again.
func TestHistory(t *testing.T) {
	for range rounds(2, 20) {
		path := filepath.Join(t.TempDir(), "test.db")
		h := newHistory()
		for range 5 {
			child := startChild(t, "history", path)
			if line := child.line(); line != "open" {
				t.Fatalf("the child says %q", line)
			}
			timer := time.AfterFunc(20*time.Millisecond+rand.N(80*time.Millisecond), func() { child.cmd.Process.Kill() })
			for line := child.line(); line != ""; line = child.line() {
				h.note(t, line)
			}
			timer.Stop()
			h.crash()
		}
		h.check(t)
		t.Logf("%d transactions, %d of them cut off", len(h.ids), len(h.ids)-h.told)
		if h.told < 20 {
			t.Error("almost nothing happened, so nothing was tested")
		}
	}
}

// TestHistoryCheck checks that the check finds what is wrong.
func TestHistoryCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		lines  string // "!" is a crash
		broken bool
	}{
		{"good", "c 1 set 0 a./c 2 read./r 1 ,,,./r 2 a,,,./c 3 view./r 3 a,,,.", false},
		{"cut off and lost", "c 1 set 0 a./!/c 2 read./r 2 ,,,.", false},
		{"cut off and kept", "c 1 set 0 a./!/c 2 read./r 2 a,,,.", false},
		{"told and lost", "c 1 set 0 a./r 1 ,,,./!/c 2 read./r 2 ,,,.", true},
		{"lost after it was seen", "c 1 set 0 a./c 2 view./r 2 a,,,./!/c 3 view./r 3 ,,,.", true},
		{"back after it was lost", "c 1 set 0 a./!/c 2 view./r 2 ,,,./c 3 view./r 3 a,,,.", true},
		{"half of a swap", "c 1 set 0 a./r 1 ,,,./c 2 swap 0 1./!/c 3 view./r 3 a,a,,.", true},
		{"a lost update", "c 1 set 0 a./c 2 set 0 b./r 1 ,,,./r 2 ,,,.", true},
	} {
		h := newHistory()
		for line := range strings.SplitSeq(c.lines, "/") {
			if line == "!" {
				h.crash()
			} else {
				h.note(t, line)
			}
		}
		if got := porcupine.CheckEvents(historyModel.ToModel(), h.events); got == c.broken {
			t.Errorf("%s: the check says %v", c.name, got)
		}
	}
}
