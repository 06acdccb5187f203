package redisreplay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
	"github.com/seed450a7203/jwthttp/redisrevocation/redisreplay"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis reports each broken connection, and here they are broken on purpose
	os.Exit(m.Run())
}

// soon is how long a test waits for what happens soon.
const soon = time.Minute

// server is a redis-server of one test, on a free loopback port.
type server struct {
	t    testing.TB
	addr string
	args []string
	log  string
	cmd  *exec.Cmd
}

func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	program := testprogram.Find(t, "redis-server")
	addr := storetest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	s := &server{t: t, addr: addr, log: filepath.Join(dir, "log"), args: []string{program, "--bind", "127.0.0.1", "--port", port,
		"--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always"}}
	s.args = append(s.args, settings...)
	t.Cleanup(s.kill)
	s.start()
	return s
}

// start returns when the server has loaded its data.
func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	client := s.client(s.addr)
	for start := time.Now(); client.Ping(context.Background()).Err() != nil; {
		if time.Since(start) > soon {
			text, _ := os.ReadFile(s.log)
			s.t.Fatalf("redis-server does not start:\n%s", text)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) client(addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustFresh(t *testing.T, s *redisreplay.Store, id string, until time.Time, want bool) {
	t.Helper()
	if got, err := s.Fresh(context.Background(), id, until); err != nil || got != want {
		t.Errorf("%s is fresh %v, %v; want %v", id, got, err, want)
	}
}

func TestStore_Fresh(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	client := srv.client(srv.addr)
	a, b, other := redisreplay.New(client, "p"), redisreplay.New(srv.client(srv.addr), "p"), redisreplay.New(client, "q")
	until := time.Now().Add(time.Hour)
	mustFresh(t, a, "x", until, true)
	mustFresh(t, a, "x", until, false)
	mustFresh(t, b, "x", until, false)
	mustFresh(t, other, "x", until, true)
	mustFresh(t, b, "y", until, true)
	ctx := context.Background()
	if left := client.PTTL(ctx, "p:x").Val(); left > time.Hour || left < 59*time.Minute {
		t.Errorf("the key expires in %v", left)
	}
	mustFresh(t, a, "past", time.Now().Add(-time.Hour), false)
	mustFresh(t, a, "short", time.Now().Add(50*time.Millisecond), true)
	for start := time.Now(); client.Exists(ctx, "p:short", "p:past").Val() > 0; {
		if time.Since(start) > soon {
			t.Fatal("keys do not expire")
		}
		<-time.After(2 * time.Millisecond)
	}
	mustFresh(t, a, "short", until, true)
}

// Of 100 simultaneous uses of one proof on two instances, one passes.
func TestStore_Fresh_simultaneous(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	stores := []*redisreplay.Store{redisreplay.New(srv.client(srv.addr), "p"), redisreplay.New(srv.client(srv.addr), "p")}
	for round := range 20 {
		var fresh atomic.Int32
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range 100 {
			wg.Go(func() {
				<-begin
				ok, err := stores[i%2].Fresh(context.Background(), fmt.Sprint("id", round), time.Now().Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				if ok {
					fresh.Add(1)
				}
			})
		}
		close(begin)
		wg.Wait()
		if fresh.Load() != 1 {
			t.Fatalf("%d of 100 are fresh", fresh.Load())
		}
	}
}

// kill -9 and a restart forget nothing where Redis writes always.
func TestStore_Fresh_restart(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	s := redisreplay.New(srv.client(srv.addr), "p")
	until := time.Now().Add(time.Hour)
	mustFresh(t, s, "x", until, true)
	srv.kill()
	if ok, err := s.Fresh(context.Background(), "x", until); ok || err == nil {
		t.Errorf("without the server it is fresh %v, %v", ok, err)
	}
	srv.start()
	mustFresh(t, s, "x", until, false)
	mustFresh(t, s, "y", until, true)
}

// An answer that is lost is an error. The command is not sent again: the second
// one would find the id of the first, and a good proof would count as used.
func TestStore_Fresh_lostAnswer(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	var lose atomic.Bool
	client := redis.NewClient(&redis.Options{Addr: srv.addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &lossy{conn, &lose}, err
	}})
	t.Cleanup(func() { _ = client.Close() })
	s := redisreplay.New(client, "p")
	until := time.Now().Add(time.Hour)
	mustFresh(t, s, "warm", until, true)
	lose.Store(true)
	if ok, err := s.Fresh(context.Background(), "x", until); ok || err == nil {
		t.Errorf("after the lost answer it is fresh %v, %v", ok, err)
	}
	if lose.Load() {
		t.Fatal("no answer was lost")
	}
	mustFresh(t, s, "x", until, false)
}

// lossy is a connection that breaks instead of reading an answer.
type lossy struct {
	net.Conn
	lose *atomic.Bool
}

func (c *lossy) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.lose.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// The deadline of the context ends a call.
func TestStore_Fresh_deadline(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	proxy := storetest.NewProxy(t, srv.addr)
	s := redisreplay.New(srv.client(proxy.Addr()), "p")
	mustFresh(t, s, "x", time.Now().Add(time.Hour), true)
	proxy.HalfOpen()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if ok, err := s.Fresh(ctx, "y", time.Now().Add(time.Hour)); ok || err == nil {
		t.Errorf("fresh %v, %v", ok, err)
	}
	if took := time.Since(start); took > 2*time.Second { // go-redis waits 3 s by default
		t.Errorf("took %v", took)
	}
}

// bound is a token that is bound to a key, and a proof for a request.
func bound(t testing.TB, issuerSecret []byte) (token, proof string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := base64.RawURLEncoding.EncodeToString(public)
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	now := time.Now().Unix()
	cnf := map[string]any{"jkt": hash(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`)}
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "a", "exp": now + 600, "cnf": cnf}).SignedString(issuerSecret)
	if err != nil {
		t.Fatal(err)
	}
	p := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"jti": rand.Text(), "htm": "GET", "htu": "https://api.example/", "iat": now, "ath": hash(token)})
	p.Header["typ"], p.Header["jwk"] = "dpop+jwt", map[string]any{"kty": "OKP", "crv": "Ed25519", "x": x}
	proof, err = p.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	return token, proof
}

// Two machines: of 100 simultaneous requests with one proof, one is admitted. When
// Redis is out of reach, none is.
func TestStore_Fresh_middleware(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	secret := []byte("0123456789abcdef0123456789abcdef")
	var machines []*jwthttp.Middleware
	for range 2 {
		m, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
			Issuers: []jwthttp.Issuer{{Name: "i", Audience: []string{"a"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret)}},
			DPoP:    &jwthttp.DPoP{BaseURLs: []string{"https://api.example"}, Replay: redisreplay.New(srv.client(srv.addr), "p").Fresh},
		})
		if err != nil {
			t.Fatal(err)
		}
		machines = append(machines, m)
	}
	ask := func(i int, token, proof string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		_, err := machines[i%2].Authenticate(r)
		var e *jwthttp.Error
		if errors.As(err, &e) {
			return fmt.Sprint(e.Status, " ", e.Reason)
		}
		return "admitted"
	}
	for range 10 {
		token, proof := bound(t, secret)
		answers := make([]string, 100)
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range answers {
			wg.Go(func() {
				<-begin
				answers[i] = ask(i, token, proof)
			})
		}
		close(begin)
		wg.Wait()
		count := map[string]int{}
		for _, answer := range answers {
			count[answer]++
		}
		if count["admitted"] != 1 || count["401 replayed"] != 99 {
			t.Fatalf("answers %v", count)
		}
	}
	srv.kill()
	token, proof := bound(t, secret)
	for i := range 2 {
		if got := ask(i, token, proof); got != "503 replay_unavailable" {
			t.Errorf("without Redis: %s", got)
		}
	}
	srv.start()
	if got := ask(0, token, proof); got != "admitted" {
		t.Errorf("with Redis again: %s", got)
	}
}

// A failover keeps what the replica has received, and forgets the rest.
func TestStore_Fresh_failover(t *testing.T) {
	t.Parallel()
	master, replica := newServer(t), newServer(t)
	ctx := context.Background()
	_, port, _ := net.SplitHostPort(master.addr)
	direct := replica.client(replica.addr)
	if err := direct.ReplicaOf(ctx, "127.0.0.1", port).Err(); err != nil {
		t.Fatal(err)
	}
	before, after := redisreplay.New(master.client(master.addr), "p"), redisreplay.New(direct, "p")
	until := time.Now().Add(time.Hour)
	mustFresh(t, before, "received", until, true)
	for start := time.Now(); direct.Exists(ctx, "p:received").Val() == 0; {
		if time.Since(start) > soon {
			t.Fatal("the replica does not follow")
		}
		<-time.After(2 * time.Millisecond)
	}
	if err := direct.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil { // it does not hear of what comes now
		t.Fatal(err)
	}
	mustFresh(t, before, "lost", until, true)
	master.kill()
	mustFresh(t, after, "received", until, false)
	mustFresh(t, after, "lost", until, true)
}

// One round trip to Redis on this machine, which writes nothing to its disk.
func BenchmarkStore_Fresh(b *testing.B) {
	srv := newServer(b, "--appendonly", "no")
	s := redisreplay.New(srv.client(srv.addr), "p")
	for b.Loop() {
		if ok, err := s.Fresh(context.Background(), rand.Text(), time.Now().Add(time.Minute)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
