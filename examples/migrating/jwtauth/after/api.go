// Package after is the API of package before, protected by jwthttp.
package after

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

func New(secret []byte) (http.Handler, error) {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: "https://login.example", Audience: []string{"https://api.example"},
			Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
		Extractor: jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("jwt")),
	})
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Get("/public", public)
	r.Group(func(r chi.Router) {
		r.Use(auth.Handler)
		r.Get("/me", me)
		r.With(auth.Require(jwthttp.Rule(adminOnly)).Handler).Post("/reports", reports)
	})
	return r, nil
}

func adminOnly(_ *http.Request, claims jwt.MapClaims) error {
	if claims["role"] != "admin" {
		return errors.New("admins only")
	}
	return nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[jwt.MapClaims](r.Context())
	fmt.Fprintln(w, claims["sub"])
}

func reports(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "written") }
