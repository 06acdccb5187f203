package jwthttp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// askHooks calls Options.Revoked and then DPoP.Replay. It reports whether the token
// is admitted although a call failed.
func (c *config) askHooks(ctx context.Context, t *Token, p *possession) (unchecked bool, e *Error) {
	if c.opts.Revoked != nil {
		unchecked, e = c.checkRevoked(ctx, t)
	}
	if e == nil && p != nil && p.proof != nil {
		var unknown bool
		unknown, e = c.checkReplay(ctx, t, p.proof)
		unchecked = unchecked || unknown
	}
	return unchecked, e
}

// checkRevoked calls Options.Revoked. It reports whether the token is admitted
// although the call failed.
func (c *config) checkRevoked(ctx context.Context, t *Token) (unchecked bool, e *Error) {
	revoked, err := call(ctx, c.opts.RevocationTimeout, func(ctx context.Context) (bool, error) {
		return c.opts.Revoked(ctx, t.clone())
	})
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

// call calls a hook with a deadline. An answer after the deadline and a panic are
// errors.
func call(ctx context.Context, timeout time.Duration, hook func(context.Context) (bool, error)) (answer bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			answer, err = false, fmt.Errorf("hook panicked: %v", p)
		}
	}()
	answer, err = hook(ctx)
	if deadline, _ := ctx.Deadline(); err == nil && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	return answer, err
}
