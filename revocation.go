package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// checkRevoked asks Options.Revoked about a verified token. unchecked means
// that it failed, and that FailOpen admits the token.
func (f *family) checkRevoked(ctx context.Context, t *Token) (unchecked bool, e *Error) {
	if f.revoked == nil {
		return false, nil
	}
	revoked, err := f.askRevoked(ctx, t)
	switch {
	case err == nil && !revoked:
		return false, nil
	case err == nil || errors.Is(err, ErrRevoked) || revoked && f.failOpen:
		// A failure that says "revoked" must not be one that admits.
		return false, refuse(ReasonRevoked, ErrRevoked)
	case f.failOpen && ctx.Err() == nil:
		// Not for a request that has ended itself: hanging up would be a way
		// to use a revoked token.
		return true, nil
	}
	return false, refuse(ReasonRevocationUnavailable, err)
}

// askRevoked calls the hook within its deadline, and makes a panic an error.
func (f *family) askRevoked(ctx context.Context, t *Token) (revoked bool, err error) {
	hook := &hookContext{Context: ctx, deadline: time.Now().Add(f.revocationTimeout)}
	defer hook.release()
	defer func() {
		if p := recover(); p != nil {
			revoked, err = false, fmt.Errorf("revocation check panicked: %v", p)
		}
	}()
	revoked, err = f.revoked(hook, t.clone())
	if err == nil {
		err = hook.Err()
	}
	return revoked, err
}

// hookContext is the request's context with the hook's deadline. A hook that
// looks into memory never asks for Done, and a timer that nobody waits for costs
// more than its look-up: so it is set when somebody does.
type hookContext struct {
	context.Context // the request's
	deadline        time.Time

	mu       sync.Mutex
	timed    context.Context // with the timer; nil: nobody asked yet
	cancel   context.CancelFunc
	answered bool // the hook has
}

// Deadline returns the earlier of the request's deadline and the hook's.
func (c *hookContext) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

// Done sets the timer.
func (c *hookContext) Done() <-chan struct{} { return c.withTimer().Done() }

// Err looks at the clock, so it does not wait for a timer that is about to fire.
func (c *hookContext) Err() error {
	c.mu.Lock()
	quiet := c.timed == nil && !c.answered
	c.mu.Unlock()
	if !quiet {
		return c.withTimer().Err() // which never changes once it is there
	}
	if err := c.Context.Err(); err != nil || time.Now().Before(c.deadline) {
		return err
	}
	return c.withTimer().Err()
}

func (c *hookContext) withTimer() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.answered {
			c.cancel()
		}
	}
	return c.timed
}

// release ends c after the hook has answered.
func (c *hookContext) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	if c.cancel != nil {
		c.cancel()
	}
}
