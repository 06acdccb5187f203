package jwthttp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/jws"
)

// Token holds the verified header and registered claims of a JWT. A missing
// claim is an empty string or zero time. Printing, logging and marshaling a
// Token never show the compact token; only [Token.Raw] returns it.
type Token struct {
	Issuer    string // iss
	Subject   string // sub
	ID        string // jti
	SessionID string // sid (OpenID Connect)
	ClientID  string // client_id (RFC 9068), or else azp, or else cid

	Audience []string // aud

	IssuedAt  time.Time // iat, in UTC
	NotBefore time.Time // nbf, in UTC
	ExpiresAt time.Time // exp, in UTC; zero only with Issuer.NoExpiry

	// Scopes are those of "scope" (RFC 8693 §4.2), or else of "scp". Both may
	// be an array, or a string separated by spaces.
	Scopes []string

	// How and when the user authenticated (RFC 9068 §2.2.1). A claim of the
	// wrong type counts as missing.
	ACR      string    // acr
	AMR      []string  // amr
	AuthTime time.Time // auth_time, in UTC

	Algorithm string // alg
	KeyID     string // kid
	Type      string // typ, as spelled in the token
	Source    Source // where the request had the token

	// KeyThumbprint and CertificateThumbprint are the "jkt" and "x5t#S256" of
	// "cnf" (RFC 9449 §6.1, RFC 8705 §3.1). If the token was accepted, the
	// client has shown that it has these keys. A bearer token has neither.
	KeyThumbprint, CertificateThumbprint string

	raw *string // a pointer, which fmt does not follow
}

// Raw returns the compact token, to pass it on to another service. It is empty
// for a Token made by hand. Keep it out of logs.
func (t *Token) Raw() string {
	if t.raw == nil {
		return ""
	}
	return *t.raw
}

// Fingerprint returns the SHA-256 of the token's header and payload as 64
// lower-case hexadecimal digits. It is empty for a Token made by hand.
func (t *Token) Fingerprint() string {
	raw := t.Raw()
	if raw == "" {
		return ""
	}
	// Without the signature, because some have several valid encodings.
	sum := sha256.Sum256([]byte(raw[:strings.LastIndexByte(raw, '.')]))
	return hex.EncodeToString(sum[:])
}

// Claims decodes the token's payload into v with [json.Unmarshal]. It returns an
// error for a Token made by hand, which has no payload.
func (t *Token) Claims(v any) error {
	if t.Raw() == "" {
		return errors.New("jwthttp: a Token made by hand has no payload")
	}
	return json.Unmarshal(jws.Segment(t.Raw(), 1), v)
}

// String returns the issuer, subject and ID of the token.
func (t Token) String() string {
	return fmt.Sprintf("token of %q for %q (jti %q)", t.Issuer, t.Subject, t.ID)
}

// GoString returns the same text as String.
func (t Token) GoString() string { return t.String() }

// LogValue returns the issuer, subject, ID, algorithm, key ID and expiry of the
// token.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("iss", t.Issuer),
		slog.String("sub", t.Subject),
		slog.String("jti", t.ID),
		slog.String("alg", t.Algorithm),
		slog.String("kid", t.KeyID),
		slog.Time("exp", t.ExpiresAt),
	)
}

// clone returns a copy that shares nothing that can be modified.
func (t *Token) clone() *Token {
	if t == nil {
		return nil
	}
	c := *t
	c.Audience, c.Scopes, c.AMR = slices.Clone(t.Audience), slices.Clone(t.Scopes), slices.Clone(t.AMR)
	return &c
}
