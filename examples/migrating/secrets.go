package migrating

import (
	"github.com/golang-jwt/jwt/v5"
)

// Secrets returns a key function for tokens without "kid" while the secret changes.
// It serves golang-jwt, echo-jwt (KeyFunc), and as a jwthttp.Keyfunc jwthttp.
func Secrets(secrets ...[]byte) jwt.Keyfunc {
	var set jwt.VerificationKeySet
	for _, secret := range secrets {
		set.Keys = append(set.Keys, secret)
	}
	return func(*jwt.Token) (any, error) { return set, nil }
}
