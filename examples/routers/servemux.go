package main

import (
	"io"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// newServeMux is net/http's own router. A group is a ServeMux of its own, behind
// the pattern that its routes begin with.
func newServeMux(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("GET /health", health) // public

	// The whole app: whatever is not named above needs a token, forgotten routes too.
	app := http.NewServeMux()
	app.HandleFunc("GET /me", me)
	site.Handle("/", auth.Handler(app))

	// A group: a scope on top. The token is not verified again.
	tenants := http.NewServeMux()
	app.Handle("/tenants/", auth.RequireScopes("orders:write").Handler(tenants))

	// A route: here, behind the last ServeMux, the path values are known.
	ownTenant := auth.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), r.PathValue("tenant"))
	})
	tenants.Handle("POST /tenants/{tenant}/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), r.PathValue("tenant")))
		})))
	return site
}
