package revocation

import (
	"fmt"
	"time"

	"github.com/seed450a7203/jwthttp/internal/revset"
)

// Kind says which tokens an [Entry] revokes. The zero Kind is invalid.
type Kind uint8

const (
	ByID          Kind = iota + 1 // the token with this "jti"
	ByFingerprint                 // the token with this [jwthttp.Token.Fingerprint]
	BySubject                     // tokens with this "sub"
	BySession                     // tokens with this "sid"
	ByClient                      // tokens with this [jwthttp.Token.ClientID]
	ByIssuer                      // all tokens of the issuer
)

// kindNames are the texts of the kinds.
func kindNames() [ByIssuer + 1]string {
	return [...]string{ByID: "id", ByFingerprint: "fingerprint", BySubject: "subject", BySession: "session", ByClient: "client", ByIssuer: "issuer"}
}

func (k Kind) valid() bool { return ByID <= k && k <= ByIssuer }

// String returns "id", "fingerprint", "subject", "session", "client" or
// "issuer", and "Kind(0)" or the like for an invalid Kind.
func (k Kind) String() string {
	if !k.valid() {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames()[k]
}

// MarshalText returns the text of [Kind.String]. An invalid Kind is an error.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.valid() {
		return nil, fmt.Errorf("revocation: invalid Kind %d", uint8(k))
	}
	return []byte(k.String()), nil
}

// UnmarshalText sets k to the Kind that has this text. It returns an error, and
// leaves k unchanged, for any other text.
func (k *Kind) UnmarshalText(text []byte) error {
	for kind, name := range kindNames() {
		if name != "" && name == string(text) {
			*k = Kind(kind)
			return nil
		}
	}
	return fmt.Errorf("revocation: unknown Kind %q", text)
}

// NoIssuer, which is ":none", is the Issuer of an [Entry] for tokens without
// "iss". No issuer has this name: RFC 7519 §2 requires an "iss" that contains a
// colon to be a URI, and a URI does not begin with a colon.
const NoIssuer = revset.NoIssuer

// Entry is a revocation. It names tokens and says which of them are revoked.
type Entry struct {
	_ struct{}

	// Kind says what Value is. It is required.
	Kind Kind

	// Issuer is the "iss" of the tokens. It is required; [NoIssuer] means
	// tokens without "iss". For ByFingerprint it does not affect which token is
	// revoked, because the fingerprint covers "iss".
	Issuer string

	// Value is the ID, fingerprint, subject, session or client. It is required,
	// except for ByIssuer, where it must be empty. An empty Value never means
	// all tokens.
	Value string

	// IssuedUntil revokes tokens whose "iat" is not later, and tokens without
	// "iat". It is required, except for ByID and ByFingerprint, which revoke
	// the token regardless of it. At most 5 minutes ahead, for issuers whose
	// clock is fast. Most issuers write "iat" in whole seconds: a token issued
	// later in the second of IssuedUntil is revoked, too.
	IssuedUntil time.Time

	// Expires is when the last of the tokens has expired. The entry is kept 5
	// minutes longer, which is the largest Leeway. Zero, or a time after the
	// year 9999, means until Remove. Otherwise it must be after IssuedUntil and
	// after now. If it is too early, revoked tokens are accepted again.
	Expires time.Time
}
