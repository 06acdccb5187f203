package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

var titles = []struct{ name, title string }{
	{benchmarks.Admitted, "A good token"},
	{parallel, "A good token, from all cores at once"},
	{benchmarks.Missing, "No token"},
	{benchmarks.Garbage, "Garbage"},
	{benchmarks.Large, "16 KiB, well signed (hand admits it)"},
	{benchmarks.Expired, "Expired, well signed"},
	{benchmarks.Audience, "Meant for another audience, well signed"},
	{benchmarks.Signature, "Altered signature"},
}

func writeTables(w io.Writer, r results, verdicts []verdict, rounds int, d time.Duration) {
	fmt.Fprintf(w, "# Results\n\n%s, %s/%s, GOMAXPROCS %d, CPU: %s. Written on %s.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cpuModel(), time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(w, "Medians of %d interleaved rounds of %v. Nanoseconds a request, and in brackets the ratio to hand (the median of the\n"+
		"ratios of each round). %s is golang-jwt's Verify and nothing else: a floor, not a contender.\n",
		rounds, d, benchmarks.SignatureAlone)
	algs := benchmarks.Algorithms()
	for _, t := range titles {
		fmt.Fprintf(w, "\n## %s\n\n| | %s | allocs (%s) |\n|---|%s---:|\n",
			t.title, strings.Join(algs, " | "), algs[1], strings.Repeat("---:|", len(algs)))
		for _, c := range benchmarks.Timed(shown(t.name)) {
			writeRow(w, r, t.name, c.Name)
		}
	}
	fmt.Fprint(w, "\n## Limits\n\n| | measured | at most | |\n|---|---:|---:|---|\n")
	for _, v := range verdicts {
		mark := "ok"
		if !v.ok {
			mark = "**exceeded**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", v.what, v.measured, v.atMost, mark)
	}
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
func writeSamples(name string, r results) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	w := bufio.NewWriter(file)
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/seed450a7203/jwthttp/benchmarks\ncpu: %s\n",
		runtime.GOOS, runtime.GOARCH, cpuModel())
	for _, g := range r.groups {
		for _, u := range g.units {
			for _, ns := range u.ns {
				fmt.Fprintf(w, "BenchmarkServe/case=%s/alg=%s/by=%s-%d\t%d\t%.1f ns/op\t%.0f B/op\t%.0f allocs/op\n",
					g.name, g.alg, strings.ReplaceAll(u.contender, "/", "-"), runtime.GOMAXPROCS(0), u.n, ns, u.bytes, u.allocs)
			}
		}
	}
	return w.Flush()
}
