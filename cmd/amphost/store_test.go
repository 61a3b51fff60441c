package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

// command runs a command line in this process.
func command(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), code
}

// storeIn makes a store with some of everything, and returns its path.
func storeIn(t *testing.T, dir string, fill func(tx store.Tx) error) string {
	t.Helper()
	path := filepath.Join(dir, "amphost.db")
	s, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Update(t.Context(), s, "chat", fill), s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoreCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error { return store.WriteFile(tx, "logo", []byte{0, 255, '\n'}) })
	contents := filepath.Join(dir, "contents")
	write(t, "line\n", contents)
	for _, c := range []struct {
		args string // words, a space between
		want string // exactly, or what stderr has if it begins with "!"
	}{
		{"namespaces", "chat\n"},
		{"namespaces --json", `["chat"]` + "\n"},
		{`put chat room/1 {"topic":"Grüße","since":{"$date":"2026-11-22T10:00:00.000Z"}}`, ""},
		{"put chat room/2 null", ""},
		{"put chat evil\nname -0", ""},
		{"put --counter chat users 41", ""},
		{"put --counter chat users -7", ""},
		{"put --file chat ../etc/passwd " + contents, ""},
		{"put new a [1,2]", ""},
		{"namespaces", "chat\nnew\n"},
		{"ls chat", `"evil\nname"	-0` + "\n" + `room/1	{"topic":"Grüße","since":{"$date":"2026-11-22T10:00:00.000Z"}}` + "\nroom/2\tnull\n"},
		{"ls chat room --limit 1", `room/1	{"topic":"Grüße","since":{"$date":"2026-11-22T10:00:00.000Z"}}` + "\n"},
		{"ls chat room/2 --json", `[` + "\n" + `{"key":"room/2","value":null}` + "\n]\n"},
		{"ls chat nothing --json", "[]\n"},
		{"ls chat --counters", "users\t-7\n"},
		{"files chat", "         5  ../etc/passwd\n         3  logo\n"},
		{"files chat l --json", `[` + "\n" + `{"name":"logo","size":3}` + "\n]\n"},
		{"get chat room/2", "null\n"},
		{"get new a", "[1,2]\n"},
		{"get --counter chat users", "-7\n"},
		{"get --file chat logo", "\x00\xff\n"},
		{"get --file chat logo --json", `{"$bytes":"AP8K"}` + "\n"},
		{"get --file chat ../etc/passwd", "line\n"},
		{"rm --file chat ../etc/passwd", ""},
		{"rm chat room/1 room/2", ""},
		{"rm --counter chat users", ""},
		{"ls chat room", ""},
		{"check", path + " is sound\n"},
		{"check --json", fmt.Sprintf(`{"file":%q,"problems":[]}`, path) + "\n"},

		{"get chat room/1", `!there is no key "room/1" in namespace chat`},
		{"get --counter chat users", `!there is no counter "users"`},
		{"get --file chat nothing", `!there is no file "nothing"`},
		{"get nowhere a", `!there is no namespace "nowhere" in ` + path + ": there is chat and new"},
		{"ls nowhere", `!there is no namespace "nowhere"`},
		{"rm new a b", `!there is no key "b" in namespace new`},
		{"get new a", "[1,2]\n"}, // all of them or none
		{"put chat a {", `!value of key "a": the value is not whole`},
		{"put chat a 12345678901234567890", "!$bigint"},
		{"put --counter chat a 1.5", "!a counter is a whole number"},
		{"put --counter chat a 9007199254740992", "!a counter is a whole number"},
		{"put --file chat a " + filepath.Join(dir, "missing"), "!no such file"},
		{"put Chat a 1", "!is no namespace"},
		{"put --file --counter chat a 1", "!were all set"},
		{"get chat", "!store get takes NAMESPACE NAME, and was given \"chat\""},
		{"frobnicate", `!store has no command "frobnicate"`},
	} {
		words := strings.Split(c.args, " ")
		stdout, stderr, code := command(append([]string{"store", "--store", path}, words...)...)
		if want, failing := strings.CutPrefix(c.want, "!"); failing {
			if code == 0 || !strings.Contains(stderr, want) || stdout != "" {
				t.Errorf("store %s: exit %d, %q, %q, want an error with %q", c.args, code, stdout, stderr, want)
			}
		} else if code != 0 || stdout != c.want || stderr != "" {
			t.Errorf("store %s: exit %d, %q, %q, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
	for _, args := range []string{"namespaces", "ls chat", "get chat a", "rm chat a", "put chat a 1", "files chat", "check", "compact", "stats", "backup b", "export e"} {
		missing := filepath.Join(dir, "missing.db")
		_, stderr, code := command(append([]string{"store", "--store", missing}, strings.Split(args, " ")...)...)
		if code != exitFailure || !strings.Contains(stderr, "there is no store "+missing) {
			t.Errorf("store %s without a store: exit %d, %q", args, code, stderr)
		}
		if _, err := os.Stat(missing); err == nil {
			t.Fatalf("store %s made a store", args)
		}
	}
}

// TestStoreJSON checks that every command prints one JSON value with --json, and
// what is in it.
func TestStoreJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error { return store.WriteFile(tx, "f", make([]byte, 2000)) })
	in := func(name string) string { return filepath.Join(dir, name) }
	other := in("other.db")
	for _, c := range []struct {
		args string
		want string // the value, without what is not about names and numbers of things
	}{
		{"put chat a 1", `{"key":"a","namespace":"chat"}`},
		{"put --counter chat n 7", `{"counter":"n","namespace":"chat"}`},
		{"put --file chat g " + path, `{"file":"g","namespace":"chat"}`},
		{"namespaces", `["chat"]`},
		{"ls chat", `[{"key":"a","value":1}]`},
		{"ls chat --counters", `[{"key":"n","value":7}]`},
		{"get chat a", `1`},
		{"get --counter chat n", `7`},
		{"files chat f", `[{"name":"f","size":2000}]`},
		{"rm --file chat g", `{"files":["g"],"namespace":"chat"}`},
		{"check", fmt.Sprintf(`{"file":%q,"problems":[]}`, path)},
		{"stats", fmt.Sprintf(`{"file":%q,"free":"?","namespaces":[{"bytes":"?","counters":1,"files":1,"keys":1,"name":"chat","other":0}],"size":"?"}`, path)},
		{"backup " + in("b.db"), fmt.Sprintf(`{"bytes":"?","file":%q}`, in("b.db"))},
		{"export " + in("e"), fmt.Sprintf(`{"directory":%q,"entries":2,"files":1,"namespaces":["chat"]}`, in("e"))},
		{"--store " + other + " import " + in("e"), fmt.Sprintf(`{"entries":2,"file":%q,"files":1,"namespaces":["chat"]}`, other)},
		{"--store " + in("new.db") + " restore " + in("b.db"), fmt.Sprintf(`{"file":%q,"kept":""}`, in("new.db"))},
		{"compact", fmt.Sprintf(`{"after":"?","before":"?","file":%q}`, path)},
		{"rm chat a", `{"keys":["a"],"namespace":"chat"}`},
		{"rm --counter chat n", `{"counters":["n"],"namespace":"chat"}`},
	} {
		stdout, stderr, code := command(append([]string{"store", "--json", "--store", path}, strings.Split(c.args, " ")...)...)
		var value any
		if err := json.Unmarshal([]byte(stdout), &value); err != nil || code != 0 || stderr != "" {
			t.Errorf("store --json %s: exit %d, %q, %q, %v", c.args, code, stdout, stderr, err)
			continue
		}
		hideSizes(value)
		got, err := json.Marshal(value)
		if err != nil || string(got) != c.want {
			t.Errorf("store --json %s prints %s, want %s", c.args, stdout, c.want)
		}
	}
}

// hideSizes replaces numbers of bytes, which are bbolt's affair, and must be
// some.
func hideSizes(value any) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			hideSizes(element)
		}
	case map[string]any:
		for key, element := range v {
			n, ok := element.(float64)
			if _, file := v["name"]; ok && n > 0 && (key == "bytes" || key == "free" || key == "after" || key == "before" || key == "size" && !file) {
				v[key] = "?"
			}
			hideSizes(element)
		}
	}
}

// TestStatsAndCompact checks what is told of a store, and that compacting it
// keeps what is in it.
func TestStatsAndCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error {
		_, err := store.Add(tx, "n", 5)
		return errors.Join(err, tx.Put(store.Keys, "a", []byte("12345")), store.WriteFile(tx, "f", make([]byte, 3_000_000)))
	})
	stats := func() (got struct {
		Size, Free int64
		Namespaces []struct {
			Name                  string
			Keys, Counters, Files int
			Bytes                 int64
		}
	}) {
		t.Helper()
		stdout, stderr, _ := command("store", "--store", path, "stats", "--json")
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Namespaces) != 1 {
			t.Fatalf("stats: %v, %s%s", err, stdout, stderr)
		}
		return got
	}
	before := stats()
	if ns := before.Namespaces[0]; ns.Name != "chat" || ns.Keys != 1 || ns.Counters != 1 || ns.Files != 1 || ns.Bytes < 3_000_000 {
		t.Errorf("stats = %+v", before)
	}
	stdout, _, _ := command("store", "--store", path, "stats")
	if !regexp.MustCompile(`(?m)^chat +1 +1 +1 +29\d\d\.\d KiB$`).MatchString(stdout) {
		t.Errorf("stats prints %s", stdout)
	}
	if _, stderr, code := command("store", "--store", path, "rm", "--file", "chat", "f"); code != 0 {
		t.Fatal(stderr)
	}
	if got := stats(); got.Free < 3_000_000 {
		t.Errorf("after a file of 3 MB is gone %d bytes are free", got.Free)
	}
	if stdout, stderr, code := command("store", "--store", path, "compact"); code != 0 || !strings.Contains(stdout, "before") {
		t.Errorf("compact: exit %d, %q, %q", code, stdout, stderr)
	}
	if got := stats(); got.Size > 100_000 || got.Namespaces[0].Keys != 1 {
		t.Errorf("after compact: %+v", got)
	}
}

// nasty are names that must not lead anywhere.
var nasty = []string{
	"", ".", "..", "/", "//", "../../etc/passwd", "/etc/passwd", "a/b", `a\b`, `C:\x`, "CON", "nul", "a\x00b", "\x00", "\n", "-rf", "--", "~", "*",
	"Ada", "ada", "ADA", "ada.", ".ada", "ada ", " ", "é", "e\u0301", "日本", "\xff\xfe", "%", "%41", "A%", "%empty", "%2E", "files", exportFile, "..%2f",
	strings.Repeat("x", 199), strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("x", 255), strings.Repeat("x", 256),
	strings.Repeat("../", 1000), strings.Repeat("é", 300), strings.Repeat("x", store.MaxFileName),
}

// contentsOf returns all entries of all namespaces of a store.
func contentsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	s, err := boltstore.Open(path, &boltstore.Options{NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all := make(map[string]string)
	names, err := s.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		err := store.View(t.Context(), s, name, func(tx store.Tx) error {
			for space := range 256 {
				for e, err := range tx.Scan(store.Space(space), store.Range{}) {
					if err != nil {
						return err
					}
					all[fmt.Sprintf("%s/%c/%s", name, space, e.Key)] = string(e.Value)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestExportComesBack checks that what is exported stays in its directory, is
// nobody else's to read, and is imported byte for byte.
func TestExportComesBack(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	path := storeIn(t, outer, func(tx store.Tx) error {
		var errs []error
		for i, name := range nasty {
			errs = append(errs, store.WriteFile(tx, name, bytesOf(i*i*50)))
			errs = append(errs, tx.Put(store.Keys, name, bytesOf(i)), tx.Put('x', name, bytesOf(i)))
			_, err := store.Add(tx, name, int64(i-20))
			errs = append(errs, err)
		}
		// What a script has stored: {"$a":[1,"é"]}, -0 and a number that is not in its own form.
		errs = append(errs, tx.Put(store.Keys, "script/1", []byte("\x01o\x01\x02$aa\x02i\x02s\x02é")), tx.Put(store.Keys, "script/2", []byte("\x01n\x80\x00\x00\x00\x00\x00\x00\x00")),
			tx.Put(store.Keys, "script/3", []byte("\x01n\x00\x00\x00\x00\x00\x00\x00\x00")), tx.Put(store.Counters, "damaged", []byte("12x")))
		return errors.Join(errs...)
	})
	exported := filepath.Join(outer, "exported")
	beforeNames := names(t, outer)
	stdout, stderr, code := command("store", "--store", path, "export", exported)
	if code != 0 || stderr != "" || !strings.Contains(stdout, fmt.Sprintf("%d files", len(nasty))) {
		t.Fatalf("export: exit %d, %s%s", code, stdout, stderr)
	}
	if got := names(t, outer); !slices.Equal(got, append(beforeNames, "exported")) {
		t.Errorf("export left %q", got)
	}
	files := 0
	err := filepath.WalkDir(exported, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && info.Mode().Perm() == 0o700:
		case d.Type().IsRegular() && info.Mode().Perm() == 0o600:
			files++
		default:
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files != len(nasty)+3 {
		t.Errorf("%d files, %v, want %d", files, err, len(nasty)+3)
	}
	entries, err := os.ReadFile(filepath.Join(exported, "chat", exportEntries))
	if err != nil || !strings.Contains(string(entries), `{"key":"script/1","value":{"$object":{"$a":[1,"é"]}}}`) {
		t.Errorf("a script's value is not shown as it is: %v", err)
	}

	imported := filepath.Join(outer, "imported.db")
	if stdout, stderr, code := command("store", "--store", imported, "import", exported); code != 0 {
		t.Fatalf("import: exit %d, %s%s", code, stdout, stderr)
	}
	want, got := contentsOf(t, path), contentsOf(t, imported)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%.60q was %.60q, and is %.60q", key, value, got[key])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries were imported of %d", len(got), len(want))
	}
	if problems, err := boltstore.Check(imported); err != nil || len(problems) != 1 { // the damaged counter
		t.Errorf("Check of what was imported: %q, %v", problems, err)
	}

	if _, stderr, code := command("store", "--store", imported, "import", exported); code != exitFailure || !strings.Contains(stderr, "namespace chat is not empty") {
		t.Errorf("import over what is there: exit %d, %s", code, stderr)
	}
	if _, stderr, code := command("store", "--store", path, "export", exported); code != exitFailure || !strings.Contains(stderr, "is not empty") {
		t.Errorf("export into what is there: exit %d, %s", code, stderr)
	}
}

// names returns what is in a directory, sorted.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestExportLeavesOutWhatIsDamaged checks that one damaged file does not keep
// the others from being saved.
func TestExportLeavesOutWhatIsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error {
		return errors.Join(store.WriteFile(tx, "good", []byte("1")), store.WriteFile(tx, "bad", make([]byte, 2000)),
			tx.Put(store.Pieces, "bad\x00\x00\x00\x00", []byte("2")))
	})
	exported := filepath.Join(dir, "exported")
	stdout, stderr, code := command("store", "--store", path, "export", exported)
	if code != exitFailure || !strings.Contains(stderr, `left out: namespace chat: file "bad"`) || !strings.Contains(stdout, " 1 file of 1 namespace") || !strings.Contains(stderr, "1 file damaged, and left out") {
		t.Errorf("export: exit %d, %s%s", code, stdout, stderr)
	}
	if got := names(t, filepath.Join(exported, "chat", "files")); !slices.Equal(got, []string{"good"}) {
		t.Errorf("files %q were exported", got)
	}
	stdout, _, code = command("store", "--store", path, "check")
	if code != exitFailure || !strings.Contains(stdout, `namespace chat: file "bad": store: damaged`) {
		t.Errorf("check: exit %d, %s", code, stdout)
	}
}

// TestImportBelievesNothing checks that an export that was tampered with is
// refused, reads nothing outside of its directory, and leaves nothing stored.
func TestImportBelievesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := storeIn(t, dir, func(tx store.Tx) error {
		return errors.Join(store.WriteFile(tx, "a", []byte("contents")), tx.Put(store.Keys, "k", []byte{1, 't'}))
	})
	write(t, "contents", dir, "outside")
	for name, c := range map[string]struct {
		tamper func(dir string) // of the export
		want   string
	}{
		"a path that leads out": {replaceIn(t, "chat/files.jsonl", "files/a", "../../outside"), "escapes"},
		"an absolute path":      {replaceIn(t, "chat/files.jsonl", "files/a", dir+"/outside"), ""},
		"a link that leads out": {func(d string) { relink(t, filepath.Join(dir, "outside"), d, "chat/files/a") }, "escapes"},
		"a directory that is a link": {func(d string) {
			relink(t, t.TempDir(), d, "chat/files")
		}, "escapes"},
		"changed contents":           {func(d string) { write(t, "CONTENTS", d, "chat/files/a") }, "has changed"},
		"a missing file":             {func(d string) { os.Remove(filepath.Join(d, "chat/files/a")) }, "no such file"},
		"an interrupted export":      {func(d string) { os.Remove(filepath.Join(d, exportFile)) }, "interrupted"},
		"a newer format":             {replaceIn(t, exportFile, `"amphostExport":1`, `"amphostExport":2`), "newer amphost"},
		"something else":             {func(d string) { write(t, "{}", d, exportFile) }, "not of an export"},
		"a namespace that is a path": {replaceIn(t, exportFile, `"chat"`, `"../chat"`), "is no namespace"},
		"half a line":                {func(d string) { write(t, `{"key":"a","va`, d, "chat", exportEntries) }, "unexpected EOF"},
		"a line of something else":   {func(d string) { write(t, `{"what":1}`, d, "chat", exportEntries) }, "line 1"},
		"a line of nothing":          {func(d string) { write(t, `{}`, d, "chat", exportEntries) }, "neither a key nor a counter"},
		"a value that is none":       {func(d string) { write(t, `{"key":"a","value":{"$date":"x"}}`, d, "chat", exportEntries) }, "$date"},
	} {
		t.Run(name, func(t *testing.T) {
			exported := filepath.Join(t.TempDir(), "exported")
			if _, stderr, code := command("store", "--store", path, "export", exported); code != 0 {
				t.Fatal(stderr)
			}
			c.tamper(exported)
			imported := filepath.Join(t.TempDir(), "imported.db")
			_, stderr, code := command("store", "--store", imported, "import", exported)
			if code != exitFailure || !strings.Contains(stderr, c.want) {
				t.Errorf("import: exit %d, %q, want an error with %q", code, stderr, c.want)
			}
			if _, err := os.Stat(imported); err == nil {
				if all := contentsOf(t, imported); len(all) > 0 {
					t.Errorf("import stored %q", all)
				}
			}
		})
	}
}

func replaceIn(t *testing.T, name, old, with string) func(dir string) {
	return func(dir string) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("%s has no %q: %v", name, old, err)
		}
		write(t, strings.ReplaceAll(string(text), old, with), dir, name)
	}
}

// relink puts a link to a path in the place of what is there.
func relink(t *testing.T, to, dir, name string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// FuzzEscapeName checks that a file's name becomes one that stays where it is,
// and that no two become the same.
func FuzzEscapeName(f *testing.F) {
	for i, name := range nasty {
		f.Add(name, nasty[(i+1)%len(nasty)])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		escaped := escapeName(a)
		if !filepath.IsLocal(escaped) || escaped == "." || strings.ContainsAny(escaped, "/\\\x00:") || len(escaped) > 255 || escaped[0] == '.' || escaped[len(escaped)-1] == '.' {
			t.Errorf("%q is escaped as %q", a, escaped)
		}
		if a != b && escaped == escapeName(b) {
			t.Errorf("%q and %q are both escaped as %q", a, b, escaped)
		}
	})
}

func TestStoreQuotaFlag(t *testing.T) {
	t.Parallel()
	var q storeQuota
	for text, want := range map[string]string{
		"1000": "", "64MiB": "", "chat=1GiB": "", "chat=0": "", "8GiB": "",
		"": "no number of bytes", "-1": "no number", "1.5MiB": "no number", "chat=": "no number", "9999999999GiB": "no number", "1MB": "no number", "Chat=1": "no plugin's name", "=1": "no plugin's name",
	} {
		err := q.Set(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("--store-quota %s: %v, want %q", text, err, want)
		}
	}
	q = storeQuota{}
	for _, text := range []string{"1KiB", "chat=5", "2KiB", "chat=7"} {
		if err := q.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if q.all != 2048 || q.single["chat"] != 7 || q.String() != "2048 chat=7" {
		t.Errorf("the quotas are %+v, %s", q, &q)
	}
}
