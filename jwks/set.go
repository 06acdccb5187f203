// Package jwks provides the keys of identity providers to package jwthttp. A
// [Set] is a JSON Web Key Set (RFC 7517 §5) that is fetched over HTTP and kept up
// to date, or parsed from a file:
//
//	keys, err := jwks.Discover(ctx, "https://login.example", jwks.Options{})
//	...
//	opts.Issuers = []jwthttp.Issuer{{Name: "https://login.example", Keys: keys, ...}}
//
// A Set is also a keyfunc.Keyfunc of github.com/MicahParks/keyfunc. A program
// that uses keyfunc today, with golang-jwt's parser or another middleware, only
// replaces the call of keyfunc.NewDefaultCtx by one of [New]:
//
//	keys, err := jwks.New(ctx, "https://login.example/keys", jwks.Options{})
//	...
//	token, err := jwt.Parse(text, keys.Keyfunc, jwt.WithValidMethods([]string{"RS256"}))
package jwks

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/internal/problems"
)

var (
	_ jwthttp.KeySource = (*Set)(nil)
	_ keyfunc.Keyfunc   = (*Set)(nil)
	_ keyset.Finder     = (*Set)(nil)
)

// Set is a [jwthttp.KeySource] of public keys. [New], [Discover] and [Parse]
// return one; the zero value is not usable. A Set is safe for concurrent use.
// Printing it shows no key and no secret of its URL.
//
// A fetched Set refreshes its keys in the background. It also fetches when a
// token names an unknown key, or when no known key verifies a token. That
// request waits for the fetch; a token that a known key verifies never waits. Fetches caused
// by requests are at least MinInterval apart, so publish a key that long before
// its first use. Until the next fetch is allowed, tokens of an unknown key are
// rejected with 401.
//
// While fetches fail, the last good keys are used for up to MaxStale, and
// tokens of unknown keys get 503. An answer without a usable key is a failed
// fetch.
//
// A key is used if it is public, fits a supported algorithm, has at least 2048
// bits if it is RSA, and its "use", "key_ops" and "alg" permit signatures. Other
// keys are passed over one by one; errors name them with the reason. A token
// without "kid" is tried with up to eight keys. A key with the member "issuer"
// (Entra ID) verifies only tokens of that issuer, where "{tenantid}" stands for
// the token's "tid". A KeySource that wraps a Set does not pass "tid" on.
type Set struct {
	ctx    context.Context // ends the fetching; nil: parsed
	opts   Options
	url    string // of the key set; "" if it has to be discovered
	issuer string // of Discover, or ""
	secure bool   // the issuer is https, so its keys must be too

	current atomic.Pointer[keys]
	ended   *atomic.Pointer[clock.Moment] // when ctx ended; all sets of a Pool share it
	ready   chan struct{}                 // closed with the first good key set
	pooled  *poolState                    // nil: not of a Pool

	mu       sync.Mutex
	running  *fetch
	allowed  time.Time   // when a request may cause the next fetch
	failed   error       // of the latest fetch
	failures int         // of fetches in the background, since the last good one
	next     *time.Timer // of the next fetch in the background

	found string // the URL discovered; only the running fetch uses it
}

// Options configures a [Set]. The zero value is usable.
type Options struct {
	_ struct{}

	// Client sends the requests. If nil, [http.DefaultTransport] is used. The
	// Client is copied. Redirects to another origin are always refused. A failed
	// fetch closes the Client's idle connections, because they may be dead.
	Client *http.Client

	// RefreshInterval is the time between fetches in the background. If zero, 15
	// minutes, less up to a tenth at random. A max-age sent by the server can
	// shorten it, but not below MinInterval.
	RefreshInterval time.Duration

	// MinInterval is the minimum time between fetches caused by requests,
	// counted from the beginning of such a fetch, failed or not. If zero, 10
	// seconds.
	MinInterval time.Duration

	// MaxStale is how long the last good keys are used while fetches fail. If
	// zero, 24 hours. The age of keys counts from the beginning of their fetch,
	// by the monotonic or the wall clock, whichever is larger.
	MaxStale time.Duration

	// Timeout limits one fetch, including its metadata. If zero, 5 seconds.
	Timeout time.Duration

	// MaxBytes is the maximum size of an answer. If zero, 1 MiB.
	MaxBytes int64

	// InsecureAllowHTTP allows plain http to hosts other than loopback. Whoever
	// can change such an answer on its way chooses the keys.
	InsecureAllowHTTP bool

	// OnError is called with the error of each failed fetch, and once when the
	// context of the Set ends. If nil, errors are logged by slog.Default. Calls
	// come from other goroutines, possibly after a waiting request was answered.
	// The errors contain no user, password or query of a URL.
	OnError func(error)
}

// New returns a Set that is fetched from url, which must be https, or http on
// loopback. The answer is a JWK Set, or an object that maps key IDs to PEM
// certificates or public keys, as Google publishes. New does not wait for the
// network; [Set.Ready] does.
//
// The context is the lifetime of the Set: when it ends, fetching stops, and the
// keys are used for 5 more minutes. A context with a deadline is an error.
func New(ctx context.Context, url string, opts Options) (*Set, error) {
	p := problems.List{Prefix: "jwks: "}
	s := opts.setOf(&p, url)
	return s.start(ctx, &p, opts)
}

// setOf returns a Set that is not started.
func (o *Options) setOf(p *problems.List, url string) *Set {
	u, err := o.parseURL(url)
	if err != nil {
		p.AddHidden("url", "%w", err)
		return nil
	}
	return &Set{url: u.String()}
}

// Discover returns a Set whose URL is in the issuer's metadata: OpenID Connect
// Discovery, or else RFC 8414. The metadata must name exactly this issuer, and
// jwthttp.New refuses the Set for an Issuer with another name. Every fetch looks
// the URL up again; if the metadata cannot be had, the last known URL is used.
// The rest is as for [New].
func Discover(ctx context.Context, issuer string, opts Options) (*Set, error) {
	p := problems.List{Prefix: "jwks: "}
	s := opts.setOfIssuer(&p, issuer)
	return s.start(ctx, &p, opts)
}

// setOfIssuer returns a Set that is not started.
func (o *Options) setOfIssuer(p *problems.List, issuer string) *Set {
	u, err := o.parseURL(issuer)
	switch {
	case err != nil:
		p.AddHidden("issuer", "%w", err)
		return nil
	case u.RawQuery != "" || u.ForceQuery || u.User != nil:
		p.AddHidden("issuer", "want a URL without user and query") // RFC 8414 §2
	}
	return &Set{issuer: issuer, secure: u.Scheme == "https"}
}

// start completes a Set and starts its fetches, unless there are problems.
func (s *Set) start(ctx context.Context, p *problems.List, opts Options) (*Set, error) {
	checkContext(ctx, p)
	opts = opts.compile(p, "Options.")
	if err := p.Err(); err != nil {
		return nil, err
	}
	s.ctx, s.opts, s.ended = ctx, opts, new(atomic.Pointer[clock.Moment])
	context.AfterFunc(ctx, s.end)
	s.begin()
	return s, nil
}

// Parse returns a Set of fixed keys. The data is a JWK Set, or an object that
// maps key IDs to PEM certificates or public keys; certificates are not checked.
// The Set never fetches and its keys never get stale: Ready returns nil, and
// Refresh returns an error. Data without a usable key is an error.
func Parse(data []byte) (*Set, error) {
	set, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	s := &Set{}
	s.current.Store(set)
	return s, nil
}

func checkContext(ctx context.Context, p *problems.List) {
	if ctx == nil {
		p.AddHidden("ctx", "is nil")
		return
	}
	if _, ok := ctx.Deadline(); ok {
		p.AddHidden("ctx", "has a deadline, but is the lifetime of the key set; give the deadline to Ready")
	}
}

// compile returns o with its defaults filled in.
func (o Options) compile(p *problems.List, field string) Options {
	for _, d := range []struct {
		field        string
		value        *time.Duration
		defaultValue time.Duration
	}{
		{"RefreshInterval", &o.RefreshInterval, 15 * time.Minute},
		{"MinInterval", &o.MinInterval, 10 * time.Second},
		{"MaxStale", &o.MaxStale, 24 * time.Hour},
		{"Timeout", &o.Timeout, 5 * time.Second},
	} {
		if *d.value < 0 {
			p.Add(field+d.field, *d.value, "want 0 or more")
		}
		if *d.value == 0 {
			*d.value = d.defaultValue
		}
	}
	if o.MaxBytes < 0 {
		p.Add(field+"MaxBytes", o.MaxBytes, "want 0 or more")
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
	return o
}

// KeyfuncCtx returns a function that returns the keys for a token as a
// jwt.VerificationKeySet. It waits for a fetch until ctx ends. The errors are
// those of [Set.FindKeys].
func (s *Set) KeyfuncCtx(ctx context.Context) jwt.Keyfunc { return keyfuncOf(ctx, s) }

func keyfuncOf(ctx context.Context, finder keyset.Finder) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		q, err := newQuery(t)
		if err != nil {
			return nil, err
		}
		found, err := finder.FindKeys(ctx, q)
		if err != nil {
			return nil, err
		}
		return jwt.VerificationKeySet{Keys: slices.Clone(found)}, nil
	}
}

// Keyfunc is a jwt.Keyfunc, for golang-jwt's parser. It may wait for two
// fetches; use [Set.KeyfuncCtx] to limit that by a context.
func (s *Set) Keyfunc(t *jwt.Token) (any, error) {
	return s.KeyfuncCtx(context.Background())(t)
}

// newQuery reads what selects keys from a token that golang-jwt has parsed.
func newQuery(t *jwt.Token) (keyset.Query, error) {
	kid, hasKeyID := t.Header["kid"]
	text, ok := kid.(string)
	if hasKeyID && !ok {
		return keyset.Query{}, errors.New("jwks: kid is not a string")
	}
	if t.Method == nil {
		return keyset.Query{}, errors.New("jwks: token has no signing method")
	}
	q := keyset.Query{KeyID: text, HasKeyID: hasKeyID, Algorithm: t.Method.Alg()}
	if t.Claims != nil {
		q.Issuer, _ = t.Claims.GetIssuer() // "" matches no issuer
	}
	if claims, ok := t.Claims.(jwt.MapClaims); ok {
		q.TenantID, _ = claims["tid"].(string)
		return q, nil
	}
	if parts := strings.Split(t.Raw, "."); len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		var claims map[string]any // a struct would also match "TID"
		_ = json.Unmarshal(payload, &claims)
		q.TenantID, _ = claims["tid"].(string)
	}
	return q, nil
}

// Storage returns a copy of the keys in use, which later fetches do not change.
// Keys that are bound to an issuer are left out, since a Storage cannot say so.
func (s *Set) Storage() jwkset.Storage {
	storage := jwkset.NewMemoryStorage()
	if set := s.fresh(); set != nil {
		for _, k := range set.usable {
			if copied, err := publicKey(k.marshal); err == nil && k.issuer == nil {
				_ = storage.KeyWrite(context.Background(), copied) // never fails
			}
		}
	}
	return storage
}

// VerificationKeySet returns a copy of the keys in use, without the keys that
// are bound to an issuer. Before the first good fetch, it waits for one until ctx
// ends. An error means that the keys are not available.
func (s *Set) VerificationKeySet(ctx context.Context) (jwt.VerificationKeySet, error) {
	set := s.fresh()
	if set == nil {
		if f, _ := s.request(); f != nil {
			if err := f.wait(ctx); err != nil {
				return jwt.VerificationKeySet{}, err
			}
		}
		set = s.fresh()
	}
	if set == nil {
		return jwt.VerificationKeySet{}, s.unavailable()
	}
	var list jwt.VerificationKeySet
	for _, k := range set.usable {
		if k.issuer == nil {
			list.Keys = append(list.Keys, jwk.Copy(k.key))
		}
	}
	return list, nil
}

// FindKeys returns the keys for a token, at least one. It is for package jwthttp.
// An error that is [jwthttp.ErrKeysUnavailable] means that it is not known
// whether there is a key: there are no current keys, the latest fetch failed, the
// context of the Set has ended, or ctx ended while waiting for a fetch.
func (s *Set) FindKeys(ctx context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	if found := s.fresh().find(q); len(found) > 0 {
		return found, nil
	}
	if q.HasKeyID && q.KeyID == "" {
		return nil, errors.New("jwks: kid is empty")
	}
	// A running fetch may have begun before the key was published. One more is
	// due then, if MinInterval permits it.
	for range 2 {
		f, started := s.request()
		if f != nil {
			if err := f.wait(ctx); err != nil {
				return nil, err
			}
		} // otherwise a fetch may have ended just now
		if found := s.fresh().find(q); len(found) > 0 {
			return found, nil
		}
		if started || f == nil {
			break
		}
	}
	if err := s.unavailable(); err != nil {
		return nil, err
	}
	if set := s.fresh(); set != nil {
		return nil, set.unknown(q)
	}
	return nil, jwthttp.ErrKeysUnavailable // they got stale this very moment
}

// RefetchKeys returns newer keys for a token that no key of FindKeys has
// verified, or none. It is for package jwthttp. Without "kid", the key may be
// new; if no newer keys can be fetched, that is an error. With a known "kid", the
// key may have been replaced.
func (s *Set) RefetchKeys(ctx context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	f, _ := s.request()
	if f != nil {
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
		if f.err == nil {
			return s.fresh().find(q), nil
		}
	}
	if !q.HasKeyID {
		return nil, s.unavailable()
	}
	return nil, nil
}

// DiscoveredFrom returns the issuer given to Discover, or "". It is for package
// jwthttp.
func (s *Set) DiscoveredFrom() string { return s.issuer }

// Refresh fetches the key set now, ignoring MinInterval. It returns when keys
// that were published before the call are in use, or with the error of the fetch
// or of ctx. Use it when a provider announces a rotation, and in tests.
func (s *Set) Refresh(ctx context.Context) error {
	if s.ctx == nil {
		return errors.New("jwks: a parsed key set cannot be refreshed")
	}
	var err error
	for range 2 { // the first fetch may have begun before the call
		f, started := s.join()
		if f == nil {
			return s.endError()
		}
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

// Ready returns nil as soon as there has been a good key set. Call it before
// serving. Otherwise the first requests may get 503. If ctx or the context of
// the Set ends, Ready returns an error that includes that of the latest fetch.
func (s *Set) Ready(ctx context.Context) error {
	if s.ctx == nil {
		return nil
	}
	select {
	case <-s.ready:
		return nil
	default:
	}
	var err error
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.ctx.Done():
		err = s.endError()
	}
	if failed := s.failure(); failed != nil {
		return fmt.Errorf("%w: %w", err, failed)
	}
	return err
}

// Format implements [fmt.Formatter]. For every verb it writes where the keys
// come from.
func (s *Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.name()) }

func (s *Set) name() string {
	switch {
	case s.ctx == nil:
		return "parsed key set"
	case s.issuer != "":
		return "key set of issuer " + plainURL(s.issuer)
	}
	return "key set of " + plainURL(s.url)
}
