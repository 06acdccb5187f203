package jwthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/revocation"
)

func TestNew_problem(t *testing.T) {
	k := testKeys()
	with := func(change func(*jwthttp.Options)) jwthttp.Options {
		opts := newOptions()
		change(&opts)
		return opts
	}
	first := func(change func(*jwthttp.Issuer)) jwthttp.Options {
		return with(func(o *jwthttp.Options) { change(&o.Issuers[0]) })
	}
	keys := func(source jwthttp.KeySource, algorithms ...string) jwthttp.Options {
		return newOptions(issuerWith(source, algorithms...))
	}
	anyIssuer := newIssuer()
	anyIssuer.Name = jwthttp.Any
	anyES := issuerWith(jwthttp.StaticKey(&k.p256.PublicKey), "ES256")
	anyES.Name = jwthttp.Any
	rs := func(key any) jwthttp.Options { return keys(jwthttp.StaticKey(key), "RS256") }
	for _, tt := range []struct {
		name string
		opts jwthttp.Options
		want string // in the error; empty: no error
	}{
		{"good options", newOptions(), ""},
		{"the largest of everything", with(func(o *jwthttp.Options) {
			o.Leeway, o.MaxTokenSize, o.RevocationTimeout, o.CacheSize = 5*time.Minute, 1<<20, time.Minute, 1<<24
			o.Issuers[0].MaxTokenAge = 10 * 365 * 24 * time.Hour
			o.Realm, o.ResourceMetadataURL = "our own realm", "https://api.example/.well-known/oauth-protected-resource"
		}), ""},
		{"no issuer", jwthttp.Options{}, "Issuers"},
		{"issuers found at run time", jwthttp.Options{FindIssuer: newTenants().find}, ""},
		{"the most issuers found at run time", jwthttp.Options{FindIssuer: newTenants().find, IssuerTTL: 24 * time.Hour, MaxIssuers: 1 << 24}, ""},
		{"negative TTL", jwthttp.Options{FindIssuer: newTenants().find, IssuerTTL: -1}, "IssuerTTL"},
		{"large TTL", jwthttp.Options{FindIssuer: newTenants().find, IssuerTTL: 24*time.Hour + 1}, "IssuerTTL"},
		{"negative number of issuers", jwthttp.Options{FindIssuer: newTenants().find, MaxIssuers: -1}, "MaxIssuers"},
		{"large number of issuers", jwthttp.Options{FindIssuer: newTenants().find, MaxIssuers: 1<<24 + 1}, "MaxIssuers"},
		{"TTL without FindIssuer", with(func(o *jwthttp.Options) { o.IssuerTTL = time.Minute }), "FindIssuer"},
		{"number of issuers without FindIssuer", with(func(o *jwthttp.Options) { o.MaxIssuers = 10 }), "FindIssuer"},
		{"any issuer together with FindIssuer", with(func(o *jwthttp.Options) {
			o.Issuers[0].Name, o.FindIssuer = jwthttp.Any, newTenants().find
		}), "Any must be the only issuer"},
		{"negative leeway, which means none", with(func(o *jwthttp.Options) { o.Leeway = -1 }), ""},
		{"very negative leeway", with(func(o *jwthttp.Options) { o.Leeway = math.MinInt64 }), ""},
		{"large leeway", with(func(o *jwthttp.Options) { o.Leeway = 5*time.Minute + 1 }), "Leeway"},
		{"negative size", with(func(o *jwthttp.Options) { o.MaxTokenSize = -1 }), "MaxTokenSize"},
		{"large size", with(func(o *jwthttp.Options) { o.MaxTokenSize = 1<<20 + 1 }), "MaxTokenSize"},
		{"negative timeout", with(func(o *jwthttp.Options) { o.RevocationTimeout = -1 }), "RevocationTimeout"},
		{"large timeout", with(func(o *jwthttp.Options) { o.RevocationTimeout = time.Minute + 1 }), "RevocationTimeout"},
		{"negative cache", with(func(o *jwthttp.Options) { o.CacheSize = -1 }), "CacheSize"},
		{"large cache", with(func(o *jwthttp.Options) { o.CacheSize = 1<<24 + 1 }), "CacheSize"},
		{"negative age", first(func(i *jwthttp.Issuer) { i.MaxTokenAge = -1 }), "MaxTokenAge"},
		{"large age", first(func(i *jwthttp.Issuer) { i.MaxTokenAge = 10*365*24*time.Hour + 1 }), "MaxTokenAge"},
		{"a double quote in the realm", with(func(o *jwthttp.Options) { o.Realm = `a"b` }), "Realm"},
		{"a backslash in the realm", with(func(o *jwthttp.Options) { o.Realm = `a\b` }), "Realm"},
		{"a line break in the realm", with(func(o *jwthttp.Options) { o.Realm = "a\nb" }), "Realm"},
		{"a DEL in the realm", with(func(o *jwthttp.Options) { o.Realm = "a\x7f" }), "Realm"},
		{"a type outside of ASCII", first(func(i *jwthttp.Issuer) { i.Types = []string{"\u017fecevent+jwt"} }), "Issuers[0].Types"},
		{"a letter outside of ASCII in the realm", with(func(o *jwthttp.Options) { o.Realm = "é" }), "Realm"},
		{"a relative metadata URL", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "/x" }), "ResourceMetadataURL"},
		{"a metadata URL with a blank", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https://api.example/?a=b c" }), "ResourceMetadataURL"},
		{"a metadata URL of a port alone", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https://:443/x" }), "ResourceMetadataURL"},
		{"a metadata URL without host", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https:///x" }), "ResourceMetadataURL"},
		{"a metadata URL over http", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "http://api.example/x" }), "ResourceMetadataURL"},
		{"a metadata URL of another scheme", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "ftp://localhost/x" }), "ResourceMetadataURL"},
		{"a metadata URL that does not parse", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https://a%zz" }), "ResourceMetadataURL"},
		{"a metadata URL with a double quote", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = `https://api.example/"` }), "ResourceMetadataURL"},
		{"a metadata URL with a password", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https://u:hunter2@api.example/x" }), "ResourceMetadataURL"},
		{"a metadata URL with a fragment", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "https://api.example/#x" }), "ResourceMetadataURL"},
		{"a metadata URL on localhost", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "http://localhost:8080/x" }), ""},
		{"a metadata URL on 127.0.0.1", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "http://127.0.0.1:8080/x" }), ""},
		{"a metadata URL on ::1", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "http://[::1]/x" }), ""},
		{"a metadata URL on a name that begins like loopback", with(func(o *jwthttp.Options) { o.ResourceMetadataURL = "http://127.0.0.1.evil.example/x" }), "ResourceMetadataURL"},

		{"no name", first(func(i *jwthttp.Issuer) { i.Name = "" }), "Issuers[0].Name"},
		{"two issuers of one name and algorithm", newOptions(newIssuer(), newIssuer()), `Issuers[1].Algorithms: "HS256": another issuer named "https://login.example" has this algorithm`},
		{"two issuers of one name with one algorithm in common", newOptions(
			issuerWith(jwthttp.StaticKey(long(64)), "HS256", "HS512"), issuerWith(jwthttp.StaticKey(long(64)), "HS384", "HS512")), `Issuers[1].Algorithms: "HS512"`},
		{"two issuers of one name with other algorithms", newOptions(newIssuer(), issuerWith(jwthttp.StaticKey(&k.p256.PublicKey), "ES256")), ""},
		{"EdDSA and Ed25519 of one name", newOptions(issuerWith(jwthttp.StaticKey(k.ed.Public()), "EdDSA"), issuerWith(jwthttp.StaticKey(k.ed.Public()), "Ed25519")), ""},
		{"Any with another issuer", newOptions(anyIssuer, newIssuer()), "Issuers[0].Name"},
		{"Any after another issuer", newOptions(newIssuer(), anyIssuer), "Issuers[1].Name"},
		{"Any twice", newOptions(anyIssuer, anyES), "Issuers[1].Name"},
		{"no audience", first(func(i *jwthttp.Issuer) { i.Audience = nil }), "Issuers[0].Audience"},
		{"an empty audience", first(func(i *jwthttp.Issuer) { i.Audience = []string{""} }), "Issuers[0].Audience"},
		{"an empty list of audiences", first(func(i *jwthttp.Issuer) { i.Audience = []string{} }), "Issuers[0].Audience"},
		{"Any with another audience", first(func(i *jwthttp.Issuer) { i.Audience = []string{"a", jwthttp.Any} }), "Issuers[0].Audience"},
		{"Any twice in the audience", first(func(i *jwthttp.Issuer) { i.Audience = []string{jwthttp.Any, jwthttp.Any} }), "Issuers[0].Audience"},
		{"Any alone", first(func(i *jwthttp.Issuer) { i.Audience = []string{jwthttp.Any} }), ""},
		{"an empty list of types", first(func(i *jwthttp.Issuer) { i.Types = []string{} }), "Issuers[0].Types"},
		{"an empty type, which means none", first(func(i *jwthttp.Issuer) { i.Types = []string{""} }), ""},
		{"a type with a double quote", first(func(i *jwthttp.Issuer) { i.Types = []string{`a"b`} }), "Issuers[0].Types"},
		{"an empty list of clients", first(func(i *jwthttp.Issuer) { i.Clients = []string{} }), "Issuers[0].Clients"},
		{"an empty client", first(func(i *jwthttp.Issuer) { i.Clients = []string{"a", ""} }), "Issuers[0].Clients"},
		{"Any as a client", first(func(i *jwthttp.Issuer) { i.Clients = []string{jwthttp.Any} }), "Issuers[0].Clients"},
		{"a client", first(func(i *jwthttp.Issuer) { i.Clients = []string{"a"} }), ""},

		{"RevocationFailOpen without Revoked", with(func(o *jwthttp.Options) { o.RevocationFailOpen = true }), "RevocationFailOpen"},
		{"RevocationFailOpen with Revoked", with(func(o *jwthttp.Options) {
			o.RevocationFailOpen, o.Revoked = true, func(context.Context, *jwthttp.Token) (bool, error) { return false, nil }
		}), ""},

		{"no algorithm", first(func(i *jwthttp.Issuer) { i.Algorithms = nil }), "Issuers[0].Algorithms"},
		{"none", keys(jwthttp.StaticKey(secret), "none"), "Issuers[0].Algorithms"},
		{"an algorithm golang-jwt does not have", keys(jwthttp.StaticKey(secret), "ES256K"), "Issuers[0].Algorithms"},
		{"an algorithm by case", keys(jwthttp.StaticKey(secret), "hs256"), "Issuers[0].Algorithms"},
		{"Ed25519 by case", keys(jwthttp.StaticKey(k.ed.Public()), "ED25519"), "Issuers[0].Algorithms"},
		{"Ed25519", keys(jwthttp.StaticKey(k.ed.Public()), "Ed25519"), ""},
		{"Ed25519 with an RSA key", keys(jwthttp.StaticKey(&k.rsa.PublicKey), "Ed25519"), "want ed25519.PublicKey"},
		{"an empty algorithm", keys(jwthttp.StaticKey(secret), ""), "Issuers[0].Algorithms"},
		{"HMAC with public-key algorithms", keys(jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, nil }), "HS256", "RS256"), "Issuers[0].Algorithms"},

		{"no keys", first(func(i *jwthttp.Issuer) { i.Keys = nil }), "Issuers[0].Keys"},
		{"a nil Keyfunc", keys(jwthttp.Keyfunc(nil), "RS256"), "Issuers[0].Keys"},
		{"a nil KeySet", keys(jwthttp.KeySet(nil), "RS256"), "Issuers[0].Keys"},
		{"a nil keyfunc.Keyfunc", keys(keyfunc.Keyfunc(nil), "RS256"), "Issuers[0].Keys"},
		{"an empty KeySet", keys(jwthttp.KeySet{}, "RS256"), "Issuers[0].Keys"},
		{"a key without kid", keys(jwthttp.KeySet{"": &k.rsa.PublicKey}, "RS256"), "Issuers[0].Keys"},
		{"a key in a set that fits nothing", keys(jwthttp.KeySet{"a": &k.rsa.PublicKey, "b": &k.p256.PublicKey}, "RS256"), "Issuers[0].Keys"},
		{"keys in a set that fit one algorithm each", keys(jwthttp.KeySet{"a": &k.rsa.PublicKey, "b": &k.p256.PublicKey}, "RS256", "ES256"), ""},
		{"a nil static key", rs(nil), "key is nil"},
		{"a nil RSA key", rs((*rsa.PublicKey)(nil)), "key is nil"},
		{"a private key", rs(k.rsa), "want its public key"},
		{"a private ECDSA key", keys(jwthttp.StaticKey(k.p256), "ES256"), "want its public key"},
		{"a private Ed25519 key in a set", keys(jwthttp.KeySet{"a": k.ed}, "EdDSA"), "want its public key"},
		{"a weak RSA key", rs(&k.weakRSA.PublicKey), "1024 bits"},
		{"an RSA key with an even exponent", rs(&rsa.PublicKey{N: k.rsa.N, E: 4}), "exponent"},
		{"an RSA key of another type", rs(k.rsa.PublicKey), "want *rsa.PublicKey"},
		{"another curve", keys(jwthttp.StaticKey(&k.p384.PublicKey), "ES256"), "P-384"},
		{"a point that is not on the curve", keys(jwthttp.StaticKey(offCurve()), "ES256"), "not a point"},
		{"a key that fits one of two algorithms", keys(jwthttp.StaticKey(&k.p256.PublicKey), "ES256", "ES384"), "does not fit ES384"},
		{"a key that fits both algorithms", keys(jwthttp.StaticKey(&k.rsa.PublicKey), "RS256", "PS512"), ""},
		{"a secret as a string", keys(jwthttp.StaticKey("0123456789abcdef0123456789abcdef"), "HS256"), "want []byte"},
		{"a secret shorter than the hash", keys(jwthttp.StaticKey(long(63)), "HS256", "HS512"), "does not fit HS512"},
		{"a PEM block as a secret", keys(jwthttp.StaticKey([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQ")), "HS256"), "PEM"},
		{"a PEM block inside a secret", keys(jwthttp.StaticKey([]byte("key:\n-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQ")), "HS256"), "PEM"},
		{"an RSA key of 2047 bits", rs(&rsa.PublicKey{N: new(big.Int).Rsh(k.rsa.N, 1), E: 65537}), "2047 bits"},
		{"an ECDSA key without y", keys(jwthttp.StaticKey(&ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1)}), "ES256"), "key is nil"},
		{"a typed nil KeySource", first(func(i *jwthttp.Issuer) { i.Keys = (*jwks.Set)(nil) }), "Issuers[0].Keys"},
		{"a JWK Set as a secret", keys(jwthttp.StaticKey([]byte(`{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZg"}]}`)), "HS256"), "JWK"},
		{"an RSA key of 16385 bits", rs(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16384), E: 3}), "16385 bits"},
		{"HMAC with a key set", keys(parsedSet(t), "HS256"), "Issuers[0].Keys"},
		{"a JWK as a secret", keys(jwthttp.StaticKey([]byte(` {"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZg"}`)), "HS256"), "JWK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := jwthttp.New[testClaims](tt.opts)
			if (err != nil) != (tt.want != "") || (m != nil) != (tt.want == "") {
				t.Fatalf("middleware %v, error %v", m, err)
			}
			if err == nil {
				return
			}
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(line, "jwthttp: ") {
					t.Errorf("line %q", line)
				}
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not mention %q", err, tt.want)
			}
			for _, hidden := range []string{"hunter2", string(secret), "ssssssss", "MFkw"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("error %q shows a secret", err)
				}
			}
			for _, unreadable := range []string{`"[]"`, "<nil>", "%!", `""[`} {
				if strings.Contains(err.Error(), unreadable) {
					t.Errorf("error %q has %s", err, unreadable)
				}
			}
		})
	}
}

// parsedSet returns a key set of one RSA key.
func parsedSet(t *testing.T) *jwks.Set {
	t.Helper()
	n := base64.RawURLEncoding.EncodeToString(testKeys().rsa.N.Bytes())
	set, err := jwks.Parse([]byte(`{"keys":[{"kty":"RSA","kid":"k1","n":"` + n + `","e":"AQAB"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestNew_allProblems(t *testing.T) {
	_, err := jwthttp.New[int](jwthttp.Options{Leeway: time.Hour, Realm: `"`, RevocationFailOpen: true, Issuers: []jwthttp.Issuer{{}, {Algorithms: []string{"none"}}}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Leeway", "Realm", "RevocationFailOpen", "Issuers[0].Name", "Issuers[0].Audience", "Issuers[0].Algorithms", "Issuers[0].Keys",
		"Issuers[1].Name", "Issuers[1].Audience", "Issuers[1].Algorithms", "Issuers[1].Keys", "jwthttp: T"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q:\n%v", want, err)
		}
	}
	lines := strings.Split(err.Error(), "\n")
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(lines) != 12 {
		t.Errorf("%d lines, joined %v:\n%v", len(lines), joined, err)
	}
	for _, unreadable := range []string{"[]", "<nil>"} {
		if strings.Contains(err.Error(), unreadable) {
			t.Errorf("error has %s:\n%v", unreadable, err)
		}
	}
}

func TestNew_claimsTypeOfAnObject(t *testing.T) {
	check := func(name string, m *jwthttp.Middleware, err error, want bool) {
		t.Helper()
		if (err == nil) != want || (m != nil) != want {
			t.Errorf("%s: error %v", name, err)
		}
	}
	m, err := jwthttp.New[string](newOptions())
	check("string", m, err, false)
	m, err = jwthttp.New[[]string](newOptions())
	check("slice", m, err, false)
	m, err = jwthttp.New[chan int](newOptions())
	check("chan", m, err, false)
	m, err = jwthttp.New[error](newOptions())
	check("interface with methods", m, err, false)
	m, err = jwthttp.New[*int](newOptions())
	check("pointer to int", m, err, false)
	m, err = jwthttp.New[**testClaims](newOptions())
	check("pointer to a pointer to a struct", m, err, false)
	m, err = jwthttp.New[map[bool]string](newOptions())
	check("map by bool", m, err, false)
	m, err = jwthttp.New[big.Int](newOptions())
	check("struct", m, err, true)
	m, err = jwthttp.New[role](newOptions())
	check("string with UnmarshalJSON", m, err, true)
	m, err = jwthttp.New[*role](newOptions())
	check("pointer to it", m, err, true)
}

// role is a string that decodes itself from the claims.
type role string

func (r *role) UnmarshalJSON(b []byte) error {
	*r = role(fmt.Sprint(len(b)))
	return nil
}

func TestNew_copiesOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Issuers[0].Types, opts.Issuers[0].Clients = []string{"JWT"}, []string{"web"}
		m := mustNew[testClaims](t, opts)
		iss := &opts.Issuers[0]
		iss.Audience[0], iss.Types[0], iss.Algorithms[0], iss.Clients[0] = "x", "x", "HS512", "x"
		opts.Issuers[0] = jwthttp.Issuer{}
		checkVerdict(t, m, newRequest(withBearer(goodToken(map[string]any{"azp": "web"}))), admitted)
	})
}

// Fields may be added later, so unkeyed literals must not compile. Other packages
// cannot set an unexported field in one.
func TestExportedStructs_unkeyedLiteral(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[jwthttp.Options](), reflect.TypeFor[jwthttp.Issuer](), reflect.TypeFor[jwthttp.Event](),
		reflect.TypeFor[jwthttp.Error](), reflect.TypeFor[jwthttp.Credential](), reflect.TypeFor[jwthttp.Token](),
	} {
		hidden := false
		for i := range typ.NumField() {
			hidden = hidden || !typ.Field(i).IsExported()
		}
		if !hidden {
			t.Errorf("an unkeyed literal of %v compiles", typ)
		}
	}
}

func TestMiddleware_concurrentUse(t *testing.T) {
	var list revocation.List
	opts := newOptions()
	opts.Revoked, opts.CacheSize = list.Revoked, 8
	m := mustNew[testClaims](t, opts)
	token := mustSign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{
		"iss": issuerName, "aud": audienceName, "exp": time.Now().Add(time.Hour).Unix(), "scope": "a", "role": "editor",
	})
	done := make(chan string)
	for range 8 {
		go func() {
			verdicts := map[string]int{}
			for range 200 {
				r := newRequest(withBearer(token)).WithContext(context.Background())
				verdicts[verdict(m.RequireScopes("a"), r)]++
				verdicts[verdict(m.Optional(), newRequest())]++
			}
			done <- fmt.Sprint(verdicts)
		}()
	}
	for range 8 {
		if got := <-done; got != "map[200:400]" {
			t.Errorf("verdicts %s", got)
		}
	}
}
