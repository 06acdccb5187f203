package main

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	if got := p.Status(t, "POST", "/sign-in"); got != http.StatusOK {
		t.Errorf("sign-in: %d", got)
	}
	if got := p.Status(t, "GET", "/me", "Cookie", cookieName+"=nonsense"); got != http.StatusBadRequest {
		t.Errorf("nonsense: %d", got)
	}
	p.PasteLines(t)
	p.End(t)
}

// site is the app on a real socket.
type site struct {
	*testing.T
	*app
	server *httptest.Server
}

func start(t *testing.T) *site {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	s := &site{t, newApp("http://" + server.Listener.Addr().String()), server}
	handler, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = handler
	server.Start()
	return s
}

// sign returns a good token with changed claims.
func (s *site) sign(change func(*claims)) string {
	s.Helper()
	c := claims{CreditRating: "BB+", RegisteredClaims: jwt.RegisteredClaims{
		Issuer: s.name, Audience: jwt.ClaimStrings{s.name}, Subject: "alice", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}}
	if change != nil {
		change(&c)
	}
	compact, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.signing)
	if err != nil {
		s.Fatal(err)
	}
	return compact
}

func (s *site) seal(token string) string {
	s.Helper()
	sealed, err := s.sealer.seal(token)
	if err != nil {
		s.Fatal(err)
	}
	return sealed
}

// sealAs encrypts with other algorithms and options.
func (s *site) sealAs(alg jose.KeyAlgorithm, enc jose.ContentEncryption, key jose.JSONWebKey, opts *jose.EncrypterOptions, content string) string {
	s.Helper()
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key}, opts)
	if err != nil {
		s.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(content))
	if err != nil {
		s.Fatal(err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		s.Fatal(err)
	}
	return compact
}

func (s *site) do(method, path, cookie string, header ...string) (status int, body string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.server.URL+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.server.Client().Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// flip changes one bit of a segment of a compact JWE. Changing the last character
// instead might change only bits that base64url does not use.
func flip(t *testing.T, jwe string, segment int) string {
	t.Helper()
	parts := strings.Split(jwe, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[segment])
	if err != nil || len(raw) == 0 {
		t.Fatalf("segment %d: %v", segment, err)
	}
	raw[len(raw)/2] ^= 1
	parts[segment] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}

func nestedJWT() *jose.EncrypterOptions { return (&jose.EncrypterOptions{}).WithContentType("JWT") }

const malformed = `{"error":"invalid_request","error_description":"malformed credential","reason":"malformed"}` + "\n"

// Everything that does not decrypt gets one answer, so that an attacker learns
// nothing from it.
func TestSealer_open(t *testing.T) {
	s := start(t)
	good := s.seal(s.sign(nil))
	ours := s.sealer.current().Keys[0]
	secret := make([]byte, 32)
	rand.Read(secret)
	header, rest, _ := strings.Cut(good, ".")
	for _, test := range []struct{ name, sealed string }{
		{"a signed token that was not encrypted", s.sign(nil)},
		{"an unsigned token", "eyJhbGciOiJub25lIn0.e30."},
		{"a changed header", flip(t, good, 0)},
		{"a changed nonce", flip(t, good, 2)},
		{"a changed ciphertext", flip(t, good, 3)},
		{"a changed tag", flip(t, good, 4)},
		{"a tag cut short", good[:len(good)-6]},
		{"an encrypted key in addition to the direct one", header + ".AAAA" + rest},
		{"a sixth segment", good + ".AAAA"},
		{"another key with our kid", s.sealAs(jose.DIRECT, jose.A256GCM, jose.JSONWebKey{KeyID: ours.KeyID, Key: secret}, nestedJWT(), s.sign(nil))},
		{"an unknown key", s.sealAs(jose.DIRECT, jose.A256GCM, jose.JSONWebKey{KeyID: "another", Key: secret}, nestedJWT(), s.sign(nil))},
		{"our key with another kid", s.sealAs(jose.DIRECT, jose.A256GCM, jose.JSONWebKey{KeyID: "another", Key: ours.Key}, nestedJWT(), s.sign(nil))},
		{"our key without kid", s.sealAs(jose.DIRECT, jose.A256GCM, jose.JSONWebKey{Key: ours.Key}, nestedJWT(), s.sign(nil))},
		{"our key with another alg", s.sealAs(jose.A256GCMKW, jose.A256GCM, ours, nestedJWT(), s.sign(nil))},
		{"our key with another enc", s.sealAs(jose.DIRECT, jose.A128CBC_HS256, ours, nestedJWT(), s.sign(nil))},
		{"a password for a key", s.sealAs(jose.PBES2_HS256_A128KW, jose.A256GCM, ours, nestedJWT(), s.sign(nil))},
		{"compressed content", s.sealAs(jose.DIRECT, jose.A256GCM, ours, &jose.EncrypterOptions{Compression: jose.DEFLATE, ExtraHeaders: nestedJWT().ExtraHeaders}, s.sign(nil))},
		{"a decompression bomb", s.sealAs(jose.DIRECT, jose.A256GCM, ours, &jose.EncrypterOptions{Compression: jose.DEFLATE, ExtraHeaders: nestedJWT().ExtraHeaders}, strings.Repeat("a", 240_000))},
		{"a critical header", s.sealAs(jose.DIRECT, jose.A256GCM, ours, nestedJWT().WithHeader("crit", []string{"exp"}), s.sign(nil))},
		{"content of another type", s.sealAs(jose.DIRECT, jose.A256GCM, ours, (&jose.EncrypterOptions{}).WithContentType("text"), s.sign(nil))},
		{"content without a type", s.sealAs(jose.DIRECT, jose.A256GCM, ours, nil, s.sign(nil))},
		{"no content", s.sealAs(jose.DIRECT, jose.A256GCM, ours, nestedJWT(), "")},
		{"a cookie too long for browsers", s.sealAs(jose.DIRECT, jose.A256GCM, ours, nestedJWT(), s.sign(func(c *claims) { c.CreditRating = strings.Repeat("B", 3000) }))},
		{"nonsense", "nonsense"},
		{"dots", "...."},
		{"quotes", `"x"y"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := s.do("GET", "/me", cookieName+"="+test.sealed); status != http.StatusBadRequest || body != malformed {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	if status, body := s.do("GET", "/me", cookieName+"="+good); status != 200 || !strings.Contains(body, `"credit_rating":"BB+"`) {
		t.Errorf("the good one: %d %s", status, body)
	}
}

func TestSealer_longToken(t *testing.T) {
	s := start(t)
	if sealed, err := s.sealer.seal(strings.Repeat("B", 3500)); err == nil {
		t.Errorf("%d bytes", len(sealed))
	}
}

// A cookie that will never be accepted is deleted.
func TestRefuse_deletesCookie(t *testing.T) {
	s := start(t)
	good := s.seal(s.sign(nil))
	expired := s.seal(s.sign(func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour)) }))
	for _, test := range []struct {
		name, method, cookie string
		crossSite, cleared   bool
	}{
		{"a good one", "GET", good, false, false},
		{"an expired token", "GET", expired, false, true},
		{"nonsense", "GET", "nonsense", false, true},
		{"two cookies", "GET", good + "; " + cookieName + "=" + good, false, true},
		{"a good one, sent by another site", "POST", good, true, false},
		{"no cookie", "GET", "", false, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, s.server.URL+map[string]string{"GET": "/me", "POST": "/sign-out"}[test.method], nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.cookie != "" {
			r.Header.Set("Cookie", cookieName+"="+test.cookie)
		}
		if test.crossSite {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		resp, err := s.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cookies := resp.Cookies()
		if cleared := len(cookies) == 1 && cookies[0].MaxAge < 0 && cookies[0].Secure; cleared != test.cleared || len(cookies) > 1 {
			t.Errorf("%s: cookies %v", test.name, cookies)
		}
		if got := resp.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", test.name, got)
		}
	}
}

// A token is verified even though it was encrypted with our key.
func TestHandler_decryptedToken(t *testing.T) {
	s := start(t)
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": s.name, "aud": s.name, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, token, want string
		status            int
	}{
		{"a good one", s.sign(nil), `"sub":"alice"`, 200},
		{"an expired one", s.sign(func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour)) }), "token expired", 401},
		{"one without expiry", s.sign(func(c *claims) { c.ExpiresAt = nil }), "malformed token", 401},
		{"one for another audience", s.sign(func(c *claims) { c.Audience = jwt.ClaimStrings{"another"} }), "another audience", 401},
		{"one of another issuer", s.sign(func(c *claims) { c.Issuer = "another" }), "issuer", 401},
		{"one signed by another", foreign, "signature", 401},
		{"one that is not signed", "eyJhbGciOiJub25lIn0.e30.", "algorithm", 401},
		{"no JWT", "hello", "malformed token", 401},
		{"claims without a signature", `{"sub":"alice"}`, "malformed token", 401},
		{"another layer of encryption", s.seal(s.sign(nil)), "malformed token", 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := s.do("GET", "/me", cookieName+"="+s.seal(test.token)); status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%d %s, want %d %s", status, body, test.status, test.want)
			}
		})
	}
}

func TestHandler_tokenPlaces(t *testing.T) {
	s := start(t)
	good := s.seal(s.sign(nil))
	for _, test := range []struct {
		name, cookie, want string
		header             []string
		status             int
	}{
		{"no cookie", "", "missing", nil, 401},
		{"an empty cookie", cookieName + "=", "missing", nil, 401},
		{"a cookie of another name", "session=" + good, "missing", nil, 401},
		{"two cookies", cookieName + "=" + good + "; " + cookieName + "=" + good, "more than one", nil, 400},
		{"a signed token in a header", "", "missing", []string{"Authorization", "Bearer " + s.sign(nil)}, 401},
		{"an encrypted one in a header", "", "missing", []string{"Authorization", "Bearer " + good}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := s.do("GET", "/me", test.cookie, test.header...); status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%d %s, want %d %s", status, body, test.status, test.want)
			}
		})
	}
}

func TestHandler_crossOrigin(t *testing.T) {
	s := start(t)
	cookie := cookieName + "=" + s.seal(s.sign(nil))
	for _, test := range []struct {
		name, method, path, fetchSite, want string
		status                              int
	}{
		{"signing out from another site", "POST", "/sign-out", "cross-site", `"error":"cross_origin"`, 403},
		{"from a sibling", "POST", "/sign-out", "same-site", `"error":"cross_origin"`, 403},
		{"a link from another site", "GET", "/me", "cross-site", "alice", 200},
		{"signing out from the site itself", "POST", "/sign-out", "same-origin", "", 200},
		{"signing in from another site", "POST", "/sign-in", "cross-site", "cross-origin", 403},
		{"rotating from another site", "POST", "/rotate", "cross-site", "cross-origin", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := s.do(test.method, test.path, cookie, "Sec-Fetch-Site", test.fetchSite); status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%d %s, want %d %s", status, body, test.status, test.want)
			}
		})
	}
}

func TestSealer_extractor(t *testing.T) {
	s := newSealer()
	sealed, err := s.seal("a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", cookieName+"="+sealed)
	c, err := s.extractor(cookieName)(r)
	if err != nil || c.Source != jwthttp.SourceCookie || c.Name != cookieName || c.Token != "a.b.c" {
		t.Errorf("%v %q: %v", c, c.Token, err)
	}
}

func TestSignIn(t *testing.T) {
	s := start(t)
	resp, err := s.server.Client().Post(s.server.URL+"/sign-in", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	c := cookies[0]
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != int(lifetime.Seconds()) {
		t.Errorf("%v", c)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be cached")
	}
	for segment := range strings.SplitSeq(c.Value, ".") {
		if text, _ := base64.RawURLEncoding.DecodeString(segment); strings.Contains(string(text), "alice") || strings.Contains(string(text), "BB+") {
			t.Errorf("readable: %s", text)
		}
	}
	if status, body := s.do("GET", "/me", c.Name+"="+c.Value); status != 200 || !strings.Contains(body, "BB+") {
		t.Errorf("%d %s", status, body)
	}
}

func TestSealer_rotate(t *testing.T) {
	s := start(t)
	status := func(sealed string) int {
		got, _ := s.do("GET", "/me", cookieName+"="+sealed)
		return got
	}
	first := s.seal(s.sign(nil))
	s.sealer.rotate()
	second := s.seal(s.sign(nil))
	if a, b := strings.Split(first, ".")[0], strings.Split(second, ".")[0]; a == b {
		t.Error("the old key still encrypts")
	}
	if a, b := status(first), status(second); a != 200 || b != 200 {
		t.Errorf("after one rotation: %d, %d", a, b)
	}
	s.sealer.rotate()
	if a, b := status(first), status(second); a != 400 || b != 200 {
		t.Errorf("after two: %d, %d", a, b)
	}
}

func TestSealer_concurrentRotate(t *testing.T) {
	s := start(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				sealed, err := s.sealer.seal("a.b.c")
				if err != nil {
					t.Error(err)
				}
				if _, err := s.sealer.open(sealed); err != nil && err != errNotOpened { // two rotations may lie between
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 25 {
			s.sealer.rotate()
		}
	})
	all.Wait()
}
