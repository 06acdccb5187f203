// Report times all contenders in one process, in interleaved rounds, and
// writes the medians as a table and a chart. With -check it holds them against
// the limits that jwthttp has set itself. Run it in the folder benchmarks:
//
//	go run ./report -rounds 10 -benchtime 20ms -check
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

func main() {
	rounds := flag.Int("rounds", 10, "`times` that each contender is timed, in turns")
	benchtime := flag.Duration("benchtime", 20*time.Millisecond, "`time` that each turn takes")
	check := flag.Bool("check", false, "print the limits that are exceeded, and exit with status 1 if there are any")
	table := flag.String("table", "results.md", "`file` for the Markdown tables")
	chart := flag.String("chart", "chart.svg", "`file` for the bar chart")
	samples := flag.String("samples", "", "`file` for every single figure, in the format that benchstat reads")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *benchtime <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	short, err := run(*rounds, *benchtime, *table, *chart, *samples)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	if !*check {
		return
	}
	if len(short) > 0 {
		fmt.Printf("\n%d limits are exceeded:\n\n%s\n", len(short), strings.Join(short, "\n"))
		os.Exit(1)
	}
	fmt.Println("\nNo limit is exceeded.")
}

// run measures, writes the files, and returns a line for each exceeded limit.
func run(rounds int, benchtime time.Duration, table, chart, samples string) ([]string, error) {
	fixtures := map[string]*benchmarks.Fixture{}
	for _, alg := range benchmarks.Algorithms() {
		f, err := benchmarks.NewFixture(alg)
		if err != nil {
			return nil, err
		}
		fixtures[alg] = f
	}
	groups, err := newGroups(fixtures)
	if err != nil {
		return nil, err
	}
	floods, err := newFloods(fixtures)
	if err != nil {
		return nil, err
	}
	timeAll(groups, floods, rounds, benchtime)
	res := results{groups: groups, floods: floods, entryBytes: map[string]float64{}}
	for _, alg := range cachedAlgorithms() {
		if res.entryBytes[alg], err = entryBytes(fixtures[alg]); err != nil {
			return nil, err
		}
	}
	if res.attackBytes, err = attackBytes(fixtures["HS256"]); err != nil {
		return nil, err
	}

	var out bytes.Buffer
	verdicts := res.judge()
	writeTables(&out, res, verdicts, rounds, benchtime)
	if _, err := io.Copy(os.Stdout, bytes.NewReader(out.Bytes())); err != nil {
		return nil, err
	}
	if err := os.WriteFile(table, out.Bytes(), 0o644); err != nil {
		return nil, err
	}
	if err := writeChart(chart, res); err != nil {
		return nil, err
	}
	if samples != "" {
		if err := writeSamples(samples, res); err != nil {
			return nil, err
		}
	}
	var short []string
	for _, v := range verdicts {
		if !v.ok {
			short = append(short, fmt.Sprintf("%s: %s, limit %s", v.what, v.measured, v.atMost))
		}
	}
	return short, nil
}
