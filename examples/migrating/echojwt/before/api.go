// Package before is an API protected by labstack/echo-jwt, set up as in its documentation.
package before

import (
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func New(secret []byte) (http.Handler, error) {
	e := echo.New()
	e.Use(echojwt.WithConfig(echojwt.Config{
		SigningKey:    secret,
		TokenLookup:   "header:Authorization:Bearer ,cookie:jwt",
		NewClaimsFunc: func(echo.Context) jwt.Claims { return new(Claims) },
		Skipper:       func(c echo.Context) bool { return c.Path() == "/public" },
		ErrorHandler:  signIn,
	}))
	e.GET("/public", public)
	e.GET("/me", me)
	e.POST("/reports", reports)
	return e, nil
}

func signIn(c echo.Context, _ error) error {
	return c.JSON(http.StatusUnauthorized, map[string]string{"message": "please sign in"})
}

func public(c echo.Context) error { return c.String(http.StatusOK, "welcome") }

func me(c echo.Context) error {
	claims := c.Get("user").(*jwt.Token).Claims.(*Claims)
	return c.String(http.StatusOK, claims.Subject)
}

func reports(c echo.Context) error {
	claims := c.Get("user").(*jwt.Token).Claims.(*Claims)
	if claims.Role != "admin" {
		return echo.NewHTTPError(http.StatusForbidden, "admins only")
	}
	return c.String(http.StatusOK, "written")
}
