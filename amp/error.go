package amp

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Error is an error that crosses the wire: Twisted's RemoteAmpError. As a
// handler's result its code and description reach the peer as they are; as a
// call's result it is what the peer sent.
//
// errors.Is compares codes, so that one variable serves the end that returns
// an error and the end that receives it:
//
//	var ErrNoSuchRoom = &amp.Error{Code: "NO_SUCH_ROOM"}
//	…
//	if errors.Is(err, ErrNoSuchRoom) { … }
type Error struct {
	Code        string // arbitrary bytes
	Description string // for people; arrives as UTF-8, anything else replaced (item K7)
	Fatal       bool   // close the connection once the error is written; does not travel

	err error // the declared error that the code stands for, see Command.Errors
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Is reports whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap returns the error that a Command declares for the code, or nil.
func (e *Error) Unwrap() error { return e.err }

// Describe returns a copy of e with the description.
func (e *Error) Describe(format string, args ...any) *Error {
	d := *e
	d.Description = fmt.Sprintf(format, args...)
	return &d
}

// ErrorCodes pairs the codes of a Command with Go errors, in the order in
// which a handler's error is compared to them with errors.Is. Err may be nil:
// the code then stands for an *Error of that code.
type ErrorCodes []struct {
	Code string
	Err  error
}

// Errors that answer a command without its handler's doing.
var (
	ErrUnhandled    = &Error{Code: "UNHANDLED"}     // no handler for the command
	ErrUnknown      = &Error{Code: "UNKNOWN"}       // the handler failed and did not say how
	ErrBadArguments = &Error{Code: "BAD_ARGUMENTS"} // arguments missing or malformed
	ErrOverloaded   = &Error{Code: "OVERLOADED"}    // too much is running already
	ErrShuttingDown = &Error{Code: "SHUTTING_DOWN"} // the server ends
	errTLS          = &Error{Code: "TLS_ERROR"}     // StartTLS refused (item TL6)
)

// unknownText is the whole description of an ErrUnknown: what went wrong is
// for the log, nothing of it leaks to the peer (item E4.4).
const unknownText = "Unknown Error"

// Errors of this end.
var (
	ErrClosed       = errors.New("amp: connection closed")
	ErrServerClosed = errors.New("amp: server closed")
	ErrTooLong      = errors.New("amp: key or value too long") // every *TooLongError is one
	ErrEmptyKey     = errors.New("amp: empty key: it would end the box")
	ErrReservedKey  = errors.New("amp: the key belongs to the protocol")
	ErrMalformed    = errors.New("amp: malformed box")
	ErrBoxTooBig    = errors.New("amp: box too big")
	ErrHandshake    = errors.New("amp: TLS handshake")
	ErrBoxTimeout   = errors.New("amp: the peer began a box and did not finish it in time")
	ErrIdle         = errors.New("amp: idle for too long")
	ErrSlowPeer     = errors.New("amp: the peer does not read")
	ErrSwitched     = errors.New("amp: connection has switched to another protocol")
	ErrOnlyOneTLS   = errors.New("amp: the connection is encrypted already")
)

// ErrFailed says that a handler failed and has logged why itself: it becomes
// UNKNOWN, like any error that is not an *Error, and is not logged again.
var ErrFailed = errors.New("amp: handler failed")

// BadArguments returns an error that blames the peer's arguments: with it
// Request.Fail answers BAD_ARGUMENTS and the text of err, or, with
// Options.Strict, UNKNOWN, and closes the connection as Twisted does (item E4.1).
func BadArguments(err error) error { return &argumentsError{err} }

// An argumentsError marks an error as the peer's fault.
type argumentsError struct{ err error }

func (e *argumentsError) Error() string { return e.err.Error() }
func (e *argumentsError) Unwrap() error { return e.err }

// A TooLongError is a key or value that does not fit: Twisted's TooLong.
type TooLongError struct {
	Key   string // the key, or whose value it is; "" if it was not read
	IsKey bool   // the key itself is too long
	Local bool   // this end tried to send it, nothing was written
	Len   int    // in bytes
}

// Error implements error.
func (e *TooLongError) Error() string {
	switch {
	case !e.Local:
		return fmt.Sprintf("amp: the peer sent a key of %d bytes, a key has at most %d%s", e.Len, MaxKey, hint(e.Len))
	case e.IsKey:
		return fmt.Sprintf("amp: key %s is %d bytes long, a key has at most %d", quote(e.Key), e.Len, MaxKey)
	default:
		return fmt.Sprintf("amp: the value of %s is %d bytes long, a value has at most %d: split it over several keys or calls", quote(e.Key), e.Len, MaxValue)
	}
}

// Is makes every TooLongError an ErrTooLong.
func (e *TooLongError) Is(target error) bool { return target == ErrTooLong }

// hint guesses what a client speaks whose first two bytes are the length of an
// impossible key.
func hint(length int) string {
	switch first := byte(length >> 8); {
	case first == 0x16:
		return ": the bytes look like TLS, and this is a plain AMP port"
	case looksLikeHTTP(length):
		return ": the bytes look like HTTP, and this is an AMP port"
	}
	return ": this is not AMP"
}

// quote quotes text that came from outside, shortened.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// wireDescription returns s as it is sent: UTF-8, and cut at a rune's start
// rather than lost when it does not fit a value (item P14).
func wireDescription(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxValue {
		return s
	}
	cut := MaxValue
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// pythonBytes returns s as Python prints bytes: what Twisted's clients expect
// to read of a command that nobody handles.
func pythonBytes(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out := []byte{'b', quote}
	for i := range len(s) {
		switch b := s[i]; {
		case b == quote || b == '\\':
			out = append(out, '\\', b)
		case b == '\n':
			out = append(out, `\n`...)
		case b == '\r':
			out = append(out, `\r`...)
		case b == '\t':
			out = append(out, `\t`...)
		case b < ' ' || b >= 0x7f:
			out = fmt.Appendf(out, `\x%02x`, b)
		default:
			out = append(out, b)
		}
	}
	return string(append(out, quote))
}
