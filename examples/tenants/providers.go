package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

const (
	audience = "https://api.example"
	lifetime = time.Hour // of a token
)

// providers are the identity providers of all tenants. In reality each is a program
// of the tenant. The API reaches them by HTTP only.
type providers struct {
	url     string // of the program
	users   demo.Users
	most    int
	fetches atomic.Int64 // of key sets

	mu   sync.Mutex
	keys map[string]ed25519.PrivateKey // by name
}

// issuer returns the "iss" of a name.
func (p *providers) issuer(name string) string { return p.url + "/issuers/" + name }

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,20}$`)

// errRefused says that no provider is started.
var errRefused = errors.New("want lower-case letters, digits and hyphens, and not too many names")

// start starts the provider of a tenant. It stays when the tenant is dropped.
func (p *providers) start(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[name] != nil {
		return nil
	}
	if !validName.MatchString(name) || len(p.keys) >= p.most {
		return errRefused
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		p.keys[name] = key
	}
	return err
}

func (p *providers) key(name string) ed25519.PrivateKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[name]
}

// names returns the providers, sorted.
func (p *providers) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.keys))
}

// token returns an access token for a user.
func (p *providers) token(name, user string) (string, error) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: p.issuer(name), Subject: user, Audience: jwt.ClaimStrings{audience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	})
	token.Header["kid"] = "1"
	return token.SignedString(p.key(name))
}

// handler serves the metadata, the keys and the token endpoint of each provider.
func (p *providers) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, content func(*http.Request, string) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			if p.key(name) == nil {
				http.NotFound(w, r)
				return
			}
			status, body := content(r, name)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body) // fails only if the client is gone
		})
	}
	answer("GET /issuers/{name}/.well-known/openid-configuration", func(_ *http.Request, name string) (int, any) {
		return http.StatusOK, map[string]any{"issuer": p.issuer(name), "jwks_uri": p.issuer(name) + "/keys"}
	})
	answer("GET /issuers/{name}/keys", func(_ *http.Request, name string) (int, any) {
		p.fetches.Add(1)
		x := base64.RawURLEncoding.EncodeToString(p.key(name).Public().(ed25519.PublicKey))
		return http.StatusOK, map[string]any{"keys": []any{map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": x}}}
	})
	answer("POST /issuers/{name}/token", func(r *http.Request, name string) (int, any) {
		user := r.PostFormValue("username")
		if !p.users.Check(user, r.PostFormValue("password")) {
			return http.StatusBadRequest, map[string]string{"error": "invalid_grant"}
		}
		token, err := p.token(name, user)
		if err != nil {
			return http.StatusInternalServerError, map[string]string{"error": "server_error"}
		}
		return http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime.Seconds())}
	})
	return mux
}
