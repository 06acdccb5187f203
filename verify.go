package jwthttp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// maxKeys is how many keys are tried for one token.
const maxKeys = 8

// The members of header and payload that are read; the constants are their indexes.
const (
	headerAlg = iota
	headerKid
	headerTyp
	headerCrit
	headerB64
	headerEnc
	headerZip
)

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
	claimScope
	claimScp
	claimCnf
)

var (
	headerNames = [...]string{"alg", "kid", "typ", "crit", "b64", "enc", "zip"}
	claimNames  = [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "client_id", "azp", "scope", "scp", "cnf"}
)

// jws is a compact token taken apart. Nothing in it is believed yet.
type jws struct {
	raw       string
	signed    string // header.payload as sent
	header    string // JSON
	claims    string // JSON; what the token's strings are cut from
	payload   []byte // the same, for T's decoder
	signature []byte

	token Token // as the header and the payload have it
	bound bool  // has a "cnf" claim
}

// verify judges everything about a token that does not depend on the request
// or on other tokens. It returns the token and its claims if the signature
// holds, beside an Error too: a verified token may still be refused.
//
// The cheap judgements come first, before any key is looked up.
func (f *family) verify(ctx context.Context, c Credential, now time.Time) (v *verified, cached bool, e *Error) {
	if len(c.Token) > f.maxTokenSize {
		return nil, false, refuse(ReasonTooLarge, errTooLarge)
	}
	if f.cache != nil {
		if v, e := f.recall(ctx, c.Token, now); v != nil || e != nil {
			return v, v != nil, e
		}
	}
	t := &jws{raw: c.Token}
	t.token.raw, t.token.Source = &t.raw, c.Source
	iss, e := f.judge(t, now)
	if e != nil {
		return nil, false, e
	}
	key, e := iss.verifySignature(ctx, t)
	if e != nil {
		return nil, false, e
	}
	v = &verified{token: &t.token, issuer: iss, key: key}
	if t.bound {
		// RFC 7800 §3: whoever cannot check the binding must not take a
		// bound token for a bearer token.
		return v, false, refuse(ReasonBinding, errBound)
	}
	var err error
	if v.claims, err = f.decode(&t.token, t.payload); err != nil {
		return v, false, refuse(ReasonClaims, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err))
	}
	if f.cache != nil {
		v = f.cache.put(v)
	}
	return v, false, nil
}

// judge makes the judgements that need no key, and returns the token's issuer.
func (f *family) judge(t *jws, now time.Time) (*issuer, *Error) {
	if err := t.split(); err != nil {
		// In a header field, what is no token68 breaks the field's own syntax.
		if t.token.Source == SourceHeader && !isToken68(t.raw) {
			return nil, refuseCredential(errCredential)
		}
		return nil, refuse(ReasonMalformed, err)
	}
	if err := t.readHeader(); err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	if !f.algorithms[t.token.Algorithm] {
		return nil, refuse(ReasonAlgorithm, t.badAlgorithm())
	}
	if err := t.readPayload(); err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	iss := f.anyIssuer
	if iss == nil {
		iss = f.issuers[t.token.Issuer]
	}
	if iss == nil {
		return nil, refuse(ReasonIssuer, &cause{"no issuer has this name", quoted(t.token.Issuer), []error{jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidClaims}})
	}
	return iss, iss.judge(t, f.leeway, now)
}

// base64url is what RFC 7515 §2 wants: no padding, and no bits left over.
var base64url = base64.RawURLEncoding.Strict()

// split takes the compact serialisation apart (RFC 7515 §7.1).
func (t *jws) split() error {
	header, rest, ok := strings.Cut(t.raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return errSegments
	}
	t.signed = t.raw[:len(header)+1+len(payload)]
	buffer := make([]byte, 0, len(t.raw))
	var headerBytes []byte
	for _, part := range []struct {
		segment string
		decoded *[]byte
	}{{header, &headerBytes}, {payload, &t.payload}, {signature, &t.signature}} {
		start := len(buffer)
		var err error
		buffer, err = base64url.AppendDecode(buffer, []byte(part.segment))
		// encoding/base64 passes over line breaks: the length gives them away.
		if err != nil || len(part.segment)%4 == 1 || len(buffer)-start != base64url.DecodedLen(len(part.segment)) {
			return errSegments
		}
		*part.decoded = buffer[start:len(buffer):len(buffer)]
	}
	text := string(buffer[:len(headerBytes)+len(t.payload)])
	t.header, t.claims = text[:len(headerBytes)], text[len(headerBytes):]
	return nil
}

func (t *jws) readHeader() error {
	var values [len(headerNames)]strictjson.Value
	if err := strictjson.Parse(t.header, headerNames[:], values[:]); err != nil {
		return fmt.Errorf("%w: header: %w", jwt.ErrTokenMalformed, err)
	}
	// RFC 7515 §4.1.11: an extension that is not understood must be refused.
	// None is understood here, and "b64", "enc" and "zip" would change what
	// the signature covers.
	for _, v := range values[headerCrit:] {
		if v.Kind != strictjson.Absent {
			return errHeaderMember
		}
	}
	var ok bool
	if t.token.Algorithm, ok = values[headerAlg].Unquote(); !ok {
		return errHeaderAlg
	}
	if t.token.KeyID, ok = optionalString(values[headerKid]); !ok || strings.ContainsFunc(t.token.KeyID, isControl) {
		return errHeaderType
	}
	if t.token.Type, ok = optionalString(values[headerTyp]); !ok {
		return errHeaderType
	}
	if values[headerTyp].Kind != strictjson.Absent && t.token.Type == "" {
		return errHeaderType // an empty media type; "" means absent from here on
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// optionalString returns "" for an absent member, and false for one of another type.
func optionalString(v strictjson.Value) (string, bool) {
	if v.Kind == strictjson.Absent {
		return "", true
	}
	return v.Unquote()
}

// readPayload reads the claims that a Token has. Each of a wrong JSON type is
// an error, null included: RFC 7519 §4.1 gives none of them a null.
func (t *jws) readPayload() error {
	var values [len(claimNames)]strictjson.Value
	if err := strictjson.Parse(t.claims, claimNames[:], values[:]); err != nil {
		return fmt.Errorf("%w: payload: %w", jwt.ErrTokenMalformed, err)
	}
	token := &t.token
	var azp string
	for _, field := range []struct {
		claim int
		to    *string
	}{
		{claimIss, &token.Issuer}, {claimSub, &token.Subject}, {claimJti, &token.ID},
		{claimSid, &token.SessionID}, {claimClientID, &token.ClientID}, {claimAzp, &azp},
	} {
		var ok bool
		if *field.to, ok = optionalString(values[field.claim]); !ok {
			return wrongClaim(field.claim)
		}
	}
	if token.ClientID == "" {
		token.ClientID = azp
	}
	for _, field := range []struct {
		claim int
		to    *time.Time
	}{{claimExp, &token.ExpiresAt}, {claimNbf, &token.NotBefore}, {claimIat, &token.IssuedAt}} {
		var ok bool
		if *field.to, ok = numericDate(values[field.claim]); !ok {
			return wrongClaim(field.claim)
		}
	}
	var ok bool
	if token.Audience, ok = oneOrMore(values[claimAud]); !ok {
		return wrongClaim(claimAud)
	}
	if token.Scopes, ok = scopes(values[claimScope], values[claimScp]); !ok {
		return &cause{text: `"scope" or "scp" is of the wrong type`, is: []error{jwt.ErrTokenMalformed, jwt.ErrInvalidType}}
	}
	t.bound = values[claimCnf].Kind != strictjson.Absent
	return nil
}

func wrongClaim(claim int) error {
	return &cause{
		text: strconv.Quote(claimNames[claim]) + " is of the wrong type or out of range",
		is:   []error{jwt.ErrTokenMalformed, jwt.ErrInvalidType},
	}
}

// maxDate is the last second of the year 9999, beyond which neither time.Time's
// text forms nor other libraries agree with anyone.
const maxDate = 253402300799

// numericDate reads a NumericDate (RFC 7519 §2), with its fraction. An absent
// one is the zero time, which no other is.
func numericDate(v strictjson.Value) (time.Time, bool) {
	if v.Kind == strictjson.Absent {
		return time.Time{}, true
	}
	seconds, ok := v.Float()
	if !ok || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

// oneOrMore reads a string or an array of strings.
func oneOrMore(v strictjson.Value) ([]string, bool) {
	switch v.Kind {
	case strictjson.Absent:
		return nil, true
	case strictjson.String:
		s, _ := v.Unquote()
		return []string{s}, true
	}
	return v.Strings()
}

// scopes reads the claim "scope", or "scp" where that is missing.
func scopes(scope, scp strictjson.Value) ([]string, bool) {
	list, ok := optionalString(scope)
	array, ok2 := oneOrMore(scp)
	switch {
	case !ok || !ok2:
		return nil, false
	case scope.Kind == strictjson.Absent && scp.Kind == strictjson.Array:
		return array, true
	case scope.Kind == strictjson.Absent && scp.Kind == strictjson.String:
		list = array[0]
	}
	var tokens []string
	// Spaces only (RFC 6749 §3.3): strings.Fields would split at a tab, and
	// make two scopes of what the issuer meant as one odd one.
	for token := range strings.SplitSeq(list, " ") {
		if token != "" {
			tokens = append(tokens, token)
		}
	}
	return tokens, true
}

// judge applies an issuer's rules that need no key.
func (iss *issuer) judge(t *jws, leeway time.Duration, now time.Time) *Error {
	token := &t.token
	if iss.methods[token.Algorithm] == nil {
		return refuse(ReasonAlgorithm, t.badAlgorithm())
	}
	if !iss.acceptsType(token.Type) {
		return refuse(ReasonType, &cause{"\"typ\" is not accepted", quoted(token.Type), []error{jwt.ErrTokenUnverifiable}})
	}
	if !iss.anyAudience && !slices.ContainsFunc(token.Audience, func(aud string) bool { return slices.Contains(iss.audience, aud) }) {
		return refuse(ReasonAudience, &cause{"\"aud\" has no name of this service", quoted(token.Audience...), []error{jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidClaims}})
	}
	return iss.judgeTimes(token, leeway, now)
}

// judgeTimes applies RFC 7519 §4.1.4 to §4.1.6: a token ends when "exp" is
// reached, not after it. MaxAge has no leeway: of the two readings the stricter.
func (iss *issuer) judgeTimes(token *Token, leeway time.Duration, now time.Time) *Error {
	switch latest := now.Add(leeway); {
	case token.ExpiresAt.IsZero() && !iss.noExpiry:
		return refuse(ReasonMalformed, errNoExp)
	case !token.ExpiresAt.IsZero() && !token.ExpiresAt.After(now.Add(-leeway)):
		return refuse(ReasonExpired, errExpired)
	case token.NotBefore.After(latest):
		return refuse(ReasonNotYetValid, errNotYetValid)
	case token.IssuedAt.After(latest):
		return refuse(ReasonNotYetValid, errIssuedLater)
	case iss.maxAge > 0 && token.IssuedAt.IsZero():
		return refuse(ReasonTooOld, errNoIat)
	case iss.maxAge > 0 && now.Sub(token.IssuedAt) > iss.maxAge:
		return refuse(ReasonTooOld, errTooOld)
	}
	return nil
}

// acceptsType judges "typ" (RFC 7519 §5.1, RFC 8725 §3.11). The default is for
// access tokens: it refuses a logout or DPoP token of the same issuer.
func (iss *issuer) acceptsType(typ string) bool {
	types := iss.types
	if types == nil {
		if typ == "" {
			return true
		}
		types = defaultTypes
	}
	typ = cutApplication(typ)
	return slices.ContainsFunc(types, func(accepted string) bool {
		// Of equal length, so no letter outside of ASCII folds into one.
		return len(typ) == len(accepted) && strings.EqualFold(typ, accepted)
	})
}

var defaultTypes = []string{"JWT", "at+jwt"}

// cutApplication takes off the prefix that a media type may go without (RFC 7515 §4.1.9).
func cutApplication(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// verifySignature looks the key up, verifies with golang-jwt's method, and
// returns the key.
func (iss *issuer) verifySignature(ctx context.Context, t *jws) (jwt.VerificationKey, *Error) {
	method := iss.methods[t.token.Algorithm]
	keys, judged, e := iss.findKeys(ctx, &t.token, method)
	if e != nil {
		return nil, e
	}
	var misfit error
	tried := 0
	for _, key := range keys {
		if !judged {
			if misfit = fits(method, key); misfit != nil {
				continue
			}
		}
		if method.Verify(t.signed, t.signature, key) == nil {
			return key, nil
		}
		if tried++; tried == maxKeys {
			break
		}
	}
	if set, ok := iss.keys.(*JWKS); ok {
		for _, key := range set.again(ctx, t.token.KeyID, t.token.Algorithm) {
			if method.Verify(t.signed, t.signature, key) == nil {
				return key, nil
			}
		}
	} else if tried == 0 {
		return nil, refuse(ReasonAlgorithm, fmt.Errorf("%w: %w", jwt.ErrTokenUnverifiable, misfit))
	}
	return nil, refuse(ReasonSignature, errSignature)
}

// findKeys returns at least one key for the token, or an error. judged means
// that each is known to fit the method.
func (iss *issuer) findKeys(ctx context.Context, t *Token, method jwt.SigningMethod) (keys []jwt.VerificationKey, judged bool, e *Error) {
	var found any
	var err error
	switch source := iss.keys.(type) {
	case staticKey:
		return source.list, true, nil // judged by New
	case *JWKS:
		if keys, err = source.find(ctx, t.KeyID, t.Algorithm); err == nil {
			return keys, true, nil
		}
	case KeySet:
		found, err = source.find(t.KeyID)
	default:
		found, err = iss.askKeyfunc(ctx, t, method)
	}
	if errors.Is(err, ErrKeysUnavailable) {
		return nil, false, refuse(ReasonKeysUnavailable, err)
	}
	if set, ok := found.(jwt.VerificationKeySet); ok && err == nil {
		if keys = set.Keys; len(keys) == 0 {
			err = errNoKey
		}
	} else {
		keys = []jwt.VerificationKey{found}
	}
	if err != nil {
		err = fmt.Errorf("%w: kid %s: %w", jwt.ErrTokenUnverifiable, quoteCut(t.KeyID), err)
		return nil, false, refuse(ReasonUnknownKey, err)
	}
	return keys, false, nil
}

// askKeyfunc asks a source that may be anything, with a token of its own.
func (iss *issuer) askKeyfunc(ctx context.Context, t *Token, method jwt.SigningMethod) (any, error) {
	unverified := &jwt.Token{
		Method: method,
		Claims: jwt.RegisteredClaims{
			Issuer:    t.Issuer,
			Subject:   t.Subject,
			Audience:  slices.Clone(t.Audience),
			ExpiresAt: jwtDate(t.ExpiresAt),
			NotBefore: jwtDate(t.NotBefore),
			IssuedAt:  jwtDate(t.IssuedAt),
			ID:        t.ID,
		},
	}
	if err := json.Unmarshal(t.header(), &unverified.Header); err != nil {
		return nil, err
	}
	return iss.keys.KeyfuncCtx(ctx)(unverified)
}

func jwtDate(t time.Time) *jwt.NumericDate {
	if t.IsZero() {
		return nil
	}
	return &jwt.NumericDate{Time: t}
}

func (t *jws) badAlgorithm() error {
	return &cause{"\"alg\" is not allowed", quoted(t.token.Algorithm), []error{jwt.ErrTokenUnverifiable}}
}

// quoted keeps what an error may quote of a token.
func quoted(values ...string) string { return strings.Join(values, " ") }

// quoteCut quotes the beginning of an unverified value, for logs.
func quoteCut(s string) string {
	if len(s) > quoteMax {
		return strconv.QuoteToASCII(s[:quoteMax]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
