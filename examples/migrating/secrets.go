package migrating

import (
	"github.com/golang-jwt/jwt/v5"
)

// Secrets returns a key function that accepts tokens of all of the secrets. It is
// for tokens without "kid", while the secret changes.
func Secrets(secrets ...[]byte) jwt.Keyfunc {
	var set jwt.VerificationKeySet
	for _, secret := range secrets {
		set.Keys = append(set.Keys, secret)
	}
	return func(*jwt.Token) (any, error) { return set, nil }
}
