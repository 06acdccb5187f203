package jwthttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
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
// first eight that fit are tried.
//
// An error that is [ErrKeysUnavailable] is a 503. Once ctx has ended,
// context.DeadlineExceeded is a 503, too. If ctx was canceled, these errors and
// context.Canceled are [ReasonCanceled]. Every other error is a 401: there is no
// such key.
//
// A key that is nil, private, weak or made for another algorithm is rejected. A
// bare key has no "use", "key_ops" and "alg"; only package jwks checks those of
// a JWK.
type KeySource interface {
	KeyfuncCtx(context.Context) jwt.Keyfunc
}

// A Keyfunc is a [KeySource]. For keys that change while the program runs, let it
// read an atomic.Pointer to a [KeySet].
type Keyfunc func(*jwt.Token) (any, error)

// KeyfuncCtx returns f.
func (f Keyfunc) KeyfuncCtx(context.Context) jwt.Keyfunc { return jwt.Keyfunc(f) }

// A KeySet maps key IDs ("kid") to keys. Tokens with a missing or unknown key
// ID are rejected. [New] copies the keys, and refuses a set that is empty or
// has a key that fits no algorithm of its Issuer. Printing a KeySet shows no
// key.
type KeySet map[string]any

// KeyfuncCtx returns a function that looks up the token's "kid".
func (s KeySet) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key, ok := s[kid]; ok && kid != "" {
			return key, nil
		}
		return nil, noKey(kid)
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
// ed25519.PublicKey. It must fit every algorithm of the Issuer. [New] copies
// it.
func StaticKey(key any) KeySource { return staticKey{&key} }

type staticKey struct{ key *any } // a pointer, which fmt does not follow

func (s staticKey) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) { return *s.key, nil }
}

// Format keeps the key out of printed Options.
func (staticKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "static key") }

// MarshalText keeps the key out of marshaled Options.
func (staticKey) MarshalText() ([]byte, error) { return []byte("static key"), nil }

// noKey is the error for a token whose key is not there.
func noKey(kid string) error { return fmt.Errorf("no key with kid %s", jws.Quoted(kid)) }

// keys is a compiled KeySource.
type keys struct {
	// find returns the keys for a token: at least one, all of which fit its
	// algorithm.
	find func(ctx context.Context, v *verified) ([]jwt.VerificationKey, error)
	// refetch returns newer keys for a token that none of find has verified. It
	// is nil if there are never any.
	refetch func(context.Context, keyset.Query) ([]jwt.VerificationKey, error)
	// mutable means that the owner of the source may modify the keys.
	mutable bool
}

// newKeys compiles a KeySource. It checks static keys now, and others when a
// token needs them.
func newKeys(p *problems.List, field string, source KeySource, iss *issuer) keys {
	if problems.IsNil(source) {
		p.AddHidden(field, "want a KeySource")
		return keys{}
	}
	switch source := source.(type) {
	case staticKey:
		return staticKeys(p, field, *source.key, iss)
	case KeySet:
		return setKeys(p, field, source, iss)
	case keyset.Finder:
		return foundKeys(p, field, source, iss)
	}
	return askedKeys(source, iss)
}

func staticKeys(p *problems.List, field string, key any, iss *issuer) keys {
	key = jwk.Copy(key)
	for _, alg := range iss.algorithms() {
		if err := jwk.Fits(iss.methods[alg], key); err != nil {
			p.AddHidden(field, "static key does not fit %s: %w", alg, err)
		}
	}
	list := []jwt.VerificationKey{key}
	return keys{find: func(context.Context, *verified) ([]jwt.VerificationKey, error) { return list, nil }}
}

func setKeys(p *problems.List, field string, set KeySet, iss *issuer) keys {
	if len(set) == 0 {
		p.AddHidden(field, "want at least one key")
	}
	type keyName struct{ kid, alg string }
	fit := make(map[keyName][]jwt.VerificationKey)
	misfits := make(map[string]error) // the last by "kid"
	for _, kid := range slices.Sorted(maps.Keys(set)) {
		key, fits := jwk.Copy(set[kid]), false
		for _, alg := range iss.algorithms() {
			if err := jwk.Fits(iss.methods[alg], key); err != nil {
				misfits[kid] = err
				continue
			}
			fit[keyName{kid, alg}] = []jwt.VerificationKey{key}
			fits = true
		}
		if kid == "" {
			p.AddHidden(field, `want a "kid" for each key`)
		}
		if !fits && len(iss.methods) > 0 {
			p.Add(field, kid, "key fits no algorithm of the issuer: %w", misfits[kid])
		}
	}
	return keys{find: func(_ context.Context, v *verified) ([]jwt.VerificationKey, error) {
		if list, ok := fit[keyName{v.token.KeyID, v.token.Algorithm}]; ok {
			return list, nil
		}
		if err, ok := misfits[v.token.KeyID]; ok {
			return nil, err
		}
		return nil, noKey(v.token.KeyID)
	}}
}

// foundKeys is for a key set that selects the keys for a token itself.
func foundKeys(p *problems.List, field string, set keyset.Finder, iss *issuer) keys {
	if name := set.DiscoveredFrom(); name != "" && name != iss.Name {
		p.Add(field, name, "discovered from another issuer than %q", iss.Name)
	}
	for _, alg := range iss.algorithms() {
		if jwk.IsHMAC(iss.methods[alg]) {
			p.Add(field, alg, "a key set on the network has no secrets")
		}
	}
	return keys{
		find: func(ctx context.Context, v *verified) ([]jwt.VerificationKey, error) {
			return set.FindKeys(ctx, v.query())
		},
		refetch: set.RefetchKeys,
	}
}

// askedKeys is for a KeySource that may return anything.
func askedKeys(source KeySource, iss *issuer) keys {
	return keys{mutable: true, find: func(ctx context.Context, v *verified) ([]jwt.VerificationKey, error) {
		method := iss.methods[v.token.Algorithm]
		unverified := &jwt.Token{Method: method, Claims: registeredClaims(v.token)}
		if err := json.Unmarshal(jws.Segment(v.token.Raw(), 0), &unverified.Header); err != nil {
			return nil, err
		}
		found, err := source.KeyfuncCtx(ctx)(unverified)
		if err != nil {
			return nil, fmt.Errorf("kid %s: %w", jws.Quoted(v.token.KeyID), err)
		}
		list := []jwt.VerificationKey{found}
		if set, ok := found.(jwt.VerificationKeySet); ok {
			list = set.Keys
		}
		if len(list) == 0 {
			return nil, errors.New("no keys")
		}
		return jwk.Fitting(method, list)
	}}
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

// query describes the token for a key set that selects its keys itself.
func (v *verified) query() keyset.Query {
	return keyset.Query{KeyID: v.token.KeyID, HasKeyID: v.hasKeyID, Algorithm: v.token.Algorithm, Issuer: v.token.Issuer, TenantID: v.tenantID}
}

func registeredClaims(t *Token) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		Issuer:    t.Issuer,
		Subject:   t.Subject,
		Audience:  slices.Clone(t.Audience),
		ExpiresAt: numericDate(t.ExpiresAt),
		NotBefore: numericDate(t.NotBefore),
		IssuedAt:  numericDate(t.IssuedAt),
		ID:        t.ID,
	}
}

func numericDate(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return &jwt.NumericDate{Time: t}
}
