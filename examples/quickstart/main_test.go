package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// start runs the program on a free port. It returns the address, and the token of
// the line that the program prints.
func start(t *testing.T) (addr, token string) {
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
	replace, _ := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	for name, text := range map[string][]byte{changed: []byte(strings.ReplaceAll(string(program), "127.0.0.1:8080", addr)), overlay: replace} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := exec.CommandContext(t.Context(), binary) // killed when the test ends
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the program ended: %v", err)
	}
	token, ok := strings.CutPrefix(line, "curl -H 'Authorization: Bearer ")
	token, rest, _ := strings.Cut(token, "'")
	if !ok || rest != " "+addr+"/me\n" {
		t.Fatalf("the program printed %q", line)
	}
	return addr, token
}

// ask waits until the program listens, which it does after its line.
func ask(t *testing.T, addr, authorization string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			return response
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
}

// README.md shows what the program answers.
func TestREADME_answers(t *testing.T) {
	addr, token := start(t)
	answers := readmeBlock(t, "$ go run")
	for _, test := range []struct {
		name, authorization string
		status              int
	}{
		{"no token", "", 401},
		{"a token", "Bearer " + token, 200},
	} {
		response := ask(t, addr, test.authorization)
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || !strings.Contains(answers, "\n"+string(body)) {
			t.Errorf("%s: %d %q (%v) is not what README.md shows:\n%s", test.name, response.StatusCode, body, err, answers)
		}
		if challenge := response.Header.Get("WWW-Authenticate"); !strings.Contains(answers, challenge) {
			t.Errorf("%s: the challenge %q is not in README.md", test.name, challenge)
		}
	}
}
