package jwthttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

const (
	noScope = "403 insufficient_scope scope"
	weak    = "401 insufficient_user_authentication authentication"
)

func scoped(scope string) func(*http.Request) {
	return withBearer(goodToken(map[string]any{"scope": scope}))
}

func fine(*http.Request) error { return nil }

func refusing(err error) func(*http.Request) error {
	return func(*http.Request) error { return err }
}

// Rule 10
func TestMiddleware_Optional(t *testing.T) {
	m := mustNew[testClaims](t, newOptions()).Optional()
	for _, tt := range []extraction{
		one("nothing", admitted),
		one("a foreign scheme", admitted, auth("Basic dTpw")),
		one("a good token", admitted, auth("Bearer <token>")),
		one("an expired token", "401 invalid_token expired", withBearer(goodToken(map[string]any{"exp": 1}))),
		one("an empty bearer", badField, auth("Bearer")),
		one("two fields", twoTokens, auth("Basic dTpw", "Basic dTpw")),
		one("garbage", badToken, withBearer("garbage")),
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			fillPlaceholders(r, goodToken(nil))
			checkVerdict(t, m, r, tt.want)
		})
	}
	inner := serve(m, newRequest()).inner
	if _, ok := jwthttp.ClaimsFromContext[testClaims](inner.Context()); ok {
		t.Error("claims without a token")
	}
	if _, ok := jwthttp.TokenFromContext(inner.Context()); ok {
		t.Error("a Token without a token")
	}
}

func TestMiddleware_AllowAnonymous(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"))
	var event jwthttp.Event
	opts.Observer = func(_ context.Context, e jwthttp.Event) { event = e }
	opts.Revoked = func(_ context.Context, token *jwthttp.Token) (bool, error) {
		if token.ID == "unknown" {
			return false, errors.New("store is down")
		}
		return token.ID == "revoked", nil
	}
	m := mustNew[testClaims](t, opts).AllowAnonymous()
	crossSite := []func(*http.Request){withField("Cookie", "c=<token>"), withMethod("POST"), withField("Sec-Fetch-Site", "cross-site")}
	for _, tt := range []struct {
		extraction // want is what Event.Err says, or "" if it is nil
		subject    string
	}{
		{one("a good token", "", auth("Bearer <token>")), "alice"},
		{one("no token", ""), ""},
		{one("a foreign scheme", "", auth("Basic dTpw")), ""},
		{one("garbage", badToken, auth("Bearer garbage")), ""},
		{one("an empty bearer", badField, auth("Bearer")), ""},
		{one("two fields", twoTokens, auth("Bearer <token>", "Bearer <token>")), ""},
		{one("an expired token", "401 invalid_token expired", withBearer(goodToken(map[string]any{"exp": 1}))), ""},
		{one("a forged token", "401 invalid_token signature", withBearer(altered(goodToken(nil)))), ""},
		{one("a revoked token", "401 invalid_token revoked", withBearer(goodToken(map[string]any{"jti": "revoked"}))), ""},
		{one("a token that cannot be checked", "503 revocation_unavailable", withBearer(goodToken(map[string]any{"jti": "unknown"}))), ""},
		{one("claims that do not decode", "401 invalid_token claims", withBearer(goodToken(map[string]any{"role": 1}))), ""},
		{one("a cookie of another site's POST", "403 cross_origin", crossSite...), ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			fillPlaceholders(r, goodToken(nil))
			res := serve(m, r)
			if res.inner == nil || res.Code != http.StatusOK || len(res.Header()) != 0 {
				t.Fatalf("status %d, headers %v", res.Code, res.Header())
			}
			claims, _ := jwthttp.ClaimsFromContext[testClaims](res.inner.Context())
			token, ok := jwthttp.TokenFromContext(res.inner.Context())
			if claims.Subject != tt.subject || ok != (tt.subject != "") {
				t.Errorf("claims of %q, token %v", claims.Subject, token)
			}
			got := ""
			if event.Err != nil {
				got = verdictOf(event.Err)
			}
			if got != tt.want || !event.Admitted || event.Nested {
				t.Errorf("event %v: %q, want %q", event, got, tt.want)
			}
			if tt.want != "" { // the same request, where a token is required
				if got := verdict(m.Require(fine), r); got != tt.want {
					t.Errorf("with a requirement: %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// A requirement needs a token, in any order with Optional and AllowAnonymous.
func TestMiddleware_requirements_order(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	type derive = func(*jwthttp.Middleware) *jwthttp.Middleware
	for _, requirement := range []struct {
		name string
		add  derive
	}{
		{"RequireScopes", func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireScopes("a") }},
		{"RequireAnyScope", func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireAnyScope("a") }},
		{"RequireACR", func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireACR("gold") }},
		{"RequireAuthAge", func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.RequireAuthAge(time.Hour) }},
		{"Require", func(m *jwthttp.Middleware) *jwthttp.Middleware { return m.Require(fine) }},
	} {
		for _, admission := range []struct {
			name string
			add  derive
		}{{"Optional", (*jwthttp.Middleware).Optional}, {"AllowAnonymous", (*jwthttp.Middleware).AllowAnonymous}} {
			bubble(t, requirement.name+" and "+admission.name, func(t *testing.T) {
				for _, d := range []*jwthttp.Middleware{requirement.add(admission.add(m)), admission.add(requirement.add(m))} {
					checkVerdict(t, d, newRequest(), missing)
					checkVerdict(t, d, newRequest(withBearer("garbage")), badToken)
					checkVerdict(t, d, newRequest(auth("Bearer")), badField)
				}
			})
		}
	}
	checkVerdict(t, m.Optional(), newRequest(), admitted)
	checkVerdict(t, m.AllowAnonymous().Optional(), newRequest(withBearer("garbage")), admitted)
	checkVerdict(t, m, newRequest(), missing) // deriving does not change the original
}

func TestMiddleware_RequireScopes(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for _, tt := range []struct {
		name  string
		m     *jwthttp.Middleware
		scope string
		want  string
	}{
		{"all there", m.RequireScopes("a", "b"), "b a c", admitted},
		{"one missing", m.RequireScopes("a", "b"), "a c", noScope},
		{"no scope", m.RequireScopes("a"), "", noScope},
		{"another case", m.RequireScopes("a"), "A", noScope},
		{"a prefix", m.RequireScopes("orders"), "orders:read", noScope},
		{"one of them", m.RequireAnyScope("a", "b"), "b", admitted},
		{"another one", m.RequireAnyScope("a", "b"), "c", noScope},
		{"requirements add up", m.RequireScopes("a").RequireScopes("b"), "a", noScope},
		{"requirements add up and are met", m.RequireScopes("a").RequireScopes("b"), "a b", admitted},
		{"all and any", m.RequireScopes("a").RequireAnyScope("b", "c"), "a c", admitted},
		{"all but not any", m.RequireScopes("a").RequireAnyScope("b", "c"), "a", noScope},
		{"any but not all", m.RequireAnyScope("b", "c").RequireScopes("a"), "b", noScope},
		{"optional", m.Optional().RequireScopes("a"), "b", noScope},
		{"anonymous", m.RequireScopes("a").AllowAnonymous(), "b", noScope},
	} {
		bubble(t, tt.name, func(t *testing.T) { checkVerdict(t, tt.m, newRequest(scoped(tt.scope)), tt.want) })
	}
}

// An array of scopes is compared element by element.
func TestMiddleware_RequireScopes_array(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for _, tt := range []struct{ name, claims, want string }{
		{"all there", `{"scope":["b","a"]}`, admitted},
		{"all there, in scp", `{"scp":["a","b"]}`, admitted},
		{"all there, in scp after null", `{"scope":null,"scp":["a","b"]}`, admitted},
		{"one missing", `{"scope":["a"]}`, noScope},
		{"none", `{"scope":[]}`, noScope},
		{"none, although scp has them", `{"scope":[],"scp":["a","b"]}`, noScope},
		{"in one element", `{"scope":["a b"]}`, noScope},
		{"empty elements", `{"scope":["",""]}`, noScope},
		{"with spaces around", `{"scope":[" a","b "]}`, noScope},
		{"by case", `{"scope":["A","B"]}`, noScope},
		{"an array as text", `{"scope":"[\"a\",\"b\"]"}`, noScope},
		{"commas", `{"scope":"a,b"}`, noScope},
		{"nested", `{"scope":[["a","b"]]}`, invalid + "malformed"},
		{"an object", `{"scope":{"a":true,"b":true}}`, invalid + "malformed"},
		{"null in it", `{"scope":["a","b",null]}`, invalid + "malformed"},
		{"a number in it", `{"scp":["a","b",1]}`, invalid + "malformed"},
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(tt.claims), &claims); err != nil {
			t.Fatal(err)
		}
		for name, v := range claims {
			if v == nil { // goodToken leaves it out
				claims[name] = json.RawMessage("null")
			}
		}
		bubble(t, tt.name, func(t *testing.T) {
			checkVerdict(t, m.RequireScopes("a", "b"), newRequest(withBearer(goodToken(claims))), tt.want)
		})
	}
}

// Deriving changes neither the original nor other derived values.
func TestMiddleware_derived(t *testing.T) {
	bubble(t, "siblings", func(t *testing.T) {
		base := mustNew[testClaims](t, newOptions()).RequireScopes("a").Require(fine)
		b := base.RequireScopes("b").Require(refusing(errors.New("b")))
		c := base.RequireScopes("c").Require(fine)
		checkVerdict(t, b, newRequest(scoped("a c")), noScope)
		checkVerdict(t, c, newRequest(scoped("a c")), admitted)
		checkVerdict(t, b, newRequest(scoped("a b")), "403 forbidden")
		checkVerdict(t, base, newRequest(scoped("a")), admitted)
	})
	bubble(t, "long chains", func(t *testing.T) {
		base := mustNew[testClaims](t, newOptions())
		for range 3 { // so that there is room after the last requirement
			base = base.RequireScopes("a").Require(fine)
		}
		bad := base.RequireScopes("x").Require(refusing(errors.New("no")))
		good := base.RequireScopes("a").Require(fine)
		checkVerdict(t, good, newRequest(scoped("a")), admitted)
		checkVerdict(t, bad, newRequest(scoped("a")), noScope)
		checkVerdict(t, bad, newRequest(scoped("a x")), "403 forbidden")
	})
	bubble(t, "the caller's slices", func(t *testing.T) {
		scopes, values := []string{"a"}, []string{"gold"}
		m := mustNew[testClaims](t, newOptions())
		all, anyOf, acr := m.RequireScopes(scopes...), m.RequireAnyScope(scopes...), m.RequireACR(values...)
		scopes[0], values[0] = "b", "bronze"
		checkVerdict(t, all, newRequest(scoped("a")), admitted)
		checkVerdict(t, anyOf, newRequest(scoped("a")), admitted)
		checkVerdict(t, acr, newRequest(withBearer(goodToken(map[string]any{"acr": "gold"}))), admitted)
	})
}

func TestMiddleware_Require(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	custom := &jwthttp.Error{Status: 451, Code: "legal", Reason: "legal", Err: errors.New("not here")}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, admitted},
		{"any error", errors.New("secret detail"), "403 forbidden"},
		{"an Error", custom, "451 legal legal"},
		{"a wrapped Error", fmt.Errorf("rule: %w", custom), "451 legal legal"},
		{"a joined Error", errors.Join(errors.New("secret detail"), custom), "451 legal legal"},
		{"a nil *Error", (*jwthttp.Error)(nil), "403 forbidden"},
		{"a wrapped nil *Error", fmt.Errorf("rule: %w", (*jwthttp.Error)(nil)), "403 forbidden"},
		{"an Error without a status", &jwthttp.Error{}, "403 forbidden"},
		{"an Error that looks like a success", &jwthttp.Error{Status: 200}, "403 forbidden"},
		{"an Error that looks like a redirect", &jwthttp.Error{Status: 302}, "403 forbidden"},
		{"an Error just below all refusals", &jwthttp.Error{Status: 399}, "403 forbidden"},
		{"an Error beyond all statuses", &jwthttp.Error{Status: 600}, "403 forbidden"},
		{"an Error of 401", &jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonClaims}, "401 invalid_token claims"},
		{"an Error of a scope", &jwthttp.Error{Status: 403, Code: "insufficient_scope", Reason: jwthttp.ReasonScope, Scopes: []string{"x"}}, noScope},
		{"the code of a scope alone", &jwthttp.Error{Code: "insufficient_scope", Scopes: []string{"a"}}, noScope},
		{"the code of an authentication alone", &jwthttp.Error{Code: "insufficient_user_authentication"}, weak},
		{"the code of a proof alone", &jwthttp.Error{Code: "invalid_dpop_proof"}, "401 invalid_dpop_proof forbidden"},
		{"the code of a nonce alone", &jwthttp.Error{Code: "use_dpop_nonce"}, "401 use_dpop_nonce forbidden"},
		{"the code of a request alone", &jwthttp.Error{Code: "invalid_request"}, "400 invalid_request forbidden"},
		{"ErrNoToken is no way to be a visitor", jwthttp.ErrNoToken, "403 forbidden"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			d := m.Require(refusing(tt.err))
			checkVerdict(t, d, newRequest(withBearer(goodToken(nil))), tt.want)
			if body := serve(d, newRequest(withBearer(goodToken(nil)))).Body.String(); strings.Contains(body, "detail") {
				t.Errorf("the rule's text reached the client: %s", body)
			}
			if _, err := d.Authenticate(newRequest(withBearer(goodToken(nil)))); err != nil {
				if !strings.HasPrefix(err.Error(), "jwthttp: ") || errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("error %q", err)
				}
			}
		})
	}
	if custom.Status != 451 || fmt.Sprintf("%+v", *custom) != fmt.Sprintf("%+v", jwthttp.Error{Status: 451, Code: "legal", Reason: "legal", Err: custom.Err}) {
		t.Errorf("the rule's Error was changed: %+v", *custom)
	}
}

// Rules see the claims, and run in order after everything else.
func TestMiddleware_Require_order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		note := func(name string, err error) func(*http.Request) error {
			return func(r *http.Request) error {
				c := jwthttp.MustClaims[testClaims](r.Context())
				token, _ := jwthttp.TokenFromContext(r.Context())
				log = append(log, name+" "+c.Role+" "+token.Subject)
				return err
			}
		}
		m := mustNew[testClaims](t, newOptions()).Require(note("first", nil)).RequireScopes("a").Require(note("second", errors.New("no"))).Require(note("third", nil))
		if got := verdict(m, newRequest(scoped("b"))); got != noScope || log != nil {
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

// An Error that a refusal has may be changed by its receiver, and one that a rule
// returns may be shared by many requests.
func TestMiddleware_Require_sharedErrors(t *testing.T) {
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

		shared := &jwthttp.Error{Status: 401, Code: "invalid_token", Scopes: []string{"x", `"`}}
		opts := newOptions()
		opts.Realm = "other"
		for range 2 {
			for _, tt := range []struct {
				realm string
				m     *jwthttp.Middleware
			}{{"restricted", mustNew[testClaims](t, newOptions())}, {"other", mustNew[testClaims](t, opts)}} {
				if got := serve(tt.m.Require(refusing(shared)), newRequest(withBearer(goodToken(nil)))).Header().Get("WWW-Authenticate"); !strings.Contains(got, `realm="`+tt.realm+`"`) {
					t.Errorf("challenge %q, want realm %q", got, tt.realm)
				}
			}
		}
		if len(shared.Scopes) != 2 || shared.Scopes[1] != `"` || shared.Reason != "" {
			t.Errorf("the rule's Error was changed: %v", shared)
		}
		_, err = m.Require(refusing(fmt.Errorf("tenant 7: %w", shared))).Authenticate(newRequest(scoped("a")))
		if !strings.Contains(err.Error(), "tenant 7") {
			t.Errorf("the text around the rule's Error is lost: %v", err)
		}
	})
}

func TestRule(t *testing.T) {
	called := 0
	isAlice := func(_ *http.Request, c testClaims) error {
		if called++; c.Subject != "alice" {
			return errors.New("not alice")
		}
		return nil
	}
	type otherClaims struct{ testClaims }
	ownAnswer := func(*http.Request, testClaims) error { return &jwthttp.Error{Status: 404, Reason: "hidden"} }
	m := mustNew[testClaims](t, newOptions())
	byService := newOptions()
	byService.Extractor = jwthttp.FromHeader("X-Service", "")
	service := mustNew[otherClaims](t, byService)
	for _, tt := range []struct {
		name    string
		outer   []*jwthttp.Middleware
		m       *jwthttp.Middleware
		subject string
		want    string
		called  int
	}{
		{"nil", nil, m.Require(jwthttp.Rule(isAlice)), "alice", admitted, 1},
		{"an error", nil, m.Require(jwthttp.Rule(isAlice)), "bob", "403 forbidden", 1},
		{"an Error", nil, m.Require(jwthttp.Rule(ownAnswer)), "alice", "404 hidden", 0},
		{"another type", nil, mustNew[otherClaims](t, newOptions()).Require(jwthttp.Rule(isAlice)), "alice", "500 misconfigured", 0},
		{"a pointer to the type", nil, mustNew[*testClaims](t, newOptions()).Require(jwthttp.Rule(isAlice)), "alice", "500 misconfigured", 0},
		{"the claims of another New outside", []*jwthttp.Middleware{m}, service.Require(jwthttp.Rule(isAlice)), "alice", "500 misconfigured", 0},
		{"nested", []*jwthttp.Middleware{m}, m.Require(jwthttp.Rule(isAlice)), "alice", admitted, 1},
		{"nested, with another New between", []*jwthttp.Middleware{m, service}, m.Require(jwthttp.Rule(isAlice)), "alice", admitted, 1},
		{"nested, with an anonymous one between", []*jwthttp.Middleware{m, service.AllowAnonymous()}, m.Require(jwthttp.Rule(isAlice)), "bob", "403 forbidden", 1},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			called = 0
			r := newRequest(withBearer(goodToken(map[string]any{"sub": tt.subject})), withField("X-Service", goodToken(nil)))
			for _, outer := range tt.outer {
				if r = serve(outer, r).inner; r == nil {
					t.Fatal("an outer Handler has refused the request")
				}
			}
			if got := verdict(tt.m, r); got != tt.want || called != tt.called {
				t.Errorf("verdict %q after %d calls, want %q after %d", got, called, tt.want, tt.called)
			}
		})
	}
	t.Run("without a Handler", func(t *testing.T) {
		if got := verdictOf(jwthttp.Rule(isAlice)(newRequest())); got != "500 misconfigured" {
			t.Errorf("verdict %q", got)
		}
	})
	bubble(t, "the claims that a test has put into the context", func(t *testing.T) {
		r := newRequest()
		r = r.WithContext(jwthttp.ContextWithClaims(r.Context(), testClaims{Role: "x"}))
		if err := jwthttp.Rule(func(_ *http.Request, c testClaims) error {
			if c.Role != "x" {
				t.Errorf("claims %v", c)
			}
			return nil
		})(r); err != nil {
			t.Error(err)
		}
	})
}

// RFC 9470 §3.
func TestMiddleware_RequireACR(t *testing.T) {
	opts := newOptions()
	opts.Leeway = 10 * time.Second
	m := mustNew[testClaims](t, opts)
	gold := m.RequireACR("gold", "silver")
	fresh := m.RequireAuthAge(5 * time.Minute)
	acr := func(v any) map[string]any { return map[string]any{"acr": v} }
	authTime := func(ago float64) map[string]any { return map[string]any{"auth_time": bubbleStart - ago} }
	for _, tt := range []struct {
		name   string
		m      *jwthttp.Middleware
		claims map[string]any
		want   string
	}{
		{"the preferred acr", gold, acr("gold"), admitted},
		{"another acr that suffices", gold, acr("silver"), admitted},
		{"an acr that does not suffice", gold, acr("bronze"), weak},
		{"no acr", gold, nil, weak},
		{"an empty acr", gold, acr(""), weak},
		{"an acr of another case", gold, acr("Gold"), weak},
		{"two in one acr", gold, acr("gold silver"), weak},
		{"an acr in an array", gold, acr([]string{"gold"}), weak},
		{"a null for acr", gold, acr(json.RawMessage("null")), weak},
		{"claims of the wrong type without a requirement", m, map[string]any{"acr": 1, "amr": "pwd", "auth_time": "2020-03-14T18:52:01.180Z"}, admitted},
		{"a second acr of another case", m, map[string]any{"acr": "bronze", "ACR": "gold"}, badToken},
		{"authenticated just now", fresh, authTime(0), admitted},
		{"authenticated just within", fresh, authTime(300), admitted},
		{"authenticated a moment too long ago: no leeway", fresh, authTime(300.5), weak},
		{"authenticated long ago, in a new token", fresh, map[string]any{"iat": bubbleStart, "auth_time": 1}, weak},
		{"no auth_time, in a new token", fresh, map[string]any{"iat": bubbleStart}, weak},
		{"an auth_time of zero", fresh, map[string]any{"auth_time": 0}, weak},
		{"an auth_time ahead, within the leeway", fresh, authTime(-10), admitted},
		{"an auth_time ahead, beyond the leeway", fresh, authTime(-11), weak},
		{"an auth_time as AD FS has it", fresh, map[string]any{"auth_time": time.Unix(bubbleStart, 0).UTC().Format(time.RFC3339)}, weak},
		{"an auth_time beyond all dates", fresh, map[string]any{"auth_time": 1e300}, weak},
		{"both, met", gold.RequireAuthAge(time.Hour), map[string]any{"acr": "gold", "auth_time": bubbleStart}, admitted},
		{"both, the age not met", gold.RequireAuthAge(time.Hour), acr("gold"), weak},
		{"both, the acr not met", gold.RequireAuthAge(time.Hour), authTime(0), weak},
		{"two lists intersect", gold.RequireACR("platinum", "silver"), acr("gold"), weak},
		{"two lists intersect, the value of the second alone", gold.RequireACR("platinum", "silver"), acr("platinum"), weak},
		{"two lists intersect, and are met", gold.RequireACR("platinum", "silver"), acr("silver"), admitted},
		{"the shortest age holds, first", fresh.RequireAuthAge(time.Hour), authTime(301), weak},
		{"the shortest age holds, last", m.RequireAuthAge(time.Hour).RequireAuthAge(time.Minute), authTime(61), weak},
		{"an acr keeps the age", fresh.RequireACR("gold"), map[string]any{"acr": "gold", "auth_time": 1}, weak},
		{"an age keeps the acr", gold.RequireAuthAge(time.Hour), map[string]any{"acr": "bronze", "auth_time": bubbleStart}, weak},
		{"optional", gold.Optional(), acr("bronze"), weak},
		{"anonymous", gold.AllowAnonymous(), acr("bronze"), weak},
		{"a bad token", gold, map[string]any{"exp": 1}, "401 invalid_token expired"},
		{"a weak authentication comes before a scope", gold.RequireScopes("a"), acr("bronze"), weak},
		{"a scope comes after it", gold.RequireScopes("a"), acr("gold"), noScope},
		{"a rule comes after it", gold.Require(refusing(errors.New("no"))), acr("bronze"), weak},
		{"deriving leaves the original alone", m, acr("bronze"), admitted},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			checkVerdict(t, tt.m, newRequest(withBearer(goodToken(tt.claims))), tt.want)
		})
	}
	bubble(t, "a cached token becomes too old", func(t *testing.T) {
		opts := opts
		opts.CacheSize = 8
		m := mustNew[testClaims](t, opts)
		fresh := m.RequireAuthAge(5 * time.Minute)
		r := newRequest(withBearer(goodToken(map[string]any{"auth_time": bubbleStart})))
		checkVerdict(t, fresh, r.Clone(t.Context()), admitted)
		time.Sleep(5*time.Minute + 1)
		checkVerdict(t, fresh, r.Clone(t.Context()), weak)
		checkVerdict(t, m, r, admitted)
	})
	bubble(t, "nested", func(t *testing.T) {
		res := nest(newRequest(withBearer(goodToken(acr("bronze")))), m.Handler, gold.Handler)
		if res.Code != 401 || res.inner != nil {
			t.Errorf("status %d", res.Code)
		}
	})
}

func TestMiddleware_RequireACR_challenge(t *testing.T) {
	opts := newOptions()
	opts.ResourceMetadataURL = "https://api.example/meta"
	m := mustNew[testClaims](t, opts)
	const begin = `Bearer realm="restricted", error="insufficient_user_authentication", error_description="another authentication of the user required"`
	const end = `, resource_metadata="https://api.example/meta"`
	both := m.RequireACR("b", "a").RequireAuthAge(time.Hour)
	for _, tt := range []struct {
		name   string
		m      *jwthttp.Middleware
		claims map[string]any
		want   string
	}{
		{"acr", m.RequireACR("b", "a"), nil, begin + `, acr_values="b a"` + end},
		{"age", m.RequireAuthAge(90 * time.Second), nil, begin + `, max_age="90"` + end},
		{"both, though one is met", both, map[string]any{"acr": "a"}, begin + `, acr_values="b a", max_age="3600"` + end},
		{"what several calls leave", both.RequireACR("c", "a").RequireAuthAge(time.Minute), nil, begin + `, acr_values="a", max_age="60"` + end},
		{"a scope is missing too", both.RequireScopes("x", "y"), map[string]any{"scope": "x"}, begin + `, acr_values="b a", max_age="3600", scope="x y"` + end},
		{"no scope is missing", both.RequireScopes("x"), map[string]any{"scope": "x"}, begin + `, acr_values="b a", max_age="3600"` + end},
		{"a rule's Error", m.Require(refusing(&jwthttp.Error{Status: 401, Code: "insufficient_user_authentication", Reason: jwthttp.ReasonAuthentication,
			ACRValues: []string{"x", "y z", `q"`}, MaxAge: 1500 * time.Millisecond})), nil, begin + `, acr_values="x", max_age="1"` + end},
		{"a rule's code alone", m.Require(refusing(&jwthttp.Error{Code: "insufficient_user_authentication", ACRValues: []string{"gold"}})), nil, begin + `, acr_values="gold"` + end},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			res := serve(tt.m, newRequest(withBearer(goodToken(tt.claims))))
			if diff := cmp.Diff([]string{tt.want}, res.Header()["Www-Authenticate"]); diff != "" || res.Code != 401 {
				t.Errorf("status %d, challenge (-want +got):\n%s", res.Code, diff)
			}
			checkChallengeSyntax(t, tt.want)
			if want := `{"error":"insufficient_user_authentication","error_description":"another authentication of the user required","reason":"authentication"}` + "\n"; res.Body.String() != want {
				t.Errorf("body %q", res.Body)
			}
		})
	}
	bubble(t, "a rule's other status", func(t *testing.T) {
		e := &jwthttp.Error{Status: 403, Code: "insufficient_user_authentication", MaxAge: time.Hour}
		res := serve(m.Require(refusing(e)), newRequest(withBearer(goodToken(nil))))
		if got := res.Header().Get("WWW-Authenticate"); res.Code != 403 || !strings.HasSuffix(got, `max_age="3600"`) {
			t.Errorf("status %d, challenge %q", res.Code, got)
		}
	})
	t.Run("an Error made by hand", func(t *testing.T) {
		w := httptest.NewRecorder()
		jwthttp.WriteError(w, &jwthttp.Error{Status: 401, Code: "insufficient_user_authentication", Reason: jwthttp.ReasonAuthentication, MaxAge: time.Minute})
		if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `, max_age="60"`) || strings.Contains(got, "acr_values") {
			t.Errorf("challenge %q", got)
		}
	})
}

// An ErrorHandler that sends browsers to a login page must know what to ask for,
// and may change what it gets.
func TestMiddleware_RequireACR_error(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var event jwthttp.Event
		opts := newOptions()
		opts.Observer = func(_ context.Context, e jwthttp.Event) { event = e }
		m := mustNew[testClaims](t, opts)
		strict := m.RequireACR("gold").RequireAuthAge(time.Minute).RequireScopes("a")
		for range 2 {
			_, err := strict.Authenticate(newRequest(withBearer(goodToken(map[string]any{"acr": "silver"}))))
			var e *jwthttp.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			if cmp.Diff(e.ACRValues, []string{"gold"}) != "" || e.MaxAge != time.Minute || cmp.Diff(e.Scopes, []string{"a"}) != "" {
				t.Errorf("%+v", e)
			}
			e.ACRValues[0], e.Scopes[0] = "changed", "changed"
		}
		if event.Token == nil || event.Token.ACR != "silver" || !strings.Contains(event.Err.Error(), `"acr" is "silver", want one of ["gold"]`) {
			t.Errorf("event %v", event)
		}
		serve(m.RequireAuthAge(time.Hour), newRequest(withBearer(goodToken(nil))))
		if text := event.Err.Error(); !strings.Contains(text, `"auth_time" is missing`) {
			t.Errorf("cause %q", text)
		}
		serve(m.RequireAuthAge(time.Hour), newRequest(withBearer(goodToken(map[string]any{"auth_time": bubbleStart - 3601}))))
		if text := event.Err.Error(); !strings.Contains(text, `"auth_time" is 1h0m1s ago, want at most 1h0m0s`) {
			t.Errorf("cause %q", text)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.MaxTokenSize = 1 << 20
		_, err := mustNew[testClaims](t, opts).RequireACR("gold").Authenticate(newRequest(withBearer(goodToken(map[string]any{"acr": strings.Repeat("x", 100_000)}))))
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%d bytes of cause", len(err.Error()))
		}
	})
}

func TestMiddleware_requirements_panics(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"RequireScopes without scopes", func() { m.RequireScopes() }},
		{"RequireScopes with an empty scope", func() { m.RequireScopes("") }},
		{"RequireScopes with two scopes in one text", func() { m.RequireScopes("a b") }},
		{"RequireAnyScope without scopes", func() { m.RequireAnyScope() }},
		{"RequireAnyScope with a double quote", func() { m.RequireAnyScope(`a"b`) }},
		{"RequireAnyScope with a byte above 0x7f", func() { m.RequireAnyScope("é") }},
		{"RequireACR without values", func() { m.RequireACR() }},
		{"RequireACR with an empty value", func() { m.RequireACR("a", "") }},
		{"RequireACR with two values in one text", func() { m.RequireACR("a b") }},
		{"RequireACR with a quote", func() { m.RequireACR(`a"b`) }},
		{"RequireACR with a line break", func() { m.RequireACR("a\nb") }},
		{"RequireACR twice without a common value", func() { m.RequireACR("a").RequireACR("b") }},
		{"RequireAuthAge of zero", func() { m.RequireAuthAge(0) }},
		{"RequireAuthAge of a negative age", func() { m.RequireAuthAge(-time.Second) }},
		{"RequireAuthAge of half a second", func() { m.RequireAuthAge(time.Second / 2) }},
		{"RequireAuthAge of eleven years", func() { m.RequireAuthAge(11 * 365 * 24 * time.Hour) }},
		{"Require of a nil rule", func() { m.Require(nil) }},
		{"Rule of a nil rule", func() { jwthttp.Rule[testClaims](nil) }},
		{"Handler of a nil handler", func() { m.Handler(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, name := panicOf(tt.f), strings.Fields(tt.name)[0]; !strings.HasPrefix(got, "jwthttp: "+name+": ") {
				t.Errorf("panic %q", got)
			}
		})
	}
}
