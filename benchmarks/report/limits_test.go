package main

import (
	"io"
	"slices"
	"testing"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name                       string
		group, alg, slow, exceeded string
	}{
		{"nothing is slow", "", "", "", ""},
		{"admitted", benchmarks.Admitted, "ES256", benchmarks.Ours, "admitted, ES256: jwthttp to hand"},
		{"cached", benchmarks.Admitted, "RS256", benchmarks.Cached, "admitted, RS256: jwthttp-cached to hand"},
		{"one algorithm of a refusal", benchmarks.OtherAlg, "EdDSA", benchmarks.Ours, "otheralg, EdDSA: jwthttp to hand"},
		{"missing token", benchmarks.Missing, "HS256", benchmarks.Ours, "missing, HS256: jwthttp"},
		{"parallel", parallel, "HS256", benchmarks.CachedFlat, "admitted, HS256: jwthttp-cached-flat, parallel to serial"},
		{"a proof", bound, "EdDSA", benchmarks.BoundProof, "bound, EdDSA: proof without its signature"},
		{"revocations", revocations, "HS256", withList, "admitted: added by a list of 1000000 revocations"},
		{"tenants", tenants, "HS256", found, "admitted: added by an issuer found at run time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits := fake(c.group, c.alg, c.slow).limits()
			var exceeded []string
			for _, l := range limits {
				if !l.ok() {
					exceeded = append(exceeded, l.what)
				}
			}
			if c.exceeded == "" && len(exceeded) > 0 || c.exceeded != "" && !slices.Equal(exceeded, []string{c.exceeded}) {
				t.Errorf("exceeded: %q, want %q", exceeded, c.exceeded)
			}
			if n := writeLimits(io.Discard, limits); n != len(exceeded) {
				t.Errorf("writeLimits returns %d, want %d", n, len(exceeded))
			}
		})
	}
}

// fake returns results where hand takes 1000 ns, all others 10 ns, and one unit
// 6000 ns.
func fake(slowGroup, slowAlg, slowUnit string) (r results) {
	names := slices.Concat(benchmarks.Cases(), benchmarks.MoreRefusals(), []string{parallel, revocations, tenants, bound})
	for _, name := range names {
		for _, alg := range benchmarks.Algorithms() {
			g := &group{name: name, alg: alg}
			for _, contender := range append(slices.Clone(limited), withList, withoutList, found, static, benchmarks.BoundProof) {
				ns := 10.0
				switch {
				case name == slowGroup && alg == slowAlg && contender == slowUnit:
					ns = 6000
				case contender == benchmarks.Hand:
					ns = 1000
				}
				g.units = append(g.units, &unit{contender: contender, ns: []float64{ns}})
			}
			r.groups = append(r.groups, g)
		}
	}
	return r
}
