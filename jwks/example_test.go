package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Keys from the URL of a key set.
func ExampleNew() {
	ctx, stop := context.WithCancel(context.Background()) // must live as long as the server
	defer stop()
	keys, err := jwks.New(ctx, "https://login.example/keys", jwks.Options{})
	if err != nil {
		panic(err)
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example", Audience: []string{"https://api.example"}, Algorithms: []string{"RS256"}, Keys: keys,
	}}})
	fmt.Println(auth != nil, err)

	// Output:
	// true <nil>
}

// Keys from the URL in an issuer's metadata: OpenID Connect Discovery or RFC 8414.
func ExampleDiscover() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	const issuer = "https://login.example"
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		panic(err)
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: issuer, Audience: []string{"https://api.example"}, Algorithms: []string{"ES256"}, Keys: keys,
	}}})
	fmt.Println(auth != nil, err)

	// Output:
	// true <nil>
}

// A complete test of an API, over HTTP.
func TestSet_overHTTP(t *testing.T) {
	issuer := jwthttptest.Start(t, "ES256")
	keys, err := jwks.Discover(t.Context(), issuer.Name(), jwks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	trusted := issuer.Trusted()
	trusted.Keys = keys
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{trusted}})
	if err != nil {
		t.Fatal(err)
	}
	api := auth.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, tt := range []struct {
		name, token string
		want        int
	}{
		{"valid", issuer.Token(map[string]any{"role": "editor"}), http.StatusOK},
		{"expired", issuer.Expired(nil), http.StatusUnauthorized},
		{"forged", issuer.Forged(nil), http.StatusUnauthorized},
	} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+tt.token)
		if api.ServeHTTP(w, r); w.Code != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, w.Code, tt.want, w.Body)
		}
	}
}
