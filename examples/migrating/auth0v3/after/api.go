// Package after is the API of package before, protected by jwthttp.
package after

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

type Claims struct {
	jwt.RegisteredClaims
	OrgID       string   `json:"org_id"`
	Permissions []string `json:"permissions"`
}

func (c *Claims) Validate() error {
	if c.OrgID == "" {
		return errors.New("no org_id")
	}
	return nil
}

func New(ctx context.Context, issuer, audience string) (http.Handler, error) {
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{})
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
	mux.Handle("POST /reports", auth.Require(jwthttp.Rule(mayWrite)).Handler(http.HandlerFunc(reports)))
	site := http.NewServeMux()
	site.HandleFunc("GET /public", public)
	site.Handle("/", auth.Handler(mux)) // all other paths, including unknown ones
	return site, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[Claims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}

func mayWrite(_ *http.Request, claims Claims) error {
	if !slices.Contains(claims.Permissions, "write:reports") {
		return errors.New("write:reports is not in permissions")
	}
	return nil
}

func reports(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "written")
}
