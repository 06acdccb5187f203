package jwthttptest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
)

// Prover makes DPoP proofs (RFC 9449) with a key that it has made. [NewProver]
// returns one; the zero value is not usable. A Prover is safe for concurrent use.
type Prover struct {
	tb         testing.TB
	method     jwt.SigningMethod
	key        any
	public     map[string]any // JWK
	thumbprint string
}

// NewProver returns a Prover with a key for the given algorithm, such as "ES256".
func NewProver(tb testing.TB, algorithm string) *Prover {
	tb.Helper()
	p := &Prover{tb: tb, method: jwk.Method(algorithm)}
	if p.method == nil || jwk.IsHMAC(p.method) {
		tb.Fatalf("jwthttptest: %q is no algorithm for proofs", algorithm)
	}
	key, err := generate(p.method)
	if err != nil {
		tb.Fatalf("jwthttptest: key: %v", err)
	}
	p.key = key
	made, err := jwkset.NewJWKFromKey(key.(crypto.Signer).Public(), jwkset.JWKOptions{})
	if err != nil {
		tb.Fatalf("jwthttptest: key: %v", err)
	}
	m := made.Marshal()
	required := map[string]any{"kty": m.KTY} // RFC 7638 §3.2; encoding/json sorts them
	for name, value := range map[string]string{"crv": string(m.CRV), "x": m.X, "y": m.Y, "n": m.N, "e": m.E} {
		if value != "" {
			required[name] = value
		}
	}
	text, err := json.Marshal(required)
	if err != nil {
		tb.Fatalf("jwthttptest: key: %v", err)
	}
	p.public, p.thumbprint = required, hash(string(text))
	return p
}

// Thumbprint returns the thumbprint of the key (RFC 7638), for the "jkt" of a
// token: map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}}.
func (p *Prover) Thumbprint() string { return p.thumbprint }

// Proof returns a proof for a request with this method and URL and an access token,
// for the DPoP field. Its jti is a random text, its iat is now. If token is empty,
// it has no ath. If change is not nil, it may change the header and claims before
// they are signed. A nil value removes a member.
func (p *Prover) Proof(method, url, token string, change func(header, claims map[string]any)) string {
	p.tb.Helper()
	header := map[string]any{"typ": "dpop+jwt", "alg": p.method.Alg(), "jwk": maps.Clone(p.public)}
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix()}
	if token != "" {
		claims["ath"] = hash(token)
	}
	if change != nil {
		change(header, claims)
	}
	for _, part := range []map[string]any{header, claims} {
		maps.DeleteFunc(part, func(_ string, v any) bool { return v == nil })
	}
	t := jwt.New(p.method)
	t.Header, t.Claims = header, jwt.MapClaims(claims)
	compact, err := t.SignedString(p.key)
	if err != nil {
		p.tb.Fatalf("jwthttptest: sign: %v", err)
	}
	return compact
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
