package main

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func main() {
	secret := []byte(rand.Text() + rand.Text()) // HS256 needs 32 bytes or more
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:       "https://login.example",         // the exact "iss"
		Audience:   []string{"https://api.example"}, // this service, in "aud"
		Algorithms: []string{"HS256"},
		Keys:       jwthttp.StaticKey(secret),
	}}})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /me", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwthttp.MustClaims[Claims](r.Context())
		fmt.Fprintf(w, "%s, %s\n", claims.Subject, claims.Role)
	})))

	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{ // as a login would
		"iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "role": "editor",
		"exp": time.Now().Add(15 * time.Minute).Unix(),
	}).SignedString(secret)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("curl -H 'Authorization: Bearer %s' 127.0.0.1:8080/me\n", token)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
