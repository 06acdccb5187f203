package jwthttp

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/claims"
	"github.com/seed450a7203/jwthttp/internal/rawquery"
	"github.com/seed450a7203/jwthttp/internal/statuswriter"
)

// Middleware authenticates requests. [New] returns one; Optional,
// AllowAnonymous and the Require methods derive others from it. A Middleware is
// immutable and safe for concurrent use. The zero value is not usable.
//
// If an outer Handler from the same [New] call has verified the token, Handler
// does not verify it again. It checks its own requirements, the token's times,
// the context, and the origin if the method has changed. A request with another
// credential, such as a part of a batch, is verified as usual.
type Middleware struct {
	config       *config
	requirements requirements
}

// New returns a Middleware for tokens whose claims decode into a T as
// [encoding/json] does: a struct, a map such as jwt.MapClaims, a pointer to
// one, or a type with UnmarshalJSON. If T or *T has a method Validate() error,
// it is called for each request with a token, and its error is a 401.
//
// If opts is invalid, the returned error describes every problem, naming the
// field and its value.
func New[T any](opts Options) (*Middleware, error) {
	c, optsErr := newConfig(opts)
	claimsType, typeErr := claims.TypeFor[T]()
	if err := errors.Join(optsErr, typeErr); err != nil {
		return nil, err
	}
	c.claims, c.claimsKey = claimsType, claimsKey[T]{}
	return &Middleware{config: c}, nil
}

// Handler returns a handler that calls next for admitted requests, with the
// claims in their context. All others get an error response. It panics if next
// is nil.
//
// CORS middleware goes outside of it, because a preflight request has no token.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	must(next != nil, "Handler: nil handler")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := m.decide(r)
		if d.queryToken {
			protectQueryToken(w.Header())
		}
		if d.newNonce != "" {
			w.Header()["Dpop-Nonce"] = []string{d.newNonce}
		}
		if d.err != nil {
			m.answer(w, d.request, d.err)
			return
		}
		next.ServeHTTP(w, d.request)
	})
}

// Authenticate checks r without writing a response, for frameworks with another
// type of handler. It returns the admitted request, with the claims in its
// context and without a query token, or an [*Error] for [WriteError].
//
// If r has a query token, the response needs Cache-Control: private and
// Referrer-Policy: no-referrer, which Handler sets. Handler also sends the newest
// DPoP nonce with admitted requests.
func (m *Middleware) Authenticate(r *http.Request) (*http.Request, error) {
	d := m.decide(r)
	if d.err != nil { // a nil *Error is not a nil error
		return nil, d.err
	}
	return d.request, nil
}

// Verify checks a token that came without a request, such as the first message
// of a WebSocket. It returns a copy of ctx with the claims and the Token, on
// which [Middleware.Watch] works, or an [*Error]. An empty token counts as
// missing. There is no cross-origin check. A token that is bound to a key ("cnf")
// is rejected, because only a request can prove the binding.
//
// A Middleware with Require rules refuses every token with
// [ReasonMisconfigured], because rules need a request.
func (m *Middleware) Verify(ctx context.Context, token string) (context.Context, error) {
	d := decision{start: time.Now(), missing: ErrNoToken}
	switch {
	case len(m.requirements.rules) > 0:
		d.err = refuse(ReasonMisconfigured, errors.New("Verify: Require rules need a request"))
	case token != "":
		d.admission, d.err = m.config.admit(ctx, Credential{Token: token}, &possession{})
	}
	m.authorize(ctx, &d)
	m.conclude(ctx, &d)
	if d.err != nil {
		return nil, d.err
	}
	return d.admission, nil
}

// decision is the outcome for one request or token.
type decision struct {
	start      time.Time
	request    *http.Request // without a query token, and with the claims if admitted; nil: Verify
	queryToken bool          // the URL had one
	admission  *admission    // nil: no credential yet, or an invalid one
	nested     bool          // an outer Handler made the admission
	scheme     string        // of the credential; "": none
	newNonce   string        // for the client (RFC 9449 §8.2)
	missing    error         // why there is no token
	ignored    *Error        // of an invalid token that AllowAnonymous admits as none
	err        *Error
}

// decide takes the steps of the package comment.
func (m *Middleware) decide(r *http.Request) decision {
	d := decision{request: r}
	if m.config.opts.Observer != nil {
		d.start = time.Now()
	}
	m.authenticate(&d)
	m.authorize(r.Context(), &d)
	if d.err != nil || m.config.opts.Observer != nil {
		m.conclude(r.Context(), &d)
	}
	return d
}

// authenticate finds and verifies the credential, unless an outer Handler has
// done so.
func (m *Middleware) authenticate(d *decision) {
	c := m.config
	found, err := extract(c.opts.Extractor, d.request)
	if found.Source == SourceQuery || found.alsoQuery != nil {
		clean := rawquery.Request(d.request, found.params())
		d.request, d.queryToken = clean, clean != d.request
	}
	ctx := d.request.Context()
	if outer, ok := ctx.Value(c).(*admission); ok && outer.includes(ctx, found, err) {
		d.admission, d.nested, d.missing, d.scheme = outer, true, ErrNoToken, outer.token.scheme()
		d.err = c.recheck(d.request, outer)
		return
	}
	d.scheme = found.Scheme
	switch {
	case isNoToken(err):
		d.missing, d.scheme = err, ""
	case errors.Is(err, ErrMultipleTokens) && !isOwn(err):
		d.err = refuse(ReasonMultiple, err)
	case err != nil:
		d.err = refuseCredential(err).orOwn(err)
	default:
		if d.err = c.checkOrigin(d.request, found.Source); d.err == nil {
			d.admission, d.err = c.admitFrom(d, found)
		}
	}
}

// admitFrom checks everything about a credential but the requirements. A DPoP field
// counts only under the scheme DPoP.
func (c *config) admitFrom(d *decision, found Credential) (*admission, *Error) {
	p := possession{request: d.request}
	if strings.EqualFold(found.Scheme, schemeDPoP) {
		var e *Error
		if p.proof, e = c.readProof(d.request); e != nil {
			return nil, e
		}
	}
	a, e := c.admit(d.request.Context(), found, &p)
	d.newNonce = p.newNonce
	return a, e
}

// includes reports whether a request inside an outer Handler of the same New is
// part of the admission there. It is not if it has another credential, or if it
// is a request to another server.
func (a *admission) includes(ctx context.Context, found Credential, err error) bool {
	if a.Context.Value(http.ServerContextKey) != ctx.Value(http.ServerContextKey) {
		return false
	}
	return isNoToken(err) || err == nil && a.token != nil && found.Token == a.token.Raw()
}

// recheck checks what may have changed since an outer Handler admitted a
// request: the end of its context, the token's times, and the method.
func (c *config) recheck(r *http.Request, a *admission) *Error {
	if r.Context().Err() != nil {
		err := context.Cause(r.Context()) // an *Error if Watch ended it
		return refuse(ReasonCanceled, err).orOwn(err).about(a.token)
	}
	if a.token == nil {
		return nil
	}
	if e := a.verified.issuer.checkTimes(a.token, time.Now(), c.opts.Leeway); e != nil {
		return e.about(a.token)
	}
	if a.request == nil || r.Method != a.request.Method || isUpgrade(r) != isUpgrade(a.request) {
		return c.checkOrigin(r, a.token.Source)
	}
	return nil
}

// conclude completes a refusal, and reports the decision.
func (m *Middleware) conclude(ctx context.Context, d *decision) {
	if d.err != nil {
		m.config.challenge(d.err, d.scheme)
	}
	if m.config.opts.Observer == nil {
		return
	}
	event := Event{Request: d.request, Err: d.err, Admitted: d.err == nil, Nested: d.nested, Took: time.Since(d.start)}
	if event.Err == nil {
		event.Err = d.ignored
	}
	if event.Err != nil {
		event.Token, event.Cached = event.Err.token.clone(), event.Err.cached
	}
	if a := d.admission; a != nil && a.token != nil {
		event.Token = a.token.clone()
		event.Cached = a.cached && !d.nested
		event.Unchecked = a.unchecked && event.Admitted
	}
	if d.request != nil {
		ctx = d.request.Context()
	}
	m.config.opts.Observer(ctx, event)
}

// answer writes a refusal.
func (m *Middleware) answer(w http.ResponseWriter, r *http.Request, e *Error) {
	if m.config.opts.ErrorHandler == nil || e.Reason == ReasonCanceled {
		e.write(w)
		return
	}
	e.writeHeader(w.Header(), false)
	refused := &statuswriter.Writer{ResponseWriter: w, Status: e.Status}
	m.config.opts.ErrorHandler(refused, r, e)
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
