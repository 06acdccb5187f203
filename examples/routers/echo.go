package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/seed450a7203/jwthttp"
)

// newEcho uses echo's own adapter. In version 5 it hands echo's parameters to
// r.PathValue, where a rule finds them, and the claims to c.Request().Context();
// version 4 leaves the parameters out: call r.SetPathValue for each of
// c.ParamNames there. They are as the client spelled them: ac%6De is another
// tenant than acme.
func newEcho(auth *jwthttp.Middleware, o *orders) http.Handler {
	site := echo.New()
	site.GET("/health", echo.WrapHandler(http.HandlerFunc(health))) // public

	// The whole app: whatever is not named above needs a token, forgotten routes too.
	app := site.Group("", echo.WrapMiddleware(auth.Handler))
	app.GET("/me", func(c *echo.Context) error {
		return c.String(http.StatusOK, greet(c.Request().Context()))
	})

	// A group: a scope on top. The token is not verified again.
	tenants := app.Group("/tenants/:tenant", echo.WrapMiddleware(auth.RequireScopes("orders:write").Handler))

	// A route: the rule sees the parameter that the handler sees.
	ownTenant := auth.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), r.PathValue("tenant"))
	})
	tenants.POST("/orders", func(c *echo.Context) error {
		return c.String(http.StatusCreated, o.place(c.Request().Context(), c.Param("tenant")))
	}, echo.WrapMiddleware(ownTenant.Handler))
	return site
}
