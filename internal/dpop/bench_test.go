package dpop_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/dpop"
	"github.com/seed450a7203/jwthttp/internal/jwk"
)

// BenchmarkRules_Parse is everything about a proof but its signature: parsing,
// the thumbprint of the key, and the comparison with the request and token.
func BenchmarkRules_Parse(b *testing.B) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		alg    string
		key    any
		public object
	}{{"ES256", ec, publicJWK(b, ec.Public())}, {"EdDSA", ed, publicJWK(b, ed.Public())}} {
		token := jwt.NewWithClaims(jwk.Method(bb.alg), jwt.MapClaims{
			"jti": rand.Text(), "htm": "GET", "htu": "https://api.example/notes/42", "ath": rfcATH, "iat": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["typ"], token.Header["jwk"] = "dpop+jwt", bb.public
		proof, err := token.SignedString(bb.key)
		if err != nil {
			b.Fatal(err)
		}
		r := newRules(b, "https://api.example")
		r.Leeway = 2 * time.Hour
		b.Run(bb.alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := r.Parse([]string{proof}, "GET", "/notes/42?x=y")
				if err != nil || !p.IsFor(rfcToken) {
					b.Fatal(err)
				}
			}
		})
	}
}

// hostile are proofs of nearly 4 KiB that cost as much as possible. Whoever sends
// them needs no token.
func hostile(t testing.TB) map[string]string {
	t.Helper()
	key := rfcJWK[:len(rfcJWK)-1]
	many := ""
	for i := range 200 {
		many += fmt.Sprintf(`"%d":0,`, i)
	}
	largeRSA := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 1800) + `"}`
	proof := func(header, claims object) string {
		first, second := change(t, header, claims)
		return first + "." + second + "."
	}
	return map[string]string{
		"members of the header": proof(object{"x": raw("{" + many + `"x":0}`)}, nil),
		"members of the key":    proof(object{"jwk": raw(key + "," + many + `"z":0}`)}, nil),
		"members of the claims": proof(nil, object{"x": raw("{" + many + `"x":0}`)}),
		"depth":                 proof(object{"x": raw(strings.Repeat("[", 1200) + strings.Repeat("]", 1200))}, nil),
		"dot segments":          proof(nil, object{"htu": "https://api.example" + strings.Repeat("/%2e%2E", 250) + "/a"}),
		"escapes":               proof(nil, object{"jti": raw(`"` + strings.Repeat(`\u0041`, 250) + `"`), "nonce": raw(`"` + strings.Repeat(`\u0041`, 50) + `"`)}),
		"a large RSA key":       proof(object{"alg": "RS256", "jwk": raw(largeRSA)}, nil),
	}
}

func BenchmarkRules_Parse_hostile(b *testing.B) {
	r := newRules(b, "https://api.example")
	for name, proof := range hostile(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Parse([]string{proof}, "GET", "/a")
			}
		})
	}
}

// The allocations for a proof do not grow with the number of its parts.
func TestRules_Parse_memory(t *testing.T) {
	r := newRules(t, "https://api.example")
	for name, proof := range hostile(t) {
		if len(proof) < 2000 || len(proof) > 4<<10 {
			t.Errorf("%s: %d bytes", name, len(proof))
		}
		if n := testing.AllocsPerRun(10, func() { _, _ = r.Parse([]string{proof}, "GET", "/a") }); n > 50 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkNonces_Check(b *testing.B) {
	n := dpop.NewNonces([][]byte{make([]byte, 32), make([]byte, 32)})
	nonce := n.Newest()
	b.ReportAllocs()
	for b.Loop() {
		if valid, _ := n.Check(nonce); !valid {
			nonce = n.Newest()
		}
	}
}
