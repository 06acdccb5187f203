package jwk_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
)

// testKeys are made once, because an RSA key takes time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, weak  *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.weak, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func TestMethod(t *testing.T) {
	secret := []string{"HS256", "HS384", "HS512"}
	for _, alg := range append(secret, jwk.PublicKeyAlgorithms()...) {
		method := jwk.Method(alg)
		if method == nil || method.Alg() != alg {
			t.Errorf("%s: method %v", alg, method)
			continue
		}
		if jwk.IsHMAC(method) != slices.Contains(secret, alg) {
			t.Errorf("%s: HMAC %v", alg, jwk.IsHMAC(method))
		}
	}
	for _, alg := range []string{"", "none", "None", "hs256", "HS256 ", "ES256K", "ES521", "Ed448", "ed25519", "RSA1_5", "dir"} {
		if method := jwk.Method(alg); method != nil {
			t.Errorf("%q: method %v", alg, method)
		}
	}
	for _, alg := range jwt.GetAlgorithms() {
		if alg != "none" && alg != "X-TEST" && jwk.Method(alg) == nil { // of TestMethod_registry
			t.Errorf("%s of golang-jwt is not supported", alg)
		}
	}
	// Any package of a program can change golang-jwt's registry.
	const alg = "none" // again, as another method
	jwt.RegisterSigningMethod(alg, func() jwt.SigningMethod { return jwt.SigningMethodHS256 })
	defer jwt.RegisterSigningMethod(alg, func() jwt.SigningMethod { return jwt.SigningMethodNone })
	if jwk.Method(alg) != nil {
		t.Error("a registered method is supported")
	}
}

func TestSameAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		token, key string
		want       bool
	}{
		{"RS256", "RS256", true},
		{"EdDSA", "Ed25519", true},
		{"Ed25519", "EdDSA", true},
		{"RS256", "PS256", false},
		{"RS256", "rs256", false},
		{"ES256", "EdDSA", false},
		{"EdDSA", "ES256", false},
		{"EdDSA", "Ed448", false},
		{"RS256", "", false},
	} {
		if got := jwk.SameAlgorithm(tt.token, tt.key); got != tt.want {
			t.Errorf("token %q, key %q: %v", tt.token, tt.key, got)
		}
	}
}

// Rules 18, 19 and 20
func TestFits(t *testing.T) {
	k := testKeys()
	long := func(n int) []byte { return []byte(strings.Repeat("s", n)) }
	der, err := x509.MarshalPKIXPublicKey(&k.p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		alg  string
		key  any
		want string // in the error; empty: it fits
	}{
		{"RSA", "RS256", &k.rsa.PublicKey, ""},
		{"RSA for PSS", "PS512", &k.rsa.PublicKey, ""},
		{"P-256", "ES256", &k.p256.PublicKey, ""},
		{"P-384", "ES384", &k.p384.PublicKey, ""},
		{"Ed25519", "EdDSA", k.ed.Public(), ""},
		{"Ed25519 by its new name", "Ed25519", k.ed.Public(), ""},
		{"a secret of 32 bytes", "HS256", long(32), ""},
		{"a secret of 31 bytes", "HS256", long(31), "31 bytes, want at least 32"},
		{"a secret of 47 bytes", "HS384", long(47), "want at least 48"},
		{"a secret of 63 bytes", "HS512", long(63), "want at least 64"},
		{"no secret", "HS256", []byte(nil), "0 bytes"},
		{"text as a secret", "HS256", string(long(32)), "want []byte"},
		{"an Ed25519 key as a secret", "HS256", k.ed.Public(), "want []byte"},
		{"a PEM block as a secret", "HS256", pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: long(40)}), "PEM"},
		{"PKIX as a secret", "HS256", der, "DER"},
		{"PKCS1 as a secret", "HS256", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), "DER"},
		{"a JWK as a secret", "HS256", []byte("\n" + ` {"kty":"oct","k":"AAAAAAAAAAAAAAAAAAA"}`), "JWK"},
		{"a JWK Set as a secret", "HS256", []byte(`{"keys":[],"padding":"................."}`), "JWK"},
		{"other JSON as a secret", "HS256", []byte(`{"x":"..............................."}`), ""},
		{"broken JSON as a secret", "HS256", []byte(`{"kty":"..............................`), ""},
		{"spaces as a secret", "HS256", []byte(strings.Repeat(" ", 32)), ""},
		{"nil", "RS256", nil, "nil"},
		{"a nil RSA key", "RS256", (*rsa.PublicKey)(nil), "nil"},
		{"an RSA key without modulus", "RS256", &rsa.PublicKey{E: 3}, "nil"},
		{"an RSA key of 1024 bits", "RS256", &k.weak.PublicKey, "1024 bits"},
		{"an RSA key of 2047 bits", "RS256", &rsa.PublicKey{N: new(big.Int).Rsh(k.rsa.N, 1), E: 3}, "2047 bits"},
		{"an RSA key of 16384 bits", "RS256", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16383), E: 3}, ""},
		{"an RSA key of 16385 bits", "RS256", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16384), E: 3}, "16385 bits"},
		{"RSA exponent 1", "RS256", &rsa.PublicKey{N: k.rsa.N, E: 1}, "exponent"},
		{"RSA exponent 4", "RS256", &rsa.PublicKey{N: k.rsa.N, E: 4}, "exponent"},
		{"RSA exponent -3", "RS256", &rsa.PublicKey{N: k.rsa.N, E: -3}, "exponent"},
		{"a private RSA key", "RS256", k.rsa, "private"},
		{"an RSA key as a value", "RS256", k.rsa.PublicKey, "want *rsa.PublicKey"},
		{"a secret for RS256", "RS256", long(256), "want *rsa.PublicKey"},
		{"P-256 for ES384", "ES384", &k.p256.PublicKey, "P-256"},
		{"P-384 for ES256", "ES256", &k.p384.PublicKey, "P-384"},
		{"P-384 for ES512", "ES512", &k.p384.PublicKey, "want P-521"},
		{"a nil ECDSA key", "ES256", (*ecdsa.PublicKey)(nil), "nil"},
		{"an ECDSA key without curve", "ES256", &ecdsa.PublicKey{X: big.NewInt(1), Y: big.NewInt(1)}, "nil"},
		{"an ECDSA key without x", "ES256", &ecdsa.PublicKey{Curve: elliptic.P256(), Y: big.NewInt(1)}, "nil"},
		{"an ECDSA key without y", "ES256", &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1)}, "nil"},
		{"a point that is not on the curve", "ES256", &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, "not a point"},
		{"the point at infinity", "ES256", &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)}, "not a point"},
		{"a private ECDSA key", "ES256", k.p256, "private"},
		{"a short Ed25519 key", "EdDSA", k.ed.Public().(ed25519.PublicKey)[:31], "31 bytes"},
		{"a private Ed25519 key", "EdDSA", k.ed, "private"},
		{"an RSA key for EdDSA", "Ed25519", &k.rsa.PublicKey, "want ed25519.PublicKey"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := jwk.Fits(jwk.Method(tt.alg), tt.key)
			if (err == nil) != (tt.want == "") {
				t.Fatalf("error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "ssss")) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

func TestCopy(t *testing.T) {
	k := testKeys()
	for _, tt := range []struct {
		name   string
		key    any
		modify func(any)
	}{
		{"secret", []byte("secret"), func(key any) { key.([]byte)[0]++ }},
		{"RSA", &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: 3}, func(key any) { key.(*rsa.PublicKey).N.SetInt64(1) }},
		{"RSA exponent", &rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: 3}, func(key any) { key.(*rsa.PublicKey).E = 5 }},
		{"ECDSA x", &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).Set(k.p256.X), Y: k.p256.Y}, func(key any) { key.(*ecdsa.PublicKey).X.SetInt64(1) }},
		{"ECDSA y", &ecdsa.PublicKey{Curve: elliptic.P256(), X: k.p256.X, Y: new(big.Int).Set(k.p256.Y)}, func(key any) { key.(*ecdsa.PublicKey).Y.SetInt64(1) }},
		{"Ed25519", slices.Clone(k.ed.Public().(ed25519.PublicKey)), func(key any) { key.(ed25519.PublicKey)[0]++ }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := jwk.Copy(tt.key)
			if !reflect.DeepEqual(c, tt.key) || !jwk.Equal(c, tt.key) || !jwk.Equal(tt.key, tt.key) {
				t.Fatalf("copy %v of %v", c, tt.key)
			}
			tt.modify(tt.key)
			if jwk.Equal(c, tt.key) {
				t.Error("the copy shares memory, or Equal does not notice")
			}
		})
	}
	for _, key := range []any{nil, "text", (*rsa.PublicKey)(nil), &rsa.PublicKey{}, (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{}, k.rsa} {
		if c := jwk.Copy(key); c != key {
			t.Errorf("%T: copy %v", key, c)
		}
	}
}

func TestEqual(t *testing.T) {
	k := testKeys()
	keys := []any{ // no two are equal
		[]byte("a"), []byte("b"), &k.rsa.PublicKey, &k.weak.PublicKey, &k.p256.PublicKey, &k.p384.PublicKey, k.ed.Public(),
		ed25519.PublicKey("a"), &rsa.PublicKey{}, &rsa.PublicKey{N: k.rsa.N, E: 3}, &ecdsa.PublicKey{},
		&ecdsa.PublicKey{Curve: elliptic.P256(), X: k.p256.X}, (*rsa.PublicKey)(nil), (*ecdsa.PublicKey)(nil),
	}
	for i, a := range keys {
		for j, b := range keys {
			if got := jwk.Equal(a, b); got != (i == j) {
				t.Errorf("%d %T and %d %T: %v", i, a, j, b, got)
			}
		}
	}
	for _, unknown := range []any{nil, "a", k.rsa} {
		if jwk.Equal(unknown, unknown) {
			t.Errorf("%T counts as a key", unknown)
		}
	}
}
