// Package benchmarks compares jwthttp with its peers: each contender guards
// the same handler, checks the same things, and is shown the same tokens.
package benchmarks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuerName   = "https://login.example.com/"
	audienceName = "https://orders.example.com"
	keyID        = "2026-01-signing"
	role         = "editor"
	subject      = "auth0|5f7c8ec7c33c6c004bbafe82"
)

// Claims is what contenders decode a token into: registered and three own claims.
type Claims struct {
	jwt.RegisteredClaims
	Own
}

// Own are the claims that no RFC names.
type Own struct {
	Role        string   `json:"role"`
	Tenant      string   `json:"tid"`
	Permissions []string `json:"permissions"`
}

// FlatClaims is the same token without pointers, maps and slices: copying the
// struct copies everything.
type FlatClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	ID        string `json:"jti"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`
	Role      string `json:"role"`
	Tenant    string `json:"tid"`
	Session   string `json:"sid"`
}

// Algorithms are those that every contender is built for, if it can.
func Algorithms() []string { return []string{"HS256", "RS256", "ES256", "EdDSA"} }

// Names of the requests that contenders are shown. Only Admitted is let through.
const (
	Admitted  = "admitted"
	Missing   = "missing"   // no Authorization field
	Garbage   = "garbage"   // three segments, none of which is JSON
	Large     = "large"     // a signed token of 16 KiB, twice what jwthttp takes
	Expired   = "expired"   // an hour ago, and well signed
	Audience  = "audience"  // meant for another service, and well signed
	Issuer    = "issuer"    // from another issuer, and well signed
	Signature = "signature" // one bit of it is changed
	None      = "none"      // alg none, no signature
	OtherAlg  = "otheralg"  // see Fixture
)

// Cases are the requests that are timed.
func Cases() []string {
	return []string{Admitted, Missing, Garbage, Expired, Audience, Signature}
}

// Fixture has an algorithm's key pair and a token for each request. OtherAlg
// is, for HS256 and RS256, a good token under the same key with the next hash,
// and for the others an HMAC keyed with the public key, the classic confusion.
type Fixture struct {
	Alg       string
	Verifying any // a []byte for HMAC, else a public key
	signing   any
	method    jwt.SigningMethod
	tokens    map[string]string
}

// NewFixture makes a key pair for alg, and signs the tokens with it.
func NewFixture(alg string) (*Fixture, error) {
	f := &Fixture{Alg: alg, method: jwt.GetSigningMethod(alg)}
	if err := f.makeKeys(); err != nil {
		return nil, err
	}
	f.tokens = map[string]string{Missing: "", Garbage: strings.Repeat("garbage.", 2) + "garbage"}
	for name, edit := range map[string]func(jwt.MapClaims){
		Admitted: func(jwt.MapClaims) {},
		Large:    func(c jwt.MapClaims) { c["padding"] = strings.Repeat("x", 12<<10) },
		Expired:  func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		Audience: func(c jwt.MapClaims) { c["aud"] = strings.Replace(audienceName, "orders", "prices", 1) },
		Issuer:   func(c jwt.MapClaims) { c["iss"] = strings.Replace(issuerName, "login", "logon", 1) },
	} {
		claims := payload()
		edit(claims)
		token, err := sign(f.method, f.signing, claims)
		if err != nil {
			return nil, err
		}
		f.tokens[name] = token
	}
	var err error
	if f.tokens[Signature], err = altered(f.tokens[Admitted]); err != nil {
		return nil, err
	}
	if f.tokens[None], err = sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, payload()); err != nil {
		return nil, err
	}
	f.tokens[OtherAlg], err = f.signOther()
	return f, err
}

func (f *Fixture) makeKeys() error {
	switch f.Alg {
	case "HS256":
		secret := make([]byte, 32)
		_, err := rand.Read(secret)
		f.signing, f.Verifying = secret, secret
		return err
	case "RS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err == nil {
			f.signing, f.Verifying = key, &key.PublicKey
		}
		return err
	case "ES256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			f.signing, f.Verifying = key, &key.PublicKey
		}
		return err
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		f.signing, f.Verifying = private, public
		return err
	}
	return fmt.Errorf("no keys for algorithm %q", f.Alg)
}

func (f *Fixture) signOther() (string, error) {
	switch f.Alg {
	case "HS256":
		return sign(jwt.SigningMethodHS512, f.signing, payload())
	case "RS256":
		return sign(jwt.SigningMethodRS512, f.signing, payload())
	}
	der, err := x509.MarshalPKIXPublicKey(f.Verifying)
	if err != nil {
		return "", err
	}
	return sign(jwt.SigningMethodHS256, der, payload())
}

// Distinct signs n good tokens that differ in their "jti".
func (f *Fixture) Distinct(n int) ([]string, error) {
	tokens := make([]string, n)
	for i := range tokens {
		claims := payload()
		claims["jti"] = fmt.Sprintf("%08x-8f5a-4ac0-9c1b-6a1f0a3f5f11", i)
		token, err := sign(f.method, f.signing, claims)
		if err != nil {
			return nil, err
		}
		tokens[i] = token
	}
	return tokens, nil
}

// Request returns the named request. It may be served again and again.
func (f *Fixture) Request(name string) *http.Request { return RequestWith(f.tokens[name]) }

// RequestWith returns a request that bears token, or none if token is empty.
func RequestWith(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// payload is 400 bytes of JSON.
func payload() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": issuerName, "sub": subject, "aud": audienceName,
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(12 * time.Hour).Unix(),
		"jti": "0b9d3f3e-8f5a-4ac0-9c1b-6a1f0a3f5f11", "sid": "c6f2d1b4e8a94b7f9d3e5a1c7b2f4e6d",
		"scope": "openid profile orders", "role": role, "tid": "tenant-17",
		"permissions": []string{"orders:read", "orders:write", "customers:read"},
		"client_id":   "orders-web.apps.example.com",
	}
}

func sign(method jwt.SigningMethod, key any, claims jwt.MapClaims) (string, error) {
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = keyID
	return token.SignedString(key)
}

// altered changes the lowest bit of the byte before the signature's middle.
// There it cannot make a number too large, which some would notice early.
func altered(token string) (string, error) {
	i := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		return "", err
	}
	if len(signature) == 0 {
		return "", errors.New("no signature to alter")
	}
	signature[len(signature)/2-1] ^= 1
	return token[:i] + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Discard is a ResponseWriter that keeps the status alone. Reset it before
// each request.
type Discard struct {
	header http.Header
	Status int
}

// Reset makes d as good as new.
func (d *Discard) Reset() {
	if d.header == nil {
		d.header = http.Header{}
	}
	clear(d.header)
	d.Status = http.StatusOK
}

// Header returns the header fields to send.
func (d *Discard) Header() http.Header { return d.header }

// Write forgets b.
func (d *Discard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader keeps the status.
func (d *Discard) WriteHeader(status int) { d.Status = status }
