package amp

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Options adjust a connection. A nil *Options means the defaults, and so does
// each zero field; a negative number or duration means no limit.
type Options struct {
	// MaxRunning is how many of the peer's commands may run before the
	// connection stops reading, which the peer feels as back-pressure. A
	// command runs until its answer is written. While this end waits for
	// answers itself it must read on, up to 16 times as many; a peer that goes
	// beyond gets OVERLOADED. While a connection does not read, it does not
	// notice either that its peer has gone. Default 1024.
	MaxRunning int

	// MaxRunningBytes is how large the boxes of these commands may be together
	// before the connection stops reading; small ones do not count. The same is
	// true of it. Default 16 MiB.
	MaxRunningBytes int

	// MaxUnwritten is how many bytes may wait for a peer that is slow to read.
	// At half of it the connection stops reading commands; Call, Send and
	// handler functions wait rather than exceed it; a peer that takes nothing
	// while answers pile up beyond it is cut off with ErrSlowPeer. While this
	// end waits for answers itself it must read on, up to four times as much.
	// Default 16 MiB.
	MaxUnwritten int

	// WriteTimeout cuts off a peer that takes not one byte for so long, with
	// ErrSlowPeer. Default 30 seconds.
	WriteTimeout time.Duration

	// MaxBox is the size in bytes of the largest box accepted, and MaxPairs how
	// many pairs it may have; beyond them the connection ends with
	// ErrBoxTooBig. Defaults 4 MiB and 10,000.
	MaxBox   int
	MaxPairs int

	// BoxTimeout is how long a peer may take to finish a box once its first
	// byte is there; then the connection ends with ErrBoxTimeout.
	// Default one minute.
	BoxTimeout time.Duration

	// IdleTimeout ends a connection with ErrIdle on which nothing was read for
	// so long and nothing is running or waited for. Default: none. AMP has no
	// ping, and Twisted's clients idle for hours.
	IdleTimeout time.Duration

	// KeepAlive is how long a TCP connection of a Server, or of Dial and DialTLS,
	// may be idle before the peer's kernel is asked whether it is still there, and
	// how long between one question and the next: after three without an answer the
	// connection ends. It is rounded up to seconds. Default 15 seconds; negative for never.
	KeepAlive time.Duration

	// UserTimeout ends such a connection whose peer's kernel has not acknowledged
	// for so long what was sent to it, or a question of KeepAlive. Only Linux has
	// it: TCP_USER_TIMEOUT. Default 30 seconds; negative for the kernel's own.
	UserTimeout time.Duration

	// TLS is the certificate and settings with which this end answers
	// StartTLS. Without a certificate one is made for the process, signed by
	// itself, as Twisted does; the log says so once.
	TLS *tls.Config

	// RefuseTLS refuses StartTLS, and then closes the connection, since a
	// Twisted client waits for ever after a refusal (item TL4).
	RefuseTLS bool

	// HandshakeTimeout is how long a TLS handshake may take. Default 10 seconds.
	HandshakeTimeout time.Duration

	// Strict behaves as Twisted's AMP where this package knows better: an
	// error that is not declared, malformed arguments, an answer that is too
	// long, any failure of a command that wants no answer, an answer that
	// nobody waits for, and a command name that is not ASCII close the
	// connection; malformed arguments are UNKNOWN; handler functions of one
	// connection run one after another.
	Strict bool

	// Initiator says that this end opened the transport. It decides who is the
	// TLS client after StartTLS (item TL1). Dial and Client set it.
	Initiator bool

	// Logger receives what no caller can be told. Default slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy in which nothing is zero that has a default.
func (o *Options) withDefaults() *Options {
	var d Options
	if o != nil {
		d = *o
	}
	setDefault(&d.MaxRunning, 1024)
	setDefault(&d.MaxRunningBytes, 16<<20)
	setDefault(&d.MaxUnwritten, 16<<20)
	setDefault(&d.WriteTimeout, 30*time.Second)
	setDefault(&d.MaxBox, 4<<20)
	setDefault(&d.MaxPairs, 10_000)
	setDefault(&d.BoxTimeout, time.Minute)
	setDefault(&d.HandshakeTimeout, 10*time.Second)
	setDefault(&d.KeepAlive, 15*time.Second)
	setDefault(&d.UserTimeout, 30*time.Second)
	if d.IdleTimeout == 0 {
		d.IdleTimeout = -1
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return &d
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// over reports whether n exceeds a limit that may be negative for none.
func over(n, limit int) bool { return limit >= 0 && n > limit }
