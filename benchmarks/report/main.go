// Report times all contenders in one process, in interleaved rounds, prints
// the medians as tables, and writes them and a chart into the files it is
// given. With -check it holds them against the limits that jwthttp has set
// itself. Run it in the folder benchmarks:
//
//	go run ./report -rounds 10 -benchtime 20ms -check
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

func main() {
	rounds := flag.Int("rounds", 10, "`times` that each contender is timed, in turns")
	benchtime := flag.Duration("benchtime", 20*time.Millisecond, "`time` that each turn takes")
	check := flag.Bool("check", false, "print the limits that are exceeded, and exit with status 1 if there are any")
	table := flag.String("table", "", "`file` for the Markdown tables")
	chart := flag.String("chart", "", "`file` for the bar chart")
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
	res, err := measure(rounds, benchtime)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	verdicts := res.judge()
	writeTables(&out, res, verdicts, rounds, benchtime)
	if _, err := os.Stdout.Write(out.Bytes()); err != nil {
		return nil, err
	}
	if table != "" {
		if err := os.WriteFile(table, out.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	if chart != "" {
		if err := writeChart(chart, res); err != nil {
			return nil, err
		}
	}
	if samples != "" {
		if err := writeSamples(samples, res); err != nil {
			return nil, err
		}
	}
	return exceeded(verdicts), nil
}

func measure(rounds int, benchtime time.Duration) (results, error) {
	fixtures := map[string]*benchmarks.Fixture{}
	for _, alg := range benchmarks.Algorithms() {
		f, err := benchmarks.NewFixture(alg)
		if err != nil {
			return results{}, err
		}
		fixtures[alg] = f
	}
	groups, err := newGroups(fixtures)
	if err != nil {
		return results{}, err
	}
	floods, err := newFloods(fixtures)
	if err != nil {
		return results{}, err
	}
	timeAll(groups, floods, rounds, benchtime)
	res := results{groups: groups, floods: floods, entryBytes: map[string]float64{}}
	for _, alg := range cachedAlgorithms() {
		if res.entryBytes[alg], err = entryBytes(fixtures[alg]); err != nil {
			return results{}, err
		}
	}
	res.attackBytes, err = attackBytes(fixtures["HS256"])
	return res, err
}

func exceeded(verdicts []verdict) []string {
	var lines []string
	for _, v := range verdicts {
		if v.ok {
			continue
		}
		line := fmt.Sprintf("%s: %s, limit %s", v.what, v.measured, v.atMost)
		if v.note != "" {
			line += "; " + v.note
		}
		lines = append(lines, line)
	}
	return lines
}
