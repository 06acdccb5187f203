package replica

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
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
	jump     func() time.Duration         // how far ahead the wall clock is; nil except in tests

	sets atomic.Pointer[sets]

	mu        sync.Mutex // held to change any of it
	at        Position
	trail     trail               // ends with at
	broken    bool                // nothing can be followed from at
	loading   bool                // everything has to be loaded
	rejoined  bool                // since the last Install
	away      bool                // wasAway at the last Rejoin
	previewed uint64              // the number of the last change that was made while loading
	added     map[revset.Key]bool // by changes that came one after the other up to that one
	ahead     Position            // where the copy was when Join had less
	merging   *merge              // from Join to Install
	breaks    chan struct{}       // has an element if broken was set by a writer
	installed chan struct{}       // closed by the next Install or Rejoin
	own       map[uint64]bool
	removed   map[uint64]int64 // marks of the known removals; until when the store has them

	losses chan struct{}       // has an element if Install has found something lost
	kept   map[revset.Key]bool // what was perhaps removed so long ago that the store has forgotten it
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
		broken: true, loading: true, breaks: make(chan struct{}, 1), installed: make(chan struct{}),
		own: map[uint64]bool{}, removed: map[uint64]int64{}, losses: make(chan struct{}, 1), kept: map[revset.Key]bool{},
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
	if c.jump != nil {
		return at.Round(0).Add(c.jump())
	}
	return at.Round(0)
}

// wasAway reports whether the store may have forgotten removals since it was last heard of.
func (c *Copy) wasAway() bool { return c.Staleness() > removalFor-time.Hour }

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

// Position returns where the copy is, and false if nothing can be followed from there
// until Rejoin or Install.
func (c *Copy) Position() (Position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, !c.broken
}

// Loading reports whether everything has to be loaded.
func (c *Copy) Loading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loading
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
// there, it follows nothing until Rejoin or Install. Break reports whether that is so.
func (c *Copy) Break(at Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == at && !c.broken {
		c.broken, c.loading, c.merging = true, true, nil
	}
	return c.broken
}

// Follow makes changes that the store has made directly after a position, in its
// order. It skips those that the copy has, and an answer that is older than the
// copy. After ErrGap and ErrLost the store must be loaded again.
func (c *Copy) Follow(after Position, changes ...Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.follow(after, changes)
}

func (c *Copy) follow(after Position, changes []Change) error {
	if c.broken {
		return fmt.Errorf("%w: the copy is being loaded", ErrGap)
	}
	changes, err := c.rest(after, changes)
	if err != nil {
		return err
	}
	if (!c.loading || c.merging != nil) && slices.ContainsFunc(changes, c.knows) {
		return fmt.Errorf("%w: a removal that the copy has followed comes again", ErrGap)
	}
	for _, change := range changes {
		if err := c.apply(change); err != nil {
			return err
		}
		if _, ok := c.own[change.Mark]; ok {
			c.own[change.Mark] = true
		}
		c.at.Seq, c.at.Mark = change.Seq, change.Mark
	}
	c.trail.add(c.at)
	return nil
}

// apply makes one change.
func (c *Copy) apply(change Change) error {
	if len(c.kept) > 0 && !c.loading {
		key, _, _ := change.Record.parse()
		delete(c.kept, key)
	}
	follow := c.sets.Load().follow
	if c.loading {
		follow = c.preview
	}
	healed, err := follow(change)
	if err != nil {
		return err
	}
	if c.merging != nil {
		again, _ := c.merging.next.follow(change)
		healed = healed || again
	}
	if healed {
		c.healed++
	}
	if change.Removed {
		c.remember(change.Mark, change.Record.Expires)
	}
	return nil
}

// rest returns the changes that come after the copy's position.
func (c *Copy) rest(after Position, changes []Change) ([]Change, error) {
	if err := consecutive(after, changes); err != nil {
		return nil, err
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

// consecutive returns ErrGap unless the changes come directly after a position, and
// after each other.
func consecutive(after Position, changes []Change) error {
	for i, change := range changes {
		if change.Seq != after.Seq+uint64(i)+1 {
			return fmt.Errorf("%w: %d is not %d after %d", ErrGap, change.Seq, i+1, after.Seq)
		}
	}
	return nil
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

// knows reports whether a change is a removal of what the copy has, and the copy has followed
// it before. The store had lost it, and has it again. It may be older than what it would
// remove.
func (c *Copy) knows(change Change) bool {
	if _, known := c.removed[change.Mark]; !known || !change.Removed {
		return false
	}
	key, _, _ := change.Record.parse()
	s := c.sets.Load()
	_, has := s.store.Get(key)
	_, lost := s.lost.Get(key)
	return has || lost
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

// Snapshot is all entries of a store, while they are read. NewSnapshot returns one.
type Snapshot struct {
	set      revset.Set
	settled  int        // how many parts of set are settled
	changes  []Change   // made while the store was read, until Settle has made them
	mu       sync.Mutex // of removals
	removals []removal
}

type removal struct {
	mark    uint64
	expires int64
	key     revset.Key
}

// NewSnapshot returns an empty Snapshot for the copy.
func (c *Copy) NewSnapshot() *Snapshot {
	s := new(Snapshot)
	s.set.Align(c.sets.Load().store)
	return s
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
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removals = append(s.removals, removal{mark, r.Expires, key})
	default:
		s.set.Load(key, times)
	}
	return nil
}

// AddAll adds n records, with the goroutines that the machine has processors for: to
// parse and to add millions takes most of the time of a load.
func (s *Snapshot) AddAll(n int, record func(int) (Record, error)) error {
	parts := min(runtime.GOMAXPROCS(0), 1+n/leastPart)
	errs := make([]error, parts)
	var adding sync.WaitGroup
	for part := range parts {
		adding.Go(func() {
			for i := n * part / parts; i < n*(part+1)/parts && errs[part] == nil; i++ {
				r, err := record(i)
				if err == nil {
					err = s.Add(r)
				}
				errs[part] = err
			}
		})
	}
	adding.Wait()
	return errors.Join(errs...)
}

// leastPart is how many records are worth a goroutine.
const leastPart = 200

// Follow makes changes that the store has made while it was read, in its order. They
// include the last change of each record that was added, or those of a later call do.
func (s *Snapshot) Follow(changes ...Change) error {
	for _, change := range changes {
		if _, _, err := change.Record.parse(); err != nil {
			return err
		}
	}
	if s.settled < revset.Parts || len(s.changes) > 0 {
		s.changes = append(s.changes, changes...)
	} else {
		s.make(changes)
	}
	return nil
}

// make makes changes whose records can be parsed.
func (s *Snapshot) make(changes []Change) {
	for _, change := range changes {
		_, _ = (&sets{&s.set, new(revset.Set)}).follow(change)
		if change.Removed {
			_ = s.Add(change.Removal())
		}
	}
}

// Settle prepares some of the records to be looked up and then makes some of the
// changes. It reports whether there are more. No record may be added after it.
func (s *Snapshot) Settle() (more bool) {
	if s.settled == revset.Parts {
		n := min(len(s.changes), mostChanges)
		s.make(s.changes[:n])
		s.changes = s.changes[n:]
		return len(s.changes) > 0
	}
	var settling sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), revset.Parts-s.settled) {
		part := s.settled
		settling.Go(func() { s.set.Settle(part) })
		s.settled++
	}
	settling.Wait()
	return true
}

// mostChanges is how many changes one Settle makes, which takes about 10 ms.
const mostChanges = 10_000

// Preview puts changes in force that the store has made while it is loaded. They
// must be part of the Snapshot, too. It does nothing after Rejoin: the copy may have
// those changes and later ones.
func (c *Copy) Preview(changes ...Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken || c.rejoined {
		return
	}
	for _, change := range changes {
		_ = c.apply(change) // the Snapshot does not accept it either
	}
}

// preview is follow for a copy that may have the change, or later ones that the store
// has lost.
func (c *Copy) preview(change Change) (healed bool, err error) {
	if change.Seq <= c.previewed || c.added == nil {
		c.added = map[revset.Key]bool{}
	}
	c.previewed = change.Seq
	s := c.sets.Load()
	key, times, err := change.Record.parse()
	switch {
	case err != nil:
		return false, err
	case !change.Removed:
		lost, ok := s.lost.Get(key)
		if _, has := s.store.Get(key); !has && !ok {
			c.added[key] = true
		}
		s.store.Put(key, times) // later times here are lost ones
		if healed = ok && lost.Within(times); healed {
			s.lost.Remove(key)
		}
	case c.removes(change.Mark, change.Record.Expires):
		s.store.Remove(key)
		s.lost.Remove(key)
	case c.added[key]: // by an earlier change of those that the copy may have
		s.store.Remove(key)
	case c.away: // otherwise it has followed the removal, and may have forgotten that
		if _, known := c.removed[change.Mark]; !known {
			c.kept[key] = true
		}
	}
	return healed, nil
}

// removes reports whether a removal applies to what the copy has. One that it knows
// may be older than what it would remove, and so may an old one, from a backup.
func (c *Copy) removes(mark uint64, expires int64) bool {
	_, known := c.removed[mark]
	return !known && c.Now().Before(time.Unix(expires, 0))
}

// signal puts an element into a channel that has room for one, if there is none.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
