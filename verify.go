package jwthttp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

// verified is a token that is being verified, and afterwards its entry in the
// cache, which is immutable.
type verified struct {
	token    *Token
	hasKeyID bool
	tenantID string
	issuer   *issuer
	claims   any                 // a *claims[T], before its Validate
	key      jwt.VerificationKey // that verified the signature
}

// verify checks everything about a token that does not depend on the request or
// on other tokens. All checks that are cheap come before the look-up of keys.
func (c *config) verify(ctx context.Context, found Credential) (*verified, *Error) {
	parsed, e := c.parse(found.Token)
	if e != nil {
		return nil, e
	}
	values := make([]strictjson.Value, c.claims.names.Len())
	registered, err := jws.ParseClaims(parsed.Payload, c.claims.names, values)
	if err != nil {
		return nil, refuse(ReasonMalformed, malformed(err.Error()))
	}
	v := &verified{token: newToken(found.Token, parsed, registered, found.Source), hasKeyID: parsed.HasKeyID, tenantID: registered.TenantID}
	if v.issuer, e = c.findIssuer(v.token, parsed.Padded); e != nil {
		return nil, e
	}
	if e = v.issuer.check(v.token, c.leeway); e != nil {
		return nil, e
	}
	if v.key, e = v.findKey(ctx, parsed); e != nil {
		return nil, e
	}
	if registered.Bound {
		// RFC 7800 §3: a server that cannot check the binding must not accept a
		// bound token as a bearer token.
		return nil, refuse(ReasonBinding, invalid(`token has a "cnf" claim`)).about(v.token)
	}
	if v.claims, err = c.claims.decode(parsed.Payload, values); err != nil {
		return nil, refuse(ReasonClaims, invalid(err.Error(), err)).about(v.token)
	}
	c.remember(v)
	return v, nil
}

// about adds a verified token to a refusal, for the Observer.
func (e *Error) about(t *Token) *Error {
	e.token = t
	return e
}

// parse checks size, serialization, header and algorithm.
func (c *config) parse(raw string) (*jws.Token, *Error) {
	if len(raw) > c.maxTokenSize {
		return nil, refuse(ReasonTooLarge, malformed(fmt.Sprintf("token has %d bytes, Options.MaxTokenSize is %d", len(raw), c.maxTokenSize)))
	}
	parsed, err := jws.Parse(raw, c.padding)
	if err != nil {
		return nil, refuse(ReasonMalformed, malformed(err.Error()))
	}
	if !c.algorithms[parsed.Algorithm] {
		return nil, refuse(ReasonAlgorithm, &cause{fmt.Sprintf("algorithm %s is not accepted", jws.Quote(parsed.Algorithm)), []error{jwt.ErrTokenUnverifiable}})
	}
	return parsed, nil
}

// findIssuer returns the issuer that the token names, with its algorithm if
// there are several of that name.
func (c *config) findIssuer(t *Token, padded bool) (*issuer, *Error) {
	candidates := c.issuers[t.Issuer]
	if c.anyIssuer != nil {
		candidates = []*issuer{c.anyIssuer}
	}
	if len(candidates) == 0 {
		return nil, refuse(ReasonIssuer, invalid("unknown issuer "+jws.Quote(t.Issuer), jwt.ErrTokenInvalidIssuer))
	}
	for _, iss := range candidates {
		if iss.methods[t.Algorithm] == nil {
			continue
		}
		if padded && !iss.padding {
			return nil, refuse(ReasonMalformed, malformed("padded segments, which Issuer.PaddedSegments would accept"))
		}
		return iss, nil
	}
	return nil, refuse(ReasonAlgorithm, &cause{
		fmt.Sprintf("algorithm %s is not accepted from issuer %s", jws.Quote(t.Algorithm), jws.Quote(t.Issuer)), []error{jwt.ErrTokenUnverifiable},
	})
}

// check applies the rules that need no key: type, audience, client, times.
func (iss *issuer) check(t *Token, leeway time.Duration) *Error {
	if !iss.acceptsType(t.Type) {
		return refuse(ReasonType, &cause{fmt.Sprintf("type %s is not among %q", jws.Quote(t.Type), iss.types), []error{jwt.ErrTokenUnverifiable}})
	}
	if iss.audience != nil && !slices.ContainsFunc(t.Audience, func(aud string) bool { return slices.Contains(iss.audience, aud) }) {
		return refuse(ReasonAudience, invalid(
			fmt.Sprintf("audience %s does not include %s", quoteList(t.Audience), quoteList(iss.audience)), jwt.ErrTokenInvalidAudience))
	}
	if iss.clients != nil && !slices.Contains(iss.clients, t.ClientID) {
		return refuse(ReasonAudience, invalid(
			fmt.Sprintf("client %s is not among %s", jws.Quote(t.ClientID), quoteList(iss.clients)), jwt.ErrTokenInvalidAudience))
	}
	return iss.checkTimes(t, leeway)
}

// quoteList quotes unverified values for logs.
func quoteList(list []string) string { return jws.Quote(strings.Join(list, " ")) }

// acceptsType checks "typ" (RFC 7519 §5.1, RFC 8725 §3.11).
func (iss *issuer) acceptsType(typ string) bool {
	typ = cutApplication(typ)
	return slices.ContainsFunc(iss.types, func(accepted string) bool {
		// With equal lengths no letter outside ASCII folds into one of ASCII.
		return len(typ) == len(accepted) && strings.EqualFold(typ, accepted)
	})
}

// checkTimes applies RFC 7519 §4.1.4 to §4.1.6. A token expires when "exp" is
// reached, not after it.
func (iss *issuer) checkTimes(t *Token, leeway time.Duration) *Error {
	now := time.Now()
	off := func(format string, d time.Duration, is ...error) error {
		return invalid(fmt.Sprintf(format, d.Round(time.Millisecond), leeway), is...)
	}
	switch latest := now.Add(leeway); {
	case t.ExpiresAt.IsZero() && !iss.noExpiry:
		return refuse(ReasonMalformed, &cause{`"exp" is missing`, []error{jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenMalformed}})
	case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now.Add(-leeway)):
		return refuse(ReasonExpired, off("expired %v ago, leeway %v", now.Sub(t.ExpiresAt), jwt.ErrTokenExpired))
	case t.NotBefore.After(latest):
		return refuse(ReasonNotYetValid, off(`"nbf" is %v in the future, leeway %v`, t.NotBefore.Sub(now), jwt.ErrTokenNotValidYet))
	case t.IssuedAt.After(latest):
		return refuse(ReasonNotYetValid, off(`"iat" is %v in the future, leeway %v`, t.IssuedAt.Sub(now), jwt.ErrTokenUsedBeforeIssued))
	case iss.maxTokenAge > 0 && t.IssuedAt.IsZero():
		return refuse(ReasonTooOld, invalid(`"iat" is missing, and MaxTokenAge is set`, jwt.ErrTokenRequiredClaimMissing))
	case iss.maxTokenAge > 0 && now.Sub(t.IssuedAt) > iss.maxTokenAge:
		return refuse(ReasonTooOld, invalid(fmt.Sprintf("issued %v ago, MaxTokenAge %v", now.Sub(t.IssuedAt).Round(time.Second), iss.maxTokenAge)))
	}
	return nil
}

// findKey returns the key that verifies the signature.
func (v *verified) findKey(ctx context.Context, parsed *jws.Token) (jwt.VerificationKey, *Error) {
	list, err := v.issuer.keys.find(ctx, v)
	if err != nil {
		return nil, refuseKeys(ctx, v.token.KeyID, err)
	}
	method := v.issuer.methods[v.token.Algorithm]
	verifies := func(key jwt.VerificationKey) bool {
		return method.Verify(parsed.Signed, parsed.Signature, key) == nil
	}
	if i := slices.IndexFunc(list, verifies); i >= 0 {
		return list[i], nil
	}
	if refetch := v.issuer.keys.refetch; refetch != nil { // the "kid" may have got another key
		list = refetch(ctx, v)
		if i := slices.IndexFunc(list, verifies); i >= 0 {
			return list[i], nil
		}
	}
	return nil, refuse(ReasonSignature, &cause{"no key of the issuer verifies the signature", []error{jwt.ErrTokenSignatureInvalid}})
}

// remember puts a verified token into the cache.
func (c *config) remember(v *verified) {
	if c.cache == nil {
		return
	}
	// The strings of the request may be part of much larger ones.
	raw := strings.Clone(v.token.Raw())
	v.token.raw = &raw
	if v.issuer.keys.mutable {
		v.key = jwk.Copy(v.key) // a change of it must be noticed
	}
	c.cache.Put(raw, v)
}

// recall returns a token of the cache that is still good. It returns nil and no
// Error if the token has to be verified.
func (c *config) recall(ctx context.Context, raw string) (*verified, *Error) {
	if c.cache == nil {
		return nil, nil
	}
	v, ok := c.cache.Get(raw)
	if !ok {
		return nil, nil
	}
	if e := v.issuer.checkTimes(v.token, c.leeway); e != nil {
		c.cache.Remove(raw)
		return nil, e
	}
	list, err := v.issuer.keys.find(ctx, v)
	if err != nil {
		return nil, refuseKeys(ctx, v.token.KeyID, err)
	}
	if slices.ContainsFunc(list, func(key jwt.VerificationKey) bool { return jwk.Equal(key, v.key) }) {
		return v, nil
	}
	return nil, nil
}
