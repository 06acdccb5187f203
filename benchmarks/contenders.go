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
	// Name is short, and the same in all tables.
	Name string
	// Lacks are the algorithms it cannot be built for.
	Lacks []string
	// Guard wraps next. Before next is called, the handler has read a claim as
	// the contender's users do, so that lazy contenders pay for it too.
	Guard func(f *Fixture, next http.Handler) (http.Handler, error)
}

// Knows reports whether c can be built for alg.
func (c Contender) Knows(alg string) bool { return !slices.Contains(c.Lacks, alg) }

// Names of the contenders that others ask for.
const (
	Hand       = "hand"
	Ours       = "jwthttp"
	OursToken  = "jwthttp-Token"
	Cached     = "jwthttp-cached"
	CachedFlat = "jwthttp-cached-flat"
	Auth0      = "auth0-v2"
	Auth0V3    = "auth0-v3"
)

// Contenders returns all of them, in the order of the tables.
func Contenders() []Contender {
	return slices.Concat([]Contender{
		{Name: Hand, Guard: hand},
		{Name: "keyfunc+hand", Guard: keyfuncHand},
		{Name: "naive-cache", Guard: naiveCache},
	}, peers(), []Contender{
		{Name: Ours, Guard: ours},
		{Name: OursToken, Guard: oursToken},
	}, cachedContenders())
}

// expect calls next if the claim that was read is the one that was sent; a
// contender that delivers anything else is broken, and its figures worthless.
func expect(got, want string, next http.Handler, w http.ResponseWriter, r *http.Request) {
	if got != want {
		panic("claim is " + got + ", not " + want)
	}
	next.ServeHTTP(w, r)
}

type claimsKey struct{}

// guard is what people write around a parser: cut the header field, parse,
// answer 401 or put the claims into the context.
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
		jwt.WithIssuer(issuerName),
		jwt.WithAudience(audienceName),
	)
}

// handParse is golang-jwt's parser with one key.
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

// keyfuncHand is hand with the key out of a JWK set in memory.
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

// naiveCache is hand behind a map by token. It never forgets, sees neither a
// withdrawn key nor "nbf", and hands the same claims to every request: the
// price of a cache without rules, not an alternative.
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
		Name:       issuerName,
		Audience:   []string{audienceName},
		Algorithms: []string{f.Alg},
		Keys:       jwthttp.StaticKey(f.Verifying),
	}}}
}

func ours(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs(OurOptions(f), func(c Claims) string { return c.Role }, next)
}

// GuardOurs is jwthttp around a handler that reads the role out of claims of type T.
func GuardOurs[T any](o jwthttp.Options, read func(T) string, next http.Handler) (http.Handler, error) {
	m, err := jwthttp.New[T](o)
	if err != nil {
		return nil, err
	}
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := jwthttp.ClaimsFromContext[T](r.Context())
		expect(read(claims), role, next, w, r)
	})), nil
}

func oursToken(f *Fixture, next http.Handler) (http.Handler, error) {
	m, err := jwthttp.New[struct{}](OurOptions(f))
	if err != nil {
		return nil, err
	}
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := jwthttp.TokenFromContext(r.Context())
		if !ok {
			panic("no token")
		}
		expect(token.Subject, subject, next, w, r)
	})), nil
}
