// Package replay remembers which proofs were used, so that each is accepted once.
package replay

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/seed450a7203/jwthttp/internal/clock"
)

// Errors of Fresh.
var (
	errFull  = errors.New("replay cache is full")
	errShare = errors.New("replay cache is full for this key or subject")
	errClock = errors.New("clock was set back: the proof may have been used and forgotten")
)

// Owners are the names under which an id is counted: the thumbprint of the key, and
// who has the token. An empty name is not counted.
type Owners [2]string

// ownersName is the context key of Owners.
type ownersName struct{}

// WithOwners returns a copy of ctx in which Fresh finds whose proof it is.
func WithOwners(ctx context.Context, owners Owners) context.Context {
	return context.WithValue(ctx, ownersName{}, owners)
}

// Cache is a set of ids that are not fresh. It is safe for concurrent use.
type Cache struct {
	size int
	now  func() clock.Moment
	seed maphash.Seed

	mu        sync.Mutex
	start     time.Time // with a monotonic clock: ids expire by it
	ids       map[string]struct{}
	shares    map[uint64]int // ids by hash of an owner, whose name may be long
	groups    []group        // in order of second
	forgotten time.Time      // latest time until which a removed id was remembered
}

// group are the ids that expire in a second.
type group struct {
	second int64 // after start
	until  time.Time
	ids    []remembered
}

type remembered struct {
	id     string
	owners [2]uint64 // 0: not counted
}

// New returns a Cache for at most size ids, at least 8.
func New(size int) *Cache {
	return &Cache{
		size: size, now: clock.Now, seed: maphash.MakeSeed(), start: clock.Now().Monotonic,
		ids: map[string]struct{}{}, shares: map[uint64]int{},
	}
}

// purgeStep is how many ids a call removes. A call that removed all of a full cache
// would hold up every other one.
const purgeStep = 64

// maxLife is so short that the sum of two of them does not overflow.
const maxLife time.Duration = 1 << 62

// Fresh remembers id until a time, and reports whether it was not known. After that
// time, it is not fresh. A full cache is an error. One owner may have an eighth of
// the cache.
func (c *Cache) Fresh(ctx context.Context, id string, until time.Time) (fresh bool, err error) {
	names, _ := ctx.Value(ownersName{}).(Owners)
	entry := remembered{id: id}
	for i, name := range names {
		if name != "" {
			entry.owners[i] = max(maphash.String(c.seed, name), 1)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	age, left := now.Monotonic.Sub(c.start), min(until.Sub(now.Wall), maxLife)
	c.purge(age, purgeStep)
	if _, known := c.ids[id]; known || left <= 0 { // a late copy could have been forgotten
		return false, nil
	}
	if !until.After(c.forgotten) {
		return false, errClock
	}
	if c.full(entry) != nil {
		c.purge(age, len(c.ids))
	}
	if err := c.full(entry); err != nil {
		return false, err
	}
	c.add(entry, int64((age+left)/time.Second)+1, until)
	return true, nil
}

// full returns an error if there is no room for an id.
func (c *Cache) full(entry remembered) error {
	if len(c.ids) >= c.size {
		return errFull
	}
	for _, owner := range entry.owners {
		if owner != 0 && c.shares[owner] >= c.size/8 {
			return errShare
		}
	}
	return nil
}

func (c *Cache) add(entry remembered, second int64, until time.Time) {
	i, found := slices.BinarySearchFunc(c.groups, second, func(g group, second int64) int { return cmp.Compare(g.second, second) })
	if !found {
		c.groups = slices.Insert(c.groups, i, group{second: second})
	}
	g := &c.groups[i]
	g.ids = append(g.ids, entry)
	if until.After(g.until) {
		g.until = until
	}
	c.ids[entry.id] = struct{}{}
	for _, owner := range entry.owners {
		if owner != 0 {
			c.shares[owner]++
		}
	}
}

// Len returns the number of ids, expired ones included that no call has removed.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}

// purge removes up to most ids that have expired at this age of the cache.
func (c *Cache) purge(age time.Duration, most int) {
	for most > 0 && len(c.groups) > 0 && c.groups[0].second <= int64(age/time.Second) {
		g := &c.groups[0]
		if g.until.After(c.forgotten) {
			c.forgotten = g.until
		}
		keep := max(len(g.ids)-most, 0)
		most -= len(g.ids) - keep
		for _, entry := range g.ids[keep:] {
			c.remove(entry)
		}
		if g.ids = g.ids[:keep]; keep == 0 {
			c.groups = slices.Delete(c.groups, 0, 1)
		}
	}
}

func (c *Cache) remove(entry remembered) {
	delete(c.ids, entry.id)
	for _, owner := range entry.owners {
		if owner == 0 {
			continue
		}
		if c.shares[owner]--; c.shares[owner] == 0 {
			delete(c.shares, owner)
		}
	}
}
