package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// A target is a server that is called, and how.
type target struct {
	network, address string // as net.Dial takes them
	tls              *tls.Config
}

// tlsFlags are what those commands are told that call servers over TLS.
type tlsFlags struct {
	ca, cert, key, serverName string
	insecure                  bool
}

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "ca", "", "PEM `file` of the authorities one of whom has to have signed the server's certificate (default those that this machine trusts)")
	flags.StringVar(&f.cert, "cert", "", "PEM `file` of a certificate to show the server")
	flags.StringVar(&f.key, "key", "", "PEM `file` of its private key (default the one of --cert)")
	flags.StringVar(&f.serverName, "server-name", "", "`name` that the server's certificate has to be for (default the host of the address)")
	flags.BoolVar(&f.insecure, "insecure", false, "take any certificate of the server, whoever that is")
}

// target reads the address of a server as people write it: that of parseAddress,
// or tls://host:port.
func (f *tlsFlags) target(text string) (t target, err error) {
	hostport, secure := strings.CutPrefix(text, "tls://")
	if secure && strings.HasPrefix(hostport, "unix:") {
		return t, fmt.Errorf("address %q is not tls://host:port", text)
	}
	if t.network, t.address, err = parseAddress(hostport); err != nil {
		return t, err
	}
	switch {
	case !secure && *f != tlsFlags{}:
		return t, fmt.Errorf("--ca, --cert, --key, --server-name and --insecure are for TLS: the address is tls://%s then", hostport)
	case !secure:
		return t, nil
	case f.key != "" && f.cert == "":
		return t, errors.New("--key is that of a certificate: name it with --cert")
	case f.insecure && (f.ca != "" || f.serverName != ""):
		return t, errors.New("--insecure looks at no certificate, so there is no use for --ca and --server-name")
	}
	host, _, _ := net.SplitHostPort(t.address)
	t.tls = &tls.Config{ServerName: cmp.Or(f.serverName, host), InsecureSkipVerify: f.insecure}
	if f.ca != "" {
		data, err := os.ReadFile(f.ca)
		if err != nil {
			return t, fmt.Errorf("--ca: %w", err)
		}
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(data) {
			return t, fmt.Errorf("--ca %s: there is no certificate in PEM form in it", f.ca)
		}
	}
	if f.cert != "" {
		key := cmp.Or(f.key, f.cert)
		cert, err := tls.LoadX509KeyPair(f.cert, key)
		if err != nil {
			return t, fmt.Errorf("--cert %s with key %s: %s", f.cert, key, strings.TrimPrefix(err.Error(), "tls: "))
		}
		t.tls.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// String is the address as people type it.
func (t target) String() string {
	switch {
	case t.network == "unix":
		return "unix:" + t.address
	case t.tls != nil:
		return "tls://" + t.address
	}
	return t.address
}

// dial connects, with errors that say what to do.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, t.network, t.address)
	switch dns, isDNS := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nothing listens on %s: is the server running there?", t.address)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no socket %s: is the server running there?", t.address)
	case isDNS && dns.IsNotFound:
		return nil, fmt.Errorf("there is no host called %s", dns.Name)
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w", t.address, err)
	case t.tls == nil:
		return nc, nil
	}
	secure := tls.Client(nc, t.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, t.tlsError(err)
	}
	return secure, nil
}

// tlsError says of an error of TLS what to do, if it is one.
func (t target) tlsError(err error) error {
	if t.tls == nil {
		return err
	}
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	wrong, isWrong := errors.AsType[x509.HostnameError](err)
	alert, isRemote := errors.AsType[*net.OpError](err)
	isAlert := isRemote && alert.Op == "remote error"
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s closed the connection instead of speaking TLS: if it does not, call it as %s, without tls://", t, t.address)
	case isPlain:
		return fmt.Errorf("%s does not speak TLS: call it as %s, without tls://", t, t.address)
	case isWrong && len(namesIn(wrong.Certificate)) == 0:
		kind := "DNS:"
		if net.ParseIP(wrong.Host) != nil {
			kind = "IP:"
		}
		return fmt.Errorf("the certificate of %s says of no host that it is for it: it has no subjectAltName, and its common name, %q, does not count. Have one made with subjectAltName=%s%s, or take any with --insecure", t, wrong.Certificate.Subject.CommonName, kind, wrong.Host)
	case isWrong:
		return fmt.Errorf("the certificate of %s is for %s, and not for %s: --server-name names the one to expect", t, strings.Join(namesIn(wrong.Certificate), ", "), wrong.Host)
	case isUnknown:
		return fmt.Errorf("the certificate of %s is signed by nobody that is trusted here: --ca FILE names who has to have signed it", t)
	case isInvalid && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %s holds from %s to %s: the server needs a new one", t, day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter))
	case isInvalid:
		return fmt.Errorf("the certificate of %s: %w", t, invalid)
	case isAlert && len(t.tls.Certificates) == 0:
		return fmt.Errorf("%s refuses: %s; --cert FILE shows it a certificate", t, strings.TrimPrefix(alert.Err.Error(), "tls: "))
	case isAlert:
		return fmt.Errorf("%s refuses the certificate of --cert, or TLS: %s", t, strings.TrimPrefix(alert.Err.Error(), "tls: "))
	}
	return err
}

func day(at time.Time) string { return at.Format(time.DateOnly) }

// namesIn lists the hosts that a certificate is for.
func namesIn(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
