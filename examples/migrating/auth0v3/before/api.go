// Package before is an API protected by auth0/go-jwt-middleware v3, set up as in its documentation.
package before

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v3"
	"github.com/auth0/go-jwt-middleware/v3/jwks"
	"github.com/auth0/go-jwt-middleware/v3/validator"
)

type Claims struct {
	OrgID       string   `json:"org_id"`
	Permissions []string `json:"permissions"`
}

func (c *Claims) Validate(context.Context) error {
	if c.OrgID == "" {
		return errors.New("no org_id")
	}
	return nil
}

func New(issuer, audience string) (http.Handler, error) {
	issuerURL, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	provider, err := jwks.NewCachingProvider(jwks.WithIssuerURL(issuerURL))
	if err != nil {
		return nil, err
	}
	v, err := validator.New(
		validator.WithKeyFunc(provider.KeyFunc),
		validator.WithAlgorithm(validator.RS256),
		validator.WithIssuer(issuer),
		validator.WithAudience(audience),
		validator.WithCustomClaims(func() *Claims { return new(Claims) }),
	)
	if err != nil {
		return nil, err
	}
	auth, err := jwtmiddleware.New(
		jwtmiddleware.WithValidator(v),
		jwtmiddleware.WithExclusionUrls([]string{"/public"}),
	)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /public", public)
	mux.HandleFunc("GET /me", me)
	mux.HandleFunc("POST /reports", reports)
	return auth.CheckJWT(mux), nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwtmiddleware.MustGetClaims[*validator.ValidatedClaims](r.Context())
	fmt.Fprintln(w, claims.RegisteredClaims.Subject)
}

func reports(w http.ResponseWriter, r *http.Request) {
	claims := jwtmiddleware.MustGetClaims[*validator.ValidatedClaims](r.Context())
	if !slices.Contains(claims.CustomClaims.(*Claims).Permissions, "write:reports") {
		http.Error(w, "not permitted", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, "written")
}
