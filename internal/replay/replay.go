// Package replay remembers which proofs were used, so that each is accepted once.
package replay

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Errors of Fresh.
var (
	errFull  = errors.New("replay cache is full")
	errShare = errors.New("replay cache is full for this key")
)

// keyName is the context key of the proof's key.
type keyName struct{}

// WithKey returns a copy of ctx in which Fresh finds the thumbprint of the key
// that made the proof.
func WithKey(ctx context.Context, thumbprint string) context.Context {
	return context.WithValue(ctx, keyName{}, thumbprint)
}

// Cache is a set of ids that are not fresh. It is safe for concurrent use.
type Cache struct {
	size int

	mu     sync.Mutex
	start  time.Time // with a monotonic clock: setting the machine's clock must not revive a proof
	purged int64     // every group up to this second after start has been removed
	ids    map[string]struct{}
	shares map[string]int         // ids by key
	groups map[int64][]remembered // by the second after start in which they expire
}

type remembered struct{ id, key string }

// New returns a Cache for at most size ids, at least 8.
func New(size int) *Cache {
	return &Cache{
		size: size, start: time.Now(),
		ids: map[string]struct{}{}, shares: map[string]int{}, groups: map[int64][]remembered{},
	}
}

// Fresh remembers id until a time, and reports whether it was not known. A full
// cache is an error. One key may have an eighth of the cache.
func (c *Cache) Fresh(ctx context.Context, id string, until time.Time) (fresh bool, err error) {
	key, _ := ctx.Value(keyName{}).(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	age := now.Sub(c.start)
	c.purge(int64(age / time.Second))
	if _, known := c.ids[id]; known {
		return false, nil
	}
	left := until.Sub(now)
	switch {
	case left <= 0: // no longer accepted
		return true, nil
	case len(c.ids) >= c.size:
		return false, errFull
	case key != "" && c.shares[key] >= c.size/8:
		return false, errShare
	}
	c.ids[id] = struct{}{}
	second := int64((age+left)/time.Second) + 1
	c.groups[second] = append(c.groups[second], remembered{id, key})
	if key != "" {
		c.shares[key]++
	}
	return true, nil
}

// Len returns the number of ids, expired ones included that no call has removed.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}

// purge removes what has expired by this second after start.
func (c *Cache) purge(second int64) {
	if second-c.purged > int64(len(c.groups)) { // after a long time without calls
		for s := range c.groups {
			if s <= second {
				c.remove(s)
			}
		}
	} else {
		for s := c.purged + 1; s <= second; s++ {
			c.remove(s)
		}
	}
	c.purged = second
}

func (c *Cache) remove(second int64) {
	for _, e := range c.groups[second] {
		delete(c.ids, e.id)
		if e.key == "" {
			continue
		}
		if c.shares[e.key]--; c.shares[e.key] == 0 {
			delete(c.shares, e.key)
		}
	}
	delete(c.groups, second)
}
