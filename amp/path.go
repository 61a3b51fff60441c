package amp

import (
	"errors"
	"path/filepath"
	"unicode/utf8"
)

// A Path is a file's path: Twisted's Path argument, which is meant for two
// processes of one machine. It is absolute and cleaned once it was read, and
// made so when it is written.
type Path string

var errNoDirectory = errors.New("no working directory to find it from")

// AppendPath appends p to dst, made absolute against this process's working
// directory and cleaned, as Python's os.path.abspath does (amp-wire item Y10).
// It fails with a *ValueError, and returns dst as it was, if p is not UTF-8 or
// there is no working directory.
func AppendPath(dst []byte, p Path) ([]byte, error) {
	p, err := ParsePath([]byte(p))
	if err != nil {
		return dst, err
	}
	return append(dst, p...), nil
}

// ParsePath reads a Path: UTF-8, made absolute against this process's working
// directory, without . and .. and doubled slashes. It fails with a
// *ValueError.
func ParsePath(text []byte) (Path, error) {
	if !utf8.Valid(text) {
		return "", valueError("Path", text, errUTF8)
	}
	p, err := filepath.Abs(string(text))
	if err != nil {
		return "", valueError("Path", text, errNoDirectory)
	}
	return Path(p), nil
}
