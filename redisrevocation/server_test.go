package redisrevocation_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/seed450a7203/jwthttp/internal/storetest"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis reports each broken connection, and here they are broken on purpose
	os.Exit(m.Run())
}

// server is a redis-server of one test, on a free loopback port.
type server struct {
	t    testing.TB
	addr string
	dir  string
	args []string
	env  []string // nil means that of the test

	mu  sync.Mutex
	cmd *exec.Cmd
}

// newServer starts a server with settings besides the usual; its data is in the
// test's folder. The test's end kills it.
func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed")
	}
	s := &server{t: t, addr: storetest.FreeAddr(t), dir: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.addr)
	s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"}, settings...)
	t.Cleanup(s.kill)
	s.start()
	return s
}

// start returns when the server has loaded its data.
func (s *server) start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.Env = s.env
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer client.Close()
	for start := time.Now(); ; {
		err := client.Ping(context.Background()).Err()
		if err == nil || redis.HasErrorPrefix(err, "NOAUTH") {
			return
		}
		if time.Since(start) > soon {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server does not start: %v\n%s", err, text)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// client returns a client of addr, or of the server; the test's end closes it.
func (s *server) client(addr ...string) *redis.Client {
	opts := &redis.Options{Addr: s.addr, ContextTimeoutEnabled: true}
	if len(addr) > 0 {
		opts.Addr = addr[0]
	}
	return closing(s.t, redis.NewClient(opts))
}

func closing[C io.Closer](t testing.TB, c C) C {
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

// port is the number in addr.
func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	if _, err := strconv.Atoi(p); err != nil {
		panic(err)
	}
	return p
}

// soon is how long a test waits for what happens soon. It is long because of busy
// machines; a test ends its wait as soon as it can.
const soon = time.Minute

// eventually waits until ok.
func eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
