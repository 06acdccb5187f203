// Package before is an API protected by go-chi/jwtauth, set up as in its documentation.
package before

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/jwtauth/v5"
)

func New(secret []byte) (http.Handler, error) {
	auth := jwtauth.New("HS256", secret, nil)
	r := chi.NewRouter()
	r.Get("/public", public)
	r.Group(func(r chi.Router) {
		r.Use(jwtauth.Verifier(auth))
		r.Use(jwtauth.Authenticator(auth))
		r.Get("/me", me)
		r.With(adminOnly).Post("/reports", reports)
	})
	return r, nil
}

func adminOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, claims, _ := jwtauth.FromContext(r.Context())
		if claims["role"] != "admin" {
			http.Error(w, "admins only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	_, claims, _ := jwtauth.FromContext(r.Context())
	fmt.Fprintln(w, claims["sub"])
}

func reports(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "written") }
