package providers

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

// scope is a scope of the API. Tokens of Zitadel have none.
const scope = "notes:read"

// provider is a running identity provider.
type provider struct {
	issuer string
	// accepted has the options of docs/providers.md, without Name and Keys.
	accepted jwthttp.Issuer
	new      func(jwthttp.Options) (*jwthttp.Middleware, error) // jwthttp.New of a type of claims
	scopes   []string                                           // what the API requires

	login   func(*testing.T) tokens // a user's, by the authorization code flow
	service func(*testing.T) string // an access token by the client credentials flow, or nil
	foreign func(*testing.T) string // an access token for another API or client
	expired func(*testing.T) string // or nil

	idToken jwthttp.Reason   // why an ID token is rejected
	rotate  func(*testing.T) // signs with a new key, and still publishes the old one
}

func TestProviders(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(*testing.T) *provider
	}{
		{"zitadel/oidc", startZitadel},
		{"ory/fosite", startFosite},
		{"oidc-provider RS256", startOIDCProvider("RS256", jwthttp.ReasonType)},
		{"oidc-provider Ed25519", startOIDCProvider("Ed25519", jwthttp.ReasonAlgorithm)},
		{"glewlwyd", startGlewlwyd},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.start(t).test(t) })
	}
}

func (p *provider) test(t *testing.T) {
	// Refusals may cause any number of fetches in this test.
	keys, err := jwks.Discover(t.Context(), p.issuer, jwks.Options{MinInterval: time.Nanosecond, OnError: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.accepted.Name, p.accepted.Keys = p.issuer, keys
	auth, err := p.new(jwthttp.Options{Issuers: []jwthttp.Issuer{p.accepted}})
	if err != nil {
		t.Fatal(err)
	}
	if p.scopes != nil {
		auth = auth.RequireScopes(p.scopes...)
	}

	user := p.login(t)
	logToken(t, "access token", user.Access)
	logToken(t, "ID token", user.ID)
	p.check(t, auth, "an access token", user.Access, "")
	p.check(t, auth, "an ID token", user.ID, p.idToken)
	if user.Refresh == "" {
		t.Error("no refresh token")
	} else {
		p.check(t, auth, "a refresh token", user.Refresh, jwthttp.ReasonMalformed) // it is opaque
	}
	p.check(t, auth, "a token with another subject", tampered(t, user.Access), jwthttp.ReasonSignature)
	p.check(t, auth, "a token for others", p.foreign(t), jwthttp.ReasonAudience)
	if p.service != nil {
		p.check(t, auth, "an access token of a service", p.service(t), "")
	}
	if p.expired != nil {
		p.check(t, auth, "an expired token", p.expired(t), jwthttp.ReasonExpired)
	}

	p.rotate(t)
	next := p.login(t)
	if header(t, next.Access)["kid"] == header(t, user.Access)["kid"] {
		t.Error("the key was not rotated")
	}
	p.check(t, auth, "a token of the new key", next.Access, "")
	p.check(t, auth, "a token of the old key", user.Access, "")
}

// check sends a request with the token. It must be admitted if want is empty.
func (p *provider) check(t *testing.T, auth *jwthttp.Middleware, name, token string, want jwthttp.Reason) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/notes", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r, err := auth.Authenticate(r)
	if want != "" {
		var refused *jwthttp.Error
		if !errors.As(err, &refused) || refused.Reason != want || refused.Status != http.StatusUnauthorized {
			t.Errorf("%s: %v, want a 401 for %s", name, err, want)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got, ok := jwthttp.TokenFromContext(r.Context())
	if !ok || got.Subject == "" || got.Issuer != p.issuer || got.ID == "" {
		t.Errorf("%s: %+v", name, got)
	}
}

// segment returns a JSON segment of a token.
func segment(t *testing.T, token string, i int) map[string]any {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("%d segments, want 3", len(segments))
	}
	text, err := base64.RawURLEncoding.DecodeString(segments[i])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func header(t *testing.T, token string) map[string]any {
	t.Helper()
	return segment(t, token, 0)
}

// tampered returns the token with another subject.
func tampered(t *testing.T, token string) string {
	t.Helper()
	claims := segment(t, token, 1)
	claims["sub"] = "mallory"
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	segments := strings.Split(token, ".")
	return segments[0] + "." + base64.RawURLEncoding.EncodeToString(text) + "." + segments[2]
}

func logToken(t *testing.T, kind, token string) {
	t.Helper()
	t.Logf("%s: %v %v", kind, header(t, token), segment(t, token, 1))
}
