package scripting

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/amphost/amphost/store"
)

// versionsNamespace is where a Dir keeps the last two good versions of each
// plugin, as files NAME/HASH, and which they are, as NAME/versions. No plugin can
// be called so.
const versionsNamespace = "_amphost"

// A history is which versions of a plugin were good: they were published.
// Versions go by their hash.
type history struct {
	Running string `json:"running"`          // the last one
	Before  string `json:"before,omitempty"` // the one before that, another
	Refused string `json:"refused,omitempty"`
	// Refused is what the plugin's files were when they were rolled back: as
	// long as they are that, Running goes on.
}

// published notes that a version is the last good one.
func (h *history) published(hash string) {
	if h.Running != hash {
		h.Running, h.Before = hash, h.Running
	}
	if h.Refused == hash {
		h.Refused = "" // the files are what runs
	}
}

// A bundle is what a program was compiled from, for as long as somebody has to
// keep that.
type bundle struct {
	Code    string
	Mapping []byte
	Strict  bool
}

// A kept is a program as it is stored, by gzip.
type kept struct {
	Format  int // 1
	Name    string
	Path    string
	Files   []string
	Hash    string
	Sums    map[string][]byte // of the files' contents
	Sources sources
	Bundle  *bundle
}

// store encodes the program, if it still has its bundle.
func (p *Program) store() ([]byte, error) {
	b := p.bundle.Load()
	if b == nil {
		return nil, nil
	}
	sums := make(map[string][]byte, len(p.sums))
	for path, sum := range p.sums {
		sums[path] = sum[:]
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err == nil {
		err = json.NewEncoder(z).Encode(kept{Format: 1, Name: p.Name, Path: p.Path, Files: p.Files, Hash: p.Hash, Sums: sums, Sources: p.sources, Bundle: b})
	}
	if err == nil {
		err = z.Close()
	}
	return out.Bytes(), err
}

// restoreProgram decodes what store has encoded.
func restoreProgram(data []byte) (*Program, error) {
	var k kept
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err == nil && (k.Format != 1 || k.Bundle == nil) {
		err = fmt.Errorf("it has format %d", k.Format)
	}
	if err != nil {
		return nil, fmt.Errorf("what was kept of it can't be read: %w", err)
	}
	code, _, err := compile(k.Bundle.Code, k.Bundle.Mapping, k.Bundle.Strict)
	if err != nil {
		return nil, err
	}
	sums := make(map[string][sha256.Size]byte, len(k.Sums))
	for path, sum := range k.Sums {
		sums[path] = [sha256.Size]byte(append(sum, make([]byte, sha256.Size)...))
	}
	return &Program{
		Name: k.Name, Path: k.Path, Files: k.Files, Hash: k.Hash,
		code: code, sums: sums, sources: k.Sources, regexpSets: usesRegExpSets(k.Bundle.Code),
	}, nil
}

// A keeper keeps versions in the store. It does so in a goroutine of its own, so
// that no reload waits for the disk.
type keeper struct {
	store store.Store
	log   *slog.Logger

	mu      sync.Mutex // guards the fields below
	due     map[string]*keeping
	running bool
	idle    sync.Cond // running has become false
}

// A keeping is what is to be kept of a plugin.
type keeping struct {
	history  history
	programs []*Program
}

func newKeeper(s store.Store, log *slog.Logger) *keeper {
	k := &keeper{store: s, log: log, due: make(map[string]*keeping)}
	k.idle.L = &k.mu
	return k
}

// keep has a plugin's history kept, with a program of it if that is not nil.
func (k *keeper) keep(name string, h history, prog *Program) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.due[name]
	if w == nil {
		w = new(keeping)
		k.due[name] = w
	}
	w.history = h
	if prog != nil {
		w.programs = append(w.programs, prog)
	}
	if !k.running {
		k.running = true
		go k.run() // ends with the last of due; wait waits
	}
}

// wait waits until all is kept.
func (k *keeper) wait() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.running {
		k.idle.Wait()
	}
}

func (k *keeper) run() {
	for {
		k.mu.Lock()
		due := k.due
		k.due = make(map[string]*keeping)
		k.running = len(due) > 0
		if !k.running {
			k.idle.Broadcast()
		}
		k.mu.Unlock()
		if len(due) == 0 {
			return
		}
		for _, name := range sortedKeys(due) {
			if err := k.write(name, due[name]); err != nil {
				k.log.Warn("a version can't be kept for amphost rollback", "plugin", name, "error", err)
			}
		}
	}
}

// write writes what is new of a plugin, and removes what is of no use any more.
func (k *keeper) write(name string, w *keeping) error {
	record, err := json.Marshal(w.history)
	if err != nil {
		return err
	}
	files := make(map[string][]byte)
	for _, prog := range w.programs {
		if prog.Hash != w.history.Running && prog.Hash != w.history.Before {
			continue
		}
		data, err := prog.store()
		if err != nil {
			return err
		}
		if data != nil {
			files[name+"/"+prog.Hash] = data
		}
	}
	err = store.Update(context.Background(), k.store, versionsNamespace, func(tx store.Tx) error {
		var old []string
		for f, err := range store.ListFiles(tx, store.Range{Prefix: name + "/"}) {
			if err != nil {
				return err
			}
			switch f.Name {
			case recordName(name), name + "/" + w.history.Running, name + "/" + w.history.Before:
			default:
				old = append(old, f.Name)
			}
		}
		for _, f := range old {
			if err := store.RemoveFile(tx, f); err != nil {
				return err
			}
		}
		for _, f := range sortedKeys(files) {
			if err := store.WriteFile(tx, f, files[f]); err != nil {
				return err
			}
		}
		return store.WriteFile(tx, recordName(name), record)
	})
	if err != nil {
		return err
	}
	for _, prog := range w.programs {
		prog.bundle.Store(nil) // it has served its purpose
	}
	return nil
}

func recordName(name string) string { return name + "/versions" }

// history reads a plugin's history, which is empty if there is none.
func (k *keeper) history(name string) (h history, err error) {
	err = store.View(context.Background(), k.store, versionsNamespace, func(tx store.Tx) error {
		data, err := store.ReadFile(tx, recordName(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = json.Unmarshal(data, &h)
		}
		return err
	})
	return h, err
}

// program reads a version of a plugin.
func (k *keeper) program(name, hash string) (prog *Program, err error) {
	k.wait() // it may be on its way
	err = store.View(context.Background(), k.store, versionsNamespace, func(tx store.Tx) error {
		data, err := store.ReadFile(tx, name+"/"+hash)
		if err == nil {
			prog, err = restoreProgram(data)
		}
		return err
	})
	return prog, err
}
