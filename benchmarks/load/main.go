// Load serves some of the contenders, and a handler without authentication, with
// an http.Server, and prints how many requests per second wrk counts. wrk is
// another process on the same machine. If wrk is not installed, that is an error,
// unless -append is given: then it is noted in that file. Run it in the folder
// benchmarks:
//
//	go run ./load -rounds 5 -duration 2s
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

// algorithm is the most common one of issuers that publish keys.
const algorithm = "RS256"

const noAuth = "no auth"

var loaded = []string{benchmarks.Hand, benchmarks.Auth0, benchmarks.Auth0V3, benchmarks.Ours, benchmarks.Cached}

// site is a server with one contender, and its requests per second by round.
type site struct {
	name, url string
	server    *http.Server
	perSecond []float64
}

var errNoWrk = errors.New("wrk is not installed (on Debian: apt-get install wrk)")

func main() {
	rounds := flag.Int("rounds", 5, "`number` of turns of each server")
	duration := flag.Duration("duration", 2*time.Second, "`duration` of a turn, in whole seconds")
	connections := flag.Int("connections", 32, "`number` of open connections")
	file := flag.String("append", "", "Markdown `file` to append the table to")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *duration < time.Second || *connections < 1 {
		flag.Usage()
		os.Exit(2)
	}
	sites, err := run(*rounds, *duration, *connections)
	var section string
	switch {
	case err == nil:
		section = table(sites, *rounds, *duration, *connections)
	case errors.Is(err, errNoWrk) && *file != "":
		section, err = "Not measured: "+errNoWrk.Error()+".\n", nil
	}
	if err == nil && *file != "" {
		err = appendSection(*file, section)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	fmt.Print(section)
}

func run(rounds int, duration time.Duration, connections int) (sites []*site, err error) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		return nil, errNoWrk
	}
	f, err := benchmarks.NewFixture(algorithm)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range sites {
			s.server.Close()
		}
	}()
	if sites, err = serveAll(f); err != nil {
		return nil, err
	}
	authorization := "Authorization: " + f.Request(benchmarks.Admitted).Header.Get("Authorization")
	for round := range rounds {
		for i := range sites {
			s := sites[(i+round)%len(sites)]
			n, err := load(wrk, s.url, authorization, duration, connections)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			s.perSecond = append(s.perSecond, n)
		}
	}
	return sites, nil
}

// serveAll starts a server for each contender that is loaded.
func serveAll(f *benchmarks.Fixture) ([]*site, error) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	none, err := serve(noAuth, ok)
	if err != nil {
		return nil, err
	}
	sites := []*site{none}
	for _, c := range benchmarks.Contenders() {
		if !slices.Contains(loaded, c.Name) {
			continue
		}
		h, err := c.Guard(f, ok)
		if err != nil {
			return sites, err
		}
		s, err := serve(c.Name, h)
		if err != nil {
			return sites, err
		}
		sites = append(sites, s)
	}
	return sites, nil
}

func serve(name string, h http.Handler) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{name: name, url: "http://" + l.Addr().String() + "/", server: &http.Server{Handler: h}}
	go s.server.Serve(l) // until Close
	return s, nil
}

var rate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

// load returns the requests per second that wrk counted. A run with a status
// other than 2xx or with a broken connection is an error.
func load(wrk, url, header string, duration time.Duration, connections int) (float64, error) {
	out, err := exec.Command(wrk, "-t1", "-c"+strconv.Itoa(connections),
		fmt.Sprintf("-d%ds", int(duration.Seconds())), "-H", header, url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	m := rate.FindSubmatch(out)
	if m == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return 0, fmt.Errorf("wrk counted errors: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func table(sites []*site, rounds int, duration time.Duration, connections int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "A valid %s token and %d open connections; medians of %d interleaved rounds of %v.\n\n",
		algorithm, connections, rounds, duration)
	out.WriteString("| | requests/s | to no auth | to hand |\n|---|---:|---:|---:|\n")
	for _, s := range sites {
		fmt.Fprintf(&out, "| %s | %.0f | %.2f | %.2f |\n", s.name, median(s.perSecond),
			ratio(sites, s.name, noAuth), ratio(sites, s.name, benchmarks.Hand))
	}
	return out.String()
}

// appendSection appends the section to the file.
func appendSection(name, section string) (err error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	_, err = file.WriteString("\n## A server under load\n\n" + section)
	return err
}

func find(sites []*site, name string) *site {
	return sites[slices.IndexFunc(sites, func(s *site) bool { return s.name == name })]
}

// ratio returns the median of the ratios of each round.
func ratio(sites []*site, a, b string) float64 {
	x, y := find(sites, a).perSecond, find(sites, b).perSecond
	ratios := make([]float64, len(x))
	for i := range x {
		ratios[i] = x[i] / y[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
