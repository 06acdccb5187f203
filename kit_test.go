package jwthttp_test

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuerName   = "https://login.example"
	audienceName = "https://api.example"
)

func mustSign(tb testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims) string {
	tb.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// altered returns the token with another character in the middle of its signature.
func altered(token string) string {
	i := len(token) - 10
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}
