package boltstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzMeta checks that any bytes can be looked at, and that a size is told only
// of what has a meta page that is sound.
func FuzzMeta(f *testing.F) {
	path := filepath.Join(f.TempDir(), "new.db")
	if err := createFile(path); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if got := wholeSize(bytes.NewReader(file)); got <= 0 || got > int64(len(file)) {
		f.Fatalf("wholeSize of a new store of %d bytes = %d", len(file), got)
	}
	page := os.Getpagesize()
	f.Add(file[:2*page])
	f.Add(file[:100])
	f.Add(append(make([]byte, page), file[page:2*page]...)) // only the second is sound
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := wholeSize(bytes.NewReader(data)); got != 0 && !bytes.Contains(data, file[metaStart:metaStart+12]) {
			t.Errorf("wholeSize = %d of bytes without a meta page", got)
		}
	})
}
