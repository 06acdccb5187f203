package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/seed450a7203/jwthttp"
)

// ginAuth returns m as a gin middleware. It sets gin's parameters as path values,
// where a rule finds them. The claims are in c.Request.Context().
func ginAuth(m *jwthttp.Middleware) gin.HandlerFunc {
	return func(c *gin.Context) {
		for _, param := range c.Params {
			c.Request.SetPathValue(param.Key, param.Value)
		}
		admitted := false
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			admitted = true
			c.Request = r
		})).ServeHTTP(c.Writer, c.Request)
		if !admitted {
			c.Abort() // otherwise gin would call the handler of the route
		}
	}
}

// newGin uses neither gin's Logger nor its Recovery, so net/http handles panics.
func newGin(auth *jwthttp.Middleware, o *orders) http.Handler {
	gin.SetMode(gin.ReleaseMode) // without a list of routes on stdout
	site := gin.New()
	site.GET("/health", gin.WrapF(health)) // public

	// The whole app requires a token. It is a Group without a prefix.
	app := site.Group("", ginAuth(auth))
	app.GET("/me", func(c *gin.Context) {
		c.String(http.StatusOK, greet(c.Request.Context()))
	})

	// A group also requires a scope. The token is not verified again.
	tenants := app.Group("/tenants/:tenant", ginAuth(auth.RequireScopes("orders:write")))

	// The rule of a route sees the same parameter as its handler.
	ownTenant := auth.Require(jwthttp.Rule(func(r *http.Request, claims Claims) error {
		return sameTenant(claims, r.PathValue("tenant"))
	}))
	tenants.POST("/orders", ginAuth(ownTenant), func(c *gin.Context) {
		c.String(http.StatusCreated, o.place(c.Request.Context(), c.Param("tenant")))
	})
	return site
}
