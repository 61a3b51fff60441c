package scripting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// Limits of fetch, besides those of Options.
const (
	maxRedirects = 20
	maxFetching  = 32   // of a worker at a time: what comes besides waits
	maxFetches   = 1000 // of a worker, with those that wait
)

// errFetchTime ends a fetch that takes too long.
var errFetchTime = errors.New("the time is up")

// A fetch is one call of fetch until its body has been read.
type fetch struct {
	id     uint64
	cancel context.CancelFunc
	what   string // "GET https://example.com/", for errors
	head   deferred
	body   deferred
	next   *deferred // which is not settled yet
}

// client returns what a plugin makes its requests with. Its connections are the
// plugin's own, for they were allowed to it alone.
func (p *Plugin) client() *http.Transport {
	p.httpOnce.Do(func() {
		p.http = &http.Transport{
			DialContext:            p.dial,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    8,
			MaxResponseHeaderBytes: 256 << 10,
		}
	})
	return p.http
}

// hangUpIdle closes the connections that no fetch needs any more.
func (p *Plugin) hangUpIdle() {
	p.httpOnce.Do(func() {}) // none is made from now on
	if p.http != nil {
		p.http.CloseIdleConnections()
	}
}

// mayFetch asks for permission for a URL, before its host is looked up.
func (p *Plugin) mayFetch(u *url.URL) error {
	port := u.Port()
	switch {
	case u.Scheme == "http" && port == "":
		port = "80"
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the scheme is %s, and neither http nor https", u.Scheme)
	}
	return p.mayConnect(net.JoinHostPort(u.Hostname(), port), netip.Addr{})
}

// fetchNatives are what fetch is made of.
func (r *realm) fetchNatives(set func(string, func(goja.FunctionCall) goja.Value)) {
	set("fetch", r.startFetch)
	set("cancelFetch", func(c goja.FunctionCall) goja.Value {
		if f := r.fetches[uint64(c.Argument(0).ToInteger())]; f != nil {
			r.endFetch(f)
			f.cancel()
			f.next.reject(c.Argument(1))
		}
		return goja.Undefined()
	})
}

// startFetch is fetch: (method, URL, names and values of headers, body or
// undefined, redirect) → a promise of the head, one of the body, its number.
func (r *realm) startFetch(c goja.FunctionCall) goja.Value {
	if len(r.fetches) >= maxFetches {
		panic(r.rt.NewTypeError("fetch: %d are under way already", maxFetches))
	}
	method, href, mode := c.Argument(0).String(), c.Argument(1).String(), c.Argument(4).String()
	what := method + " " + href
	u, err := url.Parse(href)
	if err != nil { // the web allows more
		if parsed, e := parseURL(href, ""); e == nil {
			u, err = &url.URL{Scheme: parsed.Scheme(), Host: parsed.Host(), Opaque: parsed.Pathname(), RawQuery: parsed.Query()}, nil
		}
	}
	if err == nil {
		err = r.w.p.mayFetch(u)
	}
	var body io.Reader
	if v := c.Argument(3); !absent(v) {
		body = bytes.NewReader(slices.Clone(r.bytesArg(v))) // the script may change it meanwhile
	}
	limit := r.w.p.opts.FetchTimeout
	ctx, cancel := context.WithTimeoutCause(r.w.ctx, limit, errFetchTime)
	var req *http.Request
	if err == nil {
		req, err = http.NewRequestWithContext(ctx, method, href, body)
		if err != nil { // as above
			req, err = http.NewRequestWithContext(ctx, method, u.Scheme+"://"+u.Host+"/", body)
		}
	}
	if err != nil {
		cancel()
		panic(r.rt.NewTypeError("fetch %s: %s", what, err))
	}
	req.URL = u
	headers := c.Argument(2).ToObject(r.rt)
	for i := range headers.Get("length").ToInteger() / 2 {
		name, value := headers.Get(fmt.Sprint(2*i)).String(), headers.Get(fmt.Sprint(2*i+1)).String()
		text, _ := toLatin1(value) // the prelude has checked it
		req.Header.Add(name, text)
	}
	prepareHeaders(req)

	r.nextID++
	f := &fetch{id: r.nextID, cancel: cancel, what: what, head: r.newDeferred(), body: r.newDeferred()}
	f.head.place()
	f.body.place()
	f.next = &f.head
	r.fetches[f.id] = f
	r.closers.add(f, cancel) // if the runtime is abandoned
	r.pending++
	p, turns, most := r.w.p, r.w.fetching, r.w.p.opts.MaxFetchBody
	r.w.waits.Go(func() { // ends with the request, which ends with the worker's context
		defer cancel()
		var resp *http.Response
		var err error
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			resp, err = p.fetch(req, mode)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			err = fetchFailed(ctx, err, limit)
			r.deliver(func() { r.fetched(f, nil, err) }, func() {})
			return
		}
		defer resp.Body.Close()
		r.deliver(func() { r.fetchHead(f, resp) }, cancel)
		data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
		if err != nil {
			err = fetchFailed(ctx, err, limit)
		} else if int64(len(data)) > most {
			err = fmt.Errorf("the body is larger than %d bytes", most)
		}
		r.deliver(func() { r.fetched(f, data, err) }, func() {})
	})
	return r.rt.NewArray(f.head.o, f.body.o, f.id)
}

// prepareHeaders gives a request what it lacks, and takes what is about the
// connection, which is not the script's.
func prepareHeaders(req *http.Request) {
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	for _, name := range []string{"Host", "Connection", "Content-Length", "Expect", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		req.Header.Del(name)
	}
	for name := range req.Header {
		if strings.HasPrefix(name, "Proxy-") {
			req.Header.Del(name)
		}
	}
	for name, value := range map[string]string{"Accept": "*/*", "User-Agent": "amphost"} {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
}

// fetch makes a request, and follows where it is sent on, if mode is "follow".
func (p *Plugin) fetch(req *http.Request, mode string) (*http.Response, error) {
	first := req.URL
	client := http.Client{Transport: p.client(), CheckRedirect: func(next *http.Request, via []*http.Request) error {
		switch {
		case mode == "manual":
			return http.ErrUseLastResponse
		case mode == "error":
			return fmt.Errorf("it is redirected to %s, and redirect is \"error\"", next.URL)
		case len(via) > maxRedirects:
			return fmt.Errorf("it was redirected more than %d times", maxRedirects)
		}
		if err := p.mayFetch(next.URL); err != nil {
			return fmt.Errorf("it is redirected to %s: %w", next.URL, err)
		}
		next.Header.Del("Referer")
		// What is for one server is for no other, and once away it stays away.
		for _, hop := range slices.Concat(via, []*http.Request{next}) {
			if hop.URL.Scheme != first.Scheme || hop.URL.Host != first.Host {
				for _, name := range []string{"Authorization", "Cookie"} {
					next.Header.Del(name)
				}
				next.Host = ""
			}
		}
		return nil
	}}
	resp, err := client.Do(req)
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // who fetches knows what
	}
	return resp, err
}

// fetchFailed words why a fetch has failed.
func fetchFailed(ctx context.Context, err error, limit time.Duration) error {
	if cause := context.Cause(ctx); cause == errFetchTime {
		return fmt.Errorf("%w: it was not done within %v", errFetchTime, limit)
	} else if cause != nil {
		return errors.New("the plugin has ended")
	}
	if no, ok := errors.AsType[*refusal](err); ok && !strings.HasPrefix(err.Error(), "it is redirected") {
		return no
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}

// endFetch forgets a fetch. It is false if that was done before.
func (r *realm) endFetch(f *fetch) bool {
	if r.fetches[f.id] == nil {
		return false // it was aborted
	}
	delete(r.fetches, f.id)
	r.closers.remove(f)
	r.pending--
	return true
}

// fetchHead settles what fetch has returned with the head of the response.
func (r *realm) fetchHead(f *fetch, resp *http.Response) {
	if r.fetches[f.id] == nil {
		return
	}
	var headers []any
	for _, name := range sortedKeys(resp.Header) {
		for _, value := range resp.Header[name] {
			headers = append(headers, strings.ToLower(name), fromLatin1(value))
		}
	}
	at := *resp.Request.URL
	at.Fragment, at.RawFragment = "", ""
	_, text, _ := strings.Cut(resp.Status, " ")
	f.next = &f.body
	f.head.resolve(r.rt.NewArray(resp.StatusCode, text, at.String(), resp.Request.Response != nil, r.rt.NewArray(headers...)))
}

// fetched ends a fetch: with its body, or with why there is none.
func (r *realm) fetched(f *fetch, body []byte, err error) {
	if !r.endFetch(f) {
		return
	}
	if err == nil {
		f.body.resolve(r.ownBuffer(body))
		return
	}
	make, _ := goja.AssertFunction(r.shared.Get("fetchError"))
	v, failed := r.enter(make, r.rt.ToValue(fmt.Sprintf("fetch %s: %s", f.what, err)), r.rt.ToValue(errors.Is(err, errFetchTime)))
	if failed == nil {
		f.next.reject(v)
	}
}
