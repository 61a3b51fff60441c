package examples

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Twenty clients at once each get the whole poem, and none gets it faster than
// was asked, or waits for the others.
func TestTwentyClientsGetTheirPoem(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	server, addresses := serve(t, dir, "--config examples/poetry/amphost.toml --plugins examples/poetry/plugins", "", "goethe=")
	const numBytes, delay = 60, 150 * time.Millisecond // as in amphost.toml
	want := poem(t, "goethe")
	began := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			start := time.Now()
			c, err := net.Dial("tcp", addresses[1])
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(start.Add(patience))
			var got strings.Builder
			buf := make([]byte, 1024)
			for {
				n, err := c.Read(buf)
				got.Write(buf[:n])
				// A little earlier, for timers and clocks differ.
				if most := numBytes * (1 + int((time.Since(start)+delay/10)/delay)); got.Len() > most {
					t.Errorf("%d bytes after %v, want %d at most", got.Len(), time.Since(start), most)
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			if got.String() != want {
				t.Errorf("a client got %q", got.String())
			}
		})
	}
	all.Wait()
	if took, one := time.Since(began), 2*delay; took >= 20*one {
		t.Errorf("twenty poems took %v: as if one after another, which is %v", took, 20*one)
	}
	log := server.interrupt()
	for what, n := range map[string]int{"wants poetry!": 20, "Sending 60 bytes to 127.0.0.1:": 40, "Sending 23 bytes to 127.0.0.1:": 20} {
		if got := strings.Count(log, what); got != n {
			t.Errorf("%q is in the log %d times, want %d", what, got, n)
		}
	}
}

// A poem that is not there is told, with what is.
func TestPoemsThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	if err := os.WriteFile(dir+"/amphost.toml", []byte("[plugins.poetry.ozymandias]\ndelay = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, _ := serve(t, dir, "--plugins examples/poetry/plugins", "")
	if log := server.interrupt(); !strings.Contains(log, "Error: there is no poem ozymandias: there are dickinson, goethe, verlaine") {
		t.Errorf("the log is\n%s", log)
	}
}
