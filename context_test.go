package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

func TestClaimsFromContext_types(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := serve(mustNew[testClaims](t, newOptions()), newRequest(withBearer(goodToken(nil)))).inner.Context()
		if c, ok := jwthttp.ClaimsFromContext[testClaims](ctx); !ok || c.Role != "editor" {
			t.Errorf("claims %v, %v", c, ok)
		}
		if c, ok := jwthttp.ClaimsFromContext[*testClaims](ctx); ok || c != nil {
			t.Errorf("claims of a pointer type: %v", c)
		}
		if _, ok := jwthttp.ClaimsFromContext[any](ctx); ok {
			t.Error("claims of an interface type")
		}
		if got := jwthttp.MustClaims[testClaims](ctx).Role; got != "editor" {
			t.Errorf("MustClaims: role %q", got)
		}
		ctx = jwthttp.ContextWithClaims(ctx, testClaims{Role: "x"})
		if got := jwthttp.MustClaims[testClaims](ctx).Role; got != "x" {
			t.Errorf("after ContextWithClaims: role %q", got)
		}
		if token, ok := jwthttp.TokenFromContext(ctx); !ok || token.Subject != "alice" {
			t.Errorf("after ContextWithClaims: token %v", token)
		}
		if _, ok := jwthttp.ClaimsFromContext[testClaims](context.WithoutCancel(ctx)); !ok {
			t.Error("no claims in a context without cancel")
		}
	})
}

func TestMustClaims_panics(t *testing.T) {
	visitor := serve(mustNew[testClaims](t, newOptions()).Optional(), newRequest()).inner.Context()
	for _, tt := range []struct {
		name string
		ctx  context.Context
	}{
		{"no Handler", t.Context()},
		{"no token", visitor},
		{"another type", jwthttp.ContextWithClaims(t.Context(), &testClaims{})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := panicOf(func() { jwthttp.MustClaims[testClaims](tt.ctx) }); !strings.Contains(got, "jwthttp_test.testClaims") {
				t.Errorf("panic %q", got)
			}
		})
	}
}

func TestContextWithToken(t *testing.T) {
	token := &jwthttp.Token{Subject: "x", Scopes: []string{"a"}}
	ctx := jwthttp.ContextWithToken(t.Context(), token)
	got, ok := jwthttp.TokenFromContext(ctx)
	if !ok || got.Subject != "x" {
		t.Errorf("token %v", got)
	}
	got.Scopes[0] = "changed"
	if token.Scopes[0] != "a" {
		t.Error("TokenFromContext returned no copy")
	}
	if _, ok := jwthttp.TokenFromContext(jwthttp.ContextWithToken(ctx, nil)); ok {
		t.Error("a nil Token was found")
	}
	if _, ok := jwthttp.TokenFromContext(t.Context()); ok {
		t.Error("a Token was found without a Handler")
	}
}

// Claims and a Token in a context do not authenticate a request.
func TestContextWithToken_doesNotAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions())
		token, _ := jwthttp.TokenFromContext(serve(m, newRequest(scoped("a"))).inner.Context())
		ctx := jwthttp.ContextWithClaims(jwthttp.ContextWithToken(t.Context(), token), testClaims{Role: "editor"})
		checkVerdict(t, m, newRequest().WithContext(ctx), missing)
		checkVerdict(t, m.RequireScopes("a"), newRequest().WithContext(ctx), missing)
		visitor := serve(m.Optional(), newRequest().WithContext(ctx)).inner.Context()
		if _, ok := jwthttp.TokenFromContext(visitor); ok {
			t.Error("a visitor has the Token of the outer context")
		}
		watched, cancel := m.Watch(ctx, time.Minute)
		defer cancel()
		if watched.Err() == nil {
			t.Error("Watch works on it")
		}
		// Inside a Handler it does not replace what the Handler has verified.
		inner := serve(m, newRequest(scoped("b"))).inner
		inner = inner.WithContext(jwthttp.ContextWithToken(inner.Context(), token))
		checkVerdict(t, m.RequireScopes("a"), inner, noScope)
	})
}

func TestTokenFromContext_copies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.CacheSize = 8
		m := mustNew[jwt.MapClaims](t, opts)
		r := newRequest(withBearer(goodToken(map[string]any{"scope": "a", "amr": []string{"pwd"}})))
		for range 2 {
			ctx := serve(m, r.Clone(context.Background())).inner.Context()
			c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](ctx)
			token, _ := jwthttp.TokenFromContext(ctx)
			if c["role"] != "editor" || token.Scopes[0] != "a" || token.Audience[0] != audienceName || token.AMR[0] != "pwd" {
				t.Errorf("claims %v, token %v", c, token)
			}
			c["role"], token.Scopes[0], token.Audience[0], token.AMR[0] = "changed", "changed", "changed", "changed"
			if again, _ := jwthttp.TokenFromContext(ctx); again.Scopes[0] != "a" {
				t.Error("a changed Token reaches others of the same request")
			}
		}
	})
}

// counting counts what the Middleware of one New does.
type counting struct {
	extracted, revocations int
	events                 []string
	nested                 []bool
}

func (c *counting) options() jwthttp.Options {
	opts := newOptions()
	bearer := jwthttp.FromHeader("Authorization", "Bearer")
	opts.Extractor = func(r *http.Request) (jwthttp.Credential, error) { c.extracted++; return bearer(r) }
	opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { c.revocations++; return false, nil }
	opts.Observer = func(_ context.Context, e jwthttp.Event) {
		v := admitted
		if e.Err != nil {
			v = verdictOf(e.Err)
		}
		c.events, c.nested = append(c.events, v), append(c.nested, e.Nested)
	}
	return opts
}

// nest serves r through the handlers, outermost first.
func nest(r *http.Request, ms ...func(http.Handler) http.Handler) result {
	res := result{ResponseRecorder: httptest.NewRecorder()}
	var h http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { res.inner = r })
	for i := len(ms) - 1; i >= 0; i-- {
		h = ms[i](h)
	}
	h.ServeHTTP(res, r)
	return res
}

// changing is a handler that passes a changed request on, as routers do.
func changing(change func(*http.Request) *http.Request) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, change(r)) })
	}
}

func plain(m *jwthttp.Middleware) *jwthttp.Middleware     { return m }
func optional(m *jwthttp.Middleware) *jwthttp.Middleware  { return m.Optional() }
func anonymous(m *jwthttp.Middleware) *jwthttp.Middleware { return m.AllowAnonymous() }
func withScope(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a") }

// Rule 40
func TestHandler_nested(t *testing.T) {
	type key struct{}
	router := changing(func(r *http.Request) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), key{}, "route"))
	})
	garbage := withBearer("garbage")
	for _, tt := range []struct {
		name    string
		request func(*http.Request)
		outer   func(*jwthttp.Middleware) *jwthttp.Middleware
		inner   func(*jwthttp.Middleware) *jwthttp.Middleware
		events  []string
		nested  bool // the second event
		calls   int  // of Revoked
	}{
		{"both admit", scoped("a"), plain, withScope, []string{admitted, admitted}, true, 1},
		{"inner needs another scope", scoped("b"), plain, withScope, []string{admitted, noScope}, true, 1},
		{"outer refuses", garbage, plain, withScope, []string{badToken}, false, 0},
		{"no token, outer optional, inner not", func(*http.Request) {}, optional, plain, []string{admitted, missing}, true, 0},
		{"no token, outer optional, inner scoped", func(*http.Request) {}, optional, withScope, []string{admitted, missing}, true, 0},
		{"no token, both optional", func(*http.Request) {}, optional, optional, []string{admitted, admitted}, true, 0},
		{"inner optional changes nothing", func(*http.Request) {}, plain, optional, []string{missing}, false, 0},
		{"bad token, outer anonymous, inner not", garbage, anonymous, plain, []string{badToken, badToken}, false, 0},
		{"bad token, outer anonymous, inner optional", garbage, anonymous, optional, []string{badToken, badToken}, false, 0},
		{"bad token, both anonymous", garbage, anonymous, anonymous, []string{badToken, badToken}, false, 0},
		{"no token, outer anonymous, inner not", func(*http.Request) {}, anonymous, plain, []string{admitted, missing}, true, 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var c counting
			m := mustNew[testClaims](t, c.options())
			outer, inner := tt.outer(m), tt.inner(m)
			res := nest(newRequest(tt.request), outer.Handler, router, inner.Handler)
			if diff := cmp.Diff(tt.events, c.events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if c.extracted != len(tt.events) || c.revocations != tt.calls || c.nested[0] || len(c.nested) > 1 && c.nested[1] != tt.nested {
				t.Errorf("%d extractions, %d revocation checks, nested %v", c.extracted, c.revocations, c.nested)
			}
			last := tt.events[len(tt.events)-1]
			if want := last == admitted || strings.HasPrefix(tt.name, "bad token, both"); (res.inner != nil) != want {
				t.Errorf("handler called: %v", res.inner != nil)
			}
			if res.inner != nil && res.inner.Context().Value(key{}) != "route" {
				t.Error("the inner handler lost what the router put into the context")
			}
		})
	}
	bubble(t, "Authenticate inside a Handler", func(t *testing.T) {
		var c counting
		m := mustNew[testClaims](t, c.options())
		res := serve(m, newRequest(scoped("a")))
		if got := verdict(m.RequireScopes("a"), res.inner); got != admitted || c.revocations != 1 {
			t.Errorf("%q after %d revocation checks", got, c.revocations)
		}
	})
	bubble(t, "a query token", func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromQuery("t")
		m := mustNew[testClaims](t, opts)
		res := nest(newRequest(withQuery("a=1&t="+goodToken(map[string]any{"scope": "a"}))), m.Handler, m.RequireScopes("a").Handler)
		if res.inner == nil || res.inner.URL.RawQuery != "a=1" {
			t.Errorf("status %d", res.Code)
		}
	})
}

// A request inside a Handler, such as a part of a batch, is verified by itself if
// it has a credential that the outer one did not have.
func TestHandler_nested_credentials(t *testing.T) {
	for _, tt := range []struct {
		name  string
		outer func(*http.Request)
		part  func(*http.Request)
		want  string // the subject that the part has, or the refusal
		calls int    // of Revoked
	}{
		{"no credential", scoped("a"), withField("Authorization"), "alice", 1},
		{"the same token", scoped("a"), scoped("a"), "alice", 1},
		{"the same token, another spelling of the scheme", scoped("a"), auth("bearer  " + goodToken(map[string]any{"scope": "a"})), "alice", 1},
		{"another user's token", scoped("a"), withBearer(goodToken(map[string]any{"sub": "bob"})), "bob", 2},
		{"a weaker token of the same user", scoped("a"), scoped("b"), "alice", 2},
		{"an expired token", scoped("a"), withBearer(goodToken(map[string]any{"exp": 1})), "401 invalid_token expired", 1},
		{"a forged token", scoped("a"), withBearer(altered(goodToken(map[string]any{"scope": "a"}))), "401 invalid_token signature", 1},
		{"junk", scoped("a"), withBearer("junk"), badToken, 1},
		{"a malformed credential", scoped("a"), auth("Bearer"), badField, 1},
		{"two credentials", scoped("a"), auth("Bearer a", "Bearer b"), twoTokens, 1},
		{"a foreign scheme", scoped("a"), auth("Basic dTpw"), "alice", 1},
		{"a token inside an anonymous request", func(*http.Request) {}, withBearer(goodToken(map[string]any{"sub": "bob"})), "bob", 1},
		{"junk inside an anonymous request", func(*http.Request) {}, withBearer("junk"), badToken, 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var c counting
			m := mustNew[testClaims](t, c.options())
			var got string
			part := changing(func(r *http.Request) *http.Request {
				r = r.Clone(r.Context())
				tt.part(r)
				return r
			})
			res := nest(newRequest(tt.outer), m.Optional().Handler, part, m.Handler)
			if got = c.events[1]; got == admitted {
				token, _ := jwthttp.TokenFromContext(res.inner.Context())
				got = token.Subject
				if claims := jwthttp.MustClaims[testClaims](res.inner.Context()); claims.Subject != got {
					t.Errorf("claims of %q, Token of %q", claims.Subject, got)
				}
			}
			if got != tt.want || c.revocations != tt.calls {
				t.Errorf("%q after %d revocation checks, want %q after %d", got, c.revocations, tt.want, tt.calls)
			}
			if tt.name == "a weaker token of the same user" {
				if got := verdict(m.RequireScopes("a"), res.inner); got != noScope {
					t.Errorf("the weaker token has the scopes of the outer one: %q", got)
				}
			}
		})
	}
}

// The request of another server is not inside a Handler, even if that server's
// contexts derive from a request's.
func TestHandler_nested_server(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"))
	m := mustNew[testClaims](t, opts)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	token := mustSign(t, jwt.SigningMethodHS256, secret, jwt.RegisteredClaims{
		Issuer: issuerName, Audience: jwt.ClaimStrings{audienceName}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	})
	for _, tt := range []struct {
		name  string
		admit func(*testing.T) context.Context
	}{
		{"BaseContext is a request's", func(t *testing.T) context.Context {
			return serve(m, newRequest(withBearer(token))).inner.Context()
		}},
		{"BaseContext is a request's of another server", func(t *testing.T) context.Context {
			ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{})
			return serve(m, newRequest(withBearer(token)).WithContext(ctx)).inner.Context()
		}},
		{"BaseContext is that of Verify", func(t *testing.T) context.Context {
			ctx, err := m.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			return ctx
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := tt.admit(t)
			s := httptest.NewUnstartedServer(m.Handler(ok))
			s.Config.BaseContext = func(net.Listener) context.Context { return base }
			s.Start()
			defer s.Close()
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("status %d for a request without a token", res.StatusCode)
			}
		})
	}
	t.Run("a request of the same server to itself", func(t *testing.T) {
		s := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/", nil)
			m.Handler(ok).ServeHTTP(w, part)
		})))
		defer s.Close()
		r, _ := http.NewRequest(http.MethodGet, s.URL, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

// What may have changed since the admission: the times, the context and the
// method.
func TestHandler_nested_recheck(t *testing.T) {
	revoked := errors.New("stream over")
	for _, tt := range []struct {
		name   string
		claims map[string]any
		change func(*testing.T, *jwthttp.Middleware, *http.Request) *http.Request
		want   string
	}{
		{"nothing", nil, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request { return r }, admitted},
		{"expired", map[string]any{"exp": bubbleStart + 60}, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			time.Sleep(90 * time.Second)
			return r
		}, "401 invalid_token expired"},
		{"not expired, with leeway", map[string]any{"exp": bubbleStart + 60}, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			time.Sleep(90*time.Second - 1)
			return r
		}, admitted},
		{"expired, in a context without cancel", map[string]any{"exp": bubbleStart + 60}, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			time.Sleep(time.Hour)
			return r.WithContext(context.WithoutCancel(r.Context()))
		}, "401 invalid_token expired"},
		{"canceled", nil, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			return r.WithContext(ctx)
		}, "499 canceled"},
		{"canceled with a cause", nil, func(_ *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := context.WithCancelCause(r.Context())
			cancel(revoked)
			return r.WithContext(ctx)
		}, "499 canceled"},
		{"after a deadline", nil, func(t *testing.T, _ *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			t.Cleanup(cancel)
			time.Sleep(time.Minute)
			return r.WithContext(ctx)
		}, "499 canceled"},
		{"ended by Watch", map[string]any{"exp": bubbleStart + 60}, func(t *testing.T, m *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := m.Watch(r.Context(), time.Minute)
			t.Cleanup(cancel)
			<-ctx.Done()
			return r.WithContext(ctx)
		}, "401 invalid_token expired"},
		{"ended by Watch, for a scope", nil, func(t *testing.T, m *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := m.RequireScopes("a").Watch(r.Context(), time.Minute)
			t.Cleanup(cancel)
			<-ctx.Done()
			return r.WithContext(ctx)
		}, noScope},
		{"ended by Watch, then without cancel", map[string]any{"exp": bubbleStart + 60}, func(t *testing.T, m *jwthttp.Middleware, r *http.Request) *http.Request {
			ctx, cancel := m.Watch(r.Context(), time.Minute)
			t.Cleanup(cancel)
			<-ctx.Done()
			return r.WithContext(context.WithoutCancel(ctx))
		}, "401 invalid_token expired"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var events []jwthttp.Event
			opts := newOptions()
			opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
			m := mustNew[testClaims](t, opts)
			inner := serve(m, newRequest(withBearer(goodToken(tt.claims)))).inner
			r := tt.change(t, m, inner)
			for range 2 { // the same Error must not be changed by the first
				if got := verdict(m, r); got != tt.want {
					t.Errorf("verdict %q, want %q", got, tt.want)
				}
			}
			last := events[len(events)-1]
			if !last.Nested || last.Admitted != (tt.want == admitted) || last.Token == nil && tt.want != "499 canceled" {
				t.Errorf("event %v", last)
			}
			if tt.want != admitted {
				visitor := serve(m.AllowAnonymous(), r).inner
				if _, ok := jwthttp.ClaimsFromContext[testClaims](visitor.Context()); ok {
					t.Error("AllowAnonymous admits with the claims of a refused token")
				}
			}
			res := serve(m, r)
			if tt.want == "499 canceled" && (res.Body.Len() > 0 || len(res.Header()) > 0 || res.inner != nil) {
				t.Errorf("written: %v %q", res.Header(), res.Body)
			}
			if tt.want == admitted || strings.HasPrefix(tt.want, "499") {
				return
			}
			if got := res.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="restricted", error="`) {
				t.Errorf("challenge %q", got)
			}
		})
	}
	bubble(t, "the Error of another New's Watch is not changed", func(t *testing.T) {
		opts := newOptions()
		opts.Realm = "other"
		m, other := mustNew[testClaims](t, newOptions()), mustNew[testClaims](t, opts)
		inner := nest(newRequest(withBearer(goodToken(nil))), m.Handler, other.Handler).inner
		ctx, cancel := other.RequireScopes("a").Watch(inner.Context(), time.Minute)
		defer cancel()
		if got := serve(m, inner.WithContext(ctx)).Header().Get("WWW-Authenticate"); !strings.Contains(got, `realm="restricted"`) {
			t.Errorf("challenge %q", got)
		}
		w := httptest.NewRecorder()
		jwthttp.WriteError(w, context.Cause(ctx))
		if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `realm="other"`) {
			t.Errorf("challenge of the cause %q", got)
		}
	})
	bubble(t, "the visitor's context has ended", func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions()).Optional()
		ctx, cancel := context.WithCancel(serve(m, newRequest()).inner.Context())
		cancel()
		if got := verdict(m, newRequest().WithContext(ctx)); got != "499 canceled" {
			t.Errorf("verdict %q", got)
		}
	})
}

// Rule 45
// A method that changes between the outer and the inner Handler asks for the
// cross-origin check again.
func TestHandler_nested_crossOrigin(t *testing.T) {
	method := func(name string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			r.Method = name
			return r
		}
	}
	upgrade := func(r *http.Request) *http.Request {
		r = r.Clone(r.Context())
		r.Header.Set("Upgrade", "websocket")
		return r
	}
	cookie, header := withField("Cookie", "c=<token>"), auth("Bearer <token>")
	for _, tt := range []struct {
		name    string
		request func(*http.Request)
		site    string
		change  func(*http.Request) *http.Request
		want    int
	}{
		{"a cookie's GET becomes a DELETE", cookie, "cross-site", method("DELETE"), 403},
		{"a cookie's GET becomes a HEAD", cookie, "cross-site", method("HEAD"), 200},
		{"a cookie's GET becomes an upgrade", cookie, "cross-site", upgrade, 403},
		{"a cookie's GET becomes a DELETE of the same origin", cookie, "same-origin", method("DELETE"), 200},
		{"a header's GET becomes a DELETE", header, "cross-site", method("DELETE"), 200},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"))
			m := mustNew[testClaims](t, opts)
			r := newRequest(tt.request, withField("Sec-Fetch-Site", tt.site))
			fillPlaceholders(r, goodToken(nil))
			if res := nest(r, m.Handler, changing(tt.change), m.Handler); res.Code != tt.want || (res.inner != nil) != (tt.want == 200) {
				t.Errorf("status %d, want %d", res.Code, tt.want)
			}
			// Nor does a part of a batch without the cookie get around the check.
			withoutCookie := changing(func(r *http.Request) *http.Request {
				r = tt.change(r)
				r.Header.Del("Cookie")
				return r
			})
			if res := nest(r, m.Handler, withoutCookie, m.Handler); res.Code != tt.want {
				t.Errorf("without the cookie: status %d, want %d", res.Code, tt.want)
			}
		})
	}
	// A bypass pattern is for the path that the outer Handler sees.
	for _, tt := range []struct {
		name   string
		change func(*http.Request) *http.Request
		want   int
	}{
		{"a bypass pattern behind StripPrefix", func(r *http.Request) *http.Request { return r }, 200},
		{"a bypass pattern, and another method", method("DELETE"), 403},
		{"a bypass pattern, and an upgrade", upgrade, 403},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = jwthttp.FromCookie("c")
			opts.CrossOrigin = http.NewCrossOriginProtection()
			opts.CrossOrigin.AddInsecureBypassPattern("POST /api/hook")
			m := mustNew[testClaims](t, opts)
			r := newRequest(withMethod("POST"), cookie, withField("Sec-Fetch-Site", "cross-site"))
			r.URL.Path = "/api/hook"
			fillPlaceholders(r, goodToken(nil))
			strip := func(next http.Handler) http.Handler { return http.StripPrefix("/api", next) }
			if res := nest(r, m.Handler, strip, changing(tt.change), m.Handler); res.Code != tt.want {
				t.Errorf("status %d, want %d", res.Code, tt.want)
			}
		})
	}
}

func TestHandler_nested_otherNew(t *testing.T) {
	bubble(t, "the admission of another New does not count", func(t *testing.T) {
		other := newIssuer()
		other.Name = "https://other.example"
		a, b := mustNew[testClaims](t, newOptions()), mustNew[testClaims](t, newOptions(other))
		res := nest(newRequest(withBearer(goodToken(nil))), a.Handler, b.Handler)
		if res.Code != 401 || res.inner != nil {
			t.Errorf("status %d", res.Code)
		}
		withoutToken := changing(func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			r.Header.Del("Authorization")
			return r
		})
		if res := nest(newRequest(withBearer(goodToken(nil))), a.Handler, withoutToken, mustNew[testClaims](t, newOptions()).Handler); res.Code != 401 {
			t.Errorf("equal options: status %d", res.Code)
		}
	})
	type service struct{ testClaims }
	opts := newOptions()
	opts.Extractor = jwthttp.FromHeader("X-Service", "")
	user, svc := mustNew[testClaims](t, newOptions()), mustNew[service](t, opts)
	bubble(t, "each type finds its claims", func(t *testing.T) {
		both := newRequest(withBearer(goodToken(map[string]any{"sub": "user", "scope": "a"})), withField("X-Service", goodToken(map[string]any{"sub": "service"})))
		ctx := nest(both, user.Handler, svc.Handler).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "service" {
			t.Errorf("the innermost token is of %q", token.Subject)
		}
		if u, s := jwthttp.MustClaims[testClaims](ctx), jwthttp.MustClaims[service](ctx); u.Subject != "user" || s.Subject != "service" {
			t.Errorf("claims of %q and %q", u.Subject, s.Subject)
		}
		// The first New again, innermost: its token is the innermost one then.
		ctx = nest(both, user.Handler, svc.Handler, user.RequireScopes("a").Handler).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "user" {
			t.Errorf("the innermost token is of %q", token.Subject)
		}
	})
	for _, tt := range []struct {
		name  string
		inner *jwthttp.Middleware
		field string
	}{
		{"Optional hides the outer token", svc.Optional(), ""},
		{"AllowAnonymous hides the outer token", svc.AllowAnonymous(), ""},
		{"AllowAnonymous with a bad token hides the outer token", svc.AllowAnonymous(), "junk"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(withBearer(goodToken(nil)), withField("X-Service", tt.field))
			ctx := nest(r, user.Handler, tt.inner.Handler).inner.Context()
			if _, ok := jwthttp.TokenFromContext(ctx); ok {
				t.Error("the outer Token is visible")
			}
			if _, ok := jwthttp.ClaimsFromContext[testClaims](ctx); ok {
				t.Error("the outer claims are visible")
			}
			if got := nest(r, user.Handler, tt.inner.Handler, user.Handler); got.inner == nil {
				t.Error("the outer admission is lost")
			} else if _, ok := jwthttp.ClaimsFromContext[testClaims](got.inner.Context()); !ok {
				t.Error("the claims are lost")
			}
		})
	}
	bubble(t, "Verify of another New hides the outer token", func(t *testing.T) {
		ctx, err := svc.Optional().Verify(serve(user, newRequest(withBearer(goodToken(nil)))).inner.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := jwthttp.ClaimsFromContext[testClaims](ctx); ok {
			t.Error("the outer claims are visible")
		}
	})
}

// Rule 29
func TestHandler_routes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions())
		mux := http.NewServeMux()
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		mux.Handle("GET /read", m.RequireScopes("read").Handler(ok))
		mux.Handle("GET /write", m.RequireScopes("write").Handler(ok))
		mux.Handle("GET /tenant/{id}", m.Require(jwthttp.Rule(func(r *http.Request, c testClaims) error {
			if c.Subject != r.PathValue("id") {
				return errors.New("another tenant")
			}
			return nil
		})).Handler(ok))
		for _, tt := range []struct {
			path string
			want int
		}{{"/read", 200}, {"/write", 403}, {"/tenant/alice", 200}, {"/tenant/bob", 403}} {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			scoped("read")(r)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s: status %d, want %d", tt.path, w.Code, tt.want)
			}
		}
	})
}

// A handler may end the context with any cause before it calls a nested Handler.
func TestMiddleware_Handler_nestedCause(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cause  error
		status int
	}{
		{"a nil *Error", (*jwthttp.Error)(nil), 499},
		{"an empty Error", &jwthttp.Error{}, 499},
		{"an Error with the status of a success", &jwthttp.Error{Status: 200}, 499},
		{"an Error", &jwthttp.Error{Status: 451, Reason: "legal"}, 451},
		{"another error", errors.New("x"), 499},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.ErrorHandler = func(http.ResponseWriter, *http.Request, *jwthttp.Error) {}
			m := mustNew[testClaims](t, opts)
			ctx, end := context.WithCancelCause(serve(m, newRequest(withBearer(goodToken(nil)))).inner.Context())
			end(tt.cause)
			r := newRequest().WithContext(ctx)
			_, err := m.Authenticate(r)
			var e *jwthttp.Error
			if !errors.As(err, &e) || e.Status != tt.status {
				t.Errorf("error %v, want status %d", err, tt.status)
			}
			if res := serve(m, r); res.inner != nil || res.Header().Get("Cache-Control") == "" && tt.status != 499 {
				t.Errorf("answer %d", res.Code)
			}
		})
	}
}

func TestContextWithToken_nil(t *testing.T) {
	ctx := jwthttp.ContextWithToken(jwthttp.ContextWithToken(t.Context(), &jwthttp.Token{Subject: "alice"}), nil)
	if token, ok := jwthttp.TokenFromContext(ctx); ok {
		t.Errorf("token %v", token)
	}
	if text := fmt.Sprint(ctx); strings.Contains(text, "PANIC") {
		t.Errorf("printed as %s", text)
	}
}
