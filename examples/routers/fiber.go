package main

import (
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/seed450a7203/jwthttp"
)

// fiberAuth makes a fiber middleware of a Middleware. Neither fiber's adaptor for
// middlewares nor auth.Handler around adaptor.FiberApp would do: both refuse well,
// but bring no claims to fiber's handlers. So Authenticate decides here, with
// fiber's parameters in r.PathValue, and the claims go to c.Context(). Not here:
// Options.ErrorHandler, and what a response to a query token should have.
func fiberAuth(m *jwthttp.Middleware) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := adaptor.ConvertRequest(c, true)
		if err != nil {
			return fiber.ErrBadRequest
		}
		// The adaptor keeps the last of several fields, in memory that is used
		// again; but two credentials must be refused, and a Token may be kept.
		clear(r.Header)
		for name, value := range c.Request().Header.All() {
			r.Header.Add(string(name), string(value))
		}
		for _, name := range c.Route().Params {
			r.SetPathValue(name, c.Params(name))
		}
		r, err = m.Authenticate(r.WithContext(c.Context()))
		c.Request().SetRequestURI(r.RequestURI) // a query token is gone from it
		if err != nil {
			var refused *jwthttp.Error // as all of Authenticate's errors are
			errors.As(err, &refused)
			return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) { jwthttp.WriteError(w, refused) })(c)
		}
		c.SetContext(r.Context())
		return c.Next()
	}
}

func newFiber(auth *jwthttp.Middleware, o *orders) *fiber.App {
	site := fiber.New(fiber.Config{Immutable: true})     // orders keeps the parameter
	site.Get("/health", adaptor.HTTPHandlerFunc(health)) // public

	// The whole app: what comes after this needs a token, unknown paths too.
	app := site.Group("/", fiberAuth(auth))
	app.Get("/me", func(c fiber.Ctx) error { return c.SendString(greet(c.Context())) })

	// A group, and a route whose rule sees the parameter that the handler sees.
	tenants := app.Group("/tenants/:tenant", fiberAuth(auth.RequireScopes("orders:write")))
	ownTenant := auth.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), r.PathValue("tenant"))
	})
	tenants.Post("/orders", fiberAuth(ownTenant), func(c fiber.Ctx) error {
		return c.Status(http.StatusCreated).SendString(o.place(c.Context(), c.Params("tenant")))
	})
	return site
}

// newFiberHandler is for a program of net/http. FiberApp hands on the last of
// several Authorization fields. newFiber(auth, o).Listen has them all, but ends
// with the program at the first panic, unless fiber's recover comes first.
func newFiberHandler(auth *jwthttp.Middleware, o *orders) http.Handler {
	return adaptor.FiberApp(newFiber(auth, o))
}
