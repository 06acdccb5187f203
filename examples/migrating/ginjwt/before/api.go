// Package before is an API protected by appleboy/gin-jwt, set up as in its documentation.
package before

import (
	"net/http"

	jwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
)

func New(secret []byte) (http.Handler, error) {
	auth, err := jwt.New(&jwt.GinJWTMiddleware{
		Key:         secret,
		TokenLookup: "header: Authorization, query: token, cookie: jwt",
		Authorizator: func(_ any, c *gin.Context) bool {
			return c.FullPath() != "/reports" || jwt.ExtractClaims(c)["role"] == "admin"
		},
	})
	if err != nil {
		return nil, err
	}
	e := gin.New()
	e.GET("/public", public)
	private := e.Group("", auth.MiddlewareFunc())
	private.GET("/me", me)
	private.POST("/reports", reports)
	return e, nil
}

func public(c *gin.Context) { c.String(http.StatusOK, "welcome") }

func me(c *gin.Context) {
	c.String(http.StatusOK, "%s", jwt.ExtractClaims(c)["sub"])
}

func reports(c *gin.Context) { c.String(http.StatusOK, "written") }
