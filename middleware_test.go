package jwthttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

func scoped(scope string) func(*http.Request) {
	return withBearer(goodToken(map[string]any{"scope": scope}))
}

func TestScopes(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	const denied = "403 insufficient_scope scope"
	for _, tt := range []struct {
		name  string
		m     *jwthttp.Middleware
		scope string
		want  string
	}{
		{"all there", m.RequireScopes("a", "b"), "b a c", admitted},
		{"one missing", m.RequireScopes("a", "b"), "a c", denied},
		{"none", m.RequireScopes("a"), "", denied},
		{"by case", m.RequireScopes("a"), "A", denied},
		{"a prefix", m.RequireScopes("orders"), "orders:read", denied},
		{"one of them", m.RequireAnyScope("a", "b"), "b", admitted},
		{"none of them", m.RequireAnyScope("a", "b"), "c", denied},
		{"requirements add up", m.RequireScopes("a").RequireScopes("b"), "a", denied},
		{"requirements add up and are met", m.RequireScopes("a").RequireScopes("b"), "a b", admitted},
		{"all and any", m.RequireScopes("a").RequireAnyScope("b", "c"), "a c", admitted},
		{"all but not any", m.RequireScopes("a").RequireAnyScope("b", "c"), "a", denied},
		{"any but not all", m.RequireAnyScope("b", "c").RequireScopes("a"), "b", denied},
		{"optional is no way around", m.Optional().RequireScopes("a"), "b", denied},
	} {
		bubble(t, tt.name, func(t *testing.T) { checkVerdict(t, tt.m, newRequest(scoped(tt.scope)), tt.want) })
	}
}

func TestEveryRequirementNeedsATokenInAnyOrderWithOptional(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	rule := func(*http.Request) error { return nil }
	for name, d := range map[string]*jwthttp.Middleware{
		"optional, scopes":    m.Optional().RequireScopes("a"),
		"scopes, optional":    m.RequireScopes("a").Optional(),
		"optional, any scope": m.Optional().RequireAnyScope("a"),
		"any scope, optional": m.RequireAnyScope("a").Optional(),
		"optional, rule":      m.Optional().Require(rule),
		"rule, optional":      m.Require(rule).Optional(),
	} {
		t.Run(name, func(t *testing.T) { checkVerdict(t, d, newRequest(), missing) })
	}
	checkVerdict(t, m.Optional(), newRequest(), admitted)
	checkVerdict(t, m, newRequest(), missing) // deriving does not change the original
}

func TestDerivingDoesNotChangeSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := mustNew[testClaims](t, newOptions()).RequireScopes("a").Require(func(*http.Request) error { return nil })
		b := base.RequireScopes("b").Require(func(*http.Request) error { return errors.New("b") })
		c := base.RequireScopes("c").Require(func(*http.Request) error { return nil })
		checkVerdict(t, b, newRequest(scoped("a c")), "403 insufficient_scope scope")
		checkVerdict(t, c, newRequest(scoped("a c")), admitted)
		checkVerdict(t, b, newRequest(scoped("a b")), "403 forbidden")
		checkVerdict(t, base, newRequest(scoped("a")), admitted)
	})
}

func TestDerivingTwiceFromALongChainKeepsThemApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := mustNew[testClaims](t, newOptions())
		fine := func(*http.Request) error { return nil }
		for range 3 { // so that there is room behind the last requirement
			base = base.RequireScopes("a").Require(fine)
		}
		bad := base.RequireScopes("x").Require(func(*http.Request) error { return errors.New("no") })
		good := base.RequireScopes("a").Require(fine)
		checkVerdict(t, good, newRequest(scoped("a")), admitted)
		checkVerdict(t, bad, newRequest(scoped("a")), "403 insufficient_scope scope")
		checkVerdict(t, bad, newRequest(scoped("a x")), "403 forbidden")
		scopes := []string{"a"}
		m := mustNew[testClaims](t, newOptions()).RequireScopes(scopes...)
		scopes[0] = "b"
		checkVerdict(t, m, newRequest(scoped("a")), admitted)
	})
}

func TestARefusalIsTheRequestsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions()).RequireScopes("a")
		_, err := m.Authenticate(newRequest(scoped("b")))
		var e *jwthttp.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		e.Scopes[0] = "changed"
		_, err = m.Authenticate(newRequest(scoped("b")))
		if !errors.As(err, &e) || e.Scopes[0] != "a" {
			t.Errorf("scopes %q", e.Scopes)
		}

		// One Error value that rules of two families return.
		shared := &jwthttp.Error{Status: 401, Code: "invalid_token", Scopes: []string{"x", `"`}}
		rule := func(*http.Request) error { return shared }
		opts := newOptions()
		opts.Realm = "other"
		for range 2 {
			for realm, m := range map[string]*jwthttp.Middleware{"restricted": mustNew[testClaims](t, newOptions()), "other": mustNew[testClaims](t, opts)} {
				if got := serve(m.Require(rule), newRequest(withBearer(goodToken(nil)))).Header().Get("WWW-Authenticate"); !strings.Contains(got, `realm="`+realm+`"`) {
					t.Errorf("challenge %q, want realm %q", got, realm)
				}
			}
		}
		if len(shared.Scopes) != 2 || shared.Scopes[1] != `"` || shared.Reason != "" {
			t.Errorf("the rule's Error was changed: %v", shared)
		}
		_, err = m.Require(func(*http.Request) error { return fmt.Errorf("tenant 7: %w", shared) }).Authenticate(newRequest(scoped("a")))
		if !strings.Contains(err.Error(), "tenant 7") {
			t.Errorf("the rule's words are lost: %v", err)
		}
	})
}

func TestRules(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	custom := &jwthttp.Error{Status: 451, Code: "legal", Reason: "legal", Err: errors.New("not here")}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"content", nil, admitted},
		{"any error", errors.New("secret detail"), "403 forbidden"},
		{"an Error", custom, "451 legal legal"},
		{"a wrapped Error", fmt.Errorf("rule: %w", custom), "451 legal legal"},
		{"a nil *Error, the classic mistake", (*jwthttp.Error)(nil), "403 forbidden"},
		{"an Error without a status", &jwthttp.Error{}, "403 forbidden"},
		{"an Error that looks like a success", &jwthttp.Error{Status: 200}, "403 forbidden"},
		{"an Error of 401", &jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonClaims}, "401 invalid_token claims"},
		{"an Error of a scope", &jwthttp.Error{Status: 403, Code: "insufficient_scope", Reason: jwthttp.ReasonScope, Scopes: []string{"x"}}, "403 insufficient_scope scope"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			d := m.Require(func(*http.Request) error { return tt.err })
			checkVerdict(t, d, newRequest(withBearer(goodToken(nil))), tt.want)
			if body := serve(d, newRequest(withBearer(goodToken(nil)))).Body.String(); strings.Contains(body, "detail") {
				t.Errorf("the rule's text reached the client: %s", body)
			}
		})
	}
	if custom.Status != 451 || fmt.Sprintf("%+v", *custom) != fmt.Sprintf("%+v", jwthttp.Error{Status: 451, Code: "legal", Reason: "legal", Err: custom.Err}) {
		t.Errorf("the rule's own Error was changed: %+v", *custom)
	}
}

func TestRulesSeeClaimsAndRunInOrderAfterScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		note := func(name string, err error) func(*http.Request) error {
			return func(r *http.Request) error {
				c, _ := jwthttp.ClaimsFromContext[testClaims](r.Context())
				token, _ := jwthttp.TokenFromContext(r.Context())
				log = append(log, name+" "+c.Role+" "+token.Subject)
				return err
			}
		}
		m := mustNew[testClaims](t, newOptions()).Require(note("first", nil)).RequireScopes("a").Require(note("second", errors.New("no"))).Require(note("third", nil))
		if got := verdict(m, newRequest(scoped("b"))); got != "403 insufficient_scope scope" || log != nil {
			t.Errorf("%q, rules ran: %q", got, log)
		}
		if got := verdict(m, newRequest(scoped("a"))); got != "403 forbidden" {
			t.Errorf("%q", got)
		}
		if diff := cmp.Diff([]string{"first editor alice", "second editor alice"}, log); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
	})
}

// counting counts what one family does.
type counting struct {
	extracted, revocations int
	events                 []string
}

func (c *counting) newOptions() jwthttp.Options {
	opts := newOptions()
	bearer := jwthttp.FromHeader("Authorization", "Bearer")
	opts.Extractor = func(r *http.Request) (jwthttp.Credential, error) { c.extracted++; return withBearer(r) }
	opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { c.revocations++; return false, nil }
	opts.Observer = func(_ *http.Request, e jwthttp.Event) {
		v := admitted
		if e.Err != nil {
			v = verdictOf(e.Err)
		}
		c.events = append(c.events, v)
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

func TestAHandlerInsideOneOfItsFamilyAuthenticatesOnce(t *testing.T) {
	type key struct{}
	router := func(next http.Handler) http.Handler { // as routers do between the two
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "route")))
		})
	}
	for _, tt := range []struct {
		name    string
		request func(*http.Request)
		outer   func(*jwthttp.Middleware) *jwthttp.Middleware
		inner   func(*jwthttp.Middleware) *jwthttp.Middleware
		events  []string
		asked   int
	}{
		{"both content", scoped("a"), plain, withScope, []string{admitted, admitted}, 1},
		{"inner lacks its scope", scoped("b"), plain, withScope, []string{admitted, "403 insufficient_scope scope"}, 1},
		{"outer refuses", withBearer("x"), plain, withScope, []string{badToken}, 0},
		{"no token, outer optional, inner not", func(*http.Request) {}, optional, plain, []string{admitted, missing}, 0},
		{"no token, outer optional, inner scoped", func(*http.Request) {}, optional, withScope, []string{admitted, missing}, 0},
		{"no token, both optional", func(*http.Request) {}, optional, optional, []string{admitted, admitted}, 0},
		{"inner optional changes nothing", func(*http.Request) {}, plain, optional, []string{missing}, 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var c counting
			m := mustNew[testClaims](t, c.options())
			res := nest(newRequest(tt.request), tt.outer(m).Handler, router, tt.inner(m).Handler)
			if diff := cmp.Diff(tt.events, c.events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if c.extracted != 1 || c.revocations != tt.asked {
				t.Errorf("%d extractions, %d revocation checks", c.extracted, c.revocations)
			}
			if last := tt.events[len(tt.events)-1]; (res.inner != nil) != (last == admitted) {
				t.Errorf("handler called: %v", res.inner != nil)
			}
			if res.inner != nil && res.inner.Context().Value(key{}) != "route" {
				t.Error("the inner handler lost what the router put into the context")
			}
		})
	}
}

func plain(m *jwthttp.Middleware) *jwthttp.Middleware     { return m }
func optional(m *jwthttp.Middleware) *jwthttp.Middleware  { return m.Optional() }
func withScope(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a") }

func TestAuthenticateInsideHandlerAuthenticatesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counting
		m := mustNew[testClaims](t, c.options())
		res := serve(m, newRequest(scoped("a")))
		if got := verdict(m.RequireScopes("a"), res.inner); got != admitted || c.extracted != 1 || c.revocations != 1 {
			t.Errorf("%q after %d extractions and %d revocation checks", got, c.extracted, c.revocations)
		}
	})
}

// Claims made for tests, or by another family, are no authentication.
func TestOnlyItsOwnFamilysAdmissionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := newIssuer()
		other.Name = "https://other.example"
		a, b := mustNew[testClaims](t, newOptions()), mustNew[testClaims](t, newOptions(other))
		res := nest(newRequest(withBearer(goodToken(nil))), a.Handler, b.Handler)
		if res.Code != 401 || res.inner != nil {
			t.Errorf("status %d", res.Code)
		}
	})
}

func TestFamiliesInsideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type service struct{ testClaims }
		opts := newOptions()
		opts.Extractor = jwthttp.FromHeader("X-Service", "")
		user, svc := mustNew[testClaims](t, newOptions()), mustNew[service](t, opts)
		both := newRequest(withBearer(goodToken(map[string]any{"sub": "user", "scope": "a"})), withField("X-Service", goodToken(map[string]any{"sub": "service"})))

		ctx := nest(both, user.Handler, svc.Handler).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "service" {
			t.Errorf("the nearest token is of %q", token.Subject)
		}
		u, ok := jwthttp.ClaimsFromContext[testClaims](ctx)
		s, ok2 := jwthttp.ClaimsFromContext[service](ctx)
		if !ok || !ok2 || u.Subject != "user" || s.Subject != "service" {
			t.Errorf("claims %v (%v), %v (%v)", u, ok, s, ok2)
		}

		// The first family again, innermost: its token is the nearest then, without a second look.
		ctx = nest(both, user.Handler, svc.Handler, user.RequireScopes("a").Handler).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "user" {
			t.Errorf("the nearest token is of %q", token.Subject)
		}

		// An anonymous admission hides who came in further out.
		r := newRequest(withBearer(goodToken(nil)))
		ctx = nest(r, user.Handler, svc.Optional().Handler).inner.Context()
		if _, ok := jwthttp.TokenFromContext(ctx); ok {
			t.Error("the outer Token is visible")
		}
		if _, ok := jwthttp.ClaimsFromContext[testClaims](ctx); ok {
			t.Error("the outer claims are visible")
		}
		if got := nest(r, user.Handler, svc.Optional().Handler, user.Handler); got.inner == nil {
			t.Error("the outer family's admission is lost")
		}
	})
}

// Rule 29.
func TestEachRouteJudgesTheSameTokenByItsOwnRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, newOptions())
		mux := http.NewServeMux()
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		mux.Handle("GET /read", m.RequireScopes("read").Handler(ok))
		mux.Handle("GET /write", m.RequireScopes("write").Handler(ok))
		mux.Handle("GET /tenant/{id}", m.Require(func(r *http.Request) error {
			if c, _ := jwthttp.ClaimsFromContext[testClaims](r.Context()); c.Subject != r.PathValue("id") {
				return errors.New("another tenant")
			}
			return nil
		}).Handler(ok))
		for path, want := range map[string]int{"/read": 200, "/write": 403, "/tenant/alice": 200, "/tenant/bob": 403} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			scoped("read")(r)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s: status %d, want %d", path, w.Code, want)
			}
		}
	})
}

func TestQueryTokensWorkInNestedHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromQuery("t")
		m := mustNew[testClaims](t, opts)
		res := nest(newRequest(withQuery("a=1&t="+goodToken(map[string]any{"scope": "a"}))), m.Handler, m.RequireScopes("a").Handler)
		if res.inner == nil || res.inner.URL.RawQuery != "a=1" {
			t.Errorf("status %d", res.Code)
		}
	})
}

func TestClaimsAndTokenAreTheRequestsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[jwt.MapClaims](t, newOptions())
		r := newRequest(scoped("a"))
		for range 2 {
			ctx := serve(m, r.Clone(context.Background())).inner.Context()
			c, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](ctx)
			token, _ := jwthttp.TokenFromContext(ctx)
			if c["role"] != "editor" || token.Scopes[0] != "a" || token.Audience[0] != audienceName {
				t.Errorf("claims %v, token %v", c, token)
			}
			c["role"], token.Scopes[0], token.Audience[0] = "changed", "changed", "changed"
			if again, _ := jwthttp.TokenFromContext(ctx); again.Scopes[0] != "a" {
				t.Error("a changed Token reaches others of the same request")
			}
		}
	})
}

func TestHookAndObserverGetCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
			token.Subject, token.Scopes[0] = "changed", "changed"
			return false, nil
		}
		opts.Observer = func(_ *http.Request, e jwthttp.Event) {
			if e.Token.Subject != "alice" || e.Token.Scopes[0] != "a" {
				t.Errorf("observer saw %v", e.Token)
			}
			e.Token.Subject, e.Token.Scopes[0] = "changed", "changed"
		}
		ctx := serve(mustNew[testClaims](t, opts).RequireScopes("a"), newRequest(scoped("a"))).inner.Context()
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != "alice" || token.Scopes[0] != "a" {
			t.Errorf("handler saw %v", token)
		}
	})
}

func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		name     string
		request  func(*http.Request)
		want     string
		verified bool
	}{
		{"admitted", scoped("a"), admitted, true},
		{"no token", func(*http.Request) {}, missing, false},
		{"a forged token", withBearer(altered(goodToken(nil))), invalid + "signature", false},
		{"an expired token", withBearer(goodToken(map[string]any{"exp": 1})), invalid + "expired", false},
		{"a bound token", withBearer(goodToken(map[string]any{"cnf": 1})), invalid + "binding", true},
		{"claims that do not decode", withBearer(goodToken(map[string]any{"role": 1})), invalid + "claims", true},
		{"a revoked token", withBearer(goodToken(map[string]any{"jti": "revoked"})), invalid + "revoked", true},
		{"a missing scope", scoped("b"), "403 insufficient_scope scope", true},
		{"a rule", withBearer(goodToken(map[string]any{"scope": "a", "sub": "bob"})), "403 forbidden", true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var events []jwthttp.Event
			opts := newOptions()
			opts.Observer = func(_ *http.Request, e jwthttp.Event) { events = append(events, e) }
			opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
				time.Sleep(time.Millisecond)
				return token.ID == "revoked", nil
			}
			m := mustNew[testClaims](t, opts).RequireScopes("a").Require(func(r *http.Request) error {
				if token, _ := jwthttp.TokenFromContext(r.Context()); token.Subject != "alice" {
					return errors.New("not alice")
				}
				return nil
			})
			serve(m, newRequest(tt.request))
			_, err := m.Authenticate(newRequest(tt.request))
			if len(events) != 2 {
				t.Fatalf("%d events from Handler and Authenticate", len(events))
			}
			for i, e := range events {
				seenBefore := i == 1 && tt.verified && !strings.Contains(tt.want, "binding") && !strings.Contains(tt.want, "claims")
				got := admitted
				if e.Err != nil {
					got = verdictOf(e.Err)
				}
				if got != tt.want || (e.Token != nil) != tt.verified || e.Cached != seenBefore || e.Unchecked {
					t.Errorf("event %q with token %v, cached %v, unchecked %v", got, e.Token, e.Cached, e.Unchecked)
				}
			}
			if err != nil && !errors.Is(err, events[1].Err) {
				t.Errorf("Authenticate returned %v, the event has %v", err, events[1].Err)
			}
			if tt.want == admitted && events[0].Took != time.Millisecond {
				t.Errorf("took %v", events[0].Took)
			}
		})
	}
}

func TestARefusedRequestCarriesNoClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.ErrorHandler = func(_ http.ResponseWriter, r *http.Request, _ *jwthttp.Error) {
			if _, ok := jwthttp.ClaimsFromContext[testClaims](r.Context()); ok {
				t.Error("ErrorHandler got claims")
			}
		}
		opts.Observer = func(r *http.Request, _ jwthttp.Event) {
			if _, ok := jwthttp.ClaimsFromContext[testClaims](r.Context()); ok {
				t.Error("Observer got claims")
			}
		}
		m := mustNew[testClaims](t, opts).RequireScopes("a")
		serve(m, newRequest(scoped("b")))
		serve(m.Require(func(*http.Request) error { return errors.New("no") }), newRequest(scoped("a")))
		r, err := m.Authenticate(newRequest(scoped("b")))
		if _, ok := jwthttp.ClaimsFromContext[testClaims](r.Context()); err == nil || ok {
			t.Errorf("refused request with claims (%v)", err)
		}
	})
}

// A method that changes between the outer and the inner Handler does not get
// around the guard.
func TestTheGuardIsAskedInNestedHandlersToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromCookie("c")
		m := mustNew[testClaims](t, opts)
		override := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r = r.Clone(r.Context())
				r.Method = http.MethodDelete
				next.ServeHTTP(w, r)
			})
		}
		r := newRequest(withField("Cookie", "c="+goodToken(nil)), withField("Sec-Fetch-Site", "cross-site"))
		if res := nest(r, m.Handler, override, m.Handler); res.inner != nil || res.Code != 403 {
			t.Errorf("status %d", res.Code)
		}
	})
}

// Rule 46, and what an ErrorHandler may do.
func TestErrorHandlers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(http.ResponseWriter, *http.Request, *jwthttp.Error)
		status  int
		body    string
	}{
		{"silent", func(http.ResponseWriter, *http.Request, *jwthttp.Error) {}, 401, ""},
		{"a body without a status", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) { _, _ = io.WriteString(w, "no") }, 401, "no"},
		{"a flush without a status", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, 401, ""},
		{"an early hint", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) { w.WriteHeader(http.StatusEarlyHints) }, 401, ""},
		{"a hijacked connection", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 499 Own\r\nWww-Authenticate: Bearer realm=\"restricted\"\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}, 499, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request, _ *jwthttp.Error) {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}, 303, "<a href=\"/login\">See Other</a>.\n\n"},
		{"WriteError", func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) { jwthttp.WriteError(w, e) }, 401, `{"error":"missing","error_description":"this resource needs a token"}` + "\n"},
		{"the features of the ResponseWriter", func(w http.ResponseWriter, _ *http.Request, _ *jwthttp.Error) {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				panic(err)
			}
		}, 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.ErrorHandler = tt.handler
			var serverLog bytes.Buffer
			defer func() {
				if serverLog.Len() > 0 {
					t.Errorf("the server complains: %s", serverLog.String())
				}
			}()
			s := httptest.NewUnstartedServer(mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("handler called") })))
			s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&serverLog, nil), slog.LevelError)
			s.Start()
			defer s.Close()
			client := s.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			res, err := client.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != tt.status || string(body) != tt.body {
				t.Errorf("status %d with %q", res.StatusCode, body)
			}
			if got := res.Header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != `Bearer realm="restricted"` {
				t.Errorf("challenge %q", got)
			}
		})
	}
}

// Rule 44: the ResponseWriter is the server's own.
func TestTheResponseWriterIsHandedOnAsItIs(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	token := mustSign(t, jwt.SigningMethodHS256, secret, jwt.RegisteredClaims{
		Issuer: issuerName, Audience: jwt.ClaimStrings{audienceName}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	})
	call := func(t *testing.T, h http.HandlerFunc, upgrade bool) (string, error) {
		s := httptest.NewServer(m.Handler(h))
		defer s.Close()
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		extra := ""
		if upgrade {
			extra = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
		}
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nX-Kept: v\r\n%sContent-Length: 4\r\n\r\nbody", token, extra)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(b)), err
	}
	t.Run("Flusher, ResponseController, body and headers", func(t *testing.T) {
		got, err := call(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %v", body, r.Header.Get("X-Kept"), http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
			w.(http.Flusher).Flush()
		}, false)
		if got != "200 body v <nil>" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("Hijacker, as WebSocket libraries use it", func(t *testing.T) {
		got, err := call(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nok")
		}, true)
		if got != "299 ok" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("http.ErrAbortHandler", func(t *testing.T) {
		if got, err := call(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false); err == nil {
			t.Errorf("answered %q", got)
		}
	})
}

func TestTheOriginalRequestIsUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRequest(withBearer(goodToken(nil)))
		before := r.Clone(r.Context())
		inner := serve(mustNew[testClaims](t, newOptions()), r).inner
		if !reflect.DeepEqual(r.Header, before.Header) || r.Context() != before.Context() || *r.URL != *before.URL {
			t.Error("the original request was changed")
		}
		if inner.Header.Get("Authorization") == "" {
			t.Error("the inner request lost its header")
		}
	})
}

// Rule 47: whatever prints one of our values, the token is not in it.
func TestTheRawTokenIsNeverPrinted(t *testing.T) {
	compact := goodToken(map[string]any{"scope": "a"})
	for _, secretText := range []string{compact, strings.Split(compact, ".")[1], strings.Split(compact, ".")[2]} {
		bubble(t, secretText[:8], func(t *testing.T) {
			opts := newOptions()
			var event jwthttp.Event
			opts.Observer = func(_ *http.Request, e jwthttp.Event) { event = e }
			m := mustNew[testClaims](t, opts)
			ctx := serve(m, newRequest(withBearer(compact))).inner.Context()
			token, _ := jwthttp.TokenFromContext(ctx)
			credential, err := jwthttp.FromHeader("Authorization", "Bearer")(newRequest(withBearer(compact)))
			if err != nil || credential.Token != compact {
				t.Fatalf("extraction: %v", err)
			}
			claims, _ := jwthttp.ClaimsFromContext[testClaims](ctx)
			derived := context.WithValue(ctx, http.ServerContextKey, "x")
			values := []any{token, *token, credential, &credential, event, &event, m, *m, ctx, derived, claims, opts}
			for _, change := range []map[string]any{{"exp": 1}, {"aud": "x"}, {"iss": "x"}, {"role": 1}, {"cnf": 1}} {
				_, err := m.Authenticate(newRequest(withBearer(goodToken(change))))
				values = append(values, err)
			}
			_, err = m.Authenticate(newRequest(withBearer(altered(compact))))
			values = append(values, err, []any{token}, map[string]any{"t": token}, struct{ T any }{credential}, struct{ t *jwthttp.Token }{token})
			for _, v := range values {
				var logged bytes.Buffer
				slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "v", v)
				slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", v)
				asJSON, _ := json.Marshal(v)
				for _, text := range []string{
					fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v),
					fmt.Sprintf("%x", v), fmt.Sprintf("%d", v), string(asJSON), logged.String(),
				} {
					if strings.Contains(text, secretText) || strings.Contains(text, fmt.Sprintf("%x", secretText)) {
						t.Errorf("%T shows the token: %s", v, text)
					}
				}
			}
		})
	}
}

func TestPrintedTokensSayWhoseTheyAre(t *testing.T) {
	token := &jwthttp.Token{Issuer: "i", Subject: "s", ID: "1"}
	const want = `token of "i" for "s" (jti "1")`
	if got := fmt.Sprintf("%v %#v", token, *token); got != want+" "+want {
		t.Errorf("printed as %q", got)
	}
	c := jwthttp.Credential{Token: "secret", Name: "c", Source: jwthttp.SourceCookie}
	if got := fmt.Sprintf("%v %#v", c, &c); got != `credential from cookie "c" credential from cookie "c"` {
		t.Errorf("printed as %q", got)
	}
}

// No exported struct can be written without its field names, so that fields can be added.
func TestNoExportedStructHasUnkeyedLiterals(t *testing.T) {
	for _, v := range []any{
		jwthttp.Options{}, jwthttp.Issuer{}, jwthttp.Credential{}, jwthttp.Token{}, jwthttp.Error{},
		jwthttp.Event{}, jwthttp.Middleware{},
		jwthttp.AuthenticationLevel{}, jwthttp.ResourceMetadata{}, jwthttp.JWKSOptions{},
	} {
		typ := reflect.TypeOf(v)
		hidden := false
		for i := range typ.NumField() {
			hidden = hidden || !typ.Field(i).IsExported()
		}
		if !hidden {
			t.Errorf("%v can be written without field names", typ)
		}
	}
}
