// Recording writes docs/reload.svg: a terminal in which a plugin is saved again
// and again while clients call it without a pause. It runs the real amphost, and
// shows what that prints and what the clients have counted.
package main

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amphost/amphost/amp"
)

const (
	clients = 5
	between = 1500 * time.Millisecond // from one save to the next
	sample  = 250 * time.Millisecond
	hold    = 3 * time.Second // the last picture
)

const plugin = `import * as amp from "amphost";

const Hello = new amp.Command("Hello", {
  arguments: { name: amp.Unicode() },
  response: { text: amp.Unicode(), visits: amp.Integer() },
});

let visits = 0;
amp.onLoad((saved) => { visits = saved ?? 0; });
amp.hot.save(() => visits);

Hello.responder(({ name }) => {
  return { text: ` + "`Hello, ${name}!`" + `, visits: ++visits };
});
`

// edits are what becomes of the plugin, one after another.
var edits = []struct{ from, to, say string }{
	{"`Hello, ${name}!`", "`Hi, ${name}!`", "saved: it says Hi now"},
	{"`Hi, ${name}!`, visits: ++visits }", "`Good day, ${name}!`, visits: ++visits ", "saved: it says Good day now, but a bracket is missing"},
	{"visits: ++visits ", "visits: ++visits }", "saved, with the bracket"},
}

// A line appears at a time and stays, or goes at another.
type line struct {
	at, until time.Duration // until is 0 if it stays
	row       int
	text      string
	class     string
}

// A screen collects lines.
type screen struct {
	mu    sync.Mutex
	start time.Time
	lines []line
	row   int
}

func (s *screen) print(class, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line{at: time.Since(s.start), row: s.row, text: text, class: class})
	s.row++
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: recording FILE.svg")
	}
	if err := record(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func record(path string) error {
	dir, err := os.MkdirTemp("", "recording")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "amphost")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/amphost").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	source := filepath.Join(dir, "plugins", "hello.js")
	if err := os.Mkdir(filepath.Dir(source), 0o700); err != nil {
		return err
	}
	text := plugin
	save := func() error {
		if err := os.WriteFile(source+".new", []byte(text), 0o600); err != nil {
			return err
		}
		return os.Rename(source+".new", source)
	}
	if err := save(); err != nil {
		return err
	}

	s := &screen{start: time.Now()}
	s.print("typed", "$ amphost serve")
	address, stop, err := serve(dir, binary, s)
	if err != nil {
		return err
	}
	defer stop()
	status, err := load(address)
	if err != nil {
		return err
	}
	s.print("", "")
	s.mu.Lock()
	row := s.row // of the clients' line
	s.row += 2
	s.mu.Unlock()

	var shown []line
	show := func(until time.Time) {
		for time.Now().Before(until) {
			now := time.Since(s.start)
			if n := len(shown); n > 0 {
				shown[n-1].until = now
			}
			shown = append(shown, line{at: now, row: row, text: status(), class: "count"})
			time.Sleep(sample)
		}
	}
	show(time.Now().Add(between))
	for _, e := range edits {
		if !strings.Contains(text, e.from) {
			return fmt.Errorf("the plugin has no %q", e.from)
		}
		text = strings.Replace(text, e.from, e.to, 1)
		s.print("typed", "# plugins/hello.js "+e.say)
		if err := save(); err != nil {
			return err
		}
		show(time.Now().Add(between))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return os.WriteFile(path, []byte(svg(append(s.lines, shown...), time.Since(s.start)+hold)), 0o666)
}

var (
	date   = regexp.MustCompile(`^\d{4}-\d\d-\d\d `)
	listen = regexp.MustCompile(`amphost listens on (\S+)`)
)

// serve starts amphost; what it prints goes to the screen. It returns once
// amphost listens.
func serve(dir, binary string, s *screen) (address string, stop func(), err error) {
	cmd := exec.Command(binary, "serve", "--port", "0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	addresses := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() { // ends with the program
		for lines := bufio.NewScanner(out); lines.Scan(); {
			text := date.ReplaceAllString(lines.Text(), "")
			text = strings.ReplaceAll(text, binary, "amphost")
			class := ""
			switch {
			case strings.Contains(text, " ERR "):
				class = "error"
			case strings.Contains(text, " INF "):
				class = "log"
			}
			if m := listen.FindStringSubmatch(text); m != nil {
				addresses <- m[1]
			}
			if strings.TrimSpace(text) != "" {
				s.print(class, text)
			}
			if strings.HasPrefix(text, "  try ") {
				close(addresses)
			}
		}
	})
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		reading.Wait()
		cmd.Wait()
	}
	address = <-addresses
	<-addresses // all of it is printed
	return address, stop, nil
}

// load has clients call Hello without a pause, and returns what tells of it.
func load(address string) (status func() string, err error) {
	var calls, failed atomic.Int64
	var greeting atomic.Value
	greeting.Store("")
	for range clients {
		conn, err := amp.Dial(context.Background(), "tcp", address, nil, nil)
		if err != nil {
			return nil, err
		}
		go func() { // ends with the program
			for {
				answer, err := conn.Call(context.Background(), "Hello", amp.Box{"name": []byte("Ada")})
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					if conn.Err() != nil {
						return
					}
					continue
				}
				greeting.Store(string(answer["text"]) + " (visit " + string(answer["visits"]) + ")")
			}
		}()
	}
	return func() string {
		return fmt.Sprintf("%d clients, a connection each: %7d calls, %d failed, the last: %s", clients, calls.Load(), failed.Load(), greeting.Load())
	}, nil
}

const (
	columns    = 104
	charWidth  = 8
	lineHeight = 18
	margin     = 14
)

const style = `text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d6deeb; white-space: pre; animation-timing-function: step-end; animation-iteration-count: infinite; animation-duration: %.2fs }
.typed { fill: #ffcb6b } .log { fill: #7fdbca } .error { fill: #ff6b6b } .count { fill: #c3e88d; font-weight: bold }
.gone { visibility: hidden }
`

// svg draws lines that come and go, over and over.
func svg(lines []line, whole time.Duration) string {
	rows := 0
	for _, l := range lines {
		rows = max(rows, l.row+1)
	}
	var styles, texts strings.Builder
	fmt.Fprintf(&styles, style, whole.Seconds())
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / whole.Seconds() }
	for i, l := range lines {
		fmt.Fprintf(&styles, "@keyframes l%d { 0%% { visibility: hidden } %.2f%% { visibility: visible } ", i, max(percent(l.at), 0.01))
		if l.until > 0 {
			fmt.Fprintf(&styles, "%.2f%% { visibility: hidden } ", percent(l.until))
		}
		fmt.Fprintf(&styles, "} #l%d { animation-name: l%d }\n", i, i)
		class := l.class
		if l.until > 0 {
			class += " gone" // where nothing moves, the last picture is seen
		}
		text := []rune(l.text)
		if len(text) > columns {
			text = append(text[:columns-1], '…')
		}
		fmt.Fprintf(&texts, "<text id=\"l%d\" class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", i, class, margin, margin+(l.row+1)*lineHeight-4, html.EscapeString(string(text)))
	}
	width, height := columns*charWidth+2*margin, rows*lineHeight+2*margin
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" xml:space=\"preserve\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<style>\n%s</style>\n<rect width=\"100%%\" height=\"100%%\" rx=\"6\" fill=\"#011627\"/>\n%s</svg>\n",
		width, height, width, height, styles.String(), texts.String())
}
