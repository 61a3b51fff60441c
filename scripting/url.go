package scripting

import (
	"fmt"
	"strings"

	"github.com/dop251/goja"
	"github.com/nlnwa/whatwg-url/url"
)

// maxURL is how long a URL may be: parsing one can't be interrupted.
const maxURL = 1 << 20

// parseURL parses a URL as browsers do, against a base that may be "" for none.
func parseURL(text, base string) (u *url.Url, err error) {
	if len(text)+len(base) > maxURL {
		return nil, fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	defer func() {
		if x := recover(); x != nil { // a mistake of the package's is no reason to lose the runtime
			u, err = nil, fmt.Errorf("it can't be parsed: %v", x)
		}
	}()
	if base == "" {
		return url.Parse(text)
	}
	return url.ParseRef(base, text)
}

// urlParts is what URL shows, in the order of the prelude's.
func (r *realm) urlParts(u *url.Url) goja.Value {
	return r.rt.NewArray(u.Href(false), u.Protocol(), u.Username(), u.Password(), u.Host(), u.Hostname(), u.Port(), u.Pathname(), u.Search(), u.Hash())
}

// urlNatives are what URL and URLSearchParams are made of.
func (r *realm) urlNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("urlParse", func(c goja.FunctionCall) goja.Value {
		base := ""
		if !absent(c.Argument(1)) {
			if base = c.Argument(1).String(); base == "" {
				return goja.Undefined() // no base is none that parses
			}
		}
		u, err := parseURL(c.Argument(0).String(), base)
		if err != nil {
			return goja.Undefined()
		}
		return r.urlParts(u)
	})
	set("urlSet", func(c goja.FunctionCall) goja.Value {
		href, value := c.Argument(0).String(), c.Argument(2).String()
		u, err := parseURL(href, "")
		if err != nil || len(value) > maxURL {
			return goja.Undefined()
		}
		func() {
			defer func() { _ = recover() }() // as in parseURL
			switch c.Argument(1).String() {
			case "protocol":
				u.SetProtocol(value)
			case "username":
				u.SetUsername(value)
			case "password":
				u.SetPassword(value)
			case "host":
				u.SetHost(value)
			case "hostname":
				u.SetHostname(value)
			case "port":
				u.SetPort(value)
			case "pathname":
				u.SetPathname(value)
			case "search":
				u.SetSearch(value)
			case "hash":
				u.SetHash(value)
			}
		}()
		return r.urlParts(u)
	})
	set("formParse", func(c goja.FunctionCall) goja.Value {
		list := []any{}
		for pair := range strings.SplitSeq(c.Argument(0).String(), "&") {
			if pair != "" {
				name, value, _ := strings.Cut(pair, "=")
				list = append(list, formDecode(name), formDecode(value))
			}
		}
		return r.rt.NewArray(list...)
	})
	set("formEncode", func(c goja.FunctionCall) goja.Value {
		return r.rt.ToValue(formEncode(c.Argument(0).String()))
	})
}

// formDecode reads a name or a value of application/x-www-form-urlencoded.
func formDecode(text string) string {
	if !strings.ContainsAny(text, "+%") {
		return text
	}
	data := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			data = append(data, ' ')
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			data = append(data, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		default:
			data = append(data, c)
		}
	}
	return replaceInvalid(data)
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// formEncode is the way back.
func formEncode(text string) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ':
			out = append(out, '+')
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '*', c == '-', c == '.', c == '_':
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
