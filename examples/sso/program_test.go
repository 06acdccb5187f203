package main

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

// TestProgram builds and starts the program, pastes the printed lines into a
// shell, and interrupts the program.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "sso")
	if out, err := exec.CommandContext(ctx, "go", "build", "-race", exampletest.FastPasswords, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program := exec.CommandContext(ctx, binary, "-idp", "127.0.0.1:0", "-a", "127.0.0.1:0", "-b", "127.0.0.1:0", "-a2", "127.0.0.1:0", "-b2", "127.0.0.1:0")
	var log bytes.Buffer
	program.Stderr = &log
	stdout, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Process.Kill()

	var intro, script strings.Builder
	lines := bufio.NewScanner(stdout)
	for part := &intro; lines.Scan() && (part == &intro || lines.Text() != ""); {
		if lines.Text() == "" {
			part = &script
			continue
		}
		part.WriteString(lines.Text() + "\n")
	}
	urls := regexp.MustCompile(`http://127\.0\.0\.1:[1-9]\d*`).FindAllString(intro.String(), -1)
	if len(urls) != 3 {
		t.Fatalf("not three addresses in %q", intro.String())
	}
	for n, want := range []int{401, 401, 200} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, urls[n], nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d", urls[n], resp.StatusCode, want)
		}
	}

	t.Run("the curl lines", func(t *testing.T) {
		for _, tool := range []string{"bash", "curl", "mktemp"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("no %s found: the printed lines are not run", tool)
			}
		}
		shell := exec.CommandContext(ctx, "bash")
		shell.Stdin = strings.NewReader(script.String())
		out, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		results := regexp.MustCompile(`(?m)^(\d+) at (\S+), expected (\d+) at (\S+):`).FindAllStringSubmatch(string(out), -1)
		if want := strings.Count(script.String(), "$SEE "); len(results) != want || want == 0 {
			t.Errorf("%d answers to %d lines", len(results), want)
		}
		for _, r := range results {
			if r[1] != r[3] || strings.TrimRight(r[2], "/") != strings.TrimRight(r[4], "/") && !strings.HasPrefix(r[2], r[4]+"?") {
				t.Error(r[0])
			}
		}
		if t.Failed() {
			t.Logf("%s\n%s", script.String(), out)
		}
	})

	if err := program.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("the interrupted program: %v", err)
	}
	if strings.Count(log.String(), "shutting down") != 5 || strings.Contains(log.String(), "eyJ") || strings.Contains(log.String(), adaPassword) {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestRun_invalidFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-lifetime", "0s"}, "-lifetime"},
		{[]string{"-interval", "-1s"}, "-interval"},
		{[]string{"-idp", "127.0.0.1:0", "-a", "127.0.0.1:0", "-b", "0.0.0.0:0", "-a2", "127.0.0.1:0", "-b2", "127.0.0.1:0"}, "0.0.0.0:0: not a loopback address"},
		{[]string{"-idp", "127.0.0.1:http-no-such"}, "listen"},
		{[]string{"-no-such-flag"}, "not defined"},
	} {
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), test.args, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want it to say %q", test.args, err, test.want)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q: greets with %q", test.args, stdout.String())
		}
	}
}
