package docs_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

// Issuers without a section in providers.md, whose tokens have a shape that
// other libraries reject.
func TestIssuers_withoutSection(t *testing.T) {
	rsaSet := parseSet(t, keySet(rsaJWK(keys.rsa, object{"use": "sig", "alg": "RS256"})))
	laravel := tokenShape{header: object{"alg": "HS256", "typ": "JWT"}, claims: object{
		"iss": "https://shop.example/api/login", "aud": "shop", "nbf": 1700000000, "jti": "5bYy", "sub": 42, "prv": "23bd5c8949f600adb39e701c400872db7a5976f7",
	}}
	rails := tokenShape{header: object{"alg": "HS256"}, claims: object{
		"iss": "https://shop.example/api/login", "sub": "1", "scp": "user", "aud": json.RawMessage("null"), "jti": 7,
	}}
	xsuaa := tokenShape{header: object{"alg": "RS256", "kid": keyID, "typ": "JWT", "jku": "https://t.authentication.sap.hana.example/token_keys"}, claims: object{
		"iss": "https://t.authentication.sap.hana.example/oauth/token", "aud": []string{"shop!t1"}, "cid": "sb-shop!t1", "azp": "sb-shop!t1", "client_id": "sb-shop!t1",
		"scope": []string{"openid", "shop!t1.read"}, "zid": "z", "user_id": "u", "sub": "u",
	}}
	forgeRock := tokenShape{header: object{"alg": "RS256", "kid": keyID, "typ": "JWT"}, claims: object{
		"iss": "https://am.example/oauth2", "aud": "web-client", "scope": []string{"write"}, "tokenName": "access_token", "sub": "demo", "cts": "OAUTH2_STATELESS_GRANT", "auth_level": 0,
	}}
	for _, test := range []struct {
		name   string
		issuer jwthttp.Issuer
		good   tokenShape
		// Values of the good token's Token.
		subject, id, client string
		scopes              []string
		refused             []refusal
	}{
		{
			name:   "Laravel: a subject that is a number",
			issuer: jwthttp.Issuer{Name: "https://shop.example/api/login", Audience: []string{"shop"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(keys.secret)},
			good:   laravel, subject: "42", id: "5bYy",
			refused: []refusal{
				{"a fraction", laravel.with(nil, object{"sub": 1.5}), "401 malformed"},
				{"a boolean", laravel.with(nil, object{"sub": true}), "401 malformed"},
				{"an object", laravel.with(nil, object{"sub": object{}}), "401 malformed"},
			},
		},
		{
			name:   "Rails devise-jwt: claims that are null",
			issuer: jwthttp.Issuer{Name: "https://shop.example/api/login", Audience: []string{jwthttp.Any}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(keys.secret)},
			good:   rails, subject: "1", id: "7", scopes: []string{"user"},
			refused: []refusal{{"exp", rails.with(nil, object{"exp": json.RawMessage("null")}), "401 malformed"}},
		},
		{
			name:   "Rails devise-jwt where an audience is required",
			issuer: jwthttp.Issuer{Name: "https://shop.example/api/login", Audience: []string{"shop"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(keys.secret)},
			good:   rails.with(nil, object{"aud": "shop"}), subject: "1", id: "7", scopes: []string{"user"},
			refused: []refusal{{"null", rails, "401 audience"}},
		},
		{
			name:   "SAP XSUAA and Cloud Foundry UAA: scope as an array",
			issuer: jwthttp.Issuer{Name: "https://t.authentication.sap.hana.example/oauth/token", Audience: []string{"shop!t1"}, Algorithms: []string{"RS256"}, Keys: rsaSet},
			good:   xsuaa, subject: "u", client: "sb-shop!t1", scopes: []string{"openid", "shop!t1.read"},
			refused: []refusal{
				{"a number in scope", xsuaa.with(nil, object{"scope": []any{7}}), "401 malformed"},
				{"another application", xsuaa.with(nil, object{"aud": []string{"other!t1"}}), "401 audience"},
			},
		},
		{
			name:   "ForgeRock: scope as an array",
			issuer: jwthttp.Issuer{Name: "https://am.example/oauth2", Audience: []string{"web-client"}, Algorithms: []string{"RS256"}, Keys: rsaSet},
			good:   forgeRock, subject: "demo", scopes: []string{"write"},
			refused: []refusal{{"null in scope", forgeRock.with(nil, object{"scope": []any{nil}}), "401 malformed"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{test.issuer}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, err := auth.Verify(t.Context(), test.good.sign(t))
			if err != nil {
				t.Fatal(err)
			}
			token, _ := jwthttp.TokenFromContext(ctx)
			if token.Subject != test.subject || token.ID != test.id || token.ClientID != test.client || !slices.Equal(token.Scopes, test.scopes) {
				t.Errorf("sub %q, jti %q, client %q, scopes %q", token.Subject, token.ID, token.ClientID, token.Scopes)
			}
			for _, bad := range test.refused {
				if got := outcome(auth, provider{}.request(bad.token.sign(t))); got != bad.want {
					t.Errorf("%s: %s, want %s", bad.name, got, bad.want)
				}
			}
		})
	}
}

// better-auth, oidc-provider and jose 6 sign with "EdDSA" or "Ed25519" (RFC 9864).
func TestIssuers_ed25519(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, token, key, accepted, want string }{
		{"the old name", "EdDSA", "EdDSA", "EdDSA", "200"},
		{"the new name", "Ed25519", "Ed25519", "Ed25519", "200"},
		{"a key with the old name", "Ed25519", "EdDSA", "Ed25519", "200"},
		{"a key with the new name", "EdDSA", "Ed25519", "EdDSA", "200"},
		{"a key without a name", "Ed25519", "", "Ed25519", "200"},
		{"only the old name is accepted", "Ed25519", "Ed25519", "EdDSA", "401 algorithm"},
		{"only the new name is accepted", "EdDSA", "Ed25519", "Ed25519", "401 algorithm"},
		{"a key for another algorithm", "EdDSA", "ES256", "EdDSA", "no usable key"},
	} {
		jwk := object{"kty": "OKP", "crv": "Ed25519", "kid": keyID, "use": "sig", "x": base64.RawURLEncoding.EncodeToString(public)}
		if test.key != "" {
			jwk["alg"] = test.key
		}
		text, err := json.Marshal(keySet(jwk))
		if err != nil {
			t.Fatal(err)
		}
		set, err := jwks.Parse(text)
		if err != nil {
			if test.want != "no usable key" {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name: "https://shop.example", Audience: []string{"https://shop.example"}, Algorithms: []string{test.accepted}, Keys: set,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		shape := tokenShape{header: object{"alg": test.token, "kid": keyID}, key: private, claims: object{"iss": "https://shop.example", "aud": "https://shop.example", "sub": "u"}}
		if got := outcome(auth, provider{}.request(shape.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// Google's and Firebase's PEM maps in a file.
func TestIssuers_pemMap(t *testing.T) {
	shape := firebaseTokens().good
	for _, test := range []struct {
		name string
		set  object
		want string
	}{
		{"a certificate", object{keyID: certificate()}, "200"},
		{"a public key", object{keyID: publicPEM(keys.rsa)}, "200"},
		{"several keys", object{"other": publicPEM(keys.otherRSA), keyID: certificate()}, "200"},
		{"another kid", object{"other": certificate()}, "401 unknown_key"},
		{"the kid of another key", object{keyID: publicPEM(keys.otherRSA)}, "401 signature"},
	} {
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
			Name: "https://securetoken.google.com/example-project", Audience: []string{"example-project"}, Algorithms: []string{"RS256"}, Keys: parseSet(t, test.set),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(auth, provider{}.request(shape.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// An Entra ID token of a user with 200 groups is larger than the default allows.
func TestIssuers_largeToken(t *testing.T) {
	entra := entraTokens()[0]
	large := entra.more[1].sign(t)
	for _, test := range []struct {
		name string
		max  int
		want string
	}{
		{"default", 0, "401 too_large"},
		{"MaxTokenSize", 32 << 10, "200"},
	} {
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
			MaxTokenSize: test.max,
			Issuers: []jwthttp.Issuer{{
				Name: entra.good.claims["iss"].(string), Audience: []string{entra.good.claims["aud"].(string)}, Algorithms: []string{"RS256"},
				Keys: jwthttp.StaticKey(&keys.rsa.PublicKey),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(auth, provider{}.request(large)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// The load balancer's padded tokens need Issuer.PaddedSegments, and a place in
// which there is no authentication scheme.
func TestIssuers_padding(t *testing.T) {
	padded := albTokens()[1].good.sign(t)
	for i, segment := range strings.Split(padded, ".") {
		if !strings.HasSuffix(segment, "=") {
			t.Fatalf("segment %d has no padding", i)
		}
	}
	for _, test := range []struct {
		name      string
		accept    bool
		extractor jwthttp.Extractor
		want      string
	}{
		{"accepted", true, jwthttp.FromProxyHeader("X-Amzn-Oidc-Data"), "200"},
		{"accepted in a field without a scheme", true, jwthttp.FromHeader("X-Amzn-Oidc-Data", ""), "200"},
		{"not accepted", false, jwthttp.FromProxyHeader("X-Amzn-Oidc-Data"), "401 malformed"},
		{"after a scheme", true, jwthttp.FromHeader("Authorization", "Bearer"), "400 malformed"},
	} {
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Extractor: test.extractor, Issuers: []jwthttp.Issuer{{
			Name: jwthttp.Any, Audience: []string{jwthttp.Any}, Algorithms: []string{"ES256"}, NoExpiry: true, PaddedSegments: test.accept,
			Keys: jwthttp.StaticKey(&keys.ec.PublicKey),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		r := provider{field: "X-Amzn-Oidc-Data"}.request(padded)
		r.Header.Set("Authorization", "Bearer "+padded)
		if got := outcome(auth, r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A recipe must not turn a failure of the key server into a rejected token.
func TestALB_keyServer(t *testing.T) {
	for _, test := range []struct {
		name, region, signer, kid string
		unavailable, asked        bool
	}{
		{"no such host", "nowhere-1", "s", albKeyID, true, true},
		{"a failing server", "broken-1", "s", albKeyID, true, true},
		{"not a key", "odd-1", "s", albKeyID, false, true},
		{"an unknown kid", "eu-west-1", "s", "00000000-1234-1234-1234-123456789012", false, true},
		{"another signer", "eu-west-1", "another", albKeyID, false, false},
		{"a kid that is too short", "eu-west-1", "s", albKeyID[1:], false, false},
		{"a kid that is too long", "eu-west-1", "s", albKeyID + "0", false, false},
		{"a path of the length of a kid", "eu-west-1", "s", "../12345678-1234-1234-1234-123456789", false, false},
		{"a query of the length of a kid", "eu-west-1", "s", "12345678-1234-1234-1234-1234567890?x", false, false},
		{"a kid in upper case", "eu-west-1", "s", "ABCDEF78-1234-1234-1234-123456789012", false, false},
		{"an empty kid", "eu-west-1", "s", "", false, false},
	} {
		keys := &albKeys{region: test.region, signer: test.signer, issuer: "i", client: "c"}
		token := &jwt.Token{Header: object{"kid": test.kid, "signer": "s", "iss": "i", "client": "c", "exp": float64(1 << 40)}}
		key, err := keys.KeyfuncCtx(t.Context())(token)
		if err == nil || errors.Is(err, jwthttp.ErrKeysUnavailable) != test.unavailable || keys.fetched.IsZero() == test.asked {
			t.Errorf("%s: key %v, error %v, asked at %v", test.name, key, err, keys.fetched)
		}
	}
}

func parseSet(t *testing.T, set object) *jwks.Set {
	t.Helper()
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwks.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// Clerk's token is in a cookie on the application's own domain.
func TestClerk_cookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		auth, err := clerk(ctx)
		if err != nil {
			t.Fatal(err)
		}
		token := clerkTokens().good.sign(t)
		for _, test := range []struct{ name, method, site, cookie, want string }{
			{"same origin", "POST", "same-origin", "__session=" + token, "200"},
			{"cross-site GET", "GET", "cross-site", "__session=" + token, "200"},
			{"cross-site POST", "POST", "cross-site", "__session=" + token, "403 cross_origin"},
			{"two cookies", "GET", "same-origin", "__session=" + token + "; __session=old", "400 multiple"},
			{"another cookie", "GET", "same-origin", "__session_abc=" + token, "401 missing"},
		} {
			r := httptest.NewRequest(test.method, "/orders", nil)
			r.Header.Set("Sec-Fetch-Site", test.site)
			r.Header.Set("Cookie", test.cookie)
			if got := outcome(auth, r); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
	})
}

// Google's old issuer, too, is accepted by two Issuers with the same Keys. Those of
// jwks.Discover are for the name that they were discovered from only.
func TestGoogle_twoIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		fetched, err := jwks.New(ctx, "https://www.googleapis.com/oauth2/v3/certs", jwks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		discovered, err := jwks.Discover(ctx, "https://accounts.google.com", jwks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		issuers := func(set *jwks.Set) (list []jwthttp.Issuer) {
			for _, name := range []string{"https://accounts.google.com", "accounts.google.com"} {
				list = append(list, jwthttp.Issuer{
					Name: name, Audience: []string{"1234987819200.apps.googleusercontent.com"}, Algorithms: []string{"RS256"}, Keys: set,
				})
			}
			return list
		}
		auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: issuers(fetched)})
		if err != nil {
			t.Fatal(err)
		}
		good := googleTokens().good
		for _, test := range []struct{ name, iss, want string }{
			{"the issuer", "https://accounts.google.com", "200"},
			{"the old issuer", "accounts.google.com", "200"},
			{"with a slash", "https://accounts.google.com/", "401 issuer"},
			{"over http", "http://accounts.google.com", "401 issuer"},
		} {
			if got := outcome(auth, provider{}.request(good.with(nil, object{"iss": test.iss}).sign(t))); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
		if _, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: issuers(discovered)}); err == nil {
			t.Error("keys of another issuer are accepted")
		}
	})
}

// Where Keycloak has no audience mapper, Clients ties a token to this service, and
// Validate tells it from the ID token, which names the same client.
func TestKeycloak_withoutAudience(t *testing.T) {
	p := keycloakTokens()
	auth, err := jwthttp.New[keycloakClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example/realms/shop", Audience: []string{jwthttp.Any}, Clients: []string{"web-client"}, Algorithms: []string{"RS256"},
		Keys: jwthttp.StaticKey(&keys.rsa.PublicKey),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	other := func(typ string) tokenShape { return p.good.with(nil, object{"aud": nil, "typ": typ}) }
	for _, test := range []struct {
		name  string
		token tokenShape
		want  string
	}{
		{"no aud", other("Bearer"), "200"},
		{"aud of the account console", p.good.with(nil, object{"aud": "account"}), "200"},
		{"another client", p.good.with(nil, object{"aud": nil, "azp": "other"}), "401 audience"},
		{"no client", p.good.with(nil, object{"aud": nil, "azp": nil}), "401 audience"},
		{"the ID token", p.good.with(nil, object{"typ": "ID", "aud": "web-client", "nonce": "n"}), "401 claims"},
		{"the refresh token", other("Refresh").with(object{"alg": "HS512"}, nil), "401 algorithm"},
		{"a refresh token that the same key has signed", other("Refresh"), "401 claims"},
		{"an offline token", other("Offline"), "401 claims"},
		{"a logout token", other("Logout"), "401 claims"},
		{"typ by case", other("bearer"), "401 claims"},
		{"no typ", p.good.with(nil, object{"typ": nil}), "401 claims"},
	} {
		if got := outcome(auth, provider{}.request(test.token.sign(t))); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// While an issuer moves to another algorithm, nested Handlers and requirements
// work for tokens of both.
func TestIssuers_twoAlgorithms(t *testing.T) {
	before := jwthttp.Issuer{Name: "https://login.example", Audience: []string{"shop"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(keys.secret)}
	after := before
	after.Algorithms, after.Keys = []string{"ES256"}, jwthttp.StaticKey(&keys.ec.PublicKey)
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{before, after}})
	if err != nil {
		t.Fatal(err)
	}
	site := auth.Handler(auth.RequireScopes("write").Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for _, alg := range []string{"HS256", "ES256"} {
		shape := tokenShape{header: object{"alg": alg}, claims: object{"iss": "https://login.example", "aud": "shop", "scope": []string{"read", "write"}}}
		for _, test := range []struct {
			name   string
			claims object
			want   int
		}{
			{"good", nil, 200},
			{"without the scope", object{"scope": "read"}, 403},
			{"another audience", object{"aud": "other"}, 401},
		} {
			w := httptest.NewRecorder()
			site.ServeHTTP(w, provider{}.request(shape.with(nil, test.claims).sign(t)))
			if w.Code != test.want {
				t.Errorf("%s, %s: %d, want %d", alg, test.name, w.Code, test.want)
			}
		}
	}
	before.Algorithms = []string{"HS256", "HS384"}
	after.Algorithms, after.Keys = []string{"HS384"}, jwthttp.StaticKey(slices.Concat(keys.secret, keys.secret))
	if _, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{before, after}}); err == nil {
		t.Error("two issuers of one name with a common algorithm are accepted")
	}
}

// The error of a key that was passed over says why.
func TestIssuers_passedOver(t *testing.T) {
	keycloakSet := keySet(rsaJWK(keys.otherRSA, object{"kid": "encryption", "use": "enc", "alg": "RSA-OAEP"}), rsaJWK(keys.rsa, nil))
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example/realms/shop", Audience: []string{"orders-api"}, Algorithms: []string{"RS256"}, Keys: parseSet(t, keycloakSet),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = auth.Verify(t.Context(), keycloakTokens().good.with(object{"kid": "encryption"}, nil).sign(t))
	if err == nil || !strings.Contains(err.Error(), `"encryption"`) || !strings.Contains(err.Error(), `use "enc"`) {
		t.Errorf("error %v, want kid and reason", err)
	}
}
