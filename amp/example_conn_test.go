package amp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/amphost/amphost/amp"
)

// A server on two listeners, which tells of its connections and ends when all
// that runs is answered.
func ExampleServer() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	server := &amp.Server{
		Handler:      &mux,
		Options:      &amp.Options{IdleTimeout: time.Hour}, // of each connection
		MaxConns:     100,
		OnConnect:    func(c *amp.Conn) { fmt.Println("connected over", c.LocalAddr().Network()) },
		OnDisconnect: func(c *amp.Conn, reason error) { fmt.Println("ended:", reason) },
	}
	dir, err := os.MkdirTemp("", "amp")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	served := make(chan error)
	for _, where := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(dir, "socket")}} {
		l, err := net.Listen(where[0], where[1])
		if err != nil {
			fmt.Println(err)
			return
		}
		go func() { served <- server.Serve(l) }()

		conn, err := amp.Dial(ctx, l.Addr().Network(), l.Addr().String(), nil, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		res, err := Sum.Call(ctx, conn, SumArgs{A: 13, B: 81})
		fmt.Println(res.Total, err)
	}
	server.Shutdown(ctx) // what is left would be cut off when ctx ends
	fmt.Println(<-served, <-served)
	// Unordered output:
	// connected over tcp
	// 94 <nil>
	// connected over unix
	// 94 <nil>
	// ended: amp: connection closed
	// ended: amp: connection closed
	// amp: server closed amp: server closed
}

// A call ends with its context; a late answer is ignored.
func ExampleConn_Call_deadline() {
	never := amp.HandlerFunc(func(r *amp.Request) {}) // nothing is answered here
	client, server := amp.Pipe(nil, never)
	defer server.Close()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := client.Call(ctx, "Sum", nil)
	fmt.Println(err)
	// Output: context deadline exceeded
}

// Some commands want no answer.
func ExampleCommand_noAnswer() {
	type line struct {
		Text string `amp:"text"`
	}
	log := amp.Command[line, struct{}]{Name: "Log", NoAnswer: true}
	logged := make(chan string)
	var mux amp.Mux
	log.Handle(&mux, func(_ context.Context, l line) (struct{}, error) {
		logged <- l.Text
		return struct{}{}, nil
	})
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()

	ctx := context.Background()
	_, err := log.Call(ctx, client, line{"with types"}) // does not wait
	fmt.Println(<-logged, err)
	err = client.Send(ctx, "Log", amp.Box{"text": []byte("without")})
	fmt.Println(<-logged, err)
	client.Notify("Log", amp.Box{"text": []byte("from where nothing may wait")}, func(err error) {
		if err != nil {
			fmt.Println("not written:", err)
		}
	})
	fmt.Println(<-logged)
	// Output:
	// with types <nil>
	// without <nil>
	// from where nothing may wait
}

// A fatal error closes the connection behind it.
func ExampleCommand_fatalErrors() {
	type login struct {
		Password string `amp:"password"`
	}
	errDenied := errors.New("denied")
	cmd := amp.Command[login, struct{}]{Name: "Login", FatalErrors: amp.ErrorCodes{{Code: "DENIED", Err: errDenied}}}
	var mux amp.Mux
	cmd.Handle(&mux, func(_ context.Context, l login) (struct{}, error) {
		if l.Password != "open sesame" {
			return struct{}{}, errDenied
		}
		return struct{}{}, nil
	})
	client, server := amp.Pipe(nil, &mux)
	defer server.Close()
	defer client.Close()
	_, err := cmd.Call(context.Background(), client, login{"let me in"})
	fmt.Println(errors.Is(err, errDenied))
	<-client.Done()
	fmt.Println(client.Err())
	// Output:
	// true
	// EOF
}

// What a handler does not declare is for the log; the peer learns no more than
// that it failed. By default the connection lives on, with Strict it is closed
// as Twisted does.
func ExampleOptions_strict() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	for _, strict := range []bool{false, true} {
		a, b := net.Pipe()
		server := amp.NewConn(b, &mux, &amp.Options{Strict: strict})
		client := amp.NewConn(a, nil, &amp.Options{Initiator: true})
		ctx := context.Background()
		_, err := client.Call(ctx, "Sum", amp.Box{"a": []byte("1")})
		fmt.Println(err)
		if strict {
			<-client.Done()
		}
		_, err = client.Call(ctx, "Sum", amp.Box{"a": []byte("1"), "b": []byte("2")})
		fmt.Println(err)
		client.Close()
		server.Close()
	}
	// Output:
	// BAD_ARGUMENTS: amp: argument "b": Integer: missing
	// <nil>
	// UNKNOWN: Unknown Error
	// EOF
}

// What a peer can use up is bounded. Here a box may be of 1000 bytes.
func ExampleOptions() {
	a, b := net.Pipe()
	server := amp.NewConn(b, nil, &amp.Options{MaxBox: 1000, BoxTimeout: time.Second})
	client := amp.NewConn(a, nil, nil)
	_, err := client.Call(context.Background(), "Store", amp.Box{"data": make([]byte, 2000)})
	fmt.Println(err)
	<-server.Done()
	fmt.Println(errors.Is(server.Err(), amp.ErrBoxTooBig))
	// Output:
	// EOF
	// true
}

// certificate makes a certificate for name, which is signed by itself, and what
// trusts it.
func certificate(name string) (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil
}

// TLS from the first byte on, with a certificate on each side; the handler
// learns who calls. With StartTLS it is the same: the server's configuration is
// then Options.TLS.
func ExampleDialTLS() {
	ofServer, trustsServer, err := certificate("localhost")
	if err != nil {
		fmt.Println(err)
		return
	}
	ofAda, trustsAda, err := certificate("ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	var mux amp.Mux
	mux.HandleFunc("WhoAmI", func(ctx context.Context, _ amp.Box) (amp.Box, error) {
		state := amp.ConnFrom(ctx).TLS()
		if state == nil || len(state.VerifiedChains) == 0 {
			return nil, &amp.Error{Code: "NOBODY"}
		}
		return amp.Box{"name": []byte(state.VerifiedChains[0][0].Subject.CommonName)}, nil
	})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ofServer},
		ClientCAs:    trustsAda,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &amp.Server{Handler: &mux}
	go server.Serve(l)
	defer server.Close()

	ctx := context.Background()
	conn, err := amp.DialTLS(ctx, "tcp", l.Addr().String(), &tls.Config{
		RootCAs:      trustsServer,
		ServerName:   "localhost",
		Certificates: []tls.Certificate{ofAda},
	}, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	box, err := conn.Call(ctx, "WhoAmI", nil)
	fmt.Printf("%s %v\n", box["name"], err)
	// Output: ada <nil>
}

// One Mux knows nothing of connections, and serves any number of them.
func ExampleMux() {
	var mux amp.Mux
	Sum.Handle(&mux, add)
	mux.HandleFunc("Echo", func(_ context.Context, args amp.Box) (amp.Box, error) { return args, nil })
	fmt.Println(mux.Commands())

	ctx := context.Background()
	box, err := amp.Ask(ctx, &mux, "Echo", amp.Box{"k": []byte("v")}) // without a connection
	fmt.Printf("%s %v\n", box["k"], err)
	for range 2 {
		client, server := amp.Pipe(nil, &mux)
		res, err := Sum.Call(ctx, client, SumArgs{A: 1, B: 2})
		fmt.Println(res.Total, err)
		client.Close()
		server.Close()
	}
	// Output:
	// [Echo Sum]
	// v <nil>
	// 3 <nil>
	// 3 <nil>
}
