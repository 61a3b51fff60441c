package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// asUsed has a command take the words that its Use says: those in brackets may be
// left out, and the last one repeated if there are dots behind it.
func asUsed(cmd *cobra.Command, words []string) error {
	takes := strings.Fields(cmd.Use)[1:]
	least, most := 0, 0
	for _, word := range takes {
		switch {
		case word == "...":
			most = len(words)
		case !strings.HasPrefix(word, "["):
			least++
			most++
		default:
			most++
		}
	}
	if least <= len(words) && len(words) <= most {
		return nil
	}
	what, given := "nothing", "nothing"
	if len(takes) > 0 {
		what = strings.Join(takes, " ")
	}
	if len(words) > 0 {
		given = fmt.Sprintf("%.200q", words)
		given = given[1 : len(given)-1] // without its brackets
	}
	return fmt.Errorf("%s takes %s, and was given %s", strings.TrimPrefix(cmd.CommandPath(), "amphost "), what, given)
}

// aCommand refuses words where one of cmd's commands is meant.
func aCommand(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	var known []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	text := fmt.Sprintf("%s has no command %q", cmd.Name(), words[0])
	if !cmd.HasParent() {
		text = fmt.Sprintf("there is no command %q", words[0])
	}
	if near := closest(words[0], known); near != "" {
		return fmt.Errorf("%s: do you mean %q?", text, near)
	}
	return fmt.Errorf("%s: there are %s", text, strings.Join(known, ", "))
}

// flagError says of a flag that there is none of that name, and which one may be
// meant, or of its value what it should have been.
func flagError(cmd *cobra.Command, err error) error {
	switch err := err.(type) {
	case *pflag.NotExistError:
		name := err.GetSpecifiedName()
		if err.GetSpecifiedShortnames() != "" {
			return fmt.Errorf("%s has no flag -%s", cmd.Name(), name)
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := closest(name, known); near != "" {
			return fmt.Errorf("%s has no flag --%s: do you mean --%s?", cmd.Name(), name, near)
		}
		return fmt.Errorf("%s has no flag --%s", cmd.Name(), name)
	case *pflag.ValueRequiredError:
		return fmt.Errorf("--%s needs a value", err.GetFlag().Name)
	case *pflag.InvalidValueError:
		return fmt.Errorf("--%s %s: %w", err.GetFlag().Name, err.GetValue(), wanted(err.GetFlag(), err.Unwrap()))
	}
	return err
}
