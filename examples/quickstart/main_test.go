package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
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
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-race", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
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

// shown returns a pattern for the lines that README.md shows after a command. The
// line "..." stands for one or more lines.
func shown(t *testing.T, console, command string) *regexp.Regexp {
	t.Helper()
	_, lines, found := strings.Cut(console, "$ "+command+"\n")
	if !found {
		t.Fatalf("README.md does not show the command %q", command)
	}
	lines, _, _ = strings.Cut(lines+"\n", "\n\n")
	pattern := regexp.QuoteMeta(strings.TrimSuffix(lines, "\n") + "\n")
	return regexp.MustCompile(`^` + strings.ReplaceAll(pattern, "\n"+regexp.QuoteMeta("...")+"\n", "\n(?:.*\n)+") + `$`)
}

// The program answers as README.md shows.
func TestREADME_answers(t *testing.T) {
	addr, line := start(t)
	console := readmeBlock(t, "$ go run")
	command := regexp.MustCompile(`eyJ\S*'`).ReplaceAllString(line, "eyJhbGciOi...'")
	command = strings.ReplaceAll(command, addr, "127.0.0.1:8080")
	if !strings.HasPrefix(console, "$ go run -C examples ./quickstart\n"+command+"\n") {
		t.Errorf("README.md does not show the printed line %q", command)
	}
	for _, test := range []struct {
		command, authorization string
		header                 bool // curl -i
	}{
		{command, regexp.MustCompile(`Bearer eyJ[^']*`).FindString(line), false},
		{"curl -i 127.0.0.1:8080/me", "", true},
	} {
		t.Run(test.command, func(t *testing.T) {
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
			defer resp.Body.Close()
			answer, err := httputil.DumpResponse(resp, true) // as curl -i prints it
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(answer), "\r\n", "\n")
			if !test.header {
				_, text, _ = strings.Cut(text, "\n\n")
			}
			if want := shown(t, console, test.command); !want.MatchString(text) {
				t.Errorf("README.md shows another answer than:\n%s\npattern %s", text, want)
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
