package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/benchmarks"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Groups that are not named after their request.
const (
	// parallel is the admitted request on GOMAXPROCS goroutines. The time of a
	// unit is the time of all requests divided by their number.
	parallel = "parallel"
	// revocations is the admitted request with and without a list of revocations.
	revocations = "revocations"
	// tenants is the admitted request with an issuer of Options.Issuers, and with one
	// of FindIssuer.
	tenants = "tenants"
	// bound is a request whose token is bound to a key, see benchmarks.Bound.
	bound = "bound"
	// calls is a unary call of gRPC, see benchmarks.Calls.
	calls = "calls"

	withList, withoutList = "list", "no-list"
	found, static         = "found", "static"
	listSize              = 1_000_000
)

// unit is the time that one contender takes for one request.
type unit struct {
	contender string
	handler   http.Handler
	n         int       // requests in a round
	ns        []float64 // per request, by round
	allocs    float64
	bytes     float64
}

// group holds the units that are compared with each other. They are for the same
// request and algorithm, and take turns in each round.
type group struct {
	name, alg string
	fixture   *benchmarks.Fixture
	units     []*unit
}

// results holds everything that was measured.
type results struct{ groups []*group }

// unit returns nil if the contender was not timed with that request.
func (r results) unit(name, alg, contender string) *unit {
	for _, g := range r.groups {
		for _, u := range g.units {
			if g.name == name && g.alg == alg && u.contender == contender {
				return u
			}
		}
	}
	return nil
}

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// limited lists the contenders that have limits.
var limited = []string{benchmarks.Hand, benchmarks.Ours, benchmarks.Cached, benchmarks.CachedFlat, benchmarks.SignatureAlone}

// measure times all contenders, or only those that have limits.
func measure(onlyLimited bool, rounds int, d time.Duration) (results, error) {
	var groups []*group
	fixtures := map[string]*benchmarks.Fixture{}
	for _, alg := range benchmarks.Algorithms() {
		f, err := benchmarks.NewFixture(alg)
		if err != nil {
			return results{}, err
		}
		fixtures[alg] = f
		for _, name := range slices.Concat(benchmarks.Cases(), benchmarks.MoreRefusals(), []string{parallel}) {
			g, err := newGroup(name, f, onlyLimited)
			if err != nil {
				return results{}, err
			}
			groups = append(groups, g)
		}
	}
	timeAll(groups, rounds, d)
	// Separately, because every garbage collection would look at the list.
	g, err := newRevocations(fixtures["HS256"])
	if err != nil {
		return results{}, err
	}
	timeAll([]*group{g}, rounds, d)
	groups = append(groups, g)
	if g, err = newTenants(fixtures["HS256"]); err != nil {
		return results{}, err
	}
	timeAll([]*group{g}, rounds, d)
	groups = append(groups, g)
	ofBound, err := measureBound(fixtures, onlyLimited, rounds, d)
	groups = append(groups, ofBound...)
	if err != nil || onlyLimited {
		return results{groups}, err
	}
	ofCalls, err := measureCalls(fixtures, rounds, d)
	return results{append(groups, ofCalls...)}, err
}

// measureBound times each algorithm right after its proofs were made. Redis has no
// limits, and may not be installed.
func measureBound(fixtures map[string]*benchmarks.Fixture, onlyLimited bool, rounds int, d time.Duration) (groups []*group, err error) {
	var client redis.UniversalClient
	if !onlyLimited {
		started, stop, err := benchmarks.StartRedis()
		if err == nil {
			defer stop()
			client = started
		} else if !errors.Is(err, exec.ErrNotFound) {
			return nil, err
		}
	}
	for _, alg := range benchmarks.BoundAlgorithms() {
		handlers, err := benchmarks.Bound(fixtures[alg], nothing, client)
		if err != nil {
			return nil, err
		}
		g := &group{name: bound, alg: alg, fixture: fixtures[alg]}
		for _, h := range handlers {
			g.units = append(g.units, &unit{contender: h.Name, handler: h})
		}
		timeAll([]*group{g}, rounds, d)
		groups = append(groups, g)
	}
	return groups, nil
}

func measureCalls(fixtures map[string]*benchmarks.Fixture, rounds int, d time.Duration) (groups []*group, err error) {
	for _, alg := range benchmarks.CallAlgorithms() {
		handlers, end, err := benchmarks.Calls(fixtures[alg], benchmarks.Admitted)
		if err != nil {
			return nil, err
		}
		g := &group{name: calls, alg: alg, fixture: fixtures[alg]}
		for _, h := range handlers {
			g.units = append(g.units, &unit{contender: h.Name, handler: h})
		}
		timeAll([]*group{g}, rounds, d)
		end()
		groups = append(groups, g)
	}
	return groups, nil
}

func newGroup(name string, f *benchmarks.Fixture, onlyLimited bool) (*group, error) {
	g := &group{name: name, alg: f.Alg, fixture: f}
	for _, c := range benchmarks.Timed(shown(name)) {
		few := slices.Contains(benchmarks.MoreRefusals(), name) && c.Name != benchmarks.Hand && c.Name != benchmarks.Ours
		if few || !c.Knows(f.Alg) || onlyLimited && !slices.Contains(limited, c.Name) {
			continue
		}
		h, err := c.Guard(f, nothing)
		if err != nil {
			return nil, fmt.Errorf("%s for %s: %w", c.Name, f.Alg, err)
		}
		g.units = append(g.units, &unit{contender: c.Name, handler: h})
	}
	return g, nil
}

// newRevocations uses the fastest contender, so that the difference is not lost
// in the time of a signature.
func newRevocations(f *benchmarks.Fixture) (*group, error) {
	list, err := newList()
	if err != nil {
		return nil, err
	}
	g := &group{name: revocations, alg: f.Alg, fixture: f}
	for _, c := range []struct {
		name    string
		revoked jwthttp.RevokedFunc
	}{{withoutList, nil}, {withList, list.Revoked}} {
		o := benchmarks.CachedOptions(f, 16)
		o.Revoked = c.revoked
		h, err := benchmarks.GuardOurs[benchmarks.FlatClaims](o, nothing)
		if err != nil {
			return nil, err
		}
		g.units = append(g.units, &unit{contender: c.name, handler: h})
	}
	return g, nil
}

// newTenants uses the fastest contender, as newRevocations does.
func newTenants(f *benchmarks.Fixture) (*group, error) {
	o := benchmarks.CachedOptions(f, 16)
	atRunTime, issuer := o, o.Issuers[0]
	atRunTime.Issuers = nil
	atRunTime.FindIssuer = func(_ context.Context, name string) (*jwthttp.Issuer, error) {
		if name != issuer.Name {
			return nil, nil
		}
		return &issuer, nil
	}
	g := &group{name: tenants, alg: f.Alg, fixture: f}
	for _, c := range []struct {
		name string
		opts jwthttp.Options
	}{{static, o}, {found, atRunTime}} {
		h, err := benchmarks.GuardOurs[benchmarks.FlatClaims](c.opts, nothing)
		if err != nil {
			return nil, err
		}
		g.units = append(g.units, &unit{contender: c.name, handler: h})
	}
	return g, nil
}

// newList has as many entries of each kind that a token can match. None of them
// matches.
func newList() (*revocation.List, error) {
	kinds := []revocation.Kind{revocation.ByID, revocation.BySubject, revocation.BySession, revocation.ByClient}
	until := time.Now().Add(-time.Hour)
	list := new(revocation.List)
	for i := range listSize {
		e := revocation.Entry{Kind: kinds[i%len(kinds)], Issuer: benchmarks.IssuerName, Value: strconv.Itoa(i)}
		if e.Kind != revocation.ByID {
			e.IssuedUntil = until
		}
		if err := list.Revoke(context.Background(), e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// shown returns the request of a group.
func shown(name string) string {
	if name == parallel || name == revocations || name == tenants {
		return benchmarks.Admitted
	}
	return name
}

// request returns a request with its own strings. A cache must not find the
// string that it keeps, because requests of a server do not share strings.
func (g *group) request() *http.Request { return g.fixture.Request(shown(g.name)) }

// serve returns how long u takes for n requests.
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

// calibrate finds how many requests take u about d, and what one allocates.
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

// timeAll runs the rounds. In each round every unit has one turn, and another
// unit of its group begins.
func timeAll(groups []*group, rounds int, d time.Duration) {
	for _, g := range groups {
		for _, u := range g.units {
			g.calibrate(u, d)
		}
	}
	for round := range rounds {
		for _, g := range groups {
			for i := range g.units {
				u := g.units[(i+round)%len(g.units)]
				runtime.GC() // so that no unit pays for the garbage of another
				u.ns = append(u.ns, float64(g.serve(u, u.n).Nanoseconds())/float64(u.n))
			}
		}
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// medianRatio returns the median of the ratios of each round. What disturbs a
// round disturbs both sides of its ratio.
func medianRatio(a, b []float64) float64 {
	return medianOf(a, b, func(x, y float64) float64 { return x / y })
}

func medianDifference(a, b []float64) float64 {
	return medianOf(a, b, func(x, y float64) float64 { return x - y })
}

func medianOf(a, b []float64, of func(x, y float64) float64) float64 {
	values := make([]float64, len(a))
	for i := range a {
		values[i] = of(a[i], b[i])
	}
	return median(values)
}
