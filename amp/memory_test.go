package amp

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// idleServerEnv makes this test program hold idle connections to an address
// instead of running tests: see TestMain.
const idleServerEnv = "AMP_IDLE_SERVER"

// holdIdleConns makes connections that each call once and then say nothing,
// until its standard input ends. It is told their number, and the length of an
// argument, on the command line.
func holdIdleConns(addr string) int {
	n, _ := strconv.Atoi(os.Args[1])
	size, _ := strconv.Atoi(os.Args[2])
	command := wire(ask("1", "Sum", "a", "1", "b", "2", "c", strings.Repeat("x", size)))
	var conns []net.Conn
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		conns = append(conns, nc)
		if _, err := nc.Write(command); err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := ReadBox(nc); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return 0
}
