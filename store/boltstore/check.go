package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	if errors.Is(err, store.ErrDamaged) {
		return []string{err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	problems, err = s.checkPages()
	if err != nil || len(problems) > 0 {
		// bbolt would believe what the pages say.
		return problems, err
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

// checkPages checks the pages of a file that nothing is written to.
func (s *Store) checkPages() ([]string, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := pageChecker{r: f}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("check %s: %w", s.path, err)
	}
	return c.problems, nil
}
