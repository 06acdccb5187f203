package jwthttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// RFC 6750 §3, RFC 9728 §5.1.
//
// Rule 30
// Rule 31
// Rule 32
func TestError_challenge(t *testing.T) {
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
		{"a scope", scoped2, scoped("a"), `Bearer realm="our realm", error="insufficient_scope", error_description="insufficient scope", scope="b a c"` + metadata},
		{"a bad token, with scopes", scoped2, withBearer(goodToken(map[string]any{"exp": 1})), invalid("token expired")},
		{"a bad credential", m, auth("Bearer"), `Bearer realm="our realm", error="invalid_request", error_description="malformed credential"`},
		{"two credentials", m, auth("Bearer a", "Bearer b"), `Bearer realm="our realm", error="invalid_request", error_description="more than one token"`},
		{"garbage", m, withBearer("abc"), invalid("malformed token")},
		{"a forged token", m, withBearer(altered(goodToken(nil))), invalid("invalid token signature")},
		{"a rule's own 401", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 401, Code: "invalid_token"}
		}), withBearer(goodToken(nil)), invalid("request not allowed")},
		{"a rule's own code of odd bytes", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 401, Code: "a\"b\r\nc"}
		}), withBearer(goodToken(nil)), `Bearer realm="our realm", error_description="request not allowed"` + metadata},
		{"a rule's own scopes, one of them odd", m.Require(func(*http.Request) error {
			return &jwthttp.Error{Status: 403, Code: "insufficient_scope", Reason: jwthttp.ReasonScope, Scopes: []string{"x", "y\"z", "", "v w"}}
		}), withBearer(goodToken(nil)), `Bearer realm="our realm", error="insufficient_scope", error_description="insufficient scope", scope="x"` + metadata},
		{"a rule that objects", m.Require(func(*http.Request) error { return errors.New("no") }), withBearer(goodToken(nil)), ""},
		{"a rule's own description", m.Require(refusing(&jwthttp.Error{Status: 401, Code: "invalid_token", Description: "ask for a token of the new realm"})), withBearer(goodToken(nil)), invalid("ask for a token of the new realm")},
		{"a rule's own description with quotes", m.Require(refusing(&jwthttp.Error{Status: 401, Code: "invalid_token", Description: `say "please"`})), withBearer(goodToken(nil)), invalid("request not allowed")},
		{"a rule's own description with a line break", m.Require(refusing(&jwthttp.Error{Status: 401, Code: "invalid_token", Description: "a\r\nSet-Cookie: b=c"})), withBearer(goodToken(nil)), invalid("request not allowed")},
		{"a rule's own description outside ASCII", m.Require(refusing(&jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonRevoked, Description: "ä"})), withBearer(goodToken(nil)), invalid("token revoked")},
		{"an Error of another Middleware gets this realm", m.Require(func(*http.Request) error {
			_, err := mustNew[testClaims](t, newOptions()).RequireScopes("other").Authenticate(newRequest())
			return err
		}), withBearer(goodToken(nil)), `Bearer realm="our realm", scope="other"` + metadata},
		{"another Middleware's 403 made a 401", m.Require(changingError(func(e *jwthttp.Error) { e.Status, e.Code = 401, "invalid_token" })), withBearer(goodToken(nil)), invalid("request not allowed")},
		{"its code alone", m.Require(changingError(func(e *jwthttp.Error) { e.Code = "invalid_token" })), withBearer(goodToken(nil)), invalid("request not allowed")[:len(invalid("request not allowed"))-len(metadata)]},
		{"its status alone", m.Require(changingError(func(e *jwthttp.Error) { e.Status = 401 })), withBearer(goodToken(nil)), `Bearer realm="our realm"` + metadata},
		{"its reason too", m.Require(changingError(func(e *jwthttp.Error) { e.Status, e.Code, e.Reason = 401, "invalid_token", jwthttp.ReasonRevoked })), withBearer(goodToken(nil)), invalid("token revoked")},
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
func TestError_fields(t *testing.T) {
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
func TestError_malformed(t *testing.T) {
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
func changingError(change func(*jwthttp.Error)) func(*http.Request) error {
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

func TestError_body(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*jwthttp.Error)
		want   string
	}{
		{"unchanged", func(*jwthttp.Error) {}, `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
		{"another code", func(e *jwthttp.Error) { e.Code = "invalid_token" }, `{"error":"invalid_token","error_description":"request not allowed","reason":"forbidden"}`},
		{"another reason", func(e *jwthttp.Error) { e.Reason = jwthttp.ReasonRevoked }, `{"error":"revoked","error_description":"token revoked","reason":"revoked"}`},
		{"a reason of the application", func(e *jwthttp.Error) { e.Reason = "quota" }, `{"error":"quota","error_description":"request not allowed","reason":"quota"}`},
		{"another status", func(e *jwthttp.Error) { e.Status = 404 }, `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
		{"a description", func(e *jwthttp.Error) { e.Description = "no such note" }, `{"error":"forbidden","error_description":"no such note","reason":"forbidden"}`},
		{"a description with a backslash", func(e *jwthttp.Error) { e.Description = `a\b` }, `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
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

// reasonsInSource returns the names and values of the constants of type Reason
// in error.go, so that a new one without an answer fails a test.
func reasonsInSource(t *testing.T) (names []string, values []jwthttp.Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			spec := spec.(*ast.ValueSpec)
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
				continue
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names, values = append(names, spec.Names[0].Name), append(values, jwthttp.Reason(value))
		}
	}
	return names, values
}

func TestReason(t *testing.T) {
	answers := []struct {
		reason jwthttp.Reason
		want   string // status and name in the body
	}{
		{jwthttp.ReasonMissing, "401 missing"},
		{jwthttp.ReasonMalformed, "401 invalid_token"},
		{jwthttp.ReasonMultiple, "400 invalid_request"},
		{jwthttp.ReasonTooLarge, "401 invalid_token"},
		{jwthttp.ReasonAlgorithm, "401 invalid_token"},
		{jwthttp.ReasonType, "401 invalid_token"},
		{jwthttp.ReasonIssuer, "401 invalid_token"},
		{jwthttp.ReasonAudience, "401 invalid_token"},
		{jwthttp.ReasonExpired, "401 invalid_token"},
		{jwthttp.ReasonNotYetValid, "401 invalid_token"},
		{jwthttp.ReasonTooOld, "401 invalid_token"},
		{jwthttp.ReasonUnknownKey, "401 invalid_token"},
		{jwthttp.ReasonSignature, "401 invalid_token"},
		{jwthttp.ReasonClaims, "401 invalid_token"},
		{jwthttp.ReasonBinding, "401 invalid_token"},
		{jwthttp.ReasonProof, "401 invalid_dpop_proof"},
		{jwthttp.ReasonNonce, "401 use_dpop_nonce"},
		{jwthttp.ReasonReplayed, "401 invalid_dpop_proof"},
		{jwthttp.ReasonReplayUnavailable, "503 replay_unavailable"},
		{jwthttp.ReasonRevoked, "401 invalid_token"},
		{jwthttp.ReasonAuthentication, "401 insufficient_user_authentication"},
		{jwthttp.ReasonScope, "403 insufficient_scope"},
		{jwthttp.ReasonForbidden, "403 forbidden"},
		{jwthttp.ReasonCrossOrigin, "403 cross_origin"},
		{jwthttp.ReasonIssuersUnavailable, "503 issuers_unavailable"},
		{jwthttp.ReasonKeysUnavailable, "503 keys_unavailable"},
		{jwthttp.ReasonRevocationUnavailable, "503 revocation_unavailable"},
		{jwthttp.ReasonCanceled, "499 "},
		{jwthttp.ReasonMisconfigured, "500 misconfigured"},
	}
	names, values := reasonsInSource(t)
	if len(values) < 20 {
		t.Fatalf("found %d reasons in error.go", len(values))
	}
	texts := []string{}
	for i, reason := range values {
		t.Run(names[i], func(t *testing.T) {
			at := slices.IndexFunc(answers, func(a struct {
				reason jwthttp.Reason
				want   string
			}) bool {
				return a.reason == reason
			})
			if at < 0 {
				t.Fatal("no row in this test")
			}
			status, name, _ := strings.Cut(answers[at].want, " ")
			e := &jwthttp.Error{Reason: reason, Code: name}
			if _, err := fmt.Sscan(status, &e.Status); err != nil {
				t.Fatal(err)
			}
			if name == string(reason) {
				e.Code = ""
			}
			w := httptest.NewRecorder()
			jwthttp.WriteError(w, e)
			if reason == jwthttp.ReasonCanceled {
				if w.Body.Len() > 0 || len(w.Header()) > 0 {
					t.Errorf("written: %v %s", w.Header(), w.Body)
				}
				return
			}
			var body struct{ Error, Error_description, Reason string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || fmt.Sprint(w.Code) != status || body.Error != name || body.Reason != string(reason) {
				t.Errorf("%d %s, want %s", w.Code, w.Body, answers[at].want)
			}
			if reason != jwthttp.ReasonForbidden && body.Error_description == "request not allowed" || slices.Contains(texts, body.Error_description) {
				t.Errorf("no distinct text: %q", body.Error_description)
			}
			texts = append(texts, body.Error_description)
			challenge := w.Header().Get("WWW-Authenticate")
			if (challenge != "") != (e.Status == 401 || e.Code != "") {
				t.Errorf("challenge %q", challenge)
			}
			if got := w.Header().Get("Retry-After"); (got != "") != (e.Status == 503) {
				t.Errorf("Retry-After %q", got)
			}
			checkChallengeSyntax(t, challenge)
		})
	}
}

func TestWriteError(t *testing.T) {
	forbidden := &jwthttp.Error{Status: 403, Reason: jwthttp.ReasonForbidden, Err: errors.New("secret detail")}
	for _, tt := range []struct {
		name   string
		err    error
		status int
		header string
		body   string
	}{
		{"nil", nil, 500, "", `{"error":"server_error","error_description":"internal server error"}`},
		{"a nil *Error", (*jwthttp.Error)(nil), 500, "", `{"error":"server_error","error_description":"internal server error"}`},
		{"a wrapped nil *Error", fmt.Errorf("x: %w", (*jwthttp.Error)(nil)), 500, "", `{"error":"server_error","error_description":"internal server error"}`},
		{"any error", errors.New("secret detail"), 500, "", `{"error":"server_error","error_description":"internal server error"}`},
		{"an Error", forbidden, 403, "", `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
		{"a wrapped Error", fmt.Errorf("secret detail: %w", forbidden), 403, "", `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
		{"empty", &jwthttp.Error{}, 500, "", `{"error":"server_error","error_description":"internal server error"}`},
		{"a status that is no refusal", &jwthttp.Error{Status: 204, Reason: jwthttp.ReasonForbidden}, 500, "", `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`},
		{"a 401 made by hand", &jwthttp.Error{Status: 401}, 401, `Bearer realm="restricted"`, `{"error":"forbidden","error_description":"request not allowed"}`},
		{"a 404 made by hand, with a description", &jwthttp.Error{Status: 404, Description: "no such note"}, 404, "", `{"error":"forbidden","error_description":"no such note"}`},
		{"a 502 made by hand, with a description", &jwthttp.Error{Status: 502, Description: "no answer"}, 502, "", `{"error":"server_error","error_description":"no answer"}`},
		{"a status without a name", &jwthttp.Error{Status: 499}, 499, "", `{"error":"forbidden","error_description":"request not allowed"}`},
		{"a 401 with a reason", &jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonExpired}, 401, `Bearer realm="restricted", error="invalid_token", error_description="token expired"`, `{"error":"invalid_token","error_description":"token expired","reason":"expired"}`},
		{"text that JSON must escape", &jwthttp.Error{Status: 403, Reason: "a\"\n<b>"}, 403, "", `{"error":"a\"\n\u003cb\u003e","error_description":"request not allowed","reason":"a\"\n\u003cb\u003e"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "3")
			w.Header().Set("Content-Type", "text/html")
			jwthttp.WriteError(w, tt.err)
			if w.Code != tt.status || w.Body.String() != tt.body+"\n" || w.Header().Get("WWW-Authenticate") != tt.header {
				t.Errorf("%d %q %s", w.Code, w.Header(), w.Body)
			}
			for _, field := range []struct{ name, want string }{
				{"Content-Length", ""}, {"Content-Type", "application/json"}, {"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"},
			} {
				if got := w.Header().Get(field.name); got != field.want {
					t.Errorf("%s: %q, want %q", field.name, got, field.want)
				}
			}
		})
	}
}

// An Error of a Middleware whose status was changed must not look like a success.
func TestWriteError_changedStatus(t *testing.T) {
	_, err := mustNew[testClaims](t, newOptions()).Authenticate(newRequest())
	var e *jwthttp.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	for _, status := range []int{0, 200, 399, 600} {
		changed, w := *e, httptest.NewRecorder()
		changed.Status = status
		jwthttp.WriteError(w, &changed)
		if w.Code != http.StatusInternalServerError {
			t.Errorf("status %d: %d", status, w.Code)
		}
	}
}

// After Authenticate, WriteError gives the full answer of a Handler.
func TestWriteError_Authenticate(t *testing.T) {
	opts := newOptions()
	opts.Realm, opts.ResourceMetadataURL = "our realm", "https://api.example/meta"
	m := mustNew[testClaims](t, opts).RequireScopes("a")
	for _, tt := range []struct {
		name    string
		request func(*http.Request)
	}{
		{"missing", func(*http.Request) {}},
		{"expired", withBearer(goodToken(map[string]any{"exp": 1}))},
		{"scope", scoped("b")},
		{"credential", auth("Bearer")},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			want, got := serve(m, newRequest(tt.request)), httptest.NewRecorder()
			_, err := m.Authenticate(newRequest(tt.request))
			jwthttp.WriteError(got, err)
			if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("%d %v %s, want %d %v %s", got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
			}
		})
	}
}

func TestError_Error(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		name string
		e    *jwthttp.Error
		want string
	}{
		{"without a cause", &jwthttp.Error{Reason: jwthttp.ReasonForbidden}, "jwthttp: forbidden"},
		{"with a cause", &jwthttp.Error{Reason: jwthttp.ReasonForbidden, Err: cause}, "jwthttp: forbidden: cause"},
		{"nil", nil, "jwthttp: nil *Error"},
		{"a nil *Error as the cause", &jwthttp.Error{Reason: jwthttp.ReasonForbidden, Err: (*jwthttp.Error)(nil)}, "jwthttp: forbidden: jwthttp: nil *Error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.e.Error(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got := errors.Is(tt.e, cause); got != (tt.name == "with a cause") {
				t.Errorf("is the cause: %v", got)
			}
		})
	}
	bubble(t, "of an expired token", func(t *testing.T) {
		_, err := mustNew[testClaims](t, newOptions()).Authenticate(newRequest(withBearer(goodToken(map[string]any{"exp": bubbleStart - 60}))))
		if got, want := err.Error(), `jwthttp: expired: expired 1m0s ago, leeway 30s`; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if !errors.Is(err, jwt.ErrTokenExpired) || !errors.Is(err, jwt.ErrTokenInvalidClaims) || errors.Is(err, jwt.ErrTokenMalformed) {
			t.Errorf("error tree of %v", err)
		}
	})
}

// Rule 31
// What comes from a token reaches no field and no body.
func TestError_injection(t *testing.T) {
	const evil = "x\"\r\nSet-Cookie: a=b\u2028<script>"
	m := mustNew[testClaims](t, newOptions()).RequireScopes("a").RequireACR("gold")
	for _, tt := range []struct {
		name       string
		good, evil map[string]any
	}{
		{"issuer", map[string]any{"iss": "other"}, map[string]any{"iss": evil}},
		{"audience", map[string]any{"aud": "other"}, map[string]any{"aud": evil}},
		{"acr", map[string]any{"acr": "other"}, map[string]any{"acr": evil}},
		{"scope", map[string]any{"acr": "gold", "scope": "other"}, map[string]any{"acr": "gold", "scope": evil}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			want, got := serve(m, newRequest(withBearer(goodToken(tt.good)))), serve(m, newRequest(withBearer(goodToken(tt.evil))))
			if want.inner != nil || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("%v %s, want %v %s", got.Header(), got.Body, want.Header(), want.Body)
			}
		})
	}
	bubble(t, "kid", func(t *testing.T) {
		iss := newIssuer()
		iss.Keys = jwthttp.KeySet{"k": secret}
		m := mustNew[testClaims](t, newOptions(iss))
		want := serve(m, newRequest(withBearer(signHS256(`{"alg":"HS256","kid":"other"}`, claimsJSON(nil)))))
		got := serve(m, newRequest(withBearer(signHS256(`{"alg":"HS256","kid":"x\"<script>\\é"}`, claimsJSON(nil)))))
		if want.Code != 401 || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
			t.Errorf("%v %s, want %v %s", got.Header(), got.Body, want.Header(), want.Body)
		}
	})
}

// An Extractor or rule may return the Error of another Middleware.
func TestError_ofAnotherMiddleware(t *testing.T) {
	bubble(t, "token and challenge", func(t *testing.T) {
		outer := newOptions()
		outer.Realm = "outer"
		_, foreign := mustNew[testClaims](t, outer).RequireScopes("a").Authenticate(newRequest(withBearer(goodToken(nil))))
		opts := newOptions()
		var event jwthttp.Event
		opts.Observer = func(_ context.Context, e jwthttp.Event) { event = e }
		opts.Extractor = func(*http.Request) (jwthttp.Credential, error) { return jwthttp.Credential{}, foreign }
		res := serve(mustNew[testClaims](t, opts), newRequest())
		if event.Token != nil {
			t.Errorf("event with the token %v", event.Token)
		}
		if got := res.Header().Get("WWW-Authenticate"); res.Code != 403 || !strings.Contains(got, `realm="restricted"`) {
			t.Errorf("answer %d with challenge %q", res.Code, got)
		}
		var copied jwthttp.Error
		if e := (*jwthttp.Error)(nil); errors.As(foreign, &e) {
			copied = *e
		}
		copied.Status, copied.Code = 403, ""
		opts.Extractor = func(*http.Request) (jwthttp.Credential, error) { return jwthttp.Credential{}, &copied }
		if got := serve(mustNew[testClaims](t, opts), newRequest()).Header().Get("WWW-Authenticate"); got != "" {
			t.Errorf("challenge %q of a 403 without code", got)
		}
	})
}
