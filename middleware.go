// Package jwthttp authenticates net/http requests that carry a JSON Web Token
// (RFC 7519, RFC 6750), and puts typed claims into their context.
//
// [New] compiles [Options] once into a [Middleware]. Its Handler wraps any
// [http.Handler] and goes with any router; Authenticate decides without
// answering, for frameworks with handlers of their own. Each request passes the
// same stations:
//
//	extract -> verify -> revocation -> rules -> context -> next
//	Extractor  Issuer    Revoked       Require  ClaimsFromContext
//
// # Where the token is, and who signed it
//
// An [Extractor] says where the token is: a header field, a cookie, a query
// parameter, a WebSocket subprotocol or a place of your own. An [Issuer] says
// which tokens are believed: exact issuer, audience, algorithms and keys, none
// of which has a default. Keys are static, a [KeySet], a [JWKS] over HTTP, or
// whatever a [KeySource] finds.
//
// # What a route asks for
//
// RequireScopes, RequireAnyScope, RequireAuthentication and Require derive
// stricter middlewares for groups and routes, Optional a milder one for pages
// that visitors may see. A Handler inside another one of the same [New] does
// not verify again.
//
// # What a refused client gets
//
// A status, a challenge and a JSON body that say no more than they must;
// [Event] and [Error] say the rest to logs and metrics, by a closed set of
// [Reason]s. [ResourceMetadata] tells clients who issues tokens for the resource.
//
// # Taking a token back
//
// Options.Revoked may end a token early, and a revocation.List is the simplest
// such hook. The modules redisrevocation and sqlrevocation keep what it would
// lose at a restart. Middleware.Watch ends a stream with its token.
//
// # What may surprise
//
//   - The cheap judgements come before the signature, so a refusal as expired
//     (or for its issuer, audience, type) says nothing about who signed.
//   - [ClaimsFromContext] looks for the very type: after New[C],
//     ClaimsFromContext[*C] finds nothing.
//   - Around an [http.ServeMux] or another router, rules run before routing
//     and see empty path values. A rule that compares the path with the claims
//     goes on the route.
//   - Optional never admits a bad token. A page for everyone answers 401 to a
//     visitor whose cookie has expired, unless an ErrorHandler clears it.
//   - "iat" is mostly in whole seconds, so logging in within the second of
//     "sign out everywhere" gives a token that is revoked already; see
//     [Revocation].IssuedUntil.
//   - A token from a cookie is guarded against cross-site requests, and a
//     WebSocket upgrade counts as one that changes things.
//   - Handlers that stream outlive the token, unless they go by the context
//     that [Middleware.Watch] returns.
//
// Where two readings of a standard are possible, the stricter one holds: a
// claim is never null, names that differ by case only do not stand beside each
// other, a cookie that occurs twice is refused even if one of them is empty,
// and MaxAge knows no leeway. Only "acr", "amr" and "auth_time" of the wrong type
// count as missing, and so suffice for no RequireAuthentication.
package jwthttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Middleware authenticates requests. [New] makes one; Optional, RequireScopes,
// RequireAnyScope, RequireAuthentication and Require derive others that share
// its configuration: a family. A Middleware never changes and is safe for
// concurrent use. Its zero value is of no use.
//
// A Handler inside another one of its family authenticates no second time: it
// judges its own requirements on the token that the outer one verified. So a
// site-wide Handler and stricter ones on groups and routes go together at no
// extra cost. What it goes by is the request's context: a handler that makes
// requests of its own (a batch endpoint) with the context of an authenticated
// one must mean them to be that client's.
type Middleware struct {
	family   *family
	optional bool
	scopes   []scopeRule
	level    AuthenticationLevel
	rules    []func(*http.Request) error

	needed         []string // all scopes that scopes mention, in their order
	missing        Error    // the refusal of a request without a token
	scopeChallenge string
}

// scopeRule asks for all of its scopes, or for any of them.
type scopeRule struct {
	scopes []string
	any    bool
}

// New returns a Middleware for tokens whose claims decode into a T, with
// encoding/json: a struct, a map such as jwt.MapClaims, a pointer to one, or a
// type with UnmarshalJSON. If
// T or *T has a method Validate() error, it is called on each request's claims,
// and its error is a 401.
//
// If something is wrong with the options, New reports all of it at once, each
// with field, value and reason.
func New[T any](opts Options) (*Middleware, error) {
	f, err := newFamily(opts)
	if !decodesObject(reflect.TypeFor[T]()) {
		err = errors.Join(err, fmt.Errorf("jwthttp: T: %q: a JSON object does not decode into it", reflect.TypeFor[T]()))
	}
	if err != nil {
		return nil, err
	}
	f.claims = newClaimsType[T]()
	return (&Middleware{family: f}).withChallenges(), nil
}

// withChallenges completes a Middleware of new requirements.
func (m *Middleware) withChallenges() *Middleware {
	m.needed = nil
	for _, rule := range m.scopes {
		for _, scope := range rule.scopes {
			if !slices.Contains(m.needed, scope) {
				m.needed = append(m.needed, scope)
			}
		}
	}
	build := func(e *Error) string {
		e.Scopes = m.needed
		return e.buildChallenge(m.family.realm, m.family.metadataURL)
	}
	m.scopeChallenge = build(refuse(ReasonScope, nil))
	m.missing = *refuse(ReasonMissing, ErrNoToken)
	m.missing.challenge = build(refuse(ReasonMissing, nil))
	return m
}

// Optional returns a Middleware that also admits a request without a token,
// unless it has requirements, each of which needs one. It never admits a bad
// token: a page that should show a login link to a visitor with an expired
// cookie must clear the cookie in an ErrorHandler (see the package's examples).
func (m *Middleware) Optional() *Middleware {
	d := *m
	d.optional = true
	return &d
}

// RequireScopes returns a Middleware that also needs a token with all of the
// given scopes. It panics without scopes, and for text that RFC 6749 §3.3 does
// not allow in a scope.
func (m *Middleware) RequireScopes(all ...string) *Middleware {
	return m.requireScopes("RequireScopes", scopeRule{scopes: slices.Clone(all)})
}

// RequireAnyScope returns a Middleware that also needs a token with at least
// one of the given scopes. It panics as RequireScopes does.
func (m *Middleware) RequireAnyScope(anyOf ...string) *Middleware {
	return m.requireScopes("RequireAnyScope", scopeRule{scopes: slices.Clone(anyOf), any: true})
}

func (m *Middleware) requireScopes(name string, rule scopeRule) *Middleware {
	if len(rule.scopes) == 0 {
		panic("jwthttp: " + name + " without a scope")
	}
	for _, scope := range rule.scopes {
		if notScopeToken(scope) {
			panic(fmt.Sprintf("jwthttp: %s: %q is not one scope", name, scope))
		}
	}
	d := *m
	d.scopes = append(slices.Clip(m.scopes), rule)
	return d.withChallenges()
}

// Require returns a Middleware that also asks rule, after all scopes, about
// each request with a token. The rule finds the claims in the request's
// context. Its error refuses the request: with 403, or if it is an [*Error],
// as that says. Rules run in the order in which they were added.
//
// Around an [http.ServeMux], a rule runs before routing and sees empty path
// values, as it does around most routers; put the Handler on the route for a
// rule that needs them. Let the rule ask the router for the parameter: one that
// it takes from the URL itself may be another than the handler gets. Require
// panics if rule is nil.
func (m *Middleware) Require(rule func(*http.Request) error) *Middleware {
	if rule == nil {
		panic("jwthttp: Require of a nil rule")
	}
	d := *m
	d.rules = append(slices.Clip(m.rules), rule)
	return &d
}

// Handler returns a handler that calls next for requests that are admitted,
// with their claims in the context ([ClaimsFromContext], [TokenFromContext]),
// and answers all others itself. It panics if next is nil.
//
// CORS goes outside of it: a preflight request carries no token.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("jwthttp: Handler of a nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, a, e := m.decide(r)
		if e != nil {
			m.answer(w, r, e)
			return
		}
		if a.token != nil && a.token.Source == SourceQuery {
			protectQueryToken(w.Header())
		}
		next.ServeHTTP(w, r)
	})
}

// Authenticate decides about r without answering it. If it admits r, it returns
// it with the claims in its context. Otherwise the error is an [*Error], for
// [WriteError] or a framework's own way of answering.
//
// Use the returned request in both cases: a query token is gone from it. The
// response to a request that a query token admitted should have what Handler
// would set: Cache-Control private and Referrer-Policy no-referrer. Where there
// is an [http.ResponseWriter], a Handler around a handler that notes the
// request does that too, and answers with Options.ErrorHandler; the adapter for
// gin in the module examples is made that way.
func (m *Middleware) Authenticate(r *http.Request) (*http.Request, error) {
	r, _, e := m.decide(r)
	if e != nil { // not returned as it is: a nil *Error is no nil error
		return r, e
	}
	return r, nil
}

// decide authenticates r unless a Handler of the family has done so, applies
// m's requirements, and tells the Observer.
func (m *Middleware) decide(r *http.Request) (*http.Request, *authentication, *Error) {
	var start time.Time
	if m.family.observer != nil {
		start = time.Now()
	}
	var e *Error
	a, nested := r.Context().Value(m.family).(*authentication)
	if !nested {
		r, a, e = m.family.authenticate(r)
	} else if a.token != nil {
		e = m.family.guard(r, a.token.Source) // the method may be another by now
	}
	if e == nil {
		e = m.judge(a)
	}
	admitted := r
	if e == nil {
		admitted = a.enter(r, nested)
		e = m.askRules(admitted)
	}
	if e != nil {
		m.setChallenge(e)
		admitted = r // without the claims: they are for who is let in
	}
	if m.family.observer != nil {
		m.family.observer(admitted, Event{
			Token:     a.token.clone(),
			Err:       e,
			Cached:    a.cached && !nested,
			Unchecked: e == nil && a.unchecked,
			Took:      time.Since(start),
		})
	}
	return admitted, a, e
}

// authenticate finds and verifies the token of r. It returns r without a query
// token, and what is known of the token even if it is refused.
func (f *family) authenticate(r *http.Request) (*http.Request, *authentication, *Error) {
	c, err := find(f.extract, r)
	if errors.Is(err, ErrNoToken) {
		return r, f.nobody, nil
	}
	r = withoutParams(r, c.params())
	switch {
	case errors.Is(err, ErrMultipleTokens):
		return r, f.nobody, refuse(ReasonMultiple, err)
	case err != nil:
		return r, f.nobody, refuseCredential(err)
	}
	if e := f.guard(r, c.Source); e != nil {
		return r, f.nobody, e
	}
	a, e := f.admit(r.Context(), c)
	return r, a, e
}

// admit judges a token by all that does not depend on the request. It returns
// what is known of it, refused or not.
func (f *family) admit(ctx context.Context, c Credential) (*authentication, *Error) {
	v, cached, e := f.verify(ctx, c)
	if v == nil {
		return f.nobody, e
	}
	a := &authentication{
		Context: ctx, family: f, token: v.token.from(c.Source), cached: cached,
		claims: v.claims, mustCopy: v.shared && f.claims.copy != nil,
	}
	if e != nil {
		return a, e
	}
	if err := f.checkClaims(a, v); err != nil {
		return a, refuse(ReasonClaims, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err))
	}
	a.unchecked, e = f.checkRevoked(ctx, a.token)
	return a, e
}

// checkClaims asks the claims' Validate, on a copy of the request's own. It
// decodes claims that cannot be copied; what decodes them may have changed its
// mind since they were cached.
func (f *family) checkClaims(a *authentication, v *verified) (err error) {
	if a.cached && f.claims.decodeAgain {
		if a.claims, err = f.claims.decodeWhole(v.token.payload()); err != nil {
			return err
		}
	}
	if f.claims.validate != nil {
		return f.claims.validate(a.ownClaims())
	}
	return nil
}

// guard keeps other sites from using a token that the browser sends unasked.
func (f *family) guard(r *http.Request, source Source) *Error {
	if source == SourceHeader || source == SourceQuery {
		return nil
	}
	if len(r.Header["Upgrade"]) > 0 {
		// A GET, but one that opens a channel for changes in both directions,
		// without the same-origin policy.
		upgrade := *r
		upgrade.Method = http.MethodPost
		r = &upgrade
	}
	if err := f.crossOrigin.Check(r); err != nil {
		return refuse(ReasonCrossOrigin, err)
	}
	return nil
}

// judge applies m's own requirements to what its family has authenticated.
func (m *Middleware) judge(a *authentication) *Error {
	if a.token == nil {
		if m.optional && len(m.scopes) == 0 && len(m.rules) == 0 && m.level.isZero() {
			return nil
		}
		e := m.missing
		return &e
	}
	if err := m.level.judge(a.token, m.family.leeway); err != nil {
		e := refuse(ReasonAuthentication, err)
		e.Authentication = m.level.clone()
		// RFC 9470 §3: so that one new token may do for both.
		if !m.hasScopes(a.token) {
			e.Scopes = slices.Clone(m.needed)
		}
		return e
	}
	if !m.hasScopes(a.token) {
		return refuse(ReasonScope, fmt.Errorf("token has scopes %.200q, want %q", a.token.Scopes, m.needed))
	}
	return nil
}

func (m *Middleware) hasScopes(t *Token) bool {
	for _, rule := range m.scopes {
		if !rule.admits(t.Scopes) {
			return false
		}
	}
	return true
}

// askRules applies m's Require rules to an otherwise admitted request.
func (m *Middleware) askRules(r *http.Request) *Error {
	for _, rule := range m.rules {
		if err := rule(r); err != nil {
			return refusal(err)
		}
	}
	return nil
}

func (rule scopeRule) admits(granted []string) bool {
	for _, scope := range rule.scopes {
		if slices.Contains(granted, scope) == rule.any {
			return rule.any
		}
	}
	return !rule.any
}

// setChallenge completes a refusal with what this Middleware asks for.
func (m *Middleware) setChallenge(e *Error) {
	if e.challenge != "" || !e.challenged() {
		return // it is complete, or has none
	}
	switch {
	case e.Reason == ReasonScope && e.Scopes == nil:
		e.Scopes = slices.Clone(m.needed)
		e.challenge = m.scopeChallenge
	case e.Reason != ReasonScope && e.Reason != ReasonAuthentication && e.isPlain():
		e.challenge = m.family.challenges[e.answer.index]
	default:
		e.challenge = e.buildChallenge(m.family.realm, m.family.metadataURL)
	}
}

// answer writes a refusal.
func (m *Middleware) answer(w http.ResponseWriter, r *http.Request, e *Error) {
	if m.family.errorHandler == nil {
		WriteError(w, e)
		return
	}
	e.writeHeaders(w.Header(), false)
	refused := &refusedWriter{ResponseWriter: w, status: e.Status}
	m.family.errorHandler(refused, r, e)
	refused.writeStatus()
}

// refusedWriter gives a refusal its status if the ErrorHandler writes none.
type refusedWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *refusedWriter) writeStatus() {
	if !w.wrote {
		w.WriteHeader(w.status)
	}
}

func (w *refusedWriter) WriteHeader(status int) {
	w.wrote = w.wrote || status >= 200 || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *refusedWriter) Write(b []byte) (int, error) {
	w.writeStatus() // without it net/http would say 200
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController, which finds the other features
// of the ResponseWriter through Unwrap.
func (w *refusedWriter) FlushError() error {
	w.writeStatus()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is for ErrorHandlers that take the connection.
func (w *refusedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *refusedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// protectQueryToken keeps a response to a URL with a token out of shared
// caches, and the URL out of Referer fields (RFC 6750 §5.3). The handler may
// set its own.
func protectQueryToken(h http.Header) {
	// RFC 6750 §2.3. Whoever came before may have been stricter.
	if before := h.Get("Cache-Control"); !strings.Contains(before, "no-store") && !strings.Contains(before, "private") {
		h.Set("Cache-Control", "private")
	}
	h.Set("Referrer-Policy", "no-referrer")
}
