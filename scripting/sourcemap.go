package scripting

import (
	"encoding/json"
	"path/filepath"
	"strings"
)

// sources are the texts of a program's files by the names that stack frames
// give them: absolute paths.
type sources map[string]string

// newSources takes the texts out of a source map whose names are relative to
// dir, and returns the map without them, with absolute names.
func newSources(mapping []byte, dir string) (sources, []byte, error) {
	var m struct {
		Version        int      `json:"version"`
		Sources        []string `json:"sources"`
		SourcesContent []string `json:"sourcesContent,omitempty"`
		Mappings       string   `json:"mappings"`
		Names          []string `json:"names"`
	}
	if err := json.Unmarshal(mapping, &m); err != nil {
		return nil, nil, err
	}
	src := make(sources, len(m.Sources))
	for i, name := range m.Sources {
		if !strings.Contains(name, ":") && !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if i < len(m.SourcesContent) {
			src[name] = m.SourcesContent[i]
		}
		// goja reads names as URLs.
		m.Sources[i] = escapePath(name)
	}
	m.SourcesContent = nil
	m.Mappings = shiftColumns(m.Mappings)
	mapping, err := json.Marshal(m)
	return src, mapping, err
}

// shiftColumns makes the columns of a source map count from 1, on both sides.
// goja looks up columns that count from 1 in maps that count from 0, and takes
// what it finds as it is. Columns are differences to the segment before, the
// generated ones anew on each line.
func shiftColumns(mappings string) string {
	lines := strings.Split(mappings, ";")
	shifted := false
	for i, line := range lines {
		segment, rest, _ := strings.Cut(line, ",")
		fields := readVLQ(segment)
		if len(fields) == 0 {
			continue
		}
		fields[0]++
		if len(fields) >= 4 && !shifted {
			fields[3]++
			shifted = true
		}
		lines[i] = appendVLQ(fields)
		if rest != "" {
			lines[i] += "," + rest
		}
	}
	return strings.Join(lines, ";")
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// readVLQ reads the numbers of one segment of a source map.
func readVLQ(segment string) []int {
	var fields []int
	n, shift := 0, 0
	for i := range len(segment) {
		digit := strings.IndexByte(base64Digits, segment[i])
		n |= (digit & 31) << shift
		shift += 5
		if digit&32 == 0 {
			v := n >> 1
			if n&1 != 0 {
				v = -v
			}
			fields = append(fields, v)
			n, shift = 0, 0
		}
	}
	return fields
}

// appendVLQ is the opposite of readVLQ.
func appendVLQ(fields []int) string {
	var b strings.Builder
	for _, v := range fields {
		n := v << 1
		if v < 0 {
			n = -v<<1 | 1
		}
		for {
			digit := n & 31
			if n >>= 5; n > 0 {
				digit |= 32
			}
			b.WriteByte(base64Digits[digit])
			if n == 0 {
				break
			}
		}
	}
	return b.String()
}

// escapePath escapes what a URL's path can't hold.
func escapePath(name string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(name)
}
