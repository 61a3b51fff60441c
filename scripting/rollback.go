package scripting

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

// Rollback puts the last good version of a plugin back: the one that was
// published before the one that runs or, if none runs, the last one that did. It
// goes on, also after a restart, until the plugin's files change. Rolling back
// once more puts the other one back again.
func (d *Dir) Rollback(ctx context.Context, name string) error {
	for {
		d.mu.Lock()
		drained := d.drained
		d.mu.Unlock()
		err := d.rollBack(ctx, name)
		if err != errDraining {
			return err
		}
		select {
		case <-drained:
		case <-ctx.Done():
			return err
		}
	}
}

func (d *Dir) rollBack(ctx context.Context, name string) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer func() { <-d.turn }()
	e := d.entries[name]
	if e == nil {
		return fmt.Errorf("there is no plugin %q in %s: %w", name, displayPath(d.path), fs.ErrNotExist)
	}
	if d.mustWait(e) {
		return errDraining
	}
	hash := e.history.Before
	if e.plugin == nil {
		hash = e.history.Running
	}
	if hash == "" {
		return fmt.Errorf("there is no version of %s to go back to: none but this one was ever published", name)
	}
	prog, err := d.keeper.program(name, hash)
	if err != nil {
		return fmt.Errorf("go back to version %s of %s: %w", hash, name, err)
	}
	c := &candidate{entry: e, found: found{name: name, path: e.path}, prog: prog, back: true, began: time.Now()}
	batch := []*candidate{c}
	d.start(ctx, batch)
	d.refuse(batch)
	if c.err != nil {
		e.goOn()
		return fmt.Errorf("go back to version %s of %s: %w", hash, name, c.err)
	}
	e.history.Refused = e.built
	d.publish(batch, make(map[string]error))
	return nil
}

// judge compares what was built of the files of a plugin with what they were
// when it was rolled back.
func (d *Dir) judge(c *candidate, hash string) {
	e := c.entry
	e.built = hash
	switch {
	case e.history.Refused == "":
		return
	case e.history.Refused != hash:
		e.history.Refused = "" // they have changed
		d.keeper.keep(e.name, e.history, nil)
		return
	}
	c.err, c.prog = nil, nil
	if c.same = e.plugin != nil && !e.retold; c.same {
		return
	}
	if c.prog, c.err = d.keeper.program(e.name, e.history.Running); c.err != nil {
		c.err = fmt.Errorf("the version that it was rolled back to is gone: %w: change the file, and it is served again", c.err)
		return
	}
	c.back = true
	d.log(e, slog.LevelWarn, "plugin is rolled back: its files are served once they change", slog.String("version", e.history.Running))
}

// remember reads the history of a plugin that is new here.
func (d *Dir) remember(e *entry) {
	var err error
	if e.history, err = d.keeper.history(e.name); err != nil {
		d.log(e, slog.LevelWarn, "the plugin's earlier versions can't be read", slog.Any("error", err))
	}
}
