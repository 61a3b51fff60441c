package store

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzFileHead checks that what is read as a file's head is exactly what would
// be written, and that nothing else is.
func FuzzFileHead(f *testing.F) {
	f.Add([]byte{})
	f.Add(headOf(nil).append(nil))
	f.Add(headOf([]byte("1 ssh-ed25519 AAAA\n")).append(nil))
	f.Add(bytes.Repeat([]byte{0xff}, headSize))
	f.Fuzz(func(t *testing.T, stored []byte) {
		head, err := parseHead(stored)
		if err == nil && !bytes.Equal(head.append(nil), stored) {
			t.Errorf("parseHead(%x) = %+v, which is written as %x", stored, head, head.append(nil))
		}
		// Any bytes are contents whose head reads as what it is.
		of := headOf(stored)
		if again, err := parseHead(of.append(nil)); err != nil || again != of {
			t.Errorf("head %+v reads as %+v, %v", of, again, err)
		}
	})
}

// FuzzCounter checks the same for counters.
func FuzzCounter(f *testing.F) {
	for _, text := range []string{"", "0", "-0", "+1", "007", "-1", "9007199254740991", "9007199254740992", "1e3", "1_000"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseCounter(text)
		if err == nil && (string(appendCounter(nil, n)) != string(text) || n > MaxCounter || n < -MaxCounter) {
			t.Errorf("parseCounter(%q) = %d", text, n)
		}
	})
}

// FuzzPieceKey checks that no two files share a piece.
func FuzzPieceKey(f *testing.F) {
	f.Add("a", uint32(0), "a\x00\x00\x00\x00", uint32(0))
	f.Add("", uint32(1), "\x00", uint32(1))
	f.Fuzz(func(t *testing.T, a string, i uint32, b string, j uint32) {
		same := a == b && i == j
		if got := pieceKey(a, i) == pieceKey(b, j); got != same {
			t.Errorf("piece %d of %q and piece %d of %q share a key: %v", i, a, j, b, got)
		}
	})
}

// FuzzBounds checks that the bounds of a range leave out nothing that is in
// it, and let in nothing that is not.
func FuzzBounds(f *testing.F) {
	f.Add("a", "", "", "ab")
	f.Add("\xff\xff", "\xff", "", "\xff\xff\x00")
	f.Add("a\xff", "a", "b", "b")
	f.Fuzz(func(t *testing.T, prefix, start, end, key string) {
		r := Range{Prefix: prefix, Start: start, End: end}
		want := strings.HasPrefix(key, prefix) && key >= start && (end == "" || key < end)
		from, to := r.Bounds()
		if got := key >= from && (to == "" || key < to); got != want {
			t.Errorf("%+v has bounds %q to %q: key %q is in it: %v, want %v", r, from, to, key, got, want)
		}
	})
}

// FuzzFiles checks that two files of any names and contents are kept apart.
func FuzzFiles(f *testing.F) {
	f.Add("a", []byte("1"), "a\x00\x00\x00\x00", []byte("2"))
	f.Fuzz(func(t *testing.T, a string, dataA []byte, b string, dataB []byte) {
		if a == b || len(a) > MaxFileName || len(b) > MaxFileName {
			return
		}
		err := Update(t.Context(), NewMem(), "fuzz", func(tx Tx) error {
			if err := CreateFile(tx, a, dataA); err != nil {
				return err
			}
			if err := CreateFile(tx, b, dataB); err != nil {
				return err
			}
			if err := RemoveFile(tx, a); err != nil {
				return err
			}
			got, err := ReadFile(tx, b)
			if !bytes.Equal(got, dataB) {
				t.Errorf("file %q = %q, want %q", b, got, dataB)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
