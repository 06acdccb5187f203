package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Transfers want a second factor, used within the last five minutes. The
// refusal says so to the client, which sends its user to the authorization
// server with these very values, and comes back with a new token (RFC 9470).
func ExampleMiddleware_RequireAuthentication() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	stepUp := auth.RequireAuthentication(jwthttp.AuthenticationLevel{
		ACR:    []string{"urn:example:mfa"},
		MaxAge: 5 * time.Minute,
	})
	mux := http.NewServeMux()
	mux.Handle("POST /transfers", stepUp.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		fmt.Println("transferred")
	})))

	for _, claims := range []jwt.MapClaims{
		{"acr": "urn:example:password", "auth_time": time.Now().Unix()},
		{"acr": "urn:example:mfa", "auth_time": time.Now().Add(-time.Hour).Unix()},
		{"acr": "urn:example:mfa", "auth_time": time.Now().Unix()},
	} {
		r := httptest.NewRequest("POST", "/transfers", nil)
		r.Header.Set("Authorization", "Bearer "+issueToken("alice", claims))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}

	// Output:
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="this resource needs another authentication of the user", acr_values="urn:example:mfa", max_age="300"
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="this resource needs another authentication of the user", acr_values="urn:example:mfa", max_age="300"
	// transferred
	// 200
}

// A stream of events ends with the token that opened it.
func ExampleMiddleware_Watch() {
	var logouts revocation.List
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{exampleIssuer()},
		Revoked: logouts.Revoked,
	})
	if err != nil {
		panic(err)
	}
	site := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := auth.Watch(r.Context(), time.Millisecond) // or rather some seconds
		fmt.Fprintln(w, "event: hello")
		if token, ok := jwthttp.TokenFromContext(ctx); ok { // meanwhile, elsewhere
			_ = logouts.RevokeToken(context.WithoutCancel(r.Context()), token)
		}
		<-ctx.Done()
		var refused *jwthttp.Error
		if errors.As(context.Cause(ctx), &refused) {
			fmt.Fprintln(w, "event: end, data:", refused.Reason)
		}
	}))
	ask(site, "GET", "/events", "Bearer "+issueToken("alice", nil))

	// Output:
	// GET /events 200 event: hello
	// event: end, data: revoked
}
