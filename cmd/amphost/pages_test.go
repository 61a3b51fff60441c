package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A player does what a page of the docs says, in an empty directory:
//
//   - a block that begins with the name of a file, in a comment, is saved under it;
//   - a line of a console block that begins with $ is run, and what follows it
//     must be what it prints;
//   - amphost serve is started, and runs on until a line ^C, kill -9 $! or the
//     page's end; :8750 then stands for its address;
//   - a text block must be in the log of the server, times aside.
type player struct {
	t      *testing.T
	dir    string
	server *server
	saved  []string // names of files
	typed  int      // command lines
}

var (
	pageBlock  = regexp.MustCompile("(?ms)^```(\\w+)[^\n]*\n(.*?)^```")
	fileName   = regexp.MustCompile(`^(?://|#) (\S+\.\w+)(?::.*)?\n`)
	typedLine  = regexp.MustCompile(`(?m)^(?:\$ (.*)|\^C)\n((?:[^$^].*\n|\n)*)`)
	loadedLine = regexp.MustCompile(`(?m) plugin (re)?loaded plugin=| plugin not (re)?loaded`)
	logTime    = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3} `)
	logTook    = regexp.MustCompile(`\bms=[0-9.]+`)
)

// play plays a page.
func play(t *testing.T, path string) *player {
	t.Helper()
	p := &player{t: t, dir: t.TempDir()}
	for _, block := range pageBlock.FindAllStringSubmatch(readFile(t, path), -1) {
		switch language, text := block[1], block[2]; language {
		case "console":
			for _, typed := range typedLine.FindAllStringSubmatch(text, -1) {
				p.run(typed[1], strings.TrimRight(typed[2], "\n"))
			}
		case "text":
			p.logged(text)
		default:
			if name := fileName.FindStringSubmatch(text); name != nil && filepath.IsLocal(name[1]) {
				p.save(name[1], text)
			}
		}
	}
	if p.server != nil {
		p.server.stop()
	}
	return p
}

// save saves a file, and waits until the server has looked at it.
func (p *player) save(name, text string) {
	p.t.Helper()
	p.saved = append(p.saved, name)
	if p.server == nil || filepath.Dir(name) != "plugins" {
		save(p.t, text, p.dir, name)
		return
	}
	before := p.loaded()
	save(p.t, text, p.dir, name)
	poll(p.t, "the server to look at "+name, func() bool { return p.loaded() > before })
}

// loaded returns how many versions of plugins the log has told of.
func (p *player) loaded() int {
	return len(loadedLine.FindAllString(p.server.stderr.text(), -1))
}

// logged looks for a text in the log.
func (p *player) logged(text string) {
	p.t.Helper()
	if p.server == nil {
		return // not a log
	}
	plain := func(text string) string {
		return logTook.ReplaceAllString(logTime.ReplaceAllString(text, ""), "ms=")
	}
	if log := plain(p.server.stderr.text()); !strings.Contains(log, plain(text)) {
		p.t.Errorf("the log does not show\n%s\nas the page does, but\n%s", text, log)
	}
}

// run runs a command line, and compares what it prints.
func (p *player) run(line, want string) {
	p.t.Helper()
	p.typed++
	compare := func(got string) {
		p.t.Helper()
		if got = strings.TrimRight(got, "\n"); got != want {
			p.t.Errorf("$ %s\nprints\n%s\nthe page says\n%s", line, got, want)
		}
	}
	if args, ok := strings.CutPrefix(line, "amphost serve"); ok {
		if p.server != nil {
			p.t.Fatalf("$ %s, and one serves already", line)
		}
		p.server = serveIn(p.t, p.dir, strings.Fields(strings.TrimSuffix(args, "&"))...)
		p.server.stdout.await(p.t, `(?m)^  (try|store) .*\n(.*\n)*\n`)
		if want != "" { // else the page does not show it
			compare(strings.ReplaceAll(strings.ReplaceAll(p.server.stdout.text(), p.server.addr, "127.0.0.1:8750"), binary, "amphost"))
		}
		return
	}
	switch line {
	case "": // ^C
		p.server.stop()
		p.server = nil
		return
	case "kill -9 $!":
		p.server.kill()
		p.server = nil
		return
	}
	words := line
	if p.server != nil {
		words = strings.ReplaceAll(strings.ReplaceAll(line, "127.0.0.1:8750", p.server.addr), ":8750", p.server.addr)
	}
	if strings.HasPrefix(line, "python3 ") {
		needTwisted(p.t)
		words = python + " -B" + strings.TrimPrefix(words, "python3")
	}
	var got string
	for deadline := time.Now().Add(patience); ; {
		cmd := startProcess(p.t, p.dir, "env", "GORACE="+noExitPause, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "sh", "-c", words)
		cmd.wait()
		got = cmd.stdout.text() + cmd.stderr.text()
		// A plugin that amphost new has made is not served at once.
		if !strings.Contains(got, ": UNHANDLED: ") || strings.Contains(want, ": UNHANDLED: ") || time.Now().After(deadline) {
			break
		}
	}
	compare(got)
}

// TestToolsPageTellsTheTruth plays docs/tools.md.
func TestToolsPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	p := play(t, "../../docs/tools.md")
	if p.typed < 10 || len(p.saved) < 3 {
		t.Errorf("%d command lines and the files %q were found", p.typed, p.saved)
	}
	if _, err := installTypeScript(); err == nil {
		wellTyped(t, "7", filepath.Join(p.dir, "plugins")) // with the commands' types as they were written
	}
}

// TestTutorialTellsTheTruth plays docs/tutorial.md.
func TestTutorialTellsTheTruth(t *testing.T) {
	t.Parallel()
	p := play(t, "../../docs/tutorial.md")
	if p.typed < 10 || len(p.saved) < 5 {
		t.Errorf("%d command lines and the files %q were found", p.typed, p.saved)
	}
}

// TestDurabilityPageTellsTheTruth plays docs/durability.md.
func TestDurabilityPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	p := play(t, "../../docs/durability.md")
	if p.typed < 4 || len(p.saved) < 1 {
		t.Errorf("%d command lines and the files %q were found", p.typed, p.saved)
	}
}

// TestTwistedPageTellsTheTruth plays docs/twisted.md.
func TestTwistedPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	needTwisted(t)
	p := play(t, "../../docs/twisted.md")
	// The server in Twisted, too, which the page only shows.
	server := startProcess(t, p.dir, python, "-Bc", "import server as s; port = s.reactor.listenTCP(0, s.Factory.forProtocol(s.Math), interface='127.0.0.1'); print('listens on', port.getHost().port, flush=True); s.reactor.run()")
	client := startProcess(t, p.dir, python, "-B", "client.py", "127.0.0.1:"+server.stdout.await(t, `listens on (\d+)`)[1])
	client.wait()
	if got, want := client.stdout.text(), "{'total': 94}\nZeroDivisionError: division by zero\n"; strings.Replace(got, "float division", "division", 1) != want {
		t.Errorf("with the page's own server the client prints\n%s", got)
	}
	if p.typed < 2 || len(p.saved) < 2 {
		t.Errorf("%d command lines and the files %q were found", p.typed, p.saved)
	}
}

// TestEmbeddingPageTellsTheTruth builds the programs of docs/embedding.md, and runs
// those that end by themselves; what they print is at their end, behind
// "// Output:".
func TestEmbeddingPageTellsTheTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "plugins"), os.DirFS("../../plugins")); err != nil {
		t.Fatal(err)
	}
	programs := 0
	for _, block := range pageBlock.FindAllStringSubmatch(readFile(t, "../../docs/embedding.md"), -1) {
		language, text := block[1], block[2]
		name := fileName.FindStringSubmatch(text)
		if language != "go" || name == nil {
			if name != nil {
				save(t, text, dir, name[1])
			} else if language == "go" {
				t.Errorf("a program without a name: %s", text)
			}
			continue
		}
		programs++
		source, program := filepath.Join(dir, name[1]), filepath.Join(dir, strings.TrimSuffix(name[1], ".go"))
		write(t, text, source)
		if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
			continue
		}
		_, output, _ := strings.Cut(text, "// Output:\n")
		p := startProcess(t, dir, program)
		p.wait()
		if got, want := p.stdout.text(), strings.ReplaceAll(output, "// ", ""); got != want {
			t.Errorf("%s prints\n%s\nthe page says\n%s", name[1], got, want)
		}
	}
	if programs < 3 {
		t.Errorf("%d programs were found", programs)
	}
}
