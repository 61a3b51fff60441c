package boltstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// Whatever makes a store's file, a backup, a restored or a smaller one, makes
// it under another name beside it, has it on disk and checked, and only then
// gives it its name: a crash leaves the old file, or none, or the whole new one.

// WriteBackup makes a backup at path of what write writes, which is what
// Store.WriteTo does, and returns its size in bytes. If there is a file it is
// replaced, or if replace is false the error is fs.ErrExist.
func WriteBackup(path string, replace bool, write func(f *os.File) error) (size int64, err error) {
	if _, err := os.Lstat(path); err == nil && !replace {
		return 0, fmt.Errorf("write backup %s: %w", path, fs.ErrExist)
	}
	beside, err := writeBeside(path, write)
	if err != nil {
		return 0, fmt.Errorf("write backup %s: %w", path, err)
	}
	defer os.Remove(beside)
	info, err := os.Stat(beside)
	if err == nil {
		if replace {
			err = os.Rename(beside, path)
		} else {
			err = linkNew(beside, path)
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return 0, fmt.Errorf("write backup %s: %w", path, withoutPath(err))
	}
	return info.Size(), nil
}

// Restore puts a copy of a backup in the place of the store at path. A store
// that is there, damaged or not, is kept under another name, which is returned,
// or "" if there was none. The error is ErrLocked if the store is in use, and
// store.ErrDamaged if the backup is not sound.
func Restore(path, backup string) (kept string, err error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("restore %s from %s: %w", path, backup, withoutPath(err))
	}
	from, err := os.Open(backup)
	if err != nil {
		return fail(err)
	}
	defer from.Close()
	if info, err := from.Stat(); err == nil && !info.Mode().IsRegular() {
		return fail(errors.New("the backup is not a regular file"))
	}
	unlock, err := lockFile(path)
	there := !errors.Is(err, fs.ErrNotExist)
	if there && err != nil {
		return fail(err)
	}
	if there {
		defer unlock()
	}
	beside, err := writeBeside(path, func(f *os.File) error {
		_, err := io.Copy(f, from)
		return err
	})
	if err != nil {
		return fail(err)
	}
	defer os.Remove(beside)
	if !there {
		err = linkNew(beside, path) // not over what somebody has made meanwhile
	} else {
		if err := keepOwner(beside, path); err != nil {
			return fail(err)
		}
		kept = fmt.Sprintf("%s.before-%s", path, time.Now().UTC().Format("20060102T150405.000000"))
		if err = os.Link(path, kept); err != nil { // some file systems have no links
			err = os.Rename(path, kept)
		}
		if err == nil {
			err = os.Rename(beside, path)
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fail(err)
	}
	return kept, nil
}

// Compact rewrites the store at path without its free pages, and returns its
// size before and after, in bytes. The error is ErrLocked if it is in use, and
// fs.ErrNotExist if there is none.
func Compact(path string) (before, after int64, err error) {
	s, err := Open(path, &Options{NoCreate: true})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close() // and keeps others out until the file has its name
	fail := func(err error) (int64, int64, error) {
		return 0, 0, fmt.Errorf("compact %s: %w", path, withoutPath(err))
	}
	info, err := s.file.Stat()
	if err != nil {
		return fail(err)
	}
	beside, err := writeBeside(path, func(f *os.File) error {
		return s.guard(func() error { return compactInto(f.Name(), s.db) })
	})
	if err != nil {
		return fail(err)
	}
	defer os.Remove(beside)
	small, err := os.Stat(beside)
	if err == nil {
		err = keepOwner(beside, path)
	}
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fail(err)
	}
	return info.Size(), small.Size(), nil
}

// compactInto copies what is in use of a file into an empty one.
func compactInto(path string, from *bbolt.DB) error {
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      time.Second,
		FreelistType: bbolt.FreelistMapType,
		NoSync:       true, // once, at the end
	})
	if err != nil {
		return err
	}
	const bytesAtOnce = 4 << 20
	return errors.Join(bbolt.Compact(to, from, bytesAtOnce), to.Close())
}

// writeBeside makes a file of another name in the directory of path, has write
// fill it, puts it on disk and checks that it is a store. The caller gives the
// file its name, or removes it.
func writeBeside(path string, write func(f *os.File) error) (beside string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".amphost-new-*") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	problems, err := Check(f.Name())
	if err != nil {
		return "", err
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("%w: what was copied is not a sound store: %s", store.ErrDamaged, problems[0])
	}
	return f.Name(), nil
}

// linkNew gives a file another name, which no file may have.
func linkNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Some file systems have no links. O_EXCL so that of two one fails.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	return os.Rename(from, to)
}
