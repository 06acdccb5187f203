package main

import (
	"io"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/seed450a7203/jwthttp"
)

// newHTTPRouter registers with Handler, not Handle: the parameters are in the
// request's context then, where a rule finds them.
func newHTTPRouter(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := httprouter.New()
	site.HandlerFunc(http.MethodGet, "/health", health) // public

	// The whole app: whatever is not named above needs a token, forgotten routes too.
	app := httprouter.New()
	app.HandlerFunc(http.MethodGet, "/me", me)
	site.NotFound = auth.Handler(app)

	// A group: httprouter has none, so its routes share a Middleware instead.
	writers := auth.RequireScopes("orders:write")

	// A route: the rule sees the parameter that the handler sees.
	tenant := func(r *http.Request) string {
		return httprouter.ParamsFromContext(r.Context()).ByName("tenant")
	}
	ownTenant := writers.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), tenant(r))
	})
	app.Handler(http.MethodPost, "/tenants/:tenant/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), tenant(r)))
		})))
	return site
}
