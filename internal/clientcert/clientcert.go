// Package clientcert reads the certificate of a client from the field that a proxy
// sets (RFC 9440).
package clientcert

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxField is the largest size of a field in bytes.
const maxField = 16 << 10

var (
	errCount  = errors.New("more than one Client-Cert field")
	errSyntax = fmt.Errorf("Client-Cert is not one item of base64 between colons, of at most %d bytes", maxField)
	errPeer   = errors.New("address of the peer is not an IP address and port")
)

// Read returns the certificate in DER of the Client-Cert fields of a request from
// peer, an address with a port. It returns nil if there are no fields, and if the
// peer is not one of the proxies: only they may speak for a client.
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
