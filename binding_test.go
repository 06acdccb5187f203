package jwthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
)

// The example of RFC 8705, appendix A.
const (
	rfc8705Thumbprint  = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
	rfc8705Certificate = `-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----`
)

func rfc8705DER() []byte {
	block, _ := pem.Decode([]byte(rfc8705Certificate))
	return block.Bytes
}

func x5t(der []byte) string {
	hash := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// certToken returns a good token that is bound to a certificate.
func certToken(thumbprint string) string {
	return goodToken(map[string]any{"cnf": map[string]any{"x5t#S256": thumbprint}})
}

// withTLS adds a connection on which the client has shown certificates.
func withTLS(certificates ...[]byte) func(*http.Request) {
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{}
		for _, der := range certificates {
			r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, &x509.Certificate{Raw: der})
		}
	}
}

// Rule 48
func TestAuthenticate_certificate(t *testing.T) {
	der, other := rfc8705DER(), []byte("another")
	both := goodToken(map[string]any{"cnf": map[string]any{"x5t#S256": rfc8705Thumbprint, "jkt": strings.Repeat("A", 43)}})
	broken := func(*http.Request) ([]byte, error) { return der, errors.New("broken") }
	for _, tt := range []struct {
		name   string
		token  string
		source func(*http.Request) ([]byte, error)
		tls    func(*http.Request)
		want   string
	}{
		{"the example of RFC 8705", certToken(rfc8705Thumbprint), nil, withTLS(der), admitted},
		{"with a chain", certToken(rfc8705Thumbprint), nil, withTLS(der, other), admitted},
		{"no token binding", goodToken(nil), nil, withTLS(other), admitted},
		{"no TLS", certToken(rfc8705Thumbprint), nil, func(*http.Request) {}, invalid + "binding"},
		{"no certificate", certToken(rfc8705Thumbprint), nil, withTLS(), invalid + "binding"},
		{"an empty certificate", certToken(x5t(nil)), nil, withTLS(nil), invalid + "binding"},
		{"another certificate", certToken(rfc8705Thumbprint), nil, withTLS(other), invalid + "binding"},
		{"an intermediate certificate", certToken(rfc8705Thumbprint), nil, withTLS(other, der), invalid + "binding"},
		{"jkt as well", both, nil, withTLS(der), invalid + "binding"},
		{"from an option", certToken(rfc8705Thumbprint), func(*http.Request) ([]byte, error) { return der, nil }, withTLS(other), admitted},
		{"nothing from an option", certToken(rfc8705Thumbprint), func(*http.Request) ([]byte, error) { return nil, nil }, withTLS(der), invalid + "binding"},
		{"an error of an option", certToken(rfc8705Thumbprint), broken, withTLS(der), invalid + "binding"},
		{"not before the signature holds", altered(certToken(rfc8705Thumbprint)), nil, withTLS(der), invalid + "signature"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.ClientCertificate = tt.source
			checkCached(t, opts, newRequest(withBearer(tt.token), tt.tls), tt.want)
		})
	}
}

// A cached token is of use only to who has its certificate.
// Rules 48, 51
func TestAuthenticate_certificateCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.CacheSize = 10
		asked := 0
		opts.ClientCertificate = func(r *http.Request) ([]byte, error) {
			asked++
			return []byte(r.Header.Get("X-Certificate")), nil
		}
		var events []jwthttp.Event
		opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
		m := mustNew[testClaims](t, opts)
		token := certToken(x5t([]byte("mine")))
		for i, certificate := range []string{"mine", "theirs", "mine", ""} {
			r, err := m.Authenticate(newRequest(withBearer(token), withField("X-Certificate", certificate)))
			if (err == nil) != (certificate == "mine") || asked != i+1 {
				t.Fatalf("with %q: %v; asked %d times", certificate, err, asked)
			}
			e := events[i]
			if e.Cached != (i > 0) || e.Token == nil || e.Token.CertificateThumbprint != x5t([]byte("mine")) || e.Token.KeyThumbprint != "" {
				t.Errorf("with %q: cached %v, token %+v", certificate, e.Cached, e.Token)
			}
			if err != nil {
				continue
			}
			if got, _ := jwthttp.TokenFromContext(r.Context()); got.CertificateThumbprint != x5t([]byte("mine")) {
				t.Errorf("token %+v", got)
			}
			ctx, cancel := m.Watch(r.Context(), time.Second) // asks for no certificate
			time.Sleep(10 * time.Second)
			if ctx.Err() != nil {
				t.Errorf("Watch: %v", context.Cause(ctx))
			}
			cancel()
		}
		if _, err := m.Authenticate(newRequest(withBearer(goodToken(nil)))); err != nil || asked != 4 {
			t.Errorf("a bearer token: %v; asked %d times", err, asked)
		}
	})
}

// A token that its certificate proves may be anywhere. One with "jkt" may not.
// Rule 49
func TestAuthenticate_boundTokenPlaces(t *testing.T) {
	cert := certToken(rfc8705Thumbprint)
	jkt := goodToken(map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}})
	form := func(token string) *http.Request {
		r := httptest.NewRequest("POST", "/", strings.NewReader("t="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return r
	}
	for _, tt := range []struct {
		name      string
		extractor jwthttp.Extractor
		request   func(token string) *http.Request
	}{
		{"a Bearer header", nil, func(token string) *http.Request { return newRequest(withBearer(token)) }},
		{"a field", jwthttp.FromHeader("X-Token", ""), func(token string) *http.Request { return newRequest(withField("X-Token", token)) }},
		{"a proxy's field", jwthttp.FromProxyHeader("X-Token"), func(token string) *http.Request { return newRequest(withField("X-Token", token)) }},
		{"a cookie", jwthttp.FromCookie("t"), func(token string) *http.Request { return newRequest(withField("Cookie", "t="+token)) }},
		{"a query", jwthttp.FromQuery("t"), func(token string) *http.Request { return newRequest(withQuery("t=" + token)) }},
		{"a form", jwthttp.FromForm("t"), form},
		{"a WebSocket protocol", jwthttp.FromWebSocketProtocol("t."), func(token string) *http.Request {
			return newRequest(withField("Upgrade", "websocket"), withField("Sec-WebSocket-Protocol", "x, t."+token))
		}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor, opts.CacheSize = tt.extractor, 10
			m := mustNew[testClaims](t, opts)
			for range 2 { // the second from the cache; a form can be read once only
				for token, want := range map[string]jwthttp.Reason{cert: "", jkt: jwthttp.ReasonBinding} {
					r := tt.request(token)
					withTLS(rfc8705DER())(r)
					_, err := m.Authenticate(r)
					var e *jwthttp.Error
					if errors.As(err, &e) != (want != "") || e != nil && (e.Reason != want || e.Status != 401) {
						t.Errorf("error %v, want %q", err, want)
					}
				}
			}
		})
	}
}

// Rule 51
func TestMiddleware_Verify_boundToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.CacheSize = 10
		opts.ClientCertificate = func(*http.Request) ([]byte, error) { return rfc8705DER(), nil }
		m := mustNew[testClaims](t, opts)
		token := certToken(rfc8705Thumbprint)
		if _, err := m.Authenticate(newRequest(withBearer(token))); err != nil {
			t.Fatal(err)
		}
		_, err := m.Verify(context.Background(), token)
		var e *jwthttp.Error
		if !errors.As(err, &e) || e.Reason != jwthttp.ReasonBinding || e.Status != 401 {
			t.Errorf("error %v", err)
		}
	})
}

// The example of RFC 9440, appendix A.
const rfc9440Field = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAx" +
	"MTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p" +
	"5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMC" +
	"BsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMje" +
	"SkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"

// internal/clientcert has the syntax of the field.
// Rule 50
func TestClientCertFromProxy(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString(strings.Trim(rfc9440Field, ":"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	mine := func(r *http.Request) { r.RemoteAddr = "10.0.0.7:1234" }
	for _, tt := range []struct {
		name    string
		changes []func(*http.Request)
		want    string
	}{
		{"the proxy's field", []func(*http.Request){mine, withField("Client-Cert", rfc9440Field)}, admitted},
		{"under the proxy's certificate", []func(*http.Request){mine, withField("Client-Cert", rfc9440Field), withTLS([]byte("proxy"))}, admitted},
		{"a client's field", []func(*http.Request){withField("Client-Cert", rfc9440Field)}, invalid + "binding"},
		{"no field", []func(*http.Request){mine}, invalid + "binding"},
		{"no field, under TLS", []func(*http.Request){mine, withTLS(der)}, invalid + "binding"},
		{"two fields", []func(*http.Request){mine, withField("Client-Cert", rfc9440Field), func(r *http.Request) { r.Header.Add("Client-Cert", rfc9440Field) }}, invalid + "binding"},
		{"X-Forwarded-For of the proxy", []func(*http.Request){withField("Client-Cert", rfc9440Field), withField("X-Forwarded-For", "10.0.0.7")}, invalid + "binding"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.ClientCertificate = jwthttp.ClientCertFromProxy(netip.MustParsePrefix("10.0.0.0/24"))
			checkCached(t, opts, newRequest(append(tt.changes, withBearer(certToken(x5t(der))))...), tt.want)
		})
	}
	for _, tt := range []struct {
		prefix, peer string
		ok           bool
	}{
		{"::ffff:10.0.0.0/120", "10.0.0.7:1234", true},
		{"::ffff:10.0.0.0/120", "[::ffff:10.0.0.7]:1234", true},
		{"::ffff:10.0.0.0/120", "10.0.1.7:1234", false},
		{"::ffff:10.0.0.7/128", "10.0.0.7:1234", true},
		{"::ffff:0.0.0.0/96", "10.0.0.7:1234", true},
		{"10.0.0.0/24", "[::ffff:10.0.0.7]:1234", true},
		{"10.0.0.7/24", "10.0.0.1:1234", true},
		{"fe80::/64", "[fe80::1%eth0]:1234", true},
		{"::/0", "10.0.0.7:1234", false},
		{"::ffff:0:0/90", "10.0.0.7:1234", false},
		{"0.0.0.0/0", "[2001:db8::1]:1234", false},
		{"0.0.0.0/0", "@", false},
		{"0.0.0.0/0", "", false},
	} {
		r := newRequest(withField("Client-Cert", rfc9440Field))
		r.RemoteAddr = tt.peer
		if got, _ := jwthttp.ClientCertFromProxy(netip.MustParsePrefix(tt.prefix))(r); (got != nil) != tt.ok {
			t.Errorf("prefix %s, peer %q: read %v", tt.prefix, tt.peer, got != nil)
		}
	}
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	read := jwthttp.ClientCertFromProxy(prefixes...)
	prefixes[0] = netip.MustParsePrefix("0.0.0.0/0")
	if got, err := read(newRequest(withField("Client-Cert", rfc9440Field))); got != nil || err != nil {
		t.Errorf("a prefix changed afterwards counts: %v", err)
	}
	for name, bad := range map[string][]netip.Prefix{"no prefixes": nil, "an invalid one": {{}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for %s", name)
				}
			}()
			jwthttp.ClientCertFromProxy(bad...)
		}()
	}
}

// tlsClient returns a client with a certificate, signed by an
// intermediate one that it sends, too.
func tlsClient(t *testing.T, server *httptest.Server, version uint16) (client *http.Client, thumbprint string) {
	t.Helper()
	issue := func(name string, key *ecdsa.PrivateKey, parent *x509.Certificate, signer *ecdsa.PrivateKey) []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := issue("intermediate", caKey, nil, caKey)
	parent, err := x509.ParseCertificate(ca)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue("client", key, parent, caKey)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf, ca}, PrivateKey: key}}
	transport.TLSClientConfig.MaxVersion = version
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, x5t(leaf)
}

// A connection of net/http, over both versions of HTTP, and resumed sessions.
// Rule 48
func TestHandler_mutualTLS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		http2   bool
		version uint16
	}{
		{"HTTP/1.1, TLS 1.2", false, tls.VersionTLS12},
		{"HTTP/1.1, TLS 1.3", false, tls.VersionTLS13},
		{"HTTP/2, TLS 1.3", true, tls.VersionTLS13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			issuer := newIssuer()
			m := mustNew[testClaims](t, newOptions(issuer))
			var mu sync.Mutex
			var resumed []bool
			handler := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				resumed = append(resumed, r.TLS.DidResume)
				if (r.ProtoMajor == 2) != tt.http2 || jwthttp.MustClaims[testClaims](r.Context()).Subject != "alice" {
					w.WriteHeader(http.StatusTeapot)
				}
			}))
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = tt.http2
			server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			server.StartTLS()
			defer server.Close()
			mine, thumbprint := tlsClient(t, server, tt.version)
			theirs, _ := tlsClient(t, server, tt.version)
			now := time.Now().Unix()
			token := goodToken(map[string]any{"iat": now, "exp": now + 60, "cnf": map[string]any{"x5t#S256": thumbprint}})
			for i, want := range []int{200, 200, 200} {
				if got := status(t, mine, server.URL, token); got != want {
					t.Errorf("request %d: status %d, want %d", i, got, want)
				}
				mine.CloseIdleConnections()
			}
			if got := status(t, theirs, server.URL, token); got != 401 {
				t.Errorf("with another certificate: status %d", got)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(resumed) != 3 || resumed[0] || !resumed[2] {
				t.Errorf("sessions resumed: %v", resumed)
			}
		})
	}
}

func status(t *testing.T, client *http.Client, url, token string) int {
	t.Helper()
	r, err := http.NewRequest("GET", url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
