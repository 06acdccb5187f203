package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/statuswriter"
)

// Middleware authenticates requests. [New] returns one; Optional, AllowAnonymous,
// RequireScopes, RequireAnyScope, RequireACR, RequireAuthAge and Require derive
// others from it. A Middleware is immutable and safe for concurrent use. The zero
// value is not usable.
//
// If an outer Handler from the same [New] call has verified the token, Handler
// does not verify it again; it checks only its own requirements, the token's
// times and the end of the context. So a site-wide Handler and stricter ones on
// routes cost one verification. A request of a handler to itself, such as a part
// of a batch, is verified again if it has a credential that differs.
type Middleware struct {
	config       *config
	requirements requirements
}

// New returns a Middleware for tokens whose claims decode into a T as
// encoding/json does: a struct, a map such as jwt.MapClaims, a pointer to one, or
// a type with UnmarshalJSON. If T or *T has a method Validate() error, it is
// called for each request, and its error is a 401.
//
// If opts is invalid, the returned error describes every problem, naming the
// field and its value.
func New[T any](opts Options) (*Middleware, error) {
	c, err := newConfig(opts)
	if t := reflect.TypeFor[T](); !decodesObject(t) {
		err = errors.Join(err, fmt.Errorf("jwthttp: T: %q: a JSON object does not decode into it", t))
	}
	if err != nil {
		return nil, err
	}
	c.claims = newClaimsType[T]()
	return &Middleware{config: c}, nil
}

// Handler returns a handler that calls next for admitted requests, with the
// claims in their context ([MustClaims], [TokenFromContext]), and answers all
// others. It panics if next is nil.
//
// CORS middleware goes outside of it, because a preflight request has no token.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("jwthttp: Handler: nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := m.decide(r)
		if d.queryToken {
			protectQueryToken(w.Header())
		}
		if d.err != nil {
			m.answer(w, d.request, d.err)
			return
		}
		next.ServeHTTP(w, d.request)
	})
}

// Authenticate decides about r without answering it, for frameworks with handlers
// of another type. It returns the admitted request, which has the claims in its
// context and no query token. Otherwise it returns nil and an [*Error], which
// [WriteError] answers.
//
// The response to a request with a query token needs the header fields
// Cache-Control: private and Referrer-Policy: no-referrer, which Handler sets.
func (m *Middleware) Authenticate(r *http.Request) (*http.Request, error) {
	d := m.decide(r)
	if d.err != nil { // a nil *Error is not a nil error
		return nil, d.err
	}
	return d.request, nil
}

// Verify decides about a token that came without a request, such as the first
// message of a WebSocket or an entry of a queue. The returned context has the
// claims, the Token and everything in ctx, and [Middleware.Watch] works on it.
// Otherwise Verify returns nil and an [*Error]. An empty token is a missing one.
//
// There is no cross-origin check. A Middleware with Require rules refuses every
// token with [ReasonMisconfigured], because rules need a request.
func (m *Middleware) Verify(ctx context.Context, token string) (context.Context, error) {
	d := decision{start: time.Now(), cause: ErrNoToken}
	switch {
	case len(m.requirements.rules) > 0:
		d.err = refuse(ReasonMisconfigured, errors.New("Verify: Require rules need a request"))
	case token == "":
		d.admission = &admission{Context: ctx, config: m.config}
	default:
		d.admission, d.err = m.config.admit(ctx, Credential{Token: token})
	}
	m.authorize(ctx, &d)
	if d.err != nil {
		return nil, d.err
	}
	d.admission.server = ctx.Value(http.ServerContextKey)
	return d.admission, nil
}

// decision is the outcome for one request or token.
type decision struct {
	start      time.Time
	request    *http.Request // without a query token, and with the claims if admitted; nil: Verify
	queryToken bool          // the URL had one
	admission  *admission    // nil if the credential is invalid
	nested     bool          // an outer Handler made the admission
	cause      error         // why there is no token
	ignored    *Error        // of an invalid token that AllowAnonymous admits as none
	err        *Error
}

// decide takes the steps of the package comment.
func (m *Middleware) decide(r *http.Request) decision {
	d := decision{request: r}
	if m.config.observer != nil {
		d.start = time.Now()
	}
	m.authenticate(&d)
	m.authorize(r.Context(), &d)
	return d
}

// authenticate finds and verifies the credential, unless an outer Handler has
// done so.
func (m *Middleware) authenticate(d *decision) {
	c := m.config
	found, err := extract(c.extractor, d.request)
	if clean := withoutParams(d.request, found.params()); clean != d.request {
		d.request, d.queryToken = clean, true
	}
	if d.admission = c.outerAdmission(d.request, found, err); d.admission != nil {
		d.nested, d.cause = true, ErrNoToken
		d.err = c.recheck(d.request, d.admission)
		return
	}
	switch {
	case errors.Is(err, ErrNoToken):
		d.cause = err
		d.admission = &admission{Context: d.request.Context(), config: c}
	case errors.Is(err, ErrMultipleTokens):
		d.err = refuse(ReasonMultiple, err)
	case err != nil:
		d.err = refuseCredential(err).orOwn(err)
	default:
		if d.err = c.checkOrigin(d.request, found.Source); d.err == nil {
			d.admission, d.err = c.admit(d.request.Context(), found)
		}
	}
}

// admit checks everything about a token that does not depend on the request.
func (c *config) admit(ctx context.Context, found Credential) (*admission, *Error) {
	v, e := c.recall(ctx, found.Token)
	cached := v != nil
	if v == nil && e == nil {
		v, e = c.verify(ctx, found)
	}
	if mayViolate := e == nil && c.padding || e != nil && e.Reason == ReasonMalformed; mayViolate && found.violatesSyntax() {
		return nil, refuseCredential(errSyntax)
	}
	if e != nil {
		return nil, e
	}
	a := &admission{Context: ctx, config: c, verified: v, token: v.token.from(found.Source), cached: cached}
	var err error
	a.claims, err = c.claims.own(v, c.cache != nil)
	if err == nil && c.claims.validate != nil {
		err = c.claims.validate(a.claims)
	}
	if err != nil {
		return nil, refuse(ReasonClaims, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err)).about(a.token)
	}
	if a.unchecked, e = c.checkRevoked(ctx, a.token); e != nil {
		return nil, e.about(a.token)
	}
	return a, nil
}

// checkOrigin protects tokens that browsers send automatically against CSRF.
func (c *config) checkOrigin(r *http.Request, source Source) *Error {
	if source == SourceHeader || source == SourceQuery {
		return nil
	}
	if isUpgrade(r) {
		// A GET that opens a channel for writes, and that the same-origin policy
		// does not cover.
		upgrade := *r
		upgrade.Method = http.MethodPost
		r = &upgrade
	}
	if err := c.crossOrigin.Check(r); err != nil {
		return refuse(ReasonCrossOrigin, err)
	}
	return nil
}

func isUpgrade(r *http.Request) bool { return len(r.Header["Upgrade"]) > 0 }

// authorize applies the requirements of m to an authenticated request, and
// completes the decision.
func (m *Middleware) authorize(ctx context.Context, d *decision) {
	if d.err != nil && m.requirements.badTokens && !m.requirements.needToken() {
		d.ignored, d.err = d.err, nil
		d.admission, d.nested = &admission{Context: ctx, config: m.config}, false
	}
	if d.err == nil {
		d.err = m.requirements.check(d.admission.token, d.cause, m.config.leeway)
	}
	admitted := d.request
	if d.err == nil && d.request != nil {
		admitted = d.admission.enter(d.request, d.nested)
		if d.err = m.requirements.askRules(admitted); d.err != nil {
			d.err.token = d.admission.token
		}
	}
	if d.err != nil {
		d.err.setChallenge(m.config.realm, m.config.metadataURL)
	} else {
		d.request = admitted
	}
	if m.config.observer != nil {
		m.observe(ctx, d)
	}
}

// observe reports a decision.
func (m *Middleware) observe(ctx context.Context, d *decision) {
	event := Event{Request: d.request, Err: d.err, Admitted: d.err == nil, Nested: d.nested, Took: time.Since(d.start)}
	if event.Err == nil {
		event.Err = d.ignored
	}
	switch {
	case event.Err != nil:
		event.Token = event.Err.token.clone()
	case d.admission.token != nil:
		event.Token = d.admission.token.clone()
		event.Cached = d.admission.cached && !d.nested
		event.Unchecked = d.admission.unchecked
	}
	if d.request != nil {
		ctx = d.request.Context()
	}
	m.config.observer(ctx, event)
}

// answer writes a refusal.
func (m *Middleware) answer(w http.ResponseWriter, r *http.Request, e *Error) {
	if m.config.errorHandler == nil || e.Reason == ReasonCanceled {
		WriteError(w, e)
		return
	}
	e.writeHeader(w.Header())
	refused := &statuswriter.Writer{ResponseWriter: w, Status: e.Status}
	m.config.errorHandler(refused, r, e)
	refused.WriteStatus()
}

// protectQueryToken keeps the response to a URL with a token out of shared
// caches, and the URL out of Referer fields (RFC 6750 §2.3, §5.3). The handler
// may set other values.
func protectQueryToken(h http.Header) {
	if before := h.Get("Cache-Control"); !strings.Contains(before, "no-store") && !strings.Contains(before, "private") {
		h.Set("Cache-Control", "private")
	}
	h.Set("Referrer-Policy", "no-referrer")
}
