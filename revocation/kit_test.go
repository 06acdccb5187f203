package revocation_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	issuerName = "https://login.example"

	// The clock of a synctest bubble starts at this second, 2000-01-01 00:00:00 UTC.
	bubbleStart = 946684800
)

func at(d time.Duration) time.Time { return time.Unix(bubbleStart, 0).Add(d) }

// bubble runs a subtest whose clock starts at bubbleStart.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// middleware accepts tokens of all issuers that are signed for method with key,
// unless list revokes them.
func middleware(t testing.TB, list *revocation.List, method string, key any) *jwthttp.Middleware {
	t.Helper()
	m, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: jwthttp.Any, Audience: []string{jwthttp.Any}, Algorithms: []string{method},
			Keys: jwthttp.StaticKey(key), NoExpiry: true,
		}},
		Leeway:  30 * time.Second,
		Revoked: list.Revoked,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sign returns a token with claims of a good token, changed as changes say. A nil
// removes a claim.
func sign(t testing.TB, method jwt.SigningMethod, key any, changes map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": issuerName, "sub": "alice", "jti": "id-1", "iat": bubbleStart - 60, "exp": bubbleStart + 3600,
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/things", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// verified returns the Token of an admitted request.
func verified(t testing.TB, m *jwthttp.Middleware, token string) *jwthttp.Token {
	t.Helper()
	r, err := m.Authenticate(request(token))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := jwthttp.TokenFromContext(r.Context())
	return v
}

// want checks the response to a request with a token.
func want(t testing.TB, m *jwthttp.Middleware, token string, revoked bool) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "admitted") })).ServeHTTP(w, request(token))
	if got := w.Code == 401; got != revoked || !revoked && w.Body.String() != "admitted" {
		t.Errorf("response %d %q, want the token to be revoked: %v", w.Code, w.Body, revoked)
	}
}

func byID(id string) revocation.Entry {
	return revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: id}
}

func bySubject(subject string, issuedUntil time.Time) revocation.Entry {
	return revocation.Entry{Kind: revocation.BySubject, Issuer: issuerName, Value: subject, IssuedUntil: issuedUntil}
}

// revoke adds entries that must be accepted.
func revoke(t testing.TB, list *revocation.List, entries ...revocation.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := list.Revoke(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// says reports whether the list revokes the token with an ID.
func says(t testing.TB, list *revocation.List, id string) bool {
	t.Helper()
	got, err := list.Revoked(t.Context(), &jwthttp.Token{Issuer: issuerName, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
