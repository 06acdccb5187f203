package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Verdicts of a Middleware.
const (
	admitted   = "200"
	noKeys     = "503 keys_unavailable"
	unknownKey = "401 invalid_token unknown_key"
	signature  = "401 invalid_token signature"
)

func newMiddleware(tb testing.TB, issuer jwthttp.Issuer) *jwthttp.Middleware {
	tb.Helper()
	m, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func newRequest(ctx context.Context, token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// authenticate returns the outcome in one line, such as admitted, and the cause
// of a rejection.
func authenticate(ctx context.Context, m *jwthttp.Middleware, token string) (string, error) {
	_, err := m.Authenticate(newRequest(ctx, token))
	if err == nil {
		return admitted, nil
	}
	var e *jwthttp.Error
	if !errors.As(err, &e) {
		return fmt.Sprintf("no *Error: %v", err), err
	}
	return strings.Join(strings.Fields(fmt.Sprint(e.Status, " ", e.Code, " ", e.Reason)), " "), e.Err
}

func verdict(m *jwthttp.Middleware, token string) string {
	got, _ := authenticate(context.Background(), m, token)
	return got
}

// served is an issuer with a Set that fetches from it, in a bubble.
type served struct {
	*jwthttptest.Issuer
	set *jwks.Set
	m   *jwthttp.Middleware
	end context.CancelFunc // of the Set's context

	unsigned string // payload and signature of junk

	mu     sync.Mutex
	errors []error // that OnError got
}

// serveKeys returns an issuer whose Set is ready.
func serveKeys(t *testing.T, change func(*jwks.Options)) *served {
	t.Helper()
	s := &served{Issuer: jwthttptest.New(t, "ES256")}
	s.start(t, change)
	if err := s.set.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) start(t *testing.T, change func(*jwks.Options)) {
	t.Helper()
	opts := jwks.Options{Client: s.Client(), OnError: func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errors = append(s.errors, err)
	}}
	if change != nil {
		change(&opts)
	}
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	set, err := jwks.New(ctx, s.KeySetURL(), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.set, s.end = set, end
	trusted := s.Trusted()
	trusted.Keys = set
	s.m = newMiddleware(t, trusted)
}

func (s *served) reported() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.errors...)
}

func (s *served) check(t *testing.T, when, token, want string) {
	t.Helper()
	if got, err := authenticate(context.Background(), s.m, token); got != want {
		t.Errorf("%s: %q (%v), want %q", when, got, err, want)
	}
}

// longLived returns a token that does not expire during a test.
func (s *served) longLived() string {
	return s.Token(map[string]any{"exp": time.Now().Add(1000 * time.Hour).Unix()})
}

// junk returns a token of an unknown key. Its signature is that of another
// token, which no key can verify.
func (s *served) junk(kid string) string {
	if s.unsigned == "" {
		s.unsigned = strings.SplitN(s.longLived(), ".", 2)[1]
	}
	return b64([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." + s.unsigned
}

// keySet returns the key set that the issuer serves.
func keySet(issuer *jwthttptest.Issuer) string {
	w := httptest.NewRecorder()
	issuer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, issuer.KeySetURL(), nil))
	return w.Body.String()
}

// bubble runs a subtest in a bubble.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// roundTrip is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// answering returns a client for which every answer has the given body.
func answering(body string) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r, http.StatusOK, body), nil })}
}

// failing returns a client whose requests fail.
func failing() *http.Client {
	return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })}
}

// hang waits for the end of a request's context.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// testKeys are made once, because RSA keys take long.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, weakRSA *rsa.PrivateKey
	p256         *ecdsa.PrivateKey
	ed           ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.weakRSA, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// rsaJWK returns a JWK with further members.
func rsaJWK(members string) string {
	return `{"kty":"RSA","n":"` + b64(testKeys().rsa.N.Bytes()) + `","e":"AQAB"` + members + `}`
}

func ecJWK(members string) string {
	point, err := testKeys().p256.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"%s}`, b64(point[1:33]), b64(point[33:]), members)
}

func edJWK(members string) string {
	return `{"kty":"OKP","crv":"Ed25519","x":"` + b64(testKeys().ed[32:]) + `"` + members + `}`
}

func jwkSet(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// sign signs the claims of a valid token, with changes. An empty kid is left out.
func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, changes jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": "https://issuer.test", "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range changes {
		claims[name] = v
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func issuerWith(keys jwthttp.KeySource, algorithms ...string) jwthttp.Issuer {
	return jwthttp.Issuer{Name: "https://issuer.test", Audience: []string{jwthttptest.Audience}, Algorithms: algorithms, Keys: keys}
}
