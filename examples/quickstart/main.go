package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func main() {
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://login.example",                            // its exact "iss"
		Audience:   []string{"https://api.example"},                    // us
		Algorithms: []string{"HS256"},                                  // and no other
		Keys:       jwthttp.StaticKey([]byte(os.Getenv("JWT_SECRET"))), // 32 bytes or more
	}}})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /me", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := jwthttp.ClaimsFromContext[Claims](r.Context())
		fmt.Fprintf(w, "%s, %s\n", claims.Subject, claims.Role)
	})))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
