// Package revset holds revocations in memory. It is the mechanism behind
// revocation.List and behind the copies that the stores keep.
package revset

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed450a7203/jwthttp"
)

// Kind says which claim of a token an entry is compared with. The values are
// those of revocation.Kind.
type Kind uint8

const (
	ByID Kind = iota + 1
	ByFingerprint
	BySubject
	BySession
	ByClient
	ByIssuer

	kinds = iota + 1
)

// NoIssuer is the issuer of tokens without "iss" where users write entries. A
// Key has an empty Issuer instead.
const NoIssuer = ":none"

// Key names the tokens that an entry revokes.
type Key struct {
	Kind   Kind
	Issuer string // "": tokens without "iss"; always "" for ByFingerprint
	Value  string
}

// Times are the times of an entry. They are small because a Set may have millions.
type Times struct {
	Until   int64 // tokens issued until then, in Unix nanoseconds
	Expires int64 // Unix seconds, rounded up; Never: the entry does not expire
}

// Never is the Expires of an entry that stays until it is removed. It is the
// largest value, so that it wins where the later of two times is kept.
const Never = math.MaxInt64

const (
	maxAhead = 5 * time.Minute // how far Until may be ahead of the clock

	// maxDate is the last second of the year 9999. No token expires later.
	maxDate = 253402300799
)

// NewKey returns the Key of an entry, or an error if the entry names no tokens.
func NewKey(kind Kind, issuer, value string) (Key, error) {
	switch {
	case kind < ByID || kind > ByIssuer:
		return Key{}, fmt.Errorf("Entry.Kind: invalid Kind %d", kind)
	case issuer == "":
		return Key{}, errors.New("Entry.Issuer: required; NoIssuer means tokens without iss")
	case kind == ByIssuer && value != "":
		return Key{}, fmt.Errorf("Entry.Value: %.80q: must be empty for ByIssuer", value)
	case kind != ByIssuer && value == "":
		return Key{}, errors.New("Entry.Value: required; use ByIssuer to revoke all tokens of an issuer")
	case kind == ByFingerprint && !isFingerprint(value):
		return Key{}, fmt.Errorf("Entry.Value: invalid fingerprint %.80q: want 64 lower-case hexadecimal digits", value)
	}
	if issuer == NoIssuer {
		issuer = ""
	}
	return checkedKey(kind, issuer, value)
}

func checkedKey(kind Kind, issuer, value string) (Key, error) {
	if !utf8.ValidString(issuer) || !utf8.ValidString(value) {
		return Key{}, errors.New("issuer or value is not valid UTF-8") // which no token has
	}
	if kind == ByFingerprint {
		issuer = "" // the fingerprint covers "iss"
	}
	return Key{kind, issuer, value}, nil
}

func isFingerprint(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// NewTimes returns the Times of an entry of a kind, or an error if they are not
// allowed.
func NewTimes(kind Kind, issuedUntil, expires time.Time) (Times, error) {
	now := time.Now()
	ahead := now.Add(maxAhead)
	times := newTimes(issuedUntil, expires)
	switch {
	case issuedUntil.IsZero() && kind != ByID && kind != ByFingerprint:
		return Times{}, errors.New("Entry.IssuedUntil: required except for ByID and ByFingerprint")
	case issuedUntil.Unix() > ahead.Unix() || issuedUntil.After(ahead): // After alone overflows
		return Times{}, fmt.Errorf("Entry.IssuedUntil: %q is more than 5 minutes ahead", issuedUntil)
	case times.Expires != Never && !expires.After(now):
		return Times{}, fmt.Errorf("Entry.Expires: %q is in the past", expires)
	case times.Expires != Never && !expires.After(issuedUntil):
		return Times{}, fmt.Errorf("Entry.Expires: %q is not after IssuedUntil %q", expires, issuedUntil)
	}
	return times, nil
}

func newTimes(issuedUntil, expires time.Time) Times {
	times := Times{Until: -1, Expires: Never} // -1: before any "iat"
	if issuedUntil.Unix() >= 0 {
		times.Until = issuedUntil.UnixNano()
	}
	if seconds := expires.Unix(); !expires.IsZero() && seconds < maxDate {
		if expires.Nanosecond() > 0 {
			seconds++
		}
		times.Expires = max(1, seconds)
	}
	return times
}

// OfToken returns the entry that revokes one token: by issuer and "jti", or by
// fingerprint if the token has no "jti". Unlike [NewTimes] it allows an expiry
// in the past, because leeway may let the token live on.
func OfToken(t *jwthttp.Token) (Key, Times, error) {
	if t == nil {
		return Key{}, Times{}, errors.New("no token to revoke")
	}
	kind, value := ByID, t.ID
	if value == "" {
		if kind, value = ByFingerprint, t.Fingerprint(); value == "" {
			return Key{}, Times{}, errors.New("token has neither an ID nor a fingerprint")
		}
	}
	key, err := checkedKey(kind, t.Issuer, value)
	if err != nil {
		return Key{}, Times{}, err
	}
	return key, newTimes(time.Time{}, t.ExpiresAt), nil
}
