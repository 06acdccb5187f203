// Package keyset compiles the key sources of package jwthttp. It declares what
// jwthttp knows about a key set beyond its KeySource interface, so that the root
// can use package jwks without importing it.
package keyset

import (
	"context"

	"github.com/golang-jwt/jwt/v5"
)

// Query says which keys a token needs. Nothing in it has been verified.
type Query struct {
	KeyID     string // "kid"; empty if HasKeyID is false
	HasKeyID  bool   // the header has a "kid", which may be empty
	Algorithm string // "alg"
	Issuer    string // "iss"
	TenantID  string // "tid"; empty if it is missing or not a string
}

// Finder is a key set that selects the keys for a token itself.
type Finder interface {
	// FindKeys returns the keys to try, at least one, all of which fit the
	// algorithm. An error that is jwthttp.ErrKeysUnavailable means that it is
	// not known whether there is one.
	FindKeys(ctx context.Context, q Query) ([]jwt.VerificationKey, error)

	// RefetchKeys is for a token that no key of FindKeys has verified. It
	// returns the keys of a fetch that is running or due, or none if there is
	// no newer key set. The error is one of FindKeys.
	RefetchKeys(ctx context.Context, q Query) ([]jwt.VerificationKey, error)

	// DiscoveredFrom returns the issuer whose metadata names the key set, or ""
	// if the key set was not discovered.
	DiscoveredFrom() string
}

// Checker is implemented by a Finder that may be configured wrong.
type Checker interface {
	// Check returns why the key set can never be fetched, or nil.
	Check() error
}
