package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// readmeBlock returns the first code block of the README that begins with start.
func readmeBlock(t *testing.T, start string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(readme), "```")[1:] {
		if _, text, _ := strings.Cut(block, "\n"); strings.HasPrefix(text, start) {
			return text
		}
	}
	t.Fatalf("README.md has no block that begins with %q", start)
	return ""
}

func TestREADME_program(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if got := readmeBlock(t, "package main"); got != string(program) {
		t.Errorf("README.md shows another program:\n%s", got)
	}
}

// start runs the program on a free port and returns the line that it prints.
func start(t *testing.T) (addr, line string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = listener.Addr().String()
	listener.Close()

	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	changed, overlay, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "quickstart")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{changed: []byte(strings.ReplaceAll(string(program), "127.0.0.1:8080", addr)), overlay: replace} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, binary)
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	t.Cleanup(func() { cancel(); <-ended })
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	go func() { ended <- server.Wait() }()
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr, lines.Text()
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the program ended: %v", err)
		default:
		}
	}
}

// The program answers as README.md shows.
func TestREADME_answers(t *testing.T) {
	addr, line := start(t)
	console := readmeBlock(t, "$ go run")
	shown := regexp.MustCompile(`eyJ\S*'`).ReplaceAllString(line, "eyJhbGciOi...'")
	if shown = strings.ReplaceAll(shown, addr, "127.0.0.1:8080"); !strings.Contains(console, "\n"+shown+"\n") {
		t.Errorf("README.md does not show the printed line %q", shown)
	}
	authorization := regexp.MustCompile(`Bearer eyJ[^']*`).FindString(line)
	for _, test := range []struct {
		name, authorization string
		status              int
	}{
		{"no token", "", 401},
		{"the printed token", authorization, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/me", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != test.status || !strings.Contains(console, "\n"+string(body)) {
				t.Errorf("%d %q (%v) is not in README.md:\n%s", resp.StatusCode, body, err, console)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); !strings.Contains(console, challenge) {
				t.Errorf("challenge %q is not in README.md", challenge)
			}
		})
	}
}

// The printed line works in a shell.
func TestPrintedLine(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s found: the printed line is not run", tool)
		}
	}
	_, line := start(t)
	shell := exec.CommandContext(t.Context(), "bash", "-c", line)
	shell.Env = append(os.Environ(), "no_proxy=127.0.0.1")
	if out, err := shell.Output(); err != nil || string(out) != "alice, editor\n" {
		t.Errorf("%q: %v", out, err)
	}
}
