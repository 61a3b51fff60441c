package scripting

import (
	"testing"
	"testing/synctest"
	"time"
)

// roundsOf are so many tasks of each of some keys, which note that they were done.
func roundsOf(done *[]uint64, keys, each int) []task {
	var list []task
	for key := range uint64(keys) {
		for range each {
			list = append(list, task{fn: func() { *done = append(*done, key+1) }, key: key + 1})
		}
	}
	return list
}

// Connections take turns of so many tasks, and what is over is told once.
func TestTurnsOfConnections(t *testing.T) { synctest.Test(t, turnsOfConnections) } // where no time passes

func turnsOfConnections(t *testing.T) {
	var done []uint64
	const keys, each = 3, 2*mostOfTurn + 1
	r := newRounds(roundsOf(&done, keys, each))
	ends := 0
	for {
		task, over := r.next()
		if task.none() {
			break
		}
		task.fn()
		if over {
			ends++
		}
	}
	if len(done) != keys*each || ends != 3*keys {
		t.Errorf("%d tasks were done in %d turns, want %d in %d", len(done), ends, keys*each, 3*keys)
	}
	for i, key := range done {
		want := uint64(i/mostOfTurn)%keys + 1
		if i >= 2*mostOfTurn*keys {
			want = uint64(i-2*mostOfTurn*keys) + 1
		}
		if key != want {
			t.Fatalf("task %d is of connection %d, want %d", i, key, want)
		}
	}
}

// A turn is over when it has lasted long enough, after two tasks if they are slow.
func TestSlowTurnsAreShort(t *testing.T) { synctest.Test(t, slowTurnsAreShort) }

func slowTurnsAreShort(t *testing.T) {
	var done []uint64
	r := newRounds(roundsOf(&done, 2, 10))
	for range 6 {
		task, _ := r.next()
		task.fn()
		time.Sleep(turnTime + 1)
	}
	for i, want := range []uint64{1, 1, 2, 2, 1, 1} {
		if done[i] != want {
			t.Fatalf("the tasks were of %v", done)
		}
	}
}

// A row that is never empty takes no more memory than what waits in it.
func TestRowsDoNotGrow(t *testing.T) {
	var done []uint64
	more := roundsOf(&done, 1, 4)
	r := newRounds(roundsOf(&done, 1, 100))
	for range 10_000 {
		r.add(more)
		for range more {
			if task, _ := r.next(); task.none() {
				t.Fatal("a task is lost")
			}
		}
	}
	if got := cap(r.rowOf(1).tasks); got > 1000 {
		t.Errorf("100 tasks take the memory of %d", got)
	}
}
