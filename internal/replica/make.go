package replica

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Try is one attempt to make a change in a store.
type Try struct {
	At   Position // where the copy is
	copy *Copy
	mark uint64
}

// Expect announces the mark of the change. It must be called before the store may
// have the change.
func (t *Try) Expect(mark uint64) {
	t.copy.mu.Lock()
	defer t.copy.mu.Unlock()
	delete(t.copy.own, t.mark)
	t.mark = mark
	t.copy.own[mark] = false
}

// Followed reports whether the copy has followed the change.
func (t *Try) Followed() bool {
	t.copy.mu.Lock()
	defer t.copy.mu.Unlock()
	return t.copy.own[t.mark]
}

const (
	mostTries = 100
	loadFor   = 30 * time.Second // the longest wait of a change for loads
)

// Make makes a change. It calls try until the copy has followed the change.
//
// A try makes the change in the store, if the store continues from t.At, and passes
// the changes after t.At to Follow. If the store does not continue from there, try
// returns ErrGap or ErrLost. Then Make waits until the copy follows again, for at most 30
// seconds in all, and tries again. So it does if the change was made, but not followed:
// the store may have lost it meanwhile. To make a change twice does no harm. Other errors
// end the tries. Nothing is followed after ended is closed.
func (c *Copy) Make(ctx context.Context, ended <-chan struct{}, try func(*Try) error) error {
	tooLong := time.NewTimer(loadFor) // for all loads together
	defer tooLong.Stop()
	for range mostTries {
		c.mu.Lock()
		t, installed, broken := &Try{At: c.at, copy: c}, c.installed, c.broken
		c.mu.Unlock()
		if !broken {
			err := try(t)
			followed := t.end()
			again := errors.Is(err, ErrGap) || errors.Is(err, ErrLost)
			switch {
			case err != nil && !again:
				return err
			case followed:
				return nil
			case !again || !c.Break(t.At):
				continue
			}
		}
		if err := c.await(ctx, installed, ended, tooLong.C); err != nil {
			return err
		}
	}
	return errors.New("the store loses changes again and again")
}

// end forgets the mark, and reports whether the copy has followed the change.
func (t *Try) end() bool {
	followed := t.Followed()
	t.copy.mu.Lock()
	defer t.copy.mu.Unlock()
	delete(t.copy.own, t.mark)
	return followed
}

// await wakes whoever follows, and waits until the copy follows again.
func (c *Copy) await(ctx context.Context, installed, ended <-chan struct{}, tooLong <-chan time.Time) error {
	c.wake()
	select {
	case <-installed:
		return nil
	case <-ended:
		return errors.New("the store has to be loaded, and its context has ended")
	case <-tooLong:
		return errors.New("the store has to be loaded, and that takes too long")
	case <-ctx.Done():
		return fmt.Errorf("the store has to be loaded: %w", context.Cause(ctx))
	}
}

// wake wakes whoever follows.
func (c *Copy) wake() { signal(c.breaks) }

// Broken has an element when a change waits until the copy follows again.
func (c *Copy) Broken() <-chan struct{} { return c.breaks }
