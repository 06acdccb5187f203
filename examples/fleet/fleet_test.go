package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// program is a running fleet.
type program struct{ *exampletest.Program }

func start(t *testing.T, args ...string) program {
	t.Helper()
	return program{exampletest.Start(t, args...)}
}

// ask sends a request and returns status, body and the number of the instance.
func (p program) ask(t *testing.T, method, path, token string, body any) (status int, text, instance string) {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(body); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, p.URL+path, &b)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all), resp.Header.Get("Instance")
}

func (p program) login(t *testing.T) string {
	t.Helper()
	status, text, _ := p.ask(t, "POST", "/login", "", map[string]string{"username": demo.Alice, "password": demo.AlicePassword})
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(text), &answer); status != 200 || err != nil || answer.Token == "" {
		t.Fatalf("login: %d %s", status, text)
	}
	return answer.Token
}

// everywhere waits until each instance has answered with status.
func (p program) everywhere(t *testing.T, token string, status int) {
	t.Helper()
	seen := map[string]bool{}
	for start := time.Now(); len(seen) < instances; {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d from instances %v only", status, seen)
		}
		if got, _, instance := p.ask(t, "GET", "/me", token, nil); got == status && instance != "" {
			seen[instance] = true
		}
		<-time.After(time.Millisecond)
	}
}

func TestFleet_logout(t *testing.T) {
	for _, backend := range []string{"SQLite", "Redis"} {
		t.Run(backend, func(t *testing.T) {
			args := []string{"-data", t.TempDir()}
			if backend == "Redis" {
				args = append(args, "-redis", startRedis(t))
			}
			p := start(t, args...)
			kept, one, all := p.login(t), p.login(t), ""
			p.everywhere(t, one, 200)
			if status, text, _ := p.ask(t, "POST", "/logout", one, nil); status != 204 {
				t.Fatalf("logout: %d %s", status, text)
			}
			p.everywhere(t, one, 401)
			p.everywhere(t, kept, 200)

			// A restarted instance knows the revocations, also new ones.
			_, text, killed := p.ask(t, "GET", "/ready", "", nil)
			pid, err := strconv.Atoi(regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(text)[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			all = p.login(t)
			if status, _, _ := p.ask(t, "POST", "/logout/everywhere", all, nil); status != 204 {
				t.Fatalf("logout everywhere while instance %s is dead: %d", killed, status)
			}
			p.everywhere(t, all, 401)
			p.everywhere(t, kept, 401)
			p.everywhere(t, one, 401)
			p.End(t)

			// So does a restarted fleet.
			p = start(t, args...)
			for _, token := range []string{one, kept, all} {
				p.everywhere(t, token, 401)
			}
			p.End(t)
		})
	}
}

func startRedis(t *testing.T) string {
	t.Helper()
	server := testprogram.Find(t, "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	cmd := exec.Command(server, "--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1", "--dir", t.TempDir(),
		"--appendonly", "yes", "--appendfsync", "always", "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for start := time.Now(); ; {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			_ = c.Close()
			return addr.String()
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("redis-server does not start")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestProgram(t *testing.T) {
	p := start(t, "-data", t.TempDir())
	p.PasteLines(t)
	p.End(t)
}

func TestFleet_invalidCredentials(t *testing.T) {
	p := start(t, "-data", t.TempDir())
	for _, form := range []any{nil, "x", map[string]string{"username": demo.Alice}, map[string]string{"username": "bob", "password": demo.AlicePassword}} {
		if status, text, _ := p.ask(t, "POST", "/login", "", form); status != 400 && status != 401 {
			t.Errorf("login with %v: %d %s", form, status, text)
		}
	}
	for _, token := range []string{"", "x", p.login(t) + "A"} {
		for _, path := range []string{"/logout", "/logout/everywhere"} {
			if status, _, _ := p.ask(t, "POST", path, token, nil); status != 401 {
				t.Errorf("%s with %.10q: %d", path, token, status)
			}
		}
	}
	p.End(t)
}

func TestRun_invalidFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-data", file}, "-data"},
		{[]string{"-data", t.TempDir(), "-addr", "127.0.0.1:no-such-port"}, "listen"},
		{[]string{"-no-such-flag"}, "not defined"},
	} {
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), test.args, strings.NewReader(""), &stdout, &stderr); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want it to say %q", test.args, err, test.want)
		}
	}
}
