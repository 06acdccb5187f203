package benchmarks

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Contender is a way to guard a handler with JSON Web Tokens.
type Contender struct {
	// Name identifies the contender in all tables.
	Name string
	// Lacks lists the algorithms that the contender does not support.
	Lacks []string
	// Guard wraps next. Before next is called, the handler has read a claim in
	// the way of the contender's users, so that lazy decoding is timed too.
	Guard func(f *Fixture, next http.Handler) (http.Handler, error)
}

// Knows reports whether c supports alg.
func (c Contender) Knows(alg string) bool { return !slices.Contains(c.Lacks, alg) }

// Names of the contenders that limits and other packages refer to.
const (
	Hand       = "hand"
	Ours       = "jwthttp"
	Cached     = "jwthttp-cached"
	CachedFlat = "jwthttp-cached-flat"
	Auth0      = "auth0-v2"
	Auth0V3    = "auth0-v3"
)

// Contenders returns all contenders in the order of the tables.
func Contenders() []Contender {
	return slices.Concat([]Contender{
		{Name: Hand, Guard: hand},
		{Name: "keyfunc+hand", Guard: keyfuncHand},
		{Name: "naive-cache", Guard: naiveCache},
	}, peers(), []Contender{
		{Name: Ours, Guard: ours},
		{Name: Cached, Guard: cached},
		{Name: CachedFlat, Guard: cachedFlat},
	})
}

// expect calls next if the claim that was read is the one that was sent. It
// panics otherwise, because the figures of a broken contender are worthless.
func expect(got, want string, next http.Handler, w http.ResponseWriter, r *http.Request) {
	if got != want {
		panic("claim is " + got + ", not " + want)
	}
	next.ServeHTTP(w, r)
}

type claimsKey struct{}

// guard is the middleware that people write around a parser. It reads the header
// field, parses the token, and either answers 401 or puts the claims into the
// context.
func guard(parse func(ctx context.Context, token string) (*Claims, error), next http.Handler) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := r.Context().Value(claimsKey{}).(*Claims)
		expect(claims.Role, role, next, w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r)
		if !ok {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		claims, err := parse(r.Context(), token)
		if err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})
}

func bearer(r *http.Request) (string, bool) {
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func newParser(f *Fixture) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{f.Alg}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuer(IssuerName),
		jwt.WithAudience(audienceName),
	)
}

// handParse uses golang-jwt's parser with one key.
func handParse(f *Fixture) func(context.Context, string) (*Claims, error) {
	parser := newParser(f)
	key := func(*jwt.Token) (any, error) { return f.Verifying, nil }
	return func(_ context.Context, token string) (*Claims, error) {
		var claims Claims
		_, err := parser.ParseWithClaims(token, &claims, key)
		return &claims, err
	}
}

func hand(f *Fixture, next http.Handler) (http.Handler, error) {
	return guard(handParse(f), next), nil
}

// keyfuncHand is hand with a key from a JWK Set in memory.
func keyfuncHand(f *Fixture, next http.Handler) (http.Handler, error) {
	ctx := context.Background()
	jwk, err := jwkset.NewJWKFromKey(f.Verifying, jwkset.JWKOptions{
		Marshal:  jwkset.JWKMarshalOptions{Private: f.Alg == "HS256"},
		Metadata: jwkset.JWKMetadataOptions{KID: keyID, ALG: jwkset.ALG(f.Alg), USE: jwkset.UseSig},
	})
	if err != nil {
		return nil, err
	}
	set := jwkset.NewMemoryStorage()
	if err := set.KeyWrite(ctx, jwk); err != nil {
		return nil, err
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: set})
	if err != nil {
		return nil, err
	}
	parser := newParser(f)
	return guard(func(ctx context.Context, token string) (*Claims, error) {
		var claims Claims
		_, err := parser.ParseWithClaims(token, &claims, keys.KeyfuncCtx(ctx))
		return &claims, err
	}, next), nil
}

// naiveCache is hand behind a map of tokens. It is not an alternative; it shows
// the cost of a cache without rules. It grows without bound, ignores withdrawn
// keys and "nbf", and shares the claims between requests.
func naiveCache(f *Fixture, next http.Handler) (http.Handler, error) {
	parse := handParse(f)
	var seen sync.Map // of *Claims by token
	return guard(func(ctx context.Context, token string) (*Claims, error) {
		if known, ok := seen.Load(token); ok {
			if claims := known.(*Claims); time.Now().Before(claims.ExpiresAt.Time) {
				return claims, nil
			}
			seen.Delete(token)
		}
		claims, err := parse(ctx, token)
		if err == nil {
			seen.Store(token, claims)
		}
		return claims, err
	}, next), nil
}

// OurOptions configures jwthttp to check what hand checks.
func OurOptions(f *Fixture) jwthttp.Options {
	return jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       IssuerName,
		Audience:   []string{audienceName},
		Algorithms: []string{f.Alg},
		Keys:       jwthttp.StaticKey(f.Verifying),
	}}}
}

// CachedOptions is OurOptions with a cache of the given size.
func CachedOptions(f *Fixture, size int) jwthttp.Options {
	o := OurOptions(f)
	o.CacheSize = size
	return o
}

// cacheSize is larger than the number of tokens of any benchmark.
const cacheSize = 1024

func ours(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs[Claims](OurOptions(f), next)
}

// cached has claims with slices, which are copied for each request.
func cached(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs[Claims](CachedOptions(f, cacheSize), next)
}

func cachedFlat(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs[FlatClaims](CachedOptions(f, cacheSize), next)
}

// GuardOurs returns jwthttp around a handler that reads the role from claims of
// type T and calls next.
func GuardOurs[T interface{ role() string }](o jwthttp.Options, next http.Handler) (http.Handler, error) {
	m, err := jwthttp.New[T](o)
	if err != nil {
		return nil, err
	}
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		expect(jwthttp.MustClaims[T](r.Context()).role(), role, next, w, r)
	})), nil
}
