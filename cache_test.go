package jwthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/revocation"
)

// cachedOptions returns default Options with a cache.
func cachedOptions(issuers ...jwthttp.Issuer) jwthttp.Options {
	opts := newOptions(issuers...)
	opts.CacheSize = 64
	return opts
}

// cached counts the requests whose token was in the cache.
func cached(opts *jwthttp.Options) *int {
	n := new(int)
	opts.Observer = func(_ context.Context, e jwthttp.Event) {
		if e.Cached {
			*n++
		}
	}
	return n
}

// Rule 29
func TestCache_laterChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		entry := revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: "id-1"}
		iss := newIssuer()
		iss.MaxTokenAge = 2 * time.Hour
		opts := cachedOptions(iss)
		opts.Leeway = -1
		opts.Revoked = list.Revoked
		hits := cached(&opts)
		m := mustNew[testClaims](t, opts)
		check := func(when string, m *jwthttp.Middleware, token, want string, hit bool) {
			t.Helper()
			before := *hits
			if got := verdict(m, newRequest(withBearer(token))); got != want || (*hits > before) != hit {
				t.Errorf("%s: verdict %q, cached %v; want %q, %v", when, got, *hits > before, want, hit)
			}
		}
		token := goodToken(map[string]any{"scope": "a"})
		check("first", m, token, admitted, false)
		check("second", m, token, admitted, true)
		check("in a derived Middleware", m.RequireScopes("a"), token, admitted, true)
		check("its scopes", m.RequireScopes("b"), token, "403 insufficient_scope scope", true)
		check("its rules", m.Require(func(*http.Request) error { return errors.New("no") }), token, "403 forbidden", true)
		check("with another signature", m, altered(token), invalid+"signature", false)
		check("cut", m, token[:len(token)-4], invalid+"malformed", false)
		check("a refused token, once more", m, altered(token), invalid+"signature", false)
		check("still", m, token, admitted, true)

		if err := list.Revoke(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		check("revoked", m, token, invalid+"revoked", true)
		if err := list.Remove(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		check("revoked no longer", m, token, admitted, true)

		time.Sleep(time.Hour)
		check("expired", m, token, invalid+"expired", false)

		old := goodToken(map[string]any{"exp": bubbleStart + 36000})
		check("long-lived", m, old, admitted, false)
		check("long-lived, again", m, old, admitted, true)
		time.Sleep(time.Hour)
		check("too old", m, old, invalid+"too_old", false)
	})
}

// Rule 38: a token ends with its key.
func TestCache_key(t *testing.T) {
	t.Run("Keyfunc", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			current, failure := any(long(32)), error(nil)
			m := mustNew[testClaims](t, cachedOptions(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return current, failure }), "HS256")))
			token := sign(t, jwt.SigningMethodHS256, long(32), "")
			for _, tt := range []struct {
				when    string
				key     any
				failure error
				want    string
			}{
				{"at first", long(32), nil, admitted},
				{"an equal key", long(32), nil, admitted},
				{"another key", long(33), nil, invalid + "signature"},
				{"the key again", long(32), nil, admitted},
				{"among others", keySet(long(40), long(32)), nil, admitted},
				{"others only", keySet(long(40), long(41)), nil, invalid + "signature"},
				{"no key", nil, errors.New("none"), invalid + "unknown_key"},
				{"out of reach", nil, jwthttp.ErrKeysUnavailable, "503 keys_unavailable"},
				{"nil", nil, nil, invalid + "algorithm"},
				{"weak", []byte("x"), nil, invalid + "algorithm"},
				{"back", long(32), nil, admitted},
			} {
				current, failure = tt.key, tt.failure
				if got := verdict(m, newRequest(withBearer(token))); got != tt.want {
					t.Errorf("%s: verdict %q, want %q", tt.when, got, tt.want)
				}
			}
			secret := current.([]byte)
			secret[0]++ // in place
			if got := verdict(m, newRequest(withBearer(token))); got != invalid+"signature" {
				t.Errorf("a key changed in place: %q", got)
			}
		})
	})
	t.Run("jwks.Set", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			key := testKeys().p256
			x, y := key.X.FillBytes(make([]byte, 32)), key.Y.FillBytes(make([]byte, 32))
			var serving atomic.Pointer[string] // the "kid" of the key that is served, or nil
			client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				if kid := serving.Load(); kid != nil {
					fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}]}`, *kid, b64(string(x)), b64(string(y)))
				} else {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				return w.Result(), nil
			})}
			first, second := "first", "second"
			serving.Store(&first)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			set, err := jwks.New(ctx, issuerName+"/keys", jwks.Options{Client: client, MaxStale: time.Hour, RefreshInterval: 30 * time.Minute, OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			opts := cachedOptions(issuerWith(set, "ES256"))
			hits := cached(&opts)
			m := mustNew[testClaims](t, opts)
			refresh := func() {
				if err := set.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			token := func(kid string) string {
				return signChanged(t, jwt.SigningMethodES256, key, kid, map[string]any{"exp": bubbleStart + 1e6})
			}
			check := func(when, token, want string, wantHits int) {
				t.Helper()
				if got := verdict(m, newRequest(withBearer(token))); got != want || *hits != wantHits {
					t.Errorf("%s: verdict %q with %d hits, want %q with %d", when, got, *hits, want, wantHits)
				}
			}
			refresh()
			check("at first", token("first"), admitted, 0)
			old := token("first")
			check("another token", old, admitted, 0)
			check("again", old, admitted, 1)
			refresh()
			check("after a refresh", old, admitted, 2)
			serving.Store(&second)
			refresh()
			check("withdrawn", old, invalid+"unknown_key", 2)
			current := token("second")
			check("the new key", current, admitted, 2)
			check("the new key again", current, admitted, 3)
			serving.Store(nil)
			time.Sleep(time.Hour + time.Second)
			check("stale", current, "503 keys_unavailable", 3)
		})
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// resisting cannot be copied field by field.
type resisting struct {
	Role   string   `json:"role"`
	Number *big.Int `json:"number"`
	List   []string `json:"list"`
}

type node struct {
	Role string `json:"role"`
	Next *node  `json:"next"`
}

type everything struct {
	jwt.RegisteredClaims
	Role    string                    `json:"role"`
	List    []string                  `json:"list"`
	Nested  [][]int                   `json:"nested"`
	Map     map[string]map[string]int `json:"map"`
	Pointer *struct{ A []int }        `json:"pointer"`
	Any     any                       `json:"any"`
	Array   [2]int                    `json:"array"`
	Raw     json.RawMessage           `json:"raw"`
	Time    time.Time                 `json:"time"`
	Nil     *string                   `json:"nil"`
	NilMap  map[string]string         `json:"nilmap"`
	NilList [][]string                `json:"nillist"`
	hidden  int
}

var richClaims = map[string]any{
	"list": []string{"a", "b"}, "nested": [][]int{{1}, {2, 3}}, "map": map[string]any{"x": map[string]int{"y": 1}},
	"pointer": map[string]any{"A": []int{1}}, "any": []any{1.5, "x", nil, true, map[string]any{"z": []any{"q"}}},
	"array": []int{1, 2}, "raw": map[string]int{"r": 1}, "time": "2026-01-02T03:04:05Z", "number": int64(12345678901234567),
	"next": map[string]any{"role": "inner"},
}

// checkOwnClaims checks that no request sees what another one does to its claims.
func checkOwnClaims[T any](t *testing.T, name string, spoil func(T) T) {
	bubble(t, name, func(t *testing.T) {
		opts := cachedOptions()
		hits := cached(&opts)
		m := mustNew[T](t, opts)
		token := goodToken(richClaims)
		var want string
		for i := range 4 {
			inner := serve(m, newRequest(withBearer(token))).inner
			c, ok := jwthttp.ClaimsFromContext[T](inner.Context())
			if !ok {
				t.Fatal("no claims")
			}
			got, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = string(got)
				if !strings.Contains(want, "editor") {
					t.Fatalf("claims %s", want)
				}
			} else if string(got) != want {
				t.Errorf("request %d: claims %s, want %s", i, got, want)
			}
			spoil(c)
			again, _ := jwthttp.ClaimsFromContext[T](inner.Context())
			if a, _ := json.Marshal(again); reflectsChanges(c) && string(a) == want {
				t.Error("a request does not see its own changes")
			}
		}
		if *hits != 3 {
			t.Errorf("%d hits", *hits)
		}
	})
}

// reflectsChanges reports whether a handler's change of v is seen when it asks for
// the claims again, because it is behind a reference.
func reflectsChanges(v any) bool { _, plain := v.(struct{ Role string }); return !plain }

func TestCache_ownClaims(t *testing.T) {
	checkOwnClaims(t, "a struct of strings", func(c struct{ Role string }) struct{ Role string } { c.Role = "x"; return c })
	checkOwnClaims(t, "jwt.MapClaims", func(c jwt.MapClaims) jwt.MapClaims {
		c["role"] = "x"
		c["list"].([]any)[0] = "x"
		c["map"].(map[string]any)["x"].(map[string]any)["y"] = 7
		return c
	})
	checkOwnClaims(t, "any", func(c any) any { c.(map[string]any)["role"] = "x"; return c })
	checkOwnClaims(t, "everything", spoilEverything)
	checkOwnClaims(t, "a pointer to everything", func(c *everything) *everything {
		c.Role = "x"
		spoilEverything(*c)
		return c
	})
	checkOwnClaims(t, "one that resists", func(c resisting) resisting { c.List[0] = "x"; c.Number.SetInt64(1); return c })
	checkOwnClaims(t, "one that contains itself", func(c node) node { c.Next.Role = "x"; return c })
	checkOwnClaims(t, "an array of lists", func(c struct {
		Role   string
		Nested [2][]int
	}) struct {
		Role   string
		Nested [2][]int
	} {
		c.Nested[1][0] = 9
		return c
	})
	checkOwnClaims(t, "json.RawMessage", func(c json.RawMessage) json.RawMessage { c[len(c)-2] = ' '; c[1] = ' '; c[2] = '"'; return c })
}

var _ = everything{hidden: 1}

func spoilEverything(c everything) everything {
	c.Audience[0] = "x"
	c.ExpiresAt.Time = time.Time{}
	c.List[0] = "x"
	c.Nested[0][0] = 9
	c.Map["x"]["y"] = 9
	c.Pointer.A[0] = 9
	c.Any.([]any)[4].(map[string]any)["z"].([]any)[0] = 9
	c.Raw[len(c.Raw)-2] = '9'
	return c
}

// odd puts into an interface what encoding/json would not.
type odd struct {
	Role string
	Any  any
}

func (o *odd) UnmarshalJSON(b []byte) error {
	var v struct{ Role string }
	err := json.Unmarshal(b, &v)
	o.Role, o.Any = v.Role, []string{"a"}
	return err
}

func TestCache_ownClaims_oddInterface(t *testing.T) {
	checkOwnClaims(t, "odd", func(c odd) odd { c.Any.([]string)[0] = "x"; return c })
	checkOwnClaims(t, "odd, in a list", func(c struct {
		Role string
		List []any
		M    map[string]any
	}) struct {
		Role string
		List []any
		M    map[string]any
	} {
		c.List[0] = "x"
		return c
	})
}

// counter changes its claims in Validate.
type counter struct {
	Role      string `json:"role"`
	Validated int    `json:"-"`
}

func (c *counter) Validate() error {
	if c.Validated++; c.Validated > 1 {
		return errors.New("these claims are another request's")
	}
	return needsEditor(c.Role)
}

func TestCache_validate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[counter](t, cachedOptions())
		pointers := mustNew[*counter](t, cachedOptions())
		for range 3 {
			checkVerdict(t, m, newRequest(withBearer(goodToken(nil))), admitted)
			checkVerdict(t, pointers, newRequest(withBearer(goodToken(nil))), admitted)
			inner := serve(m, newRequest(withBearer(goodToken(nil)))).inner
			if c, _ := jwthttp.ClaimsFromContext[counter](inner.Context()); c.Validated != 1 {
				t.Errorf("validated %d times", c.Validated)
			}
		}
		checkVerdict(t, m, newRequest(withBearer(goodToken(map[string]any{"role": "x"}))), invalid+"claims")
	})
}

func TestTokenFromContext_append(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, scope := range []string{"a b", "a b c d e f"} {
			inner := serve(mustNew[testClaims](t, cachedOptions()), newRequest(withBearer(goodToken(map[string]any{"scope": scope})))).inner
			token, ok := jwthttp.TokenFromContext(inner.Context())
			if !ok {
				t.Fatal("no token")
			}
			_ = append(token.Audience, "x")
			_ = append(token.Scopes[:1], "x")
			again, _ := jwthttp.TokenFromContext(inner.Context())
			if token.Scopes[0] != "a" || strings.Join(again.Scopes, " ") != scope {
				t.Errorf("scopes %q and %q, want %q", token.Scopes, again.Scopes, scope)
			}
		}
	})
}

// With A inside B inside A, the inner A must not hand out what is in A's cache, and
// the audience of the claims is not that of the Token.
func TestCache_nestedClaims(t *testing.T) {
	for _, size := range []int{0, 10} {
		checkNestedClaims(t, size)
	}
}

func checkNestedClaims(t *testing.T, size int) {
	bubble(t, fmt.Sprint("cache of ", size), func(t *testing.T) {
		opts := cachedOptions()
		opts.CacheSize = size
		a, b := mustNew[everything](t, opts), mustNew[struct{}](t, opts)
		h := a.Handler(b.Handler(a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c, _ := jwthttp.ClaimsFromContext[everything](r.Context())
			token, _ := jwthttp.TokenFromContext(r.Context())
			if c.Map["x"]["y"] != 1 || c.Audience[0] != audienceName || token.Audience[0] != audienceName {
				t.Errorf("claims %+v of %v", c, token.Audience)
			}
			spoilEverything(c)
			if token, _ = jwthttp.TokenFromContext(r.Context()); token.Audience[0] != audienceName {
				t.Errorf("audience %q", token.Audience)
			}
		}))))
		for range 3 {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, newRequest(withBearer(goodToken(richClaims)))); w.Code != http.StatusOK {
				t.Fatal(w.Code)
			}
		}
	})
}

func TestOptions_CacheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := cachedOptions()
		hits := cached(&opts)
		opts.CacheSize = 2
		m := mustNew[testClaims](t, opts)
		busy := newRequest(withBearer(goodToken(nil)))
		checkVerdict(t, m, busy, admitted)
		_, _ = m.Authenticate(newRequest(withBearer(goodToken(map[string]any{"jti": "the cache is full now"}))))
		for i := range 20 {
			*hits = 0
			if _, err := m.Authenticate(busy); err != nil || *hits != 1 {
				t.Fatalf("evicted after %d tokens that came once, %v", i, err)
			}
			_, _ = m.Authenticate(newRequest(withBearer(goodToken(map[string]any{"jti": fmt.Sprint(i)}))))
		}
	})
}

func TestMiddleware_Authenticate_ownError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, cachedOptions())
		for _, request := range []func(*http.Request){nil, withBearer(altered(goodToken(nil)))} {
			ask := func() error {
				r := newRequest()
				if request != nil {
					r = newRequest(request)
				}
				_, err := m.Authenticate(r)
				return err
			}
			if a, b := ask(), ask(); a == nil || a == b {
				t.Errorf("%v twice", a)
			}
		}
	})
}

func TestCache_source(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := cachedOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"))
		hits := cached(&opts)
		m := mustNew[testClaims](t, opts)
		token := goodToken(nil)
		for _, r := range []*http.Request{newRequest(withBearer(token)), newRequest(withField("Cookie", "c="+token)), newRequest(withBearer(token))} {
			want := jwthttp.SourceHeader
			if r.Header.Get("Cookie") != "" {
				want = jwthttp.SourceCookie
			}
			got, _ := jwthttp.TokenFromContext(serve(m, r).inner.Context())
			if got.Source != want || got.Raw() != token {
				t.Errorf("source %v, want %v", got.Source, want)
			}
		}
		if *hits != 2 {
			t.Errorf("%d hits", *hits)
		}
		r := newRequest(withField("Cookie", "c="+token), withMethod("POST"), withField("Sec-Fetch-Site", "cross-site"))
		checkVerdict(t, m, r, "403 cross_origin")
	})
}

func TestCache_nestedHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type other struct{ testClaims }
		a, b := mustNew[jwt.MapClaims](t, cachedOptions()), mustNew[other](t, cachedOptions())
		for range 2 {
			ctx := nest(newRequest(withBearer(goodToken(nil))), a.Handler, b.Handler, a.Handler).inner.Context()
			c, ok := jwthttp.ClaimsFromContext[jwt.MapClaims](ctx)
			if !ok || c["role"] != "editor" {
				t.Errorf("claims %v, %v", c, ok)
			}
			if c, ok := jwthttp.ClaimsFromContext[other](ctx); !ok || c.Role != "editor" {
				t.Errorf("claims %v, %v", c, ok)
			}
		}
	})
}

func TestCache_concurrentUse(t *testing.T) {
	issuer := jwthttptest.New(t, "HS256")
	opts := cachedOptions(issuer.Trusted())
	opts.CacheSize = 20
	m := mustNew[jwt.MapClaims](t, opts)
	var tokens []string
	for range 50 {
		tokens = append(tokens, issuer.Token(map[string]any{"list": []string{"a"}}))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				r, err := m.Authenticate(newRequest(withBearer(tokens[(i*(g+1))%len(tokens)])).WithContext(context.Background()))
				if err != nil {
					t.Error(err)
					return
				}
				c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context())
				if list := c["list"].([]any); list[0] != "a" {
					t.Error("claims of another request")
				} else {
					list[0] = g
				}
			}
		})
	}
	wg.Wait()
}

// Rule 38: another key of the same type is another key.
func TestCache_anotherKey(t *testing.T) {
	k := testKeys()
	_, otherEd, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCopy := &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: k.rsa.E}
	for _, tt := range []struct {
		method                       jwt.SigningMethod
		private, public, equal       any
		other, empty, null, anything any
	}{
		{jwt.SigningMethodRS256, k.rsa, &k.rsa.PublicKey, rsaCopy, &k.otherRSA.PublicKey, &rsa.PublicKey{}, (*rsa.PublicKey)(nil), "x"},
		{jwt.SigningMethodES256, k.p256, &k.p256.PublicKey, &ecdsa.PublicKey{Curve: elliptic.P256(), X: k.p256.X, Y: k.p256.Y}, &k.otherP256.PublicKey, &ecdsa.PublicKey{}, (*ecdsa.PublicKey)(nil), nil},
		{jwt.SigningMethodEdDSA, k.ed, k.ed.Public(), ed25519.PublicKey(strings.Clone(string(k.ed[32:]))), otherEd.Public(), ed25519.PublicKey{}, ed25519.PublicKey(nil), k.ed},
		{jwt.SigningMethodHS256, long(32), long(32), long(32), long(33), []byte{}, []byte(nil), 1},
	} {
		bubble(t, tt.method.Alg(), func(t *testing.T) {
			current := tt.public
			opts := cachedOptions(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return current, nil }), tt.method.Alg()))
			hits := cached(&opts)
			m := mustNew[testClaims](t, opts)
			token := sign(t, tt.method, tt.private, "")
			for _, step := range []struct {
				key  any
				want string
				hits int
			}{
				{tt.public, admitted, 0}, {tt.public, admitted, 1}, {tt.equal, admitted, 2}, {tt.other, invalid + "signature", 2},
				{tt.empty, invalid + "algorithm", 2}, {tt.null, invalid + "algorithm", 2}, {tt.anything, invalid + "algorithm", 2},
				{tt.public, admitted, 3},
			} {
				current = step.key
				if got := verdict(m, newRequest(withBearer(token))); got != step.want || *hits != step.hits {
					t.Errorf("%T: verdict %q with %d hits, want %q with %d", step.key, got, *hits, step.want, step.hits)
				}
			}
		})
	}
}

func TestCache_modifiedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		key := &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: k.rsa.E}
		m := mustNew[testClaims](t, cachedOptions(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return key, nil }), "RS256")))
		token := sign(t, jwt.SigningMethodRS256, k.rsa, "")
		checkVerdict(t, m, newRequest(withBearer(token)), admitted)
		key.N.Set(k.otherRSA.N)
		checkVerdict(t, m, newRequest(withBearer(token)), invalid+"signature")
	})
}

// Rule 21
func TestCache_manyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keySet(long(32))
		m := mustNew[testClaims](t, cachedOptions(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return keys, nil }), "HS256")))
		token := sign(t, jwt.SigningMethodHS256, long(32), "")
		checkVerdict(t, m, newRequest(withBearer(token)), admitted)
		keys = keySet("unfit", long(41), long(42), long(43), long(44), long(45), long(46), long(47), long(32))
		checkVerdict(t, m, newRequest(withBearer(token)), admitted)
		keys = keySet(long(40), long(41), long(42), long(43), long(44), long(45), long(46), long(47), long(32))
		checkVerdict(t, m, newRequest(withBearer(token)), invalid+"signature")
	})
}

// moody decodes itself into what is known at the moment.
type moody struct {
	Role  string
	known *string
}

var knownRole string

func (m *moody) UnmarshalJSON(b []byte) error {
	var v struct{ Role string }
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if v.Role != knownRole {
		return errors.New("unknown role")
	}
	m.Role, m.known = v.Role, &knownRole
	return nil
}

func TestCache_unmarshaler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[moody](t, cachedOptions())
		r := newRequest(withBearer(goodToken(nil)))
		for _, step := range []struct{ role, want string }{{"editor", admitted}, {"editor", admitted}, {"x", invalid + "claims"}, {"editor", admitted}} {
			knownRole = step.role
			checkVerdict(t, m, r, step.want)
			if step.want == admitted {
				if c, _ := jwthttp.ClaimsFromContext[moody](serve(m, r).inner.Context()); c.known != &knownRole {
					t.Error("a copy, not what UnmarshalJSON made")
				}
			}
		}
	})
}

func TestCache_nestedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := cachedOptions()
		opts.RevocationFailOpen = true
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		var events []jwthttp.Event
		opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
		a := mustNew[jwt.MapClaims](t, opts)
		type other struct{ testClaims }
		b := mustNew[other](t, cachedOptions())
		change := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context())
				c["role"] = "changed"
				next.ServeHTTP(w, r)
			})
		}
		for range 2 {
			events = nil
			r := newRequest(withBearer(goodToken(nil)))
			ctx := nest(r, a.Handler, change, b.Handler, a.Handler, a.Handler).inner.Context()
			if c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](ctx); c["role"] != "changed" {
				t.Errorf("claims %v", c)
			}
			if len(events) != 3 || events[1].Cached || events[2].Cached || !events[0].Unchecked || !events[2].Unchecked {
				t.Errorf("events %+v", events)
			}
		}
		if !events[0].Cached {
			t.Error("not cached")
		}
	})
}

// A Token that is kept must not keep later tokens in memory.
func TestCache_memory(t *testing.T) {
	issuer := jwthttptest.New(t, "HS256")
	opts := cachedOptions(issuer.Trusted())
	opts.CacheSize = 10
	m := mustNew[jwt.MapClaims](t, opts)
	var held []*jwthttp.Token
	ask := func(n int) {
		for range n {
			request := newRequest(withBearer(issuer.Token(nil)))
			r, err := m.Authenticate(request)
			if err != nil {
				t.Fatal(err)
			}
			if held == nil {
				token, _ := jwthttp.TokenFromContext(r.Context())
				held = append(held, token)
			}
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask(100)
	before := heap()
	ask(5000)
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d bytes more after 5,000 tokens", after-before)
	}
	runtime.KeepAlive(held)
}

// FuzzCache checks that a cache changes no verdict, in any order of changes of
// time, keys, revocations and requirements.
func FuzzCache(f *testing.F) {
	for _, steps := range []string{"", "aaaa", "abcabcabc", "aTaTaTa", "akaKaka", "arasara", "aAbBcCdD", "aTTTTTTTTaaaTa", "azaZaza"} {
		f.Add([]byte(steps))
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			keys := [][]byte{long(32), long(33)}
			key, down := 0, false
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) {
				if down {
					return nil, jwthttp.ErrKeysUnavailable
				}
				return keys[key], nil
			})
			var list revocation.List
			iss := issuerWith(source, "HS256")
			iss.MaxTokenAge = 5 * time.Minute
			var ms [2]*jwthttp.Middleware
			for i, size := range []int{0, 3} {
				opts := cachedOptions(iss)
				opts.CacheSize, opts.Revoked, opts.Leeway = size, list.Revoked, -1
				ms[i] = mustNew[jwt.MapClaims](t, opts)
			}
			var tokens []string
			for i := range 8 {
				tokens = append(tokens, signChanged(t, jwt.SigningMethodHS256, keys[i%2], "", map[string]any{
					"jti": fmt.Sprint(i), "iat": bubbleStart, "exp": bubbleStart + 60*int64(i), "nbf": bubbleStart + 30*int64(i%3),
					"scope": "a"[:i%2], "sub": fmt.Sprint("s", i%3),
				}))
			}
			revoke := func(e revocation.Entry) {
				if err := list.Revoke(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			scoped := false
			for i, step := range steps {
				switch n := int(step); {
				case n >= 'a' && n <= 'h':
					a, b := ms[0], ms[1]
					if scoped {
						a, b = a.RequireScopes("a"), b.RequireScopes("a")
					}
					ra, ea := a.Authenticate(newRequest(withBearer(tokens[n-'a'])))
					rb, eb := b.Authenticate(newRequest(withBearer(tokens[n-'a'])))
					if (ea == nil) != (eb == nil) || ea != nil && verdictOf(ea) != verdictOf(eb) {
						t.Fatalf("step %d: %v without a cache, %v with one", i, ea, eb)
					}
					if ea != nil {
						continue
					}
					ca, cb := jwthttp.MustClaims[jwt.MapClaims](ra.Context()), jwthttp.MustClaims[jwt.MapClaims](rb.Context())
					if !cmp.Equal(ca, cb) {
						t.Fatalf("step %d: claims %v without a cache, %v with one", i, ca, cb)
					}
					cb["role"] = "spoilt"
				case step == 'T':
					time.Sleep(17 * time.Second)
				case step == 'k':
					key = 1 - key
				case step == 'K':
					down = !down
				case step == 'r':
					revoke(revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: fmt.Sprint(i % 8)})
				case step == 's':
					revoke(revocation.Entry{Kind: revocation.BySubject, Issuer: issuerName, Value: fmt.Sprint("s", i%3), IssuedUntil: time.Now()})
				case step == 'R':
					if err := list.Remove(t.Context(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: fmt.Sprint(i % 8)}); err != nil {
						t.Fatal(err)
					}
				case step == 'z':
					scoped = !scoped
				}
			}
		})
	})
}
