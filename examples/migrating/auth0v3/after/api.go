// Package after guards with jwthttp what package before guards.
package after

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

type Claims struct {
	jwt.RegisteredClaims
	OrgID string `json:"org_id"`
}

func (c *Claims) Validate() error {
	if c.OrgID == "" {
		return errors.New("no org_id")
	}
	return nil
}

func New(ctx context.Context, issuer, audience string) (http.Handler, error) {
	keys, err := jwthttp.DiscoverJWKS(ctx, issuer, jwthttp.JWKSOptions{})
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: issuer, Audience: []string{audience}, Algorithms: []string{"RS256"}, Keys: keys,
	}}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /me", me)
	site := http.NewServeMux()
	site.HandleFunc("GET /public", public)
	site.Handle("/", auth.Handler(mux)) // forgotten routes too
	return site, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := jwthttp.ClaimsFromContext[Claims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}
