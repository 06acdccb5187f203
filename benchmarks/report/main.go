// Report times all contenders in one process, in interleaved rounds. It prints
// the medians as tables, and writes them to the given files. With
// -check it times only the contenders that have limits, and prints each limit
// with the measured value. Run it in the folder benchmarks:
//
//	go run ./report -check
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 10, "`number` of turns of each contender")
	benchtime := flag.Duration("benchtime", 20*time.Millisecond, "`duration` of a turn")
	check := flag.Bool("check", false, "print the limits only, and exit with status 1 if one is exceeded")
	table := flag.String("table", "", "`file` for the Markdown tables")
	samples := flag.String("samples", "", "`file` for all samples, in the format that benchstat reads")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *benchtime <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	res, err := measure(*check, *rounds, *benchtime)
	if err == nil && *check {
		if writeLimits(os.Stdout, res.limits()) > 0 {
			os.Exit(1)
		}
		return
	}
	if err == nil {
		err = report(res, *rounds, *benchtime, *table, *samples)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
}

func report(res results, rounds int, benchtime time.Duration, table, samples string) error {
	var out bytes.Buffer
	writeTables(&out, res, rounds, benchtime)
	if _, err := os.Stdout.Write(out.Bytes()); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{table, func(w io.Writer) error { _, err := out.WriteTo(w); return err }},
		{samples, func(w io.Writer) error { return writeSamples(w, res) }},
	} {
		if f.name == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(f.name, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
