package boltstore

import (
	"encoding/binary"
	"hash/fnv"
	"io"
)

// bbolt's meta pages are the first two of a file. Each says how many pages the
// file has, and the newer of those that are sound counts. After the header of
// the page come, in the byte order of the machine:
//
//	 0  4 bytes   magic number
//	 4  4 bytes   version of the format
//	 8  4 bytes   page size
//	12  28 bytes  flags, root bucket, free list
//	40  8 bytes   number of pages
//	48  8 bytes   number of the transaction
//	56  8 bytes   FNV-1a sum of what comes before
const (
	metaStart   = 16 // the header of a page
	metaLength  = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	maxPageSize = 16 << 20
)

// wholeSize returns how many bytes the meta pages say that a bbolt file has, or
// 0 if neither is sound.
func wholeSize(f io.ReaderAt) int64 {
	size, newest, pageSize := readMeta(f, 0)
	second := pageSize
	if second == 0 {
		second = 1024 // unknown, so look for the second wherever it can be
	}
	for ; second <= maxPageSize; second *= 2 {
		size2, txid, ok := readMeta(f, second)
		if ok == second && (size == 0 || txid > newest) {
			return size2
		}
		if pageSize != 0 {
			break
		}
	}
	return size
}

// readMeta returns what the meta page at an offset says: the file's size, the
// transaction's number and the page size, all 0 if it is not sound.
func readMeta(f io.ReaderAt, at int64) (size int64, txid uint64, pageSize int64) {
	meta := make([]byte, metaLength)
	if _, err := f.ReadAt(meta, at+metaStart); err != nil {
		return 0, 0, 0
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(meta[:56])
	if order.Uint32(meta) != metaMagic || order.Uint32(meta[4:]) != metaVersion || order.Uint64(meta[56:]) != sum.Sum64() {
		return 0, 0, 0
	}
	pageSize = int64(order.Uint32(meta[8:]))
	return int64(order.Uint64(meta[40:])) * pageSize, order.Uint64(meta[48:]), pageSize
}
