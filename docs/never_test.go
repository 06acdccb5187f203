package docs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// lenient returns a Middleware whose options refuse as little as possible.
func lenient(t *testing.T, alg string, key any) *jwthttp.Middleware {
	t.Helper()
	auth, err := jwthttp.New[any](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: jwthttp.Any, Audience: []string{jwthttp.Any}, Algorithms: []string{alg}, NoExpiry: true, PaddedSegments: true,
			Types: []string{"", "JWT", "at+jwt", "dpop+jwt", "logout+jwt", "id_token"},
			Keys:  jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return key, nil }),
		}},
		Leeway: 5 * time.Minute, MaxTokenSize: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// compact returns a token with these texts as header and payload.
func compact(t *testing.T, alg, header, payload string, key any) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// Even the most lenient options refuse what providers.md lists.
func TestTokens_neverAccepted(t *testing.T) {
	hs256 := func(header, payload string) string { return compact(t, "HS256", header, payload, keys.secret) }
	const header, payload = `{"alg":"HS256"}`, `{"sub":"alice"}`
	good := hs256(header, payload)
	lines := strings.Split(good, ".")
	auth := lenient(t, "HS256", keys.secret)
	for _, test := range []struct{ name, token, want string }{
		{"good", good, "200"},
		{"good, with all that is odd and fine", hs256(`{"alg":"HS256","kid":"","typ":"id_token","cty":"JWT"}`, `{"sub":7,"exp":null,"aud":null,"scope":["a"]}`), "200"},
		{"opaque", "v1.MRrtmJ5Zw", "malformed"},
		{"encrypted", lines[0] + ".a2V5.aXY." + lines[1] + ".dGFn", "malformed"},
		{"JSON serialization", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, lines[0], lines[1], lines[2]), "malformed"},
		{"alg none", compact(t, "none", `{"alg":"none"}`, payload, jwt.UnsafeAllowNoneSignatureType), "algorithm"},
		{"alg by case", hs256(`{"alg":"hs256"}`, payload), "algorithm"},
		{"crit", hs256(`{"alg":"HS256","crit":["exp"],"exp":1}`, payload), "malformed"},
		{"b64", hs256(`{"alg":"HS256","b64":true}`, payload), "malformed"},
		{"zip", hs256(`{"alg":"HS256","zip":"DEF"}`, payload), "malformed"},
		{"kid that is a number", hs256(`{"alg":"HS256","kid":1}`, payload), "malformed"},
		{"kid of null", hs256(`{"alg":"HS256","kid":null}`, payload), "malformed"},
		{"typ of null", hs256(`{"alg":"HS256","typ":null}`, payload), "malformed"},
		{"a name twice", hs256(header, `{"role":"a","role":"b"}`), "malformed"},
		{"two names by case", hs256(header, `{"role":"a","Role":"b"}`), "malformed"},
		{"exp as text", hs256(header, `{"exp":"4102444800"}`), "malformed"},
		{"a negative exp", hs256(header, `{"exp":-1}`), "malformed"},
		{"exp in milliseconds", hs256(header, `{"exp":4102444800000}`), "malformed"},
		{"iss that is a number", hs256(header, `{"iss":1}`), "malformed"},
		{"aud that is a number", hs256(header, `{"aud":1}`), "malformed"},
		{"a fraction as sub", hs256(header, `{"sub":1.5}`), "malformed"},
		{"a boolean as jti", hs256(header, `{"jti":true}`), "malformed"},
		{"an object as client_id", hs256(header, `{"client_id":{}}`), "malformed"},
		{"a number in scope", hs256(header, `{"scope":["a",1]}`), "malformed"},
		{"the other alphabet", hs256(header, `{"x":"???>>>"}`), "200"},
		{"the other alphabet, as it is", otherAlphabet(t, hs256(header, `{"x":"???>>>"}`)), "malformed"},
		{"a line break", lines[0] + "." + lines[1] + "\n." + lines[2], "malformed"},
		{"spare bits", good[:len(good)-1] + string(good[len(good)-1]+1), "malformed"},
		{"cnf with a key", hs256(header, `{"cnf":{"jwk":{"kty":"oct","k":"AAAA"}}}`), "binding"},
	} {
		if got := verdict(t, auth, test.token); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	for _, alg := range []string{"none", "ES256K", "Ed448", "ML-DSA-44", "RS1", "HS1", "RSA-OAEP", "dir", ""} {
		if _, err := jwthttp.New[any](jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name: jwthttp.Any, Audience: []string{jwthttp.Any}, Algorithms: []string{alg}, Keys: jwthttp.StaticKey(keys.secret),
		}}}); err == nil {
			t.Errorf("algorithm %q is accepted", alg)
		}
	}
}

// No options accept these keys and signatures.
func TestTokens_neverAccepted_keys(t *testing.T) {
	const payload = `{"sub":"alice"}`
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	es256 := func(sign func(digest []byte) ([]byte, error)) string {
		signed := strings.Join(strings.Split(compact(t, "ES256", `{"alg":"ES256"}`, payload, keys.ec), ".")[:2], ".")
		digest := sha256.Sum256([]byte(signed))
		signature, err := sign(digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	embedded := fmt.Sprintf(`{"alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":%q}}`, base64.RawURLEncoding.EncodeToString(keys.otherRSA.N.Bytes()))
	public := []byte(publicPEM(keys.rsa))
	for _, test := range []struct {
		name, alg string
		key       any
		token     string
		want      string
	}{
		{"RS256", "RS256", &keys.rsa.PublicKey, compact(t, "RS256", `{"alg":"RS256"}`, payload, keys.rsa), "200"},
		{"ES256", "ES256", &keys.ec.PublicKey, compact(t, "ES256", `{"alg":"ES256"}`, payload, keys.ec), "200"},
		{"a secret of six bytes", "HS256", []byte("secret"), compact(t, "HS256", `{"alg":"HS256"}`, payload, []byte("secret")), "algorithm"},
		{"a secret of 31 bytes", "HS256", keys.secret[:31], compact(t, "HS256", `{"alg":"HS256"}`, payload, keys.secret[:31]), "algorithm"},
		{"a public key as the secret", "HS256", public, compact(t, "HS256", `{"alg":"HS256"}`, payload, public), "algorithm"},
		{"RSA of 1024 bits", "RS256", &weak.PublicKey, compact(t, "RS256", `{"alg":"RS256"}`, payload, weak), "algorithm"},
		{"a private key", "RS256", keys.rsa, compact(t, "RS256", `{"alg":"RS256"}`, payload, keys.rsa), "algorithm"},
		{"the key in its header", "RS256", &keys.rsa.PublicKey, compact(t, "RS256", embedded, payload, keys.otherRSA), "signature"},
		{"a signature in ASN.1", "ES256", &keys.ec.PublicKey, es256(func(digest []byte) ([]byte, error) {
			return ecdsa.SignASN1(rand.Reader, keys.ec, digest)
		}), "signature"},
		{"a short salt", "PS256", &keys.rsa.PublicKey, shortSalt(t, payload), "signature"},
	} {
		if got := verdict(t, lenient(t, test.alg, test.key), test.token); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// shortSalt returns a PS256 token whose salt is shorter than the hash.
func shortSalt(t *testing.T, payload string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"PS256"}`)) + "." + encode([]byte(payload))
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPSS(rand.Reader, keys.rsa, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 20})
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// otherAlphabet returns the token with + and / for - and _, signed again.
func otherAlphabet(t *testing.T, token string) string {
	t.Helper()
	signed := strings.NewReplacer("-", "+", "_", "/").Replace(token[:strings.LastIndex(token, ".")])
	if !strings.ContainsAny(signed, "+/") {
		t.Fatalf("%q is the same in both alphabets", signed)
	}
	signature, err := jwt.SigningMethodHS256.Sign(signed, keys.secret)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// verdict returns "200" or the Reason of a refusal.
func verdict(t *testing.T, auth *jwthttp.Middleware, token string) string {
	t.Helper()
	_, err := auth.Verify(t.Context(), token)
	if err == nil {
		return "200"
	}
	var e *jwthttp.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	return string(e.Reason)
}
