package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/redisrevocation"
	"github.com/seed450a7203/jwthttp/revocation"
)

var kills = flag.Int("kills", 8, "how often the tests of durability kill a store")

// receiverFolder is the environment variable that makes the test program a receiver
// with a SQLite file in this folder.
const receiverFolder = "JWTHTTP_RECEIVER_FOLDER"

const (
	senderName = "https://sender.test"
	clientID   = "client"
)

var senderKey = bytes.Repeat([]byte("k"), 32) // of a sender in tests

// newReceiver returns both receivers of package logout. Before each call of revoke,
// when the message has been verified, it calls verified.
func newReceiver(revoke func(context.Context, revocation.Entry) error, verified func()) (http.Handler, error) {
	opts := logout.Options{
		Issuers: []jwthttp.Issuer{{Name: senderName, Audience: []string{clientID}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(senderKey)}},
		Revoke: func(ctx context.Context, e revocation.Entry) error {
			verified()
			return revoke(ctx, e)
		},
		TokenLifetime: time.Hour,
	}
	backChannel, err := logout.BackChannel(opts)
	if err != nil {
		return nil, err
	}
	push, err := logout.Push(logout.PushOptions{Options: opts})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/backchannel", backChannel)
	mux.Handle("/push", push)
	return mux, nil
}

// sendLogout tells a receiver that a session has ended, in one of two ways, and
// returns the status, or 0 if there is no answer.
func sendLogout(t *testing.T, receiver, session string, push bool) int {
	now := time.Now()
	c := jwt.MapClaims{"iss": senderName, "aud": clientID, "jti": session, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "sid": session}
	c["events"] = map[string]any{logoutEvent: map[string]any{}}
	if push {
		c["sub_id"] = map[string]any{"format": "complex", "session": map[string]any{"format": "opaque", "id": session}}
		c["events"] = map[string]any{"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{}}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	path, kind, typ := "/backchannel", "application/x-www-form-urlencoded", logoutToken
	if push {
		path, kind, typ = "/push", "application/secevent+jwt", "secevent+jwt"
	}
	token.Header["typ"] = typ
	text, err := token.SignedString(senderKey)
	if err != nil {
		t.Error(err)
		return 0
	}
	body := text
	if !push {
		body = url.Values{"logout_token": {text}}.Encode()
	}
	resp, err := http.Post(receiver+path, kind, strings.NewReader(body))
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// outcomes counts what became of messages.
type outcomes struct{ acknowledged, other, otherInForce int }

// count checks one outcome: what was acknowledged must be in force.
func (o *outcomes) count(t *testing.T, session string, status int, revoked func(context.Context, *jwthttp.Token) (bool, error)) {
	t.Helper()
	inForce, err := revoked(t.Context(), &jwthttp.Token{Issuer: senderName, SessionID: session, IssuedAt: time.Now()})
	switch {
	case err != nil:
		t.Fatalf("session %s, answer %d: %v", session, status, err)
	case status != http.StatusOK && status != http.StatusAccepted:
		o.other++
		if inForce {
			o.otherInForce++
		}
	case !inForce:
		t.Errorf("session %s: acknowledged by %d, and not in force after the restart", session, status)
	default:
		o.acknowledged++
	}
}

func (o *outcomes) report(t *testing.T) {
	t.Helper()
	t.Logf("%d kills: %d acknowledged and in force, %d not acknowledged, of which %d are in force", *kills, o.acknowledged, o.other, o.otherInForce)
	if o.acknowledged < *kills/4 {
		t.Errorf("%d of %d messages are acknowledged", o.acknowledged, *kills)
	}
}

// delay returns a time after the verification at which to kill a store, at most about
// what storing takes.
func delay(n int, most time.Duration) time.Duration {
	if n == 0 {
		return 0
	}
	return rand.N(most)
}

// afterAnswer reports whether to kill a store after the answer, so that some messages
// are acknowledged on every machine.
func afterAnswer(n int) bool { return n%4 == 3 }

// A receiver with a SQLite file is killed between the verification of a message and
// its answer, or shortly after.
func TestDurability_sqlite(t *testing.T) {
	var o outcomes
	for n := range *kills {
		folder, session := t.TempDir(), fmt.Sprint("session-", n)
		receiver := exec.Command(os.Args[0])
		receiver.Env = append(os.Environ(), receiverFolder+"="+folder)
		receiver.Stderr = os.Stderr
		stdout, err := receiver.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() { _ = receiver.Process.Kill(); _ = receiver.Wait() })
		t.Cleanup(kill)
		lines := bufio.NewScanner(stdout)
		address := nextLine(t, lines)
		var status int
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			status = sendLogout(t, address, session, n%2 == 1)
		}()
		if got := nextLine(t, lines); got != "verified" {
			t.Fatal(got)
		}
		if afterAnswer(n) {
			<-answered
		} else {
			<-time.After(delay(n, time.Millisecond))
		}
		kill()
		<-answered

		ctx, cancel := context.WithCancel(t.Context())
		closing := new(sync.WaitGroup)
		store, err := openStore(ctx, filepath.Join(folder, "x.db"), config{closing: closing}, func(err error) { t.Log(err) })
		if err != nil {
			t.Fatal(err)
		}
		o.count(t, session, status, store.Revoked)
		cancel()
		closing.Wait()
	}
	o.report(t)
}

func nextLine(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the receiver has ended: %v", lines.Err())
	}
	return lines.Text()
}

// TestMain runs the tests, or the receiver that TestDurability_sqlite starts and
// kills.
func TestMain(m *testing.M) {
	if folder := os.Getenv(receiverFolder); folder != "" {
		fmt.Println(runReceiver(folder))
		return
	}
	os.Exit(m.Run())
}

// runReceiver is a receiver with a SQLite file in a folder, until it is killed.
func runReceiver(folder string) error {
	ctx := context.Background()
	store, err := openStore(ctx, filepath.Join(folder, "x.db"), config{closing: new(sync.WaitGroup)}, func(error) {})
	if err != nil {
		return err
	}
	h, err := newReceiver(store.Revoke, func() { fmt.Println("verified") })
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return serve(ctx, listener, h, slog.New(slog.DiscardHandler))
}

// A Redis server is killed between the verification of a message and its answer, or
// shortly after.
func TestDurability_redis(t *testing.T) {
	program := testprogram.Find(t, "redis-server")
	logging.Disable() // go-redis reports each broken connection
	var o outcomes
	for n := range *kills {
		server := newRedis(t, program)
		server.start()
		session := fmt.Sprint("session-", n)
		ctx, cancel := context.WithCancel(t.Context())
		store, closeStore := server.open(ctx)
		killed := make(chan struct{})
		h, err := newReceiver(store.Revoke, sync.OnceFunc(func() {
			if afterAnswer(n) {
				close(killed)
				return
			}
			time.AfterFunc(delay(n, 4*time.Millisecond), func() {
				server.kill()
				close(killed)
			})
		}))
		if err != nil {
			t.Fatal(err)
		}
		receiver := httptest.NewServer(h)
		status := sendLogout(t, receiver.URL, session, n%2 == 1)
		receiver.Close()
		<-killed
		server.kill()
		cancel() // this store would write back what the server has lost
		closeStore()

		server.start()
		ctx, cancel = context.WithCancel(t.Context())
		store, closeStore = server.open(ctx)
		o.count(t, session, status, store.Revoked)
		cancel()
		closeStore()
		server.kill()
	}
	o.report(t)
}

// redisServer is a Redis server with its data in a folder of the test.
type redisServer struct {
	*testing.T
	program, addr, folder string

	mu  sync.Mutex
	cmd *exec.Cmd
}

func newRedis(t *testing.T, program string) *redisServer {
	t.Helper()
	s := &redisServer{T: t, program: program, addr: storetest.FreeAddr(t), folder: t.TempDir()}
	t.Cleanup(s.kill)
	return s
}

// start returns when the server answers.
func (s *redisServer) start() {
	s.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command(s.program, "--bind", "127.0.0.1", "--port", port, "--dir", s.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	s.cmd.Stdout, s.cmd.Stderr = io.Discard, io.Discard
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer client.Close()
	for begin := time.Now(); client.Ping(s.Context()).Err() != nil; {
		if time.Since(begin) > time.Minute {
			s.Fatal("redis-server does not start")
		}
		<-time.After(2 * time.Millisecond)
	}
}

// kill ends the server as kill -9 does.
func (s *redisServer) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// open returns a store, and a function that closes it after ctx has ended.
func (s *redisServer) open(ctx context.Context) (*redisrevocation.Store, func()) {
	s.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	store, err := redisrevocation.Open(ctx, client, redisrevocation.Options{OnError: func(error) {}})
	if err != nil {
		s.Fatal(err)
	}
	return store, func() {
		store.Wait()
		_ = client.Close()
	}
}
