// Package docs_test tests the pages in this folder. It has no other code.
package docs_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

// object is a JSON object. A member that is nil is left out of a token.
type object = map[string]any

// testKeys are the keys of all providers.
type testKeys struct {
	rsa, otherRSA *rsa.PrivateKey
	ec, otherEC   *ecdsa.PrivateKey
	secret        []byte
}

var keys = newTestKeys() // never changes

func newTestKeys() (k testKeys) {
	var errs [4]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.otherRSA, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.otherEC, errs[3] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		panic(err)
	}
	k.secret = []byte(rand.Text() + rand.Text())
	return k
}

// The snippets name the URLs of real providers. No test reaches the network:
// the documents of all providers are in a map.
func TestMain(m *testing.M) {
	http.DefaultTransport = providersNetwork()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // each key set logs its end
	os.Exit(m.Run())
}

// document is what a provider publishes at a URL.
type document struct {
	body   any    // marshaled as JSON unless it is a string
	accept string // the media type that the client has to accept, or ""
	bearer string // the token that the client has to send, or ""
	status int    // 0: 200
}

type network map[string]document

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	found, ok := n[r.URL.String()]
	status := http.StatusOK
	switch {
	case !ok && n[r.URL.Scheme+"://"+r.URL.Host] == (document{}):
		return nil, fmt.Errorf("no such host %q", r.URL.Host)
	case !ok:
		status, found.body = http.StatusNotFound, "not found"
	case found.status != 0:
		status = found.status
	case found.bearer != "" && r.Header.Get("Authorization") != "Bearer "+found.bearer:
		status, found.body = http.StatusUnauthorized, "unauthorized"
	case found.accept != "" && !slices.Contains(strings.Split(r.Header.Get("Accept"), ", "), found.accept):
		status, found.body = http.StatusNotAcceptable, "not acceptable"
	}
	body, ok := found.body.(string)
	if !ok {
		text, err := json.Marshal(found.body)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const keyID = "key-1"

// rsaJWK returns a JWK of the RSA key with more members.
func rsaJWK(key *rsa.PrivateKey, more object) object {
	jwk := object{"kty": "RSA", "kid": keyID, "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes())}
	maps.Copy(jwk, more)
	return jwk
}

// ecJWK returns a JWK of an EC key with more members.
func ecJWK(key *ecdsa.PrivateKey, more object) object {
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	jwk := object{
		"kty": "EC", "kid": keyID, "crv": "P-256",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	maps.Copy(jwk, more)
	return jwk
}

func keySet(jwk ...object) object { return object{"keys": jwk} }

// certificate returns a PEM certificate of the RSA key, as Google publishes it.
func certificate() string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &keys.rsa.PublicKey, keys.rsa)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func publicPEM(key crypto.Signer) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const (
	tenant         = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
	personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
	albKeyID       = "12345678-1234-1234-1234-123456789012"
	podToken       = "pod-token"
)

// providersNetwork returns the documents of all providers. The members of a key
// are those that the provider publishes.
func providersNetwork() network {
	n := network{}
	publish := func(url string, d document) {
		n[url] = d
		n["https://"+strings.Split(url, "/")[2]] = document{body: "a host"}
	}
	discoverable := func(issuer, keysURL string, set object) {
		publish(strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration",
			document{body: object{"issuer": issuer, "jwks_uri": keysURL}})
		publish(keysURL, document{body: set})
	}
	rs256 := object{"use": "sig", "alg": "RS256"}
	withCertificate := object{"use": "sig", "alg": "RS256", "x5t": "4XvIbVPnuTI", "x5c": []string{"MIIDBTCCAe2gAwIBAgIQ"}}

	discoverable("https://example.eu.auth0.com/", "https://example.eu.auth0.com/.well-known/jwks.json", keySet(rsaJWK(keys.rsa, withCertificate)))
	discoverable("https://example.okta.com/oauth2/default", "https://example.okta.com/oauth2/default/v1/keys", keySet(rsaJWK(keys.rsa, rs256)))
	const entra = "https://login.microsoftonline.com/"
	entraKey := func(issuer string, key *rsa.PrivateKey, kid string) object { // without "alg"
		return rsaJWK(key, object{"kid": kid, "use": "sig", "x5t": kid, "x5c": []string{"MIIC"}, "cloud_instance_name": "microsoftonline.com", "issuer": issuer})
	}
	discoverable(entra+tenant+"/v2.0", entra+tenant+"/discovery/v2.0/keys", keySet(entraKey(entra+tenant+"/v2.0", keys.rsa, keyID)))
	publish(entra+"common/discovery/v2.0/keys", document{body: keySet(
		entraKey(entra+"{tenantid}/v2.0", keys.rsa, keyID), entraKey(entra+personalTenant+"/v2.0", keys.otherRSA, "personal"))})
	discoverable("https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs", keySet(rsaJWK(keys.rsa, rs256)))
	publish("https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com", document{body: object{keyID: certificate()}})
	const pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE"
	discoverable(pool, pool+"/.well-known/jwks.json", keySet(rsaJWK(keys.rsa, rs256)))
	discoverable("https://login.example/realms/shop", "https://login.example/realms/shop/protocol/openid-connect/certs", keySet(
		rsaJWK(keys.otherRSA, object{"kid": "encryption", "use": "enc", "alg": "RSA-OAEP"}), rsaJWK(keys.rsa, withCertificate)))
	for _, realm := range []string{"https://login.example/realms/garden", "https://login.example/realms/unlisted", "https://evil.example/realms/shop"} {
		discoverable(realm, realm+"/protocol/openid-connect/certs", keySet(rsaJWK(keys.otherRSA, withCertificate)))
	}
	discoverable("https://example-a1b2c3.zitadel.cloud", "https://example-a1b2c3.zitadel.cloud/oauth/v2/keys", keySet(rsaJWK(keys.rsa, rs256)))
	discoverable("https://login.example/dex", "https://login.example/dex/keys", keySet(rsaJWK(keys.rsa, rs256)))
	discoverable("https://hydra.example/", "https://hydra.example/.well-known/jwks.json", keySet(
		rsaJWK(keys.otherRSA, object{"kid": "id-token", "use": "sig", "alg": "RS256"}), rsaJWK(keys.rsa, rs256)))
	discoverable("https://identity.example", "https://identity.example/.well-known/openid-configuration/jwks", keySet(rsaJWK(keys.rsa, withCertificate)))
	discoverable("https://auth.example", "https://auth.example/oauth2/jwks", keySet(rsaJWK(keys.rsa, nil)))
	discoverable("https://clerk.shop.example", "https://clerk.shop.example/.well-known/jwks.json", keySet(rsaJWK(keys.rsa, rs256)))
	const actions = "https://token.actions.githubusercontent.com"
	discoverable(actions, actions+"/.well-known/jwks", keySet(rsaJWK(keys.rsa, withCertificate)))
	discoverable("https://gitlab.com", "https://gitlab.com/oauth/discovery/keys", keySet(rsaJWK(keys.rsa, rs256)))
	publish("https://kubernetes.default.svc/openid/v1/jwks",
		document{body: keySet(rsaJWK(keys.rsa, rs256)), accept: "application/jwk-set+json", bearer: podToken})
	publish("https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
		document{body: keySet(ecJWK(keys.ec, object{"use": "sig", "alg": "ES256", "ext": true, "key_ops": []string{"verify"}}))})
	publish("https://spire.example/bundle", document{body: object{"spiffe_sequence": 12, "spiffe_refresh_hint": 300, "keys": []object{
		ecJWK(keys.otherEC, object{"kid": nil, "use": "x509-svid", "x5c": []string{"MIIB"}}), ecJWK(keys.ec, object{"use": "jwt-svid"})}}})
	publish("https://example.cloudflareaccess.com/cdn-cgi/access/certs", document{body: object{
		"keys":         []object{rsaJWK(keys.rsa, rs256), rsaJWK(keys.otherRSA, object{"kid": "previous", "use": "sig", "alg": "RS256"})},
		"public_cert":  object{"kid": keyID, "cert": certificate()},
		"public_certs": []object{{"kid": keyID, "cert": certificate()}},
	}})
	publish("https://www.gstatic.com/iap/verify/public_key-jwk", document{body: keySet(ecJWK(keys.ec, object{"use": "sig", "alg": "ES256"}))})
	publish("https://public-keys.auth.elb.eu-west-1.amazonaws.com/"+albKeyID, document{body: publicPEM(keys.ec)})
	publish("https://public-keys.auth.elb.broken-1.amazonaws.com/"+albKeyID, document{status: http.StatusInternalServerError})
	publish("https://public-keys.auth.elb.odd-1.amazonaws.com/"+albKeyID, document{body: "<html>"})
	discoverable("https://a.tenants.example", "https://a.tenants.example/keys", keySet(rsaJWK(keys.rsa, rs256))) // of recipes.md
	discoverable("https://b.tenants.example", "https://b.tenants.example/keys", keySet(rsaJWK(keys.otherRSA, rs256)))
	discoverable("https://appleid.apple.com", "https://appleid.apple.com/auth/keys", keySet(rsaJWK(keys.rsa, rs256)))
	return n
}

// tokenShape is a token of a provider. Times are filled in.
type tokenShape struct {
	header, claims object
	key            any // nil: by "alg"
	padded         bool
}

// with returns the shape with other members. A nil header or claims changes none.
func (s tokenShape) with(header, claims object) tokenShape {
	s.header, s.claims = maps.Clone(s.header), maps.Clone(s.claims)
	maps.Copy(s.header, header)
	maps.Copy(s.claims, claims)
	return s
}

func (s tokenShape) sign(t *testing.T) string {
	t.Helper()
	alg := s.header["alg"].(string)
	key := s.key
	if key == nil {
		key = map[byte]any{'R': keys.rsa, 'P': keys.rsa, 'E': keys.ec, 'H': keys.secret}[alg[0]]
	}
	now := time.Now().Unix()
	encoding := base64.RawURLEncoding
	if s.padded {
		encoding = base64.URLEncoding
	}
	segment := func(members object) string {
		own := maps.Clone(members)
		maps.DeleteFunc(own, func(_ string, v any) bool { return v == nil })
		for name, v := range own {
			if offset, ok := v.(time.Duration); ok {
				own[name] = now + int64(offset/time.Second)
			}
		}
		text, err := json.Marshal(own)
		if err != nil {
			t.Fatal(err)
		}
		return encoding.EncodeToString(text)
	}
	claims := maps.Clone(s.claims)
	for name, offset := range (object{"iat": time.Duration(0), "exp": 10 * time.Minute}) {
		if _, ok := claims[name]; !ok {
			claims[name] = offset
		}
	}
	signed := segment(s.header) + "." + segment(claims)
	if alg == "Ed25519" { // golang-jwt has the old name only
		alg = "EdDSA"
	}
	signature, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encoding.EncodeToString(signature)
}

// refusal is a token that must not be accepted.
type refusal struct {
	name  string
	token tokenShape
	want  string
}

// provider is a section of providers.md.
type provider struct {
	heading string
	block   string // the function of the Go block
	auth    func(ctx context.Context) (*jwthttp.Middleware, error)
	field   string // the header field; "": Authorization
	good    tokenShape
	more    []tokenShape // more good tokens
	scopes  []string     // of the good token
	refused []refusal
	skip    []string // general refusals that do not apply
}

// general returns the refusals that every provider has.
func (p provider) general() []refusal {
	alg, forger, public := "PS256", any(keys.otherRSA), publicPEM(keys.rsa)
	switch p.good.header["alg"] {
	case "ES256":
		alg, forger, public = "RS256", keys.otherEC, publicPEM(keys.ec)
	case "HS256":
		forger = keys.secret
	}
	another := p.good.with(object{"alg": alg}, nil)
	another.key = nil
	forged, confused, unsigned := p.good, p.good.with(object{"alg": "HS256"}, nil), p.good.with(object{"alg": "none"}, nil)
	forged.key, confused.key, unsigned.key = forger, []byte(public), jwt.UnsafeAllowNoneSignatureType
	list := []refusal{
		{"expired", p.good.with(nil, object{"exp": -time.Hour}), "401 expired"},
		{"no exp", p.good.with(nil, object{"exp": nil}), "401 malformed"},
		{"not valid yet", p.good.with(nil, object{"nbf": time.Hour}), "401 not_yet_valid"},
		{"a logout token", p.good.with(object{"typ": "logout+jwt"}, nil), "401 type"},
		{"unsigned", unsigned, "401 algorithm"},
		{"another issuer", p.good.with(nil, object{"iss": "https://other.example"}), "401 issuer"},
		{"another audience", p.good.with(nil, object{"aud": "https://other.example"}), "401 audience"},
		{"another algorithm", another, "401 algorithm"},
		{"the public key as a secret", confused, "401 algorithm"},
		{"another key", forged, "401 signature"},
		{"an unknown key", p.good.with(object{"kid": "key-2"}, nil), "401 unknown_key"},
	}
	for _, name := range p.skip {
		list = slices.DeleteFunc(list, func(r refusal) bool { return r.name == name })
	}
	return list
}

// opaque returns texts that are no signed token: an access or refresh token of
// random text, one with dots, and an encrypted one.
func opaque(t *testing.T, good tokenShape) []string {
	t.Helper()
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}`))
	signature := good.sign(t)[strings.LastIndex(good.sign(t), ".")+1:]
	return []string{"v1.MRrtmJ5Zw", "ory_at_5Zw.dGhlIHNlY29uZA", header + ".a2V5.aXY." + strings.TrimRight(signature, "=") + ".dGFn"}
}

func (p provider) request(token string) *http.Request {
	r := httptest.NewRequest("GET", "/orders", nil)
	if p.field != "" {
		r.Header.Set(p.field, token)
		return r
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// outcome returns "200", or the status and the Reason.
func outcome(auth *jwthttp.Middleware, r *http.Request) string {
	_, err := auth.Authenticate(r)
	if e := (*jwthttp.Error)(nil); errors.As(err, &e) {
		return fmt.Sprintf("%d %s", e.Status, e.Reason)
	}
	if err != nil {
		return err.Error()
	}
	return "200"
}

func TestProviders(t *testing.T) {
	for _, p := range providers() {
		t.Run(p.heading, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testProvider(t, p) })
		})
	}
}

func testProvider(t *testing.T, p provider) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	auth, err := p.auth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	admitted, err := auth.Authenticate(p.request(p.good.sign(t)))
	if err != nil {
		t.Fatal(err)
	}
	if token, _ := jwthttp.TokenFromContext(admitted.Context()); !slices.Equal(token.Scopes, p.scopes) {
		t.Errorf("scopes %q, want %q", token.Scopes, p.scopes)
	}
	for i, shape := range p.more {
		if got := outcome(auth, p.request(shape.sign(t))); got != "200" {
			t.Errorf("good token %d: %s", i+2, got)
		}
	}
	for _, bad := range slices.Concat(p.general(), p.refused) {
		if got := outcome(auth, p.request(bad.token.sign(t))); got != bad.want {
			t.Errorf("%s: %s, want %s", bad.name, got, bad.want)
		}
	}
	for _, text := range opaque(t, p.good) {
		if got := outcome(auth, p.request(text)); got != "401 malformed" {
			t.Errorf("%.20q: %s, want 401 malformed", text, got)
		}
	}
	// A browser sends what a proxy makes of its cookie with cross-site requests, too.
	post := p.request(p.good.sign(t))
	post.Method = "POST"
	post.Header.Set("Sec-Fetch-Site", "cross-site")
	want := "200"
	if p.field != "" {
		want = "403 cross_origin"
	}
	if got := outcome(auth, post); got != want {
		t.Errorf("cross-site POST: %s, want %s", got, want)
	}
}

var (
	section = regexp.MustCompile(`(?m)^## (.*)$`)
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	row     = regexp.MustCompile(`(?m)^\| \[([^\]]+)\]`)
)

func TestProviders_page(t *testing.T) {
	page, err := os.ReadFile("providers.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("snippets_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tested, headings, rows []string
	for _, p := range providers() {
		if !slices.Contains(tested, p.heading) {
			tested = append(tested, p.heading)
		}
	}
	for _, match := range row.FindAllSubmatch(page, -1) {
		rows = append(rows, string(match[1]))
	}
	starts := section.FindAllSubmatchIndex(page, -1)
	for i, at := range starts {
		heading, end := string(page[at[2]:at[3]]), len(page)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		text := page[at[0]:end]
		blocks := goBlock.FindAllSubmatch(text, -1)
		if len(blocks) == 0 {
			continue
		}
		headings = append(headings, heading)
		for _, block := range blocks {
			if !bytes.Contains(code, append([]byte("\n"), block[1]...)) {
				t.Errorf("%s: a Go block is not in snippets_test.go:\n%s", heading, block[1])
			}
		}
		for _, p := range providers() {
			if p.heading == heading && !bytes.Contains(text, []byte("\nfunc "+p.block+"(")) {
				t.Errorf("%s: no block has the function %s", heading, p.block)
			}
		}
	}
	if !slices.Equal(headings, tested) {
		t.Errorf("sections %q, tested are %q", headings, tested)
	}
	if !slices.Equal(rows, headings) {
		t.Errorf("the table has %q, the sections are %q", rows, headings)
	}
	compareBlocks(t, "providers.md", "snippets_test.go")
}

// compareBlocks checks that the Go blocks of a page, joined by empty lines, are
// the body of a file.
func compareBlocks(t *testing.T, page, file string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks bytes.Buffer
	for _, block := range goBlock.FindAllSubmatch(text, -1) {
		blocks.WriteString("\n")
		blocks.Write(block[1])
	}
	if _, body, _ := bytes.Cut(code, []byte("\n)\n")); !bytes.Equal(body, blocks.Bytes()) {
		t.Errorf("the Go blocks of %s, joined by empty lines, are not the body of %s", page, file)
	}
}

// podClient is a client that sends the pod's own token.
func podClient() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+podToken)
		return http.DefaultTransport.RoundTrip(r)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// cognitoIssuer is the Issuer of the function cognito with fixed keys.
func cognitoIssuer() (jwthttp.Issuer, error) {
	text, err := json.Marshal(keySet(rsaJWK(keys.rsa, object{"use": "sig", "alg": "RS256"})))
	if err != nil {
		return jwthttp.Issuer{}, err
	}
	set, err := jwks.Parse(text)
	if err != nil {
		return jwthttp.Issuer{}, err
	}
	return jwthttp.Issuer{
		Name:       "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE",
		Audience:   []string{jwthttp.Any},
		Clients:    []string{"1h57kf5cpq17m0eml12EXAMPLE"},
		Algorithms: []string{"RS256"},
		Keys:       set,
	}, nil
}

// stored is a table of tenants in a database that ignores case.
type stored struct {
	names []string
	err   error
}

func newStored(names ...string) *stored { return &stored{names: names} }

func (s *stored) find(_ context.Context, name string) (string, error) {
	for _, n := range s.names {
		if strings.EqualFold(n, name) {
			return n, s.err
		}
	}
	return "", s.err
}

// Tenants are dropped and added, and the database fails.
func TestProviders_tenants(t *testing.T) {
	entra, realms, shops := entraTokens()[1], keycloakRealmTokens(), shopifyTokens()
	for _, tt := range []struct {
		name string
		good tokenShape
		key  string
		auth func(context.Context, *stored) (*jwthttp.Middleware, error)
	}{
		{"Entra ID", entra.good, tenant, func(ctx context.Context, s *stored) (*jwthttp.Middleware, error) {
			return entraTenants(ctx, s.find)
		}},
		{"Keycloak", realms.good, "shop", func(ctx context.Context, s *stored) (*jwthttp.Middleware, error) {
			return keycloakRealms(ctx, s.find)
		}},
		{"Shopify", shops.good, "flowers", func(_ context.Context, s *stored) (*jwthttp.Middleware, error) {
			return shopify(shops.good.claims["aud"].(string), shops.good.key.([]byte), s.find)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				s := newStored(tt.key)
				auth, err := tt.auth(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				for _, step := range []struct {
					name  string
					names []string
					err   error
					want  string
				}{
					{"a tenant", []string{tt.key}, nil, "200"},
					{"a dropped tenant", nil, nil, "401 issuer"},
					{"a tenant that comes back", []string{tt.key}, nil, "200"},
					{"a database out of reach", []string{tt.key}, errors.New("no connection"), "503 issuers_unavailable"},
				} {
					s.names, s.err = step.names, step.err
					time.Sleep(time.Minute) // the IssuerTTL
					if got := outcome(auth, provider{}.request(tt.good.sign(t))); got != step.want {
						t.Errorf("%s: %s, want %s", step.name, got, step.want)
					}
				}
			})
		})
	}
}
