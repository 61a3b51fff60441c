package amp

import "runtime"

// Alone reports whether nothing else has come over the connection with the
// request: its reader has nothing to do meanwhile. It is false after Defer, and so
// unless all who have seen the request are Forgetful: others may have something to
// do once their ServeAMP goes on, or have another goroutine ask.
func (r *Request) Alone() bool {
	return r.lent && r.conn.in.r == r.conn.in.w
}

// What Occupy and its like have made of the reading goroutine.
const (
	reading int32 = iota
	occupied
	freed // another one reads
)

// Occupy says that the handler keeps the reading goroutine, which it is called
// on, for longer than ServeAMP should last, perhaps: until Vacate, which it has
// to call before it returns. Until then it calls nothing else of the request that
// has to be called before ServeAMP returns. It is Defer, too.
func (r *Request) Occupy() {
	r.Defer()
	r.holds.Store(occupied)
}

// Free has another goroutine read on if r occupies that which reads. It may be
// called by any goroutine, at any time.
func (r *Request) Free() {
	if r.holds.CompareAndSwap(occupied, freed) {
		go r.conn.readOn() // as the goroutine that it replaces
	}
}

// Vacate ends what Occupy began. If another goroutine reads by now the calling
// one ends, as with runtime.Goexit.
func (r *Request) Vacate() {
	if !r.holds.CompareAndSwap(occupied, reading) {
		runtime.Goexit()
	}
}
