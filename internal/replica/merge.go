package replica

import (
	"fmt"
	"time"

	"github.com/seed450a7203/jwthttp/internal/revset"
)

// merge is a Snapshot that is to replace the copy. What the copy has and the store does
// not have is put beside it, in parts, so that the copy can follow meanwhile.
type merge struct {
	snapshot *Snapshot
	next     *sets
	removed  map[revset.Key]bool // unknown here, so they came after what the copy has
	part     int                 // to be merged next
	lost     int                 // entries that the store has lost since the Install before
}

// Join makes changes, which the store has made directly after the position of a
// snapshot, in the snapshot and in the copy. From then on both follow together, until
// Install. If the copy is elsewhere, Join returns false. Then the copy has to follow, and
// the next Join needs the changes after these ones. If there are none, and the copy is
// still ahead, the store has lost what the copy has, and Join returns true.
func (c *Copy) Join(s *Snapshot, after Position, changes ...Change) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.Follow(changes...); err != nil {
		return false, err
	}
	if !c.broken {
		if err := c.follow(after, changes); err != nil {
			return false, err
		}
	}
	return c.join(s, after.End(changes)), nil
}

func (c *Copy) join(s *Snapshot, at Position) bool {
	for s.Settle() {
	}
	if c.loading && !c.broken && c.at != at {
		if c.at.Seq <= at.Seq || c.at != c.ahead {
			c.ahead = c.at
			return false
		}
		c.broken = true // what the copy has is not in the store
	}
	m := &merge{snapshot: s, next: &sets{&s.set, new(revset.Set)}, removed: map[revset.Key]bool{}}
	m.next.lost.Align(&s.set)
	for _, r := range s.removals {
		if c.removes(r.mark, r.expires) {
			m.removed[r.key] = true
		}
	}
	c.merging = m
	return true
}

// errLostSince is the error of a load that has to begin again.
var errLostSince = fmt.Errorf("%w: the store has lost some since it was loaded", ErrGap)

// Merge compares a part of the copy with the snapshot, and reports whether there are
// more. It returns ErrGap if the store has to be loaded again.
func (c *Copy) Merge() (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merging == nil {
		return false, errLostSince
	}
	return c.mergePart(), nil
}

func (c *Copy) mergePart() (more bool) {
	m := c.merging
	if m.part == revset.Parts {
		return false
	}
	old, now := c.sets.Load(), c.Now()
	for _, set := range [...]*revset.Set{old.store, old.lost} {
		for key, times := range set.Part(m.part) {
			has, ok := m.next.store.Get(key)
			switch {
			case m.removed[key] || times.Expired(now):
			case ok && times.Within(has):
				if set == old.lost {
					c.healed++
				}
			default:
				m.next.lost.Put(key, times)
				if set == old.store {
					m.lost++
				}
			}
		}
	}
	m.part++
	return m.part < revset.Parts
}

// Install replaces the copy by a snapshot of the store at a position. What the copy
// had and the store does not have stays in force if it was not removed meanwhile: a
// revocation that was acknowledged is in force as long as this program runs. Heal
// writes it back, except after 23 hours without an answer from the store, which may have
// forgotten removals of that time. Install returns how many entries the store has
// lost since the Install before.
//
// Join must have returned true for the snapshot. From then on the position of the copy
// is that of the snapshot; the one that is passed is for a copy that does not follow.
// It takes long with millions of entries if Merge was not called until it returned false.
// Install returns false if the store has lost changes since Join: the snapshot may have
// them.
func (c *Copy) Install(s *Snapshot, at Position, asOf time.Time) (lost int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merging == nil || c.merging.snapshot != s {
		return 0, false
	}
	if c.broken {
		c.trail = nil // of changes that the store has lost, or that have left its log
	} else {
		at = c.at
	}
	for c.mergePart() {
	}
	for _, r := range s.removals {
		c.remember(r.mark, r.expires) // not before they are in force here
	}
	next := c.merging.next
	lost = c.merging.lost
	away, kept := c.wasAway(), map[revset.Key]bool{}
	if away || len(c.kept) > 0 {
		for key := range next.lost.All() {
			if away || c.kept[key] {
				kept[key] = true
			}
		}
	}
	c.kept = kept
	c.sets.Store(next)
	c.at, c.broken, c.loading, c.rejoined, c.merging = at, false, false, false, nil
	c.previewed, c.added, c.ahead = 0, nil, Position{}
	c.trail.add(at)
	c.loads, c.loaded = c.loads+1, time.Now()
	if next.lost.Size() > 0 {
		signal(c.losses)
	}
	c.release()
	c.Heard(asOf)
	return lost, true
}

// release lets the changes continue that wait for the copy.
func (c *Copy) release() {
	close(c.installed)
	c.installed = make(chan struct{})
}
