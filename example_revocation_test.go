package jwthttp_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Logging out ends one token; "sign out everywhere" ends all that a user got so
// far. The list is in memory: a restart forgets it.
func ExampleRevocationList() {
	var revoked jwthttp.RevocationList
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the list") })
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		if err := revoked.RevokeToken(token); err != nil {
			http.Error(w, "not logged out", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "logged out")
	})
	mux.HandleFunc("POST /logout-everywhere", func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		err := revoked.Add(jwthttp.Revocation{
			Issuer:      token.Issuer,
			Subject:     token.Subject,
			IssuedUntil: time.Now(),
			Expires:     time.Now().Add(15 * time.Minute), // the longest that a token of ours lives
		})
		if err != nil {
			http.Error(w, "not logged out", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "logged out everywhere")
	})
	site := auth.Handler(mux)

	laptop := "Bearer " + issueToken("alice", jwt.MapClaims{"jti": "1"})
	phone := "Bearer " + issueToken("alice", jwt.MapClaims{"jti": "2"})
	ask(site, "POST", "/logout", laptop)
	ask(site, "GET", "/list", laptop)
	ask(site, "GET", "/list", phone)
	ask(site, "POST", "/logout-everywhere", phone)
	ask(site, "GET", "/list", phone)

	// Output:
	// POST /logout 200 logged out
	// GET /list 401 {"error":"invalid_token","error_description":"the token has been revoked"}
	// GET /list 200 the list
	// POST /logout-everywhere 200 logged out everywhere
	// GET /list 401 {"error":"invalid_token","error_description":"the token has been revoked"}
}
