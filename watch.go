package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/cause"
)

// Watch returns a copy of ctx for a handler that streams. ctx is the context of
// an admitted request or of [Middleware.Verify]. The copy is canceled when the
// token expires, leeway included, or when a check made at the given interval
// finds that it would no longer be accepted. It is canceled at once if the token
// does not meet the requirements of m, or if ctx is not of a Middleware from the
// same [New] call. Neither rules nor the Observer are called. A visitor whom m
// admits without a token is never canceled.
//
// The cause ([context.Cause]) is the [*Error] that a new request would get,
// even a 503. If ctx ends first, it is the cause of ctx. If a hook panics, it
// is an error that is not an [*Error].
//
// If every is zero or negative, 10 seconds; at least 1 ms. The checks run on one
// goroutine, until the context ends or the returned function is called.
// Options.Revoked, Keys and Validate must be safe for concurrent use. Without
// CacheSize, each check verifies the signature.
//
// Check ctx.Err() before each message: if several cases of a select are ready,
// it picks one at random.
func (m *Middleware) Watch(ctx context.Context, every time.Duration) (context.Context, context.CancelFunc) {
	if every <= 0 {
		every = 10 * time.Second
	}
	a, _ := ctx.Value(m.config).(*admission)
	var token *Token
	if a != nil {
		token = a.token
	}
	ctx, end := context.WithCancelCause(ctx)
	cancel := func() { end(context.Canceled) }
	e := m.requirements.check(token, ErrNoToken, m.config.opts.Leeway)
	if a == nil && e == nil {
		e = refuse(ReasonMissing, ErrNoToken) // a visitor whom m has never seen
	}
	if e != nil {
		m.config.challenge(e, token.scheme())
		end(e)
		return ctx, cancel
	}
	if token == nil {
		return ctx, cancel
	}
	watched, release := ctx, context.CancelFunc(func() {})
	if !token.ExpiresAt.IsZero() {
		expired := refuse(ReasonExpired, errWatchExpired)
		m.config.challenge(expired, token.scheme())
		watched, release = context.WithDeadlineCause(ctx, token.ExpiresAt.Add(m.config.opts.Leeway), expired)
	}
	go func() {
		defer release()
		defer end(errHookExit)                                     // no effect unless a hook has called runtime.Goexit
		end(m.watch(watched, token, max(every, time.Millisecond))) // a forgotten unit means nanoseconds
	}()
	return watched, cancel
}

// watch returns why the token is no longer accepted, or when ctx ends. It does
// not rely on the deadline of ctx, since timers stand still while the machine
// sleeps.
func (m *Middleware) watch(ctx context.Context, token *Token, every time.Duration) (why error) {
	defer func() {
		if p := recover(); p != nil { // it would end the program here
			why = fmt.Errorf("jwthttp: Watch: panic: %v\n%s", p, debug.Stack())
		}
	}()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
		}
		a, e := m.config.admit(ctx, Credential{Token: token.Raw(), Source: token.Source}, nil)
		if e == nil {
			e = m.requirements.check(a.token, nil, m.config.opts.Leeway)
		}
		if e != nil && ctx.Err() == nil {
			m.config.challenge(e, token.scheme())
			return e
		}
	}
}

var (
	errWatchExpired = cause.Invalid(jwt.ErrTokenExpired, "token expired while it was watched")
	errHookExit     = errors.New("jwthttp: Watch: a hook has ended the goroutine")
)
