package replica_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	at      replica.Position
	entries map[string]replica.Record
	log     []replica.Change // the last changes
	keeps   int              // how many; 0: logLength

	refuses  bool             // to heal
	healings int              // how often that was tried
	healed   []replica.Record // what was written back
}

const logLength = 50

var errDown = errors.New("out of reach")

// err returns whether the database is out of reach.
func (d *database) err() error {
	if d.down {
		return errDown
	}
	return nil
}

// after returns the changes after a position.
func (d *database) after(at replica.Position) ([]replica.Change, error) {
	switch {
	case d.down:
		return nil, errDown
	case at == d.at:
		return nil, nil
	case at.Epoch != d.at.Epoch || at.Seq >= d.at.Seq:
		return nil, replica.ErrLost
	case len(d.log) == 0 || d.log[len(d.log)-1].Seq != d.at.Seq:
		return nil, replica.ErrGap
	}
	for i, change := range d.log {
		switch {
		case change.Seq == 1 && at.Seq == 0:
			return d.log, nil
		case change.Seq == at.Seq && change.Mark != at.Mark:
			return nil, replica.ErrLost
		case change.Seq == at.Seq:
			return d.log[i+1:], nil
		}
	}
	return nil, replica.ErrGap
}

// records returns the next ten entries after a key and up to another one.
func (d *database) records(after, until string) (page []replica.Record) {
	for _, key := range slices.Sorted(maps.Keys(d.entries)) {
		if key > after && key <= until && len(page) < 10 {
			page = append(page, d.entries[key])
		}
	}
	return page
}

// write makes a change, and returns those after a position.
func (d *database) write(at replica.Position, change replica.Change) ([]replica.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.after(at); err != nil {
		return nil, err
	}
	d.make(change)
	return d.after(at)
}

// writeBack is a replica.WriteBack, which returns the changes instead of following.
func (d *database) writeBack(at replica.Position, records []replica.Record) ([]replica.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.healings++
	changes, err := d.after(at)
	if err != nil || d.refuses {
		return nil, errors.Join(err, errDown)
	}
	for _, r := range records {
		if !slices.ContainsFunc(changes, func(c replica.Change) bool { return c.Record.Key == r.Key }) {
			d.make(replica.Change{Record: r, Mark: replica.NewMark()})
			d.healed = append(d.healed, r)
		}
	}
	return d.after(at)
}

func (d *database) make(change replica.Change) {
	r := change.Record
	if change.Removed {
		delete(d.entries, r.Key)
		r = change.Removal()
	} else if old, ok := d.entries[r.Key]; ok {
		r.Until, r.Expires = max(r.Until, old.Until), max(r.Expires, old.Expires)
		change.Record = r
	}
	d.entries[r.Key] = r
	d.at.Seq++
	d.at.Mark = change.Mark
	change.Seq = d.at.Seq
	d.log = append(d.log[max(0, len(d.log)-cmp.Or(d.keeps, logLength)+1):len(d.log):len(d.log)], change)
}

// state is what a backup has of a database.
type state struct {
	at      replica.Position
	entries map[string]replica.Record
	log     []replica.Change
}

func (d *database) backup() state {
	d.mu.Lock()
	defer d.mu.Unlock()
	return state{d.at, maps.Clone(d.entries), d.log}
}

func (d *database) restore(s state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.entries, d.log = s.at, map[string]replica.Record{}, s.log
	maps.Copy(d.entries, s.entries)
}

// store is an instance that polls.
type store struct {
	*replica.Copy
	db   *database
	done chan struct{}
	poll time.Duration
	page time.Duration // how long a page of a load takes
	lost atomic.Int64  // what Install has returned

	reports atomic.Int64 // how often healing has failed
}

func open(ctx context.Context, db *database, maxStale time.Duration) (*store, error) {
	s := &store{Copy: replica.NewCopy(maxStale), db: db, done: make(chan struct{}), poll: time.Millisecond}
	err := s.load()
	for errors.Is(err, replica.ErrGap) { // the log is short
		err = s.load()
	}
	if err := errors.Join(ctx.Err(), err); err != nil {
		return nil, err
	}
	s.run(ctx)
	return s, nil
}

func (s *store) run(ctx context.Context) {
	go s.follow(ctx)
	go s.Heal(ctx, s.writeBack, func(error) { s.reports.Add(1) })
}

func (s *store) load() error {
	lost, err := s.Load(context.Background(), source{s}, max(s.page, time.Millisecond))
	s.lost.Add(int64(lost))
	return err
}

// source reads the database in two parts, and each in pages of ten entries.
type source struct{ *store }

func (s source) Head(context.Context) (replica.Position, error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return s.db.at, s.db.err()
}

func (s source) Parts(context.Context) ([]replica.Part, error) {
	part := func(after, until string) replica.Part {
		return func(_ context.Context, at replica.Position, send func(replica.Page) error) error {
			for more := true; more; {
				s.db.mu.Lock()
				records := s.db.records(after, until)
				changes, err := s.db.after(at)
				s.db.mu.Unlock()
				if err != nil {
					return err
				}
				time.Sleep(s.page)
				record := func(i int) (replica.Record, error) { return records[i], nil }
				if err := send(replica.Page{Records: len(records), Record: record, After: at, Changes: changes}); err != nil {
					return err
				}
				at = at.End(changes)
				if more = len(records) > 0; more {
					after = records[len(records)-1].Key
				}
			}
			return nil
		}
	}
	return []replica.Part{part("", "V"), part("V", "~")}, nil
}

func (s source) Changes(_ context.Context, after replica.Position) ([]replica.Change, bool, error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	changes, err := s.db.after(after)
	if len(changes) > 5 {
		return changes[:5], false, err
	}
	return changes, true, err
}

func (s source) Common(_ context.Context, past []replica.Position) (replica.Position, bool, error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	at, ok, err := replica.Newest(past, func(at replica.Position) (replica.Found, error) {
		i := slices.IndexFunc(s.db.log, func(c replica.Change) bool { return c.Seq == at.Seq })
		switch {
		case at.Seq > s.db.at.Seq || i >= 0 && s.db.log[i].Mark != at.Mark:
			return replica.Lost, s.db.err()
		case i < 0:
			return replica.Trimmed, s.db.err()
		}
		return replica.Continues, s.db.err()
	})
	at.Epoch = s.db.at.Epoch
	return at, ok, err
}

func (s source) CatchUp(context.Context) (bool, error) {
	sent := time.Now()
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.down {
		return false, errDown
	}
	at, ok := s.Position()
	changes, err := s.db.after(at)
	if err == nil && ok {
		err = s.Follow(at, changes...)
	}
	if !ok || err != nil {
		s.Break(at)
		return false, nil
	}
	s.Heard(sent)
	return true, nil
}

func (s *store) follow(ctx context.Context) {
	defer close(s.done)
	for ctx.Err() == nil {
		select {
		case <-time.After(s.poll):
		case <-s.Broken():
		case <-ctx.Done():
		}
		s.catchUp()
	}
}

func (s *store) catchUp() {
	sent := time.Now()
	at, ok := s.Position()
	if !ok || s.Loading() {
		_ = s.load()
		return
	}
	s.db.mu.Lock()
	changes, err := s.db.after(at)
	s.db.mu.Unlock()
	if err == nil {
		err = s.Follow(at, changes...)
	}
	switch {
	case err == nil:
		s.Heard(sent)
	case err != errDown && s.Break(at):
		_ = s.load()
	}
}

func (s *store) Revoke(ctx context.Context, e revocation.Entry) error {
	r, err := replica.NewRecord(e)
	return s.write(ctx, replica.Change{Record: r}, err)
}

func (s *store) Remove(ctx context.Context, e revocation.Entry) error {
	r, err := replica.NewRemoval(e)
	return s.write(ctx, replica.Change{Record: r, Removed: true}, err)
}

func (s *store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	r, err := replica.OfToken(t)
	return s.write(ctx, replica.Change{Record: r}, err)
}

func (s *store) write(ctx context.Context, change replica.Change, invalid error) error {
	if invalid != nil {
		return invalid
	}
	return s.Make(ctx, s.done, func(t *replica.Try) error {
		change.Mark = replica.NewMark()
		t.Expect(change.Mark)
		changes, err := s.db.write(t.At, change)
		if err != nil {
			return err
		}
		return s.Follow(t.At, changes...)
	})
}

func (s *store) writeBack(_ context.Context, at replica.Position, records []replica.Record) error {
	changes, err := s.db.writeBack(at, records)
	if err != nil {
		return err
	}
	return s.Follow(at, changes...)
}

func (s *store) Revoked(_ context.Context, t *jwthttp.Token) (bool, error) { return s.Copy.Revoked(t) }

func (s *store) Ready(context.Context) error { return s.Copy.Ready() }
func (s *store) Wait()                       { <-s.done }

func TestCopy_store(t *testing.T) {
	revocationtest.TestStore(t, func(*testing.T) revocationtest.Backend {
		db := &database{at: replica.Position{Epoch: "e"}, entries: map[string]replica.Record{}, keeps: 100_000}
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

// at is the position of the change that has a number for its mark.
func at(seq uint64) replica.Position { return replica.Position{Epoch: "e", Seq: seq, Mark: seq} }

func revokes(t *testing.T, seq uint64, id string) replica.Change {
	t.Helper()
	return replica.Change{Seq: seq, Mark: seq, Record: record(t, id)}
}

func removes(t *testing.T, seq uint64, id string) replica.Change {
	t.Helper()
	r, err := replica.NewRemoval(revocation.Entry{Kind: revocation.ByID, Issuer: "i", Value: id})
	if err != nil {
		t.Fatal(err)
	}
	return replica.Change{Seq: seq, Mark: seq, Record: r, Removed: true}
}

func snapshot(t *testing.T, records ...replica.Record) *replica.Snapshot {
	t.Helper()
	s := new(replica.Snapshot)
	for _, r := range records {
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// fresh returns a Copy that was loaded at a number.
func fresh(t *testing.T, seq uint64, ids ...string) *replica.Copy {
	t.Helper()
	c := replica.NewCopy(time.Minute)
	s := snapshot(t)
	for _, id := range ids {
		if err := s.Add(record(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	c.InstallAll(s, at(seq), time.Now())
	return c
}

func follow(t *testing.T, c *replica.Copy, after uint64, changes ...replica.Change) {
	t.Helper()
	if err := c.Follow(at(after), changes...); err != nil {
		t.Fatal(err)
	}
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

// The fast parser accepts nothing that encoding/json reads in another way.
func FuzzRecord_parse(f *testing.F) {
	for _, identity := range []string{
		`{"iss":"i","jti":"x"}`, `{"iss":"i","sub":"x"}`, `{"iss":"i","sid":"x"}`, `{"iss":"i","client_id":"x"}`, `{"iss":"i"}`, `{}`,
		`{"iss":"","jti":"x"}`, `{"iss":"i","jti":""}`, `{"iss":"i","jti":"x","sub":"y"}`, `{"iss":"i","jti":"x"} `, `{"iss":"i","jti":"x"`,
		`{"iss":"i\\","jti":"x"}`, `{"iss":"i","jti":"\u0041"}`, "{\"iss\":\"i\",\"jti\":\"\x01\"}", "{\"iss\":\"i\",\"jti\":\"\xff\"}", `{"iss":"é","jti":"x"}`,
		`{"iss":"i","fingerprint":"x"}`, `{"jti":"x"}`, `{"iss":"i","JTI":"x"}`, `{"iss":"i","jti":"x"}{}`,
	} {
		f.Add(identity)
	}
	f.Fuzz(func(t *testing.T, identity string) {
		plain, all, ok, err := replica.ParseIdentity(identity)
		if ok && (err != nil || plain != all) {
			t.Errorf("%s: %+v, encoding/json %+v, %v", identity, plain, all, err)
		}
	})
}

// While a copy is loaded, changes are in force at once.
func TestCopy_Preview(t *testing.T) {
	c := fresh(t, 5, "a", "b")
	c.Break(at(5))
	later := record(t, "b")
	later.Expires = time.Now().Add(-time.Hour).Unix()
	c.Preview(revokes(t, 1, "c"), removes(t, 2, "a"), replica.Change{Seq: 3, Mark: 3, Record: later})
	want(t, c, "a", false)
	want(t, c, "b", true) // the later time is lost, or was removed before
	want(t, c, "c", true)
	if n, _ := c.InstallAll(snapshot(t, record(t, "c"), removes(t, 2, "a").Removal()), at(3), time.Now()); n != 1 {
		t.Errorf("%d lost", n)
	}
	want(t, c, "a", false)
	want(t, c, "b", true)
}

func TestCopy_Follow(t *testing.T) {
	c := fresh(t, 5, "a")
	seq := func() uint64 {
		at, _ := c.Position()
		return at.Seq
	}
	follow(t, c, 3, revokes(t, 4, "old"), revokes(t, 5, "old"), revokes(t, 6, "b"), removes(t, 7, "a"))
	want(t, c, "old", false)
	want(t, c, "a", false)
	want(t, c, "b", true)
	follow(t, c, 5, revokes(t, 6, "b"))       // an answer that was late
	follow(t, c, 8, revokes(t, 9, "unknown")) // a question that this copy has not asked
	want(t, c, "unknown", false)
	if err := c.Follow(at(7), revokes(t, 9, "c")); !errors.Is(err, replica.ErrGap) || seq() != 7 {
		t.Errorf("a gap: %v at %d", err, seq())
	}
	want(t, c, "c", false)
	if err := c.Follow(at(7), replica.Change{Seq: 8, Mark: 8, Record: replica.Record{Identity: "x"}}); err == nil || seq() != 7 {
		t.Errorf("nonsense: %v at %d", err, seq())
	}
	other := revokes(t, 7, "d")
	other.Mark = 77
	if err := c.Follow(at(6), other, revokes(t, 8, "e")); !errors.Is(err, replica.ErrLost) || seq() != 7 {
		t.Errorf("another change with the number of the last one: %v at %d", err, seq())
	}
	if c.Break(at(6)) {
		t.Error("broken where it no longer is")
	}
	if !c.Break(at(7)) {
		t.Error("not broken")
	}
	if err := c.Follow(at(7), revokes(t, 8, "e")); !errors.Is(err, replica.ErrGap) {
		t.Errorf("it follows although it has to be loaded: %v", err)
	}
	c.InstallAll(snapshot(t), replica.Position{Epoch: "another", Seq: 7, Mark: 7}, time.Now())
	follow(t, c, 6, revokes(t, 7, "d"), revokes(t, 8, "e")) // an answer from before
	want(t, c, "e", false)
}

// The copy has what the store has, not the later of what both had.
func TestCopy_Follow_earlierTimes(t *testing.T) {
	subject := func(until time.Time) replica.Record {
		r, err := replica.NewRecord(revocation.Entry{Kind: revocation.BySubject, Issuer: "i", Value: "s", IssuedUntil: until})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	now := time.Now()
	c := fresh(t, 0)
	gone := removes(t, 2, "x")
	gone.Record.Identity = subject(now).Identity
	follow(t, c, 0, replica.Change{Seq: 1, Mark: 1, Record: subject(now)}, gone,
		replica.Change{Seq: 3, Mark: 3, Record: subject(now.Add(-time.Hour))})
	for _, tt := range []struct {
		iat  time.Time
		want bool
	}{{now.Add(-time.Minute), false}, {now.Add(-2 * time.Hour), true}} {
		if got, err := c.Revoked(&jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: tt.iat}); got != tt.want || err != nil {
			t.Errorf("issued %v ago: %v, %v", now.Sub(tt.iat), got, err)
		}
	}
	// The store has deleted the entry, because it had expired, and has a new one.
	follow(t, c, 3, replica.Change{Seq: 4, Mark: 4, Record: subject(now.Add(-3 * time.Hour))})
	if got, err := c.Revoked(&jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: now.Add(-2 * time.Hour)}); got || err != nil {
		t.Errorf("with a new entry: %v, %v", got, err)
	}
}

// What a store has lost stays in force where it was known, until it is removed.
func TestCopy_Install(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name   string
		before func(*replica.Copy)
		load   []replica.Record // at number 1
		after  []replica.Change // from number 2 on
		lost   int
		want   map[string]bool
	}{
		{name: "nothing is lost", load: []replica.Record{record(t, "a"), record(t, "b")}, want: map[string]bool{"a": true, "b": true}},
		{name: "one is lost", load: []replica.Record{record(t, "a"), record(t, "c")}, lost: 1, want: map[string]bool{"a": true, "b": true, "c": true}},
		{name: "all are lost", lost: 2, want: map[string]bool{"a": true, "b": true}},
		{name: "one is removed later", lost: 2, after: []replica.Change{removes(t, 2, "a")}, want: map[string]bool{"a": false, "b": true}},
		{name: "one is revoked again, and removed", lost: 2, after: []replica.Change{revokes(t, 2, "a"), removes(t, 3, "a")},
			want: map[string]bool{"a": false, "b": true}},
		{name: "one was removed meanwhile", load: []replica.Record{record(t, "b"), removes(t, 9, "a").Removal()},
			want: map[string]bool{"a": false, "b": true}},
		{name: "the removal is the first change after the loss", load: []replica.Record{removes(t, 1, "a").Removal()}, lost: 1,
			want: map[string]bool{"a": false, "b": true}},
		{name: "the removal was known, and older than what is lost",
			before: func(c *replica.Copy) { follow(t, c, 5, removes(t, 6, "a"), revokes(t, 7, "a")) },
			load:   []replica.Record{record(t, "b"), removes(t, 6, "a").Removal()}, lost: 1, want: map[string]bool{"a": true, "b": true}},
		{name: "the removal is of a backup that is older than what is known of removals",
			load: []replica.Record{{Key: "removed:5", Identity: `{"iss":"i","jti":"a"}`, Expires: time.Now().Add(-time.Minute).Unix()}}, lost: 2,
			want: map[string]bool{"a": true, "b": true}},
		{name: "another copy has removed it, and was lost", before: func(c *replica.Copy) { follow(t, c, 5, removes(t, 6, "a")) },
			load: []replica.Record{record(t, "a"), record(t, "b")}, want: map[string]bool{"a": true, "b": true}},
		{name: "what has expired is not lost", before: func(c *replica.Copy) {
			expired := revokes(t, 6, "c")
			expired.Record.Expires = time.Now().Add(-10 * time.Minute).Unix()
			alive := revokes(t, 7, "d")
			alive.Record.Expires = hour.Unix()
			follow(t, c, 5, expired, alive)
		}, lost: 3, want: map[string]bool{"a": true, "b": true, "c": false, "d": true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fresh(t, 5, "a", "b")
			if tt.before != nil {
				tt.before(c)
			}
			if n, _ := c.InstallAll(snapshot(t, tt.load...), at(1), time.Now()); n != tt.lost {
				t.Errorf("%d lost, want %d", n, tt.lost)
			}
			follow(t, c, 1, tt.after...)
			left := 0
			for id, revoked := range tt.want {
				want(t, c, id, revoked)
				if revoked {
					left++
				}
			}
			if n := c.Len(); n != left {
				t.Errorf("%d entries, want %d", n, left)
			}
		})
	}
}

// The store keeps an entry with earlier times than those it has lost.
func TestCopy_Install_earlierTimes(t *testing.T) {
	r := record(t, "a")
	c := fresh(t, 5, "a")
	r.Expires = time.Now().Add(time.Hour).Unix()
	if n, _ := c.InstallAll(snapshot(t, r), at(3), time.Now()); n != 1 || c.Len() != 1 {
		t.Errorf("%d lost, %d entries", n, c.Len())
	}
	if n, _ := c.InstallAll(snapshot(t, record(t, "a")), at(4), time.Now()); n != 0 || c.Len() != 1 {
		t.Errorf("%d lost when it is back, %d entries", n, c.Len())
	}
	c.InstallAll(snapshot(t, removes(t, 5, "a").Removal()), at(5), time.Now())
	want(t, c, "a", false)
}

// However often a store loses what it has, a copy keeps it once, and drops what
// has expired.
func TestCopy_Install_manyLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 0)
		for loss := range 40 {
			var changes []replica.Change
			for seq := range uint64(100) {
				r := revokes(t, seq+1, fmt.Sprint(seq))
				r.Record.Expires = time.Now().Add(time.Hour).Unix()
				changes = append(changes, r)
			}
			short := revokes(t, 101, fmt.Sprint("short ", loss))
			short.Record.Expires = time.Now().Add(time.Minute).Unix()
			follow(t, c, 0, append(changes, short)...)
			time.Sleep(10 * time.Minute)
			if n, _ := c.InstallAll(snapshot(t), at(0), time.Now()); n != 100 || c.Len() != 100 {
				t.Fatalf("loss %d: %d entries are lost, %d in force", loss, n, c.Len())
			}
		}
	})
}

// The changes of a Snapshot that were made while it was read are part of it.
func TestSnapshot_Follow(t *testing.T) {
	c := fresh(t, 5, "a", "b")
	s := snapshot(t, record(t, "a"))
	if err := s.Follow(removes(t, 2, "a"), revokes(t, 3, "c"), removes(t, 4, "b")); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.InstallAll(s, at(4), time.Now()); n != 0 {
		t.Errorf("%d lost", n)
	}
	want(t, c, "a", false)
	want(t, c, "b", false)
	want(t, c, "c", true)
}

// slow is an instance that asks the store only when it must.
func slow(t *testing.T, db *database) *store {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &store{Copy: replica.NewCopy(24 * time.Hour), db: db, done: make(chan struct{}), poll: time.Hour}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	go s.follow(ctx)
	t.Cleanup(func() { cancel(); <-s.done })
	return s
}

// Every change that was acknowledged is in force on the instance that made it, at
// once and whatever the store loses; and all instances agree on what they have seen.
func TestCopy_Make(t *testing.T) {
	entry := func(id string) revocation.Entry {
		return revocation.Entry{Kind: revocation.ByID, Issuer: "i", Value: id}
	}
	until := func(until time.Time) revocation.Entry {
		return revocation.Entry{Kind: revocation.BySubject, Issuer: "i", Value: "s", IssuedUntil: until}
	}
	now := time.Now()
	says := func(s *store, iat time.Time) bool {
		got, err := s.Copy.Revoked(&jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: iat})
		return got && err == nil
	}
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, db *database, a, b *store, must func(error))
	}{
		{"lost before it is followed, without a successor", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			db.restore(backup)
			a.catchUp()
			want(t, a.Copy, "x", true)
			if a.lost.Load() != 1 {
				t.Errorf("%d lost", a.lost.Load())
			}
		}},
		{"lost, and another change has its number", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			db.restore(backup)
			must(b.Revoke(t.Context(), entry("y")))
			for range 2 {
				a.catchUp()
				want(t, a.Copy, "x", true)
				want(t, a.Copy, "y", true)
				db.restore(backup) // and a second loss
			}
		}},
		{"lost, and the log has lost the place", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			db.restore(backup)
			for i := range 2 * logLength {
				must(b.Revoke(t.Context(), entry(fmt.Sprint(i))))
			}
			a.catchUp()
			want(t, a.Copy, "x", true)
			want(t, a.Copy, "0", true)
			if a.lost.Load() != 1 {
				t.Errorf("%d lost", a.lost.Load())
			}
		}},
		{"removed elsewhere, in a gap and without a loss", func(t *testing.T, db *database, a, b *store, must func(error)) {
			must(a.Revoke(t.Context(), entry("x")))
			must(b.Remove(t.Context(), entry("x")))
			for i := range 2 * logLength {
				must(b.Revoke(t.Context(), entry(fmt.Sprint(i))))
			}
			a.catchUp()
			want(t, a.Copy, "x", false)
			if a.lost.Load() != 0 {
				t.Errorf("%d lost", a.lost.Load())
			}
		}},
		{"removed elsewhere, and revoked again with an earlier time", func(t *testing.T, db *database, a, b *store, must func(error)) {
			must(a.Revoke(t.Context(), until(now)))
			b.catchUp()
			must(b.Remove(t.Context(), until(now)))
			must(a.Revoke(t.Context(), until(now.Add(-time.Hour)))) // it has not heard of the removal
			b.catchUp()
			for _, s := range []*store{a, b} {
				if says(s, now) || !says(s, now.Add(-time.Hour)) {
					t.Errorf("%v, %v", says(s, now), says(s, now.Add(-time.Hour)))
				}
			}
		}},
		{"the same, in a gap", func(t *testing.T, db *database, a, b *store, must func(error)) {
			must(a.Revoke(t.Context(), until(now)))
			must(b.Remove(t.Context(), until(now)))
			must(b.Revoke(t.Context(), until(now.Add(-time.Hour))))
			for i := range 2 * logLength {
				must(b.Revoke(t.Context(), entry(fmt.Sprint(i))))
			}
			a.catchUp()
			if says(a, now) || !says(a, now.Add(-time.Hour)) {
				t.Errorf("%v, %v", says(a, now), says(a, now.Add(-time.Hour)))
			}
		}},
		{"a removal is the first change after a loss", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			b.catchUp()
			db.restore(backup)
			must(b.Remove(t.Context(), entry("x")))
			want(t, b.Copy, "x", false)
			a.catchUp()
			want(t, a.Copy, "x", false)
		}},
		{"a removal by an instance that does not know of the loss", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			db.restore(backup)
			must(b.Remove(t.Context(), entry("x")))
			a.catchUp()
			want(t, a.Copy, "x", false)
		}},
		{"a revocation after a removal that is not lost with it", func(t *testing.T, db *database, a, b *store, must func(error)) {
			must(b.Remove(t.Context(), entry("x")))
			backup := db.backup()
			must(a.Revoke(t.Context(), entry("x")))
			db.restore(backup)
			a.catchUp()
			want(t, a.Copy, "x", true)
		}},
		{"the answer comes after a loss", func(t *testing.T, db *database, a, b *store, must func(error)) {
			backup := db.backup()
			r, err := replica.NewRecord(entry("x"))
			must(err)
			tries := 0
			must(a.Make(t.Context(), a.done, func(try *replica.Try) error {
				tries++
				change := replica.Change{Mark: replica.NewMark(), Record: r}
				try.Expect(change.Mark)
				changes, err := db.write(try.At, change)
				if tries == 1 { // and another change has the number
					db.restore(backup)
					must(b.Revoke(t.Context(), entry("y")))
					a.catchUp()
				}
				if err != nil {
					return err
				}
				return a.Follow(try.At, changes...)
			}))
			want(t, a.Copy, "x", true)
			db.restore(backup) // for good
			a.catchUp()
			want(t, a.Copy, "x", true)
			if tries < 2 {
				t.Error("acknowledged, and the store does not have it")
			}
		}},
		{"the change is followed before the answer comes", func(t *testing.T, db *database, a, b *store, must func(error)) {
			r, err := replica.NewRecord(entry("x"))
			must(err)
			tries := 0
			must(a.Make(t.Context(), a.done, func(try *replica.Try) error {
				tries++
				change := replica.Change{Mark: replica.NewMark(), Record: r}
				try.Expect(change.Mark)
				changes, err := db.write(try.At, change)
				must(b.Revoke(t.Context(), entry("y")))
				a.catchUp()
				if err != nil {
					return err
				}
				return a.Follow(try.At, changes...)
			}))
			want(t, a.Copy, "x", true)
			if tries != 1 {
				t.Errorf("%d tries", tries)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := &database{at: replica.Position{Epoch: "e"}, entries: map[string]replica.Record{}, keeps: 100_000}
			a, b := slow(t, db), slow(t, db)
			tt.run(t, db, a, b, func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// A change waits for half a minute in all, also if the store is loaded again and again.
func TestCopy_Make_wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				time.Sleep(20 * time.Second)
				c.InstallAll(snapshot(t), at(1), time.Now())
			}
		}()
		start := time.Now()
		err := c.Make(ctx, nil, func(*replica.Try) error { return replica.ErrGap })
		if waited := time.Since(start); err == nil || waited != 30*time.Second {
			t.Errorf("%v after %v", err, waited)
		}
		cancel()
		time.Sleep(time.Minute)
	})
}

func TestCopy_Make_errors(t *testing.T) {
	c := fresh(t, 0)
	other := errors.New("another error")
	if err := c.Make(t.Context(), nil, func(*replica.Try) error { return other }); !errors.Is(err, other) {
		t.Errorf("error %v", err)
	}
	tries := 0
	if err := c.Make(t.Context(), nil, func(*replica.Try) error { tries++; return nil }); err == nil || tries != 100 {
		t.Errorf("nothing is ever followed: %v after %d tries", err, tries)
	}
	lost := func(*replica.Try) error { return replica.ErrLost }
	ended := make(chan struct{})
	close(ended)
	if err := c.Make(t.Context(), ended, lost); err == nil {
		t.Error("made although nothing follows")
	}
	select {
	case <-c.Broken():
	default:
		t.Error("nobody is woken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Make(ctx, nil, lost); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := fresh(t, 0).Make(t.Context(), nil, lost); err == nil {
			t.Error("made although nothing is loaded")
		}
	})
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
		c.InstallAll(&s, at(1), asOf) // the question's time counts
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

// The wall clock of a machine jumps ahead for a second, or for good, as it does when
// the machine was suspended. No short revocation is lost, and the copy is fresh again
// when it has heard from the store.
func TestCopy_clockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short := func(seq uint64) replica.Change {
			change := revokes(t, seq, fmt.Sprint(seq))
			change.Record.Expires = time.Now().Add(10 * time.Minute).Unix()
			return change
		}
		for _, tt := range []struct {
			name string
			jump func(*replica.Copy)
		}{
			{"nothing happens", func(*replica.Copy) {}},
			{"it follows", func(c *replica.Copy) { follow(t, c, 30, revokes(t, 31, "x"), removes(t, 32, "x")) }},
			{"the store has lost them", func(c *replica.Copy) { c.InstallAll(snapshot(t), at(0), time.Now()) }},
			{"it loads them", func(c *replica.Copy) {
				s := snapshot(t)
				for seq := range uint64(30) {
					if err := s.Add(short(seq + 1).Record); err != nil {
						t.Fatal(err)
					}
				}
				c.InstallAll(s, at(30), time.Now())
			}},
			{"they are counted", func(c *replica.Copy) { c.Len() }},
		} {
			c := fresh(t, 0)
			var ahead time.Duration
			c.SetAhead(func() time.Duration { return ahead })
			for seq := range uint64(30) {
				follow(t, c, seq, short(seq+1))
			}
			for _, ahead = range []time.Duration{25 * time.Minute, 0, -25 * time.Minute, 0, time.Hour} {
				if ahead > 0 && c.Ready() == nil {
					t.Errorf("%s: ready after %v without an answer", tt.name, ahead)
				}
				if ahead == 25*time.Minute {
					tt.jump(c)
				}
				time.Sleep(time.Second)
				c.Heard(time.Now())
				if err := c.Ready(); err != nil || c.Staleness() != 0 {
					t.Errorf("%s, clock off by %v: %v", tt.name, ahead, err)
				}
				for seq := range 30 {
					want(t, c, fmt.Sprint(seq+1), true)
				}
			}
		}
	})
}

// A machine whose clock is behind must neither reject nor shorten what another one
// was allowed to revoke.
func TestCopy_clockBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := record(t, "one token, whose IssuedUntil does not matter")
		one.Until = time.Now().Add(10 * time.Minute).UnixNano()
		c := fresh(t, 0)
		follow(t, c, 0, replica.Change{Seq: 1, Mark: 1, Record: one})
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
		installed.InstallAll(&s, at(1), time.Now())
		lost.InstallAll(snapshot(t, r), at(5), time.Now())
		lost.InstallAll(&replica.Snapshot{}, at(1), time.Now())
		for _, c := range []*replica.Copy{followed, removed} {
			follow(t, c, 0, replica.Change{Seq: 1, Mark: 1, Record: r})
		}
		follow(t, removed, 1, replica.Change{Seq: 2, Mark: 2, Record: r, Removed: true})
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

// Entries whose IssuedUntil is ahead of this machine's clock, as those of a machine
// whose clock is ahead, cost no more than others: the memory for 40,000 of them would
// be gigabytes if each change copied a map.
func TestCopy_Follow_untilAhead(t *testing.T) {
	c := fresh(t, 0)
	var changes []replica.Change
	for seq := range uint64(40_000) {
		change := revokes(t, seq+1, "x")
		change.Record.Identity = fmt.Sprintf(`{"iss":"i","sub":"%d"}`, seq)
		change.Record.Until = time.Now().Add(590 * time.Second).UnixNano()
		changes = append(changes, change)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for seq, change := range changes {
		follow(t, c, uint64(seq), change)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("%d MB for %d changes", used>>20, len(changes))
	}
	if n := c.Len(); n != len(changes) {
		t.Errorf("%d entries", n)
	}
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
