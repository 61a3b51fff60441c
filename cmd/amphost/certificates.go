package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// A fileProblem is what is wrong with one of the files of an endpoint's TLS.
type fileProblem struct {
	option  string // that names the file: "certificate", "key" or "client-ca"
	warning bool   // it can be used all the same
	text    string
}

// fileProblems looks at the files of the endpoint's TLS: they have to be there, to
// hold what they are named for, and to fit together; and they should not have expired.
func (p *endpoint) fileProblems() (list []fileProblem) {
	if p.files.Certificate == "" {
		return nil
	}
	wrong := func(option, file, format string, args ...any) {
		list = append(list, fileProblem{option: option, text: option + " " + file + ": " + fmt.Sprintf(format, args...)})
	}
	// certificates reads a file, and warns of what does not hold now.
	certificates := func(option, file string) (text []byte, all []*x509.Certificate) {
		text, err := os.ReadFile(file)
		if err != nil {
			wrong(option, file, "%v", cause(err))
			return nil, nil
		}
		for rest := text; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				wrong(option, file, "it can't be read: %s", strings.TrimPrefix(err.Error(), "x509: "))
				return nil, nil
			}
			all = append(all, c)
			if now := time.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
				list = append(list, fileProblem{option, true, fmt.Sprintf("%s %s: it holds from %s to %s, so that nobody takes it now: a new one is needed", option, file, day(c.NotBefore), day(c.NotAfter))})
			}
		}
		if all == nil {
			wrong(option, file, "there is no certificate in PEM form in it")
		}
		return text, all
	}
	cert, all := certificates("certificate", p.files.Certificate)
	keyOption, keyFile := "key", cmp.Or(p.files.Key, p.files.Certificate)
	if p.files.Key == "" {
		keyOption = "certificate"
	}
	key, err := os.ReadFile(keyFile)
	switch {
	case err != nil && keyOption == "key":
		wrong(keyOption, keyFile, "%v", cause(err))
	case all == nil || err != nil: // as was said
	case !strings.Contains(string(key), "PRIVATE KEY-----"):
		hint := ""
		if keyOption == "certificate" {
			hint = `: "key" names the file that has it`
		}
		wrong(keyOption, keyFile, "there is no private key in PEM form in it%s", hint)
	default:
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			text := strings.TrimPrefix(err.Error(), "tls: ")
			if strings.Contains(text, "does not match") {
				text = "it is not the private key of the certificate in " + p.files.Certificate
			}
			wrong(keyOption, keyFile, "%s", text)
		}
	}
	if p.files.ClientCA != "" {
		certificates("client-ca", p.files.ClientCA)
	}
	return list
}

// said is where the endpoint, or one of its options, was said, as errors begin:
// the file with the line, or the flag.
func (p *endpoint) said(option string) string {
	if p.file == nil {
		return "--listen " + p.address
	}
	return fmt.Sprintf("%s: %s %s", p.file.place(p.key(option)...), p.at[0], p.address)
}

// key is where an option of the endpoint is in the configuration file.
func (p *endpoint) key(option string) []string {
	if p.at[0] == "listen" {
		return p.at
	}
	return append(p.at[:len(p.at):len(p.at)], keyPath(option)...)
}

// filesError says what is wrong with the files that TLS can't be spoken with.
func (p *endpoint) filesError(err error) error {
	for _, f := range p.fileProblems() {
		if !f.warning {
			return errors.New(p.said(f.option) + ": " + f.text)
		}
	}
	return fmt.Errorf("%s: %w", p.said("certificate"), err)
}

// certificateProblems are what check says of the files of listeners.
func certificateProblems(list endpoints) (problems []problem) {
	for _, p := range list {
		for _, f := range p.fileProblems() {
			found := problem{Severity: "error", Message: "--listen " + p.address + ": " + f.text}
			if p.file != nil {
				found = p.file.problem(p.at[0]+" "+p.address+": "+f.text, p.key(f.option)...)
			}
			if f.warning {
				found.Severity = "warning"
			}
			problems = append(problems, found)
		}
	}
	return problems
}
