// User-registration gives users their numbers, and keeps a file with the public
// key of each, in a store.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/amphost/amphost/amp"
	"github.com/amphost/amphost/store"
	"github.com/amphost/amphost/store/boltstore"
)

type RegisterArgs struct {
	Username  string `amp:"username"`
	PublicKey []byte `amp:"publickey"`
}

type RegisterResult struct {
	UID int64 `amp:"uid"`
}

var (
	errUsernameUnavailable = &amp.Error{Code: "username-unavailable"}
	errInvalidKey          = &amp.Error{Code: "invalid-publickey", Description: "a key is one line"}
)

var RegisterUser = amp.Command[RegisterArgs, RegisterResult]{Name: "RegisterUser"}

// registry registers users in a store.
type registry struct{ store store.Store }

// register decides and writes in one transaction, which is on disk before the
// answer: of two who want one name at the same time, one gets it. A name is a
// key in the store, and never a path.
func (r *registry) register(ctx context.Context, args RegisterArgs) (res RegisterResult, err error) {
	if bytes.ContainsAny(args.PublicKey, "\n") {
		return res, errInvalidKey // a second line would be a second user's
	}
	err = store.Update(ctx, r.store, "users", func(tx store.Tx) error {
		switch taken, err := store.FileExists(tx, args.Username); {
		case err != nil:
			return err
		case taken:
			return errUsernameUnavailable.Describe("%s is taken", args.Username)
		}
		if res.UID, err = store.Add(tx, "uid", 1); err != nil {
			return err
		}
		return store.CreateFile(tx, args.Username, fmt.Appendf(nil, "%d %s\n", res.UID, args.PublicKey))
	})
	if err == nil {
		log.Printf("registered %s as %d", args.Username, res.UID)
	}
	return res, err
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:1234", "serve on this address")
	path := flag.String("store", "users.db", "the store's file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *path); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, path string) (err error) {
	users, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.Close()) }()
	var mux amp.Mux
	RegisterUser.Handle(&mux, (&registry{users}).register)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &amp.Server{Handler: &mux}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	log.Println("listening on", l.Addr())
	if err := server.Serve(l); err != amp.ErrServerClosed {
		return err
	}
	return nil
}
