package scripting

import (
	"os"
	"time"
)

// A stamp is what tells that a file has changed without reading it.
type stamp struct {
	size int64
	time time.Time
	info os.FileInfo // for os.SameFile: a file put in its place by renaming
}

// stamps are the files that a build has read.
type stamps map[string]stamp

// stampOf returns the stamp of a file; the zero stamp if there is none.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), time: info.ModTime(), info: info}
}

func (s stamp) same(t stamp) bool {
	if s.info == nil || t.info == nil {
		return s.info == t.info
	}
	return s.size == t.size && s.time.Equal(t.time) && os.SameFile(s.info, t.info)
}

// changed reports whether any of the files is another one by now.
func (s stamps) changed() bool {
	for path, before := range s {
		if !before.same(stampOf(path)) {
			return true
		}
	}
	return false
}

// presence tells which of the paths that imports asked for in vain are there.
func presence(paths []string) map[string]bool {
	m := make(map[string]bool, len(paths))
	for _, path := range paths {
		for _, ext := range []string{"", ".ts", ".mts", ".tsx", ".mjs", ".js", ".cjs", ".jsx", ".cts", ".json"} {
			if _, err := os.Stat(path + ext); err == nil {
				m[path] = true
				break
			}
		}
	}
	return m
}
