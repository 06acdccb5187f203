package jwthttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Transfers need a second factor, used within the last five minutes. The refusal
// says so to the client, which sends its user to the authorization server with
// these values, and returns with a new token (RFC 9470).
func ExampleMiddleware_RequireACR() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	stepUp := auth.RequireACR("urn:example:mfa").RequireAuthAge(5 * time.Minute)
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
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="another authentication of the user required", acr_values="urn:example:mfa", max_age="300"
	// 401 Bearer realm="restricted", error="insufficient_user_authentication", error_description="another authentication of the user required", acr_values="urn:example:mfa", max_age="300"
	// transferred
	// 200
}
