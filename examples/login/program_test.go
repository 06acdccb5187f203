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
)

// TestProgram builds and starts the program, pastes the printed lines into a
// shell, and interrupts the program.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "login")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program := exec.CommandContext(ctx, binary, "-addr", "127.0.0.1:0", "-keys", filepath.Join(t.TempDir(), "keys.json"))
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
	url := regexp.MustCompile(`http://127\.0\.0\.1:[1-9]\d*`).FindString(intro.String())
	if url == "" {
		t.Fatalf("no address in %q", intro.String())
	}
	resp, err := http.Get(url + "/list")
	if err != nil {
		t.Fatal(err)
	}
	read(t, resp).want(t, 401, "missing")

	t.Run("the curl lines", func(t *testing.T) {
		for _, tool := range []string{"bash", "curl", "sed"} {
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
		results := regexp.MustCompile(`(?m)^(\d+), expected (\d+): .*$`).FindAllStringSubmatch(string(out), -1)
		if want := strings.Count(script.String(), "expected"); len(results) != want || want == 0 {
			t.Errorf("%d answers to %d lines", len(results), want)
		}
		for _, r := range results {
			if r[1] != r[2] {
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
	if !strings.Contains(log.String(), "shutting down") || strings.Contains(log.String(), "eyJ") || strings.Contains(log.String(), alicePassword) {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestRun_invalidFlags(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(readable, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-lifetime", "0s"}, "-lifetime"},
		{[]string{"-keys", readable}, "-keys: "},
		{[]string{"-allow-origin", "*"}, "-allow-origin"},
		{[]string{"-addr", "127.0.0.1:http-no-such"}, "listen"},
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
