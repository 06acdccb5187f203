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
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/revocation"
)

// cached counts the requests that a cache answered.
func cached(opts *jwthttp.Options) *int {
	n := new(int)
	opts.Observer = func(_ *http.Request, e jwthttp.Event) {
		if e.Cached {
			*n++
		}
	}
	return n
}

func TestATokenSeenBeforeIsJudgedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		iss := issuer()
		iss.MaxAge = 2 * time.Hour
		opts := options(iss)
		opts.Revoked = list.Revoked
		hits := cached(&opts)
		m := mustNew[testClaims](t, opts)
		check := func(when string, m *jwthttp.Middleware, token, want string, hit bool) {
			t.Helper()
			before := *hits
			if got := verdict(m, get(bearer(token))); got != want || (*hits > before) != hit {
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

		if err := list.Revoke(context.Background(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: "id-1"}); err != nil {
			t.Fatal(err)
		}
		check("revoked", m, token, invalid+"revoked", true)
		_ = list.Remove(context.Background(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: "id-1"})
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

// Rule 38, and api.md: a key that changed or went ends its tokens at once.
func TestACachedTokenEndsWithItsKey(t *testing.T) {
	t.Run("Keyfunc", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			current, failure := any(long(32)), error(nil)
			m := mustNew[testClaims](t, options(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return current, failure }), "HS256")))
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
				{"out of reach", nil, jwthttp.ErrKeysUnavailable, noKeys},
				{"nil", nil, nil, invalid + "algorithm"},
				{"weak", []byte("x"), nil, invalid + "algorithm"},
				{"back", long(32), nil, admitted},
			} {
				current, failure = tt.key, tt.failure
				if got := verdict(m, get(bearer(token))); got != tt.want {
					t.Errorf("%s: verdict %q, want %q", tt.when, got, tt.want)
				}
			}
			secret := current.([]byte)
			secret[0]++ // in place
			if got := verdict(m, get(bearer(token))); got != invalid+"signature" {
				t.Errorf("a key changed in place: %q", got)
			}
		})
	})
	t.Run("JWKS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.MaxStale = time.Hour })
			token, first := s.Token(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}), s.KeyID()
			s.check(t, "first", token, admitted)
			if err := s.set.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t, "after a refresh", token, admitted)
			s.Rotate()
			s.Withdraw(first)
			if err := s.set.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.check(t, "withdrawn", token, invalid+"unknown_key")
			token = s.Token(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()})
			s.check(t, "the new key", token, admitted)
			s.Down(true)
			time.Sleep(time.Hour + 1)
			s.check(t, "stale", token, noKeys)
		})
	})
}

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

// checkOwnClaims: what one request does to its claims, no other one sees.
func checkOwnClaims[T any](t *testing.T, name string, spoil func(T) T) {
	bubble(t, name, func(t *testing.T) {
		opts := options()
		hits := cached(&opts)
		m := mustNew[T](t, opts)
		token := goodToken(richClaims)
		var want string
		for i := range 4 {
			inner := serve(m, get(bearer(token))).inner
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
				for _, value := range []string{"editor"} {
					if !strings.Contains(want, value) {
						t.Fatalf("claims %s", want)
					}
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

// reflectsChanges reports whether a change of v by a handler is one that its
// next look must show: one behind a reference.
func reflectsChanges(v any) bool { _, plain := v.(struct{ Role string }); return !plain }

func TestCachedClaimsAreEachRequestsOwn(t *testing.T) {
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

func TestClaimsWithOddInterfacesAreDecodedAgain(t *testing.T) {
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

func TestValidateIsAskedForEachRequestOnClaimsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[counter](t, options())
		pointers := mustNew[*counter](t, options())
		for range 3 {
			checkVerdict(t, m, get(bearer(goodToken(nil))), admitted)
			checkVerdict(t, pointers, get(bearer(goodToken(nil))), admitted)
			inner := serve(m, get(bearer(goodToken(nil)))).inner
			if c, _ := jwthttp.ClaimsFromContext[counter](inner.Context()); c.Validated != 1 {
				t.Errorf("validated %d times", c.Validated)
			}
		}
		checkVerdict(t, m, get(bearer(goodToken(map[string]any{"role": "x"}))), invalid+"claims")
	})
}

// A Token's lists have their memory in common; that must not show.
func TestAppendingToOneListOfATokenLeavesTheOtherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, scope := range []string{"a b", "a b c d e f"} {
			inner := serve(mustNew[testClaims](t, options()), get(bearer(goodToken(map[string]any{"scope": scope})))).inner
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

// In A inside B inside A, the inner A must not hand out what A's cache has; and
// the audience of the claims is not that of the Token.
func TestClaimsFurtherInAreTheRequestsOwnToo(t *testing.T) {
	for _, size := range []int{0, 10} {
		checkClaimsFurtherIn(t, size)
	}
}

func checkClaimsFurtherIn(t *testing.T, size int) {
	bubble(t, fmt.Sprint("cache of ", size), func(t *testing.T) {
		opts := options()
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
			if h.ServeHTTP(w, get(bearer(goodToken(richClaims)))); w.Code != http.StatusOK {
				t.Fatal(w.Code)
			}
		}
	})
}

func TestABusyTokenStaysCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		hits := cached(&opts)
		opts.CacheSize = 2
		m := mustNew[testClaims](t, opts)
		busy := get(bearer(goodToken(nil)))
		checkVerdict(t, m, busy, admitted)
		_, _ = m.Authenticate(get(bearer(goodToken(map[string]any{"jti": "the cache is full now"}))))
		for i := range 20 {
			*hits = 0
			if _, err := m.Authenticate(busy); err != nil || *hits != 1 {
				t.Fatalf("pushed out by %d tokens that came twice, %v", i, err)
			}
			for range 2 {
				_, _ = m.Authenticate(get(bearer(goodToken(map[string]any{"jti": fmt.Sprint(i)}))))
			}
		}
	})
}

func TestEachRefusalIsAnErrorOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, options())
		for _, request := range []func(*http.Request){nil, bearer(altered(goodToken(nil)))} {
			ask := func() error {
				r := get()
				if request != nil {
					r = get(request)
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

// The same token from another place is the same token, found elsewhere.
func TestACachedTokenHasTheSourceOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"))
		hits := cached(&opts)
		m := mustNew[testClaims](t, opts)
		token := goodToken(nil)
		for _, r := range []*http.Request{get(bearer(token)), get(field("Cookie", "c="+token)), get(bearer(token))} {
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
		r := get(field("Cookie", "c="+token), method("POST"), field("Sec-Fetch-Site", "cross-site"))
		checkVerdict(t, m, r, "403 cross_origin")
	})
}

func TestARewrappedAdmissionKeepsItsClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type other struct{ testClaims }
		a, b := mustNew[jwt.MapClaims](t, options()), mustNew[other](t, options())
		for range 2 {
			ctx := nest(get(bearer(goodToken(nil))), a.Handler, b.Handler, a.Handler).inner.Context()
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

func TestACacheIsSafeForConcurrentUse(t *testing.T) {
	issuer := jwthttptest.New(t, "HS256")
	opts := options(issuer.Trusted())
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
				r, err := m.Authenticate(get(bearer(tokens[(i*(g+1))%len(tokens)])).WithContext(context.Background()))
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

// A key of the same type, in the same place, is another key.
func TestACachedTokenNoticesAnotherKeyOfItsKind(t *testing.T) {
	k := testKeys()
	_, otherEd, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
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
		{jwt.SigningMethodES256, k.p256, &k.p256.PublicKey, &ecdsa.PublicKey{Curve: elliptic.P256(), X: k.p256.X, Y: k.p256.Y}, &otherEC.PublicKey, &ecdsa.PublicKey{}, (*ecdsa.PublicKey)(nil), nil},
		{jwt.SigningMethodEdDSA, k.ed, k.ed.Public(), ed25519.PublicKey(strings.Clone(string(k.ed[32:]))), otherEd.Public(), ed25519.PublicKey{}, ed25519.PublicKey(nil), k.ed},
		{jwt.SigningMethodHS256, long(32), long(32), long(32), long(33), []byte{}, []byte(nil), 1},
	} {
		bubble(t, tt.method.Alg(), func(t *testing.T) {
			current := tt.public
			opts := options(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return current, nil }), tt.method.Alg()))
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
				if got := verdict(m, get(bearer(token))); got != step.want || *hits != step.hits {
					t.Errorf("%T: verdict %q with %d hits, want %q with %d", step.key, got, *hits, step.want, step.hits)
				}
			}
		})
	}
}

func TestAKeyChangedInPlaceIsAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		key := &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: k.rsa.E}
		m := mustNew[testClaims](t, options(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return key, nil }), "RS256")))
		token := sign(t, jwt.SigningMethodRS256, k.rsa, "")
		checkVerdict(t, m, get(bearer(token)), admitted)
		key.N.Set(k.otherRSA.N)
		checkVerdict(t, m, get(bearer(token)), invalid+"signature")
	})
}

func TestTheNinthKeyIsNotTriedForACachedTokenEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keySet(long(32))
		m := mustNew[testClaims](t, options(issuerWith(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return keys, nil }), "HS256")))
		token := sign(t, jwt.SigningMethodHS256, long(32), "")
		checkVerdict(t, m, get(bearer(token)), admitted)
		keys = keySet("unfit", long(41), long(42), long(43), long(44), long(45), long(46), long(47), long(32))
		checkVerdict(t, m, get(bearer(token)), admitted)
		keys = keySet(long(40), long(41), long(42), long(43), long(44), long(45), long(46), long(47), long(32))
		checkVerdict(t, m, get(bearer(token)), invalid+"signature")
	})
}

// moody decodes itself by what is known at the moment.
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

func TestClaimsThatDecodeThemselvesAreDecodedForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[moody](t, options())
		r := get(bearer(goodToken(nil)))
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

func TestNestedAdmissionsShareTheRequestsClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		opts.FailOpen = true
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		var events []jwthttp.Event
		opts.Observer = func(_ *http.Request, e jwthttp.Event) { events = append(events, e) }
		a := mustNew[jwt.MapClaims](t, opts)
		type other struct{ testClaims }
		b := mustNew[other](t, options())
		change := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context())
				c["role"] = "changed"
				next.ServeHTTP(w, r)
			})
		}
		for range 2 {
			events = nil
			r := get(bearer(goodToken(nil)))
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

// A Token that someone keeps must not keep the tokens that came later.
func TestAHeldTokenKeepsNoOthersAlive(t *testing.T) {
	issuer := jwthttptest.New(t, "HS256")
	opts := options(issuer.Trusted())
	opts.CacheSize = 10
	m := mustNew[jwt.MapClaims](t, opts)
	var held []*jwthttp.Token
	ask := func(n int) {
		for range n {
			request := get(bearer(issuer.Token(nil)))
			_, _ = m.Authenticate(request) // a full cache takes it when it comes again
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

// FuzzCache: with and without a cache the verdict is the same, whatever order
// time, keys, revocations and requirements change in.
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
			iss.MaxAge = 5 * time.Minute
			var ms [2]*jwthttp.Middleware
			for i, size := range []int{0, 3} {
				opts := options(iss)
				opts.CacheSize, opts.Revoked = size, list.Revoked
				ms[i] = mustNew[jwt.MapClaims](t, opts)
			}
			var tokens []string
			for i := range 8 {
				tokens = append(tokens, signChanged(t, jwt.SigningMethodHS256, keys[i%2], "", map[string]any{
					"jti": fmt.Sprint(i), "iat": bubbleStart, "exp": bubbleStart + 60*int64(i), "nbf": bubbleStart + 30*int64(i%3),
					"scope": "a"[:i%2], "sub": fmt.Sprint("s", i%3),
				}))
			}
			scoped := false
			for i, step := range steps {
				switch n := int(step); {
				case n >= 'a' && n <= 'h':
					a, b := ms[0], ms[1]
					if scoped {
						a, b = a.RequireScopes("a"), b.RequireScopes("a")
					}
					ra, ea := a.Authenticate(get(bearer(tokens[n-'a'])))
					rb, eb := b.Authenticate(get(bearer(tokens[n-'a'])))
					ca, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](ra.Context())
					cb, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](rb.Context())
					if (ea == nil) != (eb == nil) || ea != nil && verdictOf(ea) != verdictOf(eb) || !cmp.Equal(ca, cb) {
						t.Fatalf("step %d: %v without a cache, %v with one", i, ea, eb)
					}
					if cb != nil {
						cb["role"] = "spoilt"
					}
				case step == 'T':
					time.Sleep(17 * time.Second)
				case step == 'k':
					key = 1 - key
				case step == 'K':
					down = !down
				case step == 'r':
					_ = list.Revoke(context.Background(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: fmt.Sprint(i % 8)})
				case step == 's':
					_ = list.Revoke(context.Background(), revocation.Entry{Kind: revocation.BySubject, Issuer: issuerName, Value: fmt.Sprint("s", i%3), IssuedUntil: time.Now()})
				case step == 'R':
					_ = list.Remove(context.Background(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: fmt.Sprint(i % 8)})
				case step == 'z':
					scoped = !scoped
				}
			}
		})
	})
}
