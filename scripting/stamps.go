package scripting

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A stamp is what tells that a file has changed without reading it.
type stamp struct {
	size int64
	time time.Time
	info os.FileInfo // for os.SameFile: a file put in its place by renaming; nil if there was none

	// A file that had just been written when it was read may be written once
	// more without its time showing that: as long as it is young its contents
	// are compared.
	young bool
	sum   [sha256.Size]byte
}

// youth is how coarse the times of files are, at worst.
const youth = 2 * time.Second

// stamps are the files that a build depends on.
type stamps map[string]stamp

// stampOf returns the stamp of a file.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), time: info.ModTime(), info: info}
}

// readStamped reads a file. Its stamp is from before, so that a change
// meanwhile shows.
func readStamped(path string) ([]byte, stamp, error) {
	s := stampOf(path)
	data, err := os.ReadFile(path)
	if err == nil && s.info != nil {
		s.young, s.sum = time.Since(s.time) < youth, sha256.Sum256(data)
	}
	return data, s, err
}

func (s stamp) same(t stamp) bool {
	if s.info == nil || t.info == nil {
		return s.info == nil && t.info == nil
	}
	return s.size == t.size && s.time.Equal(t.time) && os.SameFile(s.info, t.info)
}

// changed reports whether any of the files is another one by now.
func (s stamps) changed() bool {
	for path, before := range s {
		if !before.same(stampOf(path)) {
			return true
		}
		if before.young {
			_, now, err := readStamped(path)
			if err != nil || now.sum != before.sum {
				return true
			}
			before.young = now.young
			s[path] = before
		}
	}
	return false
}

// presence tells what is at the paths that imports asked for in vain.
func presence(paths []string) map[string]string {
	m := make(map[string]string, len(paths))
	for _, path := range paths {
		m[path] = present(path)
	}
	return m
}

// mostPresent is how many files of a folder present looks at.
const mostPresent = 1000

// present tells what is at a path that an import asked for in vain, or "" if there
// is nothing: a file, or a folder with what is in it, for it may lack the file that
// was meant, and be about to be removed, or filled.
func present(path string) string {
	path = withExtension(path)
	if path == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	seen, n := fnv.New64a(), 0
	_ = filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
		if n++; n > mostPresent {
			return filepath.SkipAll
		}
		if err != nil {
			return nil // it is gone meanwhile
		}
		if entry.IsDir() && entry.Name() == "node_modules" && at != path {
			return filepath.SkipDir // other packages
		}
		if info, err := entry.Info(); err == nil {
			fmt.Fprintf(seen, "%s %v %d %d\n", at, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return fmt.Sprintf("%s %x", path, seen.Sum64())
}

// withExtension returns the file or folder that an import of a path means, or
// "" if there is none.
func withExtension(path string) string {
	for _, ext := range []string{"", ".ts", ".mts", ".tsx", ".mjs", ".js", ".cjs", ".jsx", ".cts", ".json"} {
		if _, err := os.Stat(path + ext); err == nil {
			return path + ext
		}
	}
	return ""
}
