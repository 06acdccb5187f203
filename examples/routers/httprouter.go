package main

import (
	"io"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/seed450a7203/jwthttp"
)

// newHTTPRouter registers routes with Handler instead of Handle, which puts the
// parameters into the request's context, where a rule finds them.
func newHTTPRouter(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := httprouter.New()
	site.HandlerFunc(http.MethodGet, "/health", health) // public

	// All other paths require a token, including unknown ones.
	app := httprouter.New()
	app.HandlerFunc(http.MethodGet, "/me", me)
	site.NotFound = auth.Handler(app)

	// httprouter has no groups. The routes share a Middleware instead.
	writers := auth.RequireScopes("orders:write")

	// The rule of a route sees the same parameter as its handler.
	tenant := func(r *http.Request) string {
		return httprouter.ParamsFromContext(r.Context()).ByName("tenant")
	}
	ownTenant := writers.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, tenant(r))
	}))
	app.Handler(http.MethodPost, "/tenants/:tenant/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), tenant(r)))
		})))
	return site
}
