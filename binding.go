package jwthttp

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"

	"github.com/seed450a7203/jwthttp/internal/cause"
	"github.com/seed450a7203/jwthttp/internal/clientcert"
)

// possession is how a client shows that it has the keys that a token is bound to.
// A nil possession means that it has shown that before.
type possession struct {
	request *http.Request // nil: none, as in Verify
}

// prove checks what a token is bound to (RFC 7800 §3).
func (c *config) prove(t *Token, p *possession) *Error {
	switch {
	case p == nil:
	case t.KeyThumbprint != "":
		// RFC 9449 §7.2: a bound token must not be accepted as a bearer token.
		return refuse(ReasonBinding, cause.Invalid(nil, `token is bound to a key ("jkt"), and DPoP is not set`)).about(t)
	case t.CertificateThumbprint != "":
		if err := c.checkCertificate(t, p.request); err != nil {
			return refuse(ReasonBinding, cause.Invalid(nil, `token is bound to a certificate ("x5t#S256"): %w`, err)).about(t)
		}
	}
	return nil
}

var (
	errNoCertificate    = errors.New("the client has shown none")
	errOtherCertificate = errors.New("the client has shown another one")
)

// checkCertificate compares the client's certificate with that of the token (RFC
// 8705 §3).
func (c *config) checkCertificate(t *Token, r *http.Request) error {
	if r == nil {
		return errNoCertificate
	}
	der, err := c.opts.ClientCertificate(r)
	hash := sha256.Sum256(der)
	switch {
	case err != nil:
		return err
	case len(der) == 0:
		return errNoCertificate
	case base64.RawURLEncoding.EncodeToString(hash[:]) != t.CertificateThumbprint:
		return errOtherCertificate
	}
	return nil
}

// clientCertFromTLS is the default of Options.ClientCertificate.
func clientCertFromTLS(r *http.Request) ([]byte, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	return r.TLS.PeerCertificates[0].Raw, nil
}

// ClientCertFromProxy returns a function for [Options].ClientCertificate that reads
// the Client-Cert field (RFC 9440), which a proxy sets to the certificate of its
// client. The field counts only in requests whose RemoteAddr is in trusted, the
// addresses of the proxies. It must be one item of at most 16 KiB.
//
// The proxy must remove the field from requests of clients, also if the client has
// shown no certificate. Middleware that replaces RemoteAddr, such as RealIP of chi,
// must not run before: clients choose the address that it sets.
//
// ClientCertFromProxy panics without a prefix, and if one is invalid.
func ClientCertFromProxy(trusted ...netip.Prefix) func(*http.Request) (der []byte, err error) {
	must(len(trusted) > 0, "ClientCertFromProxy: no prefixes")
	for i, prefix := range trusted {
		must(prefix.IsValid(), "ClientCertFromProxy: prefix %d is invalid", i)
	}
	trusted = append([]netip.Prefix(nil), trusted...)
	return func(r *http.Request) ([]byte, error) {
		return clientcert.Read(r.Header["Client-Cert"], r.RemoteAddr, trusted)
	}
}
