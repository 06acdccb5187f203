package jwthttp

import (
	"context"
	"net/http"
	"sync"
)

// ClaimsFromContext returns the claims that a [Middleware] made by New[T] put
// into the request's context. The T must be the same, to the pointer: after
// New[C], ClaimsFromContext[*C] finds nothing.
//
// It returns false for a request without claims of type T: outside of a
// Handler, and behind an [Middleware.Optional] one that admitted a request
// without a token. Where Handlers of several families stand inside each other,
// each T finds the claims of its family, and [TokenFromContext] the innermost
// token. The claims are the request's own; changing them changes no other
// request's. Their strings are parts of the token's payload: a strings.Clone of
// what is kept for long lets the rest go.
func ClaimsFromContext[T any](ctx context.Context) (T, bool) {
	c, ok := ctx.Value(claimsKey[T]{}).(*claims[T])
	if !ok {
		var zero T
		return zero, false
	}
	return c.value, true
}

// ContextWithClaims returns a copy of ctx in which [ClaimsFromContext] finds v.
// It is for tests of handlers, which then need neither a token nor a Middleware,
// and for a handler that has just renewed the token; [TokenFromContext] finds
// the old one still.
func ContextWithClaims[T any](ctx context.Context, v T) context.Context {
	return context.WithValue(ctx, claimsKey[T]{}, &claims[T]{v})
}

// TokenFromContext returns what is known about the token that authenticated the
// request: registered claims, scopes, key. Each call returns a copy of its own.
// It returns false where there is no token, as [ClaimsFromContext] does.
//
// A framework that keeps a context beyond its request keeps that request's
// token: in a session of the MCP SDK, a tool's context is that of the request
// which opened the session, not of the call.
func TokenFromContext(ctx context.Context) (*Token, bool) {
	t, _ := ctx.Value(tokenKey{}).(*Token)
	if t == nil {
		return nil, false
	}
	return t.clone(), true
}

// ContextWithToken returns a copy of ctx in which [TokenFromContext] finds t,
// or nothing if t is nil. It is for tests of handlers: a Middleware never
// takes it for an authentication.
func ContextWithToken(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, t)
}

type (
	claimsKey[T any] struct{}
	tokenKey         struct{}
)

// claims boxes a T, so that looking for an interface type finds what was made
// for that type and nothing else.
type claims[T any] struct{ value T }

// anyClaimsKey is satisfied by the claimsKey of every T.
type anyClaimsKey interface{ isClaimsKey() }

func (claimsKey[T]) isClaimsKey() {}

// authentication is the context of an admitted request, and the record of it
// that a Handler of the same family finds further in.
type authentication struct {
	context.Context
	family    *family
	token     *Token // nil: admitted without one
	unchecked bool   // admitted although Options.Revoked failed
	cached    bool   // verified for an earlier request

	// claims are a *claims[T] of the family's T. If others use them too, the
	// request's own copy is made when they are asked for.
	claims   any
	mustCopy bool
	copied   sync.Once
}

// ownClaims returns claims that are this request's alone.
func (a *authentication) ownClaims() any {
	if a.mustCopy {
		a.copied.Do(func() { a.claims = a.family.claims.copy(a.claims) })
	}
	return a.claims
}

// Value answers for this package's keys first. An admission without a token
// hides the claims and the Token of every Handler further out: they belong to
// another family's token, and say nothing about who came in here.
func (a *authentication) Value(key any) any {
	switch key := key.(type) {
	case *family:
		if key == a.family {
			return a
		}
	case latestKey:
		return a
	case tokenKey:
		return a.token
	case anyClaimsKey:
		if a.token == nil {
			return nil
		}
		if key == a.family.claims.key {
			return a.ownClaims()
		}
	}
	return a.Context.Value(key)
}

// latestKey finds the authentication next to the handler, whatever its family.
type latestKey struct{}

// String keeps a printed context free of what was authenticated.
func (a *authentication) String() string { return "jwthttp.authentication" }

// GoString is String, for %#v.
func (a *authentication) GoString() string { return a.String() }

// enter returns r with a in its context. In a Handler inside another one of the
// family it is there already, and comes first unless another family
// authenticated in between.
func (a *authentication) enter(r *http.Request, nested bool) *http.Request {
	switch {
	case a == a.family.nobody: // which is no request's own
		return r.WithContext(&authentication{Context: r.Context(), family: a.family})
	case !nested:
		return r.WithContext(a)
	case r.Context().Value(latestKey{}) == any(a):
		return r
	}
	again := &authentication{
		Context: r.Context(), family: a.family, token: a.token,
		unchecked: a.unchecked, cached: a.cached, claims: a.ownClaims(),
	}
	return r.WithContext(again)
}
