// Package exampletest runs the programs of the examples in tests, and opens their
// pages in a headless Chromium.
package exampletest

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Program is a running example.
type Program struct {
	URL      string // the address of the program
	Greeting string // the output before the address

	cmd *exec.Cmd
	log Buffer
}

// Buffer is a bytes.Buffer that is safe for concurrent use. The zero value is an
// empty Buffer.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends p.
func (l *Buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns the text written so far.
func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var listening = regexp.MustCompile(`^Listening on (http://127\.0\.0\.1:[1-9]\d*);`)

// FastPasswords is a flag of go build. The race detector makes the check of a password
// take 20 times as long, which is more than a server's timeout on a busy machine.
const FastPasswords = "-gcflags=golang.org/x/crypto/blowfish=-race=false"

// Start builds the program in the folder of the test and starts it on a free port
// of loopback. If it still runs when the test ends, it is killed.
func Start(t *testing.T, args ...string) *Program {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	binary := filepath.Join(t.TempDir(), "example")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-race", FastPasswords, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &Program{cmd: exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)}
	p.cmd.Stderr = &p.log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("log of the program:\n%s", p.Log())
		}
	})
	for lines := bufio.NewScanner(stdout); p.URL == "" && lines.Scan(); {
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			p.URL = found[1]
			continue
		}
		p.Greeting += lines.Text() + "\n"
	}
	if p.URL == "" {
		t.Fatalf("the program prints no address; log:\n%s", p.Log())
	}
	return p
}

// Log returns the standard error of the program.
func (p *Program) Log() string { return p.log.String() }

// End interrupts the program. It is an error if the exit status is not 0, or if the
// log contains a token.
func (p *Program) End(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the interrupted program: %v", err)
	}
	if log := p.Log(); !strings.Contains(log, "shutting down") || strings.Contains(log, "eyJ") {
		t.Errorf("log:\n%s", log)
	}
}

// Status sends a request for path and returns the status of the answer.
// It does not follow redirects. The header fields are name, value, ...
func (p *Program) Status(t *testing.T, method, path string, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// PasteLines pastes the curl lines of the greeting into a shell. Each must print
// "STATUS, expected STATUS: " with two equal numbers. If curl is not installed,
// they are not run; that is an error if the environment variable CI is true.
func (p *Program) PasteLines(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("no %s found: the printed lines are not run", tool)
			}
			t.Logf("no %s found: the printed lines are not run", tool)
			return
		}
	}
	_, script, _ := strings.Cut(p.Greeting, "\n\n")
	shell := exec.CommandContext(t.Context(), "bash")
	shell.Stdin = strings.NewReader(script)
	shell.Env = append(os.Environ(), "no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	results := regexp.MustCompile(`(?m)(\d+), expected (\d+): .*$`).FindAllStringSubmatch(string(out), -1)
	if want := strings.Count(script, "expected"); len(results) != want || want == 0 {
		t.Errorf("%d answers to %d lines", len(results), want)
	}
	for _, r := range results {
		if r[1] != r[2] {
			t.Error(r[0])
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", script, out)
	}
}
