package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"iter"
	"math"
)

// A file is a head in the space Files, under its name, and pieces in the space
// Pieces. The head holds the size and the SHA-256 sum of all the contents, and
// the contents themselves if they are small: then there are no pieces, and the
// file is one key to write and to find.
//
//	1 byte   version, 1
//	8 bytes  size, big-endian
//	32 bytes sum
//	contents, of up to smallFile bytes
//
// The key of a piece is the file's name and the piece's number in 4 bytes,
// big-endian. As the number's length is fixed, no two files share a piece,
// whatever their names.

const (
	// pieceSize fits an AMP value, and leaves room in one etcd request.
	pieceSize = 60_000

	// smallFile is the size of the largest file that is kept in its head: any
	// public key, and still several to a page of bbolt's.
	smallFile = 1024

	headVersion = 1
	headSize    = 1 + 8 + sha256.Size
	numberSize  = 4
)

// MaxFileName is the length in bytes of the longest name of a file.
const MaxFileName = MaxKey - numberSize

// A FileInfo is what is known of a file without reading it.
type FileInfo struct {
	Name string
	Size int64 // in bytes
}

// FileExists reports whether there is a file of that name.
func FileExists(tx Tx, name string) (bool, error) {
	head, err := tx.Get(Files, name)
	return head != nil, err
}

// ReadFile returns the contents of a file. The error is fs.ErrNotExist if
// there is no such file, and ErrDamaged if it is not what was written.
func ReadFile(tx Tx, name string) ([]byte, error) {
	stored, err := tx.Get(Files, name)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fileError(name, fs.ErrNotExist)
	}
	head, data, err := parseHead(stored)
	if err != nil {
		return nil, fileError(name, err)
	}
	for i := uint32(0); uint64(len(data)) < head.size; i++ {
		piece, err := tx.Get(Pieces, pieceKey(name, i))
		if err != nil {
			return nil, err
		}
		if len(piece) == 0 {
			return nil, fileError(name, fmt.Errorf("%w: piece %d is missing", ErrDamaged, i))
		}
		data = append(data, piece...)
	}
	if headOf(data) != head {
		return nil, fileError(name, fmt.Errorf("%w: contents do not match their sum", ErrDamaged))
	}
	return data, nil
}

// CreateFile stores a new file, of any size that fits in memory. The error is
// fs.ErrExist if there is a file of that name, and ErrTooLarge if the name is
// longer than MaxFileName.
func CreateFile(tx Tx, name string, data []byte) error {
	exists, err := FileExists(tx, name)
	if err != nil {
		return err
	}
	if exists {
		return fileError(name, fs.ErrExist)
	}
	return writeFile(tx, name, data)
}

// WriteFile stores a file, of any size that fits in memory, in the place of
// one of that name if there is one. The error is ErrTooLarge if the name is
// longer than MaxFileName.
func WriteFile(tx Tx, name string, data []byte) error {
	if err := writeFile(tx, name, data); err != nil {
		return err
	}
	return removePieces(tx, name, pieces(len(data)))
}

// RemoveFile removes a file, also a damaged one. The error is fs.ErrNotExist
// if there is no such file.
func RemoveFile(tx Tx, name string) error {
	exists, err := FileExists(tx, name)
	if err != nil {
		return err
	}
	if !exists {
		return fileError(name, fs.ErrNotExist)
	}
	if err := tx.Delete(Files, name); err != nil {
		return err
	}
	return removePieces(tx, name, 0)
}

// ListFiles yields the files whose names are in a range, in the order of the
// bytes of their names. After an error it yields nothing more.
func ListFiles(tx Tx, r Range) iter.Seq2[FileInfo, error] {
	return func(yield func(FileInfo, error) bool) {
		for e, err := range tx.Scan(Files, r) {
			if err != nil {
				yield(FileInfo{}, err)
				return
			}
			head, _, err := parseHead(e.Value)
			if err != nil {
				yield(FileInfo{}, fileError(e.Key, err))
				return
			}
			if !yield(FileInfo{Name: e.Key, Size: int64(head.size)}, nil) {
				return
			}
		}
	}
}

// writeFile writes the head of a file, and its pieces if it has any.
func writeFile(tx Tx, name string, data []byte) error {
	if len(name) > MaxFileName {
		return fmt.Errorf("%w: file name %.40q… has %d bytes, and %d are allowed", ErrTooLarge, name, len(name), MaxFileName)
	}
	if err := tx.Put(Files, name, appendHead(make([]byte, 0, headSize+min(len(data), smallFile)), data)); err != nil || len(data) <= smallFile {
		return err
	}
	for i := uint32(0); len(data) > 0; i++ {
		n := min(len(data), pieceSize)
		if err := tx.Put(Pieces, pieceKey(name, i), data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// removePieces deletes the pieces of a file from number first on. It goes by
// the pieces that are there and not by the head, which may be damaged.
func removePieces(tx Tx, name string, first uint32) error {
	for i := first; ; i++ {
		key := pieceKey(name, i)
		piece, err := tx.Get(Pieces, key)
		if err != nil || piece == nil {
			return err
		}
		if err := tx.Delete(Pieces, key); err != nil {
			return err
		}
	}
}

// pieces returns how many pieces hold size bytes.
func pieces(size int) uint32 {
	if size <= smallFile {
		return 0
	}
	return uint32((size + pieceSize - 1) / pieceSize)
}

func pieceKey(name string, number uint32) string {
	return string(binary.BigEndian.AppendUint32([]byte(name), number))
}

// A fileHead is what the head of a file says.
type fileHead struct {
	size uint64
	sum  [sha256.Size]byte
}

func headOf(data []byte) fileHead {
	return fileHead{size: uint64(len(data)), sum: sha256.Sum256(data)}
}

// appendHead appends what is stored under the name of a file with these
// contents.
func appendHead(dst, data []byte) []byte {
	h := headOf(data)
	dst = append(dst, headVersion)
	dst = binary.BigEndian.AppendUint64(dst, h.size)
	dst = append(dst, h.sum[:]...)
	if len(data) <= smallFile {
		dst = append(dst, data...)
	}
	return dst
}

// parseHead reads what appendHead wrote, and nothing else. It returns the
// contents that are kept there, which are not copied, or an empty slice if they
// are in pieces.
func parseHead(stored []byte) (h fileHead, contents []byte, err error) {
	if len(stored) < headSize || stored[0] != headVersion {
		return h, nil, fmt.Errorf("%w: not the head of a file: %x", ErrDamaged, stored[:min(len(stored), headSize)])
	}
	h.size = binary.BigEndian.Uint64(stored[1:])
	copy(h.sum[:], stored[1+8:])
	contents = stored[headSize:]
	kept := h.size
	switch {
	case h.size > math.MaxInt64:
		return h, nil, fmt.Errorf("%w: a file of %d bytes", ErrDamaged, h.size)
	case h.size > smallFile:
		kept = 0
	}
	if uint64(len(contents)) != kept {
		return h, nil, fmt.Errorf("%w: %d bytes are kept in the head of a file of %d bytes", ErrDamaged, len(contents), h.size)
	}
	return h, contents, nil
}

func fileError(name string, err error) error {
	return fmt.Errorf("file %.80q: %w", name, err)
}
