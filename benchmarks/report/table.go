package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

var titles = []struct{ name, title string }{
	{benchmarks.Admitted, "A valid token"},
	{parallel, "A valid token, on all cores at once"},
	{benchmarks.Missing, "No token"},
	{benchmarks.Garbage, "Garbage"},
	{benchmarks.Large, "A token of 16 KiB with a valid signature (hand admits it)"},
	{benchmarks.Expired, "Expired, with a valid signature"},
	{benchmarks.Audience, "For another audience, with a valid signature"},
	{benchmarks.Issuer, "From another issuer, with a valid signature"},
	{benchmarks.Signature, "Invalid signature"},
	{benchmarks.None, "alg none"},
	{benchmarks.OtherAlg, "Another algorithm, with a key that fits"},
}

func writeTables(w io.Writer, r results, rounds int, d time.Duration) {
	fmt.Fprintf(w, "# Results\n\n%s, %s/%s, GOMAXPROCS %d, CPU: %s. Written on %s.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cpuModel(), time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(w, "Medians of %d interleaved rounds of %v: nanoseconds per request, and in brackets the ratio to hand (the median of the\n"+
		"ratios of each round). %s is golang-jwt's Verify and nothing else: a lower bound, not a contender.\n",
		rounds, d, benchmarks.SignatureAlone)
	algs := benchmarks.Algorithms()
	for _, t := range titles {
		fmt.Fprintf(w, "\n## %s\n\n| | %s | allocs (%s) |\n|---|%s---:|\n",
			t.title, strings.Join(algs, " | "), algs[1], strings.Repeat("---:|", len(algs)))
		for _, c := range benchmarks.Timed(shown(t.name)) {
			writeRow(w, r, t.name, c.Name)
		}
	}
	writeBound(w, r)
	writeCalls(w, r)
	fmt.Fprint(w, "\n## Limits\n\n")
	writeLimits(w, r.limits())
}

// writeBound writes the requests whose tokens are bound to a key.
func writeBound(w io.Writer, r results) {
	algs := benchmarks.BoundAlgorithms()
	fmt.Fprint(w, "\n## A token that is bound to a key\n\nEach request has another proof, by a key of the same algorithm as the token's. auth0-v3 has neither a check for replay nor\n"+
		"nonces. In brackets: the ratio to the request without a binding.\n\n")
	writeGroup(w, r, bound, algs, []string{benchmarks.BoundBearer, benchmarks.BoundTLS, benchmarks.BoundDPoP, benchmarks.BoundNonce, benchmarks.BoundRedis, benchmarks.BoundSignature, benchmarks.BoundProof, benchmarks.BoundAuth0})
}

// writeCalls writes the unary calls of gRPC.
func writeCalls(w io.Writer, r results) {
	fmt.Fprintf(w, "\n## A unary call of gRPC with a valid token\n\nClient and server are in one process, with a connection in memory. In brackets: the ratio to %s, a server without\n"+
		"an interceptor that looks at tokens.\n\n", benchmarks.CallUnguarded)
	writeGroup(w, r, calls, benchmarks.CallAlgorithms(), benchmarks.CallNames())
}

// writeGroup writes the units of a group, with the ratio to the first one.
func writeGroup(w io.Writer, r results, name string, algs, units []string) {
	fmt.Fprintf(w, "| | %s | allocs (%s) |\n|---|%s---:|\n", strings.Join(algs, " | "), algs[0], strings.Repeat("---:|", len(algs)))
	for _, contender := range units {
		if r.unit(name, algs[0], contender) == nil { // Redis is not installed
			continue
		}
		fmt.Fprintf(w, "| %s |", contender)
		for _, alg := range algs {
			u := r.unit(name, alg, contender)
			fmt.Fprintf(w, " %s (%.2f) |", thousands(median(u.ns)), medianRatio(u.ns, r.unit(name, alg, units[0]).ns))
		}
		fmt.Fprintf(w, " %.0f |\n", r.unit(name, algs[0], contender).allocs)
	}
}

// writeLimits returns the number of limits that are exceeded.
func writeLimits(w io.Writer, limits []limit) (exceeded int) {
	fmt.Fprint(w, "| limit | measured | at most | |\n|---|---:|---:|---|\n")
	for _, l := range limits {
		mark := "ok"
		if !l.ok() {
			exceeded++
			mark = "**exceeded**"
			if l.note != "" {
				mark += "; " + l.note
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", l.what, l.format(l.measured), l.format(l.max), mark)
	}
	fmt.Fprintf(w, "\nLimits: %d. Exceeded: %d.\n", len(limits), exceeded)
	return exceeded
}

func writeRow(w io.Writer, r results, name, contender string) {
	algs := benchmarks.Algorithms()
	cells := make([]string, len(algs), len(algs)+1)
	found := false
	for i, alg := range algs {
		cells[i] = "-"
		if u := r.unit(name, alg, contender); u != nil {
			found = true
			hand := r.unit(name, alg, benchmarks.Hand)
			cells[i] = fmt.Sprintf("%s (%.2f)", thousands(median(u.ns)), medianRatio(u.ns, hand.ns))
			if median(u.ns) < 0.1*median(hand.ns) {
				cells[i] = fmt.Sprintf("%s (%.3f)", thousands(median(u.ns)), medianRatio(u.ns, hand.ns))
			}
		}
	}
	if !found {
		return
	}
	allocs := "-"
	if u := r.unit(name, algs[1], contender); u != nil {
		allocs = fmt.Sprintf("%.0f", u.allocs)
	}
	fmt.Fprintf(w, "| %s | %s |\n", contender, strings.Join(append(cells, allocs), " | "))
}

// thousands writes 12345.6 as 12,346.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// writeSamples writes all rounds in the format of go test -bench, where a slash
// begins the next part of the name.
func writeSamples(w io.Writer, r results) error {
	_, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/seed450a7203/jwthttp/benchmarks\ncpu: %s\n",
		runtime.GOOS, runtime.GOARCH, cpuModel())
	for _, g := range r.groups {
		for _, u := range g.units {
			for _, ns := range u.ns {
				fmt.Fprintf(w, "BenchmarkServe/case=%s/alg=%s/by=%s-%d\t%d\t%.1f ns/op\t%.0f B/op\t%.0f allocs/op\n",
					g.name, g.alg, strings.NewReplacer("/", "-", " ", "-").Replace(u.contender), runtime.GOMAXPROCS(0), u.n, ns, u.bytes, u.allocs)
			}
		}
	}
	return err
}

// cpuModel returns the name of the processor, which the standard library does not
// tell. It is "unknown" outside Linux.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
