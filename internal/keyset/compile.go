package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/problems"
)

// Token is a token that needs a key. Nothing in it has been verified.
type Token struct {
	Query
	Raw, Subject, ID               string
	Audience                       []string
	IssuedAt, NotBefore, ExpiresAt time.Time
}

// Keys is a compiled source of keys. It is immutable and safe for concurrent
// use.
type Keys struct {
	// Find returns the keys for a token: at least one, all of which fit its
	// algorithm.
	Find func(context.Context, Token) ([]jwt.VerificationKey, error)
	// Refetch returns newer keys for a token that none of Find has verified. It
	// is nil if there are never any.
	Refetch func(context.Context, Query) ([]jwt.VerificationKey, error)
	// Mutable means that the owner of the source may modify the keys.
	Mutable bool
}

// Methods are the signing methods of an issuer by "alg".
type Methods map[string]jwt.SigningMethod

// NewMethods returns the Methods of a list of "alg" values, and adds what is wrong
// with the list to p.
func NewMethods(p *problems.List, field string, algorithms []string) Methods {
	if len(algorithms) == 0 {
		p.AddHidden(field, `want the accepted values of "alg"`)
	}
	methods := make(Methods, len(algorithms))
	secrets := 0
	for _, alg := range algorithms {
		if method := jwk.Method(alg); method != nil {
			methods[alg] = method
		} else {
			p.Add(field, alg, "unknown algorithm")
		}
	}
	for _, method := range methods {
		if jwk.IsHMAC(method) {
			secrets++
		}
	}
	if secrets != 0 && secrets != len(methods) {
		// RFC 8725 §2.1: a public key must never be tried as a secret.
		p.Add(field, strings.Join(algorithms, " "), "HMAC and public-key algorithms need an Issuer each")
	}
	return methods
}

// Algorithms returns the sorted names of the methods.
func (m Methods) Algorithms() []string { return slices.Sorted(maps.Keys(m)) }

// Unknown is the error for a token whose key is not there.
func Unknown(kid string) error { return fmt.Errorf("no key with kid %s", jws.Quoted(kid)) }

// Static returns Keys for one key, which must fit every method.
func Static(p *problems.List, field string, key any, methods Methods) Keys {
	key = jwk.Copy(key)
	for _, alg := range methods.Algorithms() {
		if err := jwk.Fits(methods[alg], key); err != nil {
			p.AddHidden(field, "static key does not fit %s: %w", alg, err)
		}
	}
	list := []jwt.VerificationKey{key}
	return Keys{Find: func(context.Context, Token) ([]jwt.VerificationKey, error) { return list, nil }}
}

// ByID returns Keys for keys by "kid", each of which must fit a method.
func ByID(p *problems.List, field string, set map[string]any, methods Methods) Keys {
	if len(set) == 0 {
		p.AddHidden(field, "want at least one key")
	}
	type keyName struct{ kid, alg string }
	fit := make(map[keyName][]jwt.VerificationKey)
	misfits := make(map[string]error) // the last by "kid"
	for _, kid := range slices.Sorted(maps.Keys(set)) {
		key, fits := jwk.Copy(set[kid]), false
		for _, alg := range methods.Algorithms() {
			if err := jwk.Fits(methods[alg], key); err != nil {
				misfits[kid] = err
				continue
			}
			fit[keyName{kid, alg}] = []jwt.VerificationKey{key}
			fits = true
		}
		if kid == "" {
			p.AddHidden(field, `want a "kid" for each key`)
		}
		if !fits && len(methods) > 0 {
			p.Add(field, kid, "key fits no algorithm of the issuer: %w", misfits[kid])
		}
	}
	return Keys{Find: func(_ context.Context, t Token) ([]jwt.VerificationKey, error) {
		if list, ok := fit[keyName{t.KeyID, t.Algorithm}]; ok {
			return list, nil
		}
		if err, ok := misfits[t.KeyID]; ok {
			return nil, err
		}
		return nil, Unknown(t.KeyID)
	}}
}

// Found returns Keys for a key set that selects the keys itself, for tokens of
// the given issuer.
func Found(p *problems.List, field string, set Finder, issuer string, methods Methods) Keys {
	if name := set.DiscoveredFrom(); name != "" && name != issuer {
		p.Add(field, name, "discovered from another issuer than %q", issuer)
	}
	if c, ok := set.(Checker); ok {
		if err := c.Check(); err != nil {
			p.AddHidden(field, "%w", err)
		}
	}
	for _, alg := range methods.Algorithms() {
		if jwk.IsHMAC(methods[alg]) {
			p.Add(field, alg, "a key set on the network has no secrets")
		}
	}
	return Keys{
		Find:    func(ctx context.Context, t Token) ([]jwt.VerificationKey, error) { return set.FindKeys(ctx, t.Query) },
		Refetch: set.RefetchKeys,
	}
}

// Asked returns Keys for a function that may return anything.
func Asked(keyfunc func(context.Context) jwt.Keyfunc, methods Methods) Keys {
	return Keys{Mutable: true, Find: func(ctx context.Context, t Token) ([]jwt.VerificationKey, error) {
		method := methods[t.Algorithm]
		unverified := &jwt.Token{Method: method, Claims: t.registeredClaims()}
		if err := json.Unmarshal(jws.Segment(t.Raw, 0), &unverified.Header); err != nil {
			return nil, err
		}
		found, err := keyfunc(ctx)(unverified)
		if err != nil {
			return nil, fmt.Errorf("kid %s: %w", jws.Quoted(t.KeyID), err)
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

func (t *Token) registeredClaims() jwt.RegisteredClaims {
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
