package docs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func TestBinding_page(t *testing.T) { compareBlocks(t, "binding.md", "binding_snippets_test.go") }

// newCertificates returns the DER of a certificate of a client and of its issuer.
func newCertificates(t *testing.T) (leaf, ca []byte) {
	t.Helper()
	for _, to := range []*[]byte{&leaf, &ca} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		if *to, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
			t.Fatal(err)
		}
	}
	return leaf, ca
}

func pemOf(certificates ...[]byte) string {
	var b strings.Builder
	for _, der := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.String()
}

// escape does what a proxy does that leaves safe as it is.
func escape(text, safe string) string {
	text = strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	for _, c := range safe {
		text = strings.ReplaceAll(text, url.QueryEscape(string(c)), string(c))
	}
	return text
}

func TestBinding_proxies(t *testing.T) {
	proxy := netip.MustParsePrefix("10.0.0.0/24")
	var haproxy jwthttp.Options
	behindHAProxy(&haproxy)
	leaf, ca := newCertificates(t)
	traefikPEM := strings.NewReplacer("-----BEGIN CERTIFICATE-----", "", "-----END CERTIFICATE-----", "", "\n", "")
	for _, tt := range []struct {
		name, field, value string
		read               func(*http.Request) ([]byte, error)
	}{
		{"HAProxy", "Client-Cert", ":" + base64.StdEncoding.EncodeToString(leaf) + ":", haproxy.ClientCertificate},
		{"nginx", "X-SSL-Client-Cert", escape(pemOf(leaf), ""), fromProxy(proxy, nginx)},
		{"AWS", "X-Amzn-Mtls-Clientcert-Leaf", escape(pemOf(leaf), "+=/"), fromProxy(proxy, awsALB)},
		{"Envoy", "X-Forwarded-Client-Cert", `Hash=00;Cert="` + escape(pemOf(leaf), "") + `";Subject="CN=x"`, fromProxy(proxy, envoy)},
		{"Traefik", "X-Forwarded-Tls-Client-Cert", traefikPEM.Replace(pemOf(leaf)) + "," + traefikPEM.Replace(pemOf(ca)), fromProxy(proxy, traefik)},
		{"Traefik with escapes", "X-Forwarded-Tls-Client-Cert", escape(traefikPEM.Replace(pemOf(leaf)), ""), fromProxy(proxy, traefik)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set(tt.field, tt.value)
			if got, err := tt.read(r); len(got) != 0 || err != nil {
				t.Errorf("a client's field counts: %v", err)
			}
			r.RemoteAddr = "10.0.0.1:1234"
			if got, err := tt.read(r); err != nil || !bytes.Equal(got, leaf) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			for _, bad := range []string{"", "x", "%", "::", `Cert="`} {
				r.Header.Set(tt.field, bad)
				if _, err := tt.read(r); err == nil {
					t.Errorf("%q: no error", bad)
				}
			}
			r.Header.Del(tt.field)
			if got, _ := tt.read(r); len(got) != 0 {
				t.Errorf("without the field: %d bytes", len(got))
			}
			r.RemoteAddr = "@"
			r.Header.Set(tt.field, tt.value)
			if got, err := tt.read(r); len(got) != 0 || err == nil {
				t.Errorf("without an address: %d bytes, %v", len(got), err)
			}
		})
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "[fe80::1%eth0]:1234"
	r.Header.Set("X-SSL-Client-Cert", escape(pemOf(leaf), ""))
	if got, err := fromProxy(netip.MustParsePrefix("fe80::/64"), nginx)(r); err != nil || !bytes.Equal(got, leaf) {
		t.Errorf("an address with a zone: %d bytes, %v", len(got), err)
	}
	_ = serveTLS // opens a port
}

func newDPoP(t *testing.T, options func(*jwthttp.Options)) func(jwthttp.Issuer) *jwthttp.Middleware {
	t.Helper()
	return func(issuer jwthttp.Issuer) *jwthttp.Middleware {
		opts := jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}}
		options(&opts)
		m, err := jwthttp.New[jwt.RegisteredClaims](opts)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func TestBinding_testing(t *testing.T) {
	testAPI(t, func(issuer jwthttp.Issuer) http.Handler {
		return newDPoP(t, withDPoP)(issuer).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
}

// Rule 60
func TestBinding_cors(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	api := cors("https://app.example", newDPoP(t, withDPoP)(issuer.Trusted()).Handler(http.NotFoundHandler()))
	r := httptest.NewRequest("OPTIONS", "/me", nil)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "GET")
	r.Header.Set("Access-Control-Request-Headers", "authorization,dpop")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Headers") != "Authorization, DPoP" {
		t.Errorf("preflight: %d, %v", w.Code, w.Header())
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		w = httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(method, "/me", nil))
		if w.Code != http.StatusUnauthorized || w.Header().Get("Access-Control-Expose-Headers") != "DPoP-Nonce, WWW-Authenticate" {
			t.Errorf("%s: %d, %v", method, w.Code, w.Header())
		}
	}
}

// http.Transport sends the same proof again if a connection that it has reused
// breaks.
func TestBinding_resending(t *testing.T) {
	issuer, prover := jwthttptest.New(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	m := newDPoP(t, withDPoP)(issuer.Trusted())
	var calls atomic.Int32
	server := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 2 {
			panic(http.ErrAbortHandler) // the answer is lost
		}
	})))
	defer server.Close()
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}})
	for i, want := range []string{"200 ", "401 replayed", "200 "} {
		r, err := http.NewRequest("GET", server.URL+"/me", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", prover.Proof("GET", "https://api.example/me", token, nil))
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Reason string }
		_ = json.NewDecoder(resp.Body).Decode(&body)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode, " ", body.Reason); got != want {
			t.Errorf("request %d: %q, want %q", i, got, want)
		}
	}
	if calls.Load() != 3 {
		t.Errorf("the handler was called %d times", calls.Load())
	}
}

// A proxy asks with a GET of the endpoint's path.
func TestBinding_forwardAuth(t *testing.T) {
	issuer, prover := jwthttptest.New(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	m := newDPoP(t, withDPoP)(issuer.Trusted())
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}})
	r := httptest.NewRequest("GET", "/auth", nil)
	r.Header.Set("X-Forwarded-Method", "POST")
	r.Header.Set("X-Forwarded-Uri", "/orders")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", prover.Proof("POST", "https://api.example/orders", token, nil))
	var e *jwthttp.Error
	if _, err := m.Authenticate(r); !errors.As(err, &e) || e.Reason != jwthttp.ReasonProof {
		t.Errorf("error %v", err)
	}
}
