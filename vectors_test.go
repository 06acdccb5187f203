package jwthttp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"slices"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
)

// vectorKey is a JWK as far as the vectors use it.
type vectorKey struct {
	Kty, Alg, Use, Kid, Crv, K, N, E, X, Y string
	KeyOps                                 []string `json:"key_ops"`
}

type vectorFile struct {
	TestGroups []struct {
		Comment         string
		Private, Public struct {
			vectorKey
			Keys []vectorKey
		}
		Tests []struct {
			TcID    int `json:"tcId"`
			Comment string
			JWS     json.RawMessage `json:"jws"`
			Result  string
		}
	}
}

// key decodes a JWK, or returns nil if it is invalid.
func (k vectorKey) key() any {
	num := func(s string) *big.Int {
		b, _ := base64.RawURLEncoding.DecodeString(s)
		return new(big.Int).SetBytes(b)
	}
	switch {
	case k.K != "":
		secret, _ := base64.RawURLEncoding.DecodeString(k.K)
		return secret
	case k.N != "":
		return &rsa.PublicKey{N: num(k.N), E: int(num(k.E).Int64())}
	case k.X != "" && (k.Kty == "" || k.Kty == "EC"):
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
		return &ecdsa.PublicKey{Curve: curve, X: num(k.X), Y: num(k.Y)}
	}
	return nil
}

// accepts reports whether a vector passes serialization, header, fitness of the
// key and signature. The payloads of the vectors are no claims.
func accepts(compact string, keys []vectorKey) bool {
	token, err := jws.Parse(compact, false)
	if err != nil {
		return false
	}
	method := jwk.Method(token.Algorithm)
	if method == nil {
		return false
	}
	tried := 0
	return slices.ContainsFunc(keys, func(k vectorKey) bool {
		// A bare key shows none of these. Package jwks checks them.
		if k.Use != "" && k.Use != "sig" || k.KeyOps != nil && !slices.Contains(k.KeyOps, "verify") ||
			k.Alg != "" && !jwk.SameAlgorithm(token.Algorithm, k.Alg) || token.HasKeyID && k.Kid != "" && k.Kid != token.KeyID {
			return false
		}
		if tried++; tried > jwk.MaxKeys || jwk.Fits(method, k.key()) != nil {
			return false
		}
		return method.Verify(token.Signed, token.Signature, k.key()) == nil
	})
}

// differs has the vectors with another result here, and why.
var differs = map[string]string{
	"json_web_signature_test.json 346": `the JWK has PS256, the token PS384: refused, RFC 7517 §4.4`,
	"json_web_signature_test.json 350": `the same`,
	"json_web_signature_test.json 347": `the JWK has ES521, which is no algorithm`,
	"json_web_signature_test.json 351": `the same`,
	"json_web_signature_test.json 367": `the token has no padding; it is vector 357 again, which is valid`,
	"json_web_signature_test.json 370": `the same`,
	"json_web_signature_test.json 372": `"?" is not in the alphabet of base64url: refused, RFC 7515 §2`,
	"json_web_signature_test.json 373": `the same`,
	"json_web_key_test.json 1":         `a set with a secret and a public key: New and package jwks refuse it, not this layer`,
	"json_web_key_test.json 4":         `two keys of one kid: both are tried`,
	"json_web_key_test.json 7":         `a ROCA key is not recognized: its owner has to replace it, not the verifier`,
}

// Rules 12, 14, 19 and 20
func TestWycheproof(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/wycheproof/" + name)
			if err != nil {
				t.Fatal(err)
			}
			var file vectorFile
			if err := json.Unmarshal(text, &file); err != nil {
				t.Fatal(err)
			}
			ran := map[string]int{}
			for _, group := range file.TestGroups {
				keys := append(group.Public.Keys, group.Public.vectorKey)
				if group.Public.vectorKey.key() == nil && group.Public.Keys == nil {
					keys = append(group.Private.Keys, group.Private.vectorKey)
				}
				for _, test := range group.Tests {
					var compact string
					if err := json.Unmarshal(test.JWS, &compact); err != nil {
						compact = string(test.JWS) // the JSON serialisation
					}
					got := accepts(compact, keys)
					want := test.Result == "valid"
					ran[test.Result]++
					if _, ok := differs[fmt.Sprint(name, " ", test.TcID)]; ok == (got == want) {
						t.Errorf("%s %d %s: accepted %v, want %s", group.Comment, test.TcID, test.Comment, got, test.Result)
					}
				}
			}
			if ran["valid"] == 0 || ran["invalid"] == 0 {
				t.Errorf("ran %v", ran)
			}
		})
	}
}
