package main

import (
	"cmp"
	"strings"

	"github.com/amphost/amphost/scripting"
)

// exampleCall returns a command that is served and arguments that it takes, to
// be typed behind "amphost call ADDRESS", or "" if there is none so simple.
func exampleCall(plugins []scripting.Status) string {
	first := ""
	for _, p := range plugins {
		for _, command := range p.Commands {
			example, ok := exampleOf(command)
			if ok && command.Name == "Sum" { // everybody's first
				return example
			}
			if ok {
				first = cmp.Or(first, example)
			}
		}
	}
	return first
}

// exampleOf returns an example of a command. ok is false if some argument is
// not easily typed.
func exampleOf(command scripting.Signature) (example string, ok bool) {
	values := map[string][]string{ // the last one again and again
		"Integer": {"13", "81", "5"},
		"Float":   {"1.5", "0.25"},
		"Boolean": {"True"},
		"Unicode": {"ada", "grace"},
		"String":  {"abc", "def"},
		"Decimal": {"1.10", "2.50"},
	}
	words := []string{command.Name}
	for _, argument := range command.Arguments {
		if argument.Optional {
			continue
		}
		left := values[argument.Type]
		if len(left) == 0 {
			return "", false
		}
		words = append(words, argument.Name+"="+left[0])
		if len(left) > 1 {
			values[argument.Type] = left[1:]
		}
	}
	for _, word := range words {
		if strings.ContainsFunc(word, needsQuotes) {
			return "", false
		}
	}
	return strings.Join(words, " "), true
}

// needsQuotes reports whether a shell may do something with r.
func needsQuotes(r rune) bool {
	return !strings.ContainsRune("_-=.:/+,@%", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
