// Package after is the API of package before, protected by jwthttp.
package after

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

func New(ctx context.Context, issuer, audience string) (http.Handler, error) {
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: []string{audience}, Algorithms: []string{"RS256"}, Keys: keys,
		}},
		Leeway: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /public", auth.Optional().Handler(http.HandlerFunc(public)))
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("POST /reports", auth.RequireScopes("reports:write").Handler(http.HandlerFunc(reports)))
	return mux, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[jwt.RegisteredClaims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}

func reports(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "written")
}
