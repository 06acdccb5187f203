package jwthttp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

type level = jwthttp.AuthenticationLevel

// RFC 9470 §3.
func TestStepUp(t *testing.T) {
	const weak = "401 insufficient_user_authentication authentication"
	opts := newOptions()
	opts.Leeway = 10 * time.Second
	m := mustNew[testClaims](t, opts)
	gold := m.RequireAuthentication(level{ACR: []string{"gold", "silver"}})
	fresh := m.RequireAuthentication(level{MaxAge: 5 * time.Minute})
	acr := func(v any) map[string]any { return map[string]any{"acr": v} }
	authTime := func(ago float64) map[string]any { return map[string]any{"auth_time": bubbleStart - ago} }
	for _, tt := range []struct {
		name   string
		m      *jwthttp.Middleware
		claims map[string]any
		want   string
	}{
		{"the preferred acr", gold, acr("gold"), admitted},
		{"another acr that will do", gold, acr("silver"), admitted},
		{"an acr that will not", gold, acr("bronze"), weak},
		{"no acr", gold, nil, weak},
		{"an empty acr", gold, acr(""), weak},
		{"an acr by case", gold, acr("Gold"), weak},
		{"two in one acr", gold, acr("gold silver"), weak},
		{"an acr in an array", gold, acr([]string{"gold"}), weak},
		{"a null for acr", gold, acr(json.RawMessage("null")), weak},
		{"claims of the wrong type, where nobody asks for a level", m, map[string]any{"acr": 1, "amr": "pwd", "auth_time": "2020-03-14T18:52:01.180Z"}, admitted},
		{"a second acr by another case", m, map[string]any{"acr": "bronze", "ACR": "gold"}, "401 invalid_token malformed"},
		{"authenticated just now", fresh, authTime(0), admitted},
		{"authenticated just within", fresh, authTime(300), admitted},
		{"authenticated a moment too long ago: no leeway", fresh, authTime(300.5), weak},
		{"authenticated long ago, in a token of now", fresh, map[string]any{"iat": bubbleStart, "auth_time": 1}, weak},
		{"no auth_time, in a token of now", fresh, map[string]any{"iat": bubbleStart}, weak},
		{"an auth_time of the beginning", fresh, map[string]any{"auth_time": 0}, weak},
		{"an auth_time ahead, within the leeway", fresh, authTime(-10), admitted},
		{"an auth_time ahead, beyond the leeway", fresh, authTime(-11), weak},
		{"an auth_time as AD FS has it", fresh, map[string]any{"auth_time": time.Unix(bubbleStart, 0).UTC().Format(time.RFC3339)}, weak},
		{"an auth_time beyond all dates", fresh, map[string]any{"auth_time": 1e300}, weak},
		{"both, met", gold.RequireAuthentication(level{MaxAge: time.Hour}), map[string]any{"acr": "gold", "auth_time": bubbleStart}, admitted},
		{"both, one not met", gold.RequireAuthentication(level{MaxAge: time.Hour}), acr("gold"), weak},
		{"levels add up to the values that all accept", gold.RequireAuthentication(level{ACR: []string{"platinum", "silver"}}), acr("gold"), weak},
		{"levels add up, and are met", gold.RequireAuthentication(level{ACR: []string{"platinum", "silver"}}), acr("silver"), admitted},
		{"the shortest age counts, first", fresh.RequireAuthentication(level{MaxAge: time.Hour}), authTime(301), weak},
		{"the shortest age counts, last", m.RequireAuthentication(level{MaxAge: time.Hour}).RequireAuthentication(level{MaxAge: time.Minute}), authTime(61), weak},
		{"a level of acr alone keeps the age", fresh.RequireAuthentication(level{ACR: []string{"gold"}}), map[string]any{"acr": "gold", "auth_time": 1}, weak},
		{"optional is no way around", gold.Optional(), acr("bronze"), weak},
		{"a bad token is no question of authentication", gold, map[string]any{"exp": 1}, "401 invalid_token expired"},
		{"a weak authentication counts before a scope", gold.RequireScopes("a"), acr("bronze"), weak},
		{"a scope counts after it", gold.RequireScopes("a"), acr("gold"), "403 insufficient_scope scope"},
		{"a rule counts after it", gold.Require(func(*http.Request) error { return errors.New("no") }), acr("bronze"), weak},
		{"the derived one leaves its base alone", m, acr("bronze"), admitted},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			checkVerdict(t, tt.m, newRequest(withBearer(goodToken(tt.claims))), tt.want)
		})
	}
	bubble(t, "no token: each level needs one", func(t *testing.T) {
		checkVerdict(t, gold.Optional(), newRequest(), "401 missing")
		checkVerdict(t, m.Optional().RequireAuthentication(level{MaxAge: time.Hour}), newRequest(), "401 missing")
	})
	bubble(t, "a token grows too old for the level, though cached", func(t *testing.T) {
		r := newRequest(withBearer(goodToken(map[string]any{"auth_time": bubbleStart})))
		checkVerdict(t, fresh, r.Clone(t.Context()), admitted)
		time.Sleep(5*time.Minute + 1)
		checkVerdict(t, fresh, r.Clone(t.Context()), weak)
		checkVerdict(t, m, r, admitted)
	})
	bubble(t, "inside a Handler of the family", func(t *testing.T) {
		res := nest(newRequest(withBearer(goodToken(acr("bronze")))), m.Handler, gold.Handler)
		if res.Code != 401 || res.inner != nil {
			t.Errorf("status %d", res.Code)
		}
	})
}

func TestStepUpChallenges(t *testing.T) {
	opts := newOptions()
	opts.ResourceMetadataURL = "https://api.example/meta"
	m := mustNew[testClaims](t, opts)
	const begin = `Bearer realm="restricted", error="insufficient_user_authentication", error_description="this resource needs another authentication of the user"`
	const end = `, resource_metadata="https://api.example/meta"`
	both := m.RequireAuthentication(level{ACR: []string{"b", "a"}, MaxAge: time.Hour})
	for _, tt := range []struct {
		name   string
		m      *jwthttp.Middleware
		claims map[string]any
		want   string
	}{
		{"acr", m.RequireAuthentication(level{ACR: []string{"b", "a"}}), nil, begin + `, acr_values="b a"` + end},
		{"age", m.RequireAuthentication(level{MaxAge: 90 * time.Second}), nil, begin + `, max_age="90"` + end},
		{"both, though one is met", both, map[string]any{"acr": "a"}, begin + `, acr_values="b a", max_age="3600"` + end},
		{"what several levels leave", both.RequireAuthentication(level{ACR: []string{"c", "a"}, MaxAge: time.Minute}), nil, begin + `, acr_values="a", max_age="60"` + end},
		{"a scope is missing too", both.RequireScopes("x", "y"), map[string]any{"scope": "x"}, begin + `, acr_values="b a", max_age="3600", scope="x y"` + end},
		{"no scope is missing", both.RequireScopes("x"), map[string]any{"scope": "x"}, begin + `, acr_values="b a", max_age="3600"` + end},
		{"a rule's own", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 401, Code: "insufficient_user_authentication", Reason: jwthttp.ReasonAuthentication,
				Authentication: level{ACR: []string{"x", "y z", `q"`}, MaxAge: 1500 * time.Millisecond}}
		}), nil, begin + `, acr_values="x", max_age="1"` + end},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			res := serve(tt.m, newRequest(withBearer(goodToken(tt.claims))))
			if diff := cmp.Diff([]string{tt.want}, res.Header()["Www-Authenticate"]); diff != "" {
				t.Errorf("challenge (-want +got):\n%s", diff)
			}
			checkChallengeSyntax(t, tt.want)
			if want := `{"error":"insufficient_user_authentication","error_description":"this resource needs another authentication of the user"}` + "\n"; res.Body.String() != want {
				t.Errorf("body %q", res.Body)
			}
		})
	}
}

// An ErrorHandler that sends browsers to the login page must know what to ask
// for, and may change what it gets.
func TestTheErrorOfAStepUpSaysTheLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acr := []string{"gold"}
		m := mustNew[testClaims](t, newOptions()).RequireAuthentication(level{ACR: acr, MaxAge: time.Minute}).RequireScopes("a")
		acr[0] = "changed"
		for range 2 {
			_, err := m.Authenticate(newRequest(withBearer(goodToken(nil))))
			var e *jwthttp.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e.Authentication.ACR, []string{"gold"}); diff != "" || e.Authentication.MaxAge != time.Minute || len(e.Scopes) != 1 || e.Scopes[0] != "a" {
				t.Errorf("%+v", e)
			}
			e.Authentication.ACR[0], e.Scopes[0] = "changed", "changed"
		}
	})
}

func TestStepUpIsSeenByTheObserverAndTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var event jwthttp.Event
		opts := newOptions()
		opts.Observer = func(_ *http.Request, e jwthttp.Event) { event = e }
		m := mustNew[testClaims](t, opts)
		r := newRequest(withBearer(goodToken(map[string]any{"acr": "gold", "amr": []string{"pwd", "otp"}, "auth_time": bubbleStart + 0.5, "scope": "a b c d"})))
		for range 2 {
			token, ok := jwthttp.TokenFromContext(serve(m, r.Clone(t.Context())).inner.Context())
			if !ok || token.ACR != "gold" || !token.AuthTime.Equal(time.Unix(bubbleStart, 5e8)) || cmp.Diff(token.AMR, []string{"pwd", "otp"}) != "" || len(token.Scopes) != 4 {
				t.Errorf("token %+v, %v %v %v", token, token.ACR, token.AMR, token.AuthTime)
			}
			token.AMR[0] = "changed"
		}
		serve(m.RequireAuthentication(level{ACR: []string{"platinum"}}), r)
		if event.Err == nil || event.Err.Reason != jwthttp.ReasonAuthentication || event.Token == nil || event.Token.ACR != "gold" {
			t.Errorf("event %+v", event)
		}
		if text := event.Err.Error(); !strings.Contains(text, `"acr" is "gold", want one of ["platinum"]`) {
			t.Errorf("cause %q", text)
		}
		serve(m.RequireAuthentication(level{MaxAge: time.Hour}), newRequest(withBearer(goodToken(nil))))
		if text := event.Err.Error(); !strings.Contains(text, `"auth_time" is missing`) {
			t.Errorf("cause %q", text)
		}
	})
}

func TestWriteErrorOfAStepUpMadeByHand(t *testing.T) {
	w := httptest.NewRecorder()
	jwthttp.WriteError(w, &jwthttp.Error{Status: 401, Code: "insufficient_user_authentication", Reason: jwthttp.ReasonAuthentication, Authentication: level{MaxAge: time.Minute}})
	if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `, max_age="60"`) || strings.Contains(got, "acr_values") {
		t.Errorf("challenge %q", got)
	}
}

// A rule may ask for a level by what the request is about, and need say no more
// than the code.
func TestARuleMayStepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &jwthttp.Error{Code: "insufficient_user_authentication", Authentication: level{ACR: []string{"not one", "gold"}}}
		m := mustNew[testClaims](t, newOptions()).Require(func(*http.Request) error { return shared })
		for range 2 {
			res := serve(m, newRequest(withBearer(goodToken(nil))))
			want := `Bearer realm="restricted", error="insufficient_user_authentication", error_description="this resource needs another authentication of the user", acr_values="gold"`
			if got := res.Header().Get("WWW-Authenticate"); res.Code != 401 || got != want {
				t.Errorf("status %d, challenge %q", res.Code, got)
			}
		}
		if diff := cmp.Diff([]string{"not one", "gold"}, shared.Authentication.ACR); diff != "" {
			t.Errorf("the rule's own Error was changed (-want +got):\n%s", diff)
		}
		m = mustNew[testClaims](t, newOptions()).Require(func(*http.Request) error {
			return &jwthttp.Error{Code: "insufficient_scope", Scopes: []string{"a"}}
		})
		checkVerdict(t, m, newRequest(withBearer(goodToken(nil))), "403 insufficient_scope scope")
		opts := newOptions()
		opts.ResourceMetadataURL = "https://api.example/meta"
		m = mustNew[testClaims](t, opts).Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 403, Code: "insufficient_user_authentication", Authentication: level{MaxAge: time.Hour}}
		})
		if res := serve(m, newRequest(withBearer(goodToken(nil)))); res.Code != 403 || !strings.Contains(res.Header().Get("WWW-Authenticate"), `max_age="3600", resource_metadata="https://api.example/meta"`) {
			t.Errorf("a status of its own: %d %v", res.Code, res.Header())
		}
	})
}

func TestALongACRIsCutInTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.MaxTokenSize = 1 << 20
		m := mustNew[testClaims](t, opts).RequireAuthentication(level{ACR: []string{"gold"}})
		_, err := m.Authenticate(newRequest(withBearer(goodToken(map[string]any{"acr": strings.Repeat("x", 100_000)}))))
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%d bytes of cause", len(err.Error()))
		}
	})
}

func TestRequireAuthenticationPanics(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for name, f := range map[string]func(){
		"nothing is asked for": func() { m.RequireAuthentication(level{}) },
		"an empty list":        func() { m.RequireAuthentication(level{ACR: []string{}}) },
		"an empty acr":         func() { m.RequireAuthentication(level{ACR: []string{"a", ""}}) },
		"two acr in one":       func() { m.RequireAuthentication(level{ACR: []string{"a b"}}) },
		"a quote":              func() { m.RequireAuthentication(level{ACR: []string{`a"b`}}) },
		"a line break":         func() { m.RequireAuthentication(level{ACR: []string{"a\nb"}}) },
		"a negative age":       func() { m.RequireAuthentication(level{MaxAge: -time.Second}) },
		"half a second":        func() { m.RequireAuthentication(level{MaxAge: time.Second / 2}) },
		"eleven years":         func() { m.RequireAuthentication(level{MaxAge: 11 * 365 * 24 * time.Hour}) },
		"levels with no acr common": func() {
			m.RequireAuthentication(level{ACR: []string{"a"}}).RequireAuthentication(level{ACR: []string{"b"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := panicOf(f); !strings.HasPrefix(got, "jwthttp: RequireAuthentication: ") {
				t.Errorf("panic %q", got)
			}
		})
	}
}
