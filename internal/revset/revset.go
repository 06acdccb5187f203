package revset

import (
	"hash/maphash"
	"iter"
	"maps"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/seed450a7203/jwthttp"
)

// Set is a set of entries. The zero value is empty and ready for use. It is safe
// for concurrent use and has no goroutine.
//
// An expired entry is deleted by a later change that happens to look at it. Each
// change looks at a few entries, so that it never takes long; with continued
// changes about one entry in sweepPerChange is an expired one. Len deletes all.
type Set struct {
	once sync.Once // sets seed and start with the first entry
	seed maphash.Seed
	// start is when the first entry came, with a monotonic reading.
	start time.Time
	wall  func() time.Time // nil: time.Now; tests set the clock with it

	held   [kinds]atomic.Int64 // the number of entries by kind, expired ones included
	shards [shardCount]shard
}

// shardCount is how many parts a Set has. Only one of them is locked at a time:
// to look at all entries of a part, or to make its map anew, takes about 100 us
// at a million entries in the Set.
const shardCount = 256

// shard holds the entries whose value has one hash. They are found by the
// values themselves and not by a hash of these: a Remove of one entry can
// therefore never delete another one.
type shard struct {
	mu     sync.RWMutex
	groups map[group]*entries // none is empty, except between Load and Settle
}

// group is what many entries have in common. They share its memory.
type group struct {
	kind   Kind
	issuer string
}

// entries are the entries of a group, by value.
type entries struct {
	times  map[string]Times
	peak   int      // the most entries since the map was made
	loaded []loaded // by Load, until Settle
}

// loaded is an entry of a group.
type loaded struct {
	value string
	times Times
}

// sweepPerChange is how many entries a change looks at.
const sweepPerChange = 8

// maxLeeway is how long after its "exp" a token may be accepted.
const maxLeeway = 5 * time.Minute

func (s *Set) init() {
	s.seed, s.start = maphash.MakeSeed(), time.Now()
}

// Align puts the entries of s into the same parts as those of another Set. It must be
// called before s has an entry.
func (s *Set) Align(with *Set) {
	with.once.Do(with.init)
	s.once.Do(func() { s.seed, s.start = with.seed, with.start })
}

// now returns the slower of the wall clock and the monotonic clock. Neither a
// jump ahead of the one nor a correction of it afterwards may revive a token.
func (s *Set) now() time.Time {
	now := time.Now()
	if s.wall != nil {
		return Slower(s.start, now, s.wall())
	}
	return Slower(s.start, now, now)
}

// Slower returns wall, or the time that the monotonic clock counts from start to
// now if that is earlier.
func Slower(start, now, wall time.Time) time.Time {
	steady := start.Add(now.Sub(start)).Round(0)
	// Without Round, Before would compare the monotonic readings of both.
	if wall = wall.Round(0); wall.Before(steady) {
		return wall
	}
	return steady
}

func (s *Set) shard(value string) *shard {
	return &s.shards[maphash.String(s.seed, value)%shardCount]
}

// Put adds an entry. If there is one for the same tokens, it gets the later of
// both times.
func (s *Set) Put(key Key, times Times) { s.set(key, times, Times.later) }

// Replace adds an entry, in place of the one for the same tokens.
func (s *Set) Replace(key Key, times Times) {
	s.set(key, times, latest)
}

// Load adds an entry to a Set with millions of them that is being filled. The entry is
// in the Set after Settle, which must be called for each part before anything else: a
// Remove could drop what is not settled. Of entries for the same tokens, the last one
// stays.
func (s *Set) Load(key Key, times Times) {
	s.once.Do(s.init)
	value := strings.Clone(key.Value) // see put
	sh := s.shard(value)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entriesOf(key)
	e.loaded = append(e.loaded, loaded{value, times})
}

// Settle makes the map of a part of what Load has added. A map that has its size from
// the start, and is filled before the next one, takes a third of the time.
func (s *Set) Settle(part int) {
	sh := &s.shards[part]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for g, e := range sh.groups {
		before := len(e.times)
		if before == 0 {
			e.times = make(map[string]Times, len(e.loaded))
		}
		for _, l := range e.loaded {
			e.times[l.value] = l.times
		}
		e.loaded, e.peak = nil, max(e.peak, len(e.times))
		s.held[g.kind].Add(int64(len(e.times) - before))
	}
}

// latest returns the new times of an entry.
func latest(times, _ Times) Times { return times }

// set adds an entry. If there is one for the same tokens, it gets what merge
// returns for the new and the old times.
func (s *Set) set(key Key, times Times, merge func(times, old Times) Times) {
	s.once.Do(s.init)
	sh := s.shard(key.Value)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.put(sh, key, times, merge)
	s.sweep(sh, sweepPerChange)
}

func (s *Set) put(sh *shard, key Key, times Times, merge func(times, old Times) Times) {
	e := sh.entriesOf(key)
	if old, ok := e.times[key.Value]; ok {
		e.times[key.Value] = merge(times, old)
	} else {
		// A clone, because the value may be part of a larger text.
		e.times[strings.Clone(key.Value)] = times
		e.peak = max(e.peak, len(e.times))
		s.held[key.Kind].Add(1)
	}
}

// entriesOf returns the entries of the group of key, which it makes if needed.
func (sh *shard) entriesOf(key Key) *entries {
	g := group{key.Kind, key.Issuer}
	if sh.groups == nil {
		sh.groups = make(map[group]*entries)
	}
	e, ok := sh.groups[g]
	if !ok {
		e = &entries{times: make(map[string]Times)}
		g.issuer = unique.Make(g.issuer).Value() // shared by all shards
		sh.groups[g] = e
	}
	return e
}

// Remove deletes an entry, if it is there.
func (s *Set) Remove(key Key) {
	s.once.Do(s.init)
	sh := s.shard(key.Value)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if g := (group{key.Kind, key.Issuer}); sh.groups[g] != nil {
		s.drop(sh, g, key.Value)
	}
	s.sweep(sh, sweepPerChange)
}

// drop deletes an entry of a group, if it is there.
func (s *Set) drop(sh *shard, g group, value string) {
	e := sh.groups[g]
	if _, ok := e.times[value]; !ok {
		return
	}
	delete(e.times, value)
	s.held[g.kind].Add(-1)
	switch left := len(e.times); {
	case left == 0:
		delete(sh.groups, g)
	case e.peak > 64 && left < e.peak/4:
		// A map does not shrink, and a range over one that is nearly empty is slow.
		times := make(map[string]Times, left)
		maps.Copy(times, e.times)
		e.times, e.peak = times, left
	}
}

// sweep looks at the first n entries that a range over the maps yields, which are
// others each time, and deletes those that have expired.
func (s *Set) sweep(sh *shard, n int) {
	now := s.now()
	for g, e := range sh.groups {
		for value, times := range e.times {
			if n--; n < 0 {
				return
			}
			if times.Expired(now) {
				s.drop(sh, g, value)
			}
		}
	}
}

// later returns the later of each of the times.
func (t Times) later(old Times) Times {
	return Times{max(t.Until, old.Until), max(t.Expires, old.Expires)}
}

// Within reports whether an entry with the times of u revokes all that one with
// those of t does.
func (t Times) Within(u Times) bool { return t.later(u) == u }

// Expired reports whether the tokens have expired for every leeway.
func (t Times) Expired(now time.Time) bool {
	return t.Expires != Never && now.After(time.Unix(t.Expires, 0).Add(maxLeeway))
}

// Contains reports whether an entry revokes t.
func (s *Set) Contains(t *jwthttp.Token) bool {
	return s.holds(ByID, t.ID, t) ||
		s.holds(BySubject, t.Subject, t) ||
		s.holds(BySession, t.SessionID, t) ||
		s.holds(ByClient, t.ClientID, t) ||
		s.holds(ByIssuer, "", t) ||
		// The fingerprint is a hash that is computed only if it is needed.
		s.held[ByFingerprint].Load() > 0 && s.holds(ByFingerprint, t.Fingerprint(), t)
}

// holds reports whether there is an entry of kind and value in force for t.
func (s *Set) holds(kind Kind, value string, t *jwthttp.Token) bool {
	if s.held[kind].Load() == 0 || value == "" && kind != ByIssuer {
		return false
	}
	g := group{kind, t.Issuer}
	if kind == ByFingerprint {
		g.issuer = ""
	}
	times, ok := s.shard(value).find(g, value)
	switch {
	case !ok || times.Expired(s.now()):
		return false
	case kind == ByID || kind == ByFingerprint || t.IssuedAt.IsZero():
		return true
	}
	return !t.IssuedAt.After(time.Unix(0, times.Until))
}

func (sh *shard) find(g group, value string) (Times, bool) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	e, ok := sh.groups[g]
	if !ok {
		return Times{}, false
	}
	times, ok := e.times[value]
	return times, ok
}

// Get returns the times of an entry, and whether there is one. It may have expired.
func (s *Set) Get(key Key) (Times, bool) {
	s.once.Do(s.init)
	return s.shard(key.Value).find(group{key.Kind, key.Issuer}, key.Value)
}

// All yields all entries, expired ones included. The loop must not change the Set.
func (s *Set) All() iter.Seq2[Key, Times] {
	return func(yield func(Key, Times) bool) {
		for i := range s.shards {
			if !s.shards[i].all(yield) {
				return
			}
		}
	}
}

// Parts is how many parts a Set has.
const Parts = shardCount

// Part is All for one of the parts.
func (s *Set) Part(i int) iter.Seq2[Key, Times] {
	return func(yield func(Key, Times) bool) { s.shards[i].all(yield) }
}

func (sh *shard) all(yield func(Key, Times) bool) bool {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for g, e := range sh.groups {
		for value, times := range e.times {
			if !yield(Key{g.kind, g.issuer, value}, times) {
				return false
			}
		}
	}
	return true
}

// Size returns the number of entries, expired ones included. It takes no longer for
// many entries than for few.
func (s *Set) Size() int {
	n := int64(0)
	for i := range s.held {
		n += s.held[i].Load()
	}
	return int(n)
}

// Len deletes all expired entries and returns the number of those in force.
func (s *Set) Len() int {
	s.once.Do(s.init)
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		s.sweep(sh, math.MaxInt)
		for _, e := range sh.groups {
			n += len(e.times)
		}
		sh.mu.Unlock()
	}
	return n
}
