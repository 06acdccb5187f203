package jws

import (
	"github.com/seed450a7203/jwthttp/internal/base64url"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// Confirmation has the members of a "cnf" claim (RFC 7800 §3.1) that can be
// proved. If both are empty, the token is not bound, or its "cnf" is invalid.
type Confirmation struct {
	KeyThumbprint         string // "jkt" (RFC 9449 §6.1)
	CertificateThumbprint string // "x5t#S256" (RFC 8705 §3.1)
}

// parseConfirmation reads a "cnf". It returns the zero Confirmation unless every
// member can be proved: a server that ignores a member accepts a token that is
// bound to something else.
func parseConfirmation(cnf strictjson.Value) (c Confirmation) {
	for name, v := range cnf.Members() {
		to := &c.KeyThumbprint
		switch name {
		case "jkt":
		case "x5t#S256":
			to = &c.CertificateThumbprint
		default:
			return Confirmation{}
		}
		var ok bool
		if *to, ok = v.Unquote(); !ok || !isThumbprint(*to) {
			return Confirmation{}
		}
	}
	return c
}

// isThumbprint reports whether text is the base64url encoding of a SHA-256 hash.
func isThumbprint(text string) bool {
	var hash [32]byte
	if base64url.DecodedLen(len(text)) != len(hash) {
		return false
	}
	_, ok := base64url.Decode(hash[:], text)
	return ok
}
