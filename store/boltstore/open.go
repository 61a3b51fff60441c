package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/amphost/amphost/store"
)

// ErrLocked says that another process, or this one, has the file open.
var ErrLocked = errors.New("in use")

const (
	// metaBucket holds what is said of the file as a whole. A namespace can't
	// have its name.
	metaBucket = ".amphost"
	formatKey  = "format" // in metaBucket: decimal
	format     = 1        // the newest format this package reads, and the one it writes

	// mapAhead is how much the file may grow before bbolt must map it anew,
	// for which it waits until nobody reads: so that a long WriteTo holds up
	// no commits. It costs addresses, not memory.
	mapAhead = 1 << 30

	// growBy is how much the file grows at a time, which costs an fsync.
	growBy = 1 << 20
)

var errForeign = errors.New("it is a bbolt file of another program: name another file")

// errReplaced says that the file that was opened has lost its name to another
// meanwhile.
var errReplaced = errors.New("replaced by another program again and again")

// openFile opens and locks the file at s.path, or makes it.
func (s *Store) openFile() error {
	for range 10 {
		if err := s.tryFile(); err != errReplaced {
			return err
		}
	}
	return errReplaced
}

// tryFile is one try of openFile.
func (s *Store) tryFile() error {
	size, err := s.findFile()
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.opts.NoCreate:
		return fmt.Errorf("there is no such store (%w)", err)
	case errors.Is(err, fs.ErrNotExist):
		err = createFile(s.path)
	}
	if err != nil {
		return err
	}
	// Also if the file was there: who made it may have been killed before
	// its name was on disk.
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}

	err = s.guard(func() error {
		bolt := &bbolt.Options{
			Timeout:      s.opts.LockTimeout,
			FreelistType: bbolt.FreelistMapType,
			NoSync:       s.opts.NoSync,
			NoStatistics: true,
			OpenFile: func(name string, flag int, perm os.FileMode) (f *os.File, err error) {
				s.file, err = os.OpenFile(name, flag&^os.O_CREATE, perm)
				if err == nil {
					err = checkFreelist(s.file)
				}
				return s.file, err
			},
		}
		if strconv.IntSize == 64 && runtime.GOOS != "windows" { // where it would take space on disk
			bolt.InitialMmapSize = int(size) + mapAhead
		}
		db, err := bbolt.Open(s.path, 0o600, bolt)
		if err != nil {
			return s.openError(err)
		}
		s.db = db
		if !s.named() {
			return errReplaced
		}
		db.AllocSize = growBy
		if err := s.checkSize(); err != nil {
			return err
		}
		if err := s.checkPages(); err != nil {
			return err
		}
		return db.View(func(btx *bbolt.Tx) error {
			if err := s.checkFormat(btx); err != nil {
				return err
			}
			return s.measureLimited(btx)
		})
	})
	if errors.Is(err, store.ErrDamaged) {
		// A file that is cut off shows in many ways, and this says it best.
		if cut := s.checkSize(); cut != nil {
			err = cut
		}
	}
	if err != nil {
		s.abandon()
	}
	return err
}

// named reports whether the file that is open and locked is the one at s.path.
// While we waited for the lock, who had it may have put another in its place,
// and what is written to a file without a name is lost.
func (s *Store) named() bool {
	at, err := os.Stat(s.path)
	if err != nil {
		return false
	}
	open, err := s.file.Stat()
	return err == nil && os.SameFile(at, open)
}

// checkSize returns an error if the file is shorter than it says.
func (s *Store) checkSize() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return withoutPath(err)
	}
	f, err := os.Open(s.path)
	if err != nil {
		return withoutPath(err)
	}
	defer f.Close()
	if whole := wholeSize(f); info.Size() < whole {
		return fmt.Errorf("%w: the file is cut off: it has %d bytes of %d: restore a backup", store.ErrDamaged, info.Size(), whole)
	}
	return nil
}

// abandon closes a file that could not be opened as a store.
func (s *Store) abandon() {
	if s.db != nil {
		s.db.Close()
	} else if s.file != nil {
		closeLocked(s.file) // if bbolt panicked; else it has done so
	}
	s.db, s.file = nil, nil
	clear(s.namespaces)
}

// findFile returns the size of the file at s.path, if it can be a store.
func (s *Store) findFile() (int64, error) {
	info, err := os.Stat(s.path)
	switch {
	case err != nil:
		return 0, withoutPath(err)
	case info.IsDir():
		return 0, errors.New("it is a directory: name a file in it")
	case !info.Mode().IsRegular():
		return 0, errors.New("it is not a regular file: name another one")
	case info.Size() == 0:
		return 0, fmt.Errorf("%w: the file is empty: restore a backup, or remove it to begin with a new store", store.ErrDamaged)
	}
	return info.Size(), nil
}

// openError says what an error of bbolt.Open means.
func (s *Store) openError(err error) error {
	_, refused := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return lockedError(s.path)
	case errors.Is(err, errForeign):
		return err
	case refused:
		return withoutPath(err) // the system's refusal, which tells nothing of the file
	case errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("the file has a version of bbolt's format that this amphost does not read: use a newer one (%w)", err)
	}
	return fmt.Errorf("%w: not a store, or the first pages are broken (%w): restore a backup, or name another file", store.ErrDamaged, err)
}

// withoutPath returns what the system said of a path, for where the path is
// said already.
func withoutPath(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func lockedError(path string) error {
	pid, name, ok := lockHolder(path)
	switch {
	case !ok:
		return fmt.Errorf("%w by another process: stop it, or name another file", ErrLocked)
	case pid == os.Getpid():
		return fmt.Errorf("%w by this process, pid %d, already", ErrLocked, pid)
	}
	return fmt.Errorf("%w by another process, pid %d (%s): stop it, or name another file", ErrLocked, pid, name)
}

// checkFormat checks that the file is a store of a format that this package
// reads.
func (s *Store) checkFormat(btx *bbolt.Tx) error {
	s.durableTx.Store(int64(btx.ID()))
	meta := btx.Bucket([]byte(metaBucket))
	if meta == nil {
		return errForeign
	}
	text := string(meta.Get([]byte(formatKey)))
	found, err := strconv.Atoi(text)
	switch {
	case err != nil || found < 1:
		return fmt.Errorf("%w: its format is %q: restore a backup", store.ErrDamaged, text)
	case found > format:
		return fmt.Errorf("it has format %d, and this amphost reads formats up to %d: use the newer amphost that wrote it", found, format)
	}
	return nil
}

// createFile makes an empty store at path, if there is no file. It is made
// under another name, and gets its own when it is whole and on disk, so that a
// crash leaves either no store or a good one.
func createFile(path string) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s: make it, or name another file", dir)
	}
	f, err := os.CreateTemp(dir, ".amphost-new-*")
	if err != nil {
		return withoutPath(err)
	}
	unfinished := f.Name()
	f.Close()
	defer os.Remove(unfinished)
	if err := initFile(unfinished); err != nil {
		return fmt.Errorf("make a new store: %w", err)
	}
	// A link does not replace the file of another process that is doing the
	// same right now, as a rename would: that process may be using it.
	err = os.Link(unfinished, path)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil { // some file systems have no links
		return os.Rename(unfinished, path)
	}
	return nil
}

// initFile writes an empty store into an empty file.
func initFile(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      time.Second,
		FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		meta, err := btx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		return meta.Put([]byte(formatKey), []byte(strconv.Itoa(format)))
	})
	return errors.Join(err, db.Close()) // bbolt has synced what it wrote
}

// syncDir puts the names in a directory on disk.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // which can't
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
