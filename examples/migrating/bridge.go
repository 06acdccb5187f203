package migrating

import (
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Bridge accepts the tokens of Encode, and old tokens without "iss" and "aud". If
// maxAge is zero, a token needs an "exp". Otherwise it needs an "iat" and ends at
// maxAge, or at its "exp" if that is earlier. Replace Bridge when the last old
// token has ended.
func Bridge(secret []byte, maxAge time.Duration) (*jwthttp.Middleware, error) {
	return jwthttp.New[BridgeClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name:        jwthttp.Any,
		Audience:    []string{jwthttp.Any},
		NoExpiry:    maxAge > 0,
		MaxTokenAge: maxAge,
		Algorithms:  []string{"HS256"},
		Keys:        jwthttp.StaticKey(secret),
	}}})
}

// BridgeClaims may lack an issuer and an audience, but may not name others.
type BridgeClaims struct {
	jwt.RegisteredClaims
	Role string `json:"role"`
}

// Validate is called by jwthttp for each request.
func (c BridgeClaims) Validate() error {
	if c.Issuer != "" && c.Issuer != "https://login.example" {
		return errors.New("another issuer")
	}
	if len(c.Audience) > 0 && !slices.Contains(c.Audience, "https://api.example") {
		return errors.New("another audience")
	}
	return nil
}
