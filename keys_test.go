package jwthttp_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/keyset"
)

var _ jwthttp.KeySource = keyfunc.Keyfunc(nil)

// testKeys are made once: RSA keys take their time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, otherRSA, weakRSA *rsa.PrivateKey
	p256, otherP256        *ecdsa.PrivateKey
	p384, p521             *ecdsa.PrivateKey
	ed                     ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.weakRSA, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.otherP256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func long(n int) []byte { return []byte(strings.Repeat("s", n)) }

// keyPair is what signs and verifies with one algorithm.
type keyPair struct {
	method          jwt.SigningMethod
	private, public any
}

func keyPairs() []keyPair {
	k := testKeys()
	return []keyPair{
		{jwt.SigningMethodHS256, long(32), long(32)},
		{jwt.SigningMethodHS384, long(48), long(48)},
		{jwt.SigningMethodHS512, long(64), long(64)},
		{jwt.SigningMethodRS256, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodRS384, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodRS512, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodPS256, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodPS384, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodPS512, k.rsa, &k.rsa.PublicKey},
		{jwt.SigningMethodES256, k.p256, &k.p256.PublicKey},
		{jwt.SigningMethodES384, k.p384, &k.p384.PublicKey},
		{jwt.SigningMethodES512, k.p521, &k.p521.PublicKey},
		{jwt.SigningMethodEdDSA, k.ed, k.ed.Public()},
	}
}

// sign signs the claims of a good token of a bubble.
func sign(t *testing.T, method jwt.SigningMethod, key any, kid string) string {
	t.Helper()
	return signChanged(t, method, key, kid, nil)
}

func signChanged(t *testing.T, method jwt.SigningMethod, key any, kid string, changes map[string]any) string {
	t.Helper()
	var claims jwt.MapClaims
	if err := json.Unmarshal([]byte(claimsJSON(changes)), &claims); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func issuerWith(keys jwthttp.KeySource, algorithms ...string) jwthttp.Issuer {
	iss := newIssuer()
	iss.Keys, iss.Algorithms = keys, algorithms
	return iss
}

func TestIssuer_Algorithms(t *testing.T) {
	for _, pair := range keyPairs() {
		bubble(t, pair.method.Alg(), func(t *testing.T) {
			opts := newOptions(issuerWith(jwthttp.StaticKey(pair.public), pair.method.Alg()))
			token := sign(t, pair.method, pair.private, "")
			parts := strings.Split(token, ".")
			checkCached(t, opts, newRequest(withBearer(token)), admitted)
			checkCached(t, opts, newRequest(withBearer(altered(token))), invalid+"signature")
			checkCached(t, opts, newRequest(withBearer(parts[0]+"."+b64(claimsJSON(map[string]any{"role": "admin"}))+"."+parts[2])), invalid+"signature")
			checkCached(t, opts, newRequest(withBearer(parts[0]+"."+parts[1]+".")), invalid+"signature")
		})
	}
}

// ed25519Method signs EdDSA under its name of RFC 9864.
type ed25519Method struct{ *jwt.SigningMethodEd25519 }

func (ed25519Method) Alg() string { return "Ed25519" }

// Each of the two names of Ed25519 admits its own spelling only.
func TestIssuer_Algorithms_ed25519(t *testing.T) {
	k := testKeys()
	byOldName := sign(t, jwt.SigningMethodEdDSA, k.ed, "")
	byNewName := sign(t, ed25519Method{jwt.SigningMethodEdDSA}, k.ed, "")
	public := jwthttp.StaticKey(k.ed.Public())
	for _, tt := range []struct {
		name       string
		algorithms []string
		token      string
		want       string
	}{
		{"EdDSA for EdDSA", []string{"EdDSA"}, byOldName, admitted},
		{"Ed25519 for EdDSA", []string{"EdDSA"}, byNewName, invalid + "algorithm"},
		{"Ed25519 for Ed25519", []string{"Ed25519"}, byNewName, admitted},
		{"EdDSA for Ed25519", []string{"Ed25519"}, byOldName, invalid + "algorithm"},
		{"EdDSA for both", []string{"EdDSA", "Ed25519"}, byOldName, admitted},
		{"Ed25519 for both", []string{"EdDSA", "Ed25519"}, byNewName, admitted},
		{"altered", []string{"Ed25519"}, altered(byNewName), invalid + "signature"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			checkCached(t, newOptions(issuerWith(public, tt.algorithms...)), newRequest(withBearer(tt.token)), tt.want)
		})
	}
}

// RFC 7518 §3.5: the salt is as long as the hash.
func TestIssuer_Algorithms_pssSalt(t *testing.T) {
	k := testKeys()
	for _, alg := range []struct {
		name string
		hash crypto.Hash
	}{{"PS256", crypto.SHA256}, {"PS384", crypto.SHA384}, {"PS512", crypto.SHA512}} {
		for _, salt := range []struct {
			name   string
			length int
			want   string
		}{
			{"of the hash's length", rsa.PSSSaltLengthEqualsHash, admitted},
			{"shorter", 20, invalid + "signature"},
			{"longest", rsa.PSSSaltLengthAuto, invalid + "signature"},
		} {
			bubble(t, alg.name+", salt "+salt.name, func(t *testing.T) {
				signed := b64(`{"alg":"`+alg.name+`"}`) + "." + b64(claimsJSON(nil))
				h := alg.hash.New()
				h.Write([]byte(signed))
				sig, err := rsa.SignPSS(rand.Reader, k.rsa, alg.hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt.length})
				if err != nil {
					t.Fatal(err)
				}
				opts := newOptions(issuerWith(jwthttp.StaticKey(&k.rsa.PublicKey), alg.name))
				checkCached(t, opts, newRequest(withBearer(signed+"."+b64(string(sig)))), salt.want)
			})
		}
	}
}

// Rule 18: a public key in any form is no HMAC secret (RFC 8725 §2.1).
func TestAuthenticate_algorithmConfusion(t *testing.T) {
	k := testKeys()
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)
	jwk := fmt.Sprintf(`{"kty":"RSA","n":"%s","e":"AQAB"}`, base64.RawURLEncoding.EncodeToString(k.rsa.N.Bytes()))
	for _, tt := range []struct {
		name      string
		forged    []byte // the secret of the forger
		isUnclear bool   // nothing tells it from a good secret
	}{
		{"PEM", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), false},
		{"PKCS1 PEM", pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), false},
		{"DER", der, false},
		{"PKCS1 DER", pkcs1, false},
		{"JWK", []byte(jwk), false},
		{"JWK Set", []byte(`{"keys":[` + jwk + `]}`), false},
		{"modulus", k.rsa.N.Bytes(), true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(withBearer(sign(t, jwt.SigningMethodHS256, tt.forged, "")))
			checkCached(t, newOptions(issuerWith(jwthttp.StaticKey(&k.rsa.PublicKey), "RS256")), r, invalid+"algorithm")
			if tt.isUnclear {
				return
			}
			if _, err := jwthttp.New[testClaims](newOptions(issuerWith(jwthttp.StaticKey(tt.forged), "HS256"))); err == nil {
				t.Error("New accepts it as an HMAC secret")
			}
			dynamic := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return tt.forged, nil })
			checkCached(t, newOptions(issuerWith(dynamic, "HS256")), r, invalid+"algorithm")
		})
	}
}

// Rules 19 and 20, as far as a bare key shows them.
func TestKeyfunc_fit(t *testing.T) {
	k := testKeys()
	for _, tt := range []struct {
		name      string
		algorithm string
		sign      any
		keys      any
		want      string
	}{
		{"the right key", "ES256", k.p256, &k.p256.PublicKey, admitted},
		{"another curve", "ES256", k.p256, &k.p384.PublicKey, invalid + "algorithm"},
		{"a point that is not on the curve", "ES256", k.p256, offCurve(), invalid + "algorithm"},
		{"another type", "RS256", k.rsa, k.ed.Public(), invalid + "algorithm"},
		{"nil", "RS256", k.rsa, nil, invalid + "algorithm"},
		{"a nil RSA key", "RS256", k.rsa, (*rsa.PublicKey)(nil), invalid + "algorithm"},
		{"an empty RSA key", "RS256", k.rsa, &rsa.PublicKey{}, invalid + "algorithm"},
		{"a nil ECDSA key", "ES256", k.p256, (*ecdsa.PublicKey)(nil), invalid + "algorithm"},
		{"an empty ECDSA key", "ES256", k.p256, &ecdsa.PublicKey{}, invalid + "algorithm"},
		{"a value in place of a pointer", "RS256", k.rsa, k.rsa.PublicKey, invalid + "algorithm"},
		{"a private RSA key", "RS256", k.rsa, k.rsa, invalid + "algorithm"},
		{"a private Ed25519 key", "EdDSA", k.ed, k.ed, invalid + "algorithm"},
		{"a short Ed25519 key", "EdDSA", k.ed, k.ed.Public().(ed25519.PublicKey)[:31], invalid + "algorithm"},
		{"a weak RSA key", "RS256", k.weakRSA, &k.weakRSA.PublicKey, invalid + "algorithm"},
		{"an RSA key with exponent 1", "RS256", k.rsa, &rsa.PublicKey{N: k.rsa.N, E: 1}, invalid + "algorithm"},
		{"an RSA key too large to verify with", "RS256", k.rsa, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 20000), E: 3}, invalid + "algorithm"},
		{"an empty secret", "HS256", []byte{}, []byte{}, invalid + "algorithm"},
		{"a short secret", "HS256", long(31), long(31), invalid + "algorithm"},
		{"a secret of spaces, long enough", "HS256", []byte(strings.Repeat(" ", 32)), []byte(strings.Repeat(" ", 32)), admitted},
		{"a secret that begins like a JWK", "HS256", []byte("{" + string(long(32))), []byte("{" + string(long(32))), admitted},
		{"a secret that begins like DER", "HS256", []byte("0" + string(long(32))), []byte("0" + string(long(32))), admitted},
		{"a secret for a longer hash", "HS512", long(48), long(48), invalid + "algorithm"},
		{"a string as a secret", "HS256", long(32), string(long(32)), invalid + "algorithm"},
		{"a set with one that fits", "ES256", k.p256, keySet(nil, &k.rsa.PublicKey, &k.p384.PublicKey, &k.p256.PublicKey), admitted},
		{"a set with none that fits", "ES256", k.p256, keySet(nil, &k.rsa.PublicKey, &k.p384.PublicKey), invalid + "algorithm"},
		{"a set with one that fits and does not verify", "RS256", k.rsa, keySet(k.ed.Public(), &k.otherRSA.PublicKey), invalid + "signature"},
		{"an empty set", "ES256", k.p256, keySet(), invalid + "unknown_key"},
		// Rule 19
		{"an Ed25519 key for RS256", "RS256", k.rsa, keySet(k.ed.Public()), invalid + "algorithm"},
		{"a P-256 key for ES384", "ES384", k.p384, &k.p256.PublicKey, invalid + "algorithm"},
		{"an RSA key with an even exponent", "RS256", k.rsa, &rsa.PublicKey{N: k.rsa.N, E: 65536}, invalid + "algorithm"},
		{"an Ed25519 key that is too long", "EdDSA", k.ed, append(slices.Clone(k.ed.Public().(ed25519.PublicKey)), 0), invalid + "algorithm"},
		{"a private key in a set", "RS256", k.rsa, keySet(k.rsa, k.ed), invalid + "algorithm"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return tt.keys, nil })
			r := newRequest(withBearer(sign(t, jwt.GetSigningMethod(tt.algorithm), tt.sign, "")))
			checkCached(t, newOptions(issuerWith(source, tt.algorithm)), r, tt.want)
		})
	}
}

func offCurve() *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
}

func keySet(keys ...any) jwt.VerificationKeySet {
	var set jwt.VerificationKeySet
	for _, key := range keys {
		set.Keys = append(set.Keys, key)
	}
	return set
}

// Rule 21: a token must not cause many verifications.
func TestKeyfunc_manyKeys(t *testing.T) {
	k := testKeys()
	for _, tt := range []struct {
		others int
		want   string
	}{{7, admitted}, {8, invalid + "signature"}} {
		bubble(t, fmt.Sprintf("the right key after %d others", tt.others), func(t *testing.T) {
			var keys []any
			for range tt.others {
				keys = append(keys, &k.p384.PublicKey, &k.otherRSA.PublicKey) // the first does not fit and does not count
			}
			keys = append(keys, &k.rsa.PublicKey)
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return keySet(keys...), nil })
			checkCached(t, newOptions(issuerWith(source, "RS256")), newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, ""))), tt.want)
		})
	}
}

// Rule 22
func TestOptions_Issuers_keys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		a := issuerWith(jwthttp.KeySet{"1": &k.rsa.PublicKey}, "RS256")
		b := issuerWith(jwthttp.KeySet{"1": &k.otherRSA.PublicKey}, "RS256")
		b.Name = "https://b.example"
		opts := newOptions(a, b)
		opts.CacheSize = 8
		m := mustNew[testClaims](t, opts)
		fromB := map[string]any{"iss": b.Name}
		for range 10 { // the same kid, in turns
			checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, "1"))), admitted)
			checkVerdict(t, m, newRequest(withBearer(signChanged(t, jwt.SigningMethodRS256, k.otherRSA, "1", fromB))), admitted)
		}
		checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.otherRSA, "1"))), invalid+"signature")
		checkVerdict(t, m, newRequest(withBearer(signChanged(t, jwt.SigningMethodRS256, k.rsa, "1", fromB))), invalid+"signature")
	})
}

// Rule 17
func TestKeySet(t *testing.T) {
	k := testKeys()
	keys := jwthttp.KeySet{"a": &k.rsa.PublicKey, "b": &k.p256.PublicKey}
	opts := newOptions(issuerWith(keys, "RS256", "ES256"))
	emptyKeyID := signRSA(t, `{"alg":"RS256","kid":""}`, claimsJSON(nil))
	for _, tt := range []struct {
		name  string
		token string
		want  string
	}{
		{"its own key", sign(t, jwt.SigningMethodRS256, k.rsa, "a"), admitted},
		{"the other key", sign(t, jwt.SigningMethodES256, k.p256, "b"), admitted},
		{"a key of the other algorithm", sign(t, jwt.SigningMethodRS256, k.rsa, "b"), invalid + "algorithm"},
		{"another key of the algorithm", sign(t, jwt.SigningMethodRS256, k.otherRSA, "a"), invalid + "signature"},
		{"no kid", sign(t, jwt.SigningMethodRS256, k.rsa, ""), invalid + "unknown_key"},
		{"an empty kid", emptyKeyID, invalid + "unknown_key"},
		{"an unknown kid", sign(t, jwt.SigningMethodRS256, k.rsa, "c"), invalid + "unknown_key"},
		{"by case", sign(t, jwt.SigningMethodRS256, k.rsa, "A"), invalid + "unknown_key"},
		{"with a space", sign(t, jwt.SigningMethodRS256, k.rsa, "a "), invalid + "unknown_key"},
		{"a path", sign(t, jwt.SigningMethodRS256, k.rsa, "../../dev/null"), invalid + "unknown_key"},
		{"SQL", sign(t, jwt.SigningMethodRS256, k.rsa, "a' OR '1'='1"), invalid + "unknown_key"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(withBearer(tt.token))
			checkCached(t, opts, r, tt.want)
			// As a Keyfunc it does the same, except that New has not checked it.
			dynamic := opts
			dynamic.Issuers = []jwthttp.Issuer{issuerWith(jwthttp.Keyfunc(keys.KeyfuncCtx(t.Context())), "RS256", "ES256")}
			checkCached(t, dynamic, r, tt.want)
		})
	}
	t.Run("an empty kid in a set that New has not checked", func(t *testing.T) {
		set := jwthttp.KeySet{"": &k.rsa.PublicKey}
		source := jwthttp.Keyfunc(set.KeyfuncCtx(t.Context()))
		synctest.Test(t, func(t *testing.T) {
			checkCached(t, newOptions(issuerWith(source, "RS256")), newRequest(withBearer(emptyKeyID)), invalid+"unknown_key")
		})
	})
	t.Run("an empty kid and a key set", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set := parsedSet(t)
			checkCached(t, newOptions(issuerWith(set, "RS256")), newRequest(withBearer(emptyKeyID)), invalid+"unknown_key")
			checkCached(t, newOptions(issuerWith(set, "RS256")), newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, "k1"))), admitted)
			checkCached(t, newOptions(issuerWith(set, "RS256")), newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, ""))), admitted)
		})
	})
}

// signRSA signs any two texts with the RSA key of the tests.
func signRSA(t *testing.T, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	signature, err := jwt.SigningMethodRS256.Sign(signed, testKeys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

func TestNew_copiesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		token := sign(t, jwt.SigningMethodHS256, long(32), "a")
		set, hmac := jwthttp.KeySet{"a": long(32)}, long(32)
		ofSet := mustNew[testClaims](t, newOptions(issuerWith(set, "HS256")))
		static := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(hmac), "HS256")))
		public := rsa.PublicKey{N: new(big.Int).Set(k.rsa.N), E: k.rsa.E}
		ed := ed25519.PublicKey(strings.Clone(string(k.ed[32:])))
		ec := ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).Set(k.p256.X), Y: new(big.Int).Set(k.p256.Y)}
		ofEd := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(ed), "EdDSA")))
		ofEC := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(&ec), "ES256")))
		asymmetric := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(&public), "RS256")))
		set["a"].([]byte)[0]++
		delete(set, "a")
		hmac[0]++
		public.N.SetInt64(1)
		ed[0]++
		ec.X.SetInt64(1)
		ec.Y.SetInt64(1)
		checkVerdict(t, ofEd, newRequest(withBearer(sign(t, jwt.SigningMethodEdDSA, k.ed, ""))), admitted)
		checkVerdict(t, ofEC, newRequest(withBearer(sign(t, jwt.SigningMethodES256, k.p256, ""))), admitted)
		checkVerdict(t, ofSet, newRequest(withBearer(token)), admitted)
		checkVerdict(t, static, newRequest(withBearer(token)), admitted)
		checkVerdict(t, asymmetric, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, ""))), admitted)
	})
}

// A KeySource gets copies.
func TestKeySource_token(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen *jwt.Token
		source := jwthttp.Keyfunc(func(token *jwt.Token) (any, error) {
			seen = token
			claims := token.Claims.(jwt.RegisteredClaims)
			if claims.Audience[0] = "changed"; token.Header["kid"] != "k" {
				return nil, fmt.Errorf("header %v", token.Header)
			}
			return secret, nil
		})
		m := mustNew[testClaims](t, newOptions(issuerWith(source, "HS256")))
		inner := serve(m, newRequest(withBearer(sign(t, jwt.SigningMethodHS256, secret, "k")))).inner
		if inner == nil {
			t.Fatal("refused")
		}
		claims := seen.Claims.(jwt.RegisteredClaims)
		if seen.Method != jwt.SigningMethodHS256 || claims.Issuer != issuerName || claims.Subject != "alice" ||
			claims.ID != "id-1" || claims.ExpiresAt.Unix() != bubbleStart+3600 || claims.IssuedAt.Unix() != bubbleStart-60 || claims.NotBefore != nil {
			t.Errorf("key source saw %v with %v", seen.Method, claims)
		}
		if seen.Raw != "" || seen.Signature != nil || seen.Valid {
			t.Error("key source got more than it needs")
		}
		if token, _ := jwthttp.TokenFromContext(inner.Context()); token.Audience[0] != audienceName {
			t.Error("a key source can change the Token")
		}
	})
}

func TestKeySource_error(t *testing.T) {
	canceled := func(r *http.Request) *http.Request {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		return r.WithContext(ctx)
	}
	expired := func(r *http.Request) *http.Request {
		ctx, cancel := context.WithTimeout(r.Context(), -1)
		cancel()
		return r.WithContext(ctx)
	}
	unchanged := func(r *http.Request) *http.Request { return r }
	for _, tt := range []struct {
		name    string
		err     error
		request func(*http.Request) *http.Request
		want    string
	}{
		{"unavailable", jwthttp.ErrKeysUnavailable, unchanged, "503 keys_unavailable"},
		{"unavailable, wrapped", fmt.Errorf("vault: %w", jwthttp.ErrKeysUnavailable), unchanged, "503 keys_unavailable"},
		{"anything else", errors.New("no such key"), unchanged, invalid + "unknown_key"},
		{"a canceled context, but not the request's", context.Canceled, unchanged, invalid + "unknown_key"},
		// A client that hangs up is not a failure of the server.
		{"unavailable after the client hung up", jwthttp.ErrKeysUnavailable, canceled, "499 canceled"},
		{"canceled by the client", fmt.Errorf("fetch: %w", context.Canceled), canceled, "499 canceled"},
		{"anything else after the client hung up", errors.New("no such key"), canceled, invalid + "unknown_key"},
		{"unavailable after the request's deadline", jwthttp.ErrKeysUnavailable, expired, "503 keys_unavailable"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, tt.err })
			opts := newOptions(issuerWith(source, "HS256"))
			r := tt.request(newRequest(withBearer(goodToken(nil))))
			checkCached(t, opts, r, tt.want)
			if _, err := mustNew[testClaims](t, opts).Authenticate(r); !errors.Is(err, tt.err) {
				t.Errorf("error %v does not wrap the cause", err)
			}
		})
	}
}

func TestKeySource_context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		r := newRequest(withBearer(goodToken(nil)))
		r = r.WithContext(context.WithValue(r.Context(), key{}, "v"))
		source := contextSource(func(ctx context.Context) {
			if ctx.Value(key{}) != "v" {
				t.Error("not the request's context")
			}
		})
		checkVerdict(t, mustNew[testClaims](t, newOptions(issuerWith(source, "HS256"))), r, admitted)
	})
}

type contextSource func(context.Context)

func (s contextSource) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	s(ctx)
	return func(*jwt.Token) (any, error) { return secret, nil }
}

// Rules 19 and 23: a keyfunc.Keyfunc of github.com/MicahParks/keyfunc gets the checks that it does
// not make itself.
func TestKeySource_keyfunc(t *testing.T) {
	k := testKeys()
	n := base64.RawURLEncoding.EncodeToString
	public, err := k.p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[
		{"kty":"RSA","kid":"rsa","n":"%s","e":"AQAB"},
		{"kty":"RSA","kid":"ps","alg":"PS256","n":"%s","e":"AQAB"},
		{"kty":"RSA","kid":"weak","n":"%s","e":"AQAB"},
		{"kty":"EC","kid":"ec","crv":"P-256","x":"%s","y":"%s"}]}`,
		n(k.rsa.N.Bytes()), n(k.otherRSA.N.Bytes()), n(k.weakRSA.N.Bytes()), n(public[1:33]), n(public[33:]))
	keys, err := keyfunc.NewJWKSetJSON([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	opts := newOptions(issuerWith(keys, "RS256", "ES256"))
	for _, tt := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		kid    string
		want   string
	}{
		{"by kid", jwt.SigningMethodRS256, k.rsa, "rsa", admitted},
		{"without kid", jwt.SigningMethodES256, k.p256, "", admitted},
		{"unknown kid", jwt.SigningMethodRS256, k.rsa, "x", invalid + "unknown_key"},
		{"a key of another algorithm", jwt.SigningMethodRS256, k.otherRSA, "ps", invalid + "unknown_key"},
		{"a key of another type", jwt.SigningMethodRS256, k.rsa, "ec", invalid + "algorithm"},
		{"a weak key", jwt.SigningMethodRS256, k.weakRSA, "weak", invalid + "algorithm"},
		{"a weak key without kid", jwt.SigningMethodRS256, k.weakRSA, "", invalid + "signature"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			checkCached(t, opts, newRequest(withBearer(sign(t, tt.method, tt.key, tt.kid))), tt.want)
		})
	}
}

// finder is a key set that selects the keys for a token itself.
type finder struct {
	jwthttp.KeySource
	found, refetched []jwt.VerificationKey
	err, refetchErr  error
	from             string
	queries          []keyset.Query
}

func (f *finder) FindKeys(_ context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	f.queries = append(f.queries, q)
	return f.found, f.err
}

func (f *finder) RefetchKeys(_ context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	f.queries = append(f.queries, q)
	return f.refetched, f.refetchErr
}

func (f *finder) DiscoveredFrom() string { return f.from }

func TestKeySource_finder(t *testing.T) {
	k := testKeys()
	right, wrong := []jwt.VerificationKey{&k.p256.PublicKey}, []jwt.VerificationKey{&k.otherP256.PublicKey}
	for _, tt := range []struct {
		name    string
		finder  finder
		want    string
		queries int // of one request
	}{
		{"the right key", finder{found: right}, admitted, 1},
		{"the right key among others", finder{found: append(wrong[:1:1], right...)}, admitted, 1},
		{"another key, the right one after a fetch", finder{found: wrong, refetched: right}, admitted, 2},
		{"another key, and no newer one", finder{found: wrong}, invalid + "signature", 2},
		{"another key, before and after a fetch", finder{found: wrong, refetched: wrong}, invalid + "signature", 2},
		// Rule 36
		{"another key, and newer ones are unavailable", finder{found: wrong, refetchErr: jwthttp.ErrKeysUnavailable}, "503 keys_unavailable", 2},
		{"no key", finder{err: errors.New("unknown kid")}, invalid + "unknown_key", 1},
		{"unavailable", finder{err: jwthttp.ErrKeysUnavailable}, "503 keys_unavailable", 1},
		{"discovered from the issuer", finder{found: right, from: issuerName}, admitted, 1},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions(issuerWith(&tt.finder, "ES256"))
			r := newRequest(withBearer(signChanged(t, jwt.SigningMethodES256, k.p256, "k", map[string]any{"tid": "tenant"})))
			checkVerdict(t, mustNew[testClaims](t, opts), r, tt.want)
			want := keyset.Query{KeyID: "k", HasKeyID: true, Algorithm: "ES256", Issuer: issuerName, TenantID: "tenant"}
			if len(tt.finder.queries) != 2*tt.queries {
				t.Errorf("%d queries of two requests, want %d for each", len(tt.finder.queries), tt.queries)
			}
			for _, q := range tt.finder.queries {
				if q != want {
					t.Errorf("query %+v, want %+v", q, want)
				}
			}
			opts.CacheSize = 8
			checkVerdict(t, mustNew[testClaims](t, opts), r, tt.want)
		})
	}
	t.Run("a header without kid", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := finder{found: right}
			checkVerdict(t, mustNew[testClaims](t, newOptions(issuerWith(&f, "ES256"))), newRequest(withBearer(sign(t, jwt.SigningMethodES256, k.p256, ""))), admitted)
			if want := (keyset.Query{Algorithm: "ES256", Issuer: issuerName}); f.queries[0] != want {
				t.Errorf("query %+v, want %+v", f.queries[0], want)
			}
		})
	})
	// Rule 22: the keys must be those that the issuer publishes.
	t.Run("discovered from another issuer", func(t *testing.T) {
		_, err := jwthttp.New[testClaims](newOptions(issuerWith(&finder{found: right, from: issuerName + "/"}, "ES256")))
		if err == nil || !strings.Contains(err.Error(), "Issuers[0].Keys") || !strings.Contains(err.Error(), issuerName+"/") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("HMAC", func(t *testing.T) {
		_, err := jwthttp.New[testClaims](newOptions(issuerWith(&finder{}, "HS256")))
		if err == nil || !strings.Contains(err.Error(), "Issuers[0].Keys") {
			t.Errorf("error %v", err)
		}
	})
}

// A static key serves golang-jwt's own parser, too.
func TestStaticKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, err := jwt.Parse(sign(t, jwt.SigningMethodHS256, secret, "any"), jwthttp.StaticKey(secret).KeyfuncCtx(t.Context()))
		if err != nil || !token.Valid {
			t.Errorf("error %v", err)
		}
	})
}

// Keys may change while requests are served.
func TestKeyfunc_rotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Pointer[jwthttp.KeySet]
		source := jwthttp.Keyfunc(func(token *jwt.Token) (any, error) {
			return current.Load().KeyfuncCtx(context.Background())(token)
		})
		current.Store(&jwthttp.KeySet{"1": long(32)})
		opts := newOptions(issuerWith(source, "HS256"))
		opts.CacheSize = 8
		m := mustNew[testClaims](t, opts)
		first, second := sign(t, jwt.SigningMethodHS256, long(32), "1"), sign(t, jwt.SigningMethodHS256, long(40), "2")
		checkVerdict(t, m, newRequest(withBearer(first)), admitted)
		checkVerdict(t, m, newRequest(withBearer(second)), invalid+"unknown_key")
		current.Store(&jwthttp.KeySet{"1": long(32), "2": long(40)})
		checkVerdict(t, m, newRequest(withBearer(first)), admitted)
		checkVerdict(t, m, newRequest(withBearer(second)), admitted)
		current.Store(&jwthttp.KeySet{"2": long(40)})
		checkVerdict(t, m, newRequest(withBearer(first)), invalid+"unknown_key")
		checkVerdict(t, m, newRequest(withBearer(second)), admitted)
	})
}

// Rule 47
func TestKeySource_printing(t *testing.T) {
	opts := newOptions(newIssuer(), issuerWith(jwthttp.KeySet{"k1": secret}, "HS256"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{opts, opts.Issuers[0], opts.Issuers[1], opts.Issuers[1].Keys, mustNew[testClaims](t, newOptions())} {
			text := fmt.Sprintf(verb, v)
			asJSON, _ := json.Marshal(v) // Options have functions, which JSON refuses
			text += string(asJSON)
			if strings.Contains(text, string(secret)) || strings.Contains(text, "48 49 50") || strings.Contains(text, "303132") || strings.Contains(text, "0x30, 0x31") || strings.Contains(text, "MDEyMzQ1") {
				t.Errorf("%s of %T shows the secret: %s", verb, v, text)
			}
		}
	}
	if got := fmt.Sprint(opts.Issuers[1].Keys); !strings.Contains(got, "k1") {
		t.Errorf("a KeySet prints as %q", got)
	}
}

// fmt calls no method of an unexported field.
func TestStaticKey_printing(t *testing.T) {
	config := struct{ opts jwthttp.Options }{newOptions()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		text := fmt.Sprintf(verb, config)
		for _, shown := range []string{string(secret), fmt.Sprint(secret), fmt.Sprintf("%x", secret)} {
			if strings.Contains(text, shown) {
				t.Errorf("%s shows the secret: %s", verb, text)
			}
		}
	}
}

// Rule 36: a deadline of the request while its key is looked up.
func TestKeyfunc_deadline(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want string
	}{
		{"a deadline that has passed", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now())
		}, "503 keys_unavailable"},
		{"no deadline", context.WithCancel, invalid + "unknown_key"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			lookUp := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, fmt.Errorf("database: %w", context.DeadlineExceeded) })
			ctx, cancel := tt.end(t.Context())
			defer cancel()
			m := mustNew[testClaims](t, newOptions(issuerWith(lookUp, "HS256")))
			checkVerdict(t, m, newRequest(withBearer(goodToken(nil))).WithContext(ctx), tt.want)
		})
	}
}
