// Package amp speaks AMP, Twisted's Asynchronous Messaging Protocol: a stream
// of small boxes of keys and values, over which either end calls commands of
// the other and gets answers, many at a time and in any order. It needs the
// standard library only, and knows nothing of scripts or stores.
//
// # Commands
//
// A [Command] is a name on the wire with the Go types of its arguments and its
// response. Both ends declare it once:
//
//	type SumArgs struct {
//		A int `amp:"a"`
//		B int `amp:"b"`
//	}
//
//	type SumResult struct {
//		Total int `amp:"total"`
//	}
//
//	var Sum = amp.Command[SumArgs, SumResult]{Name: "Sum"}
//
// The fields travel as Twisted's argument types, by their Go types:
//
//	int, uint64, *big.Int …   Integer
//	string                    Unicode
//	[]byte                    String
//	float64                   Float
//	bool                      Boolean
//	time.Time                 DateTime
//	Decimal                   Decimal
//	Path                      Path
//	*os.File                  Descriptor, over UNIX sockets
//	[]T                       ListOf
//	[]struct                  AmpList
//	*T, or ",optional"        optional
//	encoding.TextMarshaler    the text
//
// See [Marshal]. Without types a command is a name and a [Box]: [Conn.Call],
// [Mux.HandleFunc].
//
// # A server
//
// A [Mux] maps names to handlers, and a [Server] serves it:
//
//	var mux amp.Mux
//	Sum.Handle(&mux, func(ctx context.Context, args SumArgs) (SumResult, error) {
//		return SumResult{Total: args.A + args.B}, nil
//	})
//	server := &amp.Server{Handler: &mux}
//	l, err := net.Listen("tcp", "127.0.0.1:8750")
//	…
//	err = server.Serve(l)
//
// [Server.Shutdown] lets what runs be answered; Serve returns after it.
//
// # A client
//
// [Dial] connects once; a [Client] connects again whenever it must, and a call
// made meanwhile waits. Both are what a command is called over:
//
//	conn, err := amp.Dial(ctx, "tcp", "127.0.0.1:8750", nil, nil)
//	…
//	res, err := Sum.Call(ctx, conn, SumArgs{A: 13, B: 81})
//
// # Both ends call
//
// A [Conn] is the same at both ends: whoever dialled may answer commands, with
// the handler it gave to Dial, and a handler may call its caller: [ConnFrom]
// finds the connection in its context, also while a call waits.
// [NewConn] makes one of any stream, such as a pipe to a child process.
//
// # Order
//
// A [Handler] is called for one command after another, in the order in which
// they arrived, on the connection's reading goroutine, and must not block;
// [Command.HandleInline] is that with types. Functions given to Command.Handle
// and HandleFunc run each in a goroutine of its own, may block, and may
// overtake each other. Answers go out when they are ready.
//
// # Errors
//
// What a call fails with is an [*Error] if the peer sent it, with its code and
// description; errors.Is compares codes. A Command may declare which Go error
// stands for which code, see [ErrorCodes]; the same error then serves at both
// ends. What a handler returns beside that is logged, and the peer learns
// nothing but [ErrUnknown]. A call whose connection ends fails with the
// reason; whether it was executed, nobody knows. A call ends when its context
// does, and a late answer is ignored.
//
// # Limits
//
// [Options] bound what a peer can use up: commands that run, bytes that wait
// for it, the size of a box, the time it takes for one. First a peer that goes
// too far is not read for a while; if that does not help the connection ends,
// and its Err and the log say why. Idle connections live on, for AMP has no
// ping. Options.Strict closes where Twisted would close.
//
// # StartTLS and protocol switches
//
// [Conn.StartTLS] encrypts a connection that began in the clear; every
// connection answers it, with Options.TLS. TLS from the first byte on is
// [DialTLS], and a tls.Listener. [Conn.TLS] tells who the peer is.
//
// A [SwitchCommand] ends AMP on a connection and gives its stream to another
// protocol. A [BoxReceiver] takes a connection's boxes as they are.
package amp
