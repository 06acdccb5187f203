package main

import (
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/seed450a7203/jwthttp"
)

// fiberAuth returns m as a fiber middleware. It sets fiber's parameters as path
// values, where a rule finds them. The claims are in c.Context().
//
// Fiber's adaptor for middlewares and auth.Handler around adaptor.FiberApp refuse
// the same requests, but fiber's handlers do not get the claims from them. So
// fiberAuth calls Authenticate. It does not call Options.ErrorHandler. It does
// not set the header fields that a response to a query token needs, and a
// refused request keeps its query token in c.
func fiberAuth(m *jwthttp.Middleware) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := adaptor.ConvertRequest(c, true)
		if err != nil {
			return fiber.ErrBadRequest
		}
		// The adaptor keeps only the last of several fields, and its strings are
		// overwritten by later requests. But two credentials must be refused, and
		// a handler may keep a Token.
		clear(r.Header)
		for name, value := range c.Request().Header.All() {
			r.Header.Add(string(name), string(value))
		}
		for _, name := range c.Route().Params {
			r.SetPathValue(name, c.Params(name))
		}
		r, err = m.Authenticate(r.WithContext(c.Context()))
		if err != nil {
			return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) { jwthttp.WriteError(w, err) })(c)
		}
		c.Request().SetRequestURI(r.RequestURI) // without a query token
		c.SetContext(r.Context())
		return c.Next()
	}
}

func newFiber(auth *jwthttp.Middleware, o *orders) *fiber.App {
	site := fiber.New(fiber.Config{Immutable: true})     // because orders keeps the parameter
	site.Get("/health", adaptor.HTTPHandlerFunc(health)) // public

	// All routes from here on require a token, and so do unknown paths.
	app := site.Group("/", fiberAuth(auth))
	app.Get("/me", func(c fiber.Ctx) error { return c.SendString(greet(c.Context())) })

	// A group also requires a scope. The rule of a route sees the same parameter as
	// its handler.
	tenants := app.Group("/tenants/:tenant", fiberAuth(auth.RequireScopes("orders:write")))
	ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, r.PathValue("tenant"))
	}))
	tenants.Post("/orders", fiberAuth(ownTenant), func(c fiber.Ctx) error {
		return c.Status(http.StatusCreated).SendString(o.place(c.Context(), c.Params("tenant")))
	})
	return site
}

// newFiberHandler is for a program that uses net/http. FiberApp passes on only
// the last of several Authorization fields. newFiber(auth, o).Listen passes on
// all of them, but a panic ends the program there, unless fiber's recover
// middleware comes first.
func newFiberHandler(auth *jwthttp.Middleware, o *orders) http.Handler {
	return adaptor.FiberApp(newFiber(auth, o))
}
