package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// metadataGrace is how long a fetch whose keys have arrived waits for the
// issuer's metadata, which may name another place.
const metadataGrace = time.Second

// update fetches the key set once. Only the running fetch f calls it.
func (s *Set) update(f *fetch) (*keys, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
	defer cancel()
	switch {
	case s.issuer == "":
		return s.fetchKeys(ctx, s.url)
	case s.found != "":
		return s.fetchAndRediscover(ctx, f)
	}
	found, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	s.found = found
	return s.fetchKeys(ctx, found)
}

// fetchAndRediscover fetches from the known address while it looks the address
// up again, so that metadata that hangs does not keep the keys from being fetched.
func (s *Set) fetchAndRediscover(ctx context.Context, f *fetch) (*keys, error) {
	type location struct {
		url string
		err error
	}
	discovered := make(chan location, 1)
	go func() {
		var l location
		l.err = catch(func() (err error) { l.url, err = s.discover(ctx); return err })
		discovered <- l
	}()
	set, err := s.fetchKeys(ctx, s.found)
	var late <-chan time.Time
	if err == nil {
		late = time.After(metadataGrace)
	}
	var l location
	select {
	case l = <-discovered:
	case <-late:
		l.err = fmt.Errorf("jwks: metadata of %s: no answer", plainURL(s.issuer))
	case <-ctx.Done():
		l.err = fmt.Errorf("jwks: metadata of %s: %w", plainURL(s.issuer), ctx.Err())
	}
	if l.err == nil && l.url != s.found {
		set, err = s.fetchKeys(ctx, l.url)
		if err == nil { // an address that has never served keys must not replace one that has
			s.found = l.url
		}
		return set, err
	}
	f.metadata = l.err // the fetch is as good as its keys
	return set, err
}

func (s *Set) fetchKeys(ctx context.Context, address string) (*keys, error) {
	began := clock.Now()
	body, header, err := s.get(ctx, address)
	if err != nil {
		return nil, err
	}
	set, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("jwks: key set of %s: %w", plainURL(address), err)
	}
	set.began, set.maxAge = began, maxAge(header)
	return set, nil
}

// discover returns the address of the issuer's key set.
func (s *Set) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(s.issuer)
	if err != nil {
		return "", err // Discover has parsed it
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	// The second document has its turn even if the first request hangs.
	first, cancel := context.WithTimeout(ctx, s.opts.Timeout/2)
	defer cancel()
	address, err := s.discoverAt(first, base+path+"/.well-known/openid-configuration") // OpenID Connect Discovery §4
	if err == nil {
		return address, nil
	}
	address, second := s.discoverAt(ctx, base+"/.well-known/oauth-authorization-server"+path) // RFC 8414 §3.1
	if second == nil {
		return address, nil
	}
	return "", errors.Join(err, second)
}

func (s *Set) discoverAt(ctx context.Context, address string) (string, error) {
	body, _, err := s.get(ctx, address)
	if err != nil {
		return "", err
	}
	uri, err := s.parseMetadata(body)
	if err != nil {
		return "", fmt.Errorf("jwks: metadata of %s: %w", plainURL(address), err)
	}
	return uri, nil
}

func (s *Set) parseMetadata(body []byte) (string, error) {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := unmarshal(body, &metadata); err != nil {
		return "", errors.New("not a JSON object with issuer and jwks_uri")
	}
	// RFC 8414 §3.3: identical, or another issuer's keys could be slipped in.
	if metadata.Issuer != s.issuer {
		return "", fmt.Errorf("issuer %+.100q is not %q", metadata.Issuer, s.issuer)
	}
	u, err := s.opts.parseURL(metadata.JWKSURI)
	if err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	if s.secure && u.Scheme != "https" {
		return "", errors.New("jwks_uri: want https, as the issuer has")
	}
	return u.String(), nil
}

// get fetches one URL. Its errors never show the URL's secrets.
func (s *Set) get(ctx context.Context, address string) (body []byte, header http.Header, err error) {
	err = catch(func() (err error) { body, header, err = s.do(ctx, address); return err })
	if err != nil {
		// The text of a *url.Error has the URL with its query.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if u, parseErr := url.Parse(address); parseErr != nil || u.User != nil || u.RawQuery != "" {
			err = hiddenError{err}
		}
		return nil, nil, fmt.Errorf("jwks: GET %s: %w", plainURL(address), err)
	}
	return body, header, nil
}

func (s *Set) do(ctx context.Context, address string) ([]byte, http.Header, error) {
	if ctx.Err() != nil {
		return nil, nil, ctx.Err() // a transport may not check
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	// Kubernetes answers 406 without the first. The request is unconditional:
	// an ETag made of time and size does not change when a key does.
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.opts.Client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d, want 200", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.opts.MaxBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > s.opts.MaxBytes {
		return nil, nil, fmt.Errorf("more than %d bytes", s.opts.MaxBytes)
	}
	return body, resp.Header, nil
}

// sameOrigin returns a CheckRedirect function that refuses other origins and
// then calls next, which may be nil.
func sameOrigin(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		switch {
		case origin(r.URL) != origin(via[0].URL):
			return errors.New("redirect to another origin")
		case len(via) >= 5:
			return errors.New("too many redirects")
		case next != nil:
			return next(r, via)
		}
		return nil
	}
}

// origin returns scheme, host and port (RFC 6454 §4).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// parseURL refuses a URL that keys must not come from. Its errors never show a
// password.
func (o *Options) parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("URL is empty")
	case err != nil || u.Hostname() == "" || u.Fragment != "":
		return nil, errors.New("want an absolute URL without fragment")
	case u.Scheme == "https" || u.Scheme == "http" && (o.InsecureAllowHTTP || syntax.IsLoopback(u.Hostname())):
		return u, nil
	}
	return nil, fmt.Errorf("%q: want https, or InsecureAllowHTTP", u.Scheme+"://"+u.Host)
}

// plainURL returns a URL without user and query, for logs.
func plainURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(invalid URL)"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// maxAge returns the max-age of Cache-Control, or 0. Zero seconds count as
// absent: many servers send that with every answer.
func maxAge(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(h["Cache-Control"], ",")), ",") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
			if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	return 0
}

// hiddenError keeps the text of an error out of logs: a transport or a redirect
// may have quoted the URL, which has a password or a query.
type hiddenError struct{ error }

func (e hiddenError) Error() string {
	if p := (*panicError)(nil); errors.As(e.error, &p) {
		return "panic (value not shown, because the URL has secrets)\n" + p.stack
	}
	return "request failed (not shown, because the URL has secrets)"
}

func (e hiddenError) Unwrap() error { return e.error }

// panicError is a panic that became an error.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// catch calls f and returns its error, or its panic as an error. A fetch has its
// own goroutine, where a panic would end the program.
func catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, string(debug.Stack())}
		}
	}()
	return f()
}
