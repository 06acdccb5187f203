package jwthttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Keys from the address of a key set.
func ExampleNewJWKS() {
	ctx, stop := context.WithCancel(context.Background()) // must live as long as the server
	defer stop()
	keys, err := jwthttp.NewJWKS(ctx, "https://login.example/keys", jwthttp.JWKSOptions{})
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

// Keys from an issuer's discovery document: OpenID Connect, or RFC 8414.
func ExampleDiscoverJWKS() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	const issuer = "https://login.example"
	keys, err := jwthttp.DiscoverJWKS(ctx, issuer, jwthttp.JWKSOptions{})
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

// A whole test of an API with the test kit, over real HTTP.
func TestExampleOfTheKit(t *testing.T) {
	issuer := jwthttptest.Start(t, "ES256")
	keys, err := jwthttp.DiscoverJWKS(t.Context(), issuer.Name(), jwthttp.JWKSOptions{})
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
	for token, want := range map[string]int{
		issuer.Token(map[string]any{"role": "editor"}): http.StatusOK,
		issuer.Expired(nil):                            http.StatusUnauthorized,
		issuer.Forged(nil):                             http.StatusUnauthorized,
	} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		if api.ServeHTTP(w, r); w.Code != want {
			t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
		}
	}
}
