package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/internal/problems"
)

// A KeySource finds the key that verifies a token. [StaticKey], [KeySet],
// [Keyfunc], package jwks, and every keyfunc.Keyfunc of
// github.com/MicahParks/keyfunc/v3 are KeySources. A KeySource must be safe for
// concurrent use.
//
// KeyfuncCtx is called with the request's context. The function it returns gets
// an unverified jwt.Token with Method, Header and, as Claims, a
// jwt.RegisteredClaims. It returns a []byte, *rsa.PublicKey, *ecdsa.PublicKey
// or ed25519.PublicKey, or several in a jwt.VerificationKeySet, of which the
// first eight that fit are tried. A key that is nil, private, weak or made for
// another algorithm is rejected.
//
// An error that is [ErrKeysUnavailable] is a 503, and so is
// context.DeadlineExceeded once the request's context has ended. If that was
// canceled, these errors and context.Canceled are [ReasonCanceled]. Every other
// error is a 401.
type KeySource interface {
	KeyfuncCtx(context.Context) jwt.Keyfunc
}

// A Keyfunc is a [KeySource]. For keys that change while the program runs, let it
// read an atomic.Pointer to a [KeySet].
type Keyfunc func(*jwt.Token) (any, error)

// KeyfuncCtx returns f.
func (f Keyfunc) KeyfuncCtx(context.Context) jwt.Keyfunc { return jwt.Keyfunc(f) }

// A KeySet maps key IDs ("kid") to keys. Tokens with a missing or unknown key
// ID are rejected. [New] refuses a set that is empty or has a key that fits no
// algorithm of its Issuer. Printing a KeySet shows no key.
type KeySet map[string]any

// KeyfuncCtx returns a function that looks up the token's "kid".
func (s KeySet) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key, ok := s[kid]; ok && kid != "" {
			return key, nil
		}
		return nil, keyset.Unknown(kid)
	}
}

// Format prints the sorted key IDs for every verb.
func (s KeySet) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key set %q", slices.Sorted(maps.Keys(s)))
}

// MarshalText returns the sorted key IDs.
func (s KeySet) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(s)), nil }

// StaticKey returns a [KeySource] with one key for every token; "kid" is
// ignored. The key is a []byte for HMAC, at least as long as the hash, an
// *rsa.PublicKey of 2048 bits or more, an *ecdsa.PublicKey or an
// ed25519.PublicKey. It must fit every algorithm of the Issuer.
func StaticKey(key any) KeySource { return staticKey{&key} }

type staticKey struct{ key *any } // a pointer, which fmt does not follow

func (s staticKey) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) { return *s.key, nil }
}

// Format keeps the key out of printed Options.
func (staticKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "static key") }

// MarshalText keeps the key out of marshaled Options.
func (staticKey) MarshalText() ([]byte, error) { return []byte("static key"), nil }

// newKeys compiles a KeySource. It checks static keys now, and others when a
// token needs them.
func newKeys(p *problems.List, field string, source KeySource, iss *issuer) keyset.Keys {
	if problems.IsNil(source) {
		p.AddHidden(field, "want a KeySource")
		return keyset.Keys{}
	}
	switch source := source.(type) {
	case staticKey:
		return keyset.Static(p, field, *source.key, iss.methods)
	case KeySet:
		return keyset.ByID(p, field, source, iss.methods)
	case keyset.Finder:
		return keyset.Found(p, field, source, iss.Name, iss.methods)
	}
	return keyset.Asked(source.KeyfuncCtx, iss.methods)
}

// refuseKeys returns the refusal of a token for which there are no keys.
func refuseKeys(ctx context.Context, err error) *Error {
	unavailable := errors.Is(err, ErrKeysUnavailable) || ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded)
	var misfit jwk.MisfitError
	reason := ReasonUnknownKey
	switch {
	case (unavailable || errors.Is(err, context.Canceled)) && errors.Is(ctx.Err(), context.Canceled):
		// The client hung up. A client must not be able to cause 503s in the
		// logs.
		return refuse(ReasonCanceled, err)
	case unavailable:
		return refuse(ReasonKeysUnavailable, err)
	case errors.As(err, &misfit):
		reason = ReasonAlgorithm
	}
	return refuse(reason, fmt.Errorf("%w: %w", jwt.ErrTokenUnverifiable, err))
}
