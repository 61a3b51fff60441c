package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is rows as a table of Markdown that people can read without it, too.
// The first row is the head; columns of numbers are to the right.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 4)
		}
	}
	right := make([]bool, len(widths))
	for i := range right {
		right[i] = i > 0 && isNumber(rows[len(rows)-1][i])
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				b.WriteString("| " + pad + cell + " ")
			} else {
				b.WriteString("| " + cell + pad + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			rule := strings.Repeat("-", width)
			if right[i] {
				rule = rule[1:] + ":"
			}
			b.WriteString("| " + rule + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// isNumber says whether a cell is a number, with a unit or without.
func isNumber(cell string) bool {
	number, _, _ := strings.Cut(strings.ReplaceAll(cell, ",", ""), " ")
	_, err := strconv.ParseFloat(number, 64)
	return err == nil
}

// counted is "1 call" or "2 calls".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
