package scripting

import (
	"bufio"
	"net"
	"testing"

	"github.com/amphost/amphost/amp"
)

// A call that wants no answer resolves when it is written. A peer that does not
// read holds up those who wait for that, and nobody else of the plugin.
func TestNotesWaitForAPeerThatDoesNotRead(t *testing.T) {
	p, l := run(t, "notes", `import * as amp from "amphost";
const Note = new amp.Command("Note", { arguments: { data: amp.String() }, requiresAnswer: false });
const Big = Buffer.alloc(60000);
new amp.Command("Start").responder((_, peer) => {
  let n = 0;
  for (let i = 0; i < 5; i++) peer.callRemote(Note, { data: Big }).then(() => console.log("written", ++n), (e) => console.log("failed", e.name, e.message));
  peer.callRemote(Note, { data: Big }, { timeout: 1 }).catch((e) => console.log("given up:", e.name));
});
new amp.Command("Fine").responder(() => {});
`, nil)
	a, b := net.Pipe()
	conn := amp.NewConn(b, p, &amp.Options{MaxUnwritten: 100_000})
	defer conn.Close()
	start, _ := box("_command", "Start").Append(nil)
	if _, err := a.Write(start); err != nil {
		t.Fatal(err)
	}
	l.wait("failed Error amp: the peer does not read") // there is room for four
	l.wait("given up: ")
	if _, err := ask(t, p, "Fine", nil); err != nil {
		t.Errorf("the loop is held up: %v", err)
	}
	r := bufio.NewReader(a)
	for range 4 {
		if _, err := amp.ReadBox(r); err != nil {
			t.Fatal(err)
		}
	}
	l.wait("written 4")
	_ = a.Close()
}
