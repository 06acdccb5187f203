package jwthttp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/keyset"
)

// KeySource finds the key that a token must be verified with. [StaticKey],
// [KeySet] and [Keyfunc] make one, and every keyfunc.Keyfunc of
// github.com/MicahParks/keyfunc is one as it stands.
//
// KeyfuncCtx is called for each request that gets as far as needing a key, with
// the request's context (and once more if a cached token's key has changed); the
// function it returns is called once, with a jwt.Token of its own that has Method, Header and, as Claims, a
// jwt.RegisteredClaims, all of them not yet verified. It returns a []byte,
// *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, or several in a
// jwt.VerificationKeySet, of which the first eight that fit are tried. An error
// that is [ErrKeysUnavailable] is answered with 503, every other one with 401:
// there is no such key.
//
// Whatever the source, a key that is nil, private, weak or made for another
// algorithm or curve is refused. A bare key does not show more than that: what
// its JWK said in "use", "key_ops" and "alg" is lost, and keyfunc ignores the
// latter for a token without "kid". Give each Issuer keys of its own.
type KeySource interface {
	KeyfuncCtx(context.Context) jwt.Keyfunc
}

// Keyfunc makes a [KeySource] of a plain jwt.Keyfunc. For keys that change
// while the program runs, let it read an atomic.Pointer to a [KeySet]; the
// package's examples show it.
type Keyfunc func(*jwt.Token) (any, error)

// KeyfuncCtx returns f.
func (f Keyfunc) KeyfuncCtx(context.Context) jwt.Keyfunc { return jwt.Keyfunc(f) }

// KeySet has keys by their "kid". The token must name one of them. [New] copies
// the set and refuses one that is empty or has a key that no algorithm of its
// Issuer can use. Printing a KeySet shows no key.
type KeySet map[string]any

// KeyfuncCtx returns a function that looks the token's "kid" up in s.
func (s KeySet) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key, ok := s[kid]; ok {
			return key, nil
		}
		return nil, errNoKey
	}
}

// setKey is a key of a KeySet, as New has judged it.
type setKey struct {
	list []jwt.VerificationKey // of the key alone
	fits map[string]bool       // by "alg"
}

func newSetKey(key any, methods map[string]jwt.SigningMethod) setKey {
	k := setKey{[]jwt.VerificationKey{key}, make(map[string]bool, len(methods))}
	for alg, method := range methods {
		k.fits[alg] = fits(method, key) == nil
	}
	return k
}

// Format prints the names of the keys, sorted, whatever the verb.
func (s KeySet) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key set %q", slices.Sorted(maps.Keys(s)))
}

// MarshalText is for encodings that would show the keys: it has their names only.
func (s KeySet) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(s)), nil }

// StaticKey makes a [KeySource] of one key: an HMAC secret of at least the
// hash's size as []byte, an *rsa.PublicKey of 2048 bits or more, an
// *ecdsa.PublicKey, or an ed25519.PublicKey. It must fit every algorithm of the
// Issuer. It serves every token, whatever "kid" it names. [New] copies the key.
func StaticKey(key any) KeySource { return staticKey{key, []jwt.VerificationKey{key}} }

type staticKey struct {
	key  any
	list []jwt.VerificationKey // of key alone
}

func (s staticKey) KeyfuncCtx(context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) { return s.key, nil }
}

// Format keeps the key out of whatever prints the Options.
func (staticKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "static key") }

// ownsKeys reports whether nobody but this package can change the keys.
func (iss *issuer) ownsKeys() bool {
	switch iss.keys.(type) {
	case staticKey, KeySet, keyset.Finder:
		return true
	}
	return false
}

// methods are golang-jwt's signing methods by "alg", but for RSASSA-PSS: it
// accepts any length of salt, where RFC 7518 §3.5 wants the hash's. They are
// not looked up in golang-jwt's registry, which anyone in the process can
// change.
var methods = map[string]jwt.SigningMethod{
	"HS256": jwt.SigningMethodHS256,
	"HS384": jwt.SigningMethodHS384,
	"HS512": jwt.SigningMethodHS512,
	"RS256": jwt.SigningMethodRS256,
	"RS384": jwt.SigningMethodRS384,
	"RS512": jwt.SigningMethodRS512,
	"ES256": jwt.SigningMethodES256,
	"ES384": jwt.SigningMethodES384,
	"ES512": jwt.SigningMethodES512,
	"PS256": strictPSS(jwt.SigningMethodPS256),
	"PS384": strictPSS(jwt.SigningMethodPS384),
	"PS512": strictPSS(jwt.SigningMethodPS512),
	"EdDSA": jwt.SigningMethodEdDSA,

	"Ed25519": jwk.Method("Ed25519"),
}

func strictPSS(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: options, VerifyOptions: options}
}

func isHMAC(m jwt.SigningMethod) bool {
	_, ok := m.(*jwt.SigningMethodHMAC)
	return ok
}

// Bounds on RSA moduli in bits: NIST SP 800-131A's least, and one above which
// verifying is a burden.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// fits returns an error unless key is a sound public key (or secret) for m.
// Neither golang-jwt nor keyfunc asks (RFC 8725 §3.1, §3.5).
func fits(m jwt.SigningMethod, key any) error {
	switch m := m.(type) {
	case *jwt.SigningMethodHMAC:
		return fitsHMAC(m.Hash, key)
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return fitsRSA(key)
	case *jwt.SigningMethodECDSA:
		return fitsECDSA(m.CurveBits, key)
	default:
		k, ok := key.(ed25519.PublicKey)
		if !ok {
			return wrongType("ed25519.PublicKey", key)
		}
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("ed25519 public key has %d bytes, want %d", len(k), ed25519.PublicKeySize)
		}
		return nil
	}
}

func fitsHMAC(hash crypto.Hash, key any) error {
	secret, ok := key.([]byte)
	if !ok {
		return wrongType("[]byte", key)
	}
	if kind := looksLikeKey(secret); kind != "" {
		return fmt.Errorf("HMAC secret looks like a %s", kind)
	}
	// RFC 7518 §3.2: a key of the hash's size or larger.
	if len(secret) < hash.Size() {
		return fmt.Errorf("HMAC secret has %d bytes, want at least %d", len(secret), hash.Size())
	}
	return nil
}

// looksLikeKey names what a secret was mistaken from, or returns "". A public
// key taken for a secret is the classic forgery (RFC 8725 §2.1).
func looksLikeKey(secret []byte) string {
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		return "PEM block"
	}
	switch text := bytes.TrimSpace(secret); {
	case len(text) == 0:
	case text[0] == '{':
		var jwk struct{ Kty, Keys any }
		if json.Unmarshal(text, &jwk) == nil && (jwk.Kty != nil || jwk.Keys != nil) {
			return "JWK"
		}
	case text[0] == 0x30: // an ASN.1 sequence
		if _, err := x509.ParsePKIXPublicKey(secret); err == nil {
			return "DER public key"
		}
		if _, err := x509.ParsePKCS1PublicKey(secret); err == nil {
			return "DER public key"
		}
	}
	return ""
}

func fitsRSA(key any) error {
	k, ok := key.(*rsa.PublicKey)
	if !ok {
		return wrongType("*rsa.PublicKey", key)
	}
	if k == nil || k.N == nil {
		return errors.New("key is nil")
	}
	if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("RSA key has %d bits, want %d to %d", bits, minRSABits, maxRSABits)
	}
	if k.E < 3 || k.E&1 == 0 {
		return fmt.Errorf("RSA exponent %d is none", k.E)
	}
	return nil
}

func fitsECDSA(bits int, key any) error {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return wrongType("*ecdsa.PublicKey", key)
	}
	if k == nil || k.Curve == nil || k.X == nil || k.Y == nil {
		return errors.New("key is nil")
	}
	curve := elliptic.P256()
	switch bits {
	case 384:
		curve = elliptic.P384()
	case 521:
		curve = elliptic.P521()
	}
	if k.Curve != curve {
		return fmt.Errorf("ECDSA key is on %s, want %s", k.Curve.Params().Name, curve.Params().Name)
	}
	if _, err := k.Bytes(); err != nil {
		return errors.New("ECDSA key is not a point of its curve")
	}
	return nil
}

func wrongType(want string, key any) error {
	if key == nil {
		return errors.New("key is nil")
	}
	if _, ok := key.(crypto.Signer); ok {
		return fmt.Errorf("key is a %T, want its public key", key)
	}
	return fmt.Errorf("key is a %T, want %s", key, want)
}

// copyKey returns a key that the caller of New can no longer change. A key of
// a type that fits no algorithm comes back as it is, to be refused.
func copyKey(key any) any {
	switch k := key.(type) {
	case []byte:
		return bytes.Clone(k)
	case ed25519.PublicKey:
		return ed25519.PublicKey(bytes.Clone(k))
	case *rsa.PublicKey:
		if k != nil && k.N != nil {
			return &rsa.PublicKey{N: new(big.Int).Set(k.N), E: k.E}
		}
	case *ecdsa.PublicKey:
		if k != nil && k.X != nil && k.Y != nil {
			return &ecdsa.PublicKey{Curve: k.Curve, X: new(big.Int).Set(k.X), Y: new(big.Int).Set(k.Y)}
		}
	}
	return key
}
