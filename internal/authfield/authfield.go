// Package authfield parses a header field with an authentication scheme and a
// credential (RFC 9110 §11.4).
package authfield

import (
	"errors"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Errors of Credential.
var (
	ErrOtherScheme = errors.New("another scheme")
	ErrMultiple    = errors.New("more than one credential")
	ErrSyntax      = errors.New("no credential after the scheme")
)

// Credential returns what follows the scheme, whose case does not matter, in a
// field's value. If scheme is empty, the whole value is the credential. A byte
// that no credential has is not an error here.
func Credential(value, scheme string) (string, error) {
	rest := value
	if scheme != "" {
		var ok bool
		if rest, ok = cutScheme(value, scheme); !ok {
			return "", otherScheme(value, scheme)
		}
		// Spaces only (RFC 9110 §11.4). strings.TrimSpace would accept a tab or
		// a no-break space, which other servers read differently.
		if rest = strings.TrimLeft(rest, " "); rest == "" {
			return "", ErrSyntax
		}
	}
	if strings.IndexByte(rest, ',') >= 0 && isList(rest, scheme) {
		return "", ErrMultiple
	}
	return rest, nil
}

// cutScheme returns what follows scheme in s. It returns false if s begins with
// another scheme.
func cutScheme(s, scheme string) (rest string, ok bool) {
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false
	}
	rest = s[len(scheme):]
	// A visible character makes it another word ("BearerX", "Bearer:x"). A tab,
	// a control or a byte above 0x7f does not: that is our scheme with an
	// invalid delimiter.
	if rest != "" && rest[0] > ' ' && rest[0] < 0x7f {
		return "", false
	}
	return rest, true
}

// otherScheme returns ErrOtherScheme for a value of another scheme, unless a proxy
// has appended one of this scheme, as in "Basic x, Bearer y".
func otherScheme(value, scheme string) error {
	_, value, joined := strings.Cut(value, ",")
	if !joined || strings.Contains(value, `"`) {
		return ErrOtherScheme // quotes: a list of parameters, such as Digest's
	}
	for element := range strings.SplitSeq(value, ",") {
		if rest, ok := cutScheme(strings.TrimLeft(element, " \t"), scheme); ok && rest != "" {
			return ErrMultiple
		}
	}
	return ErrOtherScheme
}

// isList reports whether every element of a comma-separated list is a credential.
func isList(list, scheme string) bool {
	for element := range strings.SplitSeq(list, ",") {
		element = strings.Trim(element, " \t")
		if word, rest, ok := strings.Cut(element, " "); ok && scheme != "" && syntax.IsToken(word) {
			element = strings.TrimLeft(rest, " ") // after any scheme
		}
		if !syntax.IsToken68(element) {
			return false
		}
	}
	return true
}
