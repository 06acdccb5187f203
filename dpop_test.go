package jwthttp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

const (
	dpopBase = "https://api.example"
	dpopURL  = dpopBase + "/things" // of newRequest
)

func newDPoPOptions(change ...func(*jwthttp.DPoP)) jwthttp.Options {
	opts := newOptions()
	opts.DPoP = &jwthttp.DPoP{BaseURLs: []string{dpopBase}}
	for _, f := range change {
		f(opts.DPoP)
	}
	return opts
}

// boundTo returns a good token with a "cnf" of jkt and other members.
func boundTo(jkt string, changes map[string]any) string {
	all := map[string]any{"cnf": map[string]any{"jkt": jkt}}
	maps.Copy(all, changes)
	return goodToken(all)
}

// withDPoP adds a token of the DPoP scheme and proofs.
func withDPoP(token string, proofs ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header["Authorization"] = []string{"DPoP " + token}
		r.Header["Dpop"] = proofs
	}
}

// verdictDPoP is the outcome in one line, with the schemes whose challenges carry
// the error: "401 D invalid_token binding", "401 - missing", "200".
func verdictDPoP(t *testing.T, m *jwthttp.Middleware, r *http.Request) (string, result) {
	t.Helper()
	res := serve(m, r)
	if res.inner != nil {
		return admitted, res
	}
	in := ""
	for _, line := range res.Header()["Www-Authenticate"] {
		if strings.Contains(line, ` error="`) {
			in += line[:1]
		}
		if strings.Count(line, "realm=") != 1 || strings.Contains(line, "Bearer") && strings.Contains(line, "DPoP realm") {
			t.Errorf("challenge %q", line)
		}
	}
	if in == "" {
		in = "-"
	}
	body := res.Body.String()
	code, rest, _ := strings.Cut(strings.TrimPrefix(body, `{"error":"`), `"`)
	_, reason, _ := strings.Cut(rest, `"reason":"`)
	reason, _, _ = strings.Cut(reason, `"`)
	if code == reason {
		code = ""
	}
	return strings.Join(strings.Fields(fmt.Sprint(res.Code, " ", in, " ", code, " ", reason)), " "), res
}

func checkDPoP(t *testing.T, name string, m *jwthttp.Middleware, r *http.Request, want string) {
	t.Helper()
	got, res := verdictDPoP(t, m, r)
	if got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
	if got != admitted && res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control %q", name, res.Header().Get("Cache-Control"))
	}
}

const (
	badProof   = "401 D invalid_dpop_proof proof"
	badBinding = "401 D invalid_token binding"
)

// internal/dpop has the rows of the parser.
// Rule 52
func TestAuthenticate_proof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		good := func() string { return p.Proof("GET", dpopURL, token, nil) }
		claim := func(name string, v any) string {
			return p.Proof("GET", dpopURL, token, func(_, claims map[string]any) { claims[name] = v })
		}
		header := func(name string, v any) string {
			return p.Proof("GET", dpopURL, token, func(header, _ map[string]any) { header[name] = v })
		}
		hs := func() string {
			s := strings.Split(good(), ".")
			return signHS256(`{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"`+b64(string(secret))+`"}}`, mustDecode(t, s[1]))
		}
		for _, tt := range []struct {
			name   string
			proofs []string
			want   string
		}{
			{"good", []string{good()}, admitted},
			{"none", nil, badProof},
			{"an empty one", []string{""}, badProof},
			{"two", []string{good(), good()}, badProof},
			{"a list", []string{good() + ", " + good()}, badProof},
			{"the token as proof", []string{token}, badProof},
			{"another signature", []string{altered(good())}, badProof},
			{"no signature", []string{good()[:strings.LastIndexByte(good(), '.')+1]}, badProof},
			{"more than 4 KiB", []string{claim("x", strings.Repeat("x", 4<<10))}, badProof},
			{"4 KiB less 600 bytes", []string{claim("x", strings.Repeat("x", 2500))}, admitted},
			{"typ JWT", []string{header("typ", "JWT")}, badProof},
			{"a numeric typ", []string{header("typ", 1)}, badProof},
			{"typ with a prefix", []string{header("typ", "application/DPoP+JWT")}, admitted},
			{"HMAC", []string{hs()}, badProof},
			{"alg none", []string{signHS256(`{"typ":"dpop+jwt","alg":"none"}`, "{}")}, badProof},
			{"crit", []string{header("crit", []string{"jti"})}, badProof},
			{"b64", []string{header("b64", true)}, badProof},
			{"no jwk", []string{header("jwk", nil)}, badProof},
			{"a private key", []string{p.Proof("GET", dpopURL, token, func(h, _ map[string]any) { h["jwk"].(map[string]any)["d"] = "AA" })}, badProof},
			{"an empty jti", []string{claim("jti", "")}, badProof},
			{"a jti of 257 bytes", []string{claim("jti", strings.Repeat("x", 257))}, badProof},
			{"another method", []string{p.Proof("POST", dpopURL, token, nil)}, badProof},
			{"the method by case", []string{claim("htm", "get")}, badProof},
			{"another URL", []string{p.Proof("GET", dpopBase+"/other", token, nil)}, badProof},
			{"too old", []string{claim("iat", bubbleStart-61)}, badProof},
			{"as old as permitted", []string{claim("iat", bubbleStart-60)}, admitted},
			{"ahead as permitted", []string{claim("iat", bubbleStart+10)}, admitted},
			{"too far ahead", []string{claim("iat", bubbleStart+11)}, badProof},
			{"expired", []string{claim("exp", bubbleStart)}, badProof},
			{"no ath", []string{claim("ath", nil)}, badProof},
			{"for another token", []string{p.Proof("GET", dpopURL, goodToken(nil), nil)}, badProof},
			{"another key", []string{jwthttptest.NewProver(t, "ES256").Proof("GET", dpopURL, token, nil)}, badBinding},
			{"another key of Ed25519", []string{jwthttptest.NewProver(t, "EdDSA").Proof("GET", dpopURL, token, nil)}, badBinding},
			// Rule 56
			{"unknown members", []string{p.Proof("GET", dpopURL, token, func(h, c map[string]any) { h["kid"], c["aud"], c["sub"] = "k", 1, []int{1} })}, admitted},
		} {
			for _, size := range []int{0, 10} {
				opts := newDPoPOptions()
				opts.CacheSize = size
				m := mustNew[testClaims](t, opts)
				if size > 0 {
					if got, _ := verdictDPoP(t, m, newRequest(withDPoP(token, good()))); got != admitted {
						t.Fatal(got)
					}
				}
				checkDPoP(t, tt.name, m, newRequest(withDPoP(token, tt.proofs...)), tt.want)
			}
		}
		opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.Algorithms = []string{"EdDSA"} })
		checkDPoP(t, "not in Algorithms", mustNew[testClaims](t, opts), newRequest(withDPoP(token, good())), badProof)
		opts = newDPoPOptions(func(d *jwthttp.DPoP) { d.MaxAge, d.Leeway = 5*time.Minute, time.Minute })
		m := mustNew[testClaims](t, opts)
		checkDPoP(t, "MaxAge", m, newRequest(withDPoP(token, claim("iat", bubbleStart-300))), admitted)
		checkDPoP(t, "older than MaxAge", m, newRequest(withDPoP(token, claim("iat", bubbleStart-301))), badProof)
		checkDPoP(t, "Leeway", m, newRequest(withDPoP(token, claim("iat", bubbleStart+60))), admitted)
	})
}

func mustDecode(t *testing.T, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every way to send a token that is bound to a key, and what is in the context.
// Rules 28, 49, 51, 56
func TestAuthenticate_proofAndToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "EdDSA")
		bound, bearer := boundTo(p.Thumbprint(), nil), goodToken(nil)
		cert := certToken(rfc8705Thumbprint)
		both := goodToken(map[string]any{"cnf": map[string]any{"jkt": p.Thumbprint(), "x5t#S256": rfc8705Thumbprint}})
		invalidCNF := goodToken(map[string]any{"cnf": map[string]any{"jkt": p.Thumbprint(), "kid": "x"}})
		proof := func(token string) string { return p.Proof("GET", dpopURL, token, nil) }
		extractor := jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "DPoP"), jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("t"), jwthttp.FromQuery("t"))
		for _, tt := range []struct {
			name           string
			request        *http.Request
			want, required string // with Required
		}{
			{"bound, with its proof", newRequest(withDPoP(bound, proof(bound))), admitted, admitted},
			{"the scheme in lower case", newRequest(withDPoP(bound, proof(bound)), withField("Authorization", "dpop "+bound)), admitted, admitted},
			{"bound, under Bearer", newRequest(withBearer(bound)), "401 B invalid_token binding", "401 - invalid_token binding"},
			{"bound, under Bearer with a proof", newRequest(withDPoP(bound, proof(bound)), withBearer(bound)), "401 B invalid_token binding", "401 - invalid_token binding"},
			{"bound, in a cookie", newRequest(withField("Cookie", "t="+bound), withField("DPoP", proof(bound))), "401 B invalid_token binding", "401 - invalid_token binding"},
			{"bound, in the query", newRequest(withQuery("t="+bound), withField("DPoP", proof(bound))), "401 B invalid_token binding", "401 - invalid_token binding"},
			{"a bearer token under DPoP", newRequest(withDPoP(bearer, proof(bearer))), badBinding, badBinding},
			{"a bearer token", newRequest(withBearer(bearer)), admitted, "401 - invalid_token binding"},
			{"a bearer token with a stray field", newRequest(withBearer(bearer), withField("DPoP", "x", "y")), admitted, "401 - invalid_token binding"},
			{"bound to a certificate, under Bearer", newRequest(withBearer(cert), withTLS(rfc8705DER())), admitted, admitted},
			{"bound to a certificate, in a cookie", newRequest(withField("Cookie", "t="+cert), withTLS(rfc8705DER())), admitted, admitted},
			{"bound to a certificate, under DPoP", newRequest(withDPoP(cert, proof(cert)), withTLS(rfc8705DER())), badBinding, badBinding},
			{"bound to both", newRequest(withDPoP(both, proof(both)), withTLS(rfc8705DER())), admitted, admitted},
			{"bound to both, without the certificate", newRequest(withDPoP(both, proof(both))), badBinding, badBinding},
			{"bound to both, without the proof", newRequest(withDPoP(both), withTLS(rfc8705DER())), badProof, badProof},
			{"bound to both, under Bearer", newRequest(withBearer(both), withTLS(rfc8705DER())), "401 B invalid_token binding", "401 - invalid_token binding"},
			{"an invalid cnf", newRequest(withDPoP(invalidCNF, proof(invalidCNF))), badBinding, badBinding},
			{"no token", newRequest(), "401 - missing", "401 - missing"},
			{"no token and a stray proof", newRequest(withField("DPoP", proof(bound))), "401 - missing", "401 - missing"},
			{"two Authorization fields", newRequest(withField("Authorization", "Bearer "+bearer, "DPoP "+bound), withField("DPoP", proof(bound))), "400 BD invalid_request multiple", "400 D invalid_request multiple"},
			{"two schemes in one field", newRequest(withField("Authorization", "Bearer "+bearer+", DPoP "+bound), withField("DPoP", proof(bound))), "400 BD invalid_request multiple", "400 D invalid_request multiple"},
			{"Bearer without a token", newRequest(withField("Authorization", "Bearer ")), "400 B invalid_request malformed", "400 - invalid_request malformed"},
			{"DPoP without a token", newRequest(withField("Authorization", "DPoP")), "400 D invalid_request malformed", "400 D invalid_request malformed"},
			{"another scheme", newRequest(withField("Authorization", "Basic x")), "401 - missing", "401 - missing"},
		} {
			for _, required := range []bool{false, true} {
				want := tt.want
				opts := newDPoPOptions()
				if opts.DPoP.Required = required; required {
					want = tt.required
				}
				opts.Extractor = extractor
				opts.CacheSize = 10
				checkDPoP(t, fmt.Sprintf("%s, required %v", tt.name, required), mustNew[testClaims](t, opts), tt.request.Clone(context.Background()), want)
			}
		}
		m := mustNew[testClaims](t, newDPoPOptions())
		r, err := m.Authenticate(newRequest(withDPoP(both, proof(both)), withTLS(rfc8705DER())))
		if err != nil {
			t.Fatal(err)
		}
		if token, _ := jwthttp.TokenFromContext(r.Context()); token.KeyThumbprint != p.Thumbprint() || token.CertificateThumbprint != rfc8705Thumbprint {
			t.Errorf("token %+v", token)
		}
		ctx, cancel := m.Watch(r.Context(), time.Second) // asks for no proof
		defer cancel()
		time.Sleep(10 * time.Second)
		if ctx.Err() != nil {
			t.Errorf("Watch: %v", context.Cause(ctx))
		}
		for name, derived := range map[string]*jwthttp.Middleware{"Optional": m.Optional(), "AllowAnonymous": m.AllowAnonymous()} {
			checkDPoP(t, name+" without a token", derived, newRequest(withField("DPoP", "x")), admitted)
		}
		checkDPoP(t, "Optional with a bad proof", m.Optional(), newRequest(withDPoP(bound, "x")), badProof)
		checkDPoP(t, "AllowAnonymous with a bad proof", m.AllowAnonymous(), newRequest(withDPoP(bound, "x")), admitted)
		if _, err := m.Verify(context.Background(), bound); verdictOf(err) != "401 invalid_token binding" {
			t.Errorf("Verify: %v", err)
		}
		opts := newOptions()
		opts.Extractor = extractor
		checkDPoP(t, "without the option", mustNew[testClaims](t, opts), newRequest(withDPoP(bound, proof(bound))), "401 B invalid_token binding")
		checkDPoP(t, "a bearer token without the option", mustNew[testClaims](t, opts), newRequest(withDPoP(bearer, proof(bearer))), "401 B invalid_token binding")
		required := mustNew[testClaims](t, newDPoPOptions(func(d *jwthttp.DPoP) { d.Required = true }))
		if _, err := required.Verify(context.Background(), bearer); verdictOf(err) != "401 invalid_token binding" {
			t.Errorf("Verify under Required: %v", err)
		}
	})
}

// What logs say.
func TestError_binding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
		token, cert := boundTo(p.Thumbprint(), nil), certToken(rfc8705Thumbprint)
		broken := errors.New("broken")
		opts := newDPoPOptions()
		opts.ClientCertificate = func(r *http.Request) ([]byte, error) {
			if r.Header.Get("X-Broken") != "" {
				return nil, broken
			}
			return nil, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, tt := range []struct {
			name    string
			request *http.Request
			is      error
			want    string
		}{
			{"no proof", newRequest(withDPoP(token)), nil, "jwthttp: proof: want one DPoP field, have 0"},
			{"an old proof", newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, func(_, c map[string]any) { c["iat"] = bubbleStart - 90 }))), nil,
				"jwthttp: proof: proof was made 1m30s ago, want at most 1m0s"},
			{"another URL", newRequest(withDPoP(token, p.Proof("GET", "HTTPS://Other.example/a?secret#x", token, nil))), nil,
				`jwthttp: proof: "htu" is not the URL of the request, but "https://other.example/a"`},
			{"a long URL", newRequest(withDPoP(token, p.Proof("GET", "https://other.example/"+strings.Repeat("a", 99), token, nil))), nil,
				`jwthttp: proof: "htu" is not the URL of the request, but "https://other.example/` + strings.Repeat("a", 42) + `"...`},
			{"no URL", newRequest(withDPoP(token, p.Proof("GET", "secret", token, nil))), nil, `jwthttp: proof: "htu" is not the URL of the request`},
			{"another key", newRequest(withDPoP(token, other.Proof("GET", dpopURL, token, nil))), jwt.ErrTokenInvalidClaims,
				`jwthttp: binding: the proof was made by another key than the token's ("jkt")`},
			{"under Bearer", newRequest(withBearer(token)), jwt.ErrTokenInvalidClaims, `jwthttp: binding: token is bound to a key ("jkt"), and did not come with a DPoP proof`},
			{"no certificate", newRequest(withBearer(cert)), jwt.ErrTokenInvalidClaims, `jwthttp: binding: token is bound to a certificate ("x5t#S256"), and the client has shown none`},
			{"a broken hook", newRequest(withBearer(cert), withField("X-Broken", "x")), broken, "jwthttp: binding: broken"},
		} {
			if _, err := m.Authenticate(tt.request); err == nil || err.Error() != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s: error %q, want %q", tt.name, err, tt.want)
			}
		}
	})
}

// Rule 54
func TestOptions_DPoP_challenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), map[string]any{"scope": "a"})
		opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.Algorithms = []string{"ES256", "EdDSA"} })
		opts.Realm, opts.ResourceMetadataURL = "r", "https://api.example/m"
		m := mustNew[testClaims](t, opts)
		opts.DPoP = &jwthttp.DPoP{BaseURLs: []string{dpopBase}, Required: true}
		required := mustNew[testClaims](t, opts)
		const end = `, resource_metadata="https://api.example/m"`
		for _, tt := range []struct {
			name    string
			m       *jwthttp.Middleware
			request *http.Request
			want    []string
		}{
			{"no token", m.RequireScopes("a", "b"), newRequest(), []string{
				`Bearer realm="r", scope="a b"` + end,
				`DPoP realm="r", algs="ES256 EdDSA", scope="a b"` + end,
			}},
			{"a bad proof", m, newRequest(withDPoP(token)), []string{
				`Bearer realm="r"` + end,
				`DPoP realm="r", algs="ES256 EdDSA", error="invalid_dpop_proof", error_description="DPoP proof missing or not valid"` + end,
			}},
			{"under Bearer", m, newRequest(withBearer(token)), []string{
				`Bearer realm="r", error="invalid_token", error_description="token binding not proved"` + end,
				`DPoP realm="r", algs="ES256 EdDSA"` + end,
			}},
			{"a scope is missing", m.RequireScopes("b"), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), []string{
				`Bearer realm="r", scope="b"` + end,
				`DPoP realm="r", algs="ES256 EdDSA", error="insufficient_scope", error_description="insufficient scope", scope="b"` + end,
			}},
			{"step-up", m.RequireACR("high"), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), []string{
				`Bearer realm="r"` + end,
				`DPoP realm="r", algs="ES256 EdDSA", error="insufficient_user_authentication", error_description="another authentication of the user required", acr_values="high"` + end,
			}},
			{"Required", required, newRequest(), []string{
				`DPoP realm="r", algs="ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512"` + end,
			}},
			{"a rule", m.Require(func(*http.Request) error { return errors.New("no") }), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), nil},
		} {
			if got := serve(tt.m, tt.request).Header()["Www-Authenticate"]; !slices.Equal(got, tt.want) {
				t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		}
		// WriteError after Authenticate, and an ErrorHandler, have the same fields.
		_, err := m.Authenticate(newRequest(withDPoP(token)))
		w := httptest.NewRecorder()
		jwthttp.WriteError(w, err)
		if got := w.Header()["Www-Authenticate"]; len(got) != 2 || w.Code != 401 {
			t.Errorf("WriteError: %d, %q", w.Code, got)
		}
		// So has a Handler inside another one that has admitted the request.
		var nested []string
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			nested = serve(m.RequireScopes("b"), r).Header()["Www-Authenticate"]
		})).ServeHTTP(httptest.NewRecorder(), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))))
		if len(nested) != 2 || !strings.Contains(nested[1], `error="insufficient_scope"`) || strings.Contains(nested[0], "error=") {
			t.Errorf("nested: %q", nested)
		}
		// Watch has the challenge of a new request with this token.
		r, err := m.Authenticate(newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := m.RequireScopes("b").Watch(r.Context(), 0)
		defer cancel()
		w = httptest.NewRecorder()
		jwthttp.WriteError(w, context.Cause(ctx))
		if got := w.Header()["Www-Authenticate"]; len(got) != 2 || !strings.Contains(got[1], `error="insufficient_scope"`) || strings.Contains(got[0], "error=") {
			t.Errorf("Watch: %q", got)
		}
	})
}

// validated fails its Validate.
type validated struct{}

func (validated) Validate() error { return errors.New("no") }

// Each request is wrong in all later ways, too.
// Rule 55
func TestAuthenticate_proofOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
		var asked []string
		opts := newDPoPOptions(func(d *jwthttp.DPoP) {
			d.NonceSecrets = [][]byte{make([]byte, 32)}
			d.Replay = func(context.Context, string, time.Time) (bool, error) {
				asked = append(asked, "replay")
				return false, nil
			}
		})
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) {
			asked = append(asked, "revoked")
			return true, nil
		}
		failing, revoking := mustNew[validated](t, opts), mustNew[testClaims](t, opts)
		opts.Revoked = nil
		replaying := mustNew[testClaims](t, opts).RequireScopes("x")
		nonce := serve(revoking, newRequest(withDPoP("x"))).Header().Get("DPoP-Nonce")
		expired, token := boundTo(p.Thumbprint(), map[string]any{"exp": 1}), boundTo(p.Thumbprint(), nil)
		noRole := boundTo(p.Thumbprint(), map[string]any{"role": 1})
		cookie := withField("Sec-Fetch-Site", "cross-site")
		proof := func(p *jwthttptest.Prover, token, nonce string) string {
			return p.Proof("GET", dpopURL, token, func(_, c map[string]any) { c["nonce"] = nonce })
		}
		for _, tt := range []struct {
			name    string
			m       *jwthttp.Middleware
			request *http.Request
			want    string
			asked   string
		}{
			{"proof before token", revoking, newRequest(withDPoP(expired, "x"), cookie), badProof, ""},
			{"token before ath", revoking, newRequest(withDPoP(expired, altered(proof(other, "other", "x")))), "401 D invalid_token expired", ""},
			{"signature of the token before ath", revoking, newRequest(withDPoP(altered(token), altered(proof(other, "other", "x")))), "401 D invalid_token signature", ""},
			{"ath before jkt", revoking, newRequest(withDPoP(token, altered(proof(other, "other", "x")))), badProof, ""},
			{"jkt before nonce", revoking, newRequest(withDPoP(token, altered(proof(other, token, "x")))), badBinding, ""},
			{"nonce before signature", revoking, newRequest(withDPoP(token, altered(proof(p, token, "x")))), "401 D use_dpop_nonce nonce", ""},
			{"signature before T", revoking, newRequest(withDPoP(noRole, altered(proof(p, noRole, nonce)))), badProof, ""},
			{"T before Revoked", revoking, newRequest(withDPoP(noRole, proof(p, noRole, nonce))), "401 D invalid_token claims", ""},
			{"Validate before Revoked", failing, newRequest(withDPoP(token, proof(p, token, nonce))), "401 D invalid_token claims", ""},
			{"Revoked before replay", revoking, newRequest(withDPoP(token, proof(p, token, nonce))), "401 D invalid_token revoked", "revoked"},
			{"replay before scopes", replaying, newRequest(withDPoP(token, proof(p, token, nonce))), "401 D invalid_dpop_proof replayed", "replay"},
		} {
			asked = nil
			checkDPoP(t, tt.name, tt.m, tt.request, tt.want)
			if got := strings.Join(asked, " "); got != tt.asked {
				t.Errorf("%s: asked %q, want %q", tt.name, got, tt.asked)
			}
		}
	})
}

// A request whose URL is what a client used, behind routers and proxies.
// internal/dpop has the rows of the comparison.
// Rule 53
func TestHandler_proofURL(t *testing.T) {
	p := jwthttptest.NewProver(t, "EdDSA")
	now := time.Now().Unix()
	token := boundTo(p.Thumbprint(), map[string]any{"iat": now, "exp": now + 600})
	opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.BaseURLs = []string{"https://other.example", "https://api.example/v1"} })
	m := mustNew[testClaims](t, opts)
	ok := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	mux := http.NewServeMux()
	mux.Handle("/inner/", http.StripPrefix("/inner", ok))
	mux.Handle("/", ok)
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, tt := range []struct {
		name, path, host, htu string
		want                  int
	}{
		{"the first base", "/a", "", "https://other.example/a", 204},
		{"the second base", "/a", "", "https://api.example/v1/a", 204},
		{"StripPrefix", "/inner/a?x", "", "https://api.example/v1/inner/a", 204},
		{"what StripPrefix leaves", "/inner/a", "", "https://api.example/v1/a", 401},
		{"Host does not count", "/a", "api.example", server.URL + "/a", 401},
		{"a relay by Host", "/a", "evil.example", "https://evil.example/a", 401},
		{"the address of the server", "/a", "", server.URL + "/a", 401},
		{"an escaped slash", "/a%2Fb", "", "https://api.example/v1/a%2fb", 204},
		{"another than an escaped slash", "/a%2Fb", "", "https://api.example/v1/a/b", 401},
		{"a trailing slash", "/a/", "", "https://api.example/v1/a/", 204},
	} {
		send := func() int {
			r, err := http.NewRequest("GET", server.URL+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = tt.host
			r.Header.Set("X-Forwarded-Host", "evil.example")
			withDPoP(token, p.Proof("GET", tt.htu, token, nil))(r)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		got := send()
		for n := 0; got == http.StatusServiceUnavailable && n < 5; n++ { // a busy machine stood still for the second that Replay has
			got = send()
		}
		if got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
	// A request that no server has made has no RequestURI.
	r, err := http.NewRequest("GET", "http://ignored/a%2fb?x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	withDPoP(token, p.Proof("GET", "https://api.example/v1/a%2Fb", token, nil))(r)
	if _, err := m.Authenticate(r); err != nil {
		t.Error(err)
	}
}

// Requests as they are on the connection: what a proxy or thief can write that no
// client of Go does.
// Rules 52, 53, 56
func TestHandler_proofOnConnection(t *testing.T) {
	p := jwthttptest.NewProver(t, "EdDSA")
	now := time.Now().Unix()
	token := boundTo(p.Thumbprint(), map[string]any{"iat": now, "exp": now + 600})
	m := mustNew[testClaims](t, newDPoPOptions())
	ok := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Admitted", "yes") }
	server := httptest.NewServer(m.Handler(http.HandlerFunc(ok)))
	defer server.Close()
	proof := func(method, path string) string { return p.Proof(method, dpopBase+path, token, nil) }
	const host = "Host: api.example\r\nConnection: close\r\n"
	dpop := func(proof string) string { return "Authorization: DPoP " + token + "\r\nDPoP: " + proof + "\r\n" }
	for _, tt := range []struct {
		name, request string
		admitted      bool
	}{
		{"good", "GET /a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")), true},
		{"another Host", "GET /a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n" + dpop(proof("GET", "/a")), true},
		{"HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n" + dpop(proof("GET", "/a")), true},
		{"absolute form", "GET http://evil.example/a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")), true},
		{"absolute form, a proof for its host", "GET http://evil.example/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n" + dpop(p.Proof("GET", "http://evil.example/a", token, nil)), false},
		{"absolute form of another kind", "GET ftp://api.example/a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")), false},
		{"absolute form without a path", "GET https://api.example HTTP/1.1\r\n" + host + dpop(proof("GET", "/")), true},
		{"a host in the path", "GET //evil.example/a HTTP/1.1\r\n" + host + dpop(p.Proof("GET", "https://evil.example/a", token, nil)), false},
		{"forwarded fields", "GET /b HTTP/1.1\r\n" + host + "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\nForwarded: host=evil.example\r\nX-Forwarded-Uri: /a\r\nX-Original-URL: /a\r\n" + dpop(proof("GET", "/a")), false},
		{"a method to override", "GET /a HTTP/1.1\r\n" + host + "X-HTTP-Method-Override: DELETE\r\n" + dpop(proof("DELETE", "/a")), false},
		{"CONNECT", "CONNECT api.example:443 HTTP/1.1\r\n" + host + dpop(proof("CONNECT", "/")), false},
		{"OPTIONS", "OPTIONS /a HTTP/1.1\r\n" + host + dpop(proof("OPTIONS", "/a")), true},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + host + dpop(proof("OPTIONS", "/*")), false},
		{"a method in lower case", "get /a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")), false},
		{"the field in lower case", "GET /a HTTP/1.1\r\n" + host + "authorization: dpop " + token + "\r\ndpop: " + proof("GET", "/a") + "\r\n", true},
		{"the field in upper case", "GET /a HTTP/1.1\r\n" + host + "AUTHORIZATION: DPOP " + token + "\r\nDPOP: " + proof("GET", "/a") + "\r\n", true},
		{"spaces around the proof", "GET /a HTTP/1.1\r\n" + host + dpop(" \t"+proof("GET", "/a")+" \t"), true},
		{"the field twice", "GET /a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")) + "dpop: " + proof("GET", "/a") + "\r\n", false},
		{"an empty field besides", "GET /a HTTP/1.1\r\n" + host + dpop(proof("GET", "/a")) + "DPoP:\r\n", false},
		{"a folded field", "GET /a HTTP/1.1\r\n" + host + dpop(strings.Replace(proof("GET", "/a"), ".", ".\r\n ", 1)), false},
		{"a space before the colon", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP " + token + "\r\nDPoP : " + proof("GET", "/a") + "\r\n", false},
		{"another field", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP " + token + "\r\nD-PoP: " + proof("GET", "/a") + "\r\n", false},
		{"the proof in a trailer", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP " + token + "\r\nTransfer-Encoding: chunked\r\nTrailer: DPoP\r\n\r\n0\r\nDPoP: " + proof("GET", "/a") + "\r\n", false},
		{"a tab after the scheme", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP\t" + token + "\r\nDPoP: " + proof("GET", "/a") + "\r\n", false},
		{"another scheme", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP-Token " + token + "\r\nDPoP: " + proof("GET", "/a") + "\r\n", false},
		{"Bearer", "GET /a HTTP/1.1\r\n" + host + "Authorization: Bearer " + token + "\r\nDPoP: " + proof("GET", "/a") + "\r\n", false},
		{"Bearer before DPoP", "GET /a HTTP/1.1\r\n" + host + "Authorization: Bearer " + token + ", DPoP " + token + "\r\nDPoP: " + proof("GET", "/a") + "\r\n", false},
		{"the proof as token, the token as proof", "GET /a HTTP/1.1\r\n" + host + "Authorization: DPoP " + proof("GET", "/a") + "\r\nDPoP: " + token + "\r\n", false},
		{"the proof as token", "GET /a HTTP/1.1\r\n" + host + "Authorization: Bearer " + proof("GET", "/a") + "\r\n", false},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, tt.request+"\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.") {
			t.Errorf("%s: answer %q, %v", tt.name, answer, err)
		}
		conn.Close()
		if admitted := strings.Contains(string(answer), "X-Admitted: yes"); admitted != tt.admitted {
			t.Errorf("%s: admitted %v, want %v:\n%s", tt.name, admitted, tt.admitted, answer)
		}
	}
}

// Over HTTP/2, too, only the path of the request counts.
// Rule 53
func TestHandler_proofHTTP2(t *testing.T) {
	p := jwthttptest.NewProver(t, "ES256")
	now := time.Now().Unix()
	token := boundTo(p.Thumbprint(), map[string]any{"iat": now, "exp": now + 600})
	m := mustNew[testClaims](t, newDPoPOptions())
	server := httptest.NewUnstartedServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusTeapot)
		}
	})))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	once := p.Proof("GET", dpopBase+"/a", token, nil)
	for _, tt := range []struct {
		name, proof string
		want        int
	}{
		{"good", once, 200},
		{"again", once, 401},
		{"for the address of the server", p.Proof("GET", server.URL+"/a", token, nil), 401},
		{"another path", p.Proof("GET", dpopBase+"/b", token, nil), 401},
	} {
		r, err := http.NewRequest("GET", server.URL+"/a?x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		withDPoP(token, tt.proof)(r)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}

// Rule 57
func TestNew_problemDPoP(t *testing.T) {
	secret := make([]byte, 32)
	for _, tt := range []struct {
		name string
		dpop jwthttp.DPoP
		want string // in the error; empty: no error
	}{
		{"one base", jwthttp.DPoP{BaseURLs: []string{dpopBase}}, ""},
		{"everything", jwthttp.DPoP{
			BaseURLs: []string{"https://api.example/v1/", "http://127.0.0.1:8080", "http://[::1]", "http://localhost"}, Required: true,
			Algorithms: []string{"ES256", "Ed25519"}, MaxAge: 5 * time.Minute, Leeway: time.Minute, NonceSecrets: [][]byte{secret, secret},
			Replay: jwthttp.NewReplayCache(8).Fresh, ReplayFailOpen: true,
		}, ""},
		{"no base", jwthttp.DPoP{}, "DPoP.BaseURLs"},
		{"an empty base", jwthttp.DPoP{BaseURLs: []string{""}}, "DPoP.BaseURLs"},
		{"a path", jwthttp.DPoP{BaseURLs: []string{"/v1"}}, "DPoP.BaseURLs"},
		{"a query", jwthttp.DPoP{BaseURLs: []string{"https://api.example?x"}}, "DPoP.BaseURLs"},
		{"an empty query", jwthttp.DPoP{BaseURLs: []string{"https://api.example/?"}}, "DPoP.BaseURLs"},
		{"a fragment", jwthttp.DPoP{BaseURLs: []string{"https://api.example/#x"}}, "DPoP.BaseURLs"},
		{"an invalid host", jwthttp.DPoP{BaseURLs: []string{"https://a]b"}}, "invalid host"},
		{"a query, by its reason", jwthttp.DPoP{BaseURLs: []string{"https://api.example?x"}}, "want no query"},
		{"a user", jwthttp.DPoP{BaseURLs: []string{"https://u:hidden@api.example"}}, "DPoP.BaseURLs"},
		{"http", jwthttp.DPoP{BaseURLs: []string{"http://api.example"}}, "DPoP.BaseURLs"},
		{"the second base", jwthttp.DPoP{BaseURLs: []string{dpopBase, "http://api.example"}}, "DPoP.BaseURLs"},
		{"a short secret", jwthttp.DPoP{BaseURLs: []string{dpopBase}, NonceSecrets: [][]byte{secret, []byte("hidden")}}, "DPoP.NonceSecrets[1]"},
		{"no secrets", jwthttp.DPoP{BaseURLs: []string{dpopBase}, NonceSecrets: [][]byte{}}, "DPoP.NonceSecrets"},
		{"a large age", jwthttp.DPoP{BaseURLs: []string{dpopBase}, MaxAge: 5*time.Minute + 1}, "DPoP.MaxAge"},
		{"a negative age", jwthttp.DPoP{BaseURLs: []string{dpopBase}, MaxAge: -1}, "DPoP.MaxAge"},
		{"a large leeway", jwthttp.DPoP{BaseURLs: []string{dpopBase}, Leeway: time.Minute + 1}, "DPoP.Leeway"},
		{"a negative leeway", jwthttp.DPoP{BaseURLs: []string{dpopBase}, Leeway: -1}, "DPoP.Leeway"},
		{"HMAC", jwthttp.DPoP{BaseURLs: []string{dpopBase}, Algorithms: []string{"ES256", "HS256"}}, "DPoP.Algorithms"},
		{"none", jwthttp.DPoP{BaseURLs: []string{dpopBase}, Algorithms: []string{"none"}}, "DPoP.Algorithms"},
		{"no algorithms", jwthttp.DPoP{BaseURLs: []string{dpopBase}, Algorithms: []string{}}, "DPoP.Algorithms"},
	} {
		opts := newOptions()
		opts.DPoP = &tt.dpop
		m, err := jwthttp.New[testClaims](opts)
		if (err == nil) != (tt.want == "") || (m == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "[]") || strings.Contains(err.Error(), "<nil>")) {
			t.Errorf("%s: error %q", tt.name, err)
		}
	}
	_, err := jwthttp.New[testClaims](jwthttp.Options{DPoP: &jwthttp.DPoP{MaxAge: -1, Leeway: -1}})
	for _, field := range []string{"Issuers", "DPoP.BaseURLs", "DPoP.MaxAge", "DPoP.Leeway"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v does not name %s", err, field)
		}
	}
}

func TestDPoP_Format(t *testing.T) {
	d := &jwthttp.DPoP{BaseURLs: []string{dpopBase}, NonceSecrets: [][]byte{[]byte("secret")}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{d, *d, jwthttp.Options{}, jwthttp.Options{DPoP: d}, &jwthttp.Options{DPoP: d}} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "secret") || strings.Contains(text, "115 101 99") || strings.Contains(text, "0x73, 0x65") {
				t.Errorf("%s of %T: %s", format, v, text)
			}
		}
	}
}

// New copies the options.
func TestNew_copiesDPoP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		opts := newDPoPOptions()
		m := mustNew[testClaims](t, opts)
		opts.DPoP.BaseURLs[0], opts.DPoP.Required = "https://evil.example", true
		opts.DPoP.Replay = func(context.Context, string, time.Time) (bool, error) { return false, nil }
		checkDPoP(t, "after the change", m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), admitted)
		checkDPoP(t, "a bearer token", m, newRequest(withBearer(goodToken(nil))), admitted)
	})
}

// Rule 58
func TestAuthenticate_replay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
		token, theirs := boundTo(p.Thumbprint(), nil), boundTo(other.Thumbprint(), nil)
		m := mustNew[testClaims](t, newDPoPOptions())
		jti := func(_, c map[string]any) { c["jti"] = "same" }
		proof := p.Proof("GET", dpopURL, token, jti)
		const replayed = "401 D invalid_dpop_proof replayed"
		checkDPoP(t, "first", m, newRequest(withDPoP(token, proof)), admitted)
		checkDPoP(t, "second", m, newRequest(withDPoP(token, proof)), replayed)
		checkDPoP(t, "another proof with this jti", m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, jti))), replayed)
		checkDPoP(t, "this jti of another key", m, newRequest(withDPoP(theirs, other.Proof("GET", dpopURL, theirs, jti))), admitted)
		checkDPoP(t, "another Middleware", mustNew[testClaims](t, newDPoPOptions()), newRequest(withDPoP(token, proof)), admitted)
		time.Sleep(59 * time.Second)
		checkDPoP(t, "at its end", m, newRequest(withDPoP(token, proof)), replayed)
		// A proof from a clock ahead can be used longer, and is remembered longer.
		ahead := p.Proof("GET", dpopURL, token, func(_, c map[string]any) { c["iat"] = time.Now().Unix() + 10 })
		checkDPoP(t, "ahead", m, newRequest(withDPoP(token, ahead)), admitted)
		time.Sleep(70 * time.Second)
		checkDPoP(t, "ahead, at its end", m, newRequest(withDPoP(token, ahead)), replayed)
	})
}

// A request that is refused before writes nothing. Scopes and rules come after.
// Rules 55, 58
func TestAuthenticate_replayAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		proof := func() string { return p.Proof("GET", dpopURL, token, nil) }
		var ids []string
		var until time.Time
		opts := newDPoPOptions(func(d *jwthttp.DPoP) {
			d.MaxAge, d.Leeway = 2*time.Minute, 20*time.Second
			d.Replay = func(ctx context.Context, id string, end time.Time) (bool, error) {
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Second {
					t.Errorf("deadline %v, %v", deadline, ok)
				}
				ids, until = append(ids, id), end
				return true, nil
			}
		})
		opts.CacheSize = 10
		m := mustNew[testClaims](t, opts)
		for _, tt := range []struct {
			name    string
			m       *jwthttp.Middleware
			request *http.Request
			asked   int
		}{
			{"a bearer token", m, newRequest(withBearer(goodToken(nil))), 0},
			{"an expired token", m, newRequest(withDPoP(boundTo(p.Thumbprint(), map[string]any{"exp": 1}), proof())), 0},
			{"a bad signature", m, newRequest(withDPoP(token, altered(proof()))), 0},
			{"good", m, newRequest(withDPoP(token, proof())), 1},
			{"good, cached", m, newRequest(withDPoP(token, proof())), 1},
			{"a scope is missing", m.RequireScopes("x"), newRequest(withDPoP(token, proof())), 1},
		} {
			ids = nil
			_ = serve(tt.m, tt.request)
			if len(ids) != tt.asked {
				t.Errorf("%s: asked %d times, want %d", tt.name, len(ids), tt.asked)
			}
		}
		if want := time.Unix(bubbleStart+120+40, 0); !until.Equal(want) {
			t.Errorf("until %v, want %v", until, want)
		}
		if len(ids) != 1 || len(ids[0]) != 22 {
			t.Errorf("ids %q", ids)
		}
		// Handlers of one New inside each other ask once.
		ids = nil
		inner := m.RequireAnyScope("x").Handler(http.NotFoundHandler())
		m.Handler(m.Handler(inner)).ServeHTTP(httptest.NewRecorder(), newRequest(withDPoP(token, proof())))
		if len(ids) != 1 {
			t.Errorf("nested Handlers ask %d times", len(ids))
		}
	})
}

// Rule 58
func TestOptions_DPoP_replayFailure(t *testing.T) {
	type replayFunc = func(context.Context, string, time.Time) (bool, error)
	const unavailable = "503 - replay_unavailable"
	for _, tt := range []struct {
		name           string
		replay         replayFunc
		want, failOpen string
	}{
		{"an error", func(context.Context, string, time.Time) (bool, error) { return false, errors.New("down") }, unavailable, admitted},
		{"fresh and an error", func(context.Context, string, time.Time) (bool, error) { return true, errors.New("down") }, unavailable, admitted},
		{"a panic", func(context.Context, string, time.Time) (bool, error) { panic("broken") }, unavailable, admitted},
		{"fresh after the deadline", func(context.Context, string, time.Time) (bool, error) { time.Sleep(time.Second); return true, nil }, unavailable, admitted},
		{"until the deadline", func(ctx context.Context, _ string, _ time.Time) (bool, error) { <-ctx.Done(); return false, ctx.Err() }, unavailable, admitted},
		{"used, after the deadline", func(context.Context, string, time.Time) (bool, error) { time.Sleep(time.Second); return false, nil }, "401 D invalid_dpop_proof replayed", "401 D invalid_dpop_proof replayed"},
		{"used and an error", func(context.Context, string, time.Time) (bool, error) { return false, errors.New("down") }, unavailable, admitted},
		{"used", func(context.Context, string, time.Time) (bool, error) { return false, nil }, "401 D invalid_dpop_proof replayed", "401 D invalid_dpop_proof replayed"},
	} {
		for _, failOpen := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, fail open %v", tt.name, failOpen), func(t *testing.T) {
				p := jwthttptest.NewProver(t, "ES256")
				token := boundTo(p.Thumbprint(), nil)
				var events []jwthttp.Event
				opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.Replay, d.ReplayFailOpen = tt.replay, failOpen })
				opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
				want := tt.want
				if failOpen {
					want = tt.failOpen
				}
				got, res := verdictDPoP(t, mustNew[testClaims](t, opts), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))))
				if got != want || (res.Header().Get("Retry-After") != "") != (want == unavailable) {
					t.Errorf("%q with Retry-After %q, want %q", got, res.Header().Get("Retry-After"), want)
				}
				if len(events) != 1 || events[0].Unchecked != (want == admitted) || events[0].Token == nil {
					t.Errorf("events %v", events)
				}
			})
		}
	}
	// One of the two hooks fails.
	bubble(t, "after Revoked has failed", func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		var event jwthttp.Event
		opts := newDPoPOptions()
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		opts.RevocationFailOpen = true
		opts.Observer = func(_ context.Context, e jwthttp.Event) { event = e }
		if got := verdict(mustNew[testClaims](t, opts), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil)))); got != admitted || !event.Unchecked {
			t.Errorf("verdict %q, event %v", got, event)
		}
	})
	// A deadline of the request itself admits nothing.
	bubble(t, "the request's deadline", func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		opts := newDPoPOptions(func(d *jwthttp.DPoP) {
			d.ReplayFailOpen = true
			d.Replay = func(ctx context.Context, _ string, _ time.Time) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
		})
		r := newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))).WithContext(ctx)
		if got := verdict(mustNew[testClaims](t, opts), r); got != "503 replay_unavailable" {
			t.Errorf("verdict %q", got)
		}
	})
	// Hanging up is no way to use a proof twice.
	bubble(t, "hanging up", func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		ctx, cancel := context.WithCancel(context.Background())
		opts := newDPoPOptions(func(d *jwthttp.DPoP) {
			d.ReplayFailOpen = true
			d.Replay = func(ctx context.Context, _ string, _ time.Time) (bool, error) {
				cancel()
				<-ctx.Done()
				return false, ctx.Err()
			}
		})
		r := newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))).WithContext(ctx)
		if got := verdict(mustNew[testClaims](t, opts), r); got != "499 canceled" {
			t.Errorf("verdict %q", got)
		}
	})
}

// A client that floods its share gets 503. Others do not.
// Rule 58
func TestReplayCache_share(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := jwthttptest.NewProver(t, "EdDSA"), jwthttptest.NewProver(t, "EdDSA")
		token := boundTo(p.Thumbprint(), nil)
		opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.Replay = jwthttp.NewReplayCache(80).Fresh })
		second := newIssuer()
		second.Name = "https://second.example"
		opts.Issuers = append(opts.Issuers, second)
		m := mustNew[testClaims](t, opts)
		for i := range 20 {
			want := admitted
			if i >= 10 {
				want = "503 - replay_unavailable"
			}
			checkDPoP(t, fmt.Sprint("request ", i), m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), want)
		}
		const unavailable = "503 - replay_unavailable"
		for _, tt := range []struct {
			name   string
			prover *jwthttptest.Prover
			claims map[string]any // nil: as the token that flooded
			want   string
		}{
			{"another subject", other, map[string]any{"sub": "bob"}, admitted},
			{"another key of the subject", other, nil, unavailable},
			{"the key with another subject", p, map[string]any{"sub": "bob"}, unavailable},
			{"the subject of another issuer", other, map[string]any{"iss": second.Name}, admitted},
			{"a client without a subject", other, map[string]any{"sub": nil, "client_id": "c"}, admitted},
			{"neither", other, map[string]any{"sub": nil}, admitted},
			{"the subject at another client", other, map[string]any{"client_id": "c"}, unavailable},
		} {
			theirs := boundTo(tt.prover.Thumbprint(), tt.claims)
			checkDPoP(t, tt.name, m, newRequest(withDPoP(theirs, tt.prover.Proof("GET", dpopURL, theirs, nil))), tt.want)
		}
		time.Sleep(81 * time.Second)
		checkDPoP(t, "later", m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), admitted)
	})
	defer func() {
		if recover() == nil {
			t.Error("no panic for a cache of 7")
		}
	}()
	jwthttp.NewReplayCache(7)
}

// A client without "sub" has a share, too.
// Rule 58
func TestReplayCache_shareOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew[testClaims](t, newDPoPOptions(func(d *jwthttp.DPoP) { d.Replay = jwthttp.NewReplayCache(80).Fresh }))
		for i := range 20 {
			want := admitted
			if i >= 10 {
				want = "503 - replay_unavailable"
			}
			p := jwthttptest.NewProver(t, "EdDSA")
			token := boundTo(p.Thumbprint(), map[string]any{"sub": nil, "client_id": "c"})
			checkDPoP(t, fmt.Sprint("key ", i), m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))), want)
		}
	})
}

// slowKeys takes a time to find the key.
type slowKeys struct {
	jwthttp.KeySource
	delay time.Duration
}

func (s slowKeys) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	time.Sleep(s.delay)
	return s.KeySource.KeyfuncCtx(ctx)
}

// A proof that was read in time is remembered as long as a copy of it may wait. One
// that waits for longer is too old.
// Rule 58
func TestAuthenticate_replayLate(t *testing.T) {
	for _, tt := range []struct {
		name          string
		delay         time.Duration
		first, second string
	}{
		{"a second", time.Second, admitted, "401 D invalid_dpop_proof replayed"},
		{"as long as it is remembered", 79 * time.Second, admitted, "401 D invalid_dpop_proof replayed"},
		{"longer", 80 * time.Second, badProof, badProof},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p := jwthttptest.NewProver(t, "EdDSA")
			token := boundTo(p.Thumbprint(), nil)
			proof := p.Proof("GET", dpopURL, token, nil)
			opts := newDPoPOptions(func(d *jwthttp.DPoP) {
				d.Replay = func(context.Context, string, time.Time) (bool, error) { return true, nil }
				if tt.first == admitted {
					d.Replay = nil
				}
			})
			opts.Issuers[0].Keys = slowKeys{opts.Issuers[0].Keys, tt.delay}
			m := mustNew[testClaims](t, opts)
			verdicts := make([]string, 2)
			var wg sync.WaitGroup
			for i := range verdicts {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					verdicts[i], _ = verdictDPoP(t, m, newRequest(withDPoP(token, proof)))
				})
			}
			wg.Wait()
			if verdicts[0] != tt.first || verdicts[1] != tt.second {
				t.Errorf("verdicts %q", verdicts)
			}
		})
	}
}

// Rule 58
func TestAuthenticate_replaySimultaneous(t *testing.T) {
	p := jwthttptest.NewProver(t, "ES256")
	now := time.Now().Unix()
	token := boundTo(p.Thumbprint(), map[string]any{"iat": now, "exp": now + 600})
	for _, size := range []int{0, 10} {
		opts := newDPoPOptions()
		opts.CacheSize = size
		m := mustNew[testClaims](t, opts)
		proof := p.Proof("GET", dpopURL, token, nil)
		var wg sync.WaitGroup
		var passed atomic.Int32
		begin := make(chan struct{})
		for range 100 {
			wg.Go(func() {
				<-begin
				if _, err := m.Authenticate(newRequest(withDPoP(token, proof))); err == nil {
					passed.Add(1)
				} else if verdictOf(err) != "401 invalid_dpop_proof replayed" {
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
		if passed.Load() != 1 {
			t.Errorf("%d of 100 pass", passed.Load())
		}
	}
}

// Handlers of two News inside each other need a ReplayFunc each.
// Rule 58
func TestOptions_DPoP_nestedNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), nil)
		shared := jwthttp.NewReplayCache(100)
		share := func(d *jwthttp.DPoP) { d.Replay = shared.Fresh }
		for _, tt := range []struct {
			name         string
			outer, inner jwthttp.Options
			want         string
		}{
			{"one each", newDPoPOptions(), newDPoPOptions(), admitted},
			{"shared", newDPoPOptions(share), newDPoPOptions(share), "401 D invalid_dpop_proof replayed"},
		} {
			inner := mustNew[testClaims](t, tt.inner)
			got := ""
			outer := mustNew[testClaims](t, tt.outer).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = verdictDPoP(t, inner, r) }))
			outer.ServeHTTP(httptest.NewRecorder(), newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, nil))))
			if got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// Rule 59
func TestOptions_DPoP_nonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := jwthttptest.NewProver(t, "ES256")
		token := boundTo(p.Thumbprint(), map[string]any{"exp": bubbleStart + 36000})
		old, secret := []byte(strings.Repeat("o", 32)), []byte(strings.Repeat("s", 32))
		opts := newDPoPOptions(func(d *jwthttp.DPoP) { d.NonceSecrets = [][]byte{secret, old} })
		m := mustNew[testClaims](t, opts)
		before := mustNew[testClaims](t, newDPoPOptions(func(d *jwthttp.DPoP) { d.NonceSecrets = [][]byte{old} }))
		use := func(m *jwthttp.Middleware, nonce any) (string, result) {
			return verdictDPoP(t, m, newRequest(withDPoP(token, p.Proof("GET", dpopURL, token, func(_, c map[string]any) { c["nonce"] = nonce }))))
		}
		const refused = "401 D use_dpop_nonce nonce"
		got, res := use(m, nil)
		nonce := res.Header().Get("DPoP-Nonce")
		if got != refused || len(nonce) != 27 || len(res.Header()["Dpop-Nonce"]) != 1 || res.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("without a nonce: %q, %v", got, res.Header())
		}
		if !strings.Contains(res.Header()["Www-Authenticate"][1], `error="use_dpop_nonce"`) {
			t.Errorf("challenges %q", res.Header()["Www-Authenticate"])
		}
		check := func(name string, m *jwthttp.Middleware, nonce any, want string, renewed bool) {
			t.Helper()
			got, res := use(m, nonce)
			if got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			if values := res.Header()["Dpop-Nonce"]; (len(values) == 1) != renewed || len(values) > 1 || renewed && values[0] == nonce {
				t.Errorf("%s: DPoP-Nonce %q", name, values)
			}
		}
		_, res = use(before, nil)
		oldNonce := res.Header().Get("DPoP-Nonce")
		check("the newest", m, nonce, admitted, false)
		check("of the second secret", m, oldNonce, admitted, true)
		check("of a secret that is not there yet", before, nonce, refused, true)
		check("an invented one", m, nonce[:10]+strings.Repeat("0", 17), refused, true)
		check("an empty one", m, "", refused, true)
		time.Sleep(time.Minute)
		check("of the previous minute", m, nonce, admitted, true)
		time.Sleep(time.Minute)
		check("too old", m, nonce, refused, true)

		// Every 401 of the scheme carries one, and no other answer.
		only := opts
		only.Extractor = jwthttp.FromHeader("Authorization", "DPoP")
		onlyDPoP := mustNew[testClaims](t, only)
		for _, tt := range []struct {
			name    string
			m       *jwthttp.Middleware
			request *http.Request
			want    bool
		}{
			{"a bad proof", m, newRequest(withDPoP(token, "x")), true},
			{"an expired token", m, newRequest(withDPoP(boundTo(p.Thumbprint(), map[string]any{"exp": 1}), p.Proof("GET", dpopURL, "", nil))), true},
			{"a bearer token's 401", m, newRequest(withBearer(altered(goodToken(nil)))), false},
			{"a bearer token", m, newRequest(withBearer(goodToken(nil))), false},
			{"no token", m, newRequest(), false},
			{"an invalid request", m, newRequest(withField("Authorization", "DPoP")), false},
			{"another scheme, with FromHeader alone", onlyDPoP, newRequest(withField("Authorization", "Basic x")), false},
			{"without secrets", mustNew[testClaims](t, newDPoPOptions()), newRequest(withDPoP(token, "x")), false},
		} {
			if got := serve(tt.m, tt.request).Header()["Dpop-Nonce"]; len(got) > 1 || (len(got) == 1) != tt.want {
				t.Errorf("%s: DPoP-Nonce %q", tt.name, got)
			}
		}
		_, err := m.Authenticate(newRequest(withDPoP(token, "x")))
		w := httptest.NewRecorder()
		jwthttp.WriteError(w, err)
		if got := w.Header()["Dpop-Nonce"]; len(got) != 1 {
			t.Errorf("WriteError: DPoP-Nonce %q", got)
		}
		opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) { w.WriteHeader(e.Status) }
		if got := serve(mustNew[testClaims](t, opts), newRequest(withDPoP(token, "x"))).Header()["Dpop-Nonce"]; len(got) != 1 {
			t.Errorf("ErrorHandler: DPoP-Nonce %q", got)
		}
	})
}
