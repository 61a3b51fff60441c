package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A pageChecker checks that the pages of a bbolt file make a whole: that every
// page is used once or free, that keys are in order, that nothing points
// outside. bbolt's own check believes page numbers, and on a damaged file
// reads where no memory is, in a goroutine that nobody can guard. This one
// reads the file and believes nothing.
//
// A page begins with its number (8 bytes), its kind (2), how many elements it
// has (2) and how many pages follow that belong to it (4). The elements of a
// branch and of a leaf are 16 bytes each and say where their keys and values
// are, counted from the element.
type pageChecker struct {
	r        io.ReaderAt
	size     int64    // of a page
	count    uint64   // of pages
	state    []byte   // of each page
	used     uint64   // pages that are in use
	lost     int      // pages that are neither in use nor free: a waste, and no harm
	buffers  [][]byte // for a page at each depth, kept for their memory
	problems []string
}

// Kinds of pages.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	metaPageKind = 0x04
	freelistPage = 0x10

	pageHeader  = 16
	elementSize = 16
	bucketFlag  = 1 // of an element of a leaf whose value is a bucket
	bucketSize  = 16
	noFreelist  = 1<<64 - 1 // in place of the list's page
	maxDepth    = 64        // of pages below each other: a tree of two-key pages would be larger than a disk
)

// States of pages.
const (
	pageUnknown = iota
	pageUsed
	pageFree
)

// errTooMany ends a check that has found enough.
var errTooMany = errors.New("too many problems")

// check checks all pages. The error is about reading; what is wrong goes into
// problems.
func (c *pageChecker) check() error {
	m := newestMeta(c.r)
	if m.pageSize == 0 {
		c.problems = append(c.problems, "neither of the first two pages is sound")
		return nil
	}
	c.size, c.count = m.pageSize, m.pages
	if c.count < 3 || c.count > 1<<40 {
		c.problems = append(c.problems, fmt.Sprintf("it can't have %d pages", c.count))
		return nil
	}
	if _, err := c.r.ReadAt(make([]byte, 1), int64(c.count)*c.size-1); err != nil {
		c.problems = append(c.problems, "the file is cut off")
		return nil
	}
	c.state = make([]byte, c.count)
	c.state[0], c.state[1], c.used = pageUsed, pageUsed, 2
	err := c.metaHeaders()
	if err == nil {
		err = c.freelist(m.freelist)
	}
	if err == nil {
		err = c.tree(m.root, nil, nil, 0)
	}
	if errors.Is(err, errTooMany) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(c.problems) > 0 {
		return nil // what is below a broken page was not seen
	}
	for _, state := range c.state {
		if state == pageUnknown {
			c.lost++
		}
	}
	return nil
}

// problem notes what is wrong.
func (c *pageChecker) problem(format string, args ...any) error {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
	if len(c.problems) >= maxProblems {
		return errTooMany
	}
	return nil
}

// metaHeaders checks the headers of the meta pages, which their sums leave out.
func (c *pageChecker) metaHeaders() error {
	for id := range uint64(2) {
		header := make([]byte, pageHeader)
		if _, err := c.r.ReadAt(header, int64(id)*c.size); err != nil {
			return err
		}
		own, kind := binary.NativeEndian.Uint64(header), binary.NativeEndian.Uint16(header[8:])
		if own != id || kind != metaPageKind {
			if err := c.problem("page %d says that it is page %d of kind %#x, and should be one of the first two, of kind %#x", id, own, kind, metaPageKind); err != nil {
				return err
			}
		}
	}
	return nil
}

// page reads a page with those that belong to it, and marks them as used. It
// returns nil if it can't be one. What it returns is valid until the next page
// at that depth is read.
func (c *pageChecker) page(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= c.count {
		return nil, c.problem("page %d is pointed to, and there are %d", id, c.count)
	}
	for depth >= len(c.buffers) {
		c.buffers = append(c.buffers, make([]byte, c.size))
	}
	data := c.buffers[depth][:c.size]
	if _, err := c.r.ReadAt(data, int64(id)*c.size); err != nil {
		return nil, err
	}
	if own := binary.NativeEndian.Uint64(data); own != id {
		return nil, c.problem("page %d says that it is page %d", id, own)
	}
	more := uint64(binary.NativeEndian.Uint32(data[12:]))
	if id+more >= c.count {
		return nil, c.problem("page %d goes on for %d pages beyond the end of the file", id, id+more+1-c.count)
	}
	for i := id; i <= id+more; i++ {
		switch c.state[i] {
		case pageUsed:
			return nil, c.problem("page %d is used twice", i)
		case pageFree:
			return nil, c.problem("page %d is in use, and said to be free", i)
		}
		c.state[i] = pageUsed
	}
	c.used += more + 1
	if more > 0 {
		data = slices.Grow(data, int(int64(more)*c.size))[:int64(more+1)*c.size]
		c.buffers[depth] = data
		if _, err := c.r.ReadAt(data[c.size:], int64(id+1)*c.size); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// freelist reads which pages are free.
func (c *pageChecker) freelist(id uint64) error {
	data, err := c.page(id, 0)
	if data == nil || err != nil {
		return err
	}
	if kind := binary.NativeEndian.Uint16(data[8:]); kind != freelistPage {
		return c.problem("page %d should be the list of free pages, and is of kind %#x", id, kind)
	}
	n, ids := uint64(binary.NativeEndian.Uint16(data[10:])), data[pageHeader:]
	if n == 0xffff { // more than fit there
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return c.problem("the list of free pages says that it has %d, and has room for %d", n, len(ids)/8)
	}
	for i := range n {
		free := binary.NativeEndian.Uint64(ids[8*i:])
		switch {
		case free < 2 || free >= c.count:
			err = c.problem("page %d is said to be free, and there are %d", free, c.count)
		case c.state[free] == pageFree:
			err = c.problem("page %d is said to be free twice", free)
		case c.state[free] == pageUsed:
			err = c.problem("page %d holds the list of free pages, and is in it", free)
		default:
			c.state[free] = pageFree
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkFreelist checks what bbolt must not find when it opens a file: a list of
// free pages that says it is longer than memory, which would end the process, or
// none, for then bbolt looks for the free pages itself and believes all others.
// Nobody has locked the file yet, so nothing else of it can be judged.
func checkFreelist(r io.ReaderAt) error {
	m := newestMeta(r)
	if m.pageSize == 0 {
		return nil // bbolt says so
	}
	if m.freelist == noFreelist {
		return errForeign
	}
	data := make([]byte, pageHeader+8)
	if _, err := r.ReadAt(data, int64(m.freelist)*m.pageSize); err != nil {
		return nil // cut off, which shows later
	}
	pages := uint64(binary.NativeEndian.Uint32(data[12:])) + 1
	if n := binary.NativeEndian.Uint64(data[pageHeader:]); binary.NativeEndian.Uint16(data[10:]) == 0xffff && n > pages*uint64(m.pageSize)/8 {
		return fmt.Errorf("the list of free pages says that it has %d, and has %d pages", n, pages)
	}
	return nil
}

// tree checks a page and what is below it, whose keys must be from low on and
// before high, if there are such bounds.
func (c *pageChecker) tree(id uint64, low, high []byte, depth int) error {
	data, err := c.page(id, depth)
	if data == nil || err != nil {
		return err
	}
	return c.elements(fmt.Sprintf("page %d", id), data, low, high, depth)
}

// elements checks the elements of a branch or a leaf.
func (c *pageChecker) elements(where string, data []byte, low, high []byte, depth int) error {
	kind, count := binary.NativeEndian.Uint16(data[8:]), int(binary.NativeEndian.Uint16(data[10:]))
	switch {
	case depth > maxDepth:
		return c.problem("%s is deeper than %d pages", where, maxDepth)
	case kind != branchPage && kind != leafPage:
		return c.problem("%s should hold keys, and is of kind %#x", where, kind)
	case pageHeader+count*elementSize > len(data):
		return c.problem("%s says that it has %d elements, and has no room for them", where, count)
	case kind == branchPage && count == 0:
		return c.problem("%s has nothing below it", where)
	}
	var keys [][]byte // of a branch
	if kind == branchPage {
		keys = make([][]byte, count)
	}
	var first, key []byte
	for i := range count {
		at := pageHeader + i*elementSize
		element := data[at : at+elementSize]
		var position, keySize, valueSize uint64
		if kind == branchPage {
			position, keySize = uint64(binary.NativeEndian.Uint32(element)), uint64(binary.NativeEndian.Uint32(element[4:]))
		} else {
			position, keySize, valueSize = uint64(binary.NativeEndian.Uint32(element[4:])), uint64(binary.NativeEndian.Uint32(element[8:])), uint64(binary.NativeEndian.Uint32(element[12:]))
		}
		start := uint64(at) + position
		if start+keySize+valueSize > uint64(len(data)) {
			return c.problem("element %d of %s is beyond its end", i, where)
		}
		before := key
		key = data[start : start+keySize]
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return c.problem("keys %d and %d of %s are not in order", i-1, i, where)
		}
		if i == 0 {
			first = key
		}
		if kind == branchPage {
			keys[i] = key
		} else if binary.NativeEndian.Uint32(element)&bucketFlag != 0 {
			if err := c.bucket(where, key, data[start+keySize:start+keySize+valueSize], depth); err != nil {
				return err
			}
		}
	}
	if count > 0 && (low != nil && bytes.Compare(first, low) < 0 || high != nil && bytes.Compare(key, high) >= 0) {
		return c.problem("keys of %s belong elsewhere", where)
	}
	if kind == leafPage {
		return nil
	}
	for i, key := range keys {
		next := high
		if i+1 < count {
			next = keys[i+1]
		}
		child := binary.NativeEndian.Uint64(data[pageHeader+i*elementSize+8:])
		if err := c.tree(child, key, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket: the number of its first page, or if that is 0 the
// page itself follows, within the value.
func (c *pageChecker) bucket(where string, name, value []byte, depth int) error {
	if len(value) < bucketSize {
		return c.problem("bucket %.80q in %s is cut off", name, where)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return c.problem("bucket %.80q in %s is not whole", name, where)
	}
	return c.elements(fmt.Sprintf("bucket %.80q", name), inline, nil, nil, depth+1)
}
