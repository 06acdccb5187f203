package docs_test

// The Go blocks of binding.md, in its order. TestBinding_page compares them.

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func withDPoP(opts *jwthttp.Options) {
	opts.DPoP = &jwthttp.DPoP{BaseURLs: []string{"https://api.example"}}
}

func serveTLS(api http.Handler) error {
	server := &http.Server{Addr: ":8443", Handler: api, TLSConfig: &tls.Config{
		ClientAuth: tls.RequestClientCert, // or RequireAnyClientCert
	}}
	return server.ListenAndServeTLS("cert.pem", "key.pem")
}

func behindHAProxy(opts *jwthttp.Options) {
	opts.ClientCertificate = jwthttp.ClientCertFromProxy(netip.MustParsePrefix("10.0.0.0/24"))
}

func fromProxy(proxy netip.Prefix, read func(http.Header) ([]byte, error)) func(*http.Request) ([]byte, error) {
	return func(r *http.Request) ([]byte, error) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !proxy.Contains(peer.Addr().Unmap().WithZone("")) {
			return nil, err
		}
		return read(r.Header)
	}
}

func escapedPEM(text string) ([]byte, error) {
	text, err := url.PathUnescape(text)
	if block, _ := pem.Decode([]byte(text)); block != nil && err == nil {
		return block.Bytes, nil // the first one is the leaf
	}
	return nil, errors.New("no certificate")
}

func nginx(h http.Header) ([]byte, error) {
	return escapedPEM(h.Get("X-SSL-Client-Cert"))
}

func awsALB(h http.Header) ([]byte, error) {
	return escapedPEM(h.Get("X-Amzn-Mtls-Clientcert-Leaf"))
}

func envoy(h http.Header) ([]byte, error) {
	_, text, _ := strings.Cut(h.Get("X-Forwarded-Client-Cert"), `Cert="`)
	text, _, _ = strings.Cut(text, `"`)
	return escapedPEM(text)
}

func traefik(h http.Header) ([]byte, error) {
	text, err := url.PathUnescape(h.Get("X-Forwarded-Tls-Client-Cert"))
	if leaf, _, _ := strings.Cut(text, ","); leaf != "" && err == nil {
		return base64.StdEncoding.DecodeString(leaf)
	}
	return nil, errors.New("no certificate")
}

func cors(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Headers", "Authorization, DPoP")
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func testAPI(t *testing.T, newAPI func(jwthttp.Issuer) http.Handler) {
	issuer, prover := jwthttptest.New(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}})
	r := httptest.NewRequest("GET", "/me", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", prover.Proof("GET", "https://api.example/me", token, nil))
	w := httptest.NewRecorder()
	newAPI(issuer.Trusted()).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}
