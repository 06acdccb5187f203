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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Every keyfunc.Keyfunc is a KeySource as it stands.
var _ jwthttp.KeySource = keyfunc.Keyfunc(nil)

// testKeys are made once: RSA keys take their time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, otherRSA, weakRSA *rsa.PrivateKey
	p256, p384, p521       *ecdsa.PrivateKey
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

func TestEveryAlgorithmOfGolangJWT(t *testing.T) {
	for _, pair := range keyPairs() {
		bubble(t, pair.method.Alg(), func(t *testing.T) {
			m := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(pair.public), pair.method.Alg())))
			token := sign(t, pair.method, pair.private, "")
			checkVerdict(t, m, newRequest(withBearer(token)), admitted)
			checkVerdict(t, m, newRequest(withBearer(altered(token))), invalid+"signature")
			parts := strings.Split(token, ".")
			checkVerdict(t, m, newRequest(withBearer(parts[0]+"."+b64(claimsJSON(map[string]any{"role": "admin"}))+"."+parts[2])), invalid+"signature")
			checkVerdict(t, m, newRequest(withBearer(parts[0]+"."+parts[1]+".")), invalid+"signature")
		})
	}
}

// RFC 7518 §3.5: the salt is as long as the hash.
func TestPSSWithAnotherSaltIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
			m := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(&k.rsa.PublicKey), alg)))
			for salt, want := range map[int]string{rsa.PSSSaltLengthEqualsHash: admitted, 20: invalid + "signature", rsa.PSSSaltLengthAuto: invalid + "signature"} {
				signed := b64(`{"alg":"`+alg+`"}`) + "." + b64(claimsJSON(nil))
				h := hash.New()
				h.Write([]byte(signed))
				sig, err := rsa.SignPSS(rand.Reader, k.rsa, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
				if err != nil {
					t.Fatal(err)
				}
				checkVerdict(t, m, newRequest(withBearer(signed+"."+b64(string(sig)))), want)
			}
		}
	})
}

// RFC 8725 §2.1; rule 18: a public key in any clothing is no HMAC secret.
func TestAlgorithmConfusionIsRefused(t *testing.T) {
	k := testKeys()
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)
	jwk := fmt.Sprintf(`{"kty":"RSA","n":"%s","e":"AQAB"}`, base64.RawURLEncoding.EncodeToString(k.rsa.N.Bytes()))
	for name, secret := range map[string][]byte{
		"PEM":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"DER":       der,
		"PKCS1 DER": pkcs1,
		"JWK":       []byte(jwk),
		"JWK set":   []byte(`{"keys":[` + jwk + `]}`),
		"modulus":   k.rsa.N.Bytes(),
	} {
		bubble(t, name, func(t *testing.T) {
			forged := sign(t, jwt.SigningMethodHS256, secret, "")
			m := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.StaticKey(&k.rsa.PublicKey), "RS256")))
			checkVerdict(t, m, newRequest(withBearer(forged)), invalid+"algorithm")

			// And where it is given as a secret after all, it is refused at the start, or at the request.
			if name == "modulus" {
				return // nothing tells it from a secret
			}
			if _, err := jwthttp.New[testClaims](newOptions(issuerWith(jwthttp.StaticKey(secret), "HS256"))); err == nil {
				t.Error("taken for an HMAC secret")
			}
			dynamic := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return secret, nil })
			checkVerdict(t, mustNew[testClaims](t, newOptions(issuerWith(dynamic, "HS256"))), newRequest(withBearer(forged)), invalid+"algorithm")
		})
	}
}

// Rules 19 and 20, as far as a bare key shows them.
func TestKeysThatDoNotFitTheAlgorithmAreRefused(t *testing.T) {
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
		{"a point beside the curve", "ES256", k.p256, offCurve(), invalid + "algorithm"},
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
		{"a secret of blanks, long enough", "HS256", []byte(strings.Repeat(" ", 32)), []byte(strings.Repeat(" ", 32)), admitted},
		{"a secret that begins like a JWK", "HS256", []byte("{" + string(long(32))), []byte("{" + string(long(32))), admitted},
		{"a secret that begins like DER", "HS256", []byte("0" + string(long(32))), []byte("0" + string(long(32))), admitted},
		{"a secret for a longer hash", "HS512", long(48), long(48), invalid + "algorithm"},
		{"a string as a secret", "HS256", long(32), string(long(32)), invalid + "algorithm"},
		{"a set with one that fits", "ES256", k.p256, keySet(nil, &k.rsa.PublicKey, &k.p384.PublicKey, &k.p256.PublicKey), admitted},
		{"a set with none that fits", "ES256", k.p256, keySet(nil, &k.rsa.PublicKey, &k.p384.PublicKey), invalid + "algorithm"},
		{"a set with one that fits and does not verify", "RS256", k.rsa, keySet(k.ed.Public(), &k.otherRSA.PublicKey), invalid + "signature"},
		{"an empty set", "ES256", k.p256, keySet(), invalid + "unknown_key"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return tt.keys, nil })
			m := mustNew[testClaims](t, newOptions(issuerWith(source, tt.algorithm)))
			checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.GetSigningMethod(tt.algorithm), tt.sign, ""))), tt.want)
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

// Rule 21: a token without kid must not make us verify for ever.
func TestAtMostEightKeysAreTried(t *testing.T) {
	k := testKeys()
	for n, want := range map[int]string{7: admitted, 8: invalid + "signature"} {
		bubble(t, fmt.Sprintf("the right key behind %d others", n), func(t *testing.T) {
			var keys []any
			for range n {
				keys = append(keys, &k.p384.PublicKey, &k.otherRSA.PublicKey) // the first kind does not count
			}
			keys = append(keys, &k.rsa.PublicKey)
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return keySet(keys...), nil })
			m := mustNew[testClaims](t, newOptions(issuerWith(source, "RS256")))
			checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, ""))), want)
		})
	}
}

// Rule 22.
func TestEachIssuerHasItsOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := testKeys()
		a := issuerWith(jwthttp.KeySet{"1": &k.rsa.PublicKey}, "RS256")
		b := issuerWith(jwthttp.KeySet{"1": &k.otherRSA.PublicKey}, "RS256")
		b.Name = "https://b.example"
		m := mustNew[testClaims](t, newOptions(a, b))
		fromB := map[string]any{"iss": b.Name}
		for range 10 { // the same kid, in turns
			checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.rsa, "1"))), admitted)
			checkVerdict(t, m, newRequest(withBearer(signChanged(t, jwt.SigningMethodRS256, k.otherRSA, "1", fromB))), admitted)
		}
		checkVerdict(t, m, newRequest(withBearer(sign(t, jwt.SigningMethodRS256, k.otherRSA, "1"))), invalid+"signature")
		checkVerdict(t, m, newRequest(withBearer(signChanged(t, jwt.SigningMethodRS256, k.rsa, "1", fromB))), invalid+"signature")
	})
}

func TestAKeySetWantsItsKid(t *testing.T) {
	k := testKeys()
	m := mustNew[testClaims](t, newOptions(issuerWith(jwthttp.KeySet{"a": &k.rsa.PublicKey, "b": &k.p256.PublicKey}, "RS256", "ES256")))
	for _, tt := range []struct {
		name  string
		token func(*testing.T) string
		want  string
	}{
		{"its own key", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "a") }, admitted},
		{"the other key", func(t *testing.T) string { return sign(t, jwt.SigningMethodES256, k.p256, "b") }, admitted},
		{"a key of the other algorithm", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "b") }, invalid + "algorithm"},
		{"no kid", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "") }, invalid + "unknown_key"},
		{"an unknown kid", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "c") }, invalid + "unknown_key"},
		{"a path", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "../../dev/null") }, invalid + "unknown_key"},
		{"SQL", func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "a' OR '1'='1") }, invalid + "unknown_key"},
	} {
		bubble(t, tt.name, func(t *testing.T) { checkVerdict(t, m, newRequest(withBearer(tt.token(t))), tt.want) })
	}
}

func TestNewCopiesKeys(t *testing.T) {
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

// What a KeySource gets is its own, and unverified.
func TestAKeySourceSeesHeaderAndRegisteredClaims(t *testing.T) {
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

func TestAKeySourcesErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"out of reach":          {jwthttp.ErrKeysUnavailable, "503 keys_unavailable"},
		"out of reach, wrapped": {fmt.Errorf("vault: %w", jwthttp.ErrKeysUnavailable), "503 keys_unavailable"},
		"anything else":         {errors.New("no such key"), invalid + "unknown_key"},
		"a context's end":       {context.Canceled, invalid + "unknown_key"},
	} {
		bubble(t, name, func(t *testing.T) {
			source := jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, tt.err })
			m := mustNew[testClaims](t, newOptions(issuerWith(source, "HS256")))
			r := newRequest(withBearer(goodToken(nil)))
			checkVerdict(t, m, r, tt.want)
			if _, err := m.Authenticate(r); !errors.Is(err, tt.err) {
				t.Errorf("error %v does not wrap the cause", err)
			}
		})
	}
}

func TestAKeySourceGetsTheRequestsContext(t *testing.T) {
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

// Any keyfunc.Keyfunc works, and gets the checks that it does not make itself.
func TestKeyfuncOfMicahParks(t *testing.T) {
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
	m := mustNew[testClaims](t, newOptions(issuerWith(keys, "RS256", "ES256")))
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
			checkVerdict(t, m, newRequest(withBearer(sign(t, tt.method, tt.key, tt.kid))), tt.want)
		})
	}
}

// Changing the secret, and adding a key, while requests are served.
func TestKeysCanRotateUnderAnAtomicPointer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current atomic.Pointer[jwthttp.KeySet]
		source := jwthttp.Keyfunc(func(token *jwt.Token) (any, error) {
			return current.Load().KeyfuncCtx(context.Background())(token)
		})
		current.Store(&jwthttp.KeySet{"1": long(32)})
		m := mustNew[testClaims](t, newOptions(issuerWith(source, "HS256")))
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

func TestPrintingKeysShowsNone(t *testing.T) {
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
