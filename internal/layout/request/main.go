// Request serves one admitted request. The test of package layout runs it with
// instrumented sources. It writes "begin" and "end" to standard error before and
// after the request.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"flag"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

type claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func main() {
	cacheSize := flag.Int("cache", 0, "`number` of tokens to cache; the second request of a token is traced")
	flag.Parse()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	const issuer, audience = "https://login.example", "https://api.example"
	m, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: []string{audience}, Algorithms: []string{"RS256"}, Keys: jwthttp.StaticKey(&key.PublicKey),
		}},
		CacheSize: *cacheSize,
	})
	check(err)
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: "user-1", Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Role: "editor",
	}).SignedString(key)
	check(err)
	handler := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if jwthttp.MustClaims[claims](r.Context()).Role != "editor" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	if *cacheSize > 0 {
		handler.ServeHTTP(w, r)
	}
	println("begin")
	handler.ServeHTTP(w, r)
	println("end")
	if w.Code != http.StatusOK {
		panic(w.Body.String())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
