package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// checkRevoked calls Options.Revoked. It reports whether the token is admitted
// although the call failed.
func (c *config) checkRevoked(ctx context.Context, t *Token) (unchecked bool, e *Error) {
	revoked, err := c.callRevoked(ctx, t)
	hungUp := errors.Is(ctx.Err(), context.Canceled)
	switch {
	case err == nil && !revoked:
		return false, nil
	case err == nil || errors.Is(err, ErrRevoked) || revoked && c.opts.RevocationFailOpen:
		return false, refuse(ReasonRevoked, ErrRevoked)
	case hungUp:
		// Also if failures admit: hanging up must not be a way to use a revoked
		// token.
		return false, refuse(ReasonCanceled, err)
	case c.opts.RevocationFailOpen && ctx.Err() == nil:
		return true, nil
	}
	return false, refuse(ReasonRevocationUnavailable, err)
}

// callRevoked calls the hook with its deadline. An answer after the deadline and
// a panic are errors.
func (c *config) callRevoked(ctx context.Context, t *Token) (revoked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.RevocationTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			revoked, err = false, fmt.Errorf("revocation check panicked: %v", p)
		}
	}()
	revoked, err = c.opts.Revoked(ctx, t.clone())
	if deadline, _ := ctx.Deadline(); err == nil && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	return revoked, err
}
