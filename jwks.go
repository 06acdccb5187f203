package jwthttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// JWKS is a [KeySource] that fetches a JSON Web Key Set (RFC 7517 §5) over HTTP
// and keeps it up to date. [NewJWKS] and [DiscoverJWKS] make one; it is safe for
// concurrent use.
//
// It fetches in the background, and when a token names a key it does not have,
// or no key that it has verifies the token: that request waits for the fetch
// and is judged by its outcome, while valid tokens of known keys never wait. There is one fetch at a time, on no request's
// context. Fetches that requests cause are MinInterval apart, whatever the
// tokens say. So publish a key that long before its first use: until the next
// fetch is allowed its tokens are refused with 401, as junk is.
//
// While fetches fail, the last good keys serve up to MaxStale; from the first
// failed fetch on, a token of an unknown key is answered with 503, since nobody
// can tell whether it exists. An answer without one usable key is a failed fetch.
//
// Of the set it uses the public keys that fit an algorithm of golang-jwt, are
// RSA of 2048 bits or more if RSA, and whose "use", "key_ops" and "alg" do not
// forbid it. The others are passed over, one by one. A token without "kid" is
// tried with every usable key, at most eight.
type JWKS struct {
	ctx     context.Context // ends the fetching
	opts    JWKSOptions
	url     string // of the key set; "" if it has to be discovered
	issuer  string // of DiscoverJWKS, or ""
	secure  bool   // the issuer is https, so its keys must be too
	current atomic.Pointer[fetchedKeys]
	ready   chan struct{} // closed with the first good key set

	mu      sync.Mutex
	running *fetch
	allowed time.Time // when a request may cause the next fetch
	failed  error     // of the latest fetch

	found string // the URL discovered; only the running fetch uses it
}

// JWKSOptions tune a [JWKS]. The zero value is good.
type JWKSOptions struct {
	_ struct{}

	// Client fetches; nil means a client of net/http's default transport. It
	// is copied. Redirects to another origin are refused whatever it says.
	Client *http.Client

	// RefreshInterval is the time between fetches in the background: 0 means
	// 15 minutes, less a little at random. A max-age of the server may shorten
	// it, but not below MinInterval.
	RefreshInterval time.Duration

	// MinInterval is the least time between fetches that requests cause: 0
	// means 10 seconds. It counts from the beginning of a fetch, failed or not.
	MinInterval time.Duration

	// MaxStale is how long the last good keys serve while fetches fail: 0
	// means 24 hours.
	MaxStale time.Duration

	// Timeout is for one fetch, to its last byte and with the metadata if
	// that is fetched too: 0 means 5 seconds.
	Timeout time.Duration

	// MaxBytes is the size of the largest answer read: 0 means 1 MiB.
	MaxBytes int64

	// AllowHTTP admits plain http beyond this machine. Whoever can change an
	// answer on its way chooses the keys.
	AllowHTTP bool

	// OnError, if not nil, is called with the error of each failed fetch, on
	// the fetch's goroutine, maybe after the answer to a request that waited
	// for it. The error has neither user, password nor query of a URL in it.
	OnError func(error)
}

// NewJWKS returns a JWKS for the key set at url, which must be https (or http
// on loopback). It starts fetching and does not wait; [JWKS.Ready] does. When
// ctx ends, so does its goroutine; the keys it has serve on until MaxStale, for
// the requests of a graceful shutdown.
func NewJWKS(ctx context.Context, url string, opts JWKSOptions) (*JWKS, error) {
	u, err := opts.checkURL(url)
	if err = errors.Join(err, opts.check()); err != nil {
		return nil, err
	}
	return startJWKS(ctx, &JWKS{url: u.String(), opts: opts}), nil
}

// DiscoverJWKS returns a JWKS whose address is in the issuer's metadata:
// OpenID Connect Discovery's, or else that of RFC 8414. It looks there when it
// first fetches, and again with later fetches in the background. The metadata
// must name the very issuer, and [New] refuses the JWKS for an [Issuer] of
// another name. The rest is as with [NewJWKS].
func DiscoverJWKS(ctx context.Context, issuer string, opts JWKSOptions) (*JWKS, error) {
	u, err := opts.checkURL(issuer)
	if err == nil && (u.RawQuery != "" || u.ForceQuery || u.User != nil) {
		err = errors.New("jwthttp: issuer: want a URL without user and query") // RFC 8414 §2
	}
	if err = errors.Join(err, opts.check()); err != nil {
		return nil, err
	}
	return startJWKS(ctx, &JWKS{issuer: issuer, secure: u.Scheme == "https", opts: opts}), nil
}

var _ KeySource = (*JWKS)(nil)

// checkURL refuses a URL that keys must not come from.
func (o *JWKSOptions) checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("jwthttp: key set: the URL is empty")
	case err != nil || u.Hostname() == "" || u.Fragment != "":
		return nil, errors.New("jwthttp: key set: want an absolute URL without fragment") // unquoted: it may hold a password
	case u.Scheme == "https" || u.Scheme == "http" && (o.AllowHTTP || isLoopback(u.Hostname())):
		return u, nil
	}
	return nil, fmt.Errorf("jwthttp: key set: %q: want https, or AllowHTTP", u.Scheme+"://"+u.Host)
}

// check refuses what makes no sense, and fills in the defaults.
func (o *JWKSOptions) check() error {
	var p problems
	duration := func(field string, d *time.Duration, fallback time.Duration) {
		if *d < 0 {
			p.add("JWKSOptions."+field, *d, "want 0 or more")
		}
		if *d == 0 {
			*d = fallback
		}
	}
	duration("RefreshInterval", &o.RefreshInterval, 15*time.Minute)
	duration("MinInterval", &o.MinInterval, 10*time.Second)
	duration("MaxStale", &o.MaxStale, 24*time.Hour)
	duration("Timeout", &o.Timeout, 5*time.Second)
	if o.MaxBytes < 0 {
		p.add("JWKSOptions.MaxBytes", o.MaxBytes, "want 0 or more")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	client := http.Client{}
	if o.Client != nil {
		client = *o.Client
	}
	client.CheckRedirect = sameOrigin(client.CheckRedirect)
	o.Client = &client
	return errors.Join(p...)
}

// sameOrigin lets a redirect stay where the URL pointed, and asks next too.
func sameOrigin(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case r.URL.Scheme != first.Scheme || r.URL.Host != first.Host:
			return errors.New("redirect to another origin")
		case len(via) >= 5:
			return errors.New("too many redirects")
		case next != nil:
			return next(r, via)
		}
		return nil
	}
}

// fetch is one run of update.
type fetch struct {
	done chan struct{}
	err  error // once done is closed
}

func startJWKS(ctx context.Context, j *JWKS) *JWKS {
	j.ctx, j.ready = ctx, make(chan struct{})
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.start(true)
	go j.refresh(first)
	return j
}

// refresh fetches in the background until the context ends.
func (j *JWKS) refresh(f *fetch) {
	failures := 0
	for {
		<-f.done
		wait := j.interval()
		if f.err == nil {
			failures = 0
		} else {
			// A failing server is asked less and less often: after 1 s, 2 s, 4 s...
			wait = min(wait, max(minWait, min(time.Second, j.opts.MinInterval))<<min(failures, 16))
			failures++
		}
		// Up to a tenth less, so that many instances do not ask at once.
		timer := time.NewTimer(wait - rand.N(wait/10+1))
		select {
		case <-j.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		f, _ = j.join(true)
	}
}

// interval is the time to the next fetch in the background.
func (j *JWKS) interval() time.Duration {
	// Keys must not go stale for want of asking.
	interval := min(j.opts.RefreshInterval, j.opts.MaxStale/2+1)
	if set := j.current.Load(); set != nil && set.maxAge > 0 {
		interval = min(interval, max(set.maxAge, j.opts.MinInterval))
	}
	return max(interval, minWait)
}

// minWait is the least time between fetches in the background, whatever the options say.
const minWait = 10 * time.Millisecond

// join returns the running fetch, or starts one.
func (j *JWKS) join(rediscover bool) (f *fetch, started bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running != nil {
		return j.running, false
	}
	return j.start(rediscover), true
}

// start starts a fetch; j.mu is held, and none is running. It belongs to no
// request: a client that hangs up must not abort what others wait for.
func (j *JWKS) start(rediscover bool) *fetch {
	f := &fetch{done: make(chan struct{})}
	j.running = f
	go func() {
		set, err := j.update(rediscover)
		if err == nil && j.current.Swap(set) == nil {
			close(j.ready)
		}
		j.mu.Lock()
		j.running, j.failed = nil, err
		j.mu.Unlock()
		f.err = err
		close(f.done)
		if err != nil {
			j.report(err)
		}
	}()
	return f
}

func (j *JWKS) report(err error) {
	if j.opts.OnError != nil && j.ctx.Err() == nil {
		j.opts.OnError(err)
	}
}

// Refresh fetches now, whatever MinInterval says, and returns when keys that
// were published before the call are in force, or with the error of the fetch
// or of ctx. It is for hooks that are told of a rotation, and for tests.
func (j *JWKS) Refresh(ctx context.Context) error {
	var err error
	for range 2 { // the first may have begun before the call
		f, started := j.join(true)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.done:
		}
		if err = f.err; started {
			break
		}
	}
	return err
}

// Ready returns nil as soon as there is a good key set, or the error of ctx, or
// of the context that the JWKS was made with, together with that of the latest
// fetch. Start a server after it if you would rather wait than answer 503 at
// first; without a deadline in ctx it waits as long as the fetches fail.
func (j *JWKS) Ready(ctx context.Context) error {
	select {
	case <-j.ready:
		return nil
	default:
	}
	select {
	case <-j.ready:
		return nil
	case <-ctx.Done():
	case <-j.ctx.Done():
		ctx = j.ctx
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ctx.Err(), j.failed)
}

// KeyfuncCtx returns a function that finds the keys of a token, as a
// jwt.VerificationKeySet. It waits for a fetch at most until ctx ends. It serves
// golang-jwt's own parser too.
func (j *JWKS) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, ok := t.Header["kid"].(string)
		if _, there := t.Header["kid"]; there && !ok || t.Method == nil {
			return nil, errNoKey
		}
		keys, err := j.find(ctx, kid, t.Method.Alg())
		if err != nil {
			return nil, err
		}
		return jwt.VerificationKeySet{Keys: slices.Clone(keys)}, nil
	}
}

// find returns the keys for a token, all of which fit alg.
func (j *JWKS) find(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error) {
	name := keyName{kid, alg}
	if set := j.fresh(); set != nil {
		if keys := set.keys[name]; len(keys) > 0 {
			return keys, nil
		}
	}
	// A fetch that ran already may have begun before the key was published;
	// one more is due then, if MinInterval lets it.
	for range 2 {
		f, started := j.request()
		if f != nil {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
			case <-f.done:
			}
		} // or one ended between the look-up and now
		if set := j.fresh(); set != nil && len(set.keys[name]) > 0 {
			return set.keys[name], nil
		}
		if started || f == nil {
			break
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// While the set cannot be had, nobody knows whether the key exists.
	if j.failed != nil || j.ctx.Err() != nil || j.fresh() == nil {
		return nil, ErrKeysUnavailable
	}
	return nil, errNoKey
}

// again returns the keys for a token that those it had did not verify, after a
// fetch if one is running or due: a token without "kid" may be of a new key,
// and a "kid" may have got another one. Otherwise nil.
func (j *JWKS) again(ctx context.Context, kid, alg string) []jwt.VerificationKey {
	f, _ := j.request()
	if f == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-f.done:
	}
	if set := j.fresh(); set != nil && f.err == nil {
		return set.keys[keyName{kid, alg}]
	}
	return nil
}

// request returns the running fetch, or one that it starts, or nil if it is
// not time yet.
func (j *JWKS) request() (f *fetch, started bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running != nil {
		return j.running, false
	}
	now := time.Now()
	if now.Before(j.allowed) {
		return nil, false
	}
	j.allowed = now.Add(j.opts.MinInterval)
	return j.start(j.failed != nil), true
}

// fresh returns the current keys unless they are too old to be believed.
func (j *JWKS) fresh() *fetchedKeys {
	set := j.current.Load()
	if set == nil || time.Since(set.began) > j.opts.MaxStale {
		return nil
	}
	return set
}

// fetchedKeys is one good answer. It never changes.
type fetchedKeys struct {
	keys   map[keyName][]jwt.VerificationKey
	began  time.Time     // of the fetch
	etag   string        // for the next one
	source string        // the URL it belongs to
	maxAge time.Duration // 0: the server did not say
}

// keyName finds keys: by the token's "kid", or without it all that fit alg.
type keyName struct{ kid, alg string }

// update fetches the set, and where it is first.
func (j *JWKS) update(rediscover bool) (*fetchedKeys, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(j.ctx, j.opts.Timeout)
	defer cancel()
	source := j.url
	if j.issuer != "" {
		if j.found == "" || rediscover {
			found, err := j.discover(ctx)
			switch {
			case err == nil:
				j.found = found
			case j.found == "":
				return nil, err
			default: // the keys may be there all the same
				j.report(err)
			}
		}
		source = j.found
	}
	last := j.current.Load()
	etag := ""
	if last != nil && last.source == source {
		etag = last.etag
	}
	body, header, err := j.get(ctx, source, etag)
	if err != nil {
		return nil, err
	}
	set := &fetchedKeys{began: began, source: source, etag: header.Get("ETag"), maxAge: maxAge(header)}
	if body == nil { // not modified
		set.keys, set.etag = last.keys, last.etag
		return set, nil
	}
	if set.keys, err = parseKeys(body); err != nil {
		return nil, fmt.Errorf("jwthttp: key set of %s: %w", plainURL(source), err)
	}
	return set, nil
}

// discover returns the address of the issuer's key set.
func (j *JWKS) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(j.issuer)
	if err != nil {
		return "", err // parsed before
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	var failures []error
	for _, address := range []string{
		base + path + "/.well-known/openid-configuration",       // OpenID Connect Discovery §4
		base + "/.well-known/oauth-authorization-server" + path, // RFC 8414 §3.1
	} {
		body, _, err := j.get(ctx, address, "")
		if err != nil {
			failures = append(failures, err)
			continue
		}
		source, err := j.readMetadata(body)
		if err == nil {
			return source, nil
		}
		failures = append(failures, fmt.Errorf("jwthttp: metadata of %s: %w", plainURL(address), err))
	}
	return "", errors.Join(failures...)
}

func (j *JWKS) readMetadata(body []byte) (string, error) {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &metadata); err != nil {
		return "", errors.New("not a JSON object with issuer and jwks_uri")
	}
	// RFC 8414 §3.3: identical, or another issuer's keys could be slipped in.
	if metadata.Issuer != j.issuer {
		return "", fmt.Errorf("is for another issuer: %.100q", metadata.Issuer)
	}
	u, err := j.opts.checkURL(metadata.JWKSURI)
	if err != nil {
		return "", err
	}
	if j.secure && u.Scheme != "https" {
		return "", errors.New("jwks_uri is not https")
	}
	return u.String(), nil
}

// get fetches one URL. A nil body without error means that it has not changed
// since etag.
func (j *JWKS) get(ctx context.Context, address, etag string) ([]byte, http.Header, error) {
	if ctx.Err() != nil {
		return nil, nil, ctx.Err() // a transport may not look
	}
	body, header, err := j.getWithin(ctx, address, etag)
	if err != nil {
		// A *url.Error has the URL in it, with its query.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if u, parseErr := url.Parse(address); parseErr != nil || u.User != nil || u.RawQuery != "" {
			err = hiddenError{err}
		}
		return nil, nil, fmt.Errorf("jwthttp: GET %s: %w", plainURL(address), err)
	}
	return body, header, nil
}

// hiddenError keeps the text of an error from logs: a transport or a redirect
// may have quoted the URL, which has a password or a query.
type hiddenError struct{ error }

func (hiddenError) Error() string   { return "request failed (not shown, since the URL has secrets)" }
func (e hiddenError) Unwrap() error { return e.error }

func (j *JWKS) getWithin(ctx context.Context, address, etag string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/json")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := j.opts.Client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if etag != "" && resp.StatusCode == http.StatusNotModified {
		return nil, resp.Header, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, j.opts.MaxBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > j.opts.MaxBytes {
		return nil, nil, fmt.Errorf("more than %d bytes", j.opts.MaxBytes)
	}
	return body, resp.Header, nil
}

// plainURL is a URL as logs may have it: no user, password or query.
func plainURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(invalid URL)"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// maxAge is the max-age of Cache-Control, or 0. One of 0 seconds is no wish to
// be asked all the time: many servers send it with everything.
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

// parseKeys reads a key set, and passes over the keys that are not for us.
func parseKeys(body []byte) (map[keyName][]jwt.VerificationKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("not a JSON object with an array of keys")
	}
	keys := make(map[keyName][]jwt.VerificationKey)
	for _, text := range set.Keys {
		var jwk jwkset.JWKMarshal
		if json.Unmarshal(text, &jwk) != nil {
			continue
		}
		key := publicKey(jwk)
		if key == nil {
			continue
		}
		for alg, method := range methods {
			// RFC 7517 §4.4: a key that names an algorithm is for no other.
			if jwk.ALG != "" && string(jwk.ALG) != alg || fits(method, key) != nil {
				continue
			}
			for _, name := range slices.Compact([]keyName{{"", alg}, {jwk.KID, alg}}) {
				if len(keys[name]) < maxKeys {
					keys[name] = append(keys[name], key)
				}
			}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no usable key")
	}
	return keys, nil
}

// publicKey returns a JWK's key if it is public and meant for signatures.
func publicKey(jwk jwkset.JWKMarshal) any {
	switch {
	case jwk.K != "" || jwk.D != "" || jwk.P != "" || jwk.Q != "" || jwk.DP != "" || jwk.DQ != "" || jwk.QI != "" || jwk.OTH != nil:
		return nil // a secret that everyone can read is none
	case jwk.USE != "" && jwk.USE != jwkset.UseSig: // RFC 7517 §4.2
		return nil
	case jwk.KEYOPS != nil && !slices.Contains(jwk.KEYOPS, jwkset.KeyOpsVerify): // RFC 7517 §4.3
		return nil
	}
	// Certificates are not looked at, and above all not fetched.
	jwk.X5U, jwk.X5C, jwk.X5T, jwk.X5TS256 = "", nil, "", ""
	parsed, err := jwkset.NewJWKFromMarshal(jwk, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return nil
	}
	return parsed.Key()
}
