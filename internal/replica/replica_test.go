package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// database is a store in memory: what a Redis or SQL server is to an instance.
type database struct {
	mu      sync.Mutex
	down    bool
	seq     uint64
	entries map[string]replica.Entry
	log     []replica.Change // the last logLength changes
}

const logLength = 50

var errDown = errors.New("out of reach")

func (d *database) write(e replica.Entry, remove bool) (replica.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return replica.Change{}, errDown
	}
	d.seq++
	if old, ok := d.entries[e.Key]; ok {
		e.Until, e.Expires = max(e.Until, old.Until), max(e.Expires, old.Expires)
	}
	if remove {
		delete(d.entries, e.Key)
	} else {
		d.entries[e.Key] = e
	}
	change := replica.Change{Seq: d.seq, Entry: e, Removed: remove}
	d.log = append(d.log[max(0, len(d.log)-logLength+1):], change)
	return change, nil
}

// store is an instance that polls.
type store struct {
	*replica.Copy
	db   *database
	done chan struct{}
}

func open(ctx context.Context, db *database, maxStale time.Duration) (*store, error) {
	s := &store{replica.NewCopy(maxStale), db, make(chan struct{})}
	if err := errors.Join(ctx.Err(), s.load()); err != nil {
		return nil, err
	}
	go s.follow(ctx)
	return s, nil
}

func (s *store) load() error {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.down {
		return errDown
	}
	var snapshot replica.Snapshot
	for _, e := range s.db.entries {
		if err := snapshot.Add(e); err != nil {
			return err
		}
	}
	s.Install(&snapshot, s.db.seq, time.Now(), s.db.seq < s.Seq())
	return nil
}

func (s *store) follow(ctx context.Context) {
	defer close(s.done)
	for ctx.Err() == nil {
		<-time.After(time.Millisecond)
		sent := time.Now()
		s.db.mu.Lock()
		down, back, log := s.db.down, s.db.seq < s.Seq(), append([]replica.Change(nil), s.db.log...)
		for len(log) > 0 && log[0].Seq+5 < s.Seq() { // with some overlap
			log = log[1:]
		}
		s.db.mu.Unlock()
		switch err := s.Follow(log...); {
		case down:
		case back || errors.Is(err, replica.ErrGap):
			_ = s.load()
		case err == nil:
			s.Heard(sent)
		}
	}
}

func (s *store) Revoke(_ context.Context, r jwthttp.Revocation) error {
	e, err := replica.NewEntry(r)
	if err != nil {
		return err
	}
	return s.write(e, false)
}

func (s *store) Remove(_ context.Context, r jwthttp.Revocation) error {
	e, err := replica.NewRemoval(r)
	if err != nil {
		return err
	}
	return s.write(e, true)
}

func (s *store) write(e replica.Entry, remove bool) error {
	change, err := s.db.write(e, remove)
	if err != nil {
		return err
	}
	return s.Made(change)
}

func (s *store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	r, err := replica.OfToken(t)
	if err != nil {
		return err
	}
	return s.Revoke(ctx, r)
}

func (s *store) Ready(context.Context) error { return s.Copy.Ready() }
func (s *store) Wait()                       { <-s.done }

func TestAStoreInMemory(t *testing.T) {
	jwthttptest.TestRevocationStore(t, func(*testing.T) jwthttptest.RevocationBackend {
		db := &database{entries: map[string]replica.Entry{}}
		down := func(down bool) func() {
			return func() {
				db.mu.Lock()
				defer db.mu.Unlock()
				db.down = down
			}
		}
		return jwthttptest.RevocationBackend{
			Open: func(ctx context.Context, maxStale time.Duration) (jwthttptest.RevocationStore, error) {
				return open(ctx, db, maxStale)
			},
			Stop: down(true), Start: down(false),
			Delay: time.Second,
		}
	})
}

func entry(t *testing.T, id string) replica.Entry {
	t.Helper()
	e, err := replica.NewEntry(jwthttp.Revocation{Issuer: "i", ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func want(t *testing.T, c *replica.Copy, id string, revoked bool) {
	t.Helper()
	if got, err := c.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: id}); err != nil || got != revoked {
		t.Errorf("%s is revoked: %v, %v; want %v", id, got, err, revoked)
	}
}

func fresh(t *testing.T, seq uint64, ids ...string) *replica.Copy {
	t.Helper()
	c := replica.NewCopy(time.Minute)
	var s replica.Snapshot
	for _, id := range ids {
		if err := s.Add(entry(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	c.Install(&s, seq, time.Now(), false)
	return c
}

func TestAnEntryIsItsRevocation(t *testing.T) {
	now := time.Unix(1_700_000_000, 123_456_789)
	keys := map[string]int{}
	for i, r := range []jwthttp.Revocation{
		{Issuer: "i", ID: "x"},
		{ID: "x"},
		{Issuer: "i", ID: "x", IssuedUntil: now},
		{Issuer: "i", Subject: "x", IssuedUntil: now, Expires: time.Unix(1_700_000_100, 0)},
		{Issuer: "i", SessionID: "x", IssuedUntil: now},
		{Issuer: "i", ClientID: "x", IssuedUntil: now},
		{Issuer: "ix", IssuedUntil: now},
		{Issuer: "i", IssuedUntil: now},
		{Fingerprint: fmt.Sprintf("%064x", 5)},
	} {
		e, err := replica.NewEntry(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := e.Revocation(); err != nil || back != r {
			t.Errorf("%+v comes back as %+v, %v", r, back, err)
		}
		if j, ok := keys[e.Key]; ok && !(j == 0 && i == 2) || len(e.Key) != 43 {
			t.Errorf("key %q of %d and %d", e.Key, i, j)
		}
		keys[e.Key] = i
	}
	for _, tt := range []struct{ until, expires, wantUntil, wantExpires time.Time }{
		{time.Unix(-5, 0), time.Unix(100, 1), time.Unix(0, 1), time.Unix(101, 0)},
		{time.Unix(0, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 1), time.Time{}},
		{time.Unix(0, 5), time.Unix(-100, 0), time.Unix(0, 5), time.Unix(1, 0)},
		{time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Unix(100, 0), time.Unix(0, 1), time.Unix(100, 0)},
	} {
		e, err := replica.NewEntry(jwthttp.Revocation{Issuer: "i", Subject: "x", IssuedUntil: tt.until, Expires: tt.expires})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := e.Revocation(); err != nil || !back.IssuedUntil.Equal(tt.wantUntil) || !back.Expires.Equal(tt.wantExpires) {
			t.Errorf("%v, %v come back as %v, %v, %v", tt.until, tt.expires, back.IssuedUntil, back.Expires, err)
		}
	}
	covered, _ := replica.NewEntry(jwthttp.Revocation{Fingerprint: fmt.Sprintf("%064x", 5)})
	if e, err := replica.NewEntry(jwthttp.Revocation{Issuer: "i", Fingerprint: fmt.Sprintf("%064x", 5)}); err != nil || e.Key != covered.Key {
		t.Errorf("a fingerprint with its issuer is another entry than without: %v", err)
	}
	if _, err := (replica.Entry{Identity: "x"}).Revocation(); err == nil {
		t.Error("an entry of nonsense")
	}
}

func TestFollowing(t *testing.T) {
	c := fresh(t, 5, "a")
	change := func(seq uint64, id string, removed bool) replica.Change {
		return replica.Change{Seq: seq, Entry: entry(t, id), Removed: removed}
	}
	if err := c.Follow(change(4, "old", false), change(5, "old", false), change(6, "b", false), change(7, "a", true)); err != nil {
		t.Fatal(err)
	}
	want(t, c, "old", false)
	want(t, c, "a", false)
	want(t, c, "b", true)
	if err := c.Follow(change(9, "c", false)); !errors.Is(err, replica.ErrGap) || c.Seq() != 7 {
		t.Errorf("a gap: %v at %d", err, c.Seq())
	}
	want(t, c, "c", false)
	if err := c.Follow(replica.Change{Seq: 8, Entry: replica.Entry{Identity: "x"}}); err == nil || c.Seq() != 7 {
		t.Errorf("nonsense: %v at %d", err, c.Seq())
	}
}

// A change made here is in force at once, and an older one that comes by later
// does not undo it.
func TestChangesOfOnesOwn(t *testing.T) {
	c := fresh(t, 0)
	revoke, remove := replica.Change{Seq: 2, Entry: entry(t, "a")}, replica.Change{Seq: 1, Entry: entry(t, "a"), Removed: true}
	made := func(change replica.Change) {
		t.Helper()
		if err := c.Made(change); err != nil {
			t.Fatal(err)
		}
	}
	made(revoke)
	want(t, c, "a", true)
	made(remove) // its answer was late
	want(t, c, "a", true)
	if err := c.Follow(remove); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", true)
	if err := c.Follow(revoke, replica.Change{Seq: 3, Entry: entry(t, "a"), Removed: true}); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", false)
	made(revoke) // and its answer was later still
	want(t, c, "a", false)

	// A snapshot that was read before does not undo it either; one that was
	// read after has the last word.
	made(replica.Change{Seq: 5, Entry: entry(t, "b")})
	made(replica.Change{Seq: 6, Entry: entry(t, "c")})
	c.Install(&replica.Snapshot{}, 5, time.Now(), false)
	want(t, c, "b", false)
	want(t, c, "c", true)
	if err := c.Follow(replica.Change{Seq: 6, Entry: entry(t, "c")}, replica.Change{Seq: 7, Entry: entry(t, "c"), Removed: true}); err != nil {
		t.Fatal(err)
	}
	want(t, c, "c", false)
}

// A number of ours that another change has shows that ours was lost.
func TestANumberThatIsTakenByAnother(t *testing.T) {
	removed := replica.Change{Seq: 3, Entry: entry(t, "a"), Removed: true}
	for name, other := range map[string]replica.Change{
		"of another token": {Seq: 3, Entry: entry(t, "b")}, "the opposite": {Seq: 3, Entry: entry(t, "a")},
	} {
		c := fresh(t, 2, "a")
		if err := c.Made(removed); err != nil || c.Known() != 3 || c.Seq() != 2 {
			t.Fatalf("%v, known %d at %d", err, c.Known(), c.Seq())
		}
		if err := c.Follow(other); !errors.Is(err, replica.ErrLost) || c.Seq() != 2 {
			t.Errorf("%s: %v at %d", name, err, c.Seq())
		}
		if err := c.Follow(removed); err != nil || c.Known() != 3 {
			t.Errorf("our own: %v, known %d", err, c.Known())
		}
	}
}

// What a store has lost stays in force where it was known, until it is removed.
func TestAStoreThatLosesChanges(t *testing.T) {
	c := fresh(t, 9, "a", "b")
	var s replica.Snapshot
	if err := s.Add(entry(t, "c")); err != nil {
		t.Fatal(err)
	}
	c.Install(&s, 3, time.Now(), true)
	for _, id := range []string{"a", "b", "c"} {
		want(t, c, id, true)
	}
	if err := c.Follow(replica.Change{Seq: 4, Entry: entry(t, "a"), Removed: true}); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", false)
	c.Install(&replica.Snapshot{}, 8, time.Now(), false) // which is no loss
	want(t, c, "b", true)
	want(t, c, "c", false)
	if c.Len() != 1 {
		t.Errorf("%d entries", c.Len())
	}
}

func TestStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replica.NewCopy(time.Minute)
		if err := c.Ready(); !errors.Is(err, replica.ErrStale) || c.Staleness() != math.MaxInt64 {
			t.Errorf("before it has heard of anything: %v, %v", err, c.Staleness())
		}
		var s replica.Snapshot
		if err := s.Add(entry(t, "a")); err != nil {
			t.Fatal(err)
		}
		asOf := time.Now()
		time.Sleep(10 * time.Second)
		c.Install(&s, 1, asOf, false) // the question's time counts
		if c.Staleness() != 10*time.Second {
			t.Errorf("staleness %v", c.Staleness())
		}
		time.Sleep(50 * time.Second)
		want(t, c, "b", false)
		time.Sleep(time.Nanosecond)
		if revoked, err := c.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: "b"}); revoked || !errors.Is(err, replica.ErrStale) {
			t.Errorf("%v, %v", revoked, err)
		}
		want(t, c, "a", true)
		c.Heard(time.Now().Add(-time.Hour)) // an answer that was long on its way
		if c.Ready() == nil {
			t.Error("ready by an old answer")
		}
		c.Heard(time.Now())
		c.Heard(time.Now().Add(-time.Hour)) // an older answer that comes later
		want(t, c, "b", false)
	})
}

// A machine whose clock runs behind must neither refuse nor cut what another one
// was allowed to revoke.
func TestAClockBehindTheWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := entry(t, "one token, whose IssuedUntil does not matter")
		one.Until = time.Now().Add(10 * time.Minute).UnixNano()
		c := fresh(t, 0)
		if err := c.Follow(replica.Change{Seq: 1, Entry: one}); err != nil {
			t.Fatal(err)
		}
		want(t, c, "one token, whose IssuedUntil does not matter", true)
		c = fresh(t, 0)
		until := time.Now().Add(7 * time.Minute)
		e, err := replica.NewEntry(jwthttp.Revocation{Issuer: "i", Subject: "s", IssuedUntil: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		e.Until = until.UnixNano()
		var s replica.Snapshot
		if err := s.Add(e); err != nil {
			t.Fatal(err)
		}
		lost := replica.NewCopy(time.Hour)
		lost.Install(&s, 5, time.Now(), false)
		lost.Install(&replica.Snapshot{}, 1, time.Now(), true)
		copies := []*replica.Copy{c, replica.NewCopy(time.Hour), replica.NewCopy(time.Hour), lost}
		copies[1].Install(&s, 1, time.Now(), false)
		for _, i := range []int{0, 2} {
			copies[i].Install(&replica.Snapshot{}, 0, time.Now(), false)
			if err := copies[i].Follow(replica.Change{Seq: 1, Entry: e}); err != nil {
				t.Fatal(err)
			}
		}
		if err := copies[2].Follow(replica.Change{Seq: 2, Entry: e, Removed: true}); err != nil {
			t.Fatal(err)
		}
		for minute := range 10 {
			for i, c := range copies {
				c.Heard(time.Now())
				iat := time.Now().Add(5 * time.Minute) // the most that a Leeway admits
				if iat.After(until) {
					iat = until
				}
				got, err := c.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: iat})
				if err != nil || got == (i == 2) {
					t.Errorf("copy %d, minute %d: %v, %v", i, minute, got, err)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}
