package replica

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/revset"
)

// Position is a place in the history of a store.
type Position struct {
	Epoch string // of the store's data
	Seq   uint64 // of the last change; 0: none
	Mark  uint64 // of that change
}

// Change is one step of a store.
type Change struct {
	Seq     uint64 // 1 for the first change of a store, and one more for each
	Mark    uint64 // random; changes with one number, before and after a loss, differ in it
	Record  Record // as it is after the step, or what NewRemoval returned
	Removed bool
}

// NewMark returns the mark of a new change. It is less than 1<<62.
func NewMark() uint64 { return 1 + rand.Uint64N(1<<62-1) }

// Errors of a Copy.
var (
	// ErrGap says that changes are missing, so that everything has to be loaded.
	ErrGap = errors.New("changes are missing")
	// ErrLost says that the store does not have changes that the copy has. So it
	// has lost them, and everything has to be loaded.
	ErrLost = errors.New("the store has lost changes")
	// ErrStale says that a copy has not heard from its store for too long.
	ErrStale = errors.New("no answer from the revocation store")
)

// Copy is one machine's copy. It is safe for concurrent use. Whoever follows the
// store calls Install and Heard from one goroutine.
type Copy struct {
	maxStale time.Duration
	start    time.Time
	heard    atomic.Pointer[clock.Moment] // when the store was last known to have nothing newer; nil: never
	ahead    func() time.Duration         // of the wall clock; nil except in tests

	sets atomic.Pointer[sets]

	mu        sync.Mutex // held to change any of it
	at        Position
	broken    bool          // nothing can be followed from at
	breaks    chan struct{} // has an element if broken was set by a writer
	installed chan struct{} // closed by the next Install
	own       map[uint64]bool
	removed   map[uint64]int64 // marks of the known removals; until when the store has them

	losses chan struct{} // has an element if Install has found something lost
	unsure bool          // what is lost may have been removed so long ago that the store has forgotten it
	healed int
	loads  int
	loaded time.Time
}

// sets are the entries in force. An entry that the store has lost is in both if the
// store has it with earlier times.
type sets struct {
	store *revset.Set // what the store has
	lost  *revset.Set // what it has lost
}

// NewCopy returns a Copy that is stale until Install.
func NewCopy(maxStale time.Duration) *Copy {
	c := &Copy{
		maxStale: maxStale, start: time.Now(),
		broken: true, breaks: make(chan struct{}, 1), installed: make(chan struct{}),
		own: map[uint64]bool{}, removed: map[uint64]int64{}, losses: make(chan struct{}, 1),
	}
	c.sets.Store(&sets{new(revset.Set), new(revset.Set)})
	return c
}

// Revoked is a jwthttp.RevokedFunc. A token that the copy knows to be revoked
// is revoked however old the copy is. For other tokens a stale copy returns an
// error.
func (c *Copy) Revoked(t *jwthttp.Token) (bool, error) {
	if t == nil {
		return false, errors.New("no token")
	}
	if s := c.sets.Load(); s.store.Contains(t) || s.lost.Contains(t) {
		return true, nil
	}
	return false, c.Ready()
}

// Staleness is how long ago the copy was known to have all that the store had. It
// is the larger of what the monotonic and the wall clock say, because the former
// stands still while a machine is suspended.
func (c *Copy) Staleness() time.Duration {
	heard := c.heard.Load()
	if heard == nil {
		return math.MaxInt64
	}
	now := time.Now()
	return max(now.Sub(heard.Monotonic), c.wall(now).Sub(heard.Wall))
}

// wall returns what the wall clock said at a time.
func (c *Copy) wall(at time.Time) time.Time {
	if c.ahead != nil {
		return at.Round(0).Add(c.ahead())
	}
	return at.Round(0)
}

// Ready returns nil unless the copy is stale.
func (c *Copy) Ready() error {
	age := c.Staleness()
	switch {
	case age == math.MaxInt64:
		return fmt.Errorf("%w yet", ErrStale)
	case age > c.maxStale:
		return fmt.Errorf("%w for %v", ErrStale, age.Round(time.Millisecond))
	}
	return nil
}

// Len is the number of entries in force.
func (c *Copy) Len() int {
	s := c.sets.Load()
	s.lost.Len() // drops what has expired
	return s.store.Len() + s.onlyLost()
}

// onlyLost is the number of entries of which the store has none, not even one with
// earlier times.
func (s *sets) onlyLost() int {
	n := 0
	for key := range s.lost.All() {
		if _, ok := s.store.Get(key); !ok {
			n++
		}
	}
	return n
}

// Now returns the time by the slower of this machine's clocks. A store deletes only
// what has expired by it and by the store's clock.
func (c *Copy) Now() time.Time {
	now := time.Now()
	return revset.Slower(c.start, now, c.wall(now))
}

// Position returns where the copy is, and false if it has to be loaded.
func (c *Copy) Position() (Position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, !c.broken
}

// Heard says that the copy has everything the store had at a time: when the
// question was sent, not when the answer came.
func (c *Copy) Heard(asOf time.Time) {
	next := &clock.Moment{Monotonic: asOf, Wall: c.wall(asOf)}
	for {
		last := c.heard.Load()
		if last != nil && !asOf.After(last.Monotonic) || c.heard.CompareAndSwap(last, next) {
			return
		}
	}
}

// Break says that the store does not continue from a position. If the copy is still
// there, it follows nothing until Install. Break reports whether that is so.
func (c *Copy) Break(at Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == at {
		c.broken = true
	}
	return c.broken
}

// Follow makes changes that the store has made directly after a position, in its
// order. It skips those that the copy has, and an answer that is older than the
// copy. After ErrGap and ErrLost the store must be loaded again.
func (c *Copy) Follow(after Position, changes ...Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return fmt.Errorf("%w: the copy is being loaded", ErrGap)
	}
	changes, err := c.rest(after, changes)
	if err != nil {
		return err
	}
	s := c.sets.Load()
	for _, change := range changes {
		healed, err := s.follow(change)
		if err != nil {
			return err
		}
		if healed {
			c.healed++
		}
		if change.Removed {
			c.remember(change.Mark, change.Record.Expires)
		}
		if _, ok := c.own[change.Mark]; ok {
			c.own[change.Mark] = true
		}
		c.at.Seq, c.at.Mark = change.Seq, change.Mark
	}
	return nil
}

// rest returns the changes that come after the copy's position.
func (c *Copy) rest(after Position, changes []Change) ([]Change, error) {
	for i, change := range changes {
		if change.Seq != after.Seq+uint64(i)+1 {
			return nil, fmt.Errorf("%w: %d is not %d after %d", ErrGap, change.Seq, i+1, after.Seq)
		}
	}
	switch {
	case after == c.at:
		return changes, nil
	case after.Epoch != c.at.Epoch || c.at.Seq <= after.Seq || c.at.Seq-after.Seq > uint64(len(changes)):
		return nil, nil // the copy was loaded after the question, or has got further
	}
	same := c.at.Seq - after.Seq - 1
	if changes[same].Mark != c.at.Mark {
		return nil, fmt.Errorf("%w: number %d is another change than here", ErrLost, c.at.Seq)
	}
	return changes[same+1:], nil
}

// follow makes one change, and reports whether the store has again what it had lost.
func (s *sets) follow(change Change) (healed bool, err error) {
	key, times, err := change.Record.parse()
	if err != nil {
		return false, err
	}
	if change.Removed {
		s.store.Remove(key)
		s.lost.Remove(key)
		return false, nil
	}
	s.store.Replace(key, times)
	if lost, ok := s.lost.Get(key); ok && lost.Within(times) {
		s.lost.Remove(key)
		return true, nil
	}
	return false, nil
}

// remember keeps the mark of a removal.
func (c *Copy) remember(mark uint64, expires int64) {
	c.removed[mark] = expires
	looks := 2 // so that there are not many expired ones
	for mark, expires := range c.removed {
		if looks--; looks < 0 {
			return
		}
		if c.Now().After(time.Unix(expires, 0).Add(2 * KeptLonger)) {
			delete(c.removed, mark)
		}
	}
}

// Snapshot is all entries of a store, while they are read.
type Snapshot struct {
	set      revset.Set
	removals []removal
}

type removal struct {
	mark    uint64
	expires int64
	key     revset.Key
}

// Add adds an entry or a removal. An error means that the store holds what it
// should not.
func (s *Snapshot) Add(r Record) error {
	key, times, err := r.parse()
	if err != nil {
		return err
	}
	switch mark, ok, err := r.removal(); {
	case err != nil:
		return err
	case ok:
		s.removals = append(s.removals, removal{mark, r.Expires, key})
	default:
		s.set.Load(key, times)
	}
	return nil
}

// Follow makes changes that the store has made while it was read, in its order.
func (s *Snapshot) Follow(changes ...Change) error {
	for _, change := range changes {
		if _, err := (&sets{&s.set, new(revset.Set)}).follow(change); err != nil {
			return err
		}
		if change.Removed {
			if err := s.Add(change.Removal()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Preview puts changes in force that the store has made while it is loaded. They
// must be part of the Snapshot, too. It does nothing if the copy need not be loaded.
func (c *Copy) Preview(changes ...Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken {
		return
	}
	s := c.sets.Load()
	for _, change := range changes {
		key, times, err := change.Record.parse()
		switch {
		case err != nil: // the Snapshot does not accept it either
		case change.Removed:
			s.store.Remove(key)
			s.lost.Remove(key)
		default:
			s.store.Put(key, times) // later times here are lost ones
		}
	}
}

// Install replaces the copy by a snapshot of the store at a position. What the copy
// had and the store does not have stays in force if it was not removed meanwhile: a
// revocation that was acknowledged is in force as long as this program runs. Heal
// writes it back, except after a day without an answer from the store, which has
// forgotten the removals of that time. Install
// returns how many entries the store has lost since the Install before.
func (c *Copy) Install(s *Snapshot, at Position, asOf time.Time) (lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, now := c.sets.Load(), c.Now()
	removed := map[revset.Key]bool{}
	for _, r := range s.removals {
		// An old one may be from a backup, and older than what it would remove.
		if _, known := c.removed[r.mark]; !known && now.Before(time.Unix(r.expires, 0)) {
			removed[r.key] = true
		}
		c.remember(r.mark, r.expires)
	}
	next := &sets{&s.set, new(revset.Set)}
	for _, set := range [...]*revset.Set{old.store, old.lost} {
		for key, times := range set.All() {
			has, ok := s.set.Get(key)
			switch {
			case removed[key] || times.Expired(now):
			case ok && times.Within(has):
				if set == old.lost {
					c.healed++
				}
			default:
				next.lost.Put(key, times)
				if set == old.store {
					lost++
				}
			}
		}
	}
	c.unsure = next.lost.Size() > 0 && (c.unsure || c.Staleness() > removalFor-time.Hour)
	c.sets.Store(next)
	c.at, c.broken = at, false
	c.loads, c.loaded = c.loads+1, time.Now()
	if next.lost.Size() > 0 {
		signal(c.losses)
	}
	close(c.installed)
	c.installed = make(chan struct{})
	c.Heard(asOf)
	return lost
}

// signal puts an element into a channel that has room for one, if there is none.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
