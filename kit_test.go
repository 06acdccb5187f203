package jwthttp_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

const (
	issuerName   = "https://login.example"
	audienceName = "https://api.example"
)

// The clock of a synctest bubble starts at this second, 2000-01-01 00:00:00 UTC.
const bubbleStart = 946684800

var secret = []byte("0123456789abcdef0123456789abcdef")

// testClaims are the claims of most tests.
type testClaims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func newIssuer() jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       issuerName,
		Audience:   []string{audienceName},
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}
}

// newOptions returns default Options, without a cache.
func newOptions(issuers ...jwthttp.Issuer) jwthttp.Options {
	if len(issuers) == 0 {
		issuers = []jwthttp.Issuer{newIssuer()}
	}
	return jwthttp.Options{Issuers: issuers}
}

func mustNew[T any](tb testing.TB, opts jwthttp.Options) *jwthttp.Middleware {
	tb.Helper()
	m, err := jwthttp.New[T](opts)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signHS256 signs any two texts, JSON or not.
func signHS256(header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(hs256(signed))
}

func hs256(signed string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return string(mac.Sum(nil))
}

const goodHeader = `{"alg":"HS256","typ":"JWT"}`

// claimsJSON returns the claims of a good token of a bubble, with members
// replaced, added or, if nil, left out.
func claimsJSON(changes map[string]any) string {
	claims := map[string]any{
		"iss": issuerName, "sub": "alice", "aud": audienceName, "jti": "id-1",
		"iat": bubbleStart - 60, "exp": bubbleStart + 3600, "role": "editor",
	}
	for name, v := range changes {
		if v == nil {
			delete(claims, name)
		} else {
			claims[name] = v
		}
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func goodToken(changes map[string]any) string { return signHS256(goodHeader, claimsJSON(changes)) }

func mustSign(tb testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims) string {
	tb.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// altered returns the token with another character in its signature.
func altered(token string) string {
	i := len(token) - 10
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

func newRequest(change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/things?x=1", nil)
	for _, f := range change {
		f(r)
	}
	return r
}

func withBearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func withField(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func withQuery(raw string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery, r.RequestURI = raw, "/things?"+raw }
}

func withMethod(name string) func(*http.Request) {
	return func(r *http.Request) { r.Method = name }
}

// result is what a client and the handler saw.
type result struct {
	*httptest.ResponseRecorder
	inner *http.Request // nil: the handler was not called
}

func serve(m *jwthttp.Middleware, r *http.Request) result {
	res := result{ResponseRecorder: httptest.NewRecorder()}
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { res.inner = r })).ServeHTTP(res, r)
	return res
}

// admitted is the verdict of a request that reached its handler.
const admitted = "200"

// verdict is the outcome in one line: "401 invalid_token expired", "401 missing", "200".
func verdict(m *jwthttp.Middleware, r *http.Request) string {
	_, err := m.Authenticate(r)
	if err == nil {
		return admitted
	}
	return verdictOf(err)
}

func verdictOf(err error) string {
	var e *jwthttp.Error
	if !errors.As(err, &e) {
		return fmt.Sprintf("no *Error: %v", err)
	}
	return strings.Join(strings.Fields(fmt.Sprint(e.Status, " ", e.Code, " ", e.Reason)), " ")
}

// checkVerdict asks twice about r, by Authenticate and by Handler, and checks the
// answer of the Handler: status, body and header fields.
func checkVerdict(t *testing.T, m *jwthttp.Middleware, r *http.Request, want string) {
	t.Helper()
	if got := verdict(m, r.Clone(r.Context())); got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
	res := serve(m, r)
	if (res.inner != nil) != (want == admitted) {
		t.Errorf("handler called: %v", res.inner != nil)
	}
	if want == admitted {
		return
	}
	parts := strings.Fields(want)
	code, reason := parts[1], parts[len(parts)-1]
	if reason == string(jwthttp.ReasonCanceled) { // the client is gone
		if res.Body.Len() > 0 || len(res.Header()) > 0 {
			t.Errorf("answer %q with %v to a client that is gone", res.Body, res.Header())
		}
		return
	}
	if got := fmt.Sprint(res.Code); got != parts[0] {
		t.Errorf("status %s, want %s", got, parts[0])
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Reason      string `json:"reason"`
	}
	if err := json.Unmarshal(res.Body.Bytes(), &body); err != nil || body.Error != code || body.Description == "" || body.Reason != reason {
		t.Errorf("body %q (%v), want error %q and reason %q", res.Body, err, code, reason)
	}
	if got := res.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	challenge := res.Header().Get("WWW-Authenticate")
	if wantChallenge := parts[0] == "401" || parts[0] == "400" || code == "insufficient_scope"; (challenge != "") != wantChallenge {
		t.Errorf("challenge %q, want one: %v", challenge, wantChallenge)
	}
	if hasCode := strings.Contains(challenge, `error="`+code+`"`); challenge != "" && hasCode != (len(parts) == 3) {
		t.Errorf("challenge %q and verdict %q disagree about the error code", challenge, want)
	}
	if got := res.Header().Get("Retry-After"); (got != "") != (parts[0] == "503") {
		t.Errorf("Retry-After %q", got)
	}
}

// bubble runs a subtest whose clock starts at bubbleStart.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
