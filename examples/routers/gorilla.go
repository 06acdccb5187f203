package main

import (
	"io"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/seed450a7203/jwthttp"
)

// newGorilla needs no adapter: gorilla's middlewares are what Handler is. They
// run for routes that match, so an unknown path is gorilla's 404 for everyone.
func newGorilla(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := mux.NewRouter()
	site.HandleFunc("/health", health).Methods(http.MethodGet) // public

	// The whole app: a Subrouter without a prefix.
	app := site.NewRoute().Subrouter()
	app.Use(auth.Handler)
	app.HandleFunc("/me", me).Methods(http.MethodGet)

	// A group: a scope on top. The token is not verified again.
	tenants := app.PathPrefix("/tenants/{tenant}").Subrouter()
	tenants.Use(auth.RequireScopes("orders:write").Handler)

	// A route: the rule sees the variable that the handler sees.
	ownTenant := auth.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), mux.Vars(r)["tenant"])
	})
	tenants.Handle("/orders", ownTenant.Handler(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, o.place(r.Context(), mux.Vars(r)["tenant"]))
		}))).Methods(http.MethodPost)
	return site
}
