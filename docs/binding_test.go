package docs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/seed450a7203/jwthttp"
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
	_ = serveTLS // opens a port
}
