// Register-user registers a user's public key.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/amphost/amphost/amp"
)

type RegisterArgs struct {
	Username  string `amp:"username"`
	PublicKey []byte `amp:"publickey"`
}

type RegisterResult struct {
	UID int64 `amp:"uid"`
}

var errUsernameUnavailable = errors.New("username unavailable")

var RegisterUser = amp.Command[RegisterArgs, RegisterResult]{
	Name:   "RegisterUser",
	Errors: amp.ErrorCodes{{Code: "username-unavailable", Err: errUsernameUnavailable}},
}

func main() {
	log.SetFlags(0)
	connect := flag.String("connect", "127.0.0.1:1234", "the server's address")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: register-user [-connect address] username publickey")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := amp.Dial(ctx, "tcp", *connect, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	res, err := RegisterUser.Call(ctx, conn, RegisterArgs{flag.Arg(0), []byte(flag.Arg(1))})
	conn.Close()
	switch {
	case errors.Is(err, errUsernameUnavailable):
		log.Fatalf("UsernameUnavailable: %v", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Printf("Registration result: {'uid': %d}\n", res.UID)
}
