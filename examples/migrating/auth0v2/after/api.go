// Package after guards with jwthttp what package before guards.
package after

import (
	"context"
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

func New(ctx context.Context, issuer, audience string) (http.Handler, error) {
	keys, err := jwthttp.DiscoverJWKS(ctx, issuer, jwthttp.JWKSOptions{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[jwt.RegisteredClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: issuer, Audience: []string{audience}, Algorithms: []string{"RS256"}, Keys: keys,
	}}})
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
	claims, _ := jwthttp.ClaimsFromContext[jwt.RegisteredClaims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}

func reports(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "written")
}
