// Package lookup remembers what a function finds by name.
package lookup

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed450a7203/jwthttp/internal/cache"
	"github.com/seed450a7203/jwthttp/internal/clock"
)

const (
	// patience is the deadline of one call.
	patience = time.Second
	// errorTTL is how long an error is an answer.
	errorTTL = time.Second
)

// Table remembers the answers of a function that finds values by name. It is safe
// for concurrent use.
type Table[V any] struct {
	find func(ctx context.Context, name string) (*V, error)
	ttl  time.Duration

	// They are apart, so that invented names displace no value.
	found, missing *cache.Cache[*answer[V]]

	mu    sync.Mutex
	calls map[string]*call[V] // that are under way
}

// answer is what find has returned for a name.
type answer[V any] struct {
	value *V // nil: there is none, or err
	err   error
	since clock.Moment
	ttl   time.Duration
}

// call is a call of find.
type call[V any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	answer *answer[V] // once done is closed; nil: find has panicked
}

// New returns a Table. If find returns nil without an error, there is no value. An
// answer is kept for ttl, counted from the call. There are at most maxEntries values,
// and as many other answers. Names have at most maxName bytes.
func New[V any](find func(context.Context, string) (*V, error), ttl time.Duration, maxEntries, maxName int) *Table[V] {
	bytes := int64(maxEntries) * int64(maxName)
	return &Table[V]{
		find: find, ttl: ttl,
		found: cache.New[*answer[V]](maxEntries, bytes), missing: cache.New[*answer[V]](maxEntries, bytes),
		calls: make(map[string]*call[V]),
	}
}

// Get returns the value of a name, or nil if there is none. If the answer is not
// known, it calls find on the caller's goroutine, or waits for another caller that
// does. An answer that takes longer than a second is an error. So is the end of ctx
// during the wait. An error is the answer for a second. A panic of find is not
// recovered.
//
// The context of find has the values of ctx, but does not end with it, because others
// may wait for the answer.
//
// The caller has just read the clock for now.
func (t *Table[V]) Get(ctx context.Context, name string, now time.Time) (*V, error) {
	for came := now; ; now = time.Now() {
		if a := t.known(name, now); a != nil {
			return a.value, a.err
		}
		c, mine := t.join(ctx, name)
		if c == nil { // the answer has come in the meantime
			continue
		}
		if mine {
			t.ask(c, name)
		}
		a, err := c.wait(ctx)
		if err != nil {
			return nil, err
		}
		// The answer of a call that began before the caller came may be older than the
		// TTL. If it is not, it is known now.
		if a != nil && (mine || !a.since.Monotonic.Before(came)) {
			return a.value, a.err
		}
	}
}

// known returns the answer for a name that is remembered, or nil.
func (t *Table[V]) known(name string, now time.Time) *answer[V] {
	for _, answers := range [...]*cache.Cache[*answer[V]]{t.found, t.missing} {
		if a, ok := answers.Get(name); ok && a.fresh(now) {
			return a
		}
	}
	return nil
}

func (a *answer[V]) fresh(now time.Time) bool { return a.since.AgeAt(now) < a.ttl }

// join returns the call for a name that is under way, or else a new one that the
// caller has to make. It returns nil if the answer is known.
func (t *Table[V]) join(ctx context.Context, name string) (c *call[V], mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c = t.calls[name]; c != nil {
		return c, false
	}
	if t.known(name, time.Now()) != nil {
		return nil, false
	}
	c = &call[V]{done: make(chan struct{})}
	c.ctx, c.cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
	t.calls[name] = c
	return c, true
}

// ask calls find. Find and the caches get a name that is part of nothing larger, which
// they may keep.
func (t *Table[V]) ask(c *call[V], name string) {
	name = strings.Clone(name)
	defer t.end(c, name) // even if find panics
	began := clock.Now()
	value, err := t.find(c.ctx, name)
	if err == nil && c.ctx.Err() != nil {
		err = c.late()
	}
	if err != nil {
		c.answer = &answer[V]{err: err, since: clock.Now(), ttl: min(errorTTL, t.ttl)}
		return
	}
	c.answer = &answer[V]{value: value, since: began, ttl: t.ttl}
}

// end remembers the answer of a call.
func (t *Table[V]) end(c *call[V], name string) {
	t.mu.Lock()
	if a := c.answer; a != nil {
		to, from := t.missing, t.found
		if a.value != nil {
			to, from = t.found, t.missing
		}
		to.Put(name, a)
		from.Remove(name)
	}
	delete(t.calls, name)
	t.mu.Unlock()
	close(c.done)
	c.cancel()
}

// wait returns the answer of a call, an error if it does not come in time, or neither
// if find has panicked.
func (c *call[V]) wait(ctx context.Context) (*answer[V], error) {
	select {
	case <-c.done:
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
	select {
	case <-c.done: // perhaps with the others
		return c.answer, nil
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, c.late()
}

func (c *call[V]) late() error { return fmt.Errorf("no answer within %v: %w", patience, c.ctx.Err()) }
