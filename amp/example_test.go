package amp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/amphost/amphost/amp"
)

type SumArgs struct {
	A int `amp:"a"`
	B int `amp:"b"`
}

type SumResult struct {
	Total int `amp:"total"`
}

// Both ends declare a command once.
var Sum = amp.Command[SumArgs, SumResult]{Name: "Sum"}

func add(_ context.Context, args SumArgs) (SumResult, error) {
	return SumResult{Total: args.A + args.B}, nil
}

// A server and a client on TCP.
func Example() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	server := &amp.Server{Handler: &mux}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()

	ctx := context.Background()
	conn, err := amp.Dial(ctx, "tcp", l.Addr().String(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := Sum.Call(ctx, conn, SumArgs{A: 13, B: 81})
	fmt.Println(res.Total, err)
	conn.Close()

	server.Shutdown(ctx)
	fmt.Println(<-served)
	// Output:
	// 94 <nil>
	// amp: server closed
}

// Errors that a command declares compare at both ends.
func ExampleCommand_errors() {
	type args struct {
		Numerator   float64 `amp:"numerator"`
		Denominator float64 `amp:"denominator"`
	}
	type result struct {
		Result float64 `amp:"result"`
	}
	var errZero = errors.New("division by zero")
	divide := amp.Command[args, result]{
		Name:   "Divide",
		Errors: amp.ErrorCodes{{Code: "ZERO_DIVISION", Err: errZero}},
	}

	var mux amp.Mux
	divide.Handle(&mux, func(_ context.Context, a args) (result, error) {
		if a.Denominator == 0 {
			return result{}, fmt.Errorf("%v by nothing: %w", a.Numerator, errZero)
		}
		return result{a.Numerator / a.Denominator}, nil
	})
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()

	res, err := divide.Call(context.Background(), client, args{1, 4})
	fmt.Println(res.Result, err)
	_, err = divide.Call(context.Background(), client, args{1, 0})
	fmt.Println(err, errors.Is(err, errZero))
	// Output:
	// 0.25 <nil>
	// ZERO_DIVISION: 1 by nothing: division by zero true
}

// Without types a command is a name and a box.
func ExampleConn_Call() {
	var mux amp.Mux
	mux.HandleFunc("Greet", func(_ context.Context, args amp.Box) (amp.Box, error) {
		if len(args["name"]) == 0 {
			return nil, &amp.Error{Code: "NOBODY", Description: "greet whom?"}
		}
		return amp.Box{"text": append([]byte("hello, "), args["name"]...)}, nil
	})
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()

	ctx := context.Background()
	box, err := client.Call(ctx, "Greet", amp.Box{"name": []byte("ada")})
	fmt.Printf("%s %v\n", box["text"], err)
	_, err = client.Call(ctx, "Greet", nil)
	fmt.Println(err)
	_, err = client.Call(ctx, "Nope", nil)
	fmt.Println(err, errors.Is(err, amp.ErrUnhandled))
	// Output:
	// hello, ada <nil>
	// NOBODY: greet whom?
	// UNHANDLED: Unhandled Command: b'Nope' true
}

// Go sends a command and does not wait.
func ExampleConn_Go() {
	var mux amp.Mux
	Sum.HandleInline(&mux, add) // it never blocks, and so needs no goroutine
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()

	totals := make(chan string)
	for _, b := range []string{"1", "2", "3"} {
		client.Go("Sum", amp.Box{"a": []byte("10"), "b": []byte(b)}, func(res amp.Box, err error) {
			go func() { totals <- string(res["total"]) }() // it must not block here
		})
	}
	sum := 0
	for range 3 {
		var n int
		fmt.Sscan(<-totals, &n)
		sum += n
	}
	fmt.Println(sum)
	// Output: 36
}

// A handler calls its caller, while the caller waits.
func ExampleConnFrom() {
	var server, client amp.Mux
	server.HandleFunc("Order", func(ctx context.Context, _ amp.Box) (amp.Box, error) {
		answer, err := amp.ConnFrom(ctx).Call(ctx, "Sure?", nil)
		if err != nil {
			return nil, err
		}
		return amp.Box{"sure": answer["sure"]}, nil
	})
	client.HandleFunc("Sure?", func(context.Context, amp.Box) (amp.Box, error) {
		return amp.Box{"sure": []byte("True")}, nil
	})
	c, s := amp.Pipe(&client, &server)
	defer s.Close()
	defer c.Close()
	box, err := c.Call(context.Background(), "Order", nil)
	fmt.Printf("%s %v\n", box["sure"], err)
	// Output: True <nil>
}

// A client connects again by itself. A call made while there is no connection
// waits for one.
func ExampleClient() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	attempt := 0
	client := amp.NewClient(func(ctx context.Context) (*amp.Conn, error) {
		if attempt++; attempt < 3 { // usually: return amp.Dial(ctx, "tcp", …)
			return nil, errors.New("nobody is there")
		}
		conn, _ := amp.Pipe(nil, &mux)
		return conn, nil
	}, &amp.ClientOptions{
		MinPause: 1,
		OnState: func(conn *amp.Conn, err error) {
			if err != nil {
				fmt.Println("no connection:", err)
			} else {
				fmt.Println("connected")
			}
		},
	})
	res, err := Sum.Call(context.Background(), client, SumArgs{A: 1, B: 5})
	fmt.Println(res.Total, err)
	client.Close()
	// Output:
	// no connection: nobody is there
	// no connection: nobody is there
	// connected
	// 6 <nil>
}

// A handler around a handler: middleware.
func ExampleHandlerFunc() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	guarded := amp.HandlerFunc(func(r *amp.Request) {
		if key, _ := r.Arg("key"); string(key) != "open sesame" {
			r.Fail(&amp.Error{Code: "FORBIDDEN", Description: "the key does not fit"})
			return
		}
		mux.ServeAMP(r)
	})
	// Ask needs no network.
	args := amp.Box{"a": []byte("13"), "b": []byte("81")}
	_, err := amp.Ask(context.Background(), guarded, "Sum", args)
	fmt.Println(err)
	args["key"] = []byte("open sesame")
	box, err := amp.Ask(context.Background(), guarded, "Sum", args)
	fmt.Printf("%s %v\n", box["total"], err)
	// Output:
	// FORBIDDEN: the key does not fit
	// 94 <nil>
}

// Answers come later, in the order that suits them.
func ExampleHandler() {
	var waiting []*amp.Request // only the connection's reading goroutine uses it
	queue := amp.HandlerFunc(func(r *amp.Request) {
		if r.Command == "Wait" {
			waiting = append(waiting, r)
			return
		}
		for i, w := range waiting {
			w.Answer(amp.Box{"number": fmt.Append(nil, i+1)})
		}
		r.Answer(nil)
	})
	client, server := amp.Pipe(nil, queue)
	defer server.Close()
	defer client.Close()
	numbers := make(chan string, 2)
	for range 2 {
		client.Go("Wait", nil, func(box amp.Box, _ error) { numbers <- string(box["number"]) })
	}
	client.Call(context.Background(), "Release", nil)
	fmt.Println(<-numbers, <-numbers)
	// Output: 1 2
}

// Quit closes the connection once the answer is written.
func ExampleRequest_Quit() {
	bye := amp.HandlerFunc(func(r *amp.Request) { r.Quit(amp.Box{"text": []byte("bye")}) })
	client, server := amp.Pipe(nil, bye)
	box, err := client.Call(context.Background(), "Bye", nil)
	fmt.Printf("%s %v\n", box["text"], err)
	<-client.Done()
	<-server.Done()
	fmt.Println(client.Err(), server.Err())
	// Output:
	// bye <nil>
	// EOF amp: connection closed
}

// A connection over any stream, such as the pipes to a child process.
func ExampleNewConn() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	type stream struct {
		io.Reader
		io.WriteCloser
	}
	fromChild, toParent := io.Pipe()
	fromParent, toChild := io.Pipe()
	child := amp.NewConn(stream{fromParent, toParent}, &mux, nil)
	parent := amp.NewConn(stream{fromChild, toChild}, nil, nil)
	res, err := Sum.Call(context.Background(), parent, SumArgs{A: 1, B: 2})
	fmt.Println(res.Total, err)
	parent.Close()
	<-child.Done()
	child.Close()
	<-parent.Done()
	// Output: 3 <nil>
}

// A connection that began in the clear goes on encrypted.
func ExampleConn_StartTLS() {
	var mux amp.Mux
	mux.HandleFunc("Encrypted", func(ctx context.Context, _ amp.Box) (amp.Box, error) {
		return amp.Box{"encrypted": fmt.Append(nil, amp.ConnFrom(ctx).TLS() != nil)}, nil
	})
	// A server has a certificate of its own in Options.TLS; without one it
	// makes one that nobody can verify, as here.
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()
	ctx := context.Background()
	box, err := client.Call(ctx, "Encrypted", nil)
	fmt.Printf("%s %v\n", box["encrypted"], err)
	if err := client.StartTLS(ctx, &tls.Config{InsecureSkipVerify: true}); err != nil {
		fmt.Println(err)
	}
	box, err = client.Call(ctx, "Encrypted", nil)
	fmt.Printf("%s %v\n", box["encrypted"], err)
	// Output:
	// false <nil>
	// true <nil>
}

// After a switch the stream speaks another protocol.
func ExampleSwitchCommand() {
	poetry := amp.SwitchCommand[struct{}]{Name: "Poetry"}
	var mux amp.Mux
	poetry.Handle(&mux, func(context.Context, struct{}) (func(net.Conn), error) {
		return func(nc net.Conn) {
			defer nc.Close()
			line, _ := bufio.NewReader(nc).ReadString('\n')
			fmt.Fprintf(nc, "%s\nThis poem is short.\n", strings.ToUpper(strings.TrimSpace(line)))
		}, nil
	})
	client, server := amp.Pipe(nil, &mux)
	nc, err := poetry.Call(context.Background(), client, struct{}{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	fmt.Fprintln(nc, "a poem")
	poem, err := io.ReadAll(nc)
	fmt.Printf("%s%v, AMP ended with: %v\n", poem, err, client.Err())
	<-server.Done()
	// Output:
	// A POEM
	// This poem is short.
	// <nil>, AMP ended with: amp: connection has switched to another protocol
}

// A box receiver gets whole boxes, without commands.
type echo struct{ conn *amp.Conn }

func (e *echo) StartReceivingBoxes(c *amp.Conn) { e.conn = c }

func (e *echo) BoxReceived(b amp.Box) { e.conn.SendBox(b) }

func (e *echo) StopReceivingBoxes(reason error) {}

func ExampleBoxReceiver() {
	near, far := net.Pipe()
	conn := amp.NewBoxConn(far, &echo{}, nil)
	wire, err := amp.Box{"hello": []byte("world")}.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	near.Write(wire)
	fmt.Println(amp.ReadBox(near))
	near.Close()
	<-conn.Done()
	// Output: map[hello:[119 111 114 108 100]] <nil>
}

// Descriptors travel over UNIX sockets.
func Example_descriptors() {
	type args struct {
		File *os.File `amp:"file"`
	}
	type result struct {
		Text string `amp:"text"`
	}
	read := amp.Command[args, result]{Name: "Read"}
	var mux amp.Mux
	read.Handle(&mux, func(_ context.Context, a args) (result, error) {
		defer a.File.Close() // the receiver owns what it gets
		text, err := io.ReadAll(a.File)
		return result{string(text)}, err
	})
	dir, err := os.MkdirTemp("", "amp")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &amp.Server{Handler: &mux}
	go server.Serve(l)
	defer server.Close()

	conn, err := amp.Dial(context.Background(), "unix", l.Addr().String(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close() // the sender keeps its own
	io.WriteString(w, "through the pipe")
	w.Close()
	res, err := read.Call(context.Background(), conn, args{r})
	fmt.Println(res.Text, err)
	// Output: through the pipe <nil>
}
