package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/seed450a7203/jwthttp"
)

// newEcho uses echo's adapter. In version 5 it sets echo's parameters as path
// values, where a rule finds them, and the claims are in c.Request().Context().
// Version 4 does not set the path values. Call r.SetPathValue there for each of
// c.ParamNames. Parameters are not decoded: ac%6De is a different tenant from
// acme.
func newEcho(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := echo.New()
	site.GET("/health", echo.WrapHandler(http.HandlerFunc(health))) // public

	// All other paths require a token, including unknown ones.
	app := site.Group("", echo.WrapMiddleware(auth.Handler))
	app.GET("/me", func(c *echo.Context) error {
		return c.String(http.StatusOK, greet(c.Request().Context()))
	})

	// A group also requires a scope. The token is not verified again.
	tenants := app.Group("/tenants/:tenant", echo.WrapMiddleware(auth.RequireScopes("orders:write").Handler))

	// The rule of a route sees the same parameter as its handler.
	ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, r.PathValue("tenant"))
	}))
	tenants.POST("/orders", func(c *echo.Context) error {
		return c.String(http.StatusCreated, o.place(c.Request().Context(), c.Param("tenant")))
	}, echo.WrapMiddleware(ownTenant.Handler))
	return site
}
