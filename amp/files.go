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

// encodeFilesLocked encodes a struct with descriptors, and makes duplicates of
// them travel with the box that is appended to the outbox next. It holds the
// mutex while it encodes: the ordinals in the text must be those of the order
// in which descriptors go out.
func (c *Conn) encodeFilesLocked(s *sending) (pairs []byte, err error) {
	e := encoder{first: -1}
	if _, ok := c.rwc.(fileSender); ok && canSendFiles {
		e.first = c.firstFile
	}
	if err := e.encodeStruct(s.plan, s.value); err != nil {
		return nil, err
	}
	var copies []outFile
	for i, f := range e.files {
		// The caller may close its file when it likes.
		f, err := duplicate(f)
		if err != nil {
			closeFiles(copies)
			return nil, err
		}
		// One byte for each, or the kernel may merge them.
		copies = append(copies, outFile{i, f})
	}
	offset := len(c.out.dstLocked().b)
	for i := range copies {
		copies[i].offset += offset
	}
	c.out.files = append(c.out.files, copies...)
	c.firstFile += len(copies)
	return e.buf, nil
}

// sendFiles is send for a struct with descriptors.
func (c *Conn) sendFiles(ctx context.Context, wait bool, command string, s *sending, a answerTo) (tag uint64, err error) {
	if err := checkCommand(command, nil); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admitLocked(ctx, wait); err != nil {
		return 0, err
	}
	if c.state >= closing || c.locked {
		return c.sendLocked(command, nil, a) // which says why not
	}
	pairs, err := c.encodeFilesLocked(s)
	if err != nil {
		c.lastTag++
		return 0, err
	}
	return c.sendLocked(command, pairs, a)
}

// answerFiles is answerStruct for a struct with descriptors.
func (r *Request) answerFiles(p *plan, v reflect.Value, quit bool) {
	c := r.conn
	c.mu.Lock()
	if r.patient {
		c.awaitRoomLocked(r.ctx)
	}
	if c.state >= switched {
		c.mu.Unlock()
		r.answer(nil, quit) // which nobody takes
		return
	}
	pairs, err := c.encodeFilesLocked(&sending{p, v})
	if err == nil {
		r.answered.Store(true)
		dst := c.out.dstLocked()
		before := len(dst.b)
		dst.b = appendTagged(dst.b, keyAnswer, r.tag, pairs)
		c.out.answers++
		c.out.reply += len(dst.b) - before
		c.kickLocked()
		c.wakeLocked()
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		r.Fail(fmt.Errorf("answer %s: %w", r.Command, err))
	case quit:
		c.loseConnection()
	}
}

func closeFiles(files []outFile) {
	for _, f := range files {
		f.file.Close()
	}
}
