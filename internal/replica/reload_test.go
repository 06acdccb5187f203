package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// While everything is loaded, a copy follows from the newest change that it and the
// store have.
func TestCopy_Rejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 0)
		follow(t, c, 0, revokes(t, 1, "a"), revokes(t, 2, "b"))
		follow(t, c, 2, removes(t, 3, "b"), revokes(t, 4, "c"))
		follow(t, c, 4, revokes(t, 5, "lost"), revokes(t, 6, "d"))
		time.Sleep(time.Second)
		c.Break(at(6))
		if past := c.Past(); len(past) != 3 || past[0] != at(6) || past[2] != at(2) {
			t.Errorf("past %v", past)
		}
		c.Rejoin(at(2)) // the store has forgotten 5 and 6, and has others since
		if pos, ok := c.Position(); !ok || pos != at(2) || !c.Stats().Loading {
			t.Errorf("at %v, %v; loading %v", pos, ok, c.Loading())
		}
		other := revokes(t, 5, "other")
		other.Mark = 55
		c.Preview(revokes(t, 7, "early"))
		want(t, c, "early", false) // the snapshot may have another history
		follow(t, c, 2, removes(t, 3, "b"), revokes(t, 4, "c"), other)
		for id, revoked := range map[string]bool{"a": true, "b": false, "c": true, "lost": true, "d": true, "other": true} {
			want(t, c, id, revoked)
		}
		there := replica.Position{Epoch: "e", Seq: 5, Mark: 55}
		if err := c.Follow(there, removes(t, 6, "a"), revokes(t, 7, "e")); err != nil { // a write
			t.Error(err)
		}
		want(t, c, "a", false)
		s := snapshot(t, record(t, "a"), record(t, "c"), record(t, "other"))
		if _, ok := c.InstallAll(s, there, time.Now()); ok {
			t.Error("installed what is older than the copy")
		}
		if err := s.Follow(removes(t, 6, "a"), revokes(t, 7, "e")); err != nil {
			t.Error(err)
		}
		if lost, ok := c.InstallAll(s, at(7), time.Now()); !ok || lost != 2 || c.Stats().Loading {
			t.Errorf("%d lost, %v", lost, ok)
		}
		for id, revoked := range map[string]bool{"a": false, "b": false, "c": true, "lost": true, "d": true, "other": true, "e": true} {
			want(t, c, id, revoked)
		}
	})
}

// The changes that come while everything is loaded may be ones that the copy has, and
// older than what it has.
func TestCopy_Rejoin_knownChanges(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(c *replica.Copy)
		want map[string]bool
	}{
		{"revoked and removed", func(c *replica.Copy) {
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"), revokes(t, 4, "b"))
			c.Break(at(4))
			c.Rejoin(at(1))
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"))
		}, map[string]bool{"a": false, "b": true}},
		{"revoked, removed, and revoked by a change that was lost", func(c *replica.Copy) {
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"), revokes(t, 4, "a"))
			c.Break(at(4))
			c.Rejoin(at(1))
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"))
		}, map[string]bool{"a": true}},
		{"the same, twice", func(c *replica.Copy) {
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"))
			c.Break(at(3))
			for range 2 {
				c.Rejoin(at(1))
				follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"), revokes(t, 4, "a"))
				c.Break(at(4))
			}
			c.Rejoin(at(1))
			follow(t, c, 1, revokes(t, 2, "a"), removes(t, 3, "a"))
		}, map[string]bool{"a": true}},
		{"a page of the load that comes late", func(c *replica.Copy) {
			c.Break(at(1))
			c.Rejoin(at(1))
			follow(t, c, 1, revokes(t, 2, "a"), revokes(t, 3, "b"))
			c.Break(at(3))
			c.Preview(removes(t, 22, "a"), revokes(t, 23, "c"))
		}, map[string]bool{"a": true, "b": true, "c": false}},
		{"a page of the next load", func(c *replica.Copy) {
			c.Break(at(1))
			c.Rejoin(at(1))
			c.InstallAll(snapshot(t), at(1), time.Now())
			c.Break(at(1))
			c.Preview(revokes(t, 2, "a"))
		}, map[string]bool{"a": true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fresh(t, 1)
			tt.run(c)
			for id, revoked := range tt.want {
				want(t, c, id, revoked)
			}
		})
	}
}

// A change that waits for the store to be loaded is made as soon as the copy follows.
func TestCopy_Rejoin_make(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1)
		c.Break(at(1))
		made := make(chan error, 1)
		go func() {
			made <- c.Make(t.Context(), nil, func(try *replica.Try) error {
				try.Expect(2)
				return c.Follow(try.At, revokes(t, 2, "a"))
			})
		}()
		synctest.Wait()
		c.Rejoin(at(1))
		if err := <-made; err != nil || !c.Loading() {
			t.Errorf("%v; loading %v", err, c.Loading())
		}
		want(t, c, "a", true)
	})
}

// What a copy is ahead of may have been lost while everything was loaded.
func TestCopy_Install_ahead(t *testing.T) {
	c := fresh(t, 5, "a")
	c.Break(at(5))
	c.Rejoin(at(5))
	follow(t, c, 5, revokes(t, 6, "b"))
	for i, want := range []bool{false, true} {
		if lost, ok := c.InstallAll(snapshot(t, record(t, "a")), at(5), time.Now()); ok != want || lost != i {
			t.Errorf("Install %d: %d lost, %v", i, lost, ok)
		}
	}
	want(t, c, "b", true)
}

// The positions that a copy remembers are few, and no long gap is between them.
func TestCopy_Past(t *testing.T) {
	c := fresh(t, 1, "a")
	const last = 300_000
	change := revokes(t, 0, "a")
	for seq := uint64(2); seq <= last; seq++ {
		change.Seq, change.Mark = seq, seq
		follow(t, c, seq-1, change)
	}
	past := c.Past()
	if len(past) > 1100 || past[0] != at(last) || past[len(past)-1].Seq > last/10 {
		t.Fatalf("%d positions from %v to %v", len(past), past[len(past)-1], past[0])
	}
	for i, p := range past[1:] {
		if gap := past[i].Seq - p.Seq; p.Seq >= past[i].Seq || p.Mark != p.Seq || gap > 1+(last-p.Seq)/7 {
			t.Fatalf("%v comes before %v", p, past[i])
		}
	}
	c.Break(at(last))
	c.Rejoin(past[len(past)/2])
	if now := c.Past(); now[0] != past[len(past)/2] || len(now) != len(past)-len(past)/2 {
		t.Errorf("%d positions after Rejoin", len(now))
	}
}

// Pages come slowly, and the store loses changes and its log again and again. No copy
// counts as fresh that lacks what was acknowledged before it was last heard of.
func TestCopy_reload_random(t *testing.T) {
	fresh, stale := 0, 0
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := &reloads{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), db: newDatabase(), acked: map[string]time.Time{}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range 3 {
				s := &store{Copy: replica.NewCopy(2 * time.Second), db: r.db, done: make(chan struct{}),
					poll: time.Duration(1+r.rnd.IntN(300)) * time.Millisecond, page: time.Duration(r.rnd.IntN(800)) * time.Millisecond}
				if err := s.load(); err != nil {
					t.Fatal(err)
				}
				s.run(ctx)
				r.stores = append(r.stores, s)
			}
			for range 300 {
				r.step(ctx)
				r.check()
			}
			cancel()
			for _, s := range r.stores {
				s.Wait()
			}
			fresh, stale = fresh+r.fresh, stale+r.stale
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
	if fresh < 1000 || stale < 100 {
		t.Errorf("%d answers of fresh copies while they were loaded, %d of stale ones", fresh, stale)
	}
}

// reloads are instances and what they must know.
type reloads struct {
	t       *testing.T
	rnd     *rand.Rand
	db      *database
	stores  []*store
	backups []state
	made    []int // how many acks there were
	acks    []string
	acked   map[string]time.Time // what is revoked in the store, and when that was acknowledged last

	fresh, stale int // copies while they were loaded
}

func (r *reloads) step(ctx context.Context) {
	s, id := r.stores[r.rnd.IntN(3)], fmt.Sprint(r.rnd.IntN(50))
	switch n := r.rnd.IntN(100); {
	case n < 40:
		if err := s.Revoke(ctx, entry(id)); err != nil {
			r.t.Error(err)
		}
		r.acked[id] = time.Now()
		r.acks = append(r.acks, id)
	case n < 55:
		delete(r.acked, id)
		if err := s.Remove(ctx, entry(id)); err != nil {
			r.t.Error(err)
		}
		delete(r.acked, id) // healing may have revoked it before
	case n < 65:
		r.backups, r.made = append(r.backups, r.db.backup()), append(r.made, len(r.acks))
	case n < 67 && len(r.backups) > 0:
		i := max(0, len(r.backups)-1-r.rnd.IntN(3))
		r.db.restore(r.backups[i])
		r.lost(r.made[i])
	case n == 67:
		r.db.mu.Lock()
		r.db.log = r.db.log[len(r.db.log)-min(len(r.db.log), r.rnd.IntN(3)):]
		r.db.mu.Unlock()
	case n == 68:
		r.db.mu.Lock()
		r.db.at.Epoch = fmt.Sprint("e", r.rnd.Uint64())
		r.db.mu.Unlock()
	case n == 69 && len(r.db.log) > 0:
		r.db.mu.Lock()
		i := r.rnd.IntN(len(r.db.log))
		r.db.log = slices.Delete(slices.Clone(r.db.log), i, i+1) // of which backups have parts
		r.db.mu.Unlock()
	default:
		time.Sleep(time.Duration(r.rnd.IntN(200)) * time.Millisecond)
	}
}

// lost forgets the acknowledgements from a number on, which the store has lost.
func (r *reloads) lost(from int) {
	for i, id := range r.acks {
		if i >= from {
			delete(r.acked, id)
		}
	}
	r.acks = r.acks[:from]
	r.backups, r.made = nil, nil
}

func (r *reloads) check() {
	for i, s := range r.stores {
		heard := time.Now().Add(-min(s.Staleness(), time.Hour))
		if s.Loading() {
			if s.Ready(r.t.Context()) == nil {
				r.fresh++
			} else {
				r.stale++
			}
		}
		for id, acked := range r.acked {
			if revoked, _ := s.Copy.Revoked(&jwthttp.Token{Issuer: "i", ID: id}); !revoked && acked.Before(heard) {
				r.t.Errorf("instance %d, which has heard of the store %v ago: %q is not revoked after %v", i, time.Since(heard), id, time.Since(acked))
			}
		}
	}
}

// AddAll adds every record once, and returns what is wrong with one of them.
func TestSnapshot_AddAll(t *testing.T) {
	for _, n := range []int{0, 1, 2, 199, 200, 1001, 5000} {
		s := new(replica.Snapshot)
		var calls atomic.Int64
		err := s.AddAll(n, func(i int) (replica.Record, error) {
			calls.Add(1)
			if i%2 == 1 {
				return removes(t, uint64(i), "gone").Removal(), nil
			}
			return record(t, fmt.Sprint(i)), nil
		})
		c := fresh(t, 1, "gone")
		lost, _ := c.InstallAll(s, at(2), time.Now())
		if err != nil || calls.Load() != int64(n) || c.Len() != (n+1)/2+lost || lost != 0 && n > 1 {
			t.Errorf("%d records: %v, %d calls, %d entries, %d lost", n, err, calls.Load(), c.Len(), lost)
		}
		for i := range n {
			want(t, c, fmt.Sprint(i), i%2 == 0)
		}
	}
	for _, bad := range []int{0, 499, 999} {
		err := new(replica.Snapshot).AddAll(1000, func(i int) (replica.Record, error) {
			if i == bad {
				return replica.Record{}, errDown
			}
			return record(t, "a"), nil
		})
		if !errors.Is(err, errDown) {
			t.Errorf("record %d is bad: %v", bad, err)
		}
	}
}

// While a snapshot is compared with the copy, both follow.
func TestCopy_Merge(t *testing.T) {
	for _, before := range []int{0, 100, 200, 256} {
		t.Run(fmt.Sprint(before, " parts before"), func(t *testing.T) {
			var ids []string
			for i := range 1000 {
				ids = append(ids, fmt.Sprint("old ", i), fmt.Sprint("lost ", i))
			}
			c := fresh(t, 5, ids...)
			c.Break(at(5))
			c.Rejoin(at(5))
			s := c.NewSnapshot()
			for i := range 1000 {
				if err := s.Add(record(t, fmt.Sprint("old ", i))); err != nil {
					t.Fatal(err)
				}
			}
			if ok, err := c.Join(s, at(5), revokes(t, 6, "joined")); !ok || err != nil {
				t.Fatal(ok, err)
			}
			want(t, c, "joined", true)
			merge := func(n int) {
				for range n {
					if _, err := c.Merge(); err != nil {
						t.Fatal(err)
					}
				}
			}
			merge(before)
			seq := uint64(6)
			for i := range 10 {
				follow(t, c, seq, removes(t, seq+1, fmt.Sprint("old ", i)), removes(t, seq+2, fmt.Sprint("lost ", i)),
					revokes(t, seq+3, fmt.Sprint("new ", i)), revokes(t, seq+4, fmt.Sprint("lost ", 10+i)))
				want(t, c, fmt.Sprint("new ", i), true)
				want(t, c, fmt.Sprint("lost ", i), false)
				seq += 4
			}
			if !c.Loading() {
				t.Error("installed")
			}
			lost, ok := c.Install(s, at(6), time.Now())
			if pos, _ := c.Position(); !ok || lost < 980 || pos != at(seq) || c.Loading() || c.Stats().Lost != 980 {
				t.Errorf("%v, %d lost, at %v; %+v", ok, lost, pos, c.Stats())
			}
			if n := c.Len(); n != 990+990+10+1 {
				t.Errorf("%d entries", n)
			}
			for i := range 1000 {
				want(t, c, fmt.Sprint("old ", i), i >= 10)
				want(t, c, fmt.Sprint("lost ", i), i >= 10)
				want(t, c, fmt.Sprint("new ", i), i < 10)
			}
			want(t, c, "joined", true)
		})
	}
}

// A snapshot is joined with the copy where both are.
func TestCopy_Join(t *testing.T) {
	c := fresh(t, 5, "a")
	c.Break(at(5))
	c.Rejoin(at(5))
	s := snapshot(t, record(t, "a"))
	for range 2 {
		if ok, err := c.Join(s, at(7)); ok || err != nil {
			t.Errorf("behind: %v, %v", ok, err)
		}
	}
	follow(t, c, 5, revokes(t, 6, "b"), revokes(t, 7, "c"), revokes(t, 8, "d"))
	if ok, err := c.Join(s, at(5), revokes(t, 6, "b"), revokes(t, 7, "c")); ok || err != nil {
		t.Errorf("ahead: %v, %v", ok, err)
	}
	if ok, err := c.Join(s, at(7), revokes(t, 8, "d"), revokes(t, 9, "e")); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	want(t, c, "e", true)
	c.Break(at(9))
	if _, err := c.Merge(); !errors.Is(err, replica.ErrGap) {
		t.Errorf("merged after a loss: %v", err)
	}
	c.Rejoin(at(9))
	if _, err := c.Merge(); !errors.Is(err, replica.ErrGap) {
		t.Errorf("merged after Rejoin: %v", err)
	}
}

// A copy that is ahead of what the store has is no longer followed, and what is merged
// then is not what follows.
func TestCopy_Join_lost(t *testing.T) {
	c := fresh(t, 5, "a")
	c.Break(at(5))
	c.Rejoin(at(5))
	follow(t, c, 5, revokes(t, 6, "b"))
	s := snapshot(t, record(t, "a"))
	for _, want := range []bool{false, true} {
		if ok, err := c.Join(s, at(5)); ok != want || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
	}
	if err := c.Follow(at(6), revokes(t, 7, "c")); !errors.Is(err, replica.ErrGap) {
		t.Errorf("followed: %v", err)
	}
	if _, err := c.Merge(); err != nil {
		t.Error(err)
	}
	c.Rejoin(at(5))
	if _, err := c.Merge(); !errors.Is(err, replica.ErrGap) {
		t.Errorf("merged after Rejoin: %v", err)
	}
}

// A merge ends without Install. The removals of the snapshot are not known because of that.
func TestCopy_Join_dropped(t *testing.T) {
	removal := removes(t, 6, "a").Removal()
	for _, tt := range []struct {
		name    string
		drop    func(c *replica.Copy)
		install bool // although it has happened
	}{
		{"a late answer to a write", func(c *replica.Copy) { c.Break(at(5)) }, true},
		{"the log is there again", func(c *replica.Copy) {
			c.Rejoin(at(5))
			follow(t, c, 5, removes(t, 6, "a"), revokes(t, 7, "b"))
			want(t, c, "a", false)
		}, false},
		{"the log is there again, and has gone", func(c *replica.Copy) {
			c.Rejoin(at(5))
			c.Break(at(5))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fresh(t, 5, "a")
			c.Break(at(5)) // its log has gone
			s := snapshot(t, removal, record(t, "b"))
			if ok, err := c.Join(s, at(7)); !ok || err != nil {
				t.Fatal(ok, err)
			}
			tt.drop(c)
			_, ok := c.Install(s, at(7), time.Now())
			if ok != tt.install {
				t.Errorf("installed: %v", ok)
			}
			if !ok {
				c.InstallAll(snapshot(t, removal, record(t, "b")), at(7), time.Now())
			}
			want(t, c, "a", false)
			want(t, c, "b", true)
			if n := c.Stats().Lost; n != 0 {
				t.Errorf("%d are lost", n)
			}
			follow(t, c, 7, revokes(t, 8, "a"))
			c.Break(at(8))
			c.InstallAll(snapshot(t, removal, record(t, "b")), at(7), time.Now())
			want(t, c, "a", true) // the removal is known now, so it is older
		})
	}
}

// A dump is restored, and then a newer one. It has a removal again that is older than what
// the copy has.
func TestCopy_newerDump(t *testing.T) {
	both := []replica.Change{removes(t, 2, "a"), revokes(t, 3, "x")}
	for _, tt := range []struct {
		name  string
		first []replica.Change // of the newer dump
		older []string         // the entries of the older dump
		meet  func(c *replica.Copy, older *replica.Snapshot)
	}{
		{name: "before the load"},
		{name: "before the load, with the entry", older: []string{"a"}},
		{name: "after the load", meet: func(c *replica.Copy, older *replica.Snapshot) { c.InstallAll(older, at(1), time.Now()) }},
		{name: "after the load, with the entry", older: []string{"a"}, meet: func(c *replica.Copy, older *replica.Snapshot) {
			c.InstallAll(older, at(1), time.Now())
		}},
		{name: "while it is merged", meet: func(c *replica.Copy, older *replica.Snapshot) {
			if ok, err := c.Join(older, at(1)); !ok || err != nil {
				t.Error(ok, err)
			}
		}},
		{name: "while it is merged, with the entry", older: []string{"a"}, meet: func(c *replica.Copy, older *replica.Snapshot) {
			if ok, err := c.Join(older, at(1)); !ok || err != nil {
				t.Error(ok, err)
			}
		}},
		{name: "after the load, with a revocation before the removal", first: []replica.Change{revokes(t, 2, "a"), removes(t, 3, "a"), revokes(t, 4, "x")},
			meet: func(c *replica.Copy, older *replica.Snapshot) { c.InstallAll(older, at(1), time.Now()) }},
		{name: "with a revocation before the removal", first: []replica.Change{revokes(t, 2, "a"), removes(t, 3, "a"), revokes(t, 4, "x")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			again := tt.first
			if again == nil {
				again = both
			}
			n := uint64(len(again)) + 1
			c := fresh(t, 1, tt.older...)
			follow(t, c, 1, again...)
			follow(t, c, n, revokes(t, n+1, "a")) // acknowledged
			c.Break(at(n + 1))
			c.Rejoin(at(1)) // the older dump
			if tt.meet != nil {
				var records []replica.Record
				for _, id := range tt.older {
					records = append(records, record(t, id))
				}
				tt.meet(c, snapshot(t, records...))
			}
			if err := c.Follow(at(1), again...); errors.Is(err, replica.ErrGap) {
				c.Break(at(1))
				c.Rejoin(at(1))
				follow(t, c, 1, again...)
			} else if err != nil || tt.meet != nil {
				t.Errorf("followed a known removal: %v", err)
			}
			want(t, c, "a", true)
			c.InstallAll(snapshot(t, removes(t, n-1, "a").Removal(), record(t, "x")), at(n), time.Now())
			want(t, c, "a", true)
			want(t, c, "x", true)
		})
	}
}

func TestNewest(t *testing.T) {
	var past []replica.Position
	for n := uint64(1000); n > 0; n-- {
		past = append(past, at(n))
	}
	for _, tt := range []struct {
		name         string
		common, tail uint64 // the newest number that the store has, and the oldest in its log
		want         uint64 // 0: none
	}{
		{"all", 1000, 1, 1000},
		{"nearly all", 999, 1, 999},
		{"a short log", 500, 500, 500},
		{"the oldest", 1, 1, 1},
		{"a log that has gone", 500, 501, 0},
		{"none", 0, 1, 0},
		{"another log", 0, 2000, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			got, ok, err := replica.Newest(past, func(p replica.Position) (replica.Found, error) {
				asked++
				switch {
				case p.Seq > tt.common:
					return replica.Lost, nil
				case p.Seq < tt.tail:
					return replica.Trimmed, nil
				}
				return replica.Continues, nil
			})
			if err != nil || ok != (tt.want > 0) || got.Seq != tt.want || asked > 10 {
				t.Errorf("%v, %v, %v after %d questions", got, ok, err, asked)
			}
		})
	}
	other := errors.New("other")
	_, ok, err := replica.Newest(past, func(replica.Position) (replica.Found, error) { return replica.Continues, other })
	if ok || err != other {
		t.Errorf("%v, %v", ok, err)
	}
	if _, ok, err := replica.Newest(nil, nil); ok || err != nil {
		t.Errorf("no positions: %v, %v", ok, err)
	}
}

// After a load without a common change, the trail is of one history again.
func TestCopy_Past_otherHistory(t *testing.T) {
	c := fresh(t, 1)
	for n := uint64(1); n < 20; n++ {
		follow(t, c, n, revokes(t, n+1, "a"))
	}
	there := func(n uint64) replica.Position { return replica.Position{Epoch: "e", Seq: n, Mark: 1000 + n} }
	c.Break(at(20))
	c.InstallAll(snapshot(t), there(30), time.Now()) // of a backup older than the copy
	if past := c.Past(); len(past) != 1 || past[0] != there(30) {
		t.Errorf("%v", past)
	}
}

// A client has repeated the Remove whose answer did not come. Nothing is loaded.
func TestCopy_Follow_removalTwice(t *testing.T) {
	c := fresh(t, 1, "a")
	follow(t, c, 1, removes(t, 2, "a"))
	follow(t, c, 2, marked(removes(t, 3, "a"), 2))
	want(t, c, "a", false)
}

// The log has a hole after the newest common change. So a load does not look for it again
// and again, since a change of position ends the merge.
func TestCopy_Load_hole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1)
		follow(t, c, 1, revokes(t, 2, "a"), revokes(t, 3, "b"))
		c.Break(at(3))
		s := &script{head: at(5), past: map[uint64]bool{3: true}, parts: [][]replica.Page{{page(t, []string{"a", "b"}, 5)}}}
		s.catchUp = func() (bool, error) {
			time.Sleep(time.Millisecond) // until the next tick
			at, _ := c.Position()
			return !c.Break(at), nil
		}
		s.asks = func() { time.Sleep(time.Millisecond) }
		if _, err := c.Load(t.Context(), s, time.Millisecond); err != nil {
			t.Error(err)
		}
	})
}
