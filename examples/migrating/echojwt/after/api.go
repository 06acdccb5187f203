// Package after is the API of package before, protected by jwthttp.
package after

import (
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"
	"github.com/seed450a7203/jwthttp"
)

type Claims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

func New(secret []byte) (http.Handler, error) {
	auth, err := jwthttp.New[Claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: "https://login.example", Audience: []string{"https://api.example"},
			Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
		}},
		Extractor:    jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("jwt")),
		ErrorHandler: signIn,
	})
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.Use(echo.WrapMiddleware(auth.Handler)) // all other paths, including unknown ones
	e.GET("/me", me)
	e.POST("/reports", reports)
	site := echo.New()
	site.GET("/public", public)
	site.Any("/*", echo.WrapHandler(e))
	return site, nil
}

func signIn(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
	if e.Status != http.StatusUnauthorized {
		jwthttp.WriteError(w, e)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintln(w, `{"message":"please sign in"}`)
}

func public(c echo.Context) error { return c.String(http.StatusOK, "welcome") }

func me(c echo.Context) error {
	claims := jwthttp.MustClaims[Claims](c.Request().Context())
	return c.String(http.StatusOK, claims.Subject)
}

func reports(c echo.Context) error {
	claims := jwthttp.MustClaims[Claims](c.Request().Context())
	if claims.Role != "admin" {
		return echo.NewHTTPError(http.StatusForbidden, "admins only")
	}
	return c.String(http.StatusOK, "written")
}
