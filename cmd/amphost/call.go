package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/amphost/amphost/amp"
)

// defaultPort is where AMP is served when nobody says otherwise.
const defaultPort = 8750

// whatAPortIs tells those who gave something else.
const whatAPortIs = "a port is a number from 0 to 65535"

func callCommand() *cobra.Command {
	var timeout time.Duration
	var args amp.Box
	var secure tlsFlags
	var to target
	cmd := &cobra.Command{
		Use:   "call ADDRESS COMMAND [key=value ...]",
		Short: "Call a command of an AMP server and print its answer",
		Long: `Call a command of an AMP server, of amphost or any other, and print its answer.

ADDRESS is host:port, :port, tcp://host:port, tls://host:port or unix:path. Without
a port it is port 8750. A server that speaks TLS has to show a certificate that this
machine trusts, or that --ca does.

Values travel as text, which is what AMP's types are on the wire: 81, 1.5, True,
Grüße. Bytes of an answer that are not printable are shown as in a Go string.

An error that the server answers with goes to stderr, and the exit status is 1.`,
		Example: `  amphost call 127.0.0.1:8750 Sum a=13 b=81
  amphost call :8750 RegisterUser username=ada publickey="ssh-ed25519 AAAA"
  amphost call tls://amp.example.com:8751 Sum a=13 b=81 --ca ca.pem --cert me.pem --key me.key
  amphost call unix:/run/amphost.sock Divide numerator=1 denominator=3`,
		Args: func(_ *cobra.Command, words []string) (err error) {
			if len(words) < 2 {
				return errors.New("call needs the address of a server and the name of a command")
			}
			if to, err = secure.target(words[0]); err != nil {
				return err
			}
			args, err = parsePairs(words[2:])
			return err
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			answer, err := call(ctx, to, words[1], args)
			if err != nil && ctx.Err() != nil {
				return fmt.Errorf("%s did not answer %s within %v; --timeout waits longer", to, words[1], timeout)
			}
			if err != nil {
				return err
			}
			return printBox(cmd.OutOrStdout(), answer)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the answer")
	secure.add(cmd.Flags())
	return cmd
}

// call asks one command of a server.
func call(ctx context.Context, to target, command string, args amp.Box) (amp.Box, error) {
	nc, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := amp.NewConn(nc, nil, nil)
	defer conn.Close()
	answer, err := conn.Call(ctx, command, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, whyNoAnswer(ctx, conn, to, err))
	}
	return answer, nil
}

// whyNoAnswer says what a failed call tells of a server.
func whyNoAnswer(ctx context.Context, conn *amp.Conn, to target, err error) error {
	if errors.Is(err, amp.ErrClosed) { // the connection had ended before the call began
		select {
		case <-conn.Done():
			err = conn.Err()
		case <-ctx.Done():
		}
	}
	foreign, ok := errors.AsType[*amp.TooLongError](err)
	switch {
	case ok && !foreign.Local:
		return fmt.Errorf("%s answers in another protocol than AMP", to)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		if to.network == "tcp" && to.tls == nil {
			return fmt.Errorf("%s closed the connection instead of answering: its log may say why; if it speaks TLS, its address is tls://%s", to, to.address)
		}
		return fmt.Errorf("%s closed the connection instead of answering: its log may say why", to)
	}
	return to.tlsError(err)
}

// parseAddress returns what net.Dial takes for an address as people write it.
func parseAddress(text string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return "", "", fmt.Errorf("address %q names no socket, as in unix:/run/amphost.sock", text)
		}
		return "unix", path, nil
	}
	hostport := strings.TrimPrefix(text, "tcp://")
	if strings.Contains(hostport, "/") || hostport == "" {
		return "", "", fmt.Errorf("address %q is not host:port, :port, tcp://host:port, tls://host:port or unix:path", text)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil { // no port
		host, port = strings.Trim(hostport, "[]"), strconv.Itoa(defaultPort)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("address %q: %s", text, whatAPortIs)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// parsePairs turns key=value words into a box.
func parsePairs(words []string) (amp.Box, error) {
	args := make(amp.Box, len(words))
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("argument %q is not key=value", word)
		}
		if _, twice := args[key]; twice {
			return nil, fmt.Errorf("argument %s is there twice", key)
		}
		args[key] = []byte(value)
	}
	return args, nil
}

// printBox writes a line for each pair, in order of key.
func printBox(w io.Writer, box amp.Box) error {
	for _, key := range slices.Sorted(maps.Keys(box)) {
		if _, err := fmt.Fprintf(w, "%s: %s\n", readableBytes(key), readableBytes(string(box[key]))); err != nil {
			return err
		}
	}
	return nil
}

// readableBytes returns text as it is if it is one line of printable UTF-8,
// and otherwise as a Go string.
func readableBytes(text string) string {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable) {
		return strconv.Quote(text)
	}
	return text
}
