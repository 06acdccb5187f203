package revocation_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Logging out revokes one token. "Sign out everywhere" revokes all tokens that a
// user got so far. The list is in memory, so a restart forgets it.
func ExampleList() {
	key := []byte("0123456789abcdef0123456789abcdef")
	var revoked revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       "https://login.example",
			Audience:   []string{"https://api.example"},
			Algorithms: []string{"HS256"},
			Keys:       jwthttp.StaticKey(key),
		}},
		Revoked: revoked.Revoked,
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the list") })
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		// A browser that leaves the page cancels the context of its request.
		if err := revoked.RevokeToken(context.WithoutCancel(r.Context()), token); err != nil {
			http.Error(w, "not logged out", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "logged out")
	})
	mux.HandleFunc("POST /logout-everywhere", func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		err := revoked.Revoke(context.WithoutCancel(r.Context()), revocation.Entry{
			Kind:        revocation.BySubject,
			Issuer:      token.Issuer,
			Value:       token.Subject,
			IssuedUntil: time.Now(),
			Expires:     time.Now().Add(15 * time.Minute), // the longest that a token lives
		})
		if err != nil {
			http.Error(w, "not logged out", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "logged out everywhere")
	})
	site := auth.Handler(mux)

	ask := func(method, path, id string) {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://login.example", "aud": "https://api.example", "sub": "alice", "jti": id,
			"iat": time.Now().Unix(), "exp": time.Now().Add(15 * time.Minute).Unix(),
		}).SignedString(key)
		if err != nil {
			panic(err)
		}
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		fmt.Println(method, path, "with", id+":", w.Code)
	}
	ask("POST", "/logout", "laptop")
	ask("GET", "/list", "laptop")
	ask("GET", "/list", "phone")
	ask("POST", "/logout-everywhere", "phone")
	ask("GET", "/list", "phone")

	// Output:
	// POST /logout with laptop: 200
	// GET /list with laptop: 401
	// GET /list with phone: 200
	// POST /logout-everywhere with phone: 200
	// GET /list with phone: 401
}
