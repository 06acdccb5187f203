package jwks_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Rules 19 to 23: what a JWK says that a bare key does not.
func TestParse_usableKeys(t *testing.T) {
	k := testKeys()
	weak := `{"kty":"RSA","kid":"a","n":"` + b64(k.weakRSA.N.Bytes()) + `","e":"AQAB"}`
	rs := func(kid string) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, kid, nil) }
	}
	es := func(kid string) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, jwt.SigningMethodES256, k.p256, kid, nil) }
	}
	ed := func(alg, kid string) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, jwk.Method(alg), k.ed, kid, nil) }
	}
	other := ecJWK(`,"kid":"other"`)
	for _, tt := range []struct {
		name  string
		keys  []string
		token func(*testing.T) string
		want  string
	}{
		{"without alg and use, as Entra ID serves them", []string{rsaJWK(`,"kid":"a"`)}, rs("a"), admitted},
		{"with this alg and use", []string{rsaJWK(`,"kid":"a","alg":"RS256","use":"sig","key_ops":["verify"]`)}, rs("a"), admitted},
		{"with another alg", []string{rsaJWK(`,"kid":"a","alg":"PS256"`), other}, rs("a"), unknownKey},
		{"with another alg, no kid in the token", []string{rsaJWK(`,"kid":"a","alg":"PS256"`), other}, rs(""), unknownKey},
		{"with an alg for encryption", []string{rsaJWK(`,"kid":"a","alg":"RSA-OAEP"`), other}, rs("a"), unknownKey},
		{"with an alg of HMAC", []string{rsaJWK(`,"kid":"a","alg":"HS256"`), other}, rs("a"), unknownKey},
		{"with use enc", []string{rsaJWK(`,"kid":"a","use":"enc"`), other}, rs("a"), unknownKey},
		{"with use enc, no kid in the token", []string{rsaJWK(`,"use":"enc"`), other}, rs(""), unknownKey},
		{"with use jwt-svid (SPIFFE)", []string{rsaJWK(`,"kid":"a","use":"jwt-svid"`)}, rs("a"), admitted},
		{"with use x509-svid (SPIFFE)", []string{rsaJWK(`,"kid":"a","use":"x509-svid"`), other}, rs("a"), unknownKey},
		{"with use in upper case", []string{rsaJWK(`,"kid":"a","use":"SIG"`), other}, rs("a"), unknownKey},
		{"with key_ops that do not verify", []string{rsaJWK(`,"kid":"a","key_ops":["encrypt"]`), other}, rs("a"), unknownKey},
		{"with empty key_ops", []string{rsaJWK(`,"kid":"a","key_ops":[]`), other}, rs("a"), unknownKey},
		{"a private key", []string{rsaJWK(`,"kid":"a","d":"AQAB"`), other}, rs("a"), unknownKey},
		{"a private key with one prime only", []string{rsaJWK(`,"kid":"a","qi":"AQAB"`), other}, rs("a"), unknownKey},
		{"a private key that is not a string", []string{rsaJWK(`,"kid":"a","d":5`), other}, rs("a"), unknownKey},
		{"a key with a secret", []string{rsaJWK(`,"kid":"a","k":"AQAB"`), other}, rs("a"), unknownKey},
		{"a weak key", []string{weak, other}, func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.weakRSA, "a", nil) }, unknownKey},
		{"a weak key, no kid in the token", []string{weak, other}, func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.weakRSA, "", nil) }, unknownKey},
		{"of another type", []string{ecJWK(`,"kid":"a"`)}, rs("a"), unknownKey},
		{"no kid in the token", []string{ecJWK(`,"kid":"x"`), rsaJWK(`,"kid":"a"`), edJWK(`,"kid":"ed"`)}, rs(""), admitted},
		{"no kid in the key, nor in the token", []string{rsaJWK("")}, rs(""), admitted},
		{"no kid in the key, but in the token", []string{rsaJWK("")}, rs("a"), unknownKey},
		{"two keys of one kid", []string{ecJWK(`,"kid":"a"`), rsaJWK(`,"kid":"a"`)}, es("a"), admitted},
		{"two keys of one kid, the other one", []string{ecJWK(`,"kid":"a"`), rsaJWK(`,"kid":"a"`)}, rs("a"), admitted},
		{"EdDSA", []string{edJWK(`,"kid":"ed"`)}, ed("EdDSA", "ed"), admitted},
		{"EdDSA with that alg", []string{edJWK(`,"kid":"ed","alg":"EdDSA"`)}, ed("EdDSA", "ed"), admitted},
		{"EdDSA with alg Ed25519", []string{edJWK(`,"kid":"ed","alg":"Ed25519"`)}, ed("EdDSA", "ed"), admitted},
		{"Ed25519", []string{edJWK(`,"kid":"ed"`)}, ed("Ed25519", "ed"), admitted},
		{"Ed25519 with that alg", []string{edJWK(`,"kid":"ed","alg":"Ed25519"`)}, ed("Ed25519", "ed"), admitted},
		{"Ed25519 with alg EdDSA", []string{edJWK(`,"kid":"ed","alg":"EdDSA"`)}, ed("Ed25519", "ed"), admitted},
		{"Ed25519 with alg ES256", []string{edJWK(`,"kid":"ed","alg":"ES256"`), other}, ed("Ed25519", "ed"), unknownKey},
		{"odd keys and a good one", []string{`1`, `{"kty":"XX"}`, `{"kty":"EC","crv":"P-999","x":"AA","y":"AA"}`, `{"kty":"RSA","n":"!","e":"AQAB"}`, `{"kty":"RSA","n":1}`, rsaJWK(`,"kid":"a"`)}, rs("a"), admitted},
		{"certificates that are not valid", []string{rsaJWK(`,"kid":"a","x5c":["!"],"x5t":"x","x5u":"http://evil.test/"`)}, rs("a"), admitted},
		{"certificates of another type", []string{rsaJWK(`,"kid":"a","x5c":"MIIB","x5t":1,"x5t#S256":["x"],"x5u":{}`)}, rs("a"), admitted},
		{"certificates of another type in a key with use enc", []string{rsaJWK(`,"kid":"a","use":"enc","x5c":"MIIB"`), other}, rs("a"), unknownKey},
		{"members of null", []string{rsaJWK(`,"kid":"a","alg":null,"use":null,"key_ops":null,"d":null,"k":null,"x5c":null,"issuer":null`)}, rs("a"), admitted},
		{"empty members", []string{rsaJWK(`,"kid":"a","alg":"","use":"","d":""`)}, rs("a"), admitted},
		{"unknown members", []string{rsaJWK(`,"kid":"a","ext":true,"exp":"never","nbf":null,"revoked":{}`)}, rs("a"), admitted},
		{"kid that is a number", []string{rsaJWK(`,"kid":7`), other}, rs("7"), unknownKey},
		{"use in an array", []string{rsaJWK(`,"kid":"a","use":["sig"]`), other}, rs("a"), unknownKey},
		{"use jwt-svid in upper case", []string{rsaJWK(`,"kid":"a","use":"JWT-SVID"`), other}, rs("a"), unknownKey},
		{"key_ops that is a string", []string{rsaJWK(`,"kid":"a","key_ops":"verify"`), other}, rs("a"), unknownKey},
		// Issuers that encode a number as no standard permits. It is the same key.
		{"n with a sign byte (Java)", []string{rsaNumbers(b64(append([]byte{0}, k.rsa.N.Bytes()...)), "AQAB")}, rs("a"), admitted},
		{"n with padding", []string{rsaNumbers(base64.URLEncoding.EncodeToString(k.rsa.N.Bytes()), "AQAB")}, rs("a"), admitted},
		{"e with leading zeros", []string{rsaNumbers(b64(k.rsa.N.Bytes()), "AAEAAQ")}, rs("a"), admitted},
		{"n in the other alphabet", []string{rsaNumbers("+/"+b64(k.rsa.N.Bytes()), "AQAB"), other}, rs("a"), unknownKey},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			set, err := jwks.Parse([]byte(jwkSet(tt.keys...)))
			if err != nil {
				t.Fatal(err)
			}
			m := newMiddleware(t, issuerWith(set, "RS256", "ES256", "EdDSA", "Ed25519"))
			token := tt.token(t)
			if got, err := authenticate(t.Context(), m, token); got != tt.want {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
			// golang-jwt's own parser finds the same keys. It does not know Ed25519.
			if strings.HasPrefix(tt.name, "Ed25519") {
				return
			}
			if _, err = jwt.Parse(token, set.KeyfuncCtx(t.Context()), jwt.WithoutClaimsValidation()); (err == nil) != (tt.want == admitted) {
				t.Errorf("golang-jwt with the same keys: %v", err)
			}
		})
	}
	t.Run("an HMAC token with the set's secret", func(t *testing.T) {
		secret := []byte(strings.Repeat("s", 32))
		set, err := jwks.Parse([]byte(jwkSet(`{"kty":"oct","kid":"a","k":"`+b64(secret)+`"}`, other)))
		if err != nil {
			t.Fatal(err)
		}
		for _, kid := range []string{"a", ""} {
			if _, err := jwt.Parse(sign(t, jwt.SigningMethodHS256, secret, kid, nil), set.Keyfunc); !errors.Is(err, jwt.ErrTokenUnverifiable) {
				t.Errorf("kid %q: %v", kid, err)
			}
		}
	})
}

// Rule 17: an empty kid is one that no key has.
func TestSet_FindKeys_emptyKeyID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, jwkSet(ecJWK(`,"kid":""`))) })
		time.Sleep(10 * time.Second)
		n := s.Fetches()
		for _, q := range []keyset.Query{{HasKeyID: true, Algorithm: "ES256"}} {
			if found, err := s.set.FindKeys(t.Context(), q); err == nil || errors.Is(err, jwthttp.ErrKeysUnavailable) || s.Fetches() != n {
				t.Errorf("keys %v, error %v, %d fetches", found, err, s.Fetches()-n)
			}
		}
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := s.set.FindKeys(t.Context(), keyset.Query{HasKeyID: true, Algorithm: "ES256"}); err == nil {
			t.Errorf("keys %v", found)
		}
		if found, err := s.set.FindKeys(t.Context(), keyset.Query{Algorithm: "ES256"}); err != nil || len(found) != 1 {
			t.Errorf("without kid: keys %v, error %v", found, err)
		}
	})
}

func TestSet_FindKeys_atMostEight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		first := s.KeyID()
		for range 8 {
			s.Publish()
		}
		s.Rotate()
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60}
		noKid := map[string]any{"kid": nil}
		s.check(t, "the last key, by kid", s.Sign(nil, claims), admitted)
		s.check(t, "the last key, without kid", s.Sign(noKid, claims), signature)
		s.Use(first)
		s.check(t, "the first key, without kid", s.Sign(noKid, claims), admitted)
		found, err := s.set.KeyfuncCtx(t.Context())(&jwt.Token{Method: jwt.SigningMethodES256})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(found.(jwt.VerificationKeySet).Keys); n != 8 {
			t.Errorf("%d keys for golang-jwt, want 8", n)
		}
	})
	t.Run("of those bound to the issuer", func(t *testing.T) {
		var list []string
		for i := range 20 {
			list = append(list, ecJWK(fmt.Sprintf(`,"kid":"%d","issuer":"https://%d.test"`, i, i%2)))
		}
		for i := range 20 {
			list = append(list, ecJWK(fmt.Sprintf(`,"kid":"free%d"`, i)))
		}
		set, err := jwks.Parse([]byte(jwkSet(list...)))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			issuer string
			want   int
		}{{"https://1.test", 8}, {"https://2.test", 8}} {
			if found, err := set.FindKeys(t.Context(), keyset.Query{Algorithm: "ES256", Issuer: tt.issuer}); len(found) != tt.want || err != nil {
				t.Errorf("%s: %d keys (%v), want %d", tt.issuer, len(found), err, tt.want)
			}
		}
	})
}

const (
	tenant   = "9188040d-6c67-4c5b-b112-36a304b66dad"
	template = "https://login.microsoftonline.com/{tenantid}/v2.0"
	tenants  = "https://login.microsoftonline.com/" + tenant + "/v2.0"
)

// Entra ID publishes one key set for all tenants.
func TestSet_FindKeys_entraID(t *testing.T) {
	for _, tt := range []struct {
		name, member    string // the JWK's "issuer" as JSON
		issuer, tenant  string
		found, parsedIs bool
	}{
		{"the tenant of the token", `"` + template + `"`, tenants, tenant, true, true},
		{"another tenant's issuer", `"` + template + `"`, "https://login.microsoftonline.com/evil/v2.0", tenant, false, true},
		{"another tid", `"` + template + `"`, tenants, "evil", false, true},
		{"another tid and its issuer", `"` + template + `"`, "https://login.microsoftonline.com/evil/v2.0", "evil", true, true},
		{"no tid", `"` + template + `"`, tenants, "", false, true},
		{"no tid in an issuer without one", `"` + template + `"`, "https://login.microsoftonline.com//v2.0", "", false, true},
		{"the placeholder as tid", `"` + template + `"`, template, "{tenantid}", false, true},
		{"a slash in tid", `"` + template + `"`, "https://login.microsoftonline.com/a/b/v2.0", "a/b", false, true},
		{"a backslash in tid", `"` + template + `"`, `https://login.microsoftonline.com/a\b/v2.0`, `a\b`, false, true},
		{"an opening brace in tid", `"` + template + `"`, "https://login.microsoftonline.com/a{/v2.0", "a{", false, true},
		{"a closing brace in tid", `"` + template + `"`, "https://login.microsoftonline.com/a}/v2.0", "a}", false, true},
		{"a dot as tid", `"` + template + `"`, "https://login.microsoftonline.com/./v2.0", ".", false, true},
		{"two dots as tid", `"` + template + `"`, "https://login.microsoftonline.com/../v2.0", "..", false, true},
		{"three dots as tid", `"` + template + `"`, "https://login.microsoftonline.com/.../v2.0", "...", true, true},
		{"a fixed issuer", `"` + tenants + `"`, tenants, "", true, true},
		{"a fixed issuer and another token's", `"` + tenants + `"`, "https://evil.test", tenant, false, true},
		{"an issuer without slash", `"` + tenants + `"`, tenants + "/", tenant, false, true},
		{"an issuer by case", `"` + tenants + `"`, strings.ToUpper(tenants), tenant, false, true},
		{"no iss", `"` + template + `"`, "", tenant, false, true},
		{"an empty member and no iss", `""`, "", "", false, true},
		{"an empty member", `""`, tenants, tenant, false, true},
		{"the placeholder in other letters", `"https://login.microsoftonline.com/{TenantId}/v2.0"`, tenants, tenant, false, true},
		{"another placeholder", `"https://login.microsoftonline.com/{tenant}/v2.0"`, tenants, tenant, false, true},
		{"the placeholder twice", `"https://login.microsoftonline.com/{tenantid}/{tenantid}"`, "https://login.microsoftonline.com/" + tenant + "/" + tenant, tenant, true, true},
		{"the placeholder twice and two tenants", `"https://login.microsoftonline.com/{tenantid}/{tenantid}"`, "https://login.microsoftonline.com/" + tenant + "/evil", tenant, false, true},
		{"tid in upper case", `"` + template + `"`, tenants, strings.ToUpper(tenant), false, true},
		{"an escaped slash in tid", `"` + template + `"`, "https://login.microsoftonline.com/a/b/v2.0", "a%2fb", false, true},
		{"a space after tid", `"` + template + `"`, tenants, tenant + " ", false, true},
		{"null", `null`, tenants, tenant, true, true},
		{"a member that is not a string", `["` + template + `"]`, tenants, tenant, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			free := rsaJWK(`,"kid":"free"`) // the set is usable without the key
			set, err := jwks.Parse([]byte(jwkSet(ecJWK(`,"kid":"a","issuer":`+tt.member), free)))
			if err != nil {
				t.Fatal(err)
			}
			q := keyset.Query{KeyID: "a", HasKeyID: true, Algorithm: "ES256", Issuer: tt.issuer, TenantID: tt.tenant}
			noKid := keyset.Query{Algorithm: "ES256", Issuer: tt.issuer, TenantID: tt.tenant}
			for _, q := range []keyset.Query{q, noKid} {
				if found, err := set.FindKeys(t.Context(), q); (len(found) == 1) != tt.found || (err == nil) != tt.found {
					t.Errorf("%d keys (%v)", len(found), err)
				}
			}
			// golang-jwt's own parser, with claims of both kinds.
			claims := jwt.MapClaims{"iss": tt.issuer, "tid": tt.tenant}
			if tt.tenant == "" {
				delete(claims, "tid")
			}
			if tt.issuer == "" {
				delete(claims, "iss")
			}
			token := sign(t, jwt.SigningMethodES256, testKeys().p256, "a", claims)
			if tt.issuer == "" {
				token = sign(t, jwt.SigningMethodES256, testKeys().p256, "a", jwt.MapClaims{"iss": ""})
			}
			for _, into := range []jwt.Claims{jwt.MapClaims{}, &jwt.RegisteredClaims{}, &struct{ jwt.RegisteredClaims }{}} {
				if _, err := jwt.ParseWithClaims(token, into, set.KeyfuncCtx(t.Context())); (err == nil) != tt.found {
					t.Errorf("golang-jwt with %T: %v", into, err)
				}
			}
			// What cannot say to whom a key belongs has none of them.
			if all, err := set.VerificationKeySet(t.Context()); err != nil || (len(all.Keys) == 2) != (tt.member == "null") {
				t.Errorf("VerificationKeySet has %d keys (%v)", len(all.Keys), err)
			}
			if all, err := set.Storage().KeyReadAll(t.Context()); err != nil || (len(all) == 2) != (tt.member == "null") {
				t.Errorf("Storage has %d keys (%v)", len(all), err)
			}
		})
	}
	t.Run("tid in another spelling", func(t *testing.T) {
		set, err := jwks.Parse([]byte(jwkSet(ecJWK(`,"kid":"a","issuer":"` + template + `"`))))
		if err != nil {
			t.Fatal(err)
		}
		for _, claims := range []jwt.MapClaims{{"iss": tenants, "TID": tenant}, {"iss": tenants, "tid": 5}, {"iss": tenants, "tid": []string{tenant}}} {
			token := sign(t, jwt.SigningMethodES256, testKeys().p256, "a", claims)
			for _, into := range []jwt.Claims{jwt.MapClaims{}, &jwt.RegisteredClaims{}} {
				if _, err := jwt.ParseWithClaims(token, into, set.Keyfunc); err == nil {
					t.Errorf("%v admitted into %T", claims, into)
				}
			}
		}
		if found, err := set.Keyfunc(&jwt.Token{Method: jwt.SigningMethodES256, Header: map[string]any{"kid": "a"}}); err == nil {
			t.Errorf("without claims: %v", found)
		}
	})
	bubble(t, "through a Middleware", func(t *testing.T) {
		set, err := jwks.Parse([]byte(jwkSet(ecJWK(`,"kid":"a","issuer":"` + template + `"`))))
		if err != nil {
			t.Fatal(err)
		}
		trusted := issuerWith(set, "ES256")
		trusted.Name = tenants
		m := newMiddleware(t, trusted)
		for _, tt := range []struct {
			name string
			tid  any
			want string
		}{
			{"its tid", tenant, admitted}, {"another tid", "evil", unknownKey}, {"no tid", nil, unknownKey}, {"an empty tid", "", unknownKey},
			{"tid in an array", []string{tenant}, unknownKey}, {"a number as tid", 1, unknownKey}, {"tid with a path", "evil/../" + tenant, unknownKey},
		} {
			token := sign(t, jwt.SigningMethodES256, testKeys().p256, "a", jwt.MapClaims{"iss": tenants, "tid": tt.tid})
			if got := verdict(m, token); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// rsaNumbers returns a JWK with the kid "a" and these texts of its numbers.
func rsaNumbers(n, e string) string {
	return fmt.Sprintf(`{"kty":"RSA","kid":"a","n":%q,"e":%q}`, n, e)
}

func pemBlock(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// certificate returns a certificate that has expired, as a fixed clock would see it.
func certificate(t *testing.T) string {
	t.Helper()
	return certificateOf(t, testKeys().p256)
}

func certificateOf(t *testing.T, key crypto.Signer) string {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	return pemBlock("CERTIFICATE", der, err)
}

func TestParse_PEM(t *testing.T) {
	k := testKeys()
	spki := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		return pemBlock("PUBLIC KEY", der, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k.p256)
	privateKey := pemBlock("PRIVATE KEY", private, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es := func(t *testing.T) string { return sign(t, jwt.SigningMethodES256, k.p256, "a", nil) }
	rs := func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, "a", nil) }
	ed := func(t *testing.T) string { return sign(t, jwt.SigningMethodEdDSA, k.ed, "a", nil) }
	for _, tt := range []struct {
		name, text string
		token      func(*testing.T) string
		want       string // in the error, or ""
	}{
		{"a certificate, which may have expired", certificate(t), es, ""},
		{"a public key", spki(&k.p256.PublicKey), es, ""},
		{"an RSA key", spki(&k.rsa.PublicKey), rs, ""},
		{"an RSA key in PKCS #1", pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), nil), rs, ""},
		{"an Ed25519 key", spki(k.ed.Public()), ed, ""},
		{"a certificate of an RSA key", certificateOf(t, k.rsa), rs, ""},
		{"a certificate of an Ed25519 key", certificateOf(t, k.ed), ed, ""},
		{"a certificate with CRLF", strings.ReplaceAll(certificate(t), "\n", "\r\n"), es, ""},
		{"a public key with CRLF and empty lines around", "\r\n" + strings.ReplaceAll(spki(&k.p256.PublicKey), "\n", "\r\n") + "\r\n", es, ""},
		{"a certificate without a final line break", strings.TrimSpace(certificate(t)), es, ""},
		{"text before the block, as openssl prints it", "subject=CN = x\n" + certificate(t), es, ""},
		{"a block in one line", strings.ReplaceAll(certificate(t), "\n", " "), nil, "not a PEM block"},
		{"a certificate request", pemBlock("CERTIFICATE REQUEST", []byte("x"), nil), nil, `PEM block is a "CERTIFICATE REQUEST"`},
		{"a weak key", spki(&k.weakRSA.PublicKey), nil, "1024 bits"},
		{"a private key", privateKey, nil, `PEM block is a "PRIVATE KEY"`},
		{"a private key after a certificate", certificate(t) + privateKey, nil, "more than one PEM block"},
		{"a private key before a certificate", privateKey + certificate(t), nil, "more than one PEM block"},
		{"a chain", certificate(t) + certificate(t), nil, "more than one PEM block"},
		{"text after the block", certificate(t) + "x", nil, "more than one PEM block"},
		{"a block that is cut", certificate(t)[:100], nil, "not a PEM block"},
		{"an invalid certificate", pemBlock("CERTIFICATE", []byte("x"), nil), nil, "invalid key"},
		{"an invalid public key", pemBlock("PUBLIC KEY", []byte("x"), nil), nil, "invalid key"},
		{"a key for key agreement", spki(x25519.PublicKey()), nil, "key agreement"},
		{"a key on another curve", spki(&p224.PublicKey), nil, "curve P-224 is not supported"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			body, err := json.Marshal(map[string]any{"a": tt.text})
			if err != nil {
				t.Fatal(err)
			}
			set, err := jwks.Parse(body)
			if tt.want != "" {
				if err == nil || set != nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"a"`) {
					t.Fatalf("set %v, error %v, want %q", set, err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := newMiddleware(t, issuerWith(set, "ES256", "RS256", "EdDSA"))
			if got, err := authenticate(t.Context(), m, tt.token(t)); got != admitted {
				t.Errorf("%q (%v)", got, err)
			}
		})
	}
	bubble(t, "by New, as Google serves them", func(t *testing.T) {
		body, err := json.Marshal(map[string]any{"a": certificate(t), "keys": spki(&k.rsa.PublicKey), "odd": 5, "junk": "x"})
		if err != nil {
			t.Fatal(err)
		}
		set, err := jwks.New(t.Context(), "https://issuer.test/certs", jwks.Options{Client: answering(string(body)), OnError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		m := newMiddleware(t, issuerWith(set, "ES256", "RS256"))
		for _, token := range []string{es(t), sign(t, jwt.SigningMethodRS256, k.rsa, "keys", nil)} {
			if got, err := authenticate(t.Context(), m, token); got != admitted {
				t.Errorf("%q (%v)", got, err)
			}
		}
		got, err := authenticate(t.Context(), m, sign(t, jwt.SigningMethodES256, k.p256, "junk", nil))
		if got != unknownKey || !strings.Contains(err.Error(), `"junk" (not a PEM block), "odd" (not a PEM block)`) {
			t.Errorf("%q (%v)", got, err)
		}
	})
}

func TestParse_fixedSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		set, err := jwks.Parse([]byte(keySet(issuer)))
		if err != nil {
			t.Fatal(err)
		}
		trusted := issuer.Trusted()
		trusted.Keys = set
		m := newMiddleware(t, trusted)
		time.Sleep(1000 * time.Hour)
		if got := verdict(m, issuer.Token(nil)); got != admitted {
			t.Errorf("after 1000 hours: %q", got)
		}
		if got := verdict(m, issuer.Forged(nil)); got != signature {
			t.Errorf("forged: %q", got)
		}
		issuer.Rotate()
		if got := verdict(m, issuer.Token(nil)); got != unknownKey {
			t.Errorf("another key: %q", got)
		}
		if err := set.Ready(t.Context()); err != nil {
			t.Errorf("Ready: %v", err)
		}
		if err := set.Refresh(t.Context()); err == nil {
			t.Error("Refresh succeeded")
		}
		if set.DiscoveredFrom() != "" {
			t.Errorf("discovered from %q", set.DiscoveredFrom())
		}
	})
	for _, text := range []string{"", "{}", `{"keys":[]}`, `{"keys":[` + edJWK(`,"use":"enc"`) + `]}`, "[]", "x"} {
		if set, err := jwks.Parse([]byte(text)); err == nil || set != nil || !strings.HasPrefix(err.Error(), "jwks: ") {
			t.Errorf("%q: set %v, error %v", text, set, err)
		}
	}
}

// Some editors write a byte order mark before JSON.
func TestParse_byteOrderMark(t *testing.T) {
	const mark = "\ufeff"
	body, err := json.Marshal(map[string]string{"a": certificate(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"a JWK Set", mark + jwkSet(ecJWK(`,"kid":"a"`)), true},
		{"a map of PEM blocks", mark + string(body), true},
		{"a space before it", " " + mark + jwkSet(ecJWK(`,"kid":"a"`)), false},
		{"two", mark + mark + jwkSet(ecJWK(`,"kid":"a"`)), false},
		{"that of UTF-16", "\xff\xfe" + jwkSet(ecJWK(`,"kid":"a"`)), false},
		{"nothing else", mark, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if set, err := jwks.Parse([]byte(tt.text)); (err == nil) != tt.ok || (set == nil) == tt.ok {
				t.Errorf("set %v, error %v", set, err)
			}
		})
	}
}

func TestSet_errorsNameKeysPassedOver(t *testing.T) {
	k := testKeys()
	const secret = "c2VjcmV0LWtleS1tYXRlcmlhbA"
	list := []string{
		rsaJWK(`,"kid":"enc","use":"enc"`),
		`{"kty":"RSA","kid":"weak","n":"` + b64(k.weakRSA.N.Bytes()) + `","e":"AQAB"}`,
		rsaJWK(`,"kid":"private","d":"` + secret + `"`),
		`{"kty":"oct","kid":"oct","k":"` + secret + `"}`,
		`{"kty":"RSA","kid":"number","n":"` + secret + `","e":"AQAB","d":12345678901}`,
		`{"kty":"RSA","kid":"broken","n":"!` + secret + `","e":"AQAB"}`,
		`5`,
		"{\"kty\":\"EC\",\"kid\":\"line\\nbreak\",\"crv\":\"P-\\n999\"}",
	}
	t.Run("a set without a usable key", func(t *testing.T) {
		_, err := jwks.Parse([]byte(jwkSet(list...)))
		if err == nil {
			t.Fatal("no error")
		}
		want := `jwks: no usable key; not usable: "enc" (use "enc"), "weak" (RSA key has 1024 bits, want 2048 to 16384), "private" (private key), ` +
			`"oct" (symmetric key), "number" (member "d" has the wrong type), "broken" (invalid key), #7 (not a JWK), "line\nbreak" (crv "P-\n999" is not supported)`
		if err.Error() != want {
			t.Errorf("error %s\nwant  %s", err, want)
		}
	})
	set, err := jwks.Parse([]byte(jwkSet(append(list, rsaJWK(`,"kid":"ps","alg":"PS256"`), ecJWK(`,"kid":"entra","issuer":"`+template+`"`))...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		q    keyset.Query
		want string // the beginning
	}{
		{"a kid with use enc", keyset.Query{KeyID: "enc", HasKeyID: true, Algorithm: "RS256"}, `jwks: no key for kid "enc" and alg "RS256"; not usable: "enc" (use "enc"), "weak" (`},
		{"a kid of a weak key", keyset.Query{KeyID: "weak", HasKeyID: true, Algorithm: "RS256"}, `jwks: no key for kid "weak" and alg "RS256"; not usable: "weak" (RSA key has 1024 bits, want 2048 to 16384), "enc" (`},
		{"a kid of another alg", keyset.Query{KeyID: "ps", HasKeyID: true, Algorithm: "RS256"}, `jwks: no key for kid "ps" and alg "RS256"; not usable: "ps" (not for this alg), "enc" (`},
		{"a kid of another issuer", keyset.Query{KeyID: "entra", HasKeyID: true, Algorithm: "ES256", Issuer: tenants}, `jwks: no key for kid "entra" and alg "ES256"; not usable: "entra" (only for tokens of issuer "` + template + `"), "enc" (`},
		{"a bound kid of another alg", keyset.Query{KeyID: "entra", HasKeyID: true, Algorithm: "ES384"}, `jwks: no key for kid "entra" and alg "ES384"; not usable: "entra" (not for this alg), "enc" (`},
		{"an unknown kid", keyset.Query{KeyID: "x\n\u00fc", HasKeyID: true, Algorithm: "RS256"}, `jwks: no key for kid "x\n\u00fc" and alg "RS256"; not usable: "enc" (`},
		{"a long kid", keyset.Query{KeyID: strings.Repeat("x", 1<<16), HasKeyID: true, Algorithm: "RS256"}, `jwks: no key for kid "` + strings.Repeat("x", 40) + `" and`},
		{"no kid", keyset.Query{Algorithm: "ES384"}, `jwks: no key for a token without kid and with alg "ES384"; not usable: "enc" (`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := set.FindKeys(t.Context(), tt.q)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || errors.Is(err, jwthttp.ErrKeysUnavailable) {
				t.Fatalf("keys %v, error %v\nwant %s", found, err, tt.want)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "12345678901") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q shows too much", err)
			}
		})
	}
	t.Run("of bounded length", func(t *testing.T) {
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprintf(`{"kty":"%s","kid":"%d%s"}`, strings.Repeat("\u00fc", 1000), i, strings.Repeat("\u00fc", 1000)))
		}
		_, err := jwks.Parse([]byte(jwkSet(many...)))
		if err == nil || len(err.Error()) > 8*1000 || !strings.HasSuffix(err.Error(), " and 92 more") {
			t.Errorf("error of %d bytes: %.2000v", len(err.Error()), err)
		}
	})
}

// The error of a refused request says why a key that is published is not used,
// and the client is not told.
func TestSet_keysPassedOver(t *testing.T) {
	k := testKeys()
	set, err := jwks.Parse([]byte(jwkSet(
		rsaJWK(`,"kid":"good"`), rsaJWK(`,"kid":"enc","use":"enc"`), rsaJWK(`,"kid":"ps","alg":"PS256"`),
		`{"kty":"RSA","kid":"weak","n":"`+b64(k.weakRSA.N.Bytes())+`","e":"AQAB"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, kid string
		want      string
		cause     string
	}{
		{"a usable key", "good", admitted, ""},
		{"for encryption", "enc", unknownKey, `no key for kid "enc" and alg "RS256"; not usable: "enc" (use "enc")`},
		{"too weak", "weak", unknownKey, `no key for kid "weak" and alg "RS256"; not usable: "weak" (RSA key has 1024 bits, want 2048 to 16384)`},
		{"for another algorithm", "ps", unknownKey, `no key for kid "ps" and alg "RS256"; not usable: "ps" (not for this alg)`},
		{"not published", "other", unknownKey, `no key for kid "other" and alg "RS256"; not usable: "enc" (use "enc"), "weak" (RSA key has 1024 bits, want 2048 to 16384)`},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			m := newMiddleware(t, issuerWith(set, "RS256"))
			token := sign(t, jwt.SigningMethodRS256, k.rsa, tt.kid, nil)
			got, cause := authenticate(t.Context(), m, token)
			if got != tt.want || (cause == nil) != (tt.cause == "") || cause != nil && !strings.Contains(cause.Error(), tt.cause) {
				t.Errorf("%q (%v), want %q with %q", got, cause, tt.want, tt.cause)
			}
			r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
			r.Header.Set("Authorization", "Bearer "+token)
			m.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
			if strings.Contains(w.Body.String(), "usable") || strings.Contains(w.Body.String(), `"`+tt.kid+`"`) {
				t.Errorf("the client is told %s", w.Body)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		jwkSet(rsaJWK(`,"kid":"a","d":"AQAB"`), ecJWK(`,"kid":"b","issuer":"`+template+`"`), edJWK(`,"use":"enc"`)),
		`{"a":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}`, `{"keys":null}`, `[]`, ``, "\ufeff{}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := jwks.Parse(text)
		if (err == nil) == (set == nil) {
			t.Fatalf("set %v, error %v", set, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 8000 {
				t.Errorf("error %q", err)
			}
			return
		}
		all, err := set.VerificationKeySet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range all.Keys { // each fits an algorithm
			fits := false
			for _, alg := range jwk.PublicKeyAlgorithms() {
				fits = fits || jwk.Fits(jwk.Method(alg), key) == nil
			}
			if !fits {
				t.Errorf("key %T fits no algorithm", key)
			}
		}
	})
}
