package main

import (
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/seed450a7203/jwthttp"
)

// newChi needs no adapter, because Handler is a chi middleware. Put a rule into
// With or into the Group of a route, where the parameters are known. Parameters
// are not decoded: ac%6De is a different tenant from acme.
func newChi(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := chi.NewRouter()
	site.Get("/health", health) // public

	// The whole app requires a token.
	site.Group(func(app chi.Router) {
		app.Use(auth.Handler)
		app.Get("/me", me)

		// A group also requires a scope. The token is not verified again.
		app.Route("/tenants/{tenant}", func(tenants chi.Router) {
			tenants.Use(auth.RequireScopes("orders:write").Handler)

			// The rule of a route sees the same parameter as its handler.
			ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
				return sameTenant(claims, chi.URLParam(r, "tenant"))
			}))
			tenants.With(ownTenant.Handler).Post("/orders", func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, o.place(r.Context(), chi.URLParam(r, "tenant")))
			})
		})
	})
	return site
}
