// Package before is an API protected by careful code over golang-jwt.
package before

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

type claimsKey struct{}

func New(secret []byte) (http.Handler, error) {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(),
		jwt.WithIssuer("https://login.example"), jwt.WithAudience("https://api.example"))
	auth := func(next http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				http.Error(w, "unauthorized", http.StatusUnauthorized)
				return
			}
			var claims Claims
			_, err := parser.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return secret, nil })
			if err != nil {
				http.Error(w, "unauthorized", http.StatusUnauthorized)
				return
			}
			next(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /public", public)
	mux.Handle("GET /me", auth(me))
	return mux, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := r.Context().Value(claimsKey{}).(Claims)
	fmt.Fprintln(w, claims.Subject)
}
