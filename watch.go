package jwthttp

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Watch returns a copy of a request's context for a handler that goes on for
// long: a WebSocket, a stream of events. It ends when the token would no longer
// be admitted: the moment it expires, and within the given time, 10 s if that
// is not positive, after it was revoked, its key was withdrawn, or anything
// else came up that m, its Issuer or T's Validate judges. Requirements of m that
// the token does not meet end it at once. Require rules are not asked again:
// they are about the request.
//
// [context.Cause] then returns the [*Error] that a new request would get, a 503
// included: a stream is not safer than a request while the revocation store is
// out of reach, and [Options].FailOpen holds for both. When ctx ends first, the
// cause is its own. There is no [Event]; the handler that was told may log it.
//
// A server's WriteTimeout ends long responses too: such a handler sets
// deadlines of its own with [http.ResponseController].
//
// Watch goes on until ctx ends, as a request's does when its handler returns. It
// asks Options.Revoked, KeySource and Validate on a goroutine of its own; if
// one of them panics, the context ends, and the cause has the stack.
//
// A context without an authentication by m's family has ended when it is
// returned. That of a visitor whom Optional admitted without a token never ends
// of itself.
func (m *Middleware) Watch(ctx context.Context, every time.Duration) context.Context {
	if every <= 0 {
		every = 10 * time.Second
	}
	var e *Error
	a, ok := ctx.Value(m.family).(*authentication)
	if !ok {
		missing := m.missing
		e = &missing
	} else if e = m.judge(a); e == nil && a.token == nil {
		return ctx
	}
	ctx, end := context.WithCancelCause(ctx)
	if e != nil {
		m.setChallenge(e)
		end(e)
		return ctx
	}
	go m.watch(ctx, end, a.token, every)
	return ctx
}

// watch ends ctx when the token is no longer admitted.
func (m *Middleware) watch(ctx context.Context, end context.CancelCauseFunc, token *Token, every time.Duration) {
	defer func() {
		if p := recover(); p != nil { // which would end the program here
			end(fmt.Errorf("jwthttp: Watch: panic: %v\n%s", p, debug.Stack()))
		}
	}()
	for {
		wait := every
		if left := time.Until(token.ExpiresAt.Add(m.family.leeway)); !token.ExpiresAt.IsZero() && left < wait {
			wait = left
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		a, e := m.family.admit(ctx, Credential{Token: token.Raw(), Source: token.Source})
		if e == nil {
			e = m.judge(a)
		}
		if e != nil {
			m.setChallenge(e)
			end(e)
			return
		}
	}
}
