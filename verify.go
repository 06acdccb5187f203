package jwthttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/base64url"
	"github.com/seed450a7203/jwthttp/internal/keyset"
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
	claimAcr
	claimAmr
	claimAuthTime
)

var (
	headerNames = strictjson.NewNames([]string{"alg", "kid", "typ", "crit", "b64", "enc", "zip"}, nil)
	claimNames  = [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "client_id", "azp", "scope", "scp", "cnf", "acr", "amr", "auth_time"}
)

// header is what is read of a token's header.
type header struct{ algorithm, keyID, typ string }

// headers remembers the headers of tokens that were verified, decoded, by their
// base64url text: an issuer uses very few.
type headers struct {
	once  doorkeeper // for the issuer whose headers differ from token to token
	mu    sync.Mutex // held to replace known, which never changes
	known atomic.Pointer[map[string]header]
}

func newHeaders() *headers { return &headers{once: newDoorkeeper(2 * maxHeaders)} }

// Bounds on what is remembered. Beyond them it starts anew: all that is lost is
// the time for decoding a header again.
const (
	maxHeaders    = 32
	maxHeaderSize = 1 << 10
)

func (h *headers) get(segment string) (header, bool) {
	known := h.known.Load()
	if known == nil {
		return header{}, false
	}
	found, ok := (*known)[segment]
	return found, ok
}

// put remembers a header that comes for the second time. Its token must be
// verified: any other would let a stranger choose what is remembered.
func (h *headers) put(segment string, decoded header) {
	if len(segment) > maxHeaderSize || !h.once.again(h.once.hash(segment)) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := make(map[string]header)
	if known := h.known.Load(); known != nil && len(*known) < maxHeaders {
		maps.Copy(next, *known)
	}
	next[strings.Clone(segment)] = decoded // the request's may be part of more
	h.known.Store(&next)
}

// verified is what is known of a token whose signature held. It does not change
// once a cache has it: requests get copies.
type verified struct {
	token  roomyToken
	raw    string // Token.Raw
	claims any    // a *claims[T], before its Validate
	issuer *issuer
	key    jwt.VerificationKey // that verified it

	cacheLinks
}

// jws is a compact token taken apart. Nothing in it is believed yet.
type jws struct {
	segment   string // the header as sent
	signed    string // header.payload as sent
	payload   string // JSON; what the token's strings are cut from
	signature []byte
	header    header
	isNew     bool // the header was not remembered

	*verified      // made as soon as there is something to say; its token is as header and payload have it
	bound     bool // has a "cnf" claim
}

// verify judges everything about a token that does not depend on the request
// or on other tokens. It returns the token and its claims if the signature
// holds, beside an Error too: a verified token may still be refused.
//
// The cheap judgements come first, before any key is looked up.
func (f *family) verify(ctx context.Context, c Credential) (v *verified, cached bool, e *Error) {
	if len(c.Token) > f.maxTokenSize {
		return nil, false, refuse(ReasonTooLarge, errTooLarge)
	}
	var hash uint64
	if f.cache != nil {
		hash = f.cache.hash(c.Token)
		if v, e := f.recall(ctx, c.Token, hash); v != nil || e != nil {
			return v, v != nil, e
		}
	}
	var t jws
	// The values of the payload's members: kept apart from t, which escapes to
	// the heap.
	var few [32]strictjson.Value
	values := few[:]
	if n := f.claims.names.Len(); n > len(few) {
		values = make([]strictjson.Value, n)
	}
	if e := f.judge(&t, c, values); e != nil {
		return nil, false, e
	}
	v = t.verified
	v.hash = hash
	if v.key, e = v.issuer.verifySignature(ctx, &t); e != nil {
		return nil, false, e
	}
	if t.isNew {
		f.headers.put(t.segment, t.header)
	}
	if t.bound {
		// RFC 7800 §3: whoever cannot check the binding must not take a
		// bound token for a bearer token.
		return v, false, refuse(ReasonBinding, errBound)
	}
	var err error
	if v.claims, err = f.claims.decode(&v.token.Token, t.payload, values); err != nil {
		return v, false, refuse(ReasonClaims, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err))
	}
	if f.cache != nil {
		f.cache.put(v)
	}
	return v, false, nil
}

// judge makes the judgements that need no key.
func (f *family) judge(t *jws, c Credential, values []strictjson.Value) *Error {
	if err := t.split(c.Token, f.headers); err != nil {
		// In a header field, what is no token68 breaks the field's own syntax.
		if c.Source == SourceHeader && !isToken68(c.Token) {
			return refuseCredential(errCredential)
		}
		return refuse(ReasonMalformed, err)
	}
	if !f.algorithms[t.header.algorithm] {
		return refuse(ReasonAlgorithm, t.badAlgorithm())
	}
	t.begin(c)
	if err := t.readPayload(f.claims.names, values[:f.claims.names.Len()]); err != nil {
		return refuse(ReasonMalformed, err)
	}
	t.issuer = f.anyIssuer
	if t.issuer == nil {
		t.issuer = f.issuers[t.token.Issuer]
	}
	if t.issuer == nil {
		return refuse(ReasonIssuer, &cause{"no issuer has this name", quoted(t.token.Issuer), []error{jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidClaims}})
	}
	return t.issuer.judge(t, f.leeway)
}

// begin makes the record of what is found out.
func (t *jws) begin(c Credential) {
	t.verified = &verified{raw: c.Token}
	token := &t.token.Token
	token.raw, token.Source = &t.raw, c.Source
	token.Algorithm, token.KeyID, token.Type = t.header.algorithm, t.header.keyID, t.header.typ
}

// split takes the compact serialisation apart (RFC 7515 §7.1), and reads the
// header.
func (t *jws) split(raw string, known *headers) (err error) {
	var payload, signature string
	segment, rest, ok := strings.Cut(raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return errSegments
	}
	t.segment, t.signed = segment, raw[:len(segment)+1+len(payload)]
	if t.payload, ok = decodeSegment(payload); !ok {
		return errSegments
	}
	t.signature = make([]byte, base64url.DecodedLen(len(signature)))
	if _, ok = base64url.Decode(t.signature, signature); !ok {
		return errSegments
	}
	if t.header, ok = known.get(segment); ok {
		return nil
	}
	t.isNew = true
	text, ok := decodeSegment(segment)
	if !ok {
		return errSegments
	}
	t.header, err = readHeader(text)
	return err
}

// decodeSegment returns the text that a segment decodes to.
func decodeSegment(segment string) (string, bool) {
	var few [1 << 10]byte // stays on the stack
	buffer := few[:]
	if n := base64url.DecodedLen(len(segment)); n > len(buffer) {
		buffer = make([]byte, n)
	}
	decoded, ok := base64url.Decode(buffer, segment)
	if !ok {
		return "", false
	}
	return string(decoded), true
}

func readHeader(text string) (h header, err error) {
	var values [7]strictjson.Value
	if err := strictjson.Parse(text, headerNames, values[:]); err != nil {
		return h, &cause{text: "header: " + err.Error(), is: []error{jwt.ErrTokenMalformed}}
	}
	// RFC 7515 §4.1.11: an extension that is not understood must be refused.
	// None is understood here, and "b64", "enc" and "zip" would change what
	// the signature covers.
	for _, v := range values[headerCrit:] {
		if v.Kind != strictjson.Absent {
			return h, errHeaderMember
		}
	}
	var ok bool
	if h.algorithm, ok = values[headerAlg].Unquote(); !ok {
		return h, errHeaderAlg
	}
	if h.keyID, ok = optionalString(values[headerKid]); !ok || strings.ContainsFunc(h.keyID, isControl) {
		return h, errHeaderType
	}
	if h.typ, ok = optionalString(values[headerTyp]); !ok {
		return h, errHeaderType
	}
	if values[headerTyp].Kind != strictjson.Absent && h.typ == "" {
		return h, errHeaderType // an empty media type; "" means absent from here on
	}
	return h, nil
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
func (t *jws) readPayload(names *strictjson.Names, values []strictjson.Value) error {
	if err := strictjson.Parse(t.payload, names, values); err != nil {
		return &cause{text: "payload: " + err.Error(), is: []error{jwt.ErrTokenMalformed}}
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
	if token.Audience, ok = oneOrMore(token.room[:0:1], values[claimAud]); !ok {
		return wrongClaim(claimAud)
	}
	if token.Scopes, ok = scopes(token.room[1:1], values[claimScope], values[claimScp]); !ok {
		return &cause{text: `"scope" or "scp" is of the wrong type`, is: []error{jwt.ErrTokenMalformed, jwt.ErrInvalidType}}
	}
	// Of the wrong type these count as missing, and so never suffice: AD FS
	// writes auth_time as text, in tokens that are good otherwise.
	token.ACR, _ = optionalString(values[claimAcr])
	token.AMR, _ = values[claimAmr].Strings()
	token.AuthTime, _ = numericDate(values[claimAuthTime])
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

// oneOrMore reads a string, into room if that is enough, or an array of strings.
func oneOrMore(room []string, v strictjson.Value) ([]string, bool) {
	switch v.Kind {
	case strictjson.Absent:
		return nil, true
	case strictjson.String:
		s, _ := v.Unquote()
		return append(room, s), true
	}
	return v.Strings()
}

// scopes reads the claim "scope", or "scp" where that is missing, into room if
// that is enough.
func scopes(room []string, scope, scp strictjson.Value) ([]string, bool) {
	list, ok := optionalString(scope)
	array, ok2 := oneOrMore(nil, scp)
	switch {
	case !ok || !ok2:
		return nil, false
	case scope.Kind == strictjson.Absent && scp.Kind == strictjson.Array:
		return array, true
	case scope.Kind == strictjson.Absent && scp.Kind == strictjson.String:
		list = array[0]
	}
	if list == "" {
		return nil, true
	}
	tokens := slices.Grow(room, strings.Count(list, " ")+1)
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
func (iss *issuer) judge(t *jws, leeway time.Duration) *Error {
	token := &t.token.Token
	if iss.methods[token.Algorithm] == nil {
		return refuse(ReasonAlgorithm, t.badAlgorithm())
	}
	if !iss.acceptsType(token.Type) {
		return refuse(ReasonType, &cause{"\"typ\" is not accepted", quoted(token.Type), []error{jwt.ErrTokenUnverifiable}})
	}
	if !iss.anyAudience && !slices.ContainsFunc(token.Audience, func(aud string) bool { return slices.Contains(iss.audience, aud) }) {
		return refuse(ReasonAudience, &cause{"\"aud\" has no name of this service", quoted(token.Audience...), []error{jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidClaims}})
	}
	return iss.judgeTimes(token, leeway)
}

// judgeTimes applies RFC 7519 §4.1.4 to §4.1.6: a token ends when "exp" is
// reached, not after it. MaxAge has no leeway: of the two readings the stricter.
func (iss *issuer) judgeTimes(token *Token, leeway time.Duration) *Error {
	now := time.Now()
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
	keys, judged, e := iss.findKeys(ctx, &t.token.Token, method)
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
	if set, ok := iss.keys.(keyset.Finder); ok {
		for _, key := range set.RefetchKeys(ctx, keyQuery(&t.token.Token)) {
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
	case keyset.Finder:
		if keys, err = source.FindKeys(ctx, keyQuery(t)); err == nil {
			return keys, true, nil
		}
	case KeySet:
		if key, ok := iss.set[t.KeyID]; ok {
			return key.list, key.fits[t.Algorithm], nil
		}
		err = errNoKey
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

func keyQuery(t *Token) keyset.Query {
	var claims struct {
		TenantID any `json:"tid"`
	}
	_ = t.Claims(&claims)
	tid, _ := claims.TenantID.(string)
	return keyset.Query{KeyID: t.KeyID, HasKeyID: t.KeyID != "", Algorithm: t.Algorithm, Issuer: t.Issuer, TenantID: tid}
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
	return &cause{"\"alg\" is not allowed", quoted(t.header.algorithm), []error{jwt.ErrTokenUnverifiable}}
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
