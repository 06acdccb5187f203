package main

import (
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/seed450a7203/jwthttp"
)

// newChi needs no adapter: chi's middlewares are what Handler is. A rule goes
// into With or into a route's own Group, where the parameters are known. They
// are as the client spelled them: ac%6De is another tenant than acme.
func newChi(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := chi.NewRouter()
	site.Get("/health", health) // public

	// The whole app: auth.Handler in front of all that it has.
	site.Group(func(app chi.Router) {
		app.Use(auth.Handler)
		app.Get("/me", me)

		// A group: a scope on top. The token is not verified again.
		app.Route("/tenants/{tenant}", func(tenants chi.Router) {
			tenants.Use(auth.RequireScopes("orders:write").Handler)

			// A route: the rule sees the parameter that the handler sees.
			ownTenant := auth.Require(func(r *http.Request) error {
				return sameTenant(r.Context(), chi.URLParam(r, "tenant"))
			})
			tenants.With(ownTenant.Handler).Post("/orders", func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, o.place(r.Context(), chi.URLParam(r, "tenant")))
			})
		})
	})
	return site
}
