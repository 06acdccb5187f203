package main

import (
	"io"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// newServeMux uses net/http's router. A group is a second ServeMux, registered at
// the prefix of its routes.
func newServeMux(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("GET /health", health) // public

	// All other paths require a token, including unknown ones.
	app := http.NewServeMux()
	app.HandleFunc("GET /me", me)
	site.Handle("/", auth.Handler(app))

	// A group also requires a scope. The token is not verified again.
	tenants := http.NewServeMux()
	app.Handle("/tenants/", auth.RequireScopes("orders:write").Handler(tenants))

	// The rule of a route is behind the last ServeMux, where path values are set.
	ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, r.PathValue("tenant"))
	}))
	tenants.Handle("POST /tenants/{tenant}/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), r.PathValue("tenant")))
		})))
	return site
}
