package amp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
)

// Descriptors travel beside the stream of a UNIX socket, and a box names them
// by their ordinals: 0, 1, 2 … in the order they were sent, for each direction
// (items D1 to D4). In a struct they are *os.File fields. The sender keeps its
// file; the receiver owns the one it gets.

// ErrNoDescriptors is what sending or receiving an *os.File fails with where
// the transport or the system can't carry one.
var ErrNoDescriptors = errors.New("amp: descriptors travel over UNIX sockets on Linux and macOS only")

// maxFiles bounds the received descriptors that no box has claimed yet.
const maxFiles = 256

// fileSender is the transport that carries descriptors: *net.UnixConn.
type fileSender interface {
	WriteMsgUnix(b, oob []byte, addr *net.UnixAddr) (n, oobn int, err error)
}

// keepFile notes a descriptor that has arrived. Only the reading goroutine
// calls it.
func (c *Conn) keepFile(f *os.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.files) >= maxFiles {
		f.Close()
		return fmt.Errorf("amp: the peer sent %d descriptors that no box claims", maxFiles)
	}
	if c.files == nil {
		c.files = make(map[int]*os.File)
	}
	c.files[c.lastFile] = f
	c.lastFile++
	return nil
}

// takeFile gives a box the descriptor it names, once (item D3).
func (c *Conn) takeFile(ordinal int) (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.files[ordinal]
	if !ok {
		return nil, fmt.Errorf("descriptor %d was not received, or is taken already", ordinal)
	}
	delete(c.files, ordinal)
	return f, nil
}

// A fileBox is the pairs of a struct with descriptors, and duplicates of these.
type fileBox struct {
	pairs  []byte
	copies []outFile
}

// nextOrdinalLocked returns the ordinal of the descriptor that is sent next, or
// -1 if none can be sent.
func (c *Conn) nextOrdinalLocked() int {
	if _, ok := c.rwc.(fileSender); !ok || !canSendFiles || c.out.hold && !c.locked {
		return -1 // the latter: StartTLS is under way
	}
	return c.firstFile
}

func (c *Conn) nextOrdinal() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextOrdinalLocked()
}

// encodeFiles encodes a struct whose first descriptor has the ordinal first. It
// is not called with the mutex held, for values may have methods of their own.
// By the time the box is queued others may have sent descriptors: then it must
// be encoded again.
func encodeFiles(s *sending, first int) (fileBox, error) {
	e := encoder{first: first}
	if err := e.encodeStruct(s.plan, s.value); err != nil {
		return fileBox{}, err
	}
	b := fileBox{pairs: e.buf}
	for i, f := range e.files {
		// The caller may close its file when it likes.
		f, err := duplicate(f)
		if err != nil {
			closeFiles(b.copies)
			return fileBox{}, err
		}
		// One byte for each, or the kernel may merge them.
		b.copies = append(b.copies, outFile{i, f})
	}
	return b, nil
}

// attachLocked has the descriptors travel with the box that is appended to the
// outbox next.
func (c *Conn) attachLocked(b fileBox) {
	offset := len(c.out.dstLocked().b)
	for i := range b.copies {
		b.copies[i].offset += offset
	}
	c.out.files = append(c.out.files, b.copies...)
	c.firstFile += len(b.copies)
}

// sendFiles is send for a struct with descriptors.
func (c *Conn) sendFiles(ctx context.Context, wait bool, command string, s *sending, a answerTo) (tag uint64, err error) {
	if err := checkCommand(command, nil); err != nil {
		return 0, err
	}
	for {
		first := c.nextOrdinal()
		b, err := encodeFiles(s, first)
		c.mu.Lock()
		if err == nil {
			err = c.admitLocked(ctx, wait)
		} else {
			c.lastTag++ // it is used up all the same (item F11)
		}
		again := false
		switch {
		case err != nil:
		case c.nextOrdinalLocked() != first:
			again = true
		case c.state >= closing || c.locked:
			_, err = c.sendLocked(command, nil, a) // which says why not
		default:
			c.attachLocked(b)
			b.copies = nil
			tag, err = c.sendLocked(command, b.pairs, a)
		}
		c.mu.Unlock()
		closeFiles(b.copies)
		if !again {
			return tag, err
		}
	}
}

// answerFiles is answerStruct for a struct with descriptors.
func (r *Request) answerFiles(p *plan, v reflect.Value, quit bool) {
	c := r.conn
	for {
		first := c.nextOrdinal()
		b, err := encodeFiles(&sending{p, v}, first)
		if err != nil {
			r.Fail(fmt.Errorf("answer %s: %w", r.Command, err))
			return
		}
		c.mu.Lock()
		if r.patient {
			c.awaitRoomLocked(r.ctx)
		}
		ended, again := c.state >= switched, c.nextOrdinalLocked() != first
		if !ended && !again {
			r.markAnswered()
			c.attachLocked(b)
			b.copies = nil
			dst := c.out.dstLocked()
			before := len(dst.b)
			dst.b = appendTagged(dst.b, keyAnswer, r.tag, b.pairs)
			c.out.answers++
			c.out.reply += len(dst.b) - before
			c.kickLocked()
			c.wakeLocked()
		}
		c.mu.Unlock()
		closeFiles(b.copies)
		switch {
		case ended:
			r.answer(nil, quit) // which nobody takes
		case again:
			continue
		case quit:
			c.loseConnection()
		}
		return
	}
}

func closeFiles(files []outFile) {
	for _, f := range files {
		f.file.Close()
	}
}
