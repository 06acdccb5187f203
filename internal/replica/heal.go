package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed450a7203/jwthttp/revocation"
)

// WriteBack makes changes of records in a store, as one step. Each record becomes a
// change as that of a Revoke: it has the next number and a new mark, and the later of
// its times and those that the store has.
//
// It writes nothing and returns ErrGap or ErrLost if the store does not continue from
// at. It leaves out a record if a change after at has its Key: that is a removal,
// which must not be undone, or another instance has been faster. It passes all
// changes after at to Follow, with its own. It may write nothing if there are so many
// changes after at that they do not fit into one answer.
type WriteBack func(ctx context.Context, at Position, records []Record) error

const (
	healAfter = 500 * time.Millisecond // the longest wait for another instance to do it
	healMost  = 100                    // how many entries are written at once
	healPause = 20 * time.Millisecond  // between two writes
	healRetry = 10 * time.Second       // the longest pause while writes fail
)

// Heal writes back what the store has lost and the copy keeps, until ctx ends. It
// starts within half a second after Install, and writes some 5,000 entries a second.
// It reports the first of several failures in a row.
func (c *Copy) Heal(ctx context.Context, write WriteBack, report func(error)) {
	for {
		select {
		case <-c.losses:
		case <-ctx.Done():
			return
		}
		// Often another instance is faster. Then there is nothing left.
		if pause(ctx, rand.N(healAfter)) {
			c.heal(ctx, write, report)
		}
	}
}

// heal returns when nothing is left to write, or everything has to be loaded.
func (c *Copy) heal(ctx context.Context, write WriteBack, report func(error)) {
	wait, reported := healPause, false
	for {
		at, records := c.lost(healMost)
		if len(records) == 0 {
			return
		}
		before := c.sets.Load().lost.Size()
		err := write(ctx, at, records)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrGap) || errors.Is(err, ErrLost):
			if c.Break(at) {
				c.wake()
				return // the next Install begins it again
			}
		case err != nil && !reported:
			report(err)
		}
		reported = err != nil
		wait = min(2*wait, healRetry)
		if c.sets.Load().lost.Size() < before {
			wait = healPause
		}
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return
		}
	}
}

// pause reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lost returns at most that many entries to write back, and where the copy is.
func (c *Copy) lost(most int) (at Position, records []Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return c.at, nil
	}
	now := c.Now()
	for key, times := range c.sets.Load().lost.All() {
		if times.Expired(now) || c.kept[key] {
			continue
		}
		r, err := record(key, times, true)
		if err != nil {
			continue // no Follow has accepted it
		}
		r.Until = times.Until
		if records = append(records, r); len(records) == most {
			break
		}
	}
	return c.at, records
}

// Stats describes the copy.
func (c *Copy) Stats() revocation.Stats {
	c.mu.Lock()
	stats := revocation.Stats{Loading: c.loading, Healed: c.healed, Loads: c.loads, LastLoad: c.loaded}
	s := c.sets.Load()
	c.mu.Unlock()
	stats.Lost = s.lost.Len() // without those that have expired
	stats.Entries = s.store.Size() + s.onlyLost()
	stats.Staleness = c.Staleness()
	return stats
}
