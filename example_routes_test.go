package jwthttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// A whole site needs a token, a group of routes a scope, and one route that the
// tenant in its path is the tenant in the claims. The token is verified once.
// The tenant rule goes on the route: around the ServeMux it would run before
// routing, and see an empty path value.
func ExampleMiddleware_Require() {
	type Claims struct {
		Subject string `json:"sub"`
		Tenant  string `json:"tid"`
	}
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	sameTenant := auth.Require(func(r *http.Request) error {
		claims, _ := jwthttp.ClaimsFromContext[Claims](r.Context())
		if claims.Tenant == "" || claims.Tenant != r.PathValue("tenant") {
			return errors.New("another tenant's")
		}
		return nil
	})
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
	// GET /me 401 {"error":"missing","error_description":"this resource needs a token"}
	// GET /me 200 welcome
	// POST /orders/1 403 {"error":"insufficient_scope","error_description":"the token lacks a scope that this resource needs"}
	// GET /tenants/acme 200 welcome
	// GET /tenants/other 403 {"error":"forbidden","error_description":"the request is not allowed"}
}

// Optional admits visitors without a token, and never a bad token: a page for
// everyone would answer 401 to a visitor whose cookie has expired. The
// ErrorHandler clears such a cookie and asks the browser to come again.
func ExampleMiddleware_Optional() {
	opts := jwthttp.Options{
		Issuers:   []jwthttp.Issuer{exampleIssuer()},
		Extractor: jwthttp.FromCookie("__Host-token"),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
			if e.Status != http.StatusUnauthorized || e.Reason == jwthttp.ReasonMissing || r.Method != http.MethodGet {
				jwthttp.WriteError(w, e)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "__Host-token", MaxAge: -1, Path: "/", Secure: true, HttpOnly: true})
			w.Header().Del("WWW-Authenticate") // it belongs to a 401
			http.Redirect(w, r, r.URL.RequestURI(), http.StatusSeeOther)
		},
	}
	auth, err := jwthttp.New[jwt.MapClaims](opts)
	if err != nil {
		panic(err)
	}
	page := auth.Optional().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := jwthttp.TokenFromContext(r.Context()); ok {
			fmt.Fprintln(w, "hello", token.Subject)
			return
		}
		fmt.Fprintln(w, "hello stranger")
	}))

	visit := func(cookie string) {
		r := httptest.NewRequest("GET", "/", nil)
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "__Host-token", Value: cookie})
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		fmt.Printf("%d, cookie %q: %s\n", w.Code, w.Header().Get("Set-Cookie"), strings.TrimSpace(w.Body.String()))
	}
	visit("")
	visit(issueToken("alice", nil))
	visit(issueToken("alice", jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}))

	// Output:
	// 200, cookie "": hello stranger
	// 200, cookie "": hello alice
	// 303, cookie "__Host-token=; Path=/; Max-Age=0; HttpOnly; Secure": <a href="/">See Other</a>.
}

// In a framework with handlers of its own, Authenticate decides and WriteError
// answers, challenge included.
func ExampleMiddleware_Authenticate() {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{exampleIssuer()}})
	if err != nil {
		panic(err)
	}
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := auth.Authenticate(r)
		if err != nil {
			var refused *jwthttp.Error // as all of its errors are
			errors.As(err, &refused)
			jwthttp.WriteError(w, refused)
			return
		}
		token, _ := jwthttp.TokenFromContext(r.Context())
		fmt.Fprintln(w, "hello", token.Subject)
	})
	ask(own, "GET", "/", "Bearer "+issueToken("alice", nil))
	ask(own, "GET", "/", "Basic dXNlcjpwYXNz")

	// Output:
	// GET / 200 hello alice
	// GET / 401 {"error":"missing","error_description":"this resource needs a token"}
}
