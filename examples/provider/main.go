// Provider is the README's API behind chi that trusts an identity provider: its
// keys come from a URL, and a route asks for a scope.
//
//	go run -C examples ./provider
//	JWKS_URL=https://login.example/keys go run -C examples ./provider
//
// The first line brings a stand-in for the provider, and tokens to try; the
// second one trusts a real one. Its name and the audience are in newAPI, as they
// would be in a program's configuration.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	server.Main(func(ctx context.Context, url string) (_ http.Handler, lines string, err error) {
		keysURL := os.Getenv("JWKS_URL")
		if keysURL == "" {
			if keysURL, lines, err = standIn(ctx, url); err != nil {
				return nil, "", err
			}
		}
		api, err := newAPI(ctx, keysURL)
		if err != nil {
			return nil, "", fmt.Errorf("JWKS_URL: %w", err)
		}
		return api, lines, nil
	})
}

func newAPI(ctx context.Context, jwksURL string) (http.Handler, error) {
	keys, err := jwthttp.NewJWKS(ctx, jwksURL, jwthttp.JWKSOptions{ // https, or http on loopback
		OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       "https://login.example",
			Audience:   []string{"https://api.example"},
			Algorithms: []string{"ES256"},
			Keys:       keys,
		}},
		Leeway: 30 * time.Second, // between the provider's clock and ours; 0 unless you say so
		Observer: func(r *http.Request, e jwthttp.Event) {
			if e.Err != nil { // the client is told less than this
				log.Printf("%s %q: %v", r.Method, r.URL.Path, e.Err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Get("/health", health) // for everyone: outside of the group
	r.Group(func(r chi.Router) {
		r.Use(auth.Handler)
		r.Get("/me", me)
		r.With(auth.RequireScopes("orders:write").Handler).Post("/orders", order) // verified once
	})
	return r, nil
}

func health(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") }

func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := jwthttp.ClaimsFromContext[jwt.RegisteredClaims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}

func order(w http.ResponseWriter, r *http.Request) {
	claims, _ := jwthttp.ClaimsFromContext[jwt.RegisteredClaims](r.Context())
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintln(w, "ordered by", claims.Subject)
}
