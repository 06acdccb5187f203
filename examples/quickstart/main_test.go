package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

func TestTheREADMEShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if got := readmeBlock(t, "package main"); got != string(program) {
		t.Errorf("README.md shows another program:\n%s", got)
	}
}

// start runs the program, but on a free port.
func start(t *testing.T, secret string) (addr string) {
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
	for name, text := range map[string][]byte{changed: []byte(strings.Replace(string(program), "127.0.0.1:8080", addr, 1)), overlay: replace} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, binary)
	server.Env = append(os.Environ(), "JWT_SECRET="+secret)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() { cancel(); <-ended })
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the program ended: %v", err)
		default:
		}
	}
}

// The README's lines make a token with openssl; its answers are the program's.
func TestTheREADMEsAnswers(t *testing.T) {
	for _, tool := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s found: the README's lines are not run", tool)
		}
	}
	const secret = "0123456789abcdef0123456789abcdef"
	addr := start(t, secret)
	script := readmeBlock(t, "b64()") + "\nprintf %s $TOKEN"
	shell := exec.CommandContext(t.Context(), "bash", "-c", script)
	shell.Env = append(os.Environ(), "JWT_SECRET="+secret)
	token, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := readmeBlock(t, "$ curl")
	for _, test := range []struct {
		authorization string
		status        int
	}{{"", 401}, {"Bearer " + string(token), 200}} {
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
		if err != nil || resp.StatusCode != test.status || !strings.Contains(answers, "\n"+string(body)) {
			t.Errorf("%d %q (%v) is not what README.md shows:\n%s", resp.StatusCode, body, err, answers)
		}
		if challenge := resp.Header.Get("WWW-Authenticate"); !strings.Contains(answers, challenge) {
			t.Errorf("challenge %q is not in README.md", challenge)
		}
	}
}
