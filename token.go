package jwthttp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Token is what was verified about a token, whatever type its claims decode
// into. Strings are empty and times zero where the token has no such claim.
//
// The compact token itself is only to be had from [Token.Raw]: no way of
// printing, logging or marshalling a Token shows it.
type Token struct {
	Issuer    string // iss
	Subject   string // sub
	ID        string // jti
	SessionID string // sid (OpenID Connect)
	ClientID  string // client_id (RFC 9068), or azp where that is missing or empty

	Audience []string // aud

	IssuedAt  time.Time // iat, in UTC
	NotBefore time.Time // nbf, in UTC
	ExpiresAt time.Time // exp, in UTC; zero only under Issuer.NoExpiry

	// Scopes are those of "scope", separated by single spaces (RFC 8693
	// §4.2), or without that claim those of "scp", a string of the same form
	// or an array.
	Scopes []string

	// How and when the user was authenticated (OpenID Connect Core §2, RFC
	// 9068 §2.2.1): see [Middleware.RequireAuthentication]. A claim of the wrong
	// type counts as missing here, since some issuers send auth_time as text.
	ACR      string    // acr
	AMR      []string  // amr
	AuthTime time.Time // auth_time, in UTC

	Algorithm string // alg
	KeyID     string // kid
	Type      string // typ, as the token spells it
	Source    Source // where the request had it

	raw *string // behind a pointer, where fmt does not follow it
}

// Raw returns the compact token, for passing it on to another service. It is
// empty for a Token made by hand. Keep it out of logs.
func (t *Token) Raw() string {
	if t.raw == nil {
		return ""
	}
	return *t.raw
}

// Fingerprint returns the SHA-256 of the token's header and payload as 64
// lower-case hexadecimal digits. It leaves the signature out, since some
// signatures have several valid spellings. It is empty for a Token made by hand.
func (t *Token) Fingerprint() string {
	sum, ok := t.sum()
	if !ok {
		return ""
	}
	return hex.EncodeToString(sum[:])
}

func (t *Token) sum() (sum [sha256.Size]byte, ok bool) {
	raw := t.Raw()
	if raw == "" {
		return sum, false
	}
	return sha256.Sum256([]byte(raw[:strings.LastIndexByte(raw, '.')])), true
}

// Claims decodes the token's payload into v with [json.Unmarshal]. It returns
// an error for a Token made by hand, which has none.
func (t *Token) Claims(v any) error {
	if t.Raw() == "" {
		return errors.New("jwthttp: token made by hand has no payload")
	}
	return json.Unmarshal(t.payload(), v)
}

// header and payload decode the parts of a token that was decoded before.
func (t *Token) header() []byte {
	segment, _, _ := strings.Cut(t.Raw(), ".")
	header, _ := base64.RawURLEncoding.DecodeString(segment)
	return header
}

func (t *Token) payload() []byte {
	_, rest, _ := strings.Cut(t.Raw(), ".")
	segment, _, _ := strings.Cut(rest, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(segment)
	return payload
}

// String describes the token by issuer, subject and ID.
func (t Token) String() string {
	return fmt.Sprintf("token of %q for %q (jti %q)", t.Issuer, t.Subject, t.ID)
}

// GoString is String, for %#v.
func (t Token) GoString() string { return t.String() }

// LogValue has the token's issuer, subject, ID, key and expiry, for log/slog.
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

// from returns t as found in a source.
func (t *Token) from(source Source) *Token {
	if t.Source == source {
		return t
	}
	c := t.clone()
	c.Source = source
	return c
}

// roomyToken has room for a Token's lists, so that most need no allocation of
// their own.
type roomyToken struct {
	Token
	room [4]string
}

// clone returns a copy that shares nothing that can be changed.
func (t *Token) clone() *Token {
	if t == nil {
		return nil
	}
	c := &roomyToken{Token: *t}
	lists := c.room[:0]
	if n := len(t.Audience) + len(t.Scopes) + len(t.AMR); n > len(c.room) {
		lists = make([]string, 0, n)
	}
	for _, list := range []*[]string{&c.Audience, &c.Scopes, &c.AMR} {
		if *list == nil {
			continue
		}
		start := len(lists)
		lists = append(lists, *list...)
		*list = lists[start:len(lists):len(lists)]
	}
	return &c.Token
}
