// Package after is the API of package before, protected by jwthttp.
package after

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/seed450a7203/jwthttp"
)

func New(secret []byte) (http.Handler, error) {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: "https://login.example", Audience: []string{"https://api.example"},
			Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
		Extractor: jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"),
			jwthttp.FromQuery("token"), jwthttp.FromCookie("jwt")),
	})
	if err != nil {
		return nil, err
	}
	e := gin.New()
	e.GET("/public", public)
	private := e.Group("", authenticated(auth))
	private.GET("/me", me)
	private.POST("/reports", authenticated(auth.Require(jwthttp.Rule(adminOnly))), reports)
	return e, nil
}

func authenticated(auth *jwthttp.Middleware) gin.HandlerFunc {
	return func(c *gin.Context) {
		admitted := false
		auth.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			admitted, c.Request = true, r
		})).ServeHTTP(c.Writer, c.Request)
		if !admitted {
			c.Abort()
		}
	}
}

func adminOnly(_ *http.Request, claims jwt.MapClaims) error {
	if claims["role"] != "admin" {
		return errors.New("admins only")
	}
	return nil
}

func public(c *gin.Context) { c.String(http.StatusOK, "welcome") }

func me(c *gin.Context) {
	claims := jwthttp.MustClaims[jwt.MapClaims](c.Request.Context())
	c.String(http.StatusOK, "%s", claims["sub"])
}

func reports(c *gin.Context) { c.String(http.StatusOK, "written") }
