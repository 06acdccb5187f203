package main

import (
	"fmt"
	"slices"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

// limit is an upper bound for something that was measured.
type limit struct {
	what          string
	measured, max float64
	unit          string // "": a ratio
	note          string // printed if the limit is exceeded
}

func (l limit) ok() bool { return l.measured <= l.max }

func (l limit) format(v float64) string {
	if l.unit != "" {
		return fmt.Sprintf("%.0f %s", v, l.unit)
	}
	return fmt.Sprintf("%.3f", v)
}

// limits returns what jwthttp promises about its speed, with what was measured.
func (r results) limits() []limit {
	var all []limit
	for _, l := range []struct {
		name, alg, contender string
		max                  float64
	}{
		{benchmarks.Admitted, "HS256", benchmarks.Ours, 0.55},
		{benchmarks.Admitted, "RS256", benchmarks.Ours, 0.90},
		{benchmarks.Admitted, "ES256", benchmarks.Ours, 0.94},
		{benchmarks.Admitted, "EdDSA", benchmarks.Ours, 0.93},
		{benchmarks.Admitted, "HS256", benchmarks.CachedFlat, 0.06},
		{benchmarks.Admitted, "HS256", benchmarks.Cached, 0.12},
		{benchmarks.Admitted, "RS256", benchmarks.CachedFlat, 0.02},
		{benchmarks.Admitted, "RS256", benchmarks.Cached, 0.04},
		{benchmarks.Expired, "RS256", benchmarks.Ours, 0.08},
	} {
		all = append(all, r.toHand(l.name, l.alg, l.contender, l.max))
	}
	for _, name := range append(benchmarks.Cases(), benchmarks.MoreRefusals()...) {
		switch name {
		case benchmarks.Admitted:
		case benchmarks.Missing: // costs hand nothing, so there is no useful ratio
			all = append(all, worst(func(alg string) limit {
				ns := median(r.unit(name, alg, benchmarks.Ours).ns)
				return limit{what: fmt.Sprintf("%s, %s: %s", name, alg, benchmarks.Ours), measured: ns, max: 1000, unit: "ns"}
			}))
		default:
			all = append(all, worst(func(alg string) limit { return r.toHand(name, alg, benchmarks.Ours, 2) }))
		}
	}
	for _, contender := range []string{benchmarks.Ours, benchmarks.Cached, benchmarks.CachedFlat} {
		all = append(all, worst(func(alg string) limit {
			ratio := medianRatio(r.unit(parallel, alg, contender).ns, r.unit(benchmarks.Admitted, alg, contender).ns)
			return limit{what: fmt.Sprintf("admitted, %s: %s, parallel to serial", alg, contender), measured: ratio, max: 1}
		}))
	}
	return slices.Concat(all, r.ofProofs(), r.added())
}

// added limits what options add to an admitted request.
func (r results) added() []limit {
	return []limit{{
		what:     fmt.Sprintf("admitted: added by a list of %d revocations", listSize),
		measured: medianDifference(r.unit(revocations, "HS256", withList).ns, r.unit(revocations, "HS256", withoutList).ns),
		max:      1000, unit: "ns",
	}, {
		what:     "admitted: added by an issuer found at run time",
		measured: medianDifference(r.unit(tenants, "HS256", found).ns, r.unit(tenants, "HS256", static).ns),
		max:      100, unit: "ns",
	}}
}

// ofProofs limits what a proof takes, without its signature.
func (r results) ofProofs() (all []limit) {
	for _, alg := range benchmarks.BoundAlgorithms() {
		ns := median(r.unit(bound, alg, benchmarks.BoundProof).ns)
		all = append(all, limit{what: fmt.Sprintf("bound, %s: %s", alg, benchmarks.BoundProof), measured: ns, max: 5000, unit: "ns"})
	}
	return all
}

// toHand limits the ratio to hand for the same request.
func (r results) toHand(name, alg, contender string, most float64) limit {
	hand := r.unit(name, alg, benchmarks.Hand)
	l := limit{
		what:     fmt.Sprintf("%s, %s: %s to hand", name, alg, contender),
		measured: medianRatio(r.unit(name, alg, contender).ns, hand.ns), max: most,
	}
	if floor := r.unit(name, alg, benchmarks.SignatureAlone); floor != nil {
		l.note = fmt.Sprintf("in this run the signature alone takes %.3f of hand's time", medianRatio(floor.ns, hand.ns))
	}
	return l
}

// worst returns the limit of the algorithm with the largest measured value.
func worst(of func(alg string) limit) limit {
	var worst limit
	for _, alg := range benchmarks.Algorithms() {
		if l := of(alg); l.measured > worst.measured {
			worst = l
		}
	}
	return worst
}
