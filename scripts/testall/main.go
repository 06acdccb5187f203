// Testall runs go test in the modules whose folders it is given, two at a time,
// each with -race and -shuffle=on, and up to four parallel tests of a package, since
// those of the stores spend most of their time waiting. It prints the output of failed
// tests and a line for each package, and last which tests were skipped and why. It tests
// all modules even if one fails, and exits with status 1 then.
//
//	go run ./scripts/testall . examples
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "testall: no folders of modules given")
		os.Exit(2)
	}
	r := newReport(os.Stdout)
	failed := r.testAll(os.Args[1:])
	r.summary()
	if len(failed) > 0 {
		fmt.Println("\nFAIL:", strings.Join(failed, ", "))
		os.Exit(1)
	}
}

// event is a line of go test -json.
type event struct{ Action, Package, ImportPath, Test, Output string }

// test identifies a test or, if name is empty, a package.
type test struct{ pkg, name string }

// report collects the events of all modules.
type report struct {
	mu      sync.Mutex // held to use what follows
	out     io.Writer
	output  map[test][]string // of what has not ended yet
	skipped map[string][]test // by reason
	passed  int
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[test][]string{}, skipped: map[string][]test{}}
}

// testAll tests modules, two at a time, since the tests of the stores spend most of
// their time waiting. It begins with the last module: the stores are there, and take
// longest. It returns the modules that fail.
func (r *report) testAll(dirs []string) []string {
	var running sync.WaitGroup
	slots := make(chan struct{}, 2)
	failed := make([]string, len(dirs))
	for i, dir := range slices.Backward(dirs) {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			if err := r.test(dir); err != nil {
				failed[i] = fmt.Sprintf("%s (%v)", dir, err)
			}
		})
	}
	running.Wait()
	return slices.DeleteFunc(failed, func(s string) bool { return s == "" })
}

// fastPasswords leaves the check of passwords without the race detector, with which it
// takes 20 times as long. The examples build their programs with the same flag.
const fastPasswords = "-gcflags=golang.org/x/crypto/blowfish=-race=false"

// test runs the tests of a module.
func (r *report) test(dir string) error {
	cmd := exec.Command("go", "test", "-json", "-race", fastPasswords, "-shuffle=on", "-parallel", "4", "./...")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := r.read(events); err != nil {
		return err
	}
	return cmd.Wait()
}

// read handles events until the end of in.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				r.print(line) // not an event
			} else {
				r.handle(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) print(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.out.Write(line)
}

func (r *report) handle(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.output[t] = append(r.output[t], e.Output)
	case "pass":
		if t.name != "" {
			r.passed++
		}
		r.end(t, false)
	case "skip":
		if t.name != "" {
			reason := reasonIn(r.output[t])
			r.skipped[reason] = append(r.skipped[reason], t)
		}
		r.end(t, false)
	case "fail":
		r.end(t, true)
	}
}

// end prints the output of a failed test, and the result of a package.
func (r *report) end(t test, failed bool) {
	lines := r.output[t]
	delete(r.output, t)
	if failed && t.name == "" {
		// A test that has not ended, because of a panic or a timeout.
		for other := range r.output {
			if other.pkg == t.pkg {
				r.end(other, true)
			}
		}
	}
	for i, line := range lines {
		if failed && !strings.HasPrefix(line, "=== ") || t.name == "" && i == len(lines)-1 {
			fmt.Fprint(r.out, line)
		}
	}
}

// reasonIn returns the message of a skipped test without its position.
func reasonIn(lines []string) string {
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if _, message, ok := strings.Cut(line, ".go:"); ok {
			if _, message, ok = strings.Cut(message, ": "); ok {
				return message
			}
		}
	}
	return "no reason given"
}

// summary prints how many tests passed, and the skipped ones by reason.
func (r *report) summary() {
	reasons, n := make([]string, 0, len(r.skipped)), 0
	for reason, tests := range r.skipped {
		reasons = append(reasons, reason)
		n += len(tests)
	}
	slices.Sort(reasons)
	fmt.Fprintf(r.out, "\n%d tests and subtests passed, %d were skipped\n", r.passed, n)
	for _, reason := range reasons {
		tests := r.skipped[reason]
		fmt.Fprintf(r.out, "%5d  %s\n", len(tests), reason)
		for _, t := range tests[:min(len(tests), 3)] {
			fmt.Fprintf(r.out, "       - %s %s\n", t.pkg, t.name)
		}
		if len(tests) > 3 {
			fmt.Fprintf(r.out, "       - and %d more\n", len(tests)-3)
		}
	}
}
