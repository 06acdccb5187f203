package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Watch returns a copy of a request's context for a handler that goes on for
// long: a WebSocket, a stream of events. It ends when the token expires, leeway
// included, and when a look at it, each time that every has passed, finds that it would not be
// admitted any more: revoked, its key withdrawn, or refused for whatever else m,
// its Issuer and T's Validate judge. Requirements of m that the token does not
// meet end it at once. Require rules are not asked again: they are about the
// request. An every of zero or less is 10 seconds, and a millisecond the least.
//
// The cause ([context.Cause]) is then the [*Error] that a new request would get,
// a 503 included: a stream is no safer than a request while the revocation store
// is out of reach, and [Options].FailOpen holds for both. There is no [Event];
// the handler that finds the cause with [errors.As] may log it, and tell its
// client the Reason. When ctx ends first, the cause is its own.
//
// The context is a signal, to be heeded before each message too, since a select
// takes any case that is ready. It is not for the reads and writes of a
// WebSocket library that cuts the connection when a context ends: the close
// frame with the reason would be lost.
//
// Watch goes on until ctx ends, as a request's does when its handler returns. It
// asks Options.Revoked, the KeySource and Validate on a goroutine of its own. If
// one of them panics, the context ends with a cause that is no [*Error] and has
// the stack, for logs. Without [Options].CacheSize, each look verifies the
// signature.
//
// A context without an authentication by m's family has ended when it is
// returned, and so has that of a visitor without a token, unless m is Optional
// and has no requirements: then there is nothing to end it.
//
// The server's WriteTimeout ends a stream too; a handler sets deadlines of its
// own with [http.ResponseController]. One that has hijacked the connection must
// notice by itself when the client is gone.
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
	go m.watch(ctx, end, a.token, max(every, time.Millisecond)) // a forgotten unit would be nanoseconds
	if !a.token.ExpiresAt.IsZero() {
		go m.watchExpiry(ctx, end, a.token.ExpiresAt.Add(m.family.leeway))
	}
	return ctx
}

// watch ends ctx when the token is no longer admitted.
func (m *Middleware) watch(ctx context.Context, end context.CancelCauseFunc, token *Token, every time.Duration) {
	defer func() {
		cause := errors.New("jwthttp: Watch: a hook has ended the goroutine")
		if p := recover(); p != nil { // which would end the program here
			cause = fmt.Errorf("jwthttp: Watch: panic: %v\n%s", p, debug.Stack())
		}
		end(cause) // without effect if it has ended
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
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

// watchExpiry ends ctx when the token expires. It is apart from watch, where a
// hook may take its time. It looks at the clock once a minute at least: timers
// stand still while the machine sleeps, and clocks are set.
func (m *Middleware) watchExpiry(ctx context.Context, end context.CancelCauseFunc, expiry time.Time) {
	for left := time.Until(expiry); left > 0; left = time.Until(expiry) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(left, time.Minute)):
		}
	}
	e := refuse(ReasonExpired, errExpired)
	m.setChallenge(e)
	end(e)
}
