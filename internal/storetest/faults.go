package storetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Store is a revocation.Store with a copy that is kept in the background.
type Store interface {
	revocation.Store
	Staleness() time.Duration
	Stats() revocation.Stats
	Wait()
}

// FaultTest is a store with several followers, and the ways to disturb it.
type FaultTest struct {
	// Proxies are the ways of the instances to the server, one each.
	Proxies []*Proxy
	// Open opens instance i, which goes through Proxies[i].
	Open func(ctx context.Context, i int, maxStale time.Duration) (Store, error)
	// Kill ends the server with SIGKILL. Restart starts it on its data, and
	// returns when it takes connections.
	Kill, Restart func()
	// Faults is how many there are to be, every eighth of them a Kill.
	Faults int
	// Recovery is how long after a fault an instance may take to hear from the
	// store again. It may be long: the test continues as soon as all have.
	Recovery time.Duration
}

const (
	maxStale = 5 * time.Second
	issuer   = "https://login.example.com/"
)

// faultRun is a FaultTest while it runs.
type faultRun struct {
	FaultTest
	t      *testing.T
	rnd    *rand.Rand
	stores []Store

	mu      sync.Mutex
	acked   map[string]bool // by "jti": revoked last, or removed last
	unknown map[string]bool // a call about it failed, and may have been carried out, even later

	asked, wronglyRefused, unready atomic.Int64
	slowest                        time.Duration
}

// RunFaults writes and asks through all instances while it kills the server and
// cuts, delays and silences connections, at random moments. Afterwards
// everything acknowledged must be in force on every instance, a failed change must
// be there as a whole or not at all, no copy that was fresh enough may have rejected a
// valid token, and no goroutine may be left. STORETEST_SEED repeats the choices of
// a run.
func RunFaults(t *testing.T, f FaultTest) {
	seed := newSeed(t)
	goroutines := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &faultRun{FaultTest: f, t: t, rnd: rand.New(rand.NewPCG(seed, 1)), acked: map[string]bool{}, unknown: map[string]bool{}}
	for i := range f.Proxies {
		s, err := f.Open(ctx, i, maxStale)
		if err != nil {
			t.Fatal(err)
		}
		r.stores = append(r.stores, s)
	}
	start := time.Now()
	kinds := r.disturb(ctx, seed)
	r.check("the instances", r.stores)
	f.Kill() // what was acknowledged is on the disk
	f.Restart()
	later, err := f.Open(ctx, 0, maxStale)
	if err != nil {
		t.Fatal(err)
	}
	r.check("a new instance", append([]Store{later}, r.stores...))
	cancel()
	for _, s := range append(r.stores, later) {
		s.Wait()
	}
	checkGoroutines(t, goroutines)
	Figures(t, fmt.Sprintf("seed %d: %d faults %v in %v; %d changes acknowledged, %d failed, all in force or absent; %d questions, %d answered 503 while stale, %d wrongly; slowest recovery %v",
		seed, f.Faults, kinds, time.Since(start).Round(time.Millisecond), len(r.acked), len(r.unknown), r.asked.Load(), r.unready.Load(), r.wronglyRefused.Load(), r.slowest.Round(time.Millisecond)))
}

// Seed returns a random seed, or the one of STORETEST_SEED, and logs it.
func Seed(t *testing.T) uint64 {
	t.Helper()
	return newSeed(t)
}

// newSeed returns a random seed, or the one of STORETEST_SEED.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("STORETEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STORETEST_SEED=%d", seed)
	return seed
}

// Figures logs what a test has counted, and appends it to the file that
// STORETEST_FIGURES names, because the log of a test that passes is not shown.
func Figures(t *testing.T, text string) {
	t.Helper()
	t.Log(text)
	name := os.Getenv("STORETEST_FIGURES")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "%s: %s\n", t.Name(), text); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// disturb runs the load and the faults.
func (r *faultRun) disturb(ctx context.Context, seed uint64) map[string]int {
	ctx, cancel := context.WithCancel(ctx)
	var load sync.WaitGroup
	for i := range r.stores {
		load.Go(func() { r.write(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)+2))) })
		load.Go(func() { r.ask(ctx, i) })
	}
	kinds := map[string]int{}
	for n := range r.Faults {
		kinds[r.fault(n)]++
		if n%10 == 9 || n == r.Faults-1 {
			r.awaitFresh()
		}
		r.pause(20 * time.Millisecond)
	}
	cancel()
	load.Wait()
	r.awaitFresh()
	return kinds
}

func (r *faultRun) pause(most time.Duration) { <-time.After(time.Duration(r.rnd.Int64N(int64(most)))) }

// fault does one thing, waits, and undoes it.
func (r *faultRun) fault(n int) string {
	if n%8 == 7 {
		r.Kill()
		r.pause(100 * time.Millisecond)
		r.Restart()
		return "kill"
	}
	p := r.Proxies[r.rnd.IntN(len(r.Proxies))]
	defer p.Heal()
	defer r.pause(150 * time.Millisecond)
	switch r.rnd.IntN(3) {
	case 0:
		p.Cut()
		return "cut"
	case 1:
		p.Delay(time.Duration(r.rnd.IntN(40)) * time.Millisecond)
		return "delay"
	}
	p.HalfOpen()
	return "half open"
}

// awaitFresh waits until every instance has heard what the store had after now.
func (r *faultRun) awaitFresh() {
	r.t.Helper()
	r.slowest = max(r.slowest, awaitFresh(r.t, r.stores, r.Recovery))
}

// awaitFresh returns how long it took.
func awaitFresh(t *testing.T, stores []Store, most time.Duration) time.Duration {
	t.Helper()
	healed := time.Now()
	for _, s := range stores {
		for s.Staleness() > time.Since(healed) {
			if time.Since(healed) > most {
				t.Fatalf("not recovered %v after the last fault: %v", most, s.Ready(context.Background()))
			}
			<-time.After(time.Millisecond)
		}
	}
	return time.Since(healed)
}

// write revokes tokens, and removes some of the entries.
func (r *faultRun) write(ctx context.Context, i int, rnd *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d-%d", i, n)
		remove := n > 0 && rnd.IntN(5) == 0
		if remove {
			id = fmt.Sprintf("%d-%d", i, rnd.IntN(n))
		}
		call, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		entry := revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id, Expires: time.Now().Add(time.Hour)}
		var err error
		if remove {
			err = r.stores[i].Remove(call, entry)
		} else {
			err = r.stores[i].Revoke(call, entry)
		}
		cancel()
		r.mu.Lock()
		if err != nil {
			r.unknown[id] = true
		} else {
			r.acked[id] = !remove
		}
		r.mu.Unlock()
		if revoked, err2 := r.stores[i].Revoked(ctx, token(id)); err == nil && revoked == remove && err2 == nil {
			r.t.Errorf("%s: acknowledged, and not in force where it was made", id)
		}
		<-time.After(time.Duration(rnd.IntN(2000)) * time.Microsecond)
	}
}

// ask asks about a token that is never revoked.
func (r *faultRun) ask(ctx context.Context, i int) {
	s := r.stores[i]
	for ctx.Err() == nil {
		before, start := s.Staleness(), time.Now()
		revoked, err := s.Revoked(ctx, token("valid"))
		r.asked.Add(1)
		switch {
		case revoked, err != nil && before+time.Since(start) < maxStale:
			r.wronglyRefused.Add(1)
			r.t.Errorf("a valid token: %v, %v, with a copy %v old", revoked, err, before)
		case err != nil:
			r.unready.Add(1)
		}
		<-time.After(time.Millisecond)
	}
}

func token(id string) *jwthttp.Token {
	return &jwthttp.Token{Issuer: issuer, ID: id, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
}

// check compares the instances with what was acknowledged, and with each other.
func (r *faultRun) check(name string, stores []Store) {
	r.t.Helper()
	ids := maps.Clone(r.acked)
	maps.Copy(ids, r.unknown)
	for id := range ids {
		first, err := stores[0].Revoked(context.Background(), token(id))
		if err != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
		if want := r.acked[id]; !r.unknown[id] && first != want {
			r.t.Errorf("%s: %s is revoked: %v, acknowledged was %v", name, id, first, want)
		}
		for i, s := range stores[1:] {
			if other, err := s.Revoked(context.Background(), token(id)); err != nil || other != first {
				r.t.Errorf("%s: %s is revoked: %v; on instance %d: %v, %v", name, id, first, i, other, err)
			}
		}
	}
}

func checkGoroutines(t *testing.T, before int) {
	t.Helper()
	start := time.Now()
	for runtime.NumGoroutine() > before {
		if time.Since(start) > time.Minute {
			stacks := make([]byte, 1<<16)
			t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}
