// Package before is an API protected by auth0/go-jwt-middleware v2, set up as in
// its documentation.
package before

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

type Claims struct {
	Scope string `json:"scope"`
}

func (*Claims) Validate(context.Context) error { return nil }

func New(issuer, audience string) (http.Handler, error) {
	issuerURL, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	v, err := validator.New(jwks.NewCachingProvider(issuerURL, 5*time.Minute).KeyFunc,
		validator.RS256, issuer, []string{audience},
		validator.WithCustomClaims(func() validator.CustomClaims { return new(Claims) }),
		validator.WithAllowedClockSkew(time.Minute))
	if err != nil {
		return nil, err
	}
	auth := jwtmiddleware.New(v.ValidateToken)
	optional := jwtmiddleware.New(v.ValidateToken, jwtmiddleware.WithCredentialsOptional(true))
	mux := http.NewServeMux()
	mux.Handle("GET /public", optional.CheckJWT(http.HandlerFunc(public)))
	mux.Handle("GET /me", auth.CheckJWT(http.HandlerFunc(me)))
	mux.Handle("POST /reports", auth.CheckJWT(http.HandlerFunc(reports)))
	return mux, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims)
	fmt.Fprintln(w, claims.RegisteredClaims.Subject)
}

func reports(w http.ResponseWriter, r *http.Request) {
	claims := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims)
	if !slices.Contains(strings.Fields(claims.CustomClaims.(*Claims).Scope), "reports:write") {
		http.Error(w, "insufficient scope", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, "written")
}
