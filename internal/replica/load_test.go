package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// script is a Source that was written down.
type script struct {
	head    replica.Position
	parts   [][]replica.Page // each begins a second after the one before
	changes map[uint64][]replica.Change
	past    map[uint64]bool // the numbers from which the store continues
	err     map[string]error
	catchUp func() (bool, error)
	asks    func()         // called by Changes
	sent    func(part int) // called after the last page of a part
	refused atomic.Int64   // how often send has returned context.Canceled
}

func (s *script) Head(context.Context) (replica.Position, error) { return s.head, s.err["Head"] }

func (s *script) Parts(context.Context) (parts []replica.Part, err error) {
	for i, pages := range s.parts {
		parts = append(parts, func(ctx context.Context, from replica.Position, send func(replica.Page) error) error {
			time.Sleep(time.Duration(i) * time.Second)
			for _, p := range pages {
				if err := send(p); err != nil {
					if errors.Is(err, context.Canceled) {
						s.refused.Add(1)
					}
					return err
				}
			}
			if s.sent != nil {
				s.sent(i)
			}
			if i == 0 {
				return s.err["Part"]
			}
			return nil
		})
	}
	return parts, s.err["Parts"]
}

func (s *script) Changes(_ context.Context, after replica.Position) ([]replica.Change, bool, error) {
	if s.asks != nil {
		s.asks()
	}
	changes, ok := s.changes[after.Seq]
	return changes, !ok || len(changes) < 2, s.err["Changes"]
}

func (s *script) Common(_ context.Context, past []replica.Position) (replica.Position, bool, error) {
	for _, at := range past {
		if s.past[at.Seq] {
			return at, true, s.err["Common"]
		}
	}
	return replica.Position{}, false, s.err["Common"]
}

func (s *script) CatchUp(context.Context) (bool, error) {
	if s.catchUp == nil {
		return true, nil
	}
	return s.catchUp()
}

// page is a page with entries, and the changes after a number.
func page(t *testing.T, ids []string, after uint64, changes ...replica.Change) replica.Page {
	return replica.Page{
		Records: len(ids), Record: func(i int) (replica.Record, error) { return record(t, ids[i]), nil },
		After: at(after), Changes: changes,
	}
}

func marked(c replica.Change, mark uint64) replica.Change {
	c.Mark = mark
	return c
}

// The parts of a load have changes in common, and each has those that it needs.
func TestCopy_Load(t *testing.T) {
	lost, errOther := replica.ErrLost, errors.New("another error")
	a, b := []string{"a"}, []string{"b"}
	for _, tt := range []struct {
		name   string
		script *script
		want   map[string]bool
		err    error
	}{
		{"one part", &script{parts: [][]replica.Page{{page(t, a, 3)}}}, map[string]bool{"a": true}, nil},
		{"nothing", &script{parts: [][]replica.Page{{page(t, nil, 3)}, {page(t, nil, 3)}}}, nil, nil},
		{"the second part is behind", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"), removes(t, 5, "c"))},
			{page(t, b, 3, revokes(t, 4, "c"))},
		}}, map[string]bool{"a": true, "b": true, "c": false}, nil},
		{"the second part is as far", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{page(t, b, 3, revokes(t, 4, "c"))},
		}}, map[string]bool{"a": true, "b": true, "c": true}, nil},
		{"the second part is ahead", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{page(t, b, 3, revokes(t, 4, "c"), removes(t, 5, "a"), removes(t, 6, "c")), page(t, nil, 6, revokes(t, 7, "d"))},
		}}, map[string]bool{"a": false, "b": true, "c": false, "d": true}, nil},
		{"changes after the last page", &script{
			parts:   [][]replica.Page{{page(t, a, 3)}},
			changes: map[uint64][]replica.Change{3: {revokes(t, 4, "c"), revokes(t, 5, "d")}, 5: {removes(t, 6, "a")}},
		}, map[string]bool{"a": false, "c": true, "d": true}, nil},
		{"a loss between the parts", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{page(t, b, 3, marked(revokes(t, 4, "d"), 44))},
		}}, nil, lost},
		{"a loss between the parts, and more since", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{page(t, b, 3, marked(revokes(t, 4, "d"), 44), revokes(t, 5, "e"))},
		}}, nil, lost},
		{"a loss between the parts, which are not as far", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"), revokes(t, 5, "d"))},
			{page(t, nil, 3, marked(removes(t, 4, "b"), 44))},
		}}, nil, lost},
		{"a loss between the parts, and nothing since", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"), revokes(t, 5, "d"))},
			{{After: replica.Position{Epoch: "e", Seq: 4, Mark: 44}}},
		}}, nil, lost},
		{"a part after another change of the same number", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{{After: replica.Position{Epoch: "e", Seq: 4, Mark: 44}, Changes: []replica.Change{revokes(t, 5, "e")}}},
		}}, nil, lost},
		{"the log lost its first changes between the parts", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 6, "e"))},
			{page(t, b, 3, revokes(t, 4, "c"))},
		}}, nil, replica.ErrGap},
		{"another epoch of a part that is behind", &script{parts: [][]replica.Page{
			{page(t, a, 3, revokes(t, 4, "c"))},
			{{After: replica.Position{Epoch: "f", Seq: 3, Mark: 3}}},
		}}, nil, lost},
		{"another epoch", &script{parts: [][]replica.Page{{{After: replica.Position{Epoch: "f", Seq: 3, Mark: 3}}}}}, nil, lost},
		{"a page that is too far", &script{parts: [][]replica.Page{{page(t, a, 4)}}}, nil, lost},
		{"the log lost a change after the last page", &script{
			parts:   [][]replica.Page{{page(t, a, 3)}},
			changes: map[uint64][]replica.Change{3: {revokes(t, 5, "d")}},
		}, nil, replica.ErrGap},
		{"the log lost a change between others after the last page", &script{
			parts:   [][]replica.Page{{page(t, a, 3)}},
			changes: map[uint64][]replica.Change{3: {revokes(t, 4, "c"), revokes(t, 6, "e")}},
		}, nil, replica.ErrGap},
		{"Head", &script{err: map[string]error{"Head": errOther}}, nil, errOther},
		{"Parts", &script{err: map[string]error{"Parts": errOther}}, nil, errOther},
		{"a part", &script{
			parts: [][]replica.Page{{page(t, a, 3)}, {page(t, b, 3), page(t, b, 3)}},
			err:   map[string]error{"Part": errOther},
		}, nil, errOther},
		{"a record", &script{parts: [][]replica.Page{{{Records: 1, After: at(3), Record: func(int) (replica.Record, error) {
			return replica.Record{}, errOther
		}}}}}, nil, errOther},
		{"Changes", &script{parts: [][]replica.Page{{page(t, a, 3)}}, err: map[string]error{"Changes": errOther}}, nil, errOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.script.head = at(3)
				c := replica.NewCopy(time.Hour)
				_, err := c.Load(t.Context(), tt.script, time.Millisecond)
				if !errors.Is(err, tt.err) || errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				for id, revoked := range tt.want {
					want(t, c, id, revoked)
				}
				if ready := c.Ready(); (ready == nil) != (err == nil) {
					t.Error(ready)
				}
			})
		})
	}
}

// The copy was loaded as of when the store was asked for the last changes.
func TestCopy_Load_staleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replica.NewCopy(time.Hour)
		s := &script{head: at(3), parts: [][]replica.Page{{page(t, nil, 3)}}, asks: func() { time.Sleep(5 * time.Second) }}
		if _, err := c.Load(t.Context(), s, time.Minute); err != nil || c.Staleness() != 5*time.Second {
			t.Error(err, c.Staleness())
		}
	})
}

// If the copy has nothing to follow from, the changes that come with pages are in force
// at once.
func TestCopy_Load_preview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replica.NewCopy(time.Hour)
		s := &script{head: at(3), parts: [][]replica.Page{{page(t, nil, 3, revokes(t, 4, "c"))}, {page(t, nil, 3)}}}
		var early atomic.Bool
		time.AfterFunc(500*time.Millisecond, func() { // the second part begins after a second
			revoked, _ := c.Revoked(&jwthttp.Token{Issuer: "i", ID: "c"})
			early.Store(revoked)
		})
		if _, err := c.Load(t.Context(), s, time.Minute); err != nil || !early.Load() {
			t.Errorf("%v; in force before the end: %v", err, early.Load())
		}
	})
}

// A copy follows in each step of a load, however long that takes.
func TestCopy_Load_steps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 3)
		c.Break(at(3))
		c.Rejoin(at(3))
		var step atomic.Int32 // pages, Settle, and after it
		var steps [3]int
		s := &script{head: at(3), parts: [][]replica.Page{{page(t, nil, 3)}, {page(t, nil, 3)}}}
		s.asks = func() { step.Store(2) }
		s.sent = func(part int) {
			if part == 1 {
				step.Store(1)
			}
		}
		s.catchUp = func() (bool, error) {
			steps[step.Load()]++
			time.Sleep(time.Second / 10) // until the next tick
			return true, nil
		}
		if _, err := c.Load(t.Context(), s, time.Second/10); err != nil {
			t.Fatal(err)
		}
		// The second part begins after a second.
		if slices.Min(steps[:]) < 5 {
			t.Error(steps)
		}
	})
}

// What was followed after Join, and then lost by the store, is not taken for stored.
func TestCopy_Load_lostSinceJoin(t *testing.T) {
	for _, call := range []int{2, 100, 256} { // of CatchUp after Join: within Merge, and after it
		synctest.Test(t, func(t *testing.T) {
			c := fresh(t, 3)
			c.Break(at(3))
			c.Rejoin(at(3))
			joined, calls := false, 0
			s := &script{head: at(3), parts: [][]replica.Page{{page(t, nil, 3)}}, past: map[uint64]bool{3: true}}
			s.asks = func() { joined = true; time.Sleep(time.Millisecond) }
			s.catchUp = func() (bool, error) {
				if !joined {
					return true, nil
				}
				time.Sleep(time.Millisecond) // until the next tick
				switch calls++; calls {
				case 1:
					return true, c.Follow(at(3), revokes(t, 4, "x")) // acknowledged
				case call:
					return !c.Break(at(4)), nil // a failover to a replica that has number 3
				}
				return true, nil
			}
			if _, err := c.Load(t.Context(), s, time.Millisecond); !errors.Is(err, replica.ErrGap) || calls < call {
				t.Errorf("%v after %d calls", err, calls)
			}
			want(t, c, "x", true)
			if _, err := c.Load(t.Context(), s, time.Minute); err != nil || c.Stats().Lost != 1 {
				t.Errorf("%v; %+v", err, c.Stats())
			}
			want(t, c, "x", true)
		})
	}
}

// A copy that is behind the snapshot, and cannot follow, ends the load with the error.
func TestCopy_Load_cannotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fresh(t, 1)
		follow(t, c, 1, revokes(t, 2, "a"))
		c.Break(at(2))
		c.Rejoin(at(2))
		errOther := errors.New("another error")
		first := true
		s := &script{head: at(3), parts: [][]replica.Page{{page(t, []string{"a"}, 3)}}, catchUp: func() (bool, error) {
			if first {
				first = false
				return true, nil
			}
			return false, errOther
		}}
		if _, err := c.Load(t.Context(), s, time.Minute); !errors.Is(err, errOther) {
			t.Error(err)
		}
	})
}

// Many changes are made in several steps, in their order.
func TestSnapshot_Settle(t *testing.T) {
	const n = 25_000
	s := new(replica.Snapshot)
	var changes []replica.Change
	for i := range uint64(n) {
		changes = append(changes, revokes(t, i+1, fmt.Sprint(i)))
	}
	if err := s.Follow(changes...); err != nil {
		t.Fatal(err)
	}
	removed := 0
	for ; s.Settle(); removed++ {
		if err := s.Follow(removes(t, 0, fmt.Sprint(n-1-removed))); err != nil {
			t.Fatal(err)
		}
	}
	c := replica.NewCopy(time.Hour)
	c.InstallAll(s, at(n), time.Now())
	for i := range n {
		want(t, c, fmt.Sprint(i), i < n-removed)
	}
}

// The end of a context ends a load and all of its parts.
func TestCopy_Load_context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{head: at(3), parts: [][]replica.Page{{page(t, nil, 3)}, {page(t, nil, 3)}}}
		for range 10 {
			s.parts[1] = append(s.parts[1], page(t, nil, 3))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := replica.NewCopy(time.Hour).Load(ctx, s, time.Millisecond)
		if !errors.Is(err, context.Canceled) || s.refused.Load() == 0 {
			t.Error(err, s.refused.Load())
		}
	})
}

// A load looks for a change to follow from before anything else, and again with each
// tick if what it followed has been lost.
func TestCopy_Load_follows(t *testing.T) {
	errOther := errors.New("another error")
	for _, tt := range []struct {
		name    string
		script  *script
		results []bool // of CatchUp
		err     error
	}{
		{"from where it is", &script{}, []bool{true}, nil},
		{"from a position in the past", &script{past: map[uint64]bool{2: true}}, []bool{false, true}, nil},
		{"from nowhere", &script{past: map[uint64]bool{7: true}}, []bool{false}, nil},
		{"Common", &script{err: map[string]error{"Common": errOther}}, []bool{false}, errOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fresh(t, 1)
				follow(t, c, 1, revokes(t, 2, "a"))
				follow(t, c, 2, revokes(t, 3, "b"))
				calls := 0
				tt.script.head, tt.script.parts = at(3), [][]replica.Page{{}, {page(t, []string{"a", "b"}, 3)}}
				tt.script.catchUp = func() (bool, error) {
					if calls++; calls <= len(tt.results) && !tt.results[calls-1] {
						c.Break(at(3))
						return false, nil
					}
					return true, c.Follow(at(2), revokes(t, 3, "b"))
				}
				_, err := c.Load(t.Context(), tt.script, 100*time.Millisecond)
				if !errors.Is(err, tt.err) {
					t.Fatal(err)
				}
				if ticked := calls > len(tt.results); ticked != (tt.err == nil && tt.name != "from nowhere") {
					t.Errorf("%d calls of CatchUp", calls)
				}
			})
		})
	}
}

func TestFirst(t *testing.T) {
	other := errors.New("other")
	gap, lost := fmt.Errorf("%w: here", replica.ErrGap), fmt.Errorf("%w: here", replica.ErrLost)
	for _, tt := range []struct {
		name string
		errs []error // of the calls, and nil after that
		end  int     // the context ends with that call
		want error
		took time.Duration
	}{
		{name: "loaded at once"},
		{name: "a gap, and a loss", errs: []error{gap, lost}, took: 60 * time.Millisecond},
		{name: "another error", errs: []error{gap, other}, want: other, took: 20 * time.Millisecond},
		{name: "too often", errs: []error{gap, gap, gap, gap, gap, gap, gap, lost}, want: lost, took: 2540 * time.Millisecond},
		{name: "the context ends", errs: []error{gap, gap, lost, gap}, end: 3, want: lost, took: 60 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				start, calls := time.Now(), 0
				err := replica.First(ctx, func(context.Context) error {
					if calls++; calls == tt.end {
						cancel()
					}
					if calls > len(tt.errs) {
						return nil
					}
					return tt.errs[calls-1]
				})
				cancel()
				if took := time.Since(start); err != tt.want || took != tt.took {
					t.Errorf("%v after %v, want %v after %v", err, took, tt.want, tt.took)
				}
			})
		})
	}
}
