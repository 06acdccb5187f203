package docs_test

// The Go blocks of binding.md, in its order. TestBinding_page compares them.

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/seed450a7203/jwthttp"
)

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
		if err != nil || !proxy.Contains(peer.Addr().Unmap()) {
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
