package jwthttp_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// A logout revokes one token; "log out everywhere" revokes all tokens that a user
// has got so far. The list is in memory: a restart forgets it.
func ExampleOptions_logout() {
	var revoked revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	logout := func(revoke func(context.Context, *jwthttp.Token) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			token, _ := jwthttp.TokenFromContext(r.Context())
			// A browser that leaves the page must not stop the logout.
			if err := revoke(context.WithoutCancel(r.Context()), token); err != nil {
				http.Error(w, "not logged out", http.StatusInternalServerError)
				return
			}
			fmt.Fprintln(w, "logged out")
		}
	}
	everywhere := func(ctx context.Context, token *jwthttp.Token) error {
		now := time.Now()
		return revoked.Revoke(ctx, revocation.Entry{
			Kind:        revocation.BySubject,
			Issuer:      token.Issuer,
			Value:       token.Subject,
			IssuedUntil: now,
			Expires:     now.Add(15 * time.Minute), // the lifetime of our tokens
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the list") })
	mux.HandleFunc("POST /logout", logout(revoked.RevokeToken))
	mux.HandleFunc("POST /logout-everywhere", logout(everywhere))
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
	// GET /list 401 {"error":"invalid_token","error_description":"token revoked","reason":"revoked"}
	// GET /list 200 the list
	// POST /logout-everywhere 200 logged out
	// GET /list 401 {"error":"invalid_token","error_description":"token revoked","reason":"revoked"}
}
