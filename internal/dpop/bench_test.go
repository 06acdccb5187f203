package dpop_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
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
