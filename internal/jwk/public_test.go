package jwk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/MicahParks/jwkset"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

func parsePublic(t testing.TB, text string) (jwk.Public, error) {
	t.Helper()
	names := strictjson.NewNames([]string{"jwk"}, nil)
	var values [1]strictjson.Value
	if err := strictjson.Parse(`{"jwk":`+text+`}`, names, values[:]); err != nil {
		return jwk.Public{}, err
	}
	return jwk.ParsePublic(values[0])
}

const (
	x256 = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"
	y256 = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
	xEd  = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"                                                                                                                                                                                                                                                                                                            // RFC 8037, appendix A
	nRSA = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw" // RFC 7638 §3.1
)

// keys seed the fuzz test, too.
var publicKeys = []struct{ name, jwk, thumbprint string }{
	{"P-256", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, // RFC 9449 §6.1
	{"Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"` + xEd + `"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},                // RFC 8037, appendix A.3
	{"RSA", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
	{"RSA of 4096 bits", `{"kty":"RSA","n":"` + strings.Repeat("_", 682) + `w","e":"Aw"}`, "FQBGH3sVpy6E6sZiD0yAuxPKuPfixDrVsrddaFrTHGQ"},
	{"other members, escapes", `{"use":"enc","key_ops":[],"ext":true,"x5c":1,"kty":"OKP","crv":"Ed\u00325519","\u0078":"` + xEd + `"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},

	{"nothing", `{}`, ""},
	{"null", `null`, ""},
	{"no kty", `{"crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"a null kty", `{"kty":null,"crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"an unknown kty", `{"kty":"AKP","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"kty by case", `{"kty":"ec","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"oct", `{"kty":"oct","k":"AAAA"}`, ""},
	{"oct without a key", `{"kty":"oct"}`, ""},
	{"EC with d", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `","d":"AA"}`, ""},
	{"EC with a null d", `{"d":null,"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"EC with an escaped d", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `","\u0064":"AA"}`, ""},
	{"EC with k", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + y256 + `","k":"AA"}`, ""},
	{"Ed25519 with d", `{"kty":"OKP","crv":"Ed25519","x":"` + xEd + `","d":"AA"}`, ""},
	{"RSA with p", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","p":"AA"}`, ""},
	{"RSA with q", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","q":"AA"}`, ""},
	{"RSA with dp", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","dp":"AA"}`, ""},
	{"RSA with dq", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","dq":"AA"}`, ""},
	{"RSA with qi", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","qi":"AA"}`, ""},
	{"RSA with oth", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAB","oth":[]}`, ""},
	{"an unknown curve", `{"kty":"EC","crv":"secp256k1","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"the wrong curve", `{"kty":"EC","crv":"P-384","x":"` + x256 + `","y":"` + y256 + `"}`, ""},
	{"no y", `{"kty":"EC","crv":"P-256","x":"` + x256 + `"}`, ""},
	{"a numeric y", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":1}`, ""},
	{"off the curve", `{"kty":"EC","crv":"P-256","x":"` + x256 + `","y":"` + x256 + `"}`, ""},
	{"the origin", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`, ""},
	{"x above the field", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("_", 42) + `8","y":"` + y256 + `"}`, ""},
	{"x with a leading zero", `{"kty":"EC","crv":"P-256","x":"AA` + x256 + `","y":"` + y256 + `"}`, ""},
	{"a padded x", `{"kty":"EC","crv":"P-256","x":"` + x256 + `=","y":"` + y256 + `"}`, ""},
	{"trailing bits in x", `{"kty":"EC","crv":"P-256","x":"` + x256[:42] + `t","y":"` + y256 + `"}`, ""},
	{"X25519", `{"kty":"OKP","crv":"X25519","x":"` + xEd + `"}`, ""},
	{"Ed448", `{"kty":"OKP","crv":"Ed448","x":"` + xEd + `"}`, ""},
	{"an Ed25519 key of 30 bytes", `{"kty":"OKP","crv":"Ed25519","x":"` + strings.Repeat("B", 40) + `"}`, ""},
	{"a short Ed25519 key", `{"kty":"OKP","crv":"Ed25519","x":"` + xEd[:42] + `"}`, ""},
	{"no n", `{"kty":"RSA","e":"AQAB"}`, ""},
	{"an empty n", `{"kty":"RSA","n":"","e":"AQAB"}`, ""},
	{"n with a leading zero", `{"kty":"RSA","n":"AAAA` + nRSA + `","e":"AQAB"}`, ""},
	{"no e", `{"kty":"RSA","n":"` + nRSA + `"}`, ""},
	{"e with a leading zero", `{"kty":"RSA","n":"` + nRSA + `","e":"AAEAAQ"}`, ""},
	{"RSA of 4097 bits", `{"kty":"RSA","n":"AQ` + strings.Repeat("A", 682) + `","e":"AQAB"}`, ""},
	{"e above 65537", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAD"}`, ""},
	{"e of 32 bits", `{"kty":"RSA","n":"` + nRSA + `","e":"_____w"}`, ""},
	{"e of 64 bits", `{"kty":"RSA","n":"` + nRSA + `","e":"AQAAAAAAAAAD"}`, ""},
	{"two x, one of them escaped", `{"kty":"OKP","crv":"Ed25519","x":"` + xEd + `","\u0078":"` + xEd + `"}`, ""},
	{"two x", `{"kty":"OKP","crv":"Ed25519","x":"` + xEd + `","x":"` + xEd + `"}`, ""},
}

// Rule 52
func TestParsePublic(t *testing.T) {
	for _, tt := range publicKeys {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parsePublic(t, tt.jwk)
			if (err == nil) != (tt.thumbprint != "") || got.Thumbprint != tt.thumbprint || (got.Key != nil) != (err == nil) {
				t.Errorf("thumbprint %q, want %q; key %v, error %v", got.Thumbprint, tt.thumbprint, got.Key, err)
			}
			if err != nil && (strings.Contains(err.Error(), x256) || strings.Contains(err.Error(), xEd)) {
				t.Errorf("error %q shows the key", err)
			}
		})
	}
}

// ParsePublic accepts small keys. Fits does not.
func TestParsePublic_weak(t *testing.T) {
	p, err := parsePublic(t, `{"kty":"RSA","n":"`+nRSA[:168]+`","e":"AQAB"}`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Fits(jwk.Method("RS256")) == nil {
		t.Error("an RSA key of 1024 bits fits")
	}
	p, err = parsePublic(t, `{"kty":"RSA","n":"`+nRSA+`","e":"AQ"}`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Fits(jwk.Method("PS256")) == nil {
		t.Error("exponent 1 fits")
	}
}

// Computes the points of low order from the equation of the curve (RFC 8032 §5.1):
// y = 0, 1, -1, and the order 8, at which x² = y² for -x² + y² = 1 + d x² y².
func TestParsePublic_lowOrder(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(a, b), p) }
	ys := map[string]*big.Int{"0": big.NewInt(0), "1": big.NewInt(1), "-1": new(big.Int).Sub(p, big.NewInt(1)), "p": p, "p+1": new(big.Int).Add(p, big.NewInt(1)), "p+18": new(big.Int).Add(p, big.NewInt(18))}
	// A point of order 8 doubles to one of order 4, whose y is 0. The doubled y is
	// (y²+x²)/(1-d x² y²), so y² = -x² = u, 2u = 1 - d u², and d u² + 2u - 1 = 0.
	d := mul(new(big.Int).Sub(p, big.NewInt(121665)), new(big.Int).ModInverse(big.NewInt(121666), p))
	root := new(big.Int).ModSqrt(new(big.Int).Mod(new(big.Int).Add(big.NewInt(1), d), p), p)
	for _, s := range []*big.Int{root, new(big.Int).Sub(p, root)} {
		u := mul(new(big.Int).Sub(s, big.NewInt(1)), new(big.Int).ModInverse(d, p))
		if y := new(big.Int).ModSqrt(u, p); y != nil {
			ys["order 8"], ys["order 8, negative"] = y, new(big.Int).Sub(p, y)
		}
	}
	if len(ys) != 8 {
		t.Fatalf("%d points", len(ys))
	}
	for name, y := range ys {
		for _, sign := range []byte{0, 0x80} {
			key := y.FillBytes(make([]byte, 32))
			for i, j := 0, 31; i < j; i, j = i+1, j-1 {
				key[i], key[j] = key[j], key[i]
			}
			key[31] |= sign
			if _, err := parsePublic(t, `{"kty":"OKP","crv":"Ed25519","x":"`+base64.RawURLEncoding.EncodeToString(key)+`"}`); err == nil {
				t.Errorf("y = %s with sign %#x is accepted", name, sign)
			}
		}
	}
}

// FuzzParsePublic checks that jwkset reads the same key, and computes the same
// thumbprint from what encoding/json reads.
func FuzzParsePublic(f *testing.F) {
	for _, tt := range publicKeys {
		f.Add(tt.jwk)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePublic(t, text)
		if err != nil {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", text, err)
		}
		var marshal jwkset.JWKMarshal
		for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
			if m[name] == nil {
				continue
			}
			text, _ := json.Marshal(map[string]json.RawMessage{name: m[name]})
			if err := json.Unmarshal(text, &marshal); err != nil {
				t.Fatal(err)
			}
		}
		theirs, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
		if err != nil {
			t.Fatalf("jwkset refuses %q: %v", text, err)
		}
		equal := false
		switch k := got.Key.(type) {
		case *ecdsa.PublicKey:
			equal = k.Equal(theirs.Key()) && k.Curve != elliptic.P224()
		case ed25519.PublicKey:
			equal = bytes.Equal(k, theirs.Key().(ed25519.PublicKey))
		case *rsa.PublicKey:
			equal = k.Equal(theirs.Key())
		}
		if !equal {
			t.Errorf("%q: key %v, jwkset has %v", text, got.Key, theirs.Key())
		}
	})
}
