package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/revocation/revocationtest"
)

// database is a store in memory: what a Redis or SQL server is to an instance.
type database struct {
	mu      sync.Mutex
	down    bool
	seq     uint64
	entries map[string]replica.Record
	log     []replica.Change // the last logLength changes
}

const logLength = 50

var errDown = errors.New("out of reach")

func (d *database) write(r replica.Record, remove bool) (replica.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return replica.Change{}, errDown
	}
	d.seq++
	if old, ok := d.entries[r.Key]; ok {
		r.Until, r.Expires = max(r.Until, old.Until), max(r.Expires, old.Expires)
	}
	if remove {
		delete(d.entries, r.Key)
	} else {
		d.entries[r.Key] = r
	}
	change := replica.Change{Seq: d.seq, Record: r, Removed: remove}
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

func (s *store) Revoke(_ context.Context, e revocation.Entry) error {
	r, err := replica.NewRecord(e)
	return s.write(r, false, err)
}

func (s *store) Remove(_ context.Context, e revocation.Entry) error {
	r, err := replica.NewRemoval(e)
	return s.write(r, true, err)
}

func (s *store) RevokeToken(_ context.Context, t *jwthttp.Token) error {
	r, err := replica.OfToken(t)
	return s.write(r, false, err)
}

func (s *store) write(r replica.Record, remove bool, invalid error) error {
	if invalid != nil {
		return invalid
	}
	change, err := s.db.write(r, remove)
	if err != nil {
		return err
	}
	return s.Made(change)
}

func (s *store) Revoked(_ context.Context, t *jwthttp.Token) (bool, error) { return s.Copy.Revoked(t) }

func (s *store) Ready(context.Context) error { return s.Copy.Ready() }
func (s *store) Wait()                       { <-s.done }

func TestCopy_store(t *testing.T) {
	revocationtest.TestStore(t, func(*testing.T) revocationtest.Backend {
		db := &database{entries: map[string]replica.Record{}}
		down := func(down bool) func() {
			return func() {
				db.mu.Lock()
				defer db.mu.Unlock()
				db.down = down
			}
		}
		return revocationtest.Backend{
			Open: func(ctx context.Context, maxStale time.Duration) (revocation.Store, error) {
				return open(ctx, db, maxStale)
			},
			Stop: down(true), Start: down(false),
			Delay: time.Minute,
		}
	})
}

func record(t *testing.T, id string) replica.Record {
	t.Helper()
	e, err := replica.NewRecord(revocation.Entry{Kind: revocation.ByID, Issuer: "i", Value: id})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func want(t *testing.T, c *replica.Copy, id string, revoked bool) {
	t.Helper()
	if got, err := c.Revoked(&jwthttp.Token{Issuer: "i", ID: id}); err != nil || got != revoked {
		t.Errorf("%s is revoked: %v, %v; want %v", id, got, err, revoked)
	}
}

func fresh(t *testing.T, seq uint64, ids ...string) *replica.Copy {
	t.Helper()
	c := replica.NewCopy(time.Minute)
	var s replica.Snapshot
	for _, id := range ids {
		if err := s.Add(record(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	c.Install(&s, seq, time.Now(), false)
	return c
}

// The names and texts that are stored must not change.
func TestRecord_stored(t *testing.T) {
	until := time.Unix(1_700_000_000, 123_456_789)
	expires := time.Now().Add(time.Hour)
	fingerprint := fmt.Sprintf("%064x", 5)
	entry := func(kind revocation.Kind, issuer, value string) revocation.Entry {
		return revocation.Entry{Kind: kind, Issuer: issuer, Value: value, IssuedUntil: until}
	}
	keys := map[string]string{}
	for _, tt := range []struct {
		name, identity, key string // key: "" is not compared
		entry               revocation.Entry
	}{
		{"ID", `{"iss":"i","jti":"x"}`, "vKuPmsoNXRSli0MTH8O4Le8F4g35ogw-TgYul35XU7M", entry(revocation.ByID, "i", "x")},
		{"ID without issuer", `{"jti":"x"}`, "", entry(revocation.ByID, revocation.NoIssuer, "x")},
		{"subject", `{"iss":"i","sub":"x"}`, "rZcVQBmeiRL6PQdOFJ6ipFOf7V4vzHTv07z_9_XHBxk", entry(revocation.BySubject, "i", "x")},
		{"session", `{"iss":"i","sid":"x"}`, "", entry(revocation.BySession, "i", "x")},
		{"client", `{"iss":"i","client_id":"x"}`, "", entry(revocation.ByClient, "i", "x")},
		{"issuer", `{"iss":"i"}`, "KWXfeBQdRfWiBqtN6N4J4VbUiwH74id8IKwLjn4tDkY", entry(revocation.ByIssuer, "i", "")},
		{"another issuer", `{"iss":"ix"}`, "", entry(revocation.ByIssuer, "ix", "")},
		{"no issuer", `{}`, "", entry(revocation.ByIssuer, revocation.NoIssuer, "")},
		{"fingerprint", `{"fingerprint":"` + fingerprint + `"}`, "-yiYq4f2W6L3I0gEiKglKPMVbuCtqYkou_S3D3Osnpw", entry(revocation.ByFingerprint, "i", fingerprint)},
	} {
		tt.entry.Expires = expires
		r, err := replica.NewRecord(tt.entry)
		if err != nil {
			t.Fatal(err)
		}
		if r.Identity != tt.identity || r.Until != until.UnixNano() || r.Expires != expires.Add(time.Second-1).Unix() {
			t.Errorf("%s: stored as %+v", tt.name, r)
		}
		if tt.key != "" && r.Key != tt.key {
			t.Errorf("%s: key %q, want %q", tt.name, r.Key, tt.key)
		}
		if other, ok := keys[r.Key]; ok || len(r.Key) != 43 {
			t.Errorf("%s: key %q is that of %s", tt.name, r.Key, other)
		}
		keys[r.Key] = tt.name
		removal, err := replica.NewRemoval(tt.entry)
		if err != nil || removal.Key != r.Key {
			t.Errorf("%s: removal of %q, %v", tt.name, removal.Key, err)
		}
	}
	another := entry(revocation.ByFingerprint, "another", fingerprint)
	if r, err := replica.NewRecord(another); err != nil || keys[r.Key] != "fingerprint" {
		t.Errorf("a fingerprint with another issuer is another record: %v", err)
	}
}

func TestRecord_times(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		until, expires         time.Time
		wantUntil, wantExpires int64
	}{
		{"before 1970", time.Unix(-5, 0), time.Unix(1e11, 1), 1, 1e11 + 1},
		{"1970, and after the year 9999", time.Unix(0, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), 1, replica.Never},
		{"the year 1", time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Time{}, 1, replica.Never},
	} {
		r, err := replica.NewRecord(revocation.Entry{Kind: revocation.BySubject, Issuer: "i", Value: "x", IssuedUntil: tt.until, Expires: tt.expires})
		if err != nil || r.Until != tt.wantUntil || r.Expires != tt.wantExpires {
			t.Errorf("%s: stored as %+v, %v", tt.name, r, err)
		}
	}
	if r := record(t, "x"); r.Until != 0 || r.Expires != replica.Never {
		t.Errorf("without times: stored as %+v", r)
	}
}

func TestRecord_invalid(t *testing.T) {
	for _, identity := range []string{"x", `{"iss":"i","jti":"x","sub":"y"}`, `{"iss":"i","device":"of a later version"}`} {
		var s replica.Snapshot
		if err := s.Add(replica.Record{Key: "k", Identity: identity}); err == nil {
			t.Errorf("%s is accepted", identity)
		}
	}
}

func TestCopy_Follow(t *testing.T) {
	c := fresh(t, 5, "a")
	change := func(seq uint64, id string, removed bool) replica.Change {
		return replica.Change{Seq: seq, Record: record(t, id), Removed: removed}
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
	if err := c.Follow(replica.Change{Seq: 8, Record: replica.Record{Identity: "x"}}); err == nil || c.Seq() != 7 {
		t.Errorf("nonsense: %v at %d", err, c.Seq())
	}
}

// A change made here is in force at once, and an older one that comes by later
// does not undo it.
func TestCopy_Made(t *testing.T) {
	c := fresh(t, 0)
	revoke, remove := replica.Change{Seq: 2, Record: record(t, "a")}, replica.Change{Seq: 1, Record: record(t, "a"), Removed: true}
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
	if err := c.Follow(revoke, replica.Change{Seq: 3, Record: record(t, "a"), Removed: true}); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", false)
	made(revoke) // and its answer was later still
	want(t, c, "a", false)

	// A snapshot that was read before does not undo it either; one that was
	// read after has the last word.
	made(replica.Change{Seq: 5, Record: record(t, "b")})
	made(replica.Change{Seq: 6, Record: record(t, "c")})
	c.Install(&replica.Snapshot{}, 5, time.Now(), false)
	want(t, c, "b", false)
	want(t, c, "c", true)
	if err := c.Follow(replica.Change{Seq: 6, Record: record(t, "c")}, replica.Change{Seq: 7, Record: record(t, "c"), Removed: true}); err != nil {
		t.Fatal(err)
	}
	want(t, c, "c", false)
}

// If another change has the number of an own one, the own one was lost.
func TestCopy_Follow_lostOwn(t *testing.T) {
	removed := replica.Change{Seq: 3, Record: record(t, "a"), Removed: true}
	for _, tt := range []struct {
		name  string
		other replica.Change
	}{
		{"of another token", replica.Change{Seq: 3, Record: record(t, "b")}},
		{"the opposite", replica.Change{Seq: 3, Record: record(t, "a")}},
	} {
		c := fresh(t, 2, "a")
		if err := c.Made(removed); err != nil || c.Known() != 3 || c.Seq() != 2 {
			t.Fatalf("%v, known %d at %d", err, c.Known(), c.Seq())
		}
		if err := c.Follow(tt.other); !errors.Is(err, replica.ErrLost) || c.Seq() != 2 {
			t.Errorf("%s: %v at %d", tt.name, err, c.Seq())
		}
		if err := c.Follow(removed); err != nil || c.Known() != 3 {
			t.Errorf("our own: %v, known %d", err, c.Known())
		}
	}
}

// What a store has lost stays in force where it was known, until it is removed.
func TestCopy_Install_lossy(t *testing.T) {
	c := fresh(t, 9, "a", "b")
	var s replica.Snapshot
	if err := s.Add(record(t, "c")); err != nil {
		t.Fatal(err)
	}
	c.Install(&s, 3, time.Now(), true)
	for _, id := range []string{"a", "b", "c"} {
		want(t, c, id, true)
	}
	if err := c.Follow(replica.Change{Seq: 4, Record: record(t, "a"), Removed: true}); err != nil {
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

func TestCopy_Staleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replica.NewCopy(time.Minute)
		if err := c.Ready(); !errors.Is(err, replica.ErrStale) || c.Staleness() != math.MaxInt64 {
			t.Errorf("before it has heard of anything: %v, %v", err, c.Staleness())
		}
		var s replica.Snapshot
		if err := s.Add(record(t, "a")); err != nil {
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
		if revoked, err := c.Revoked(&jwthttp.Token{Issuer: "i", ID: "b"}); revoked || !errors.Is(err, replica.ErrStale) {
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

// A machine whose clock is behind must neither reject nor shorten what another one
// was allowed to revoke.
func TestCopy_clockBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := record(t, "one token, whose IssuedUntil does not matter")
		one.Until = time.Now().Add(10 * time.Minute).UnixNano()
		c := fresh(t, 0)
		if err := c.Follow(replica.Change{Seq: 1, Record: one}); err != nil {
			t.Fatal(err)
		}
		want(t, c, "one token, whose IssuedUntil does not matter", true)
		until := time.Now().Add(7 * time.Minute)
		r, err := replica.NewRecord(revocation.Entry{Kind: revocation.BySubject, Issuer: "i", Value: "s", IssuedUntil: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		r.Until = until.UnixNano()
		var s replica.Snapshot
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
		followed, installed, removed, lost := fresh(t, 0), replica.NewCopy(time.Hour), fresh(t, 0), replica.NewCopy(time.Hour)
		installed.Install(&s, 1, time.Now(), false)
		lost.Install(&s, 5, time.Now(), false)
		lost.Install(&replica.Snapshot{}, 1, time.Now(), true)
		for _, c := range []*replica.Copy{followed, removed} {
			if err := c.Follow(replica.Change{Seq: 1, Record: r}); err != nil {
				t.Fatal(err)
			}
		}
		if err := removed.Follow(replica.Change{Seq: 2, Record: r, Removed: true}); err != nil {
			t.Fatal(err)
		}
		for minute := range 10 {
			for i, c := range []*replica.Copy{followed, installed, lost, removed} {
				c.Heard(time.Now())
				iat := time.Now().Add(5 * time.Minute) // the most that a Leeway admits
				if iat.After(until) {
					iat = until
				}
				got, err := c.Revoked(&jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: iat})
				if err != nil || got == (c == removed) {
					t.Errorf("copy %d, minute %d: %v, %v", i, minute, got, err)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestReporter(t *testing.T) {
	var told error
	replica.Reporter(func(err error) { told = err })(replica.ErrLost)
	if told != replica.ErrLost {
		t.Errorf("reported %v", told)
	}
	var text strings.Builder
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	replica.Reporter(nil)(replica.ErrLost)
	if !strings.Contains(text.String(), "level=ERROR") || !strings.Contains(text.String(), "lost") {
		t.Errorf("logged %q", &text)
	}
}
