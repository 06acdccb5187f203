// Package after is the API of package before, protected by jwthttp.
package after

import (
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func New(secret []byte) (http.Handler, error) {
	auth, err := jwthttp.New[Claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: "https://login.example", Audience: []string{"https://api.example"},
			Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
			http.Error(w, "unauthorized", e.Status)
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /public", public)
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	return mux, nil
}

func public(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") }

func me(w http.ResponseWriter, r *http.Request) {
	claims := jwthttp.MustClaims[Claims](r.Context())
	fmt.Fprintln(w, claims.Subject)
}
