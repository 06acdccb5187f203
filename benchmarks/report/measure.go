package main

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/benchmarks"
)

// parallel is the admitted request from GOMAXPROCS goroutines at once; a unit's
// time is that of all requests together, divided by their number.
const parallel = "parallel"

// unit is one contender with one request, and what it took in each round.
type unit struct {
	contender string
	handler   http.Handler
	n         int       // requests a round
	ns        []float64 // per request, by round
	allocs    float64
	bytes     float64
}

// group is the units that are compared with each other: same request, same
// algorithm, and turns that follow each other closely.
type group struct {
	name, alg string
	fixture   *benchmarks.Fixture
	units     []*unit
}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func newGroups(fixtures map[string]*benchmarks.Fixture) ([]*group, error) {
	var groups []*group
	for _, name := range append(benchmarks.Cases(), benchmarks.Large, parallel) {
		for _, alg := range benchmarks.Algorithms() {
			g := &group{name: name, alg: alg, fixture: fixtures[alg]}
			for _, c := range benchmarks.Timed(shown(name)) {
				// Not all have a limit of size: a table with the others
				// would show what they verify, not how fast they refuse.
				onlyHandAndOurs := name == benchmarks.Large
				if !c.Knows(alg) || onlyHandAndOurs && c.Name != benchmarks.Hand && c.Name != benchmarks.Ours {
					continue
				}
				h, err := c.Guard(g.fixture, nothing)
				if err != nil {
					return nil, fmt.Errorf("%s for %s: %w", c.Name, alg, err)
				}
				g.units = append(g.units, &unit{contender: c.Name, handler: h})
			}
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// shown returns the request that a group of that name is shown.
func shown(name string) string {
	if name == parallel {
		return benchmarks.Admitted
	}
	return name
}

// request makes a request with strings of its own, as a server does: a cache
// must not find the very string it keeps.
func (g *group) request() *http.Request { return g.fixture.Request(shown(g.name)) }

// serve has u answer n requests, and returns how long that took.
func (g *group) serve(u *unit, n int) time.Duration {
	if g.name != parallel {
		return serve(u.handler, g.request(), n)
	}
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range workers {
		share := n / workers
		if i < n%workers {
			share++
		}
		wg.Go(func() { serve(u.handler, g.request(), share) })
	}
	wg.Wait()
	return time.Since(start)
}

func serve(h http.Handler, r *http.Request, n int) time.Duration {
	var w benchmarks.Discard
	start := time.Now()
	for range n {
		w.Reset()
		h.ServeHTTP(&w, r)
	}
	return time.Since(start)
}

// calibrate finds out how many requests take u about d, and what one allocates.
func (g *group) calibrate(u *unit, d time.Duration) {
	for u.n = 1; ; u.n *= 2 {
		if took := g.serve(u, u.n); took >= d/4 || u.n >= 1<<30 {
			u.n = max(1, int(float64(u.n)*float64(d)/float64(max(took, 1))))
			break
		}
	}
	r := g.request()
	var w benchmarks.Discard
	var before, after runtime.MemStats
	const runs = 100
	u.allocs = testing.AllocsPerRun(runs, func() {
		w.Reset()
		u.handler.ServeHTTP(&w, r)
	})
	runtime.ReadMemStats(&before)
	serve(u.handler, r, runs)
	runtime.ReadMemStats(&after)
	u.bytes = float64(after.TotalAlloc-before.TotalAlloc) / runs
}

// timeAll runs the rounds. In each, all groups have their turn, and within one
// the contender that begins is another one each time.
func timeAll(groups []*group, floods []*flood, rounds int, d time.Duration) {
	for _, g := range groups {
		for _, u := range g.units {
			g.calibrate(u, d)
		}
	}
	for round := range rounds {
		for _, g := range groups {
			for i := range g.units {
				u := g.units[(i+round)%len(g.units)]
				runtime.GC() // so that nobody pays for another's garbage
				u.ns = append(u.ns, float64(g.serve(u, u.n).Nanoseconds())/float64(u.n))
			}
		}
		for _, f := range floods {
			f.time(round)
		}
	}
}

// flood is good tokens that each come once: a cache gains nothing, and has to
// make room for every one.
type flood struct {
	alg           string
	fixture       *benchmarks.Fixture
	requests      []*http.Request
	cached, plain []float64 // ns per request, by round
}

// The cache is small, so that most tokens push another one out.
const floodCacheSize = 256

// Enough for tens of milliseconds a round.
var floodTokens = map[string]int{"HS256": 8192, "RS256": 1024}

func newFloods(fixtures map[string]*benchmarks.Fixture) ([]*flood, error) {
	var floods []*flood
	for _, alg := range cachedAlgorithms() {
		f := &flood{alg: alg, fixture: fixtures[alg]}
		tokens, err := f.fixture.Distinct(floodTokens[alg])
		if err != nil {
			return nil, err
		}
		for _, token := range tokens {
			f.requests = append(f.requests, benchmarks.RequestWith(token))
		}
		floods = append(floods, f)
	}
	return floods, nil
}

// time serves all tokens once with a new cache and once without any.
func (f *flood) time(round int) {
	turns := []func(){
		func() { f.cached = append(f.cached, f.serve(benchmarks.CachedOptions(f.fixture, floodCacheSize))) },
		func() { f.plain = append(f.plain, f.serve(benchmarks.OurOptions(f.fixture))) },
	}
	for i := range turns {
		turns[(i+round)%len(turns)]()
	}
}

func (f *flood) serve(o jwthttp.Options) float64 {
	h, err := benchmarks.GuardOurs(o, func(c benchmarks.Claims) string { return c.Role }, nothing)
	if err != nil {
		panic(err) // the same options were accepted before
	}
	runtime.GC()
	var w benchmarks.Discard
	start := time.Now()
	for _, r := range f.requests {
		w.Reset()
		h.ServeHTTP(&w, r)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(len(f.requests))
}

// entryBytes returns what a cached token keeps alive: the growth of the
// heap, divided by the tokens that are answered from the cache afterwards. Each
// request has a copy of its token, so that one kept by reference counts too.
func entryBytes(f *benchmarks.Fixture) (float64, error) {
	tokens, err := f.Distinct(1024)
	if err != nil {
		return 0, err
	}
	o := benchmarks.CachedOptions(f, len(tokens))
	hits := 0
	o.Observer = func(_ *http.Request, e jwthttp.Event) {
		if e.Cached {
			hits++
		}
	}
	h, err := benchmarks.GuardOurs(o, func(c benchmarks.Claims) string { return c.Role }, nothing)
	if err != nil {
		return 0, err
	}
	fill := func(tokens []string) {
		var w benchmarks.Discard
		for _, token := range tokens {
			w.Reset()
			h.ServeHTTP(&w, benchmarks.RequestWith(strings.Clone(token)))
		}
	}
	before := heap()
	fill(tokens)
	after := heap()
	hits = 0
	fill(tokens)
	runtime.KeepAlive(h)
	if hits == 0 {
		return 0, fmt.Errorf("no token of %d is answered from the cache", len(tokens))
	}
	return (after - before) / float64(hits), nil
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// attackBytes returns the most that jwthttp allocates for one request with
// 1 MiB of input made to cost.
func attackBytes(f *benchmarks.Fixture) (float64, error) {
	h, err := benchmarks.GuardOurs(benchmarks.OurOptions(f), func(c benchmarks.Claims) string { return c.Role }, nothing)
	if err != nil {
		return 0, err
	}
	const size = 1 << 20
	var most uint64
	for _, value := range []string{
		strings.Repeat("a", size),
		strings.Repeat(".", size),
		strings.Repeat("Bearer ", size/7),
		"Bearer " + strings.Repeat("a", size),
		"Bearer " + strings.Repeat(".", size),
		"Bearer " + strings.Repeat("e30.", size/4),
		"Bearer " + strings.Repeat("eyJhIjp7", size/8) + ".e30.e30",
		"Bearer e30." + strings.Repeat("W1tb", size/4) + ".e30",
		"Bearer " + strings.Repeat(" ", size) + "e30.e30.e30",
		strings.Repeat("Bearer e30.e30.e30,", size/19),
	} {
		r := benchmarks.RequestWith("")
		r.Header.Set("Authorization", value)
		var w benchmarks.Discard
		w.Reset()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h.ServeHTTP(&w, r)
		runtime.ReadMemStats(&after)
		if w.Status < 400 {
			return 0, fmt.Errorf("1 MiB of %.20q is answered with %d", value, w.Status)
		}
		most = max(most, after.TotalAlloc-before.TotalAlloc)
	}
	return float64(most), nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// medianRatio is the median of the ratios of each round: what disturbs a round
// disturbs both sides of its ratio.
func medianRatio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}
