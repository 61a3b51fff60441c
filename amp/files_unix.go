//go:build linux || darwin

package amp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

const canSendFiles = true

// sendFile writes one byte of the stream with one descriptor beside it.
func sendFile(w io.Writer, b byte, f *os.File) error {
	s, ok := w.(fileSender)
	if !ok {
		return ErrNoDescriptors
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("amp: send descriptor: %w", err)
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		_, _, sendErr = s.WriteMsgUnix([]byte{b}, syscall.UnixRights(int(fd)), nil)
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("amp: send descriptor: %w", err)
	}
	return nil
}

// duplicate returns a descriptor of its own for an open file.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn() // not Fd, which would make the file blocking
	if err != nil {
		return nil, fmt.Errorf("amp: send descriptor: %w", err)
	}
	var fd int
	var dupErr error
	err = raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, dupErr = syscall.Dup(int(old)); dupErr == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return nil, fmt.Errorf("amp: send descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// fileReader returns a reader of src that also receives descriptors, or nil if
// src carries none.
func fileReader(c *Conn, src io.Reader) io.Reader {
	uc, ok := src.(*net.UnixConn)
	if !ok {
		return nil
	}
	return &unixReader{c: c, uc: uc}
}

type unixReader struct {
	c   *Conn
	uc  *net.UnixConn
	oob []byte
	err error // of descriptors, for the next Read: what came with them is read first
}

func (r *unixReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.oob == nil {
		r.oob = make([]byte, syscall.CmsgSpace(16*4)) // 16 descriptors a read
	}
	n, oobn, flags, _, err := r.uc.ReadMsgUnix(p, r.oob)
	if oobn > 0 {
		r.err = r.receive(r.oob[:oobn])
	}
	if r.err == nil && flags&syscall.MSG_CTRUNC != 0 {
		r.err = fmt.Errorf("amp: more descriptors at once than can be received")
	}
	if errors.Is(err, io.EOF) || err == nil && n == 0 && len(p) > 0 {
		err = io.EOF // ReadMsgUnix wraps it
	}
	return n, err
}

// receive keeps the descriptors of a control message.
func (r *unixReader) receive(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("amp: receive descriptor: %w", err)
	}
	var keepErr error
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			f := os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd))
			if err := r.c.keepFile(f); err != nil {
				keepErr = err
			}
		}
	}
	return keepErr
}
