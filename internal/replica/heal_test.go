package replica_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/revocation"
)

func entry(id string) revocation.Entry {
	return revocation.Entry{Kind: revocation.ByID, Issuer: "i", Value: id, Expires: time.Now().Add(200 * time.Hour)}
}

func newDatabase() *database {
	return &database{at: replica.Position{Epoch: "e"}, entries: map[string]replica.Record{}}
}

// healing is a database with instances that heal, in a bubble of synctest.
type healing struct {
	t      *testing.T
	ctx    context.Context
	db     *database
	poll   time.Duration
	stores []*store
}

func (h *healing) open() *store {
	h.t.Helper()
	s := &store{Copy: replica.NewCopy(1000 * time.Hour), db: h.db, done: make(chan struct{}), poll: h.poll}
	h.must(s.load())
	s.run(h.ctx)
	return s
}

func (h *healing) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *healing) refuse(refuses bool) {
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	h.db.refuses = refuses
}

// want checks what all instances and a later one say.
func (h *healing) want(id string, revoked bool) {
	h.t.Helper()
	for _, s := range append(h.stores, h.open()) {
		want(h.t, s.Copy, id, revoked)
	}
}

// What a store has lost is written back, once, and a removal is not undone.
func TestCopy_Heal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		poll   time.Duration                               // 0: 5 s
		run    func(h *healing, before state, a, b *store) // a is revoked, and before is older
		healed int                                         // how many entries are written back
		want   map[string]bool
		left   int // how many entries are lost on the first instance
	}{
		{name: "an older copy", run: func(h *healing, before state, a, b *store) {
			h.must(b.Revoke(h.ctx, entry("y")))
			time.Sleep(10 * time.Second)
			h.db.restore(before)
		}, healed: 2, want: map[string]bool{"x": true, "y": true}},
		{name: "more than is written at once", run: func(h *healing, before state, a, b *store) {
			for i := range 1000 {
				h.must(a.Revoke(h.ctx, entry(fmt.Sprint(i))))
			}
			time.Sleep(10 * time.Second)
			h.db.restore(before)
		}, healed: 1001, want: map[string]bool{"x": true, "0": true, "999": true}},
		{name: "emptied", run: func(h *healing, before state, a, b *store) {
			h.db.restore(state{at: replica.Position{Epoch: "another"}})
		}, healed: 2, want: map[string]bool{"first": true, "x": true}},
		{name: "a second loss while it is written", run: func(h *healing, before state, a, b *store) {
			for i := range 1000 {
				h.must(a.Revoke(h.ctx, entry(fmt.Sprint(i))))
			}
			time.Sleep(10 * time.Second)
			h.db.restore(before)
			for {
				h.db.mu.Lock()
				n := len(h.db.healed)
				h.db.mu.Unlock()
				if n > 300 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			h.db.mu.Lock()
			h.db.healed = nil
			h.db.mu.Unlock()
			h.db.restore(before)
		}, healed: 1001, want: map[string]bool{"x": true, "0": true, "999": true}},
		{name: "a removal is the first change after the loss", run: func(h *healing, before state, a, b *store) {
			h.db.restore(before)
			h.must(b.Remove(h.ctx, entry("x")))
		}, want: map[string]bool{"x": false}},
		{name: "a removal comes before it is written", run: func(h *healing, before state, a, b *store) {
			h.refuse(true)
			h.db.restore(before)
			time.Sleep(time.Minute)
			h.must(b.Remove(h.ctx, entry("x")))
			h.refuse(false)
		}, want: map[string]bool{"x": false}},
		{name: "a removal comes after it is written", run: func(h *healing, before state, a, b *store) {
			h.db.restore(before)
			time.Sleep(time.Minute)
			h.must(b.Remove(h.ctx, entry("x")))
		}, healed: 1, want: map[string]bool{"x": false}},
		{name: "a later expiry is lost", poll: 10 * time.Minute, run: func(h *healing, before state, a, b *store) {
			middle := h.db.backup()
			later := entry("x")
			later.Expires = later.Expires.Add(200 * time.Hour)
			h.must(a.Revoke(h.ctx, later))
			h.db.restore(middle)
			time.Sleep(300 * time.Hour)
		}, healed: 1, want: map[string]bool{"x": true, "first": false}},
		{name: "one has expired before it is written", poll: 10 * time.Minute, run: func(h *healing, before state, a, b *store) {
			time.Sleep(199 * time.Hour)
			h.refuse(true)
			h.db.restore(before)
			time.Sleep(2 * time.Hour)
			h.refuse(false)
		}, want: map[string]bool{"x": false}},
		{name: "writing fails for a while", run: func(h *healing, before state, a, b *store) {
			h.refuse(true)
			h.db.restore(before)
			time.Sleep(time.Hour)
			for _, s := range h.stores {
				if n := s.reports.Load(); n != 1 {
					h.t.Errorf("%d reports of one outage", n)
				}
			}
			if n := h.db.tries(); n > 3*2*60*12 || n == 0 {
				h.t.Errorf("%d tries in an hour", n)
			}
			h.refuse(false)
		}, healed: 1, want: map[string]bool{"x": true}},
		{name: "out of reach for a day", poll: 10 * time.Minute, run: func(h *healing, before state, a, b *store) {
			h.db.set(true)
			before.at, before.log = replica.Position{Epoch: "another"}, nil
			h.db.restore(before)
			time.Sleep(24 * time.Hour)
			h.db.set(false)
			time.Sleep(2 * h.poll)
			for _, s := range h.stores {
				want(h.t, s.Copy, "x", true)
			}
			h.must(h.open().Revoke(h.ctx, entry("x"))) // it is sure again
			time.Sleep(2 * h.poll)
			h.db.restore(before)
		}, healed: 1, want: map[string]bool{"x": true}},
		{name: "out of reach for a day, and the log has what changed", poll: 10 * time.Minute, run: func(h *healing, before state, a, b *store) {
			h.db.set(true)
			h.db.restore(before)
			time.Sleep(24 * time.Hour)
			h.db.set(false)
		}, healed: 1, want: map[string]bool{"x": true}},
		{name: "out of reach for a day, and the log has an old removal", poll: 10 * time.Minute, run: func(h *healing, before state, a, b *store) {
			r, err := replica.NewRemoval(entry("x"))
			h.must(err)
			h.db.set(true)
			h.db.restore(before)
			h.db.make(replica.Change{Record: r, Removed: true, Mark: replica.NewMark()})
			time.Sleep(25 * time.Hour)
			h.db.set(false)
		}, left: 1, want: map[string]bool{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				h := &healing{t: t, ctx: ctx, db: newDatabase(), poll: cmp.Or(tt.poll, 5*time.Second)}
				h.stores = []*store{h.open(), h.open(), h.open()}
				a, b := h.stores[0], h.stores[1]
				h.must(a.Revoke(ctx, entry("first")))
				before := h.db.backup()
				h.must(a.Revoke(ctx, entry("x")))
				time.Sleep(2 * h.poll)
				tt.run(h, before, a, b)
				time.Sleep(12 * h.poll)
				for id, revoked := range tt.want {
					h.want(id, revoked)
				}
				if n := len(h.db.healed); n != tt.healed {
					t.Errorf("%d entries are written back, want %d", n, tt.healed)
				}
				if n := a.Stats().Lost; n != tt.left {
					t.Errorf("%d entries are lost, want %d", n, tt.left)
				}
			})
		})
	}
}

func (d *database) tries() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.healings
}

func (d *database) set(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// Instances write, fall behind and heal while the store loses what it has. In quiet,
// the store has again what any of them had, and all of them agree.
func TestCopy_Heal_random(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			h := &healing{t: t, ctx: ctx, db: newDatabase(), poll: 5 * time.Second}
			for range 3 {
				s := &store{Copy: replica.NewCopy(time.Hour), db: h.db, done: make(chan struct{}), poll: time.Duration(1+rnd.IntN(300)) * time.Millisecond}
				h.must(s.load())
				s.run(ctx)
				h.stores = append(h.stores, s)
			}
			backups := []state{{at: replica.Position{Epoch: "e"}}}
			for range 300 {
				s, id := h.stores[rnd.IntN(3)], fmt.Sprint(rnd.IntN(10))
				switch n := rnd.IntN(20); {
				case n < 8:
					h.must(s.Revoke(ctx, entry(id)))
				case n < 11:
					h.must(s.Remove(ctx, entry(id)))
				case n < 13:
					backups = append(backups, h.db.backup())
				case n == 13:
					h.db.restore(backups[max(0, len(backups)-1-rnd.IntN(3))])
				case n == 14:
					h.db.restore(state{at: replica.Position{Epoch: fmt.Sprint("e", rnd.Uint64())}})
				default:
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
				}
			}
			time.Sleep(400 * time.Millisecond) // all have followed, or loaded
			had := map[string]bool{}
			for id := range 10 {
				for _, s := range h.stores {
					revoked, _ := s.Copy.Revoked(&jwthttp.Token{Issuer: "i", ID: fmt.Sprint(id)})
					had[fmt.Sprint(id)] = had[fmt.Sprint(id)] || revoked
				}
			}
			time.Sleep(time.Minute)
			for id, revoked := range had {
				h.want(id, revoked)
			}
			for i, s := range h.stores {
				if stats := s.Stats(); stats.Lost != 0 || stats.Entries != len(h.db.entriesOnly()) || stats.LastLoad.IsZero() {
					t.Errorf("instance %d: %+v, %d in the store", i, stats, len(h.db.entriesOnly()))
				}
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

func (d *database) entriesOnly() []string {
	var keys []string
	for key := range d.entries {
		if len(key) == 43 {
			keys = append(keys, key)
		}
	}
	return keys
}

// While a dump is followed that was made before the newest change, a removal comes that
// the copy has followed days ago, and that the store has forgotten. What is lost is
// written back.
func TestCopy_Heal_oldRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1, "b")
		batch := []replica.Change{revokes(t, 2, "c"), removes(t, 3, "b"), revokes(t, 4, "d")}
		follow(t, c, 1, batch...)
		for i := range uint64(60) { // three days
			time.Sleep(72 * time.Minute)
			r := removes(t, 5+i, "e")
			r.Record.Expires = time.Now().Add(24 * time.Hour).Unix()
			follow(t, c, 4+i, r)
			c.Heard(time.Now())
		}
		follow(t, c, 64, revokes(t, 65, "acknowledged"))
		c.Break(at(65))
		c.Rejoin(at(1)) // the dump has number 3
		follow(t, c, 1, batch[:2]...)
		c.InstallAll(snapshot(t, record(t, "c"), batch[1].Removal()), at(3), time.Now())
		want(t, c, "acknowledged", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		written := 0
		c.Heal(ctx, func(_ context.Context, _ replica.Position, records []replica.Record) error {
			written = len(records)
			return errDown
		}, func(error) {})
		if written != 2 { // d, too
			t.Errorf("%d entries are written back; %+v", written, c.Stats())
		}
	})
}

// After a day out of reach, an instance does not write back what it had. What is
// acknowledged after that, and lost later, is written back.
func TestCopy_Heal_sureAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := &healing{t: t, ctx: ctx, db: newDatabase(), poll: 10 * time.Minute}
		a := h.open()
		for _, id := range []string{"x", "again"} {
			h.must(a.Revoke(ctx, entry(id)))
		}
		time.Sleep(2 * h.poll)
		h.db.set(true)
		h.db.restore(state{at: replica.Position{Epoch: "another"}})
		time.Sleep(24 * time.Hour)
		h.db.set(false)
		time.Sleep(2 * h.poll)
		before := h.db.backup()
		for _, id := range []string{"y", "again"} {
			h.must(a.Revoke(ctx, entry(id)))
		}
		time.Sleep(2 * h.poll)
		h.db.restore(before)
		time.Sleep(2 * h.poll)
		h.stores = []*store{a}
		h.want("y", true)
		h.want("again", true)
		want(t, a.Copy, "x", true)
		want(t, h.open().Copy, "x", false)
	})
}

// The same, if the log has a removal that the store has forgotten: only what it names is
// not written back.
func TestCopy_Heal_sureAgain_log(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1, "x", "lost")
		again, forgotten := revokes(t, 2, "x"), removes(t, 3, "x")
		forgotten.Record.Expires = time.Now().Add(24 * time.Hour).Unix()
		time.Sleep(25 * time.Hour)
		c.Break(at(1))
		c.Rejoin(at(1))
		follow(t, c, 1, again, forgotten)
		c.Break(at(3))
		c.Rejoin(at(1))
		follow(t, c, 1, again) // which is older
		c.Break(at(2))
		c.Rejoin(at(3))
		c.Heard(time.Now())
		follow(t, c, 3, revokes(t, 4, "y")) // acknowledged while everything is loaded, and lost
		c.Break(at(4))
		c.Rejoin(at(3))
		for range 2 {
			c.InstallAll(snapshot(t, forgotten.Removal()), at(3), time.Now())
			follow(t, c, 3, revokes(t, 4, "z"))
			c.Break(at(4))
		}
		c.InstallAll(snapshot(t, forgotten.Removal()), at(3), time.Now())
		want(t, c, "x", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		written := map[string]bool{}
		c.Heal(ctx, func(_ context.Context, _ replica.Position, records []replica.Record) error {
			for _, r := range records {
				written[r.Identity] = true
			}
			return errDown
		}, func(error) {})
		for id, want := range map[string]bool{"x": false, "lost": true, "y": true, "z": true} {
			if written[record(t, id).Identity] != want {
				t.Errorf("%s is written back: %v, want %v", id, !want, want)
			}
		}
	})
}
