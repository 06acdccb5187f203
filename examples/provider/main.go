// Provider is the API of the README: it accepts tokens of an identity provider,
// whose keys it finds by discovery. One route needs a scope.
//
//	go run -C examples ./provider
//	ISSUER=https://login.example go run -C examples ./provider
//
// The first line brings a stand-in for the provider, and tokens to try. The second
// one uses a real provider. The audience is in newAPI; a real program would read it
// from its configuration.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
	"github.com/seed450a7203/jwthttp/jwks"
)

func main() {
	server.Main(func(ctx context.Context, url string) (_ http.Handler, lines string, err error) {
		issuer := os.Getenv("ISSUER")
		if issuer == "" {
			if issuer, lines, err = standIn(ctx, url); err != nil {
				return nil, "", err
			}
		}
		api, err := newAPI(ctx, issuer)
		if err != nil {
			return nil, "", fmt.Errorf("ISSUER: %w", err)
		}
		return api, lines, nil
	})
}

func newAPI(ctx context.Context, issuer string) (http.Handler, error) {
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{}) // fetches in the background until ctx ends
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{"https://api.example"},
			Algorithms: []string{"RS256"},
			Keys:       keys,
		}},
		Observer: func(_ context.Context, e jwthttp.Event) {
			if e.Err != nil && e.Request != nil { // for logs; the client gets a fixed text
				log.Printf("%s %q: %v", e.Request.Method, e.Request.URL.Path, e.Err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", health) // public
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write").Handler(http.HandlerFunc(order)))
	return mux, nil
}

func health(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[jwt.RegisteredClaims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}

func order(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[jwt.RegisteredClaims](r.Context())
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintln(w, "ordered by", claims.Subject)
}
