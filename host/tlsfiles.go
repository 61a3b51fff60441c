package host

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSFiles are the files that a server's end of TLS is made of. They are read
// again when they have changed, for the connections that come then: nothing
// restarts, and no handshake fails meanwhile.
type TLSFiles struct {
	Certificate string // PEM: the certificate, and those between it and an authority
	Key         string // PEM: its private key; "" if it is in the file of the certificate
	ClientCA    string // PEM: authorities one of whom has to have signed a client's certificate; "" asks for none

	// Logger is told when files could not be read again; what they held before
	// goes on. Default slog.Default().
	Logger *slog.Logger

	mu     sync.Mutex // guards the fields below
	looked time.Time
	stamps [3]stamp // of the files, as they were read
	config *tls.Config
}

// A stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified time.Time
}

// lookEvery is how often a handshake looks whether files have changed.
const lookEvery = time.Second

// Config reads the files and returns a configuration that follows them. TLS 1.2
// at least is spoken.
func (f *TLSFiles) Config() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	if err := f.readLocked(f.stampsNow()); err != nil {
		return nil, err
	}
	config := f.config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.now(), nil }
	return config, nil
}

// now returns the configuration of what the files hold now, or held when they
// were last right.
func (f *TLSFiles) now() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < lookEvery {
		return f.config
	}
	f.looked = time.Now()
	stamps := f.stampsNow()
	if stamps == f.stamps {
		return f.config
	}
	// The stamps stay as they were: a certificate may be there before its key is.
	if err := f.readLocked(stamps); err != nil {
		f.Logger.Warn("TLS files have changed and can't be read, the ones before go on", "error", err)
	} else {
		f.Logger.Info("TLS files have been read again", "certificate", f.Certificate)
	}
	return f.config
}

// stampsNow looks at the files.
func (f *TLSFiles) stampsNow() (list [3]stamp) {
	for i, path := range []string{f.Certificate, f.Key, f.ClientCA} {
		if info, err := os.Stat(path); path != "" && err == nil {
			list[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return list
}

// readLocked makes the configuration anew.
func (f *TLSFiles) readLocked(stamps [3]stamp) error {
	key := f.Key
	if key == "" {
		key = f.Certificate
	}
	cert, err := tls.LoadX509KeyPair(f.Certificate, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", f.Certificate, key, plainTLS(err))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if f.ClientCA != "" {
		text, err := os.ReadFile(f.ClientCA)
		if err != nil {
			return fmt.Errorf("client authorities: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("client authorities %s: there is no certificate in PEM form in it", f.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	f.config, f.stamps = config, stamps
	return nil
}

// plainTLS takes the prefix "tls: " off an error.
func plainTLS(err error) error {
	const prefix = "tls: "
	if text := err.Error(); len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return errors.New(text[len(prefix):])
	}
	return err
}
