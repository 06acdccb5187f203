package jwthttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// RFC 6750 §3, RFC 9728 §5.1; rules 30 to 32.
func TestChallenges(t *testing.T) {
	const metadata = `, resource_metadata="https://api.example/meta"`
	opts := newOptions()
	opts.Realm, opts.ResourceMetadataURL = "our realm", "https://api.example/meta"
	m := mustNew[testClaims](t, opts)
	scoped2 := m.RequireScopes("b", "a").RequireAnyScope("a", "c")
	invalid := func(text string) string {
		return `Bearer realm="our realm", error="invalid_token", error_description="` + text + `"` + metadata
	}
	for _, tt := range []struct {
		name    string
		m       *jwthttp.Middleware
		request func(*http.Request)
		want    string
	}{
		{"missing", m, func(*http.Request) {}, `Bearer realm="our realm"` + metadata},
		{"missing, with scopes", scoped2, func(*http.Request) {}, `Bearer realm="our realm", scope="b a c"` + metadata},
		{"a scope", scoped2, scoped("a"), `Bearer realm="our realm", error="insufficient_scope", error_description="the token lacks a scope that this resource needs", scope="b a c"` + metadata},
		{"a bad token, with scopes", scoped2, withBearer(goodToken(map[string]any{"exp": 1})), invalid("the token has expired")},
		{"a bad credential", m, auth("Bearer"), `Bearer realm="our realm", error="invalid_request", error_description="the credential is malformed"`},
		{"two credentials", m, auth("Bearer a", "Bearer b"), `Bearer realm="our realm", error="invalid_request", error_description="the request has more than one token"`},
		{"garbage", m, withBearer("abc"), invalid("the token is malformed")},
		{"a forged token", m, withBearer(altered(goodToken(nil))), invalid("the signature of the token is invalid")},
		{"a rule's own 401", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 401, Code: "invalid_token"}
		}), withBearer(goodToken(nil)), invalid("the request is not allowed")},
		{"a rule's own code of odd bytes", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 401, Code: "a\"b\r\nc"}
		}), withBearer(goodToken(nil)), `Bearer realm="our realm", error_description="the request is not allowed"` + metadata},
		{"a rule's own scopes, one of them odd", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 403, Code: "insufficient_scope", Reason: jwthttp.ReasonScope, Scopes: []string{"x", "y\"z", "", "v w"}}
		}), withBearer(goodToken(nil)), `Bearer realm="our realm", error="insufficient_scope", error_description="the token lacks a scope that this resource needs", scope="x"` + metadata},
		{"a rule that objects", m.Require(func(*http.Request) error { return errors.New("no") }), withBearer(goodToken(nil)), ""},
		{"an Error of another Middleware stays as it is", m.Require(func(*http.Request) error {
			_, err := mustNew[testClaims](t, newOptions()).RequireScopes("other").Authenticate(newRequest())
			return err
		}), withBearer(goodToken(nil)), `Bearer realm="restricted", scope="other"`},
		{"another Middleware's 403 made a 401", m.Require(changing(func(e *jwthttp.Error) { e.Status, e.Code = 401, "invalid_token" })), withBearer(goodToken(nil)), invalid("the request is not allowed")},
		{"its code alone", m.Require(changing(func(e *jwthttp.Error) { e.Code = "invalid_token" })), withBearer(goodToken(nil)), invalid("the request is not allowed")[:len(invalid("the request is not allowed"))-len(metadata)]},
		{"its status alone", m.Require(changing(func(e *jwthttp.Error) { e.Status = 401 })), withBearer(goodToken(nil)), `Bearer realm="our realm"` + metadata},
		{"its reason too", m.Require(changing(func(e *jwthttp.Error) { e.Status, e.Code, e.Reason = 401, "invalid_token", jwthttp.ReasonRevoked })), withBearer(goodToken(nil)), invalid("the token has been revoked")},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			got := serve(tt.m, newRequest(tt.request)).Header()["Www-Authenticate"]
			if len(got) > 1 || strings.Join(got, "") != tt.want {
				t.Errorf("challenge\n%q, want\n%q", got, tt.want)
			}
			checkChallengeSyntax(t, tt.want)
		})
	}
}

// An ErrorHandler may add to a field without touching another one.
func TestTheFieldsOfARefusalAreApart(t *testing.T) {
	opts := newOptions()
	opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
		for _, name := range []string{"Cache-Control", "Www-Authenticate"} {
			w.Header().Add(name, "more")
		}
	}
	h := serve(mustNew[testClaims](t, opts), newRequest()).Header()
	if got := h["Www-Authenticate"]; len(got) != 2 || !strings.HasPrefix(got[0], "Bearer ") {
		t.Errorf("header %v", h)
	}
}

// What is wrong with a token's JSON is for logs.
func TestAMalformedTokenSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ header, payload, want string }{
		{goodHeader, `{"a":1,"a":2}`, "payload: duplicate"},
		{`{"alg":"HS256","ALG":"none"}`, `{}`, "header: member name differs"},
	} {
		_, err := mustNew[testClaims](t, newOptions()).Authenticate(newRequest(withBearer(signHS256(tt.header, tt.payload))))
		if !errors.Is(err, jwt.ErrTokenMalformed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}

// changing is a rule that changes the refusal of another Middleware.
func changing(change func(*jwthttp.Error)) func(*http.Request) error {
	return func(r *http.Request) error { return changed(r, change) }
}

func changed(r *http.Request, change func(*jwthttp.Error)) error {
	m, err := jwthttp.New[testClaims](newOptions())
	if err != nil {
		return err
	}
	m = m.Require(func(*http.Request) error { return errors.New("no") })
	_, err = m.Authenticate(r)
	var e *jwthttp.Error
	if !errors.As(err, &e) || e.Reason != jwthttp.ReasonForbidden {
		return err
	}
	own := *e
	change(&own)
	return &own
}

func TestTheBodyOfAChangedErrorSaysWhatItSays(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*jwthttp.Error)
		want   string
	}{
		{"unchanged", func(*jwthttp.Error) {}, `{"error":"forbidden","error_description":"the request is not allowed"}`},
		{"another code", func(e *jwthttp.Error) { e.Code = "invalid_token" }, `{"error":"invalid_token","error_description":"the request is not allowed"}`},
		{"another reason", func(e *jwthttp.Error) { e.Reason = jwthttp.ReasonRevoked }, `{"error":"revoked","error_description":"the token has been revoked"}`},
		{"another status", func(e *jwthttp.Error) { e.Status = 404 }, `{"error":"forbidden","error_description":"the request is not allowed"}`},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var e *jwthttp.Error
			if !errors.As(changed(newRequest(withBearer(goodToken(nil))), tt.change), &e) {
				t.Fatal("no Error")
			}
			w := httptest.NewRecorder()
			jwthttp.WriteError(w, e)
			if got := strings.TrimSpace(w.Body.String()); got != tt.want || w.Code != e.Status {
				t.Errorf("%d %s, want %d %s", w.Code, got, e.Status, tt.want)
			}
		})
	}
}

// challengeSyntax is RFC 9110 §11.6.1 for one challenge with quoted strings.
var challengeSyntax = regexp.MustCompile(`^Bearer [a-z_]+="[^"\\]*"(, [a-z_]+="[^"\\]*")*$`)

func checkChallengeSyntax(t *testing.T, challenge string) {
	t.Helper()
	if challenge == "" {
		return
	}
	if !challengeSyntax.MatchString(challenge) {
		t.Errorf("challenge %q breaks the syntax", challenge)
	}
	seen := map[string]bool{}
	for _, param := range regexp.MustCompile(`[a-z_]+="`).FindAllString(challenge, -1) {
		if seen[param] {
			t.Errorf("challenge %q has %s twice", challenge, param)
		}
		seen[param] = true
	}
}

// Each Reason has one body and one status, and all of them go over HTTP well.
func TestEveryReasonHasItsAnswer(t *testing.T) {
	for reason, want := range map[jwthttp.Reason]string{
		jwthttp.ReasonMissing: "401 missing", jwthttp.ReasonMalformed: "401 invalid_token", jwthttp.ReasonMultiple: "400 invalid_request",
		jwthttp.ReasonTooLarge: "401 invalid_token", jwthttp.ReasonAlgorithm: "401 invalid_token", jwthttp.ReasonType: "401 invalid_token",
		jwthttp.ReasonIssuer: "401 invalid_token", jwthttp.ReasonAudience: "401 invalid_token", jwthttp.ReasonExpired: "401 invalid_token",
		jwthttp.ReasonNotYetValid: "401 invalid_token", jwthttp.ReasonTooOld: "401 invalid_token", jwthttp.ReasonUnknownKey: "401 invalid_token",
		jwthttp.ReasonSignature: "401 invalid_token", jwthttp.ReasonClaims: "401 invalid_token", jwthttp.ReasonBinding: "401 invalid_token",
		jwthttp.ReasonRevoked: "401 invalid_token", jwthttp.ReasonScope: "403 insufficient_scope", jwthttp.ReasonForbidden: "403 forbidden",
		jwthttp.ReasonCrossOrigin: "403 cross_origin", jwthttp.ReasonKeysUnavailable: "503 keys_unavailable",
		jwthttp.ReasonRevocationUnavailable: "503 revocation_unavailable",
	} {
		w := httptest.NewRecorder()
		status, code, _ := strings.Cut(want, " ")
		e := &jwthttp.Error{Reason: reason, Code: code}
		if _, err := fmt.Sscan(status, &e.Status); err != nil {
			t.Fatal(err)
		}
		if code == string(reason) {
			e.Code = ""
		}
		jwthttp.WriteError(w, e)
		if got := fmt.Sprint(w.Code); got != status || !strings.HasPrefix(w.Body.String(), `{"error":"`+code+`","error_description":"`) {
			t.Errorf("%s: %s %s, want %s", reason, got, w.Body, want)
		}
		challenge := w.Header().Get("WWW-Authenticate")
		if (challenge != "") != (e.Status == 401 || e.Code != "") {
			t.Errorf("%s: challenge %q", reason, challenge)
		}
		checkChallengeSyntax(t, challenge)
	}
}

func TestWriteError(t *testing.T) {
	for _, tt := range []struct {
		name   string
		e      *jwthttp.Error
		status int
		header string
		body   string
	}{
		{"nil", nil, 500, "", `{"error":"error","error_description":"Internal Server Error"}`},
		{"empty", &jwthttp.Error{}, 500, "", `{"error":"error","error_description":"Internal Server Error"}`},
		{"a status that is no refusal", &jwthttp.Error{Status: 204, Reason: jwthttp.ReasonForbidden}, 500, "", `{"error":"forbidden","error_description":"the request is not allowed"}`},
		{"a 401 made by hand", &jwthttp.Error{Status: 401}, 401, `Bearer realm="restricted"`, `{"error":"error","error_description":"Unauthorized"}`},
		{"a 401 with a reason", &jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonExpired}, 401, `Bearer realm="restricted", error="invalid_token", error_description="the token has expired"`, `{"error":"invalid_token","error_description":"the token has expired"}`},
		{"text that JSON must escape", &jwthttp.Error{Status: 403, Reason: "a\"\n<b>"}, 403, "", `{"error":"a\"\n\u003cb\u003e","error_description":"the request is not allowed"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "3")
			w.Header().Set("Content-Type", "text/html")
			jwthttp.WriteError(w, tt.e)
			if w.Code != tt.status || w.Body.String() != tt.body+"\n" || w.Header().Get("WWW-Authenticate") != tt.header {
				t.Errorf("%d %q %s", w.Code, w.Header(), w.Body)
			}
			for name, want := range map[string]string{"Content-Length": "", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// After Authenticate, WriteError gives the full answer of a Handler.
func TestAuthenticateAndWriteErrorAnswerLikeHandler(t *testing.T) {
	opts := newOptions()
	opts.Realm, opts.ResourceMetadataURL = "our realm", "https://api.example/meta"
	m := mustNew[testClaims](t, opts).RequireScopes("a")
	for name, request := range map[string]func(*http.Request){
		"missing": func(*http.Request) {}, "expired": withBearer(goodToken(map[string]any{"exp": 1})), "scope": scoped("b"), "credential": auth("Bearer"),
	} {
		bubble(t, name, func(t *testing.T) {
			want, got := serve(m, newRequest(request)), httptest.NewRecorder()
			_, err := m.Authenticate(newRequest(request))
			var e *jwthttp.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			jwthttp.WriteError(got, e)
			if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("%d %v %s, want %d %v %s", got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
			}
		})
	}
}

func TestErrorsReadWell(t *testing.T) {
	if got := (&jwthttp.Error{Reason: jwthttp.ReasonForbidden}).Error(); got != "jwthttp: forbidden" {
		t.Errorf("%q", got)
	}
	bubble(t, "with a cause", func(t *testing.T) {
		_, err := mustNew[testClaims](t, newOptions()).Authenticate(newRequest(withBearer(goodToken(map[string]any{"exp": 1}))))
		if got, want := err.Error(), `jwthttp: expired: token is expired: "exp" has passed`; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if !errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenMalformed) {
			t.Errorf("error tree of %v", err)
		}
	})
}
