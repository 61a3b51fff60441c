package boltstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/amphost/amphost/store"
)

// maxProblems is how many problems of a file are told.
const maxProblems = 100

// Check reads all of the store in a file and returns what is wrong with it, in
// words, up to a hundred problems: pages that do not fit together, counters and
// files that are not what was written. The file must not be in use, else the
// error is ErrLocked; it is fs.ErrNotExist if there is no file.
func Check(path string) (problems []string, err error) {
	s, err := Open(path, &Options{NoCreate: true})
	if broken, ok := errors.AsType[*brokenPages](err); ok {
		return broken.problems, nil
	}
	if errors.Is(err, store.ErrDamaged) {
		return []string{err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.lost > 0 {
		problems = append(problems, fmt.Sprintf("%d pages are neither in use nor free", s.lost))
	}
	names, err := s.Namespaces()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		err := store.View(context.Background(), s, name, func(tx store.Tx) error {
			for problem := range store.Verify(tx) {
				if !errors.Is(problem, store.ErrDamaged) {
					return problem
				}
				if len(problems) < maxProblems {
					problems = append(problems, fmt.Sprintf("namespace %s: %v", name, problem))
				}
			}
			return nil
		})
		if err != nil {
			return problems, fmt.Errorf("check %s: %w", path, err)
		}
	}
	return problems, nil
}

// brokenPages is an error that is store.ErrDamaged.
type brokenPages struct{ problems []string }

// Error implements error.
func (b *brokenPages) Error() string {
	more := ""
	if n := len(b.problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more problems)", n)
	}
	return fmt.Sprintf("%v: %s%s: restore a backup", store.ErrDamaged, b.problems[0], more)
}

// Unwrap tells what kind of error it is.
func (b *brokenPages) Unwrap() error { return store.ErrDamaged }

// checkPages checks the pages of the file that bbolt has just opened, before
// anything believes what they say.
func (s *Store) checkPages() error {
	c := pageChecker{r: s.file}
	if err := c.check(); err != nil {
		return withoutPath(err)
	}
	if len(c.problems) > 0 {
		return &brokenPages{c.problems}
	}
	s.lost = c.lost
	return nil
}
