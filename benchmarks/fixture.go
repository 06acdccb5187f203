// Package benchmarks compares jwthttp with other libraries and with a handler
// written by hand. Each contender guards the same handler, checks the same
// claims, and gets the same tokens.
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

// IssuerName is the issuer of all tokens but those of the request Issuer.
const IssuerName = "https://login.example.com/"

const (
	audienceName = "https://orders.example.com"
	keyID        = "2026-01-signing"
	role         = "editor"
	subject      = "auth0|5f7c8ec7c33c6c004bbafe82"
)

// Claims is the type that contenders decode a token into.
type Claims struct {
	jwt.RegisteredClaims
	Own
}

func (c Claims) role() string { return c.Role }

// Own holds the claims that no RFC registers.
type Own struct {
	Role        string   `json:"role"`
	Tenant      string   `json:"tid"`
	Permissions []string `json:"permissions"`
}

// FlatClaims holds the claims of the same token without pointers, maps and
// slices, so that assigning the struct copies everything.
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

func (c FlatClaims) role() string { return c.Role }

// Algorithms returns the algorithms that contenders are timed with.
func Algorithms() []string { return []string{"HS256", "RS256", "ES256", "EdDSA"} }

// Names of the requests. Every contender admits Admitted and refuses all others
// but Large, which only jwthttp refuses.
const (
	Admitted  = "admitted"
	Missing   = "missing"   // no Authorization field
	Garbage   = "garbage"   // three segments that are not JSON
	Large     = "large"     // a validly signed token of 16 KiB, twice the limit of jwthttp
	Expired   = "expired"   // an hour ago, with a valid signature
	Audience  = "audience"  // for another audience, with a valid signature
	Issuer    = "issuer"    // from another issuer, with a valid signature
	Signature = "signature" // one bit of the signature is changed
	None      = "none"      // alg none, no signature
	OtherAlg  = "otheralg"  // see Fixture
)

// Cases returns the requests that all contenders are timed with.
func Cases() []string {
	return []string{Admitted, Missing, Garbage, Expired, Audience, Signature}
}

// MoreRefusals returns the requests that only hand and jwthttp are timed with.
func MoreRefusals() []string { return []string{Large, Issuer, None, OtherAlg} }

// Fixture holds the key pair of an algorithm and a token for each request. For
// HS256 and RS256, OtherAlg is signed by the same key with another hash. For the
// others it is an HMAC whose secret is the public key: algorithm confusion.
type Fixture struct {
	Alg       string
	Verifying any // a []byte for HMAC, else a public key
	signing   any
	method    jwt.SigningMethod
	tokens    map[string]string
}

// NewFixture generates a key pair for alg and signs the tokens with it.
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
		Issuer:   func(c jwt.MapClaims) { c["iss"] = strings.Replace(IssuerName, "login", "logon", 1) },
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

// Request returns the named request, which can be served repeatedly.
func (f *Fixture) Request(name string) *http.Request { return RequestWith(f.tokens[name]) }

// RequestWith returns a request with a bearer token. If token is empty, the
// request has no Authorization field.
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
		"iss": IssuerName, "sub": subject, "aud": audienceName,
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

// altered changes the lowest bit of a byte in the middle of the signature. There
// it cannot make an integer too large, which some libraries notice early.
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

// Discard is a ResponseWriter that keeps only the status. Call Reset before each
// request.
type Discard struct {
	header http.Header
	Status int
}

// Reset prepares d for the next response.
func (d *Discard) Reset() {
	if d.header == nil {
		d.header = http.Header{}
	}
	clear(d.header)
	d.Status = http.StatusOK
}

// Header returns the header fields to send.
func (d *Discard) Header() http.Header { return d.header }

// Write discards b.
func (d *Discard) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader records the status.
func (d *Discard) WriteHeader(status int) { d.Status = status }
