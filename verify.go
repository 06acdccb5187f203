package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/cause"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// verified is a token that is being verified, and afterwards its entry in the
// cache, which is immutable.
type verified struct {
	token    *Token
	hasKeyID bool
	tenantID string
	issuer   *issuer
	claims   any                 // a *claims.Box[T], before its Validate
	key      jwt.VerificationKey // that verified the signature
}

// admit checks everything about a token but the requirements. If p is nil, the
// client has shown before that it has the keys that the token is bound to.
func (c *config) admit(ctx context.Context, found Credential, p *possession) (*admission, *Error) {
	var v *verified
	var e *Error
	if c.cache != nil {
		v, e = c.recall(ctx, found.Token)
	}
	cached := v != nil
	if cached {
		e = c.prove(v.token, p)
	} else if e == nil {
		v, e = c.verify(ctx, found, p)
	}
	// Only padded segments can be a token that violates the syntax of its field.
	if (e == nil && v.issuer.PaddedSegments || e != nil && e.Reason == ReasonMalformed) && found.violatesSyntax() {
		return nil, refuseCredential(errSyntax)
	}
	if e != nil {
		e.cached = cached
		return nil, e
	}
	a := &admission{Context: ctx, config: c, verified: v, token: v.token, claims: v.claims, cached: cached}
	if v.token.Source != found.Source {
		elsewhere := *v.token
		elsewhere.Source = found.Source
		a.token = &elsewhere
	}
	var err error
	if c.cache != nil { // which shares the claims
		a.claims, err = c.claims.Own(v.claims, found.Token)
	}
	if err == nil {
		err = c.claims.Validate(a.claims)
	}
	if err != nil {
		e = refuse(ReasonClaims, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err))
	} else if c.opts.Revoked != nil || p != nil && p.proof != nil {
		a.unchecked, e = c.askHooks(ctx, a.token, p)
	}
	if e != nil {
		e.cached = cached
		return nil, e.about(a.token)
	}
	return a, nil
}

// verify checks a token that is not in the cache. All checks that are cheap come
// before the look-up of keys.
func (c *config) verify(ctx context.Context, found Credential, p *possession) (*verified, *Error) {
	parsed, e := c.parse(found.Token)
	if e != nil {
		return nil, e
	}
	var stack [32]strictjson.Value
	values := c.claims.Values(&stack)
	registered, err := jws.ParseClaims(parsed.Payload, c.claims.Names, values)
	if err != nil {
		return nil, refuse(ReasonMalformed, cause.Malformed("%v", err))
	}
	t := newToken(&parsed, registered, found.Source)
	iss, e := c.findIssuer(ctx, &t, parsed.Padded)
	if e == nil {
		e = iss.check(&t, c.opts.Leeway)
	}
	if e != nil {
		return nil, e
	}
	raw, own := found.Token, t // a refusal so far needs no memory for them
	own.raw = &raw
	v := &verified{token: &own, hasKeyID: parsed.HasKeyID, tenantID: registered.TenantID, issuer: iss}
	if v.key, e = v.findKey(ctx, &parsed); e != nil {
		return nil, e
	}
	if registered.Bound && registered.Confirmation == (jws.Confirmation{}) {
		return nil, refuse(ReasonBinding, cause.Invalid(nil, `"cnf" is invalid, or has a member that is not supported`)).about(v.token)
	}
	if e = c.prove(v.token, p); e != nil {
		return nil, e
	}
	if v.claims, err = c.claims.Decode(parsed.Payload, values); err != nil {
		return nil, refuse(ReasonClaims, cause.Invalid(err, "%v", err)).about(v.token)
	}
	if c.cache != nil {
		c.remember(v)
	}
	return v, nil
}

// newToken returns a Token without its compact form.
func newToken(t *jws.Token, c jws.Claims, source Source) Token {
	return Token{
		Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, SessionID: c.SessionID, ClientID: c.ClientID,
		Audience: c.Audience,
		IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, ExpiresAt: c.ExpiresAt,
		Scopes: c.Scopes, ACR: c.ACR, AMR: c.AMR, AuthTime: c.AuthTime,
		Algorithm: t.Algorithm, KeyID: t.KeyID, Type: t.Type,
		Source:        source,
		KeyThumbprint: c.Confirmation.KeyThumbprint, CertificateThumbprint: c.Confirmation.CertificateThumbprint,
	}
}

// about adds a verified token to a refusal, for the Observer.
func (e *Error) about(t *Token) *Error {
	e.token = t
	return e
}

// parse checks size, serialization, header and algorithm.
func (c *config) parse(raw string) (jws.Token, *Error) {
	if len(raw) > c.opts.MaxTokenSize {
		return jws.Token{}, refuse(ReasonTooLarge, cause.Malformed("token has %d bytes, Options.MaxTokenSize is %d", len(raw), c.opts.MaxTokenSize))
	}
	parsed, err := jws.Parse(raw, c.padding)
	if err != nil {
		return jws.Token{}, refuse(ReasonMalformed, cause.Malformed("%v", err))
	}
	if !c.algorithms[parsed.Algorithm] && (c.found == nil || jwk.Method(parsed.Algorithm) == nil) {
		return jws.Token{}, refuse(ReasonAlgorithm, cause.Unverifiable("algorithm %s is not accepted", jws.Quoted(parsed.Algorithm)))
	}
	return parsed, nil
}

// findIssuer returns the issuer that the token names, with its algorithm if
// there are several of that name.
func (c *config) findIssuer(ctx context.Context, t *Token, padded bool) (*issuer, *Error) {
	candidates := c.issuers[t.Issuer]
	switch {
	case c.anyIssuer != nil:
		candidates = []*issuer{c.anyIssuer}
	case len(candidates) == 0 && c.found != nil:
		iss, e := c.lookUpIssuer(ctx, t.Issuer, time.Now())
		if e != nil {
			return nil, e
		}
		if iss != nil {
			candidates = []*issuer{iss}
		}
	}
	if len(candidates) == 0 {
		return nil, refuse(ReasonIssuer, cause.Invalid(jwt.ErrTokenInvalidIssuer, "unknown issuer %s", jws.Quoted(t.Issuer)))
	}
	for _, iss := range candidates {
		if iss.methods[t.Algorithm] == nil {
			continue
		}
		if padded && !iss.PaddedSegments {
			return nil, refuse(ReasonMalformed, cause.Malformed("padded segments, and Issuer.PaddedSegments is not set"))
		}
		return iss, nil
	}
	return nil, refuse(ReasonAlgorithm, cause.Unverifiable("algorithm %s is not accepted from issuer %s", jws.Quoted(t.Algorithm), jws.Quoted(t.Issuer)))
}

// lookUpIssuer returns the issuer of FindIssuer for a name, or nil. The name is not
// verified yet.
func (c *config) lookUpIssuer(ctx context.Context, name string, now time.Time) (*issuer, *Error) {
	if name == "" || name == Any || len(name) > maxIssuerName {
		return nil, nil
	}
	iss, err := c.found.Get(ctx, name, now)
	switch {
	case err == nil:
		return iss, nil
	case errors.Is(ctx.Err(), context.Canceled): // the client hung up
		return nil, refuse(ReasonCanceled, err)
	}
	return nil, refuse(ReasonIssuersUnavailable, fmt.Errorf("issuer %s: %w", jws.Quoted(name), err))
}

// check applies the rules that need no key: type, audience, client, times.
func (iss *issuer) check(t *Token, leeway time.Duration) *Error {
	if !syntax.ContainsMediaType(iss.Types, t.Type) { // RFC 7519 §5.1, RFC 8725 §3.11
		return refuse(ReasonType, cause.Unverifiable("type %s is not among %s", jws.Quoted(t.Type), jws.QuotedList(iss.Types)))
	}
	if iss.Audience != nil && !slices.ContainsFunc(t.Audience, func(aud string) bool { return slices.Contains(iss.Audience, aud) }) {
		return refuse(ReasonAudience, cause.Invalid(jwt.ErrTokenInvalidAudience,
			"audience %s does not include %s", jws.QuotedList(t.Audience), jws.QuotedList(iss.Audience)))
	}
	if iss.Clients != nil && !slices.Contains(iss.Clients, t.ClientID) {
		return refuse(ReasonAudience, cause.Invalid(jwt.ErrTokenInvalidAudience,
			"client %s is not among %s", jws.Quoted(t.ClientID), jws.QuotedList(iss.Clients)))
	}
	return iss.checkTimes(t, time.Now(), leeway)
}

// checkTimes applies RFC 7519 §4.1.4 to §4.1.6. A token expires when "exp" is
// reached, not after it.
func (iss *issuer) checkTimes(t *Token, now time.Time, leeway time.Duration) *Error {
	switch latest := now.Add(leeway); {
	case t.ExpiresAt.IsZero() && !iss.NoExpiry:
		return refuse(ReasonMalformed, cause.Fixed(`"exp" is missing`, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenMalformed))
	case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now.Add(-leeway)):
		return refuse(ReasonExpired, cause.OutOfTime(jwt.ErrTokenExpired, "expired %v ago, leeway %v", now.Sub(t.ExpiresAt), leeway))
	case t.NotBefore.After(latest):
		return refuse(ReasonNotYetValid, cause.OutOfTime(jwt.ErrTokenNotValidYet, `"nbf" is %v in the future, leeway %v`, t.NotBefore.Sub(now), leeway))
	case t.IssuedAt.After(latest):
		return refuse(ReasonNotYetValid, cause.OutOfTime(jwt.ErrTokenUsedBeforeIssued, `"iat" is %v in the future, leeway %v`, t.IssuedAt.Sub(now), leeway))
	case iss.MaxTokenAge > 0 && t.IssuedAt.IsZero():
		return refuse(ReasonTooOld, cause.Invalid(jwt.ErrTokenRequiredClaimMissing, `"iat" is missing, and MaxTokenAge is set`))
	case iss.MaxTokenAge > 0 && now.Sub(t.IssuedAt) > iss.MaxTokenAge:
		return refuse(ReasonTooOld, cause.OutOfTime(nil, "issued %v ago, MaxTokenAge %v", now.Sub(t.IssuedAt), iss.MaxTokenAge))
	}
	return nil
}

// lookup returns what a source may know of a token that is not verified yet.
func (v *verified) lookup() keyset.Token {
	t := v.token
	return keyset.Token{
		Query: keyset.Query{KeyID: t.KeyID, HasKeyID: v.hasKeyID, Algorithm: t.Algorithm, Issuer: t.Issuer, TenantID: v.tenantID},
		Raw:   *t.raw, Subject: t.Subject, ID: t.ID, Audience: t.Audience,
		IssuedAt: t.IssuedAt, NotBefore: t.NotBefore, ExpiresAt: t.ExpiresAt,
	}
}

// findKey returns the key that verifies the signature.
func (v *verified) findKey(ctx context.Context, parsed *jws.Token) (jwt.VerificationKey, *Error) {
	list, err := v.issuer.keys.Find(ctx, v.lookup())
	if err != nil {
		return nil, refuseKeys(ctx, err)
	}
	method := v.issuer.methods[v.token.Algorithm]
	verifies := func(key jwt.VerificationKey) bool {
		return method.Verify(parsed.Signed, parsed.Signature, key) == nil
	}
	if i := slices.IndexFunc(list, verifies); i >= 0 {
		return list[i], nil
	}
	if refetch := v.issuer.keys.Refetch; refetch != nil { // the "kid" may have got another key
		if list, err = refetch(ctx, v.lookup().Query); err != nil {
			return nil, refuseKeys(ctx, err)
		}
		if i := slices.IndexFunc(list, verifies); i >= 0 {
			return list[i], nil
		}
	}
	return nil, refuse(ReasonSignature, cause.Fixed("no key of the issuer verifies the signature", jwt.ErrTokenSignatureInvalid))
}

// remember puts a verified token into the cache.
func (c *config) remember(v *verified) {
	// The strings of the request may be part of much larger ones.
	raw := strings.Clone(v.token.Raw())
	v.token.raw = &raw
	if v.issuer.keys.Mutable {
		v.key = jwk.Copy(v.key) // a change of it must be noticed
	}
	c.cache.Put(raw, v)
}

// recall returns a token of the cache that is still good. It returns nil and no
// Error if the token has to be verified.
func (c *config) recall(ctx context.Context, raw string) (*verified, *Error) {
	v, ok := c.cache.Get(raw)
	if !ok {
		return nil, nil
	}
	now := time.Now()
	if v.issuer.found { // it may have been dropped or changed
		if iss, e := c.lookUpIssuer(ctx, v.token.Issuer, now); e != nil || iss != v.issuer {
			return nil, e
		}
	}
	if e := v.issuer.checkTimes(v.token, now, c.opts.Leeway); e != nil {
		c.cache.Remove(raw)
		return nil, e
	}
	list, err := v.issuer.keys.Find(ctx, v.lookup())
	if err != nil {
		return nil, refuseKeys(ctx, err)
	}
	if slices.ContainsFunc(list, func(key jwt.VerificationKey) bool { return jwk.Equal(key, v.key) }) {
		return v, nil
	}
	return nil, nil
}
