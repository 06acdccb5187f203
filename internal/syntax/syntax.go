// Package syntax holds the character sets and forms that HTTP and OAuth
// prescribe for what goes into header fields and URLs.
package syntax

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// IsAlphanumeric reports whether c is an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// IsToken reports whether s is a token (RFC 9110 §5.6.2), such as a field name
// or an authentication scheme.
func IsToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !IsAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// IsToken68 reports whether s is a token68 (RFC 9110 §11.2), the syntax of a
// bearer token.
func IsToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if c := s[i]; !IsAlphanumeric(c) && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return s != ""
}

// IsSegments reports whether s is three segments of token68, each of which may be
// padded, unlike a token68.
func IsSegments(s string) bool {
	segments := strings.SplitN(s, ".", 4)
	return len(segments) == 3 && IsToken68(segments[0]) && IsToken68(segments[1]) && IsToken68(segments[2])
}

// FitsQuotedString reports whether s needs no escaping between double quotes.
// The allowed bytes are those of RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E.
func FitsQuotedString(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// IsScope reports whether s is one scope (RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E).
func IsScope(s string) bool {
	return s != "" && !strings.Contains(s, " ") && FitsQuotedString(s)
}

// IsLoopback reports whether the host of a URL is this machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ParsePublicURL parses a URL that clients are shown: absolute, https or http
// on loopback, without user and fragment. Clients compare such URLs as text, so
// one that [net/url] would spell differently is an error. The error never shows
// a password.
func ParsePublicURL(text string) (*url.URL, error) {
	const want = "want an absolute https URL, percent-encoded, without user and fragment"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.User != nil || u.Host == "" && strings.Contains(text, "@"):
		return nil, errors.New(want)
	case !strings.HasPrefix(text, u.Scheme+"://"+u.Host) || u.Hostname() == "" || strings.ContainsAny(text, "# ") ||
		!FitsQuotedString(text) || u.String() != text,
		u.Scheme != "https" && !(u.Scheme == "http" && IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("%.200q: %s", text, want)
	}
	return u, nil
}

// IsWebSocket reports whether the header of a request opens a WebSocket: over
// HTTP/1.1 (RFC 6455 §4.1), or as an extended CONNECT (RFC 8441 §4), which
// net/http shows as the field ":protocol".
func IsWebSocket(header map[string][]string) bool {
	for _, field := range [...]string{"Upgrade", ":protocol"} {
		for _, line := range header[field] {
			for protocol := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(strings.Trim(protocol, " \t"), "websocket") {
					return true
				}
			}
		}
	}
	return false
}

// Subprotocols returns what follows prefix in the entries of a
// Sec-WebSocket-Protocol field that begin with it.
func Subprotocols(lines []string, prefix string) (rest []string) {
	for _, line := range lines {
		for entry := range strings.SplitSeq(line, ",") {
			if after, ok := strings.CutPrefix(strings.Trim(entry, " \t"), prefix); ok {
				rest = append(rest, after)
			}
		}
	}
	return rest
}

// CutApplication removes the prefix "application/", without which a media type
// may be written in a token (RFC 7515 §4.1.9).
func CutApplication(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// ContainsMediaType reports whether a list has a media type, in any case. The
// list is without "application/".
func ContainsMediaType(list []string, typ string) bool {
	typ = CutApplication(typ)
	for _, listed := range list {
		// With equal lengths no letter outside ASCII folds into one of ASCII.
		if len(typ) == len(listed) && strings.EqualFold(typ, listed) {
			return true
		}
	}
	return false
}
