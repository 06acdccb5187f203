package main

import (
	"fmt"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

// results is everything that was measured.
type results struct {
	groups      []*group
	floods      []*flood
	entryBytes  map[string]float64 // by algorithm
	attackBytes float64
}

// cachedAlgorithms are those that the cache's limits are about: the cheapest
// signature, and the longest.
func cachedAlgorithms() []string { return []string{"HS256", "RS256"} }

// unit returns nil if the contender was not timed on that request.
func (r results) unit(name, alg, contender string) *unit {
	for _, g := range r.groups {
		if g.name != name || g.alg != alg {
			continue
		}
		for _, u := range g.units {
			if u.contender == contender {
				return u
			}
		}
	}
	return nil
}

// verdict is one limit and what was measured.
type verdict struct {
	what, measured, atMost string
	ok                     bool
	note                   string // what a reader must know if the limit is exceeded
}

func (r results) judge() []verdict {
	var all []verdict
	all = append(all, r.judgeCold()...)
	all = append(all, r.judgeRefusals()...)
	return append(all, r.judgeCache()...)
}

func (r results) judgeCold() []verdict {
	var all []verdict
	for _, l := range []struct {
		contender, alg string
		limit          float64
	}{
		{benchmarks.Ours, "HS256", 0.55},
		{benchmarks.Ours, "RS256", 0.90},
		{benchmarks.Ours, "ES256", 0.94},
		{benchmarks.Ours, "EdDSA", 0.93},
		{benchmarks.OursToken, "HS256", 0.25},
		{benchmarks.OursToken, "RS256", 0.80},
		{benchmarks.OursToken, "ES256", 0.87},
		{benchmarks.OursToken, "EdDSA", 0.86},
	} {
		all = append(all, r.toHand(benchmarks.Admitted, l.alg, l.contender, l.limit))
	}
	return append(all, r.allocs(benchmarks.Admitted, "HS256", benchmarks.Ours, 30))
}

// judgeRefusals compares with hand on the same request, algorithm by
// algorithm; a large token is one that hand admits, having no limit of size.
func (r results) judgeRefusals() []verdict {
	var all []verdict
	for _, alg := range benchmarks.Algorithms() {
		all = append(all,
			r.toHand(benchmarks.Missing, alg, benchmarks.Ours, 1),
			r.toHand(benchmarks.Garbage, alg, benchmarks.Ours, 0.4),
			r.toHand(benchmarks.Large, alg, benchmarks.Ours, 0.4))
	}
	return append(all,
		r.allocs(benchmarks.Missing, "HS256", benchmarks.Ours, 4),
		r.toHand(benchmarks.Expired, "RS256", benchmarks.Ours, 0.08),
		r.toHand(benchmarks.Audience, "RS256", benchmarks.Ours, 0.08),
		amount("bytes allocated for 1 MiB of attack input", r.attackBytes, 64<<10, "B"))
}

func (r results) judgeCache() []verdict {
	all := []verdict{
		r.toHand(benchmarks.Admitted, "HS256", benchmarks.CachedFlat, 0.03),
		r.toHand(benchmarks.Admitted, "RS256", benchmarks.CachedFlat, 0.01),
		r.toHand(benchmarks.Admitted, "HS256", benchmarks.Cached, 0.06),
		r.toHand(benchmarks.Admitted, "RS256", benchmarks.Cached, 0.02),
		r.allocs(benchmarks.Admitted, "HS256", benchmarks.CachedFlat, 2),
		r.allocs(benchmarks.Admitted, "RS256", benchmarks.CachedFlat, 2),
	}
	for _, contender := range []string{benchmarks.CachedFlat, benchmarks.Cached} {
		for _, alg := range cachedAlgorithms() {
			all = append(all, r.parallelToSerial(alg, contender, 1))
		}
	}
	for _, f := range r.floods {
		what := fmt.Sprintf("flood of distinct %s tokens, cache to no cache", f.alg)
		all = append(all, ratio(what, medianRatio(f.cached, f.plain), 1.05))
	}
	for _, alg := range cachedAlgorithms() {
		all = append(all, amount("bytes per cache entry, "+alg, r.entryBytes[alg], 2<<10, "B"))
	}
	return all
}

func (r results) toHand(name, alg, contender string, limit float64) verdict {
	what := fmt.Sprintf("%s, %s: %s to hand", name, alg, contender)
	hand := r.unit(name, alg, benchmarks.Hand)
	v := ratio(what, medianRatio(r.unit(name, alg, contender).ns, hand.ns), limit)
	if floor := r.unit(name, alg, benchmarks.SignatureAlone); floor != nil {
		v.note = fmt.Sprintf("in this run the signature alone takes %.3f of hand's time", medianRatio(floor.ns, hand.ns))
	}
	return v
}

func (r results) parallelToSerial(alg, contender string, limit float64) verdict {
	what := fmt.Sprintf("admitted, %s: %s, parallel to serial", alg, contender)
	return ratio(what, medianRatio(r.unit(parallel, alg, contender).ns, r.unit(benchmarks.Admitted, alg, contender).ns), limit)
}

func (r results) allocs(name, alg, contender string, limit float64) verdict {
	what := fmt.Sprintf("%s, %s: %s", name, alg, contender)
	return amount(what, r.unit(name, alg, contender).allocs, limit, "allocs")
}

func ratio(what string, got, limit float64) verdict {
	return verdict{what: what, measured: fmt.Sprintf("%.3f", got), atMost: fmt.Sprintf("%.2f", limit), ok: got <= limit}
}

func amount(what string, got, limit float64, unit string) verdict {
	return verdict{
		what: what, measured: fmt.Sprintf("%.0f %s", got, unit), atMost: fmt.Sprintf("%.0f %s", limit, unit), ok: got <= limit,
	}
}
