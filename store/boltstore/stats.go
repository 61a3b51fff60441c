package boltstore

import (
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"github.com/amphost/amphost/store"
)

// Stats tell how large a store is.
type Stats struct {
	Size       int64            // of the file, in bytes
	Free       int64            // bytes of it that are not in use: what is written next goes there
	Namespaces []NamespaceStats // by name
}

// NamespaceStats tell how large a namespace is.
type NamespaceStats struct {
	Name     string
	Keys     int
	Counters int
	Files    int
	Other    int   // keys in the spaces that are free for embedding programs
	Bytes    int64 // of keys and values, as they count for Options.Quota
	Quota    int64 // how many there may be, or 0 for any number
}

// pagesInUse returns how many bytes the pages of a snapshot take. Unlike bbolt's
// own Stats it ends when pages point in a circle.
func (s *Store) pagesInUse(snap *bbolt.Tx) (int64, error) {
	size := int64(s.db.Info().PageSize)
	c := pageChecker{r: s.file, size: size, count: uint64(snap.Size() / size)}
	c.state = make([]byte, c.count)
	c.used = 3 // two meta pages, and the list of the free ones
	err := c.tree(uint64(snap.Cursor().Bucket().Root()), nil, nil, 0)
	if errors.Is(err, io.EOF) {
		err = s.damaged("the file is cut off")
	}
	if err == nil && len(c.problems) > 0 {
		err = &brokenPages{c.problems}
	}
	return int64(c.used) * size, err
}

// Stats counts what was committed before. It reads all of the file.
func (s *Store) Stats() (Stats, error) {
	snap, err := s.snapshot()
	if err != nil {
		return Stats{}, err
	}
	defer s.endRead(snap)
	st := Stats{}
	err = s.guard(func() error {
		st.Size = snap.Size()
		used, err := s.pagesInUse(snap)
		if err != nil {
			return err
		}
		st.Free = st.Size - used
		return snap.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			if string(name) == metaBucket {
				return nil
			}
			ns := NamespaceStats{Name: string(name), Quota: s.opts.quota(string(name))}
			err := bucket.ForEach(func(key, value []byte) error {
				ns.Bytes += sizeOf(len(key), value)
				switch store.Space(key[0]) {
				case store.Keys:
					ns.Keys++
				case store.Counters:
					ns.Counters++
				case store.Files:
					ns.Files++
				case store.Pieces:
				default:
					ns.Other++
				}
				return nil
			})
			st.Namespaces = append(st.Namespaces, ns)
			return err
		})
	})
	if err != nil {
		return Stats{}, fmt.Errorf("stats of %s: %w", s.path, err)
	}
	return st, nil
}
