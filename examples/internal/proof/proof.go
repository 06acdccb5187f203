// Package proof verifies DPoP proofs at the token endpoints of the examples. A
// resource needs none of it: jwthttp does it there.
package proof

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const maxAge = time.Minute

type claims struct {
	jwt.RegisteredClaims
	Method string `json:"htm"`
	URL    string `json:"htu"`
}

// Proof is a verified proof that may have been used before.
type Proof struct {
	Thumbprint string // of its key
	ID         string
	Until      time.Time // remember ID until then
}

// Check verifies the proof of a request to the token endpoint at url (RFC 9449
// §4.3). It accepts ES256 only.
func Check(r *http.Request, url string) (Proof, error) {
	fields := r.Header.Values("DPoP")
	if len(fields) != 1 {
		return Proof{}, errors.New("the request must have one DPoP field")
	}
	var thumbprint string
	var c claims
	_, err := jwt.ParseWithClaims(fields[0], &c, func(t *jwt.Token) (any, error) {
		if _, crit := t.Header["crit"]; crit || t.Header["typ"] != "dpop+jwt" {
			return nil, errors.New("invalid header")
		}
		key, hash, err := publicKey(t.Header["jwk"])
		thumbprint = hash
		return key, err
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithStrictDecoding())
	if err != nil {
		return Proof{}, err
	}
	if c.Method != r.Method || c.URL != url || c.IssuedAt == nil || c.ID == "" || len(c.ID) > 256 {
		return Proof{}, errors.New("the proof is for another request")
	}
	if age := time.Since(c.IssuedAt.Time); age > maxAge || age < -10*time.Second {
		return Proof{}, errors.New("the proof is too old or from the future")
	}
	return Proof{thumbprint, thumbprint + " " + c.ID, c.IssuedAt.Add(maxAge + 20*time.Second)}, nil
}

// publicKey returns the key of a JWK and its thumbprint (RFC 7638 §3).
func publicKey(v any) (*ecdsa.PublicKey, string, error) {
	m, _ := v.(map[string]any)
	x, errX := coordinate(m["x"])
	y, errY := coordinate(m["y"])
	_, private := m["d"]
	if m["kty"] != "EC" || m["crv"] != "P-256" || private || errX != nil || errY != nil {
		return nil, "", errors.New("invalid key")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + encode(x) + `","y":"` + encode(y) + `"}`))
	return key, encode(sum[:]), nil
}

func coordinate(v any) ([]byte, error) {
	text, _ := v.(string)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && len(b) != 32 {
		err = errors.New("invalid length")
	}
	return b, err
}
