package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/seed450a7203/jwthttp"
)

// ginAuth makes a gin middleware of a Middleware. It hands gin's parameters to
// r.PathValue, where a rule finds them, and the claims to c.Request.Context().
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
			c.Abort() // or gin would go on to the route's handler
		}
	}
}

// newGin has neither gin's Logger nor its Recovery: a panic is net/http's then.
func newGin(auth *jwthttp.Middleware, o *orders) http.Handler {
	gin.SetMode(gin.ReleaseMode) // without a list of routes on stdout
	site := gin.New()
	site.GET("/health", gin.WrapF(health)) // public

	// The whole app: a Group without a prefix.
	app := site.Group("", ginAuth(auth))
	app.GET("/me", func(c *gin.Context) {
		c.String(http.StatusOK, greet(c.Request.Context()))
	})

	// A group: a scope on top. The token is not verified again.
	tenants := app.Group("/tenants/:tenant", ginAuth(auth.RequireScopes("orders:write")))

	// A route: the rule sees the parameter that the handler sees.
	ownTenant := auth.Require(func(r *http.Request) error {
		return sameTenant(r.Context(), r.PathValue("tenant"))
	})
	tenants.POST("/orders", ginAuth(ownTenant), func(c *gin.Context) {
		c.String(http.StatusCreated, o.place(c.Request.Context(), c.Param("tenant")))
	})
	return site
}
