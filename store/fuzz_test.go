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
	f.Add(appendHead(nil, nil))
	f.Add(appendHead(nil, []byte("1 ssh-ed25519 AAAA\n")))
	f.Add(appendHead(nil, make([]byte, smallFile)))
	f.Add(appendHead(nil, make([]byte, smallFile+1)))
	f.Add(bytes.Repeat([]byte{0xff}, headSize))
	f.Fuzz(func(t *testing.T, stored []byte) {
		head, contents, err := parseHead(stored)
		if err == nil && head.size <= smallFile && headOf(contents) == head && !bytes.Equal(appendHead(nil, contents), stored) {
			t.Errorf("parseHead(%x) = %+v, %x, which is written as %x", stored, head, contents, appendHead(nil, contents))
		}
		if err == nil && head.size > smallFile && len(stored) != headSize {
			t.Errorf("parseHead(%x) = %+v, with contents of a file that has pieces", stored, head)
		}
		// Any bytes are contents whose head reads as what it is.
		for _, data := range [][]byte{stored, append(make([]byte, smallFile), stored...)} {
			again, contents, err := parseHead(appendHead(nil, data))
			small := len(data) <= smallFile
			if err != nil || again != headOf(data) || small && !bytes.Equal(contents, data) || !small && len(contents) > 0 {
				t.Errorf("the head of %x reads as %+v, %x, %v", data, again, contents, err)
			}
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
