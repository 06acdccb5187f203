package revset

import (
	"hash/maphash"
	"maps"
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
	mu      sync.RWMutex
	entries map[Key]Times
	peak    int // the most entries since the map was made
}

// sweepPerChange is how many entries a change looks at.
const sweepPerChange = 8

// maxLeeway is how long after its "exp" a token may be accepted.
const maxLeeway = 5 * time.Minute

func (s *Set) init() {
	s.seed, s.start = maphash.MakeSeed(), time.Now()
}

// now returns the slower of the wall clock and the monotonic clock. Neither a
// jump ahead of the one nor a correction of it afterwards may revive a token.
func (s *Set) now() time.Time {
	wall := time.Now
	if s.wall != nil {
		wall = s.wall
	}
	// Without Round, Before would compare the monotonic readings of both.
	now, steady := wall().Round(0), s.start.Add(time.Since(s.start)).Round(0)
	if now.Before(steady) {
		return now
	}
	return steady
}

func (s *Set) shard(value string) *shard {
	return &s.shards[maphash.String(s.seed, value)%shardCount]
}

// Put adds an entry. If there is one for the same tokens, it gets the later of
// both times.
func (s *Set) Put(key Key, times Times) {
	s.once.Do(s.init)
	sh := s.shard(key.Value)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.entries == nil {
		sh.entries = make(map[Key]Times)
	}
	if old, ok := sh.entries[key]; ok {
		times = Times{max(times.Until, old.Until), max(times.Expires, old.Expires)}
	} else {
		// Most entries have one issuer in common, and no entry should keep a
		// larger text in memory that its value is a part of.
		key.Issuer, key.Value = unique.Make(key.Issuer).Value(), strings.Clone(key.Value)
		s.held[key.Kind].Add(1)
	}
	sh.entries[key] = times
	sh.peak = max(sh.peak, len(sh.entries))
	s.sweep(sh, sweepPerChange)
}

// Remove deletes an entry, if it is there.
func (s *Set) Remove(key Key) {
	s.once.Do(s.init)
	sh := s.shard(key.Value)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.entries[key]; ok {
		s.drop(sh, key)
	}
	s.sweep(sh, sweepPerChange)
}

func (s *Set) drop(sh *shard, key Key) {
	delete(sh.entries, key)
	s.held[key.Kind].Add(-1)
}

// sweep deletes the expired ones of the first n entries that a range over the
// map yields, which are others each time.
func (s *Set) sweep(sh *shard, n int) {
	now := s.now()
	for key, times := range sh.entries {
		if n--; n < 0 {
			break
		}
		if times.expired(now) {
			s.drop(sh, key)
		}
	}
	// A map never shrinks, and a range over one that is nearly empty is slow.
	if sh.peak > 64 && len(sh.entries) < sh.peak/4 {
		entries := make(map[Key]Times, len(sh.entries))
		maps.Copy(entries, sh.entries)
		sh.entries, sh.peak = entries, len(entries)
	}
}

// expired reports whether the tokens have expired for every leeway.
func (t Times) expired(now time.Time) bool {
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
	key := Key{kind, t.Issuer, value}
	if kind == ByFingerprint {
		key.Issuer = ""
	}
	sh := s.shard(value)
	sh.mu.RLock()
	times, ok := sh.entries[key]
	sh.mu.RUnlock()
	switch {
	case !ok || times.expired(s.now()):
		return false
	case kind == ByID || kind == ByFingerprint || t.IssuedAt.IsZero():
		return true
	}
	return !t.IssuedAt.After(time.Unix(0, times.Until))
}

// Len deletes all expired entries and returns the number of those in force.
func (s *Set) Len() int {
	s.once.Do(s.init)
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		s.sweep(sh, len(sh.entries))
		n += len(sh.entries)
		sh.mu.Unlock()
	}
	return n
}
