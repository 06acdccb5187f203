// Package clientcert finds the certificate of a client (RFC 8705), also in the field
// that a proxy sets (RFC 9440).
package clientcert

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxField is the largest size of a field in bytes.
const maxField = 16 << 10

var (
	errNone   = errors.New(`token is bound to a certificate ("x5t#S256"), and the client has shown none`)
	errOther  = errors.New(`token is bound to another certificate ("x5t#S256") than the client's`)
	errCount  = errors.New("more than one Client-Cert field")
	errSyntax = fmt.Errorf("Client-Cert is not one item of base64 between colons, of at most %d bytes", maxField)
	errPeer   = errors.New("address of the peer is not an IP address and port")
)

// Unmap returns prefixes of IPv4 instead of those that have it in IPv6, to which no
// address of Read belongs.
func Unmap(prefixes []netip.Prefix) []netip.Prefix {
	unmapped := slices.Clone(prefixes)
	for i, p := range unmapped {
		if p.Addr().Is4In6() {
			unmapped[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return unmapped
}

// Read returns the certificate in DER of the Client-Cert fields of a request from
// peer, an address with a port. It returns nil if there are no fields, and if the
// peer is not one of the proxies: only they may speak for a client. The prefixes
// are those of Unmap.
func Read(fields []string, peer string, proxies []netip.Prefix) ([]byte, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	address, err := netip.ParseAddrPort(peer)
	if err != nil {
		return nil, errPeer
	}
	for _, proxy := range proxies {
		if proxy.Contains(address.Addr().Unmap().WithZone("")) {
			return parse(fields)
		}
	}
	return nil, nil
}

// parse reads a byte sequence (RFC 8941 §3.3.5) without parameters.
func parse(fields []string) ([]byte, error) {
	if len(fields) > 1 {
		return nil, errCount
	}
	text, ok := strings.CutPrefix(strings.Trim(fields[0], " "), ":")
	text, ok2 := strings.CutSuffix(text, ":")
	if !ok || !ok2 || len(fields[0]) > maxField || text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, errSyntax
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errSyntax
	}
	return der, nil
}

// FromTLS returns the leaf that the client has shown in the TLS handshake, or nil.
func FromTLS(r *http.Request) ([]byte, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	return r.TLS.PeerCertificates[0].Raw, nil
}

// Check compares the certificate that find returns with the thumbprint in a token
// (RFC 8705 §3).
func Check(thumbprint string, find func(*http.Request) ([]byte, error), r *http.Request) error {
	der, err := find(r)
	hash := sha256.Sum256(der)
	switch {
	case err != nil:
		return err
	case len(der) == 0:
		return errNone
	case base64.RawURLEncoding.EncodeToString(hash[:]) != thumbprint:
		return errOther
	}
	return nil
}
