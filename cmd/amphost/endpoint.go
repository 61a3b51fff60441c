package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/amphost/amphost/host"
)

// An endpoint is where serve accepts connections, and what they are for.
type endpoint struct {
	given            string      // on the command line, or in the configuration
	file             *configFile // that has it, or nil
	at               []string    // its key there: "listen", or "listener" and which of them
	network, address string      // "systemd" and a name for a socket that systemd has opened
	secure           bool        // speaks TLS from the beginning
	files            host.TLSFiles
	mode             os.FileMode // of a UNIX socket; 0 for the umask's
	owner            string      // of a UNIX socket: "user", "user:group", ":group"
	opts             host.Listener

	listener net.Listener // nil until it is opened
}

// endpoints are the values of --listen: [NAME=]ADDRESS[?OPTION=VALUE&…].
type endpoints []*endpoint

// String implements pflag.Value.
func (e *endpoints) String() string { return "" }

// Type implements pflag.Value.
func (e *endpoints) Type() string { return "address" }

// given implements repeated.
func (e *endpoints) given() []string {
	list := make([]string, len(*e))
	for i, p := range *e {
		list[i] = p.given
	}
	return list
}

// Set implements pflag.Value.
func (e *endpoints) Set(text string) error {
	p, err := parseEndpoint(text)
	if err == nil {
		*e = append(*e, p)
	}
	return err
}

// namedAddress splits NAME=ADDRESS. An address may hold a "=", behind a ":".
var namedAddress = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)=(.*)$`)

func parseEndpoint(text string) (*endpoint, error) {
	p := &endpoint{given: text}
	if m := namedAddress.FindStringSubmatch(text); m != nil {
		p.opts.Name, text = m[1], m[2]
	}
	address, query, _ := strings.Cut(text, "?")
	var err error
	name, activated := strings.CutPrefix(address, "systemd:")
	switch {
	case activated:
		p.network, p.address = "systemd", name
	case strings.HasPrefix(address, "tls://"):
		p.secure = true
		p.network, p.address, err = parseAddress(strings.TrimPrefix(address, "tls://"))
	default:
		p.network, p.address, err = parseAddress(address)
	}
	if err != nil {
		return nil, err
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("options of %s: %w", address, err)
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if err := p.set(key, strings.Join(options[key], ",")); err != nil {
			return nil, &optionError{key, address, err}
		}
	}
	return p, p.check()
}

// An optionError is what is wrong with an option of an endpoint.
type optionError struct {
	key     string
	address string
	err     error
}

func (e *optionError) Error() string { return fmt.Sprintf("%s of %s: %v", e.key, e.address, e.err) }
func (e *optionError) Unwrap() error { return e.err }

// listenerKeys are the options of an endpoint, and the keys of [[listener]], with
// what they are for.
var listenerKeys = map[string]string{
	"name":        "the amp.boxReceiver or amp.protocol that connections are for, instead of commands",
	"plugins":     "whose commands are answered; others are unhandled",
	"allow":       "patterns of the commands that may be called",
	"refuse":      "patterns of the commands that may not",
	"strict":      "Twisted's behaviour where amphost's differs",
	"certificate": "a PEM file with the server's certificate, and those between it and an authority",
	"key":         "a PEM file with its private key, if that is not in the file of the certificate",
	"client-ca":   "a PEM file with the authorities that have to have signed clients' certificates",
	"mode":        "the mode of a UNIX socket, as in \"0660\"",
	"owner":       "the owner of a UNIX socket: \"user\", \"user:group\" or \":group\"",
}

// set sets an option. Lists have commas. client.NAME.allow and client.NAME.refuse
// are for clients whose certificate has that name.
func (p *endpoint) set(key, value string) error {
	list := strings.FieldsFunc(value, func(c rune) bool { return c == ',' })
	if client, ok := strings.CutPrefix(key, "client."); ok {
		dot := strings.LastIndexByte(client, '.')
		if dot < 1 {
			return errors.New("use client.NAME.allow or client.NAME.refuse")
		}
		name, what := client[:dot], client[dot+1:]
		if p.opts.ClientRules == nil {
			p.opts.ClientRules = make(map[string]host.Rules)
		}
		rules := p.opts.ClientRules[name]
		switch what {
		case "allow":
			rules.Allow = list
		case "refuse":
			rules.Refuse = list
		default:
			return errors.New("use client.NAME.allow or client.NAME.refuse")
		}
		p.opts.ClientRules[name] = rules
		return nil
	}
	switch key {
	case "name":
		p.opts.Name = value
	case "plugins":
		p.opts.Plugins = list
	case "allow":
		p.opts.Rules.Allow = list
	case "refuse":
		p.opts.Rules.Refuse = list
	case "strict":
		strict, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("use true or false")
		}
		p.opts.Strict = strict
	case "certificate":
		p.files.Certificate = value
	case "key":
		p.files.Key = value
	case "client-ca":
		p.files.ClientCA = value
	case "mode":
		mode, err := strconv.ParseUint(value, 8, 9)
		if err != nil {
			return errors.New(`use an octal number, as in "0660"`)
		}
		p.mode = os.FileMode(mode)
	case "owner":
		p.owner = value
	default:
		text := fmt.Sprintf("there is no option %q", key)
		known := slices.Sorted(maps.Keys(listenerKeys))
		if near := closest(key, known); near != "" {
			return fmt.Errorf("%s: do you mean %q?", text, near)
		}
		return fmt.Errorf("%s: there are %s", text, strings.Join(known, ", "))
	}
	return nil
}

// check refuses options that do not go together.
func (p *endpoint) check() error {
	switch {
	case p.secure && p.files.Certificate == "":
		return fmt.Errorf("%s: TLS needs a certificate: add ?certificate=FILE&key=FILE", p.given)
	case p.files.Certificate == "" && (p.files.Key != "" || p.files.ClientCA != ""):
		return fmt.Errorf("%s: key and client-ca need a certificate", p.given)
	case p.network != "unix" && (p.mode != 0 || p.owner != ""):
		return fmt.Errorf("%s: mode and owner are a UNIX socket's", p.given)
	}
	return nil
}

// commands reports whether the endpoint is for commands.
func (p *endpoint) commands() bool { return p.opts.Name == "" }

// text is the address as it is shown to people, and typed.
func (p *endpoint) text() string {
	addr := p.listener.Addr()
	switch {
	case addr.Network() == "unix":
		return "unix:" + addr.String()
	case p.secure:
		return "tls://" + reachable(addr)
	}
	return reachable(addr)
}

// shown is the address as it is listened on.
func (p *endpoint) shown() string {
	if p.secure {
		return "tls://" + p.listener.Addr().String()
	}
	return p.listener.Addr().String()
}

// open opens the endpoint's listener, with TLS if it speaks that.
func (p *endpoint) open(ctx context.Context, log *slog.Logger) error {
	l, err := p.openSocket(ctx)
	if err != nil {
		return err
	}
	p.listener = l
	if p.files.Certificate == "" {
		return nil
	}
	p.files.Logger = log
	config, err := p.files.Config()
	if err != nil {
		l.Close()
		return p.filesError(err)
	}
	if p.secure {
		p.listener = tls.NewListener(l, config)
	} else {
		p.opts.TLS = config // for StartTLS
	}
	return nil
}

// isOpenToAll reports whether everybody who reaches this machine can connect,
// and read what passes.
func (p *endpoint) isOpenToAll() bool {
	addr, err := netip.ParseAddrPort(p.listener.Addr().String())
	return err == nil && addr.Addr().IsUnspecified() && !p.secure
}

// serve has a host accept connections until it is shut down.
func (p *endpoint) serve(h *host.Host) error { return h.ServeListener(p.listener, p.opts) }

// listenerText writes a table of [[listener]] as --listen has it.
func listenerText(table map[string]any) (string, error) {
	address, ok := table["address"].(string)
	if !ok {
		return "", errors.New(`it needs an address, as in address = "127.0.0.1:8751"`)
	}
	query := make(url.Values)
	add := func(key string, value any) error {
		switch v := value.(type) {
		case string:
			query.Set(key, v)
		case bool:
			query.Set(key, strconv.FormatBool(v))
		case []any:
			list, err := listOf(v)
			if err != nil {
				return &optionError{key, address, err}
			}
			query.Set(key, strings.Join(list, ","))
		default:
			return &optionError{key, address, errors.New("use text in quotes")}
		}
		return nil
	}
	for key, value := range table {
		var err error
		switch clients, isTable := value.(map[string]any); {
		case key == "address":
		case key == "client" && isTable:
			for name, rules := range clients {
				rules, isTable := rules.(map[string]any)
				if !isTable {
					return "", &optionError{"client." + name, address, errors.New("it is a table with allow and refuse")}
				}
				for what, patterns := range rules {
					err = errors.Join(err, add("client."+name+"."+what, patterns))
				}
			}
		default:
			err = add(key, value)
		}
		if err != nil {
			return "", err
		}
	}
	if len(query) == 0 {
		return address, nil
	}
	return address + "?" + query.Encode(), nil
}
