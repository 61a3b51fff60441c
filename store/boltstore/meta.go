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
//	12  4 bytes   flags
//	16  8 bytes   page of the root bucket
//	24  8 bytes   a number of the root bucket's, unused
//	32  8 bytes   page of the list of free pages
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

// A metaPage is what a sound meta page says. The zero metaPage is none.
type metaPage struct {
	pageSize int64
	root     uint64 // page of the root bucket
	freelist uint64 // page of the list of free pages
	pages    uint64
	txid     uint64
}

// wholeSize returns how many bytes the meta pages say that a bbolt file has, or
// 0 if neither is sound.
func wholeSize(f io.ReaderAt) int64 {
	m := newestMeta(f)
	return int64(m.pages) * m.pageSize
}

// newestMeta returns the meta page that counts.
func newestMeta(f io.ReaderAt) metaPage {
	m := readMeta(f, 0)
	second := m.pageSize
	if second == 0 {
		second = 1024 // unknown, so look for the second wherever it can be
	}
	for ; second <= maxPageSize; second *= 2 {
		m2 := readMeta(f, second)
		if m2.pageSize == second && (m.pageSize == 0 || m2.txid > m.txid) {
			return m2
		}
		if m.pageSize != 0 {
			break
		}
	}
	return m
}

// readMeta returns what the meta page at an offset says, if it is sound.
func readMeta(f io.ReaderAt, at int64) metaPage {
	meta := make([]byte, metaLength)
	if _, err := f.ReadAt(meta, at+metaStart); err != nil {
		return metaPage{}
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(meta[:56])
	if order.Uint32(meta) != metaMagic || order.Uint32(meta[4:]) != metaVersion || order.Uint64(meta[56:]) != sum.Sum64() {
		return metaPage{}
	}
	return metaPage{
		pageSize: int64(order.Uint32(meta[8:])),
		root:     order.Uint64(meta[16:]),
		freelist: order.Uint64(meta[32:]),
		pages:    order.Uint64(meta[40:]),
		txid:     order.Uint64(meta[48:]),
	}
}
