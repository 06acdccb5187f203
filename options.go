package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/keyset"
)

// Any, as an Issuer's Name or the only element of its Audience, waives the
// check: a token without the claim passes too.
const Any = "*"

// Options say which tokens a [Middleware] admits. Only Issuers is required.
// [New] judges and copies them; changing them afterwards has no effect. What
// they point to stays alive: a CrossOriginProtection takes new trusted origins,
// and a KeySource of one's own may change its keys.
type Options struct {
	_ struct{}

	// Issuers are those whose tokens are accepted. A token's "iss" chooses
	// one of them, whose rules and keys alone decide then. Required.
	Issuers []Issuer

	// Extractor finds the token. Nil means FromHeader("Authorization", "Bearer").
	Extractor Extractor

	// Leeway is what the clocks of issuer and server may differ by, for
	// "exp", "nbf" and an "iat" in the future: 0 to 5 minutes. It does not
	// extend Issuer.MaxAge.
	Leeway time.Duration

	// MaxTokenSize is the longest token accepted, in bytes: 0 means 8 KiB,
	// and 1 MiB is the most.
	MaxTokenSize int

	// Revoked is asked about each token after everything else about it is
	// verified. Nil means that nothing is revoked.
	Revoked RevokedFunc

	// RevocationTimeout is how long Revoked may take: 0 means 1 second, and
	// 1 minute is the most. It is the deadline of the context that Revoked gets.
	RevocationTimeout time.Duration

	// FailOpen admits a token when Revoked fails, and Event.Unchecked says
	// so; without it the answer is a 503. A client that hangs up to make
	// Revoked fail gains nothing: that still is a 503.
	FailOpen bool

	// CrossOrigin guards tokens that a browser sends unasked (those not from
	// SourceHeader or SourceQuery) against cross-site requests. Nil means its
	// zero value, with no trusted origin, so the guard is on either way. It is
	// asked about unsafe methods, and about upgrades as if they were a POST,
	// since a WebSocket is open to every site otherwise; a bypass pattern for
	// one must therefore not name the method GET. Its deny handler is not used.
	//
	// A sign-in has no token yet: put the same guard around the whole site, or
	// another site signs its visitors in as somebody else.
	CrossOrigin *http.CrossOriginProtection

	// CacheSize is how many verified tokens are remembered: 0 means none, and
	// 2^24 is the most. A token seen before costs no signature then; its times,
	// key, revocation, scopes and rules are judged all the same, and it ends
	// the moment its key is no longer there. A full cache takes a token when it
	// comes for the second time, in place of one that was not asked for lately.
	//
	// A cache also holds no more than 2 KiB of token per entry, on the average;
	// the claims that were decoded come on top, and may be several times as
	// large. New takes 16 to 32 bytes for each entry at once.
	CacheSize int

	// Realm is the realm of a challenge; "" means "restricted".
	Realm string

	// ResourceMetadataURL is sent in challenges as resource_metadata (RFC
	// 9728 §5.1), if it is not empty: an absolute https URL, or http on loopback.
	ResourceMetadataURL string

	// ErrorHandler answers refused requests. The challenge and the other
	// headers are already set, and may be changed; it writes status and body.
	// A status that it does not write is Error.Status. The request is the one
	// without a query token, and has no claims of the token it was refused
	// with. Nil means WriteError.
	ErrorHandler func(http.ResponseWriter, *http.Request, *Error)

	// Observer, if not nil, is called once per decision, by Handler and
	// Authenticate alike, on the request's goroutine and before the answer. A
	// Handler inside another one makes a decision of its own. The request's
	// Pattern is empty in a Handler around an [http.ServeMux].
	Observer func(*http.Request, Event)
}

// Issuer says what is accepted from one issuer.
type Issuer struct {
	_ struct{}

	// Name is the exact "iss", or Any. Required.
	Name string

	// Audience has the names this service goes by: one of them must be in
	// "aud". []string{Any} accepts a token meant for anyone. Required.
	Audience []string

	// Algorithms are the only values of "alg" accepted. They must all be HMAC
	// or all be public-key algorithms. Required (RFC 8725 §3.1).
	Algorithms []string

	// Keys verify the issuer's tokens, and no other issuer's. Required.
	Keys KeySource

	// Types are the values of "typ" accepted, compared without case and
	// without a leading "application/" (RFC 8725 §3.11). Nil means "JWT",
	// "at+jwt" or none; a list that is not nil refuses a token without "typ".
	Types []string

	// MaxAge is how long ago a token may have been issued; a token without
	// "iat" is refused then. 0 means no limit; 10 years is the most.
	MaxAge time.Duration

	// NoExpiry admits tokens without "exp". One that is there still counts.
	NoExpiry bool
}

// RevokedFunc reports whether a token was taken back. It is called on the
// request's goroutine, and by [Middleware.Watch] on one of its own beside the
// handler, and must heed its context: an answer after the deadline
// is a failure, and so are an error and a panic. The Token is a copy. An error
// that is [ErrRevoked] says true; and under FailOpen, true counts even beside an
// error or after the deadline.
type RevokedFunc func(context.Context, *Token) (bool, error)

// Event is one decision about one request, for logs and metrics.
type Event struct {
	_ struct{}

	// Token is a copy of the token; nil unless its signature was verified.
	Token *Token
	// Err is the refusal; nil if the request was admitted.
	Err *Error
	// Cached is true if the signature was verified for an earlier request.
	Cached bool
	// Unchecked is true if the token was admitted although Revoked failed.
	Unchecked bool
	// Took is the time from the call of Handler or Authenticate to the decision.
	Took time.Duration
}

// What New takes at the most.
const (
	maxLeeway            = 5 * time.Minute
	maxTokenSize         = 1 << 20
	maxRevocationTimeout = time.Minute
	maxMaxAge            = 10 * 365 * 24 * time.Hour
	maxCacheSize         = 1 << 24
)

// family is the configuration that a Middleware and all derived from it share.
// It never changes.
type family struct {
	issuers    map[string]*issuer // by "iss"
	anyIssuer  *issuer            // of a token whose "iss" does not matter, or nil
	algorithms map[string]bool    // of all issuers

	extract           Extractor
	leeway            time.Duration
	maxTokenSize      int
	revoked           RevokedFunc
	revocationTimeout time.Duration
	failOpen          bool
	crossOrigin       *http.CrossOriginProtection
	realm             string
	metadataURL       string
	errorHandler      func(http.ResponseWriter, *http.Request, *Error)
	observer          func(*http.Request, Event)
	challenges        []string // of the refusals that are alike for all requests, by answer.index

	headers *headers        // of tokens verified before
	cache   *cache          // or nil
	nobody  *authentication // of requests without a verified token

	claims *claimsType // what they decode into
}

type issuer struct {
	name        string
	anyName     bool
	audience    []string
	anyAudience bool
	methods     map[string]jwt.SigningMethod // by "alg"
	keys        KeySource
	set         map[string]setKey // the keys, if they are a KeySet
	types       []string          // without "application/"; nil: the default
	maxAge      time.Duration
	noExpiry    bool
}

// problems collects what is wrong with Options.
type problems []error

func (p *problems) add(field string, value any, format string, args ...any) {
	*p = append(*p, fmt.Errorf("jwthttp: %s: %q: %s", field, fmt.Sprint(value), fmt.Sprintf(format, args...)))
}

func newFamily(o Options) (*family, error) {
	var p problems
	f := &family{
		extract:           o.Extractor,
		leeway:            o.Leeway,
		maxTokenSize:      o.MaxTokenSize,
		revoked:           o.Revoked,
		revocationTimeout: o.RevocationTimeout,
		failOpen:          o.FailOpen,
		crossOrigin:       o.CrossOrigin,
		realm:             o.Realm,
		metadataURL:       o.ResourceMetadataURL,
		errorHandler:      o.ErrorHandler,
		observer:          o.Observer,
	}
	within(&p, "Leeway", o.Leeway, maxLeeway)
	within(&p, "MaxTokenSize", o.MaxTokenSize, maxTokenSize)
	within(&p, "RevocationTimeout", o.RevocationTimeout, maxRevocationTimeout)
	within(&p, "CacheSize", o.CacheSize, maxCacheSize)
	if !fitsQuotedString(o.Realm) {
		p.add("Realm", o.Realm, "want printable ASCII without double quote and backslash")
	}
	if o.ResourceMetadataURL != "" {
		if _, err := parsePublicURL(o.ResourceMetadataURL); err != nil {
			p = append(p, fmt.Errorf("jwthttp: ResourceMetadataURL: %w", err))
		}
	}
	f.addIssuers(&p, o.Issuers)
	if len(p) > 0 {
		return nil, errors.Join(p...)
	}
	f.setDefaults()
	f.nobody = &authentication{family: f}
	f.headers = newHeaders()
	f.cache = newCache(o.CacheSize)
	return f, nil
}

func within[N int | time.Duration](p *problems, field string, n, most N) {
	if n < 0 || n > most {
		p.add(field, n, "want 0 to %v", most)
	}
}

func (f *family) setDefaults() {
	if f.extract == nil {
		f.extract = FromHeader("Authorization", "Bearer")
	}
	if f.maxTokenSize == 0 {
		f.maxTokenSize = 8 << 10
	}
	if f.revocationTimeout == 0 {
		f.revocationTimeout = time.Second
	}
	if f.crossOrigin == nil {
		f.crossOrigin = http.NewCrossOriginProtection()
	}
	if f.realm == "" {
		f.realm = defaultRealm
	}
	f.challenges = make([]string, len(answers))
	for reason, a := range answers {
		if e := refuse(reason, nil); e.challenged() {
			f.challenges[a.index] = e.buildChallenge(f.realm, f.metadataURL)
		}
	}
}

// parsePublicURL reads a URL that is going to be shown to clients, who compare
// it as text: what net/url would write differently is refused.
func parsePublicURL(text string) (*url.URL, error) {
	const want = "want an absolute https URL, percent-encoded, without user and fragment"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.User != nil || u.Host == "" && strings.Contains(text, "@"): // there may be a password in it
		return nil, errors.New(want)
	case !strings.HasPrefix(text, u.Scheme+"://"+u.Host) || u.Hostname() == "" || strings.ContainsAny(text, "# ") || !fitsQuotedString(text) || u.String() != text,
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, fmt.Errorf("%.200q: %s", text, want)
	}
	return u, nil
}

// isLoopback reports whether a URL's host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (f *family) addIssuers(p *problems, issuers []Issuer) {
	if len(issuers) == 0 {
		p.add("Issuers", "", "want at least one")
	}
	f.issuers = make(map[string]*issuer, len(issuers))
	f.algorithms = make(map[string]bool)
	seen := make(map[string]bool, len(issuers))
	for i, o := range issuers {
		field := fmt.Sprintf("Issuers[%d].", i)
		iss := newIssuer(p, field, o)
		if o.Name == Any && len(issuers) > 1 {
			p.add(field+"Name", o.Name, "Any must be the only issuer")
		}
		if seen[o.Name] {
			p.add(field+"Name", o.Name, "another issuer has this name")
		}
		seen[o.Name] = true
		if iss.anyName {
			f.anyIssuer = iss
		} else {
			f.issuers[o.Name] = iss
		}
		for alg := range iss.methods {
			f.algorithms[alg] = true
		}
	}
}

func newIssuer(p *problems, field string, o Issuer) *issuer {
	iss := &issuer{
		name:        o.Name,
		anyName:     o.Name == Any,
		audience:    slices.Clone(o.Audience),
		anyAudience: slices.Equal(o.Audience, []string{Any}),
		maxAge:      o.MaxAge,
		noExpiry:    o.NoExpiry,
	}
	if o.Name == "" {
		p.add(field+"Name", o.Name, `want the exact "iss" of the tokens, or Any`)
	}
	if len(o.Audience) == 0 {
		p.add(field+"Audience", o.Audience, `want a name of this service, or Any alone`)
	}
	for _, name := range o.Audience {
		if name == "" || name == Any && !iss.anyAudience {
			p.add(field+"Audience", name, "want names of this service, or Any alone")
		}
	}
	within(p, field+"MaxAge", o.MaxAge, maxMaxAge)
	iss.setTypes(p, field, o.Types)
	iss.setMethods(p, field, o.Algorithms)
	iss.setKeys(p, field+"Keys", o.Keys)
	return iss
}

func (iss *issuer) setTypes(p *problems, field string, types []string) {
	if types != nil && len(types) == 0 {
		p.add(field+"Types", types, `want nil for the default, or at least one "typ"`)
	}
	for _, typ := range types {
		if !fitsQuotedString(typ) || typ == "" {
			p.add(field+"Types", typ, "want a media type")
		}
		iss.types = append(iss.types, cutApplication(typ))
	}
}

func (iss *issuer) setMethods(p *problems, field string, algorithms []string) {
	field += "Algorithms"
	if len(algorithms) == 0 {
		p.add(field, algorithms, `want the only values of "alg" to accept`)
	}
	iss.methods = make(map[string]jwt.SigningMethod, len(algorithms))
	var symmetric, public bool
	for _, alg := range algorithms {
		m, ok := methods[alg]
		if !ok {
			p.add(field, alg, "golang-jwt has no such algorithm for signed tokens")
			continue
		}
		iss.methods[alg] = m
		symmetric = symmetric || isHMAC(m)
		public = public || !isHMAC(m)
	}
	if symmetric && public {
		// RFC 8725 §2.1: a public key must never be tried as a secret.
		p.add(field, algorithms, "HMAC beside public-key algorithms; make them two issuers")
	}
}

// setKeys judges the keys that can be judged now. Those of other sources are
// judged when a request needs them.
func (iss *issuer) setKeys(p *problems, field string, keys KeySource) {
	iss.keys = keys
	if v := reflect.ValueOf(keys); !v.IsValid() || isNilable(v.Kind()) && v.IsNil() {
		p.add(field, "<nil>", "want a KeySource")
		return
	}
	switch keys := keys.(type) {
	case staticKey:
		key := copyKey(keys.key)
		for _, alg := range slices.Sorted(maps.Keys(iss.methods)) {
			if err := fits(iss.methods[alg], key); err != nil {
				p.add(field, keys, "does not fit %s: %v", alg, err)
			}
		}
		iss.keys = StaticKey(key)
	case KeySet:
		if len(keys) == 0 {
			p.add(field, keys, "want at least one key")
		}
		set := make(KeySet, len(keys))
		iss.set = make(map[string]setKey, len(keys))
		for _, kid := range slices.Sorted(maps.Keys(keys)) {
			set[kid] = copyKey(keys[kid])
			iss.checkMember(p, field, kid, set[kid])
			iss.set[kid] = newSetKey(set[kid], iss.methods)
		}
		iss.keys = set
	case keyset.Finder:
		if from := keys.DiscoveredFrom(); from != "" && from != iss.name {
			p.add(field, from, "discovered for another issuer than %q", iss.name)
		}
	}
}

func (iss *issuer) checkMember(p *problems, field, kid string, key any) {
	if kid == "" {
		p.add(field, kid, `want a "kid" for each key`)
	}
	var misfits []error
	for _, alg := range slices.Sorted(maps.Keys(iss.methods)) {
		err := fits(iss.methods[alg], key)
		if err == nil {
			return
		}
		misfits = append(misfits, err)
	}
	if len(misfits) > 0 {
		p.add(field, kid, "key fits no algorithm of the issuer: %v", misfits[0])
	}
}

func isNilable(k reflect.Kind) bool {
	return slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Map, reflect.Func, reflect.Interface, reflect.Slice}, k)
}
