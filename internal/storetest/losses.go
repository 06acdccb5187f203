package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/revocation"
)

// LossTest is a store with several instances that loses what it has acknowledged.
type LossTest struct {
	// Instances is how many there are.
	Instances int
	// Open opens instance i, or a late one for which i is Instances.
	Open func(ctx context.Context, i int) (Store, error)
	// Losses are the ways to lose changes.
	Losses []Loss
	// Proxies are the ways of the instances to the server, if there are any. One
	// of them is cut now and then.
	Proxies []*Proxy
	// Time is how long the test takes at least. It has at least Rounds rounds, of
	// one or two losses each.
	Time   time.Duration
	Rounds int
	// Recovery is how long an instance may take to hear from the store again.
	Recovery time.Duration
}

// Loss is a way to lose changes.
type Loss struct {
	Name string
	// Begin remembers the state of the store, and the function that it returns
	// goes back to it. What is acknowledged in between may be lost. If it returns
	// nil, it has deleted something that may be of any age.
	Begin func(rnd *rand.Rand) (end func())
	// Silent says that no instance can notice it, so nothing is written back.
	Silent bool
}

// lossRun is a LossTest while it runs.
type lossRun struct {
	LossTest
	t      *testing.T
	seed   uint64
	stores []Store
	clock  atomic.Int64 // counts what happens

	mu     sync.Mutex
	lost   []interval
	silent []interval // those of them that no instance can notice
	tokens []*lossToken
	acked  int
	failed int
	kinds  map[string]int

	slowest time.Duration // to write back what was lost
}

type interval struct{ from, to int64 }

func (i interval) overlaps(j interval) bool { return i.to > j.from && i.from < j.to }

// lossToken is a token, with the last change that concerns it.
type lossToken struct {
	id       string
	change   interval // by the run's clock; from its call to its end
	removed  bool
	failed   bool         // it may have been made, even later
	in       int          // the instance on which it was made
	revoked  map[int]bool // the instances that have said so in quiet, since the last Remove began
	changing sync.Mutex
}

// RunLosses writes through all instances while the store loses changes: those of
// some time, all, or some keys. What was acknowledged is in force where it was made,
// at once and for ever. Then, in quiet:
//
//   - An instance that has said once that a token is revoked says so until a Remove.
//   - The instances write back what was lost. Then every acknowledged revocation is
//     in force everywhere, and on an instance that starts then.
//   - So is every Remove, except one that was lost.
//   - All instances agree.
//
// STORETEST_SEED repeats the choices of a run.
func RunLosses(t *testing.T, l LossTest) {
	r := &lossRun{LossTest: l, t: t, seed: newSeed(t), kinds: map[string]int{}}
	goroutines := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range l.Instances {
		s, err := l.Open(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		r.stores = append(r.stores, s)
	}
	for n := range 60 {
		r.tokens = append(r.tokens, &lossToken{id: fmt.Sprint(n), revoked: map[int]bool{}})
	}
	start, rounds := time.Now(), 0
	for ; rounds < l.Rounds || time.Since(start) < l.Time; rounds++ {
		r.round(ctx, rand.New(rand.NewPCG(r.seed, uint64(rounds))))
		if t.Failed() {
			t.Logf("failed in round %d", rounds)
			break
		}
	}
	cancel()
	healed := 0
	for _, s := range r.stores {
		s.Wait()
		healed = max(healed, s.Stats().Healed)
	}
	checkGoroutines(t, goroutines)
	Figures(t, fmt.Sprintf("seed %d: %d rounds with losses %v in %v; %d changes acknowledged, %d failed; none forgotten, %d entries written back, slowest after %v",
		r.seed, rounds, r.kinds, time.Since(start).Round(time.Millisecond), r.acked, r.failed, healed, r.slowest.Round(time.Millisecond)))
}

// round has one or two losses while changes are made, and then looks.
func (r *lossRun) round(ctx context.Context, rnd *rand.Rand) {
	writes, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for w := range 4 {
		mine := rand.New(rand.NewPCG(rnd.Uint64(), uint64(w)))
		load.Go(func() {
			for writes.Err() == nil {
				r.change(r.tokens[mine.IntN(len(r.tokens))], mine)
				<-time.After(time.Duration(mine.IntN(2000)) * time.Microsecond)
			}
		})
	}
	for range 1 + rnd.IntN(2) {
		r.lose(rnd)
	}
	pauseFor(rnd, 10*time.Millisecond)
	stop()
	load.Wait()
	awaitFresh(r.t, r.stores, r.Recovery)
	for _, token := range r.tokens {
		r.checkKept(token)
	}
	r.awaitHealed()
	later, end := context.WithCancel(ctx)
	defer end()
	late, err := r.Open(later, r.Instances)
	if err != nil {
		r.t.Fatal(err)
	}
	awaitFresh(r.t, r.stores, r.Recovery) // they have what it has
	for _, token := range r.tokens {
		r.check(token, late)
	}
	end()
	late.Wait()
}

func pauseFor(rnd *rand.Rand, most time.Duration) {
	<-time.After(time.Duration(rnd.Int64N(int64(most))))
}

// lose loses changes once, perhaps with an instance that is out of reach.
func (r *lossRun) lose(rnd *rand.Rand) {
	if len(r.Proxies) > 0 && rnd.IntN(3) == 0 {
		p := r.Proxies[rnd.IntN(len(r.Proxies))]
		p.Cut()
		defer p.Heal()
	}
	pauseFor(rnd, 20*time.Millisecond)
	loss := r.Losses[rnd.IntN(len(r.Losses))]
	from := r.clock.Add(1)
	if end := loss.Begin(rnd); end != nil {
		pauseFor(rnd, 40*time.Millisecond)
		end()
	} else {
		from = 0
	}
	r.mu.Lock()
	when := interval{from, r.clock.Add(1)}
	r.lost = append(r.lost, when)
	if loss.Silent {
		r.silent = append(r.silent, when)
	}
	r.kinds[loss.Name]++
	r.mu.Unlock()
	pauseFor(rnd, 20*time.Millisecond)
}

// change makes one change about a token, and checks that it is in force.
func (r *lossRun) change(token *lossToken, rnd *rand.Rand) {
	token.changing.Lock()
	defer token.changing.Unlock()
	in, remove := rnd.IntN(len(r.stores)), rnd.IntN(3) == 0
	entry := revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: token.id, Expires: time.Now().Add(time.Hour + time.Duration(rnd.IntN(60))*time.Minute)}
	call, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	from := r.clock.Add(1)
	var err error
	if remove {
		clear(token.revoked)
		err = r.stores[in].Remove(call, entry)
	} else {
		err = r.stores[in].Revoke(call, entry)
	}
	failed := token.failed && token.removed != remove // the one before may still be made
	token.change = interval{from, r.clock.Add(1)}
	token.removed, token.in, token.failed = remove, in, err != nil || failed
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed++
		return
	}
	r.acked++
	if token.failed {
		return
	}
	if got := said(r.stores[in], token.id); !got && !remove {
		r.t.Errorf("%s: acknowledged, and not in force where it was made", token.id)
	}
	if !remove {
		token.revoked[in] = true
	}
}

// said is what a store says of a token, however old its copy is.
func said(s Store, id string) bool {
	revoked, _ := s.Revoked(context.Background(), token(id))
	return revoked
}

// awaitHealed waits until no instance has what the store does not have.
func (r *lossRun) awaitHealed() {
	r.t.Helper()
	for start := time.Now(); ; <-time.After(time.Millisecond) {
		lost := 0
		for _, s := range r.stores {
			stats := s.Stats()
			if lost += stats.Lost; stats.Loading {
				lost++ // it may find more
			}
		}
		switch {
		case lost == 0:
			r.slowest = max(r.slowest, time.Since(start))
			return
		case time.Since(start) > r.Recovery:
			r.t.Fatalf("%d entries are not written back after %v", lost, r.Recovery)
		}
	}
}

// checkKept checks that no instance has forgotten a token, written back or not.
func (r *lossRun) checkKept(token *lossToken) {
	for i, s := range r.stores {
		got := said(s, token.id)
		if token.revoked[i] && !got && !token.failed {
			r.t.Errorf("%s: instance %d has forgotten it", token.id, i)
		}
		if got {
			token.revoked[i] = true
		}
	}
}

// check compares what all instances say of a token after what was lost is written
// back.
func (r *lossRun) check(token *lossToken, late Store) {
	if token.change.to == 0 {
		return
	}
	lost, silent := slices.ContainsFunc(r.lost, token.change.overlaps), slices.ContainsFunc(r.silent, token.change.overlaps)
	about := fmt.Sprintf("%s (removed: %v, failed: %v, may be lost: %v, on instance %d)", token.id, token.removed, token.failed, lost, token.in)
	inStore := said(late, token.id)
	if !token.failed && !(lost && token.removed) && !silent && inStore == token.removed {
		r.t.Errorf("%s: a late instance says %v", about, inStore)
	}
	for i, s := range r.stores {
		if got := said(s, token.id); got != inStore && (inStore || !silent) {
			r.t.Errorf("%s: instance %d says %v, a late instance %v", about, i, got, inStore)
		}
	}
}
