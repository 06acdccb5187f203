package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/base64url"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// Errors of ParsePublic. None of them quotes the key.
var (
	errPrivate  = errors.New("JWK has a private or symmetric key")
	errKeyType  = errors.New(`JWK has an unknown "kty" or "crv"`)
	errMember   = errors.New("JWK member is missing, or not base64url of the right length")
	errOffCurve = errors.New("JWK is not a point of its curve")
	errLowOrder = errors.New("JWK is a point of low order, or not in canonical form")
	errLargeRSA = fmt.Errorf("JWK has an RSA key of more than %d bits, or an exponent above %d", maxClientRSABits, maxClientExponent)
)

// Limits of the RSA keys of clients, who choose how long their signatures take to
// verify. The exponent is the usual one.
const (
	maxClientRSABits  = 4096
	maxClientExponent = 1<<16 + 1
)

// Public is the public key of a JWK that a client has sent.
type Public struct {
	Key        any    // as golang-jwt takes it; it may be too small, or not for an algorithm, see Fits
	Thumbprint string // with SHA-256 (RFC 7638), in base64url
}

// Fits is like the function Fits, but does not check again that the key is a point
// of its curve.
func (p Public) Fits(m jwt.SigningMethod) error {
	if ec, ok := m.(*jwt.SigningMethodECDSA); ok {
		return fitsCurve(ec.CurveBits, p.Key)
	}
	return Fits(m, p.Key)
}

// members are the parameters of a key as text.
type members struct{ kty, crv, x, y, n, e string }

// ParsePublic reads a JWK (RFC 7517) that must be a public key for signatures. A
// private or symmetric parameter is an error: a client that sends it has lost
// its key. Other parameters, such as "use" and "ext", are ignored.
func ParsePublic(jwk strictjson.Value) (Public, error) {
	var m members
	for name, v := range jwk.Members() {
		var to *string
		switch name {
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return Public{}, errPrivate
		case "kty":
			to = &m.kty
		case "crv":
			to = &m.crv
		case "x":
			to = &m.x
		case "y":
			to = &m.y
		case "n":
			to = &m.n
		case "e":
			to = &m.e
		default:
			continue
		}
		var ok bool
		if *to, ok = v.Unquote(); !ok {
			return Public{}, errMember
		}
	}
	switch m.kty {
	case "EC":
		return m.ecdsa()
	case "OKP":
		return m.ed25519()
	case "RSA":
		return m.rsa()
	case "oct":
		return Public{}, errPrivate
	}
	return Public{}, errKeyType
}

// ecdsa returns a key of RFC 7518 §6.2.1. Its coordinates have the full size of
// the curve, so that a key has one thumbprint.
func (m *members) ecdsa() (Public, error) {
	var curve elliptic.Curve
	switch m.crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return Public{}, errKeyType
	}
	size := (curve.Params().BitSize + 7) / 8
	var buffer [1 + 2*66]byte
	point := buffer[:1+2*size]
	point[0] = 4 // uncompressed (SEC 1, §2.3.3)
	if !decodeExact(point[1:1+size], m.x) || !decodeExact(point[1+size:], m.y) {
		return Public{}, errMember
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return Public{}, errOffCurve
	}
	return Public{key, thumbprint(`{"crv":"`, m.crv, `","kty":"EC","x":"`, m.x, `","y":"`, m.y, `"}`)}, nil
}

// ed25519 returns a key of RFC 8037 §2.
func (m *members) ed25519() (Public, error) {
	if m.crv != "Ed25519" {
		return Public{}, errKeyType
	}
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	if !decodeExact(key, m.x) {
		return Public{}, errMember
	}
	if hasLowOrder(key) {
		return Public{}, errLowOrder
	}
	return Public{key, thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"`, m.x, `"}`)}, nil
}

// rsa returns a key of RFC 7518 §6.3.1.
func (m *members) rsa() (Public, error) {
	n, ok := decodeInteger(m.n)
	e, ok2 := decodeInteger(m.e)
	if !ok || !ok2 {
		return Public{}, errMember
	}
	if n.BitLen() > maxClientRSABits || e.Cmp(big.NewInt(maxClientExponent)) > 0 {
		return Public{}, errLargeRSA
	}
	key := &rsa.PublicKey{N: n, E: int(e.Int64())}
	return Public{key, thumbprint(`{"e":"`, m.e, `","kty":"RSA","n":"`, m.n, `"}`)}, nil
}

// decodeExact decodes text, which must have as many bytes as to.
func decodeExact(to []byte, text string) bool {
	if base64url.DecodedLen(len(text)) != len(to) {
		return false
	}
	_, ok := base64url.Decode(to, text)
	return ok
}

// decodeInteger decodes a Base64urlUInt (RFC 7518 §2) without leading zeros.
func decodeInteger(text string) (*big.Int, bool) {
	b, ok := base64url.Decode(make([]byte, base64url.DecodedLen(len(text))), text)
	if !ok || len(b) == 0 || b[0] == 0 {
		return nil, false
	}
	return new(big.Int).SetBytes(b), true
}

// thumbprint hashes the required members, in order of their names (RFC 7638 §3).
// Their values need no escaping, since they are base64url.
func thumbprint(parts ...string) string {
	var buffer [256]byte
	text := buffer[:0]
	for _, part := range parts {
		text = append(text, part...)
	}
	hash := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// hasLowOrder reports whether an Ed25519 key is one of the points for which one
// signature verifies any message, or is not in canonical form (RFC 8032 §5.1.3).
// crypto/ed25519 accepts both.
func hasLowOrder(key ed25519.PublicKey) bool {
	var y [ed25519.PublicKeySize]byte
	copy(y[:], key)
	y[31] &= 0x7f // the sign of x
	switch y {
	case [32]byte{}, [32]byte{1}, // order 4 and 1
		[32]byte{ // order 8
			0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		[32]byte{ // order 8
			0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}:
		return true
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return false
		}
	}
	// From p-1, which has order 2, on; p is 2^255 - 19.
	return y[31] == 0x7f && y[0] >= 0xec
}
