package jws

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// Claims are the claims that a server needs for its own checks. Strings are empty
// and times zero where the token has no such claim.
type Claims struct {
	Issuer, Subject, ID, SessionID, ClientID string
	Audience                                 []string
	IssuedAt, NotBefore, ExpiresAt, AuthTime time.Time
	Scopes                                   []string
	ACR                                      string
	AMR                                      []string
	TenantID                                 string // "tid" of Entra ID
	Bound                                    bool   // has a "cnf"
	Confirmation                             Confirmation
}

// Indexes of the claims in a list of values.
const (
	claimIss = iota
	claimSub
	claimAud
	claimExp
	claimNbf
	claimIat
	claimJti
	claimSid
	claimClientID
	claimAzp
	claimCid
	claimScope
	claimScp
	claimCnf
	claimAcr
	claimAmr
	claimAuthTime
)

// ClaimNames returns the names of the claims that ParseClaims reads, in the order
// of the values it takes. No other spelling of them is accepted in a token.
func ClaimNames() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "client_id", "azp", "cid",
		"scope", "scp", "cnf", "acr", "amr", "auth_time"}
}

// TenantIDName is the name of a claim that ParseClaims reads if it is one of its
// names. Other spellings of it are accepted, since few issuers have it.
const TenantIDName = "tid"

// ParseClaims parses a payload and stores the values of names, which begin with
// ClaimNames, in values.
func ParseClaims(payload string, names *strictjson.Names, values []strictjson.Value) (c Claims, err error) {
	if err := strictjson.Parse(payload, names, values); err != nil {
		return Claims{}, wrap("payload", err)
	}
	if err := c.readStrings(values); err != nil {
		return Claims{}, err
	}
	if err := c.readDates(values); err != nil {
		return Claims{}, err
	}
	var ok bool
	if c.Audience, ok = stringOrArray(values[claimAud]); !ok {
		return Claims{}, wrongType("aud")
	}
	if c.Scopes, ok = scopes(values[claimScope], values[claimScp]); !ok {
		return Claims{}, errScopes
	}
	// Of the wrong type these three count as missing, and so never suffice for
	// step-up authentication. AD FS writes auth_time as text in good tokens.
	c.ACR, _ = values[claimAcr].Unquote()
	c.AMR, _ = values[claimAmr].Strings()
	c.AuthTime, _ = NumericDate(values[claimAuthTime])
	c.Bound = !isAbsent(values[claimCnf])
	if c.Bound {
		c.Confirmation = parseConfirmation(values[claimCnf])
	}
	if i := names.Index(TenantIDName); i >= 0 {
		c.TenantID, _ = values[i].Unquote()
	}
	return c, nil
}

func (c *Claims) readStrings(values []strictjson.Value) error {
	var azp string
	for _, claim := range []struct { // a name here would escape in an error, and c with it
		i  int
		to *string
	}{
		{claimSub, &c.Subject}, {claimJti, &c.ID}, {claimSid, &c.SessionID},
		{claimClientID, &c.ClientID}, {claimAzp, &azp},
	} {
		var ok bool
		if *claim.to, ok = identifier(values[claim.i]); !ok {
			return wrongType(ClaimNames()[claim.i])
		}
	}
	if iss := values[claimIss]; !isAbsent(iss) {
		var ok bool
		if c.Issuer, ok = iss.Unquote(); !ok {
			return wrongType("iss")
		}
	}
	// Okta's name for it. Elsewhere "cid" may be anything, so another type
	// counts as missing.
	cid, _ := identifier(values[claimCid])
	for _, id := range []string{azp, cid} {
		if c.ClientID == "" {
			c.ClientID = id
		}
	}
	return nil
}

func (c *Claims) readDates(values []strictjson.Value) error {
	for _, claim := range []struct {
		i  int
		to *time.Time
	}{{claimExp, &c.ExpiresAt}, {claimNbf, &c.NotBefore}, {claimIat, &c.IssuedAt}} {
		var ok bool
		if *claim.to, ok = NumericDate(values[claim.i]); !ok {
			return wrongType(ClaimNames()[claim.i])
		}
	}
	return nil
}

var errScopes = errors.New(`"scope" or "scp" is of the wrong type`)

func wrongType(claim string) error {
	return fmt.Errorf("%q is of the wrong type or out of range", claim)
}

func wrap(part string, err error) error { return fmt.Errorf("%s: %w", part, err) }

// isAbsent reports whether a claim is missing or null. Many serializers write
// null for what they do not have.
func isAbsent(v strictjson.Value) bool {
	return v.Kind == strictjson.Absent || v.Kind == strictjson.Null
}

// identifier reads a string, or an integer as its decimal text. RFC 7519 §4.1
// has strings only, but many issuers use the key of a database row as it is.
func identifier(v strictjson.Value) (string, bool) {
	if isAbsent(v) {
		return "", true
	}
	if text, ok := v.Integer(); ok {
		return text, true
	}
	return v.Unquote()
}

// maxDate is the last second of the year 9999. time.Time has no text form for
// what comes after it.
const maxDate = 253402300799

// NumericDate reads a NumericDate (RFC 7519 §2) with its fraction. An absent one
// is the zero time, which is no date that can be written.
func NumericDate(v strictjson.Value) (time.Time, bool) {
	if isAbsent(v) {
		return time.Time{}, true
	}
	seconds, ok := v.Float()
	if !ok || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

// stringOrArray reads a string or an array of strings.
func stringOrArray(v strictjson.Value) ([]string, bool) {
	if isAbsent(v) {
		return nil, true
	}
	if s, ok := v.Unquote(); ok {
		return []string{s}, true
	}
	return v.Strings()
}

// scopes reads "scope" (RFC 8693 §4.2), or "scp" where that is missing. Both may
// be a string with spaces or an array of strings.
func scopes(scope, scp strictjson.Value) ([]string, bool) {
	list, ok := scopeList(scope)
	other, ok2 := scopeList(scp)
	if isAbsent(scope) {
		list = other
	}
	return list, ok && ok2
}

func scopeList(v strictjson.Value) ([]string, bool) {
	if isAbsent(v) {
		return nil, true
	}
	text, ok := v.Unquote()
	if !ok {
		return v.Strings()
	}
	if text == "" {
		return nil, true
	}
	// Spaces only (RFC 6749 §3.3). strings.Fields would split at a tab, too,
	// and make two scopes of what the issuer meant as one.
	list := slices.Grow([]string(nil), strings.Count(text, " ")+1)
	for scope := range strings.SplitSeq(text, " ") {
		if scope != "" {
			list = append(list, scope)
		}
	}
	return list, true
}

// Quoted is an unverified text, of which logs show the beginning.
type Quoted string

func (q Quoted) String() string {
	const most = 64 // bytes
	if len(q) > most {
		return strconv.QuoteToASCII(string(q[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(q))
}

// QuotedList is a list of unverified texts, of which logs show the first ones, or
// "none".
type QuotedList []string

func (l QuotedList) String() string {
	if len(l) == 0 {
		return "none"
	}
	const most = 8
	var b strings.Builder
	for i, text := range l {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == most {
			b.WriteString("...")
			break
		}
		b.WriteString(Quoted(text).String())
	}
	return b.String()
}
