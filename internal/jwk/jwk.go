// Package jwk knows which signature algorithms exist, which key fits one, and
// how keys are copied and compared.
package jwk

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// MaxKeys is how many keys are tried for one token.
const MaxKeys = 8

// Method returns the signing method of an "alg" value, or nil if it is not
// supported. It does not use golang-jwt's registry, which any package of the
// program can change.
func Method(alg string) jwt.SigningMethod {
	switch alg {
	case "HS256":
		return jwt.SigningMethodHS256
	case "HS384":
		return jwt.SigningMethodHS384
	case "HS512":
		return jwt.SigningMethodHS512
	case "RS256":
		return jwt.SigningMethodRS256
	case "RS384":
		return jwt.SigningMethodRS384
	case "RS512":
		return jwt.SigningMethodRS512
	case "PS256":
		return exactSalt(jwt.SigningMethodPS256)
	case "PS384":
		return exactSalt(jwt.SigningMethodPS384)
	case "PS512":
		return exactSalt(jwt.SigningMethodPS512)
	case "ES256":
		return jwt.SigningMethodES256
	case "ES384":
		return jwt.SigningMethodES384
	case "ES512":
		return jwt.SigningMethodES512
	case "EdDSA":
		return jwt.SigningMethodEdDSA
	case "Ed25519":
		return ed25519Method{jwt.SigningMethodEdDSA}
	}
	return nil
}

// PublicKeyAlgorithms returns all supported "alg" values but those of HMAC.
func PublicKeyAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
}

// exactSalt returns m with the salt length of RFC 7518 §3.5, that of the hash.
// golang-jwt accepts any length.
func exactSalt(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: options, VerifyOptions: options}
}

// ed25519Method is EdDSA under its name of RFC 9864.
type ed25519Method struct{ *jwt.SigningMethodEd25519 }

func (ed25519Method) Alg() string { return "Ed25519" }

// SameAlgorithm reports whether a token with the "alg" value token may be
// verified by a JWK with the "alg" value key (RFC 7517 §4.4). "EdDSA" and
// "Ed25519" name the same algorithm for an Ed25519 key (RFC 9864 §2.2).
func SameAlgorithm(token, key string) bool {
	isEd25519 := func(alg string) bool { return alg == "EdDSA" || alg == "Ed25519" }
	return token == key || isEd25519(token) && isEd25519(key)
}

// IsHMAC reports whether the keys of m are shared secrets.
func IsHMAC(m jwt.SigningMethod) bool {
	_, ok := m.(*jwt.SigningMethodHMAC)
	return ok
}

// Sizes of RSA moduli in bits: the minimum of NIST SP 800-131A, and a maximum
// above which verifying a signature takes too long.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// MisfitError is the error of Fits.
type MisfitError struct{ error }

// Fits returns a MisfitError unless key is a sound public key or secret for m.
// Neither golang-jwt nor keyfunc checks this (RFC 8725 §3.1, §3.5).
func Fits(m jwt.SigningMethod, key any) error {
	if err := fits(m, key); err != nil {
		return MisfitError{err}
	}
	return nil
}

func fits(m jwt.SigningMethod, key any) error {
	switch m := m.(type) {
	case *jwt.SigningMethodHMAC:
		return fitsHMAC(m.Hash, key)
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return fitsRSA(key)
	case *jwt.SigningMethodECDSA:
		if err := fitsCurve(m.CurveBits, key); err != nil {
			return err
		}
		if _, err := key.(*ecdsa.PublicKey).Bytes(); err != nil {
			return errors.New("ECDSA key is not a point of its curve")
		}
		return nil
	default:
		return fitsEd25519(key)
	}
}

// Fitting returns the first MaxKeys keys of a list that fit a method, or the error
// of one that does not.
func Fitting(method jwt.SigningMethod, list []jwt.VerificationKey) ([]jwt.VerificationKey, error) {
	var fit []jwt.VerificationKey
	var misfit error
	for _, key := range list {
		if err := Fits(method, key); err != nil {
			misfit = err
		} else if len(fit) < MaxKeys {
			fit = append(fit, key)
		}
	}
	if len(fit) == 0 {
		return nil, misfit
	}
	return fit, nil
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

// looksLikeKey returns what a secret seems to be, or "". A public key used as a
// secret is the classic forgery (RFC 8725 §2.1).
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
		return errNil
	}
	if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("RSA key has %d bits, want %d to %d", bits, minRSABits, maxRSABits)
	}
	if k.E < 3 || k.E&1 == 0 {
		return fmt.Errorf("invalid RSA exponent %d", k.E)
	}
	return nil
}

func fitsCurve(bits int, key any) error {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return wrongType("*ecdsa.PublicKey", key)
	}
	if k == nil || k.Curve == nil || k.X == nil || k.Y == nil {
		return errNil
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
	return nil
}

func fitsEd25519(key any) error {
	k, ok := key.(ed25519.PublicKey)
	if !ok {
		return wrongType("ed25519.PublicKey", key)
	}
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 public key has %d bytes, want %d", len(k), ed25519.PublicKeySize)
	}
	return nil
}

var errNil = errors.New("key is nil")

func wrongType(want string, key any) error {
	if key == nil {
		return errNil
	}
	if _, ok := key.(crypto.Signer); ok {
		return fmt.Errorf("key is a private key (%T), want its public key", key)
	}
	return fmt.Errorf("key is a %T, want %s", key, want)
}

// Copy returns a key that shares no memory with key. A key of a type that fits
// no algorithm is returned as it is.
func Copy(key any) any {
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

// Equal compares two keys by value. Pointers are compared first, because the
// constant-time Equal of the standard library is slow.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case ed25519.PublicKey:
		b, ok := b.(ed25519.PublicKey)
		return ok && bytes.Equal(a, b)
	case *rsa.PublicKey:
		b, ok := b.(*rsa.PublicKey)
		return ok && (a == b || a != nil && b != nil && a.N != nil && b.N != nil && a.Equal(b))
	case *ecdsa.PublicKey:
		b, ok := b.(*ecdsa.PublicKey)
		return ok && (a == b || a != nil && b != nil && a.X != nil && a.Y != nil && b.X != nil && b.Y != nil && a.Equal(b))
	}
	return false
}
