package migrating

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Encode issues a token, as jwtauth's Encode and gin-jwt's TokenGenerator do.
func Encode(secret []byte, subject string, lifetime time.Duration) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: "https://login.example", Audience: jwt.ClaimStrings{"https://api.example"}, Subject: subject,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	}).SignedString(secret)
}
