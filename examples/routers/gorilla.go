package main

import (
	"io"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/seed450a7203/jwthttp"
)

// newGorilla needs no adapter, because Handler is a gorilla middleware. Gorilla
// runs middleware only for routes that match, so an unknown path is a 404 for
// everyone.
func newGorilla(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := mux.NewRouter()
	site.HandleFunc("/health", health).Methods(http.MethodGet) // public

	// The whole app requires a token. It is a Subrouter without a prefix.
	app := site.NewRoute().Subrouter()
	app.Use(auth.Handler)
	app.HandleFunc("/me", me).Methods(http.MethodGet)

	// A group also requires a scope. The token is not verified again.
	tenants := app.PathPrefix("/tenants/{tenant}").Subrouter()
	tenants.Use(auth.RequireScopes("orders:write").Handler)

	// The rule of a route sees the same variable as its handler.
	ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, mux.Vars(r)["tenant"])
	}))
	tenants.Handle("/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), mux.Vars(r)["tenant"]))
		}))).Methods(http.MethodPost)
	return site
}
