package jwthttp_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// A whole site needs a token, a group of routes a scope, and one route that the
// tenant in its path is the tenant in the claims. The token is verified once. The
// tenant rule is on the route: around the ServeMux it would run before routing,
// and see an empty path value.
func ExampleMiddleware_Require() {
	type Claims struct {
		Subject string `json:"sub"`
		Tenant  string `json:"tid"`
	}
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	sameTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		if claims.Tenant == "" || claims.Tenant != r.PathValue("tenant") {
			return errors.New("another tenant")
		}
		return nil
	}))
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })

	orders := http.NewServeMux()
	orders.Handle("POST /orders/{id}", ok)
	mux := http.NewServeMux()
	mux.Handle("GET /me", ok)
	mux.Handle("/orders/", auth.RequireScopes("orders:write").Handler(orders))
	mux.Handle("GET /tenants/{tenant}", sameTenant.Handler(ok))
	site := auth.Handler(mux)

	token := "Bearer " + issueToken("alice", jwt.MapClaims{"tid": "acme", "scope": "orders:read"})
	ask(site, "GET", "/me", "")
	ask(site, "GET", "/me", token)
	ask(site, "POST", "/orders/1", token)
	ask(site, "GET", "/tenants/acme", token)
	ask(site, "GET", "/tenants/other", token)

	// Output:
	// GET /me 401 {"error":"missing","error_description":"authentication required","reason":"missing"}
	// GET /me 200 welcome
	// POST /orders/1 403 {"error":"insufficient_scope","error_description":"insufficient scope","reason":"scope"}
	// GET /tenants/acme 200 welcome
	// GET /tenants/other 403 {"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}
}

// CORS middleware goes outside of the Handler, because a preflight request has no
// token. Use github.com/rs/cors or github.com/jub0bs/cors; this one is shortened.
func ExampleMiddleware_Handler_cors() {
	cors := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Headers", "Authorization")
				fmt.Fprintln(w, "preflight")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })
	site := cors(auth.Handler(ok))
	ask(site, "OPTIONS", "/", "")
	ask(site, "GET", "/", "Bearer "+issueToken("alice", nil))

	// Output:
	// OPTIONS / 200 preflight
	// GET / 200 welcome
}

// In a framework with handlers of another type, Authenticate decides and
// WriteError answers.
func ExampleMiddleware_Authenticate() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := auth.Authenticate(r)
		if err != nil {
			jwthttp.WriteError(w, err)
			return
		}
		fmt.Fprintln(w, "hello", jwthttp.MustClaims[jwt.MapClaims](r.Context())["sub"])
	})
	ask(h, "GET", "/", "Bearer "+issueToken("alice", nil))
	ask(h, "GET", "/", "Basic dXNlcjpwYXNz")

	// Output:
	// GET / 200 hello alice
	// GET / 401 {"error":"missing","error_description":"authentication required","reason":"missing"}
}
