package benchmarks

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// This file has the attacks: forged tokens, and requests with them.

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge signs a header and a payload with f's key.
func forge(f *Fixture, header, body string) string {
	return forgeWith(f.method, f.signing, header, body)
}

func forgeWith(method jwt.SigningMethod, key any, header, body string) string {
	signed := segment(header) + "." + segment(body)
	signature, err := method.Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// headerOf returns a valid header with one more member, unless it is empty.
func headerOf(f *Fixture, member string) string {
	if member != "" {
		member = "," + member
	}
	return `{"alg":"` + f.Alg + `","kid":"` + keyID + `"` + member + `}`
}

// bodyOf returns the valid payload with claims replaced, added or, if nil, removed.
func bodyOf(changes map[string]any) string {
	claims := payload()
	for name, v := range changes {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// with signs the valid token with changed claims.
func (l *lab) with(label string, changes map[string]any) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, ""), bodyOf(changes)))}
}

// withMember signs the valid token with one more header member.
func (l *lab) withMember(label, member string) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, member), bodyOf(nil)))}
}

// rawBody signs a payload given as text.
func (l *lab) rawBody(label, body string) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, ""), body))}
}

func (l *lab) token(label string, f *Fixture, token string) shot {
	return shot{label: label, f: f, send: bearing(token)}
}

func (l *lab) none() (shots []shot) {
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", ""} {
		shots = append(shots, l.token(fmt.Sprintf("`%q`", alg), l.rs, segment(`{"alg":"`+alg+`"}`)+"."+segment(bodyOf(nil))+"."))
	}
	return shots
}

// headers returns tokens with a valid RS256 signature and other headers.
func (l *lab) headers() (shots []shot) {
	for _, header := range []string{
		`{"typ":"JWT"}`, `{"alg":"none"}`, `{"alg":"RS256","alg":"none"}`, `{"alg":"none","alg":"RS256"}`, `{"alg":"RS256","Alg":"none"}`,
	} {
		shots = append(shots, l.token("`"+header+"`", l.rs, forge(l.rs, header, bodyOf(nil))))
	}
	return shots
}

// encodings returns encodings of an RSA public key that may be used as an HMAC
// secret.
func (l *lab) encodings() (labels []string, secrets [][]byte) {
	public := l.rs.Verifying.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		l.Fatal(err)
	}
	jwk, err := jose.JSONWebKey{Key: public}.MarshalJSON()
	if err != nil {
		l.Fatal(err)
	}
	return []string{"PEM", "DER", "JWK"}, [][]byte{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), der, jwk}
}

func (l *lab) confusion() (shots []shot) {
	labels, secrets := l.encodings()
	for i, secret := range secrets {
		shots = append(shots, l.token(labels[i], l.rs, forgeWith(jwt.SigningMethodHS256, secret, `{"alg":"HS256"}`, bodyOf(nil))))
	}
	return shots
}

// secretly returns a valid token for a secret that should not be used.
func (l *lab) secretly(label string, secret []byte) shot {
	f := &Fixture{Alg: "HS256", Verifying: secret, signing: secret, method: jwt.SigningMethodHS256}
	return l.token(label, f, forge(f, headerOf(f, ""), bodyOf(nil)))
}

func (l *lab) publicAsSecret() (shots []shot) {
	labels, secrets := l.encodings()
	for i, secret := range secrets {
		shots = append(shots, l.secretly(labels[i], secret))
	}
	return shots
}

func (l *lab) weakRSA() shot {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		l.Fatal(err)
	}
	f := &Fixture{Alg: "RS256", Verifying: &key.PublicKey, signing: key, method: jwt.SigningMethodRS256}
	return l.token("1024 bits", f, forge(f, headerOf(f, ""), bodyOf(nil)))
}

func (l *lab) otherAlgorithms() (shots []shot) {
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		shots = append(shots, l.token(m.Alg()+" for RS256", l.rs, forgeWith(m, l.rs.signing, `{"alg":"`+m.Alg()+`"}`, bodyOf(nil))))
	}
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		shots = append(shots, l.token(m.Alg()+" for HS256", l.hs, forgeWith(m, l.hs.signing, `{"alg":"`+m.Alg()+`"}`, bodyOf(nil))))
	}
	return shots
}

// attackers returns a token of an untrusted issuer with the kid of a trusted key.
func (l *lab) attackers(label, member string) shot {
	other := newFixture(l.T, "RS256")
	if member == "jwk" {
		jwk, err := jose.JSONWebKey{Key: other.Verifying, KeyID: keyID, Algorithm: "RS256"}.MarshalJSON()
		if err != nil {
			l.Fatal(err)
		}
		member = `"jwk":` + string(jwk)
	}
	return l.token(label, l.rs, forge(other, headerOf(other, member), bodyOf(nil)))
}

// kids returns forged tokens whose "kid" is a path, a query or a line of a log.
func (l *lab) kids() (shots []shot) {
	for _, kid := range []string{`../../dev/null`, `' UNION SELECT '' --`, `a\r\nSet-Cookie: a=b`, `a\u0000`} {
		header := `{"alg":"HS256","kid":"` + kid + `"}`
		shots = append(shots, l.token("`"+kid+"`", l.hs, forgeWith(jwt.SigningMethodHS256, []byte{}, header, bodyOf(nil))))
	}
	return shots
}

// duplicates returns tokens that are expired for some parsers only.
func (l *lab) duplicates() []shot {
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	rest := "," + strings.TrimPrefix(bodyOf(map[string]any{"exp": nil}), "{")
	two := func(label, a string, x int64, b string, y int64) shot {
		return l.rawBody(label, fmt.Sprintf(`{"%s":%d,"%s":%d`, a, x, b, y)+rest)
	}
	return []shot{
		two("past `exp` before future `exp`", "exp", past, "exp", future),
		two("future `exp` before past `exp`", "exp", future, "exp", past),
		two("past `exp` before future `Exp`", "exp", past, "Exp", future),
		two("future `Exp` before past `exp`", "Exp", future, "exp", past),
	}
}

func (l *lab) spellings() []shot {
	good := forge(l.rs, headerOf(l.rs, ""), bodyOf(nil))
	// The last character of 256 encoded bytes has spare bits.
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := good[:len(good)-1] + string(digits[strings.IndexByte(digits, good[len(good)-1])+1])
	return []shot{l.token("other spare bits", l.rs, spare), l.token("padding", l.rs, good+"=="), l.token("a dot more", l.rs, good+".")}
}

// mirrored returns another valid signature of the same token: (r, n-s).
func (l *lab) mirrored() shot {
	token := l.es.tokens[Admitted]
	i := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		l.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	again := l.token("it", l.es, token[:i]+base64.RawURLEncoding.EncodeToString(signature))
	again.fine = true
	return again
}

// notCompact returns tokens that are not a compact JWS.
func (l *lab) notCompact() []shot {
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: l.rs.Verifying},
		(&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		l.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(bodyOf(nil)))
	if err != nil {
		l.Fatal(err)
	}
	jwe, err := object.CompactSerialize()
	if err != nil {
		l.Fatal(err)
	}
	parts := strings.Split(forge(l.rs, headerOf(l.rs, ""), bodyOf(nil)), ".")
	asJSON := fmt.Sprintf(`{"protected":"%s","payload":"%s","signature":"%s"}`, parts[0], parts[1], parts[2])
	return []shot{l.token("JWE", l.rs, jwe), l.token("JWS as JSON", l.rs, asJSON), l.token("base64 of that JSON", l.rs, segment(asJSON))}
}

// twoFields returns requests with two tokens.
func (l *lab) twoFields() []shot {
	good, bad := l.rs.tokens[Admitted], l.rs.tokens[Expired]
	fields := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	return []shot{
		{label: "valid line before invalid line", f: l.rs, send: fields("Bearer "+good, "Bearer "+bad)},
		{label: "invalid line before valid line", f: l.rs, send: fields("Bearer "+bad, "Bearer "+good)},
		{label: "Basic line before valid line", f: l.rs, send: fields("Basic dTpw", "Bearer "+good)},
		{label: "joined by a comma", f: l.rs, send: fields("Bearer " + good + ", Bearer " + bad)},
	}
}

func (l *lab) sized() []shot {
	return []shot{
		l.token("900 KiB of letters", l.rs, strings.Repeat("A", 900<<10)),
		l.token("500 KiB of dots", l.rs, strings.Repeat(".", 500<<10)),
		l.token("500 KiB of nested arrays", l.rs, segment(headerOf(l.rs, ""))+"."+segment(`{"a":`+strings.Repeat("[", 370<<10))+".AAAA"),
		l.token("500 KiB of header members", l.rs, segment(`{"alg":"RS256"`+strings.Repeat(`,"a":{}`, 53<<10)+"}")+"."+segment(bodyOf(nil))+".AAAA"),
	}
}

const marker = "marker7f3a"

// talk returns tokens with text that must not be in the response.
func (l *lab) talk() []shot {
	return []shot{
		l.with("iss", map[string]any{"iss": marker + "\"\r\nX-Injected: 1"}),
		l.with("aud", map[string]any{"aud": marker + "\", scope=\"all"}),
		l.with("exp", map[string]any{"exp": marker}),
		l.with("sub", map[string]any{"sub": map[string]string{marker: marker}}),
		l.token("alg", l.rs, forge(l.rs, `{"alg":"`+marker+`"}`, bodyOf(nil))),
		l.token("kid", l.rs, forge(newFixture(l.T, "RS256"), `{"alg":"RS256","kid":"`+marker+`\r\nX-Injected: 1"}`, bodyOf(nil))),
		l.token("garbage", l.rs, marker),
	}
}

func cookies(value string, change ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Cookie", value)
		for _, f := range change {
			f(r)
		}
	}
}

// evil sets the fields that a browser sends with a cross-site request.
func evil(r *http.Request) {
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
}

func (l *lab) crossSite() shot {
	post := func(r *http.Request) { r.Method = http.MethodPost }
	return shot{label: "it", f: l.rs, send: cookies("jwt="+l.rs.tokens[Admitted], post, evil)}
}

func (l *lab) webSocket() shot {
	upgrade := func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	return shot{label: "it", f: l.rs, send: cookies("jwt="+l.rs.tokens[Admitted], upgrade, evil)}
}

func (l *lab) twoCookies() []shot {
	good, bad := "jwt="+l.rs.tokens[Admitted], "jwt="+l.rs.tokens[Expired]
	return []shot{
		{label: "valid first", f: l.rs, send: cookies(good + "; " + bad)},
		{label: "invalid first", f: l.rs, send: cookies(bad + "; " + good)},
	}
}

// foreign returns tokens of another service that uses the same secret.
func (l *lab) foreign() (shots []shot) {
	for _, change := range []struct {
		label  string
		claims map[string]any
	}{
		{"another `aud`", map[string]any{"aud": "https://prices.example.com"}},
		{"another `iss`", map[string]any{"iss": "https://evil.example/"}},
		{"no `exp`", map[string]any{"exp": nil}},
	} {
		shots = append(shots, l.token(change.label, l.hs, forge(l.hs, headerOf(l.hs, ""), bodyOf(change.claims))))
	}
	return shots
}

func (l *lab) badForOptional() []shot {
	return []shot{
		l.token("expired", l.rs, l.rs.tokens[Expired]), l.token("wrong signature", l.rs, l.rs.tokens[Signature]), l.token("garbage", l.rs, "x"),
		{label: "`Bearer` without a token", f: l.rs, send: func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }},
		{label: "two lines with the first empty (as a visitor)", f: l.rs, send: func(r *http.Request) {
			r.Header["Authorization"] = []string{"", "Bearer " + l.rs.tokens[Expired]}
		}},
	}
}

// jwk returns a public RSA key as a member of a set.
func (l *lab) jwk(f *Fixture, kid, members string) string {
	public := f.Verifying.(*rsa.PublicKey)
	if !strings.Contains(members, `"alg"`) {
		members += `,"alg":"RS256"` // required by auth0-v3
	}
	return fmt.Sprintf(`{"kty":"RSA","kid":"%s","n":"%s","e":"AQAB"%s}`, kid, base64.RawURLEncoding.EncodeToString(public.N.Bytes()), members)
}

func (l *lab) goodSet() string { return `{"keys":[` + l.jwk(l.rs, keyID, "") + `]}` }

// oddShots returns tokens whose signature is valid under a key that a set has for
// another purpose, or that is unfit, with the key set for each label. The last key
// is valid, which shows that the other tokens could be admitted.
func (l *lab) oddShots() (shots []shot, sets map[string]string) {
	odd, small := newFixture(l.T, "RS256"), l.weakRSA().f
	private, err := jose.JSONWebKey{Key: odd.signing, KeyID: "odd", Algorithm: "RS256"}.MarshalJSON()
	if err != nil {
		l.Fatal(err)
	}
	sets = map[string]string{}
	for _, key := range []struct {
		label string
		f     *Fixture
		jwk   string
	}{
		{"`use: enc`", odd, l.jwk(odd, "odd", `,"use":"enc"`)},
		{"`key_ops: wrapKey`", odd, l.jwk(odd, "odd", `,"key_ops":["wrapKey"]`)},
		{"`alg: RSA-OAEP`", odd, l.jwk(odd, "odd", `,"alg":"RSA-OAEP"`)},
		{"`alg: PS256`", odd, l.jwk(odd, "odd", `,"alg":"PS256"`)},
		{"1024 bits", small, l.jwk(small, "odd", "")},
		{"a private key", odd, string(private)},
		{"a valid key", odd, l.jwk(odd, "odd", `,"use":"sig"`)},
	} {
		s := l.token(key.label, key.f, forge(key.f, `{"alg":"RS256","kid":"odd"}`, bodyOf(nil)))
		shots = append(shots, s)
		sets[key.label] = `{"keys":[` + l.jwk(l.rs, keyID, "") + `,` + key.jwk + `]}`
	}
	shots[len(shots)-1].fine = true
	return shots, sets
}
