package jwthttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/seed450a7203/jwthttp/internal/claims"
)

// ClaimsFromContext returns the claims that a [Middleware] made by New[T] has
// put into a request's context. T must be the same type: after New[C],
// ClaimsFromContext[*C] finds nothing. The claims belong to this request and may
// be modified.
//
// It returns false if no Middleware has verified a token for ctx, and in a
// Handler that has admitted the request without one. If Handlers of several New
// calls are nested, each T finds the claims of its Middleware.
func ClaimsFromContext[T any](ctx context.Context) (T, bool) {
	c, ok := ctx.Value(claimsKey[T]{}).(*claims.Box[T])
	if !ok {
		var zero T
		return zero, false
	}
	return c.Value, true
}

// MustClaims is [ClaimsFromContext], but panics instead of returning false. So a
// handler that is not wrapped, or is wrapped for another type, fails.
func MustClaims[T any](ctx context.Context) T {
	v, ok := ClaimsFromContext[T](ctx)
	if !ok {
		panic(fmt.Sprintf("jwthttp: no claims of type %v in the context", reflect.TypeFor[T]()))
	}
	return v
}

// ContextWithClaims returns a copy of ctx in which [ClaimsFromContext] finds v.
// It is for tests of handlers. It does not change the result of
// [TokenFromContext].
func ContextWithClaims[T any](ctx context.Context, v T) context.Context {
	return context.WithValue(ctx, claimsKey[T]{}, &claims.Box[T]{Value: v})
}

// TokenFromContext returns a copy of the token that authenticated the request.
// It returns false if no Middleware has verified one. If Handlers of several New
// calls are nested, it is the token of the innermost one.
func TokenFromContext(ctx context.Context) (*Token, bool) {
	t, _ := ctx.Value(tokenKey{}).(*Token)
	if t == nil {
		return nil, false
	}
	return t.clone(), true
}

// ContextWithToken returns a copy of ctx in which [TokenFromContext] finds t,
// or nothing if t is nil. It is for tests of handlers. It never authenticates a
// request.
func ContextWithToken(ctx context.Context, t *Token) context.Context {
	if t == nil { // printing ctx would call a method of it
		return context.WithValue(ctx, tokenKey{}, nil)
	}
	return context.WithValue(ctx, tokenKey{}, t)
}

type (
	claimsKey[T any] struct{}
	tokenKey         struct{}
	admissionKey     struct{} // of the innermost admission
)

// anyClaimsKey is satisfied by the claimsKey of every T.
type anyClaimsKey interface{ isClaimsKey() }

func (claimsKey[T]) isClaimsKey() {}

// admission is the context of an admitted request, in which Handlers further in
// find what an outer one of the same New has verified.
type admission struct {
	context.Context
	config   *config
	verified *verified // nil: admitted without a token
	token    *Token    // as found in this request; nil: admitted without one
	claims   any       // a *claims.Box[T] of this request

	cached    bool // the signature was verified for an earlier request
	unchecked bool // admitted although Options.Revoked failed

	request *http.Request // the admitted one; nil: Verify
}

// Value returns the values of this package first. An admission without a token
// hides the claims and Token of every Handler further out: they belong to
// another Middleware's token.
func (a *admission) Value(key any) any {
	switch key := key.(type) {
	case *config:
		if key == a.config {
			return a
		}
	case admissionKey:
		return a
	case tokenKey:
		return a.token
	case anyClaimsKey:
		if a.token == nil {
			return nil
		}
		if key == a.config.claimsKey {
			return a.claims
		}
	}
	return a.Context.Value(key)
}

// String keeps the request and the claims out of a printed context.
func (a *admission) String() string { return "jwthttp.admission" }

// Format prints the same text as String for every verb.
func (a *admission) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// enter returns r with a in its context. A nested admission is there already; it
// is added again if another New's Handler stands in between.
func (a *admission) enter(r *http.Request, nested bool) *http.Request {
	if !nested {
		a.request = r
		return r.WithContext(a)
	}
	if r.Context().Value(admissionKey{}) == any(a) {
		return r
	}
	again := *a
	again.Context = r.Context()
	return r.WithContext(&again)
}
