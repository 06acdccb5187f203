package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// requirements are what a Middleware asks for beyond a good token.
type requirements struct {
	scopes    []scopeRequirement
	acr       []string      // nil: any
	maxAge    time.Duration // since auth_time; 0: any
	rules     []func(*http.Request) error
	visitors  bool // Optional: a missing token is admitted
	badTokens bool // AllowAnonymous: an invalid token counts as missing
}

// scopeRequirement asks for all of its scopes, or for any of them.
type scopeRequirement struct {
	scopes []string
	any    bool
}

// Optional returns a Middleware that also admits requests without a token,
// unless it also has a requirement, added before or after. An invalid token is
// rejected; see [Middleware.AllowAnonymous].
func (m *Middleware) Optional() *Middleware {
	d := *m
	d.requirements.visitors = true
	return &d
}

// AllowAnonymous returns a Middleware that admits every request, unless it also
// has a requirement, added before or after. It is for public pages whose visitors
// may have stale cookies. A token counts as missing if it is invalid, revoked,
// cannot be checked or came across origins. Event.Err says why.
//
// A cross-origin request with a cookie is admitted without claims. A handler
// that changes something needs its own CSRF protection.
func (m *Middleware) AllowAnonymous() *Middleware {
	d := *m
	d.requirements.visitors, d.requirements.badTokens = true, true
	return &d
}

// RequireScopes returns a Middleware that also requires all of the given
// scopes. Requirements add up. It panics without scopes, and for text that is
// not a scope (RFC 6749 §3.3).
func (m *Middleware) RequireScopes(all ...string) *Middleware {
	return m.requireScopes("RequireScopes", scopeRequirement{scopes: slices.Clone(all)})
}

// RequireAnyScope returns a Middleware that also requires at least one of the
// given scopes. It panics as RequireScopes does.
func (m *Middleware) RequireAnyScope(anyOf ...string) *Middleware {
	return m.requireScopes("RequireAnyScope", scopeRequirement{scopes: slices.Clone(anyOf), any: true})
}

func (m *Middleware) requireScopes(name string, required scopeRequirement) *Middleware {
	must(len(required.scopes) > 0, "%s: no scopes", name)
	for _, scope := range required.scopes {
		must(syntax.IsScope(scope), "%s: invalid scope %q", name, scope)
	}
	d := *m
	d.requirements.scopes = append(slices.Clip(m.requirements.scopes), required)
	return &d
}

// RequireACR returns a Middleware that also requires "acr" to be one of values.
// List the preferred value first. Other tokens are refused with 401
// insufficient_user_authentication, which asks the client for another
// authentication of the user (RFC 9470).
//
// After several calls, only the values in all of them are accepted. RequireACR
// panics without values, if no value remains, and for text that is not a scope
// (RFC 6749 §3.3).
func (m *Middleware) RequireACR(values ...string) *Middleware {
	must(len(values) > 0, "RequireACR: no values")
	for _, value := range values { // acr_values has the syntax of scope
		must(syntax.IsScope(value), "RequireACR: invalid value %q", value)
	}
	d := *m
	d.requirements.acr = slices.Clone(values)
	if before := m.requirements.acr; before != nil {
		d.requirements.acr = slices.DeleteFunc(slices.Clone(before), func(v string) bool { return !slices.Contains(values, v) })
		must(len(d.requirements.acr) > 0, "RequireACR: no value is in both %q and %q", before, values)
	}
	return &d
}

// RequireAuthAge returns a Middleware that also requires "auth_time" to be at
// most max ago. Other tokens are refused as by [Middleware.RequireACR]. After
// several calls, the shortest age holds. RequireAuthAge panics unless max is a
// positive number of whole seconds and at most 10 years.
func (m *Middleware) RequireAuthAge(max time.Duration) *Middleware {
	must(0 < max && max <= maxTokenAge && max%time.Second == 0, "RequireAuthAge: invalid age %v", max)
	d := *m
	if before := m.requirements.maxAge; before == 0 || max < before {
		d.requirements.maxAge = max
	}
	return &d
}

// Require returns a Middleware that also calls rule, after all other checks. A
// request without a token is refused. The request's context has the claims; see
// [Rule]. An error of rule is a 403, and an [*Error] is the response. Rules run
// in the order in which they were added. Around a router, they run before
// routing. Require panics if rule is nil.
func (m *Middleware) Require(rule func(*http.Request) error) *Middleware {
	must(rule != nil, "Require: nil rule")
	d := *m
	d.requirements.rules = append(slices.Clip(m.requirements.rules), rule)
	return &d
}

// Rule returns a rule for [Middleware.Require] that gets the claims. If the
// claims of the request are not a T, the response is a 500 with
// [ReasonMisconfigured], and rule is not called. Rule panics if rule is nil.
func Rule[T any](rule func(*http.Request, T) error) func(*http.Request) error {
	must(rule != nil, "Rule: nil rule")
	return func(r *http.Request) error {
		ctx := r.Context()
		v, ok := ClaimsFromContext[T](ctx)
		// An outer Handler's claims of the right type would be another token's.
		if a, admitted := ctx.Value(admissionKey{}).(*admission); admitted && a.config.claimsKey != any(claimsKey[T]{}) {
			ok = false
		}
		if !ok {
			return refuse(ReasonMisconfigured, fmt.Errorf("Rule: no claims of type %v", reflect.TypeFor[T]()))
		}
		return rule(r, v)
	}
}

// authorize applies the requirements of m to an authenticated request.
func (m *Middleware) authorize(ctx context.Context, d *decision) {
	q := &m.requirements
	if d.err != nil && q.badTokens && !q.needToken() {
		d.ignored, d.err = d.err, nil
		d.admission, d.nested = nil, false
	}
	var token *Token
	if d.admission != nil {
		token = d.admission.token
	}
	if d.err == nil {
		d.err = q.check(token, d.missing, m.config.opts.Leeway)
	}
	if d.err == nil && d.admission == nil { // a visitor
		d.admission = &admission{Context: ctx, config: m.config}
	}
	if d.err != nil || d.request == nil {
		return
	}
	admitted := d.admission.enter(d.request, d.nested)
	for _, rule := range q.rules {
		if err := rule(admitted); err != nil {
			d.err = refuse(ReasonForbidden, err).orOwn(err).about(token)
			return
		}
	}
	d.request = admitted
}

// needToken reports whether a request without a token is refused.
func (q *requirements) needToken() bool {
	return !q.visitors || len(q.scopes) > 0 || q.acr != nil || q.maxAge > 0 || len(q.rules) > 0
}

// check applies everything but the rules to a token, or nil.
func (q *requirements) check(t *Token, missing error, leeway time.Duration) *Error {
	if t == nil {
		if !q.needToken() {
			return nil
		}
		e := refuse(ReasonMissing, missing)
		e.Scopes = q.allScopes()
		return e
	}
	var e *Error
	lacksScope := slices.ContainsFunc(q.scopes, func(s scopeRequirement) bool { return !s.isMet(t.Scopes) })
	if err := q.checkLevel(t, leeway); err != nil {
		e = refuse(ReasonAuthentication, err)
		e.ACRValues, e.MaxAge = slices.Clone(q.acr), q.maxAge
	} else if lacksScope {
		e = refuse(ReasonScope, fmt.Errorf("have scopes %s, want %s", jws.QuotedList(t.Scopes), jws.QuotedList(q.allScopes())))
	} else {
		return nil
	}
	if lacksScope { // RFC 9470 §3: so that one new token suffices for both
		e.Scopes = q.allScopes()
	}
	return e.about(t)
}

// checkLevel applies RFC 9470.
func (q *requirements) checkLevel(t *Token, leeway time.Duration) error {
	if q.acr != nil && !slices.Contains(q.acr, t.ACR) {
		return fmt.Errorf(`"acr" is %s, want one of %q`, jws.Quoted(t.ACR), q.acr)
	}
	if q.maxAge == 0 {
		return nil
	}
	switch now := time.Now(); {
	case t.AuthTime.IsZero():
		return errors.New(`"auth_time" is missing or not a date`)
	case t.AuthTime.After(now.Add(leeway)):
		return fmt.Errorf(`"auth_time" is %v in the future`, t.AuthTime.Sub(now).Round(time.Second))
	case now.Sub(t.AuthTime) > q.maxAge:
		return fmt.Errorf(`"auth_time" is %v ago, want at most %v`, now.Sub(t.AuthTime).Round(time.Second), q.maxAge)
	}
	return nil
}

// allScopes returns the scopes that are required, each once.
func (q *requirements) allScopes() []string {
	var all []string
	for _, required := range q.scopes {
		for _, scope := range required.scopes {
			if !slices.Contains(all, scope) {
				all = append(all, scope)
			}
		}
	}
	return all
}

func (s scopeRequirement) isMet(granted []string) bool {
	met := 0
	for _, scope := range s.scopes {
		if slices.Contains(granted, scope) {
			met++
		}
	}
	return met == len(s.scopes) || s.any && met > 0
}
