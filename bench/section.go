package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// A finding is what one measurement of growth has found: a section of a document
// with a table, a picture of it, and whether the bars are reached.
type finding struct {
	name    string // of the section and the picture
	title   string
	about   string // what was measured
	columns []column
	rows    [][]float64 // NaN where there is none; in a finding, by columns
	panels  []panel
	bars    []bar
}

// A column is one of the table.
type column struct {
	name  string
	shown func(float64) string
}

// A bar is what was to be reached.
type bar struct {
	text    string
	got     string
	reached bool
}

func (b bar) String() string {
	if b.reached {
		return fmt.Sprintf("Reached: %s; it is %s.", b.text, b.got)
	}
	return fmt.Sprintf("**Not reached**: %s; it is %s.", b.text, b.got)
}

// column returns the values of a column, in order of the rows.
func (f *finding) column(i int) []float64 {
	list := make([]float64, len(f.rows))
	for j, row := range f.rows {
		list[j] = row[i]
	}
	return list
}

// at returns the row whose first column is x, or nil.
func (f *finding) at(x float64) []float64 {
	for _, row := range f.rows {
		if row[0] == x {
			return row
		}
	}
	return nil
}

// table writes the table as Markdown.
func (f *finding) table() string {
	rows := [][]string{nil}
	for _, c := range f.columns {
		rows[0] = append(rows[0], c.name)
	}
	for _, row := range f.rows {
		var cells []string
		for i, v := range row {
			cell := "–"
			if !math.IsNaN(v) {
				cell = f.columns[i].shown(v)
			}
			cells = append(cells, cell)
		}
		rows = append(rows, cells)
	}
	return table(rows)
}

// markdown writes the section of a document that has its pictures in the
// directory pictures, as seen from the document.
func (f *finding) markdown(pictures, when string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s %s\n\n![%s](%s)\n\n%s", f.title, f.about, when, f.title, filepath.ToSlash(filepath.Join(pictures, f.name+".svg")), f.table())
	for i, bar := range f.bars {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", bar)
	}
	return b.String()
}

// save puts the section into the document and its picture beside it, into a
// directory that is called like the document.
func (f *finding) save(document, when string) error {
	pictures := strings.TrimSuffix(document, filepath.Ext(document))
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(pictures, f.name+".svg"), plot(f.title, f.panels), 0o644); err != nil {
		return err
	}
	text, err := os.ReadFile(document)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(document, replaceSection(text, "growth "+f.name, f.markdown(filepath.Base(pictures), when)), 0o644)
}

// replaceSection puts body between the comments that begin and end a section of
// a Markdown document, which are appended if there are none.
func replaceSection(document []byte, name, body string) []byte {
	begin, end := fmt.Appendf(nil, "<!-- %s -->\n", name), fmt.Appendf(nil, "<!-- end of %s -->\n", name)
	before, rest, found := bytes.Cut(document, begin)
	_, after, closed := bytes.Cut(rest, end)
	if !found || !closed {
		before, after = document, nil
		if len(before) > 0 {
			before = append(bytes.TrimRight(before, "\n"), "\n\n"...)
		}
	}
	var out bytes.Buffer
	for _, part := range [][]byte{before, begin, []byte(body), end, after} {
		out.Write(part)
	}
	return out.Bytes()
}
