package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
	"github.com/seed450a7203/jwthttp/revocation"
)

// A logout at the provider ends a cached token, a watched stream and a token on
// another machine. The test prints after how long. Rule 71.
func TestDelay(t *testing.T) {
	const (
		watch = 50 * time.Millisecond
		late  = 20 * time.Second // on a busy machine
	)
	for _, tt := range []struct {
		name  string
		delay string // that the store states
		open  func(t *testing.T) (here, there revocation.Store)
	}{
		{"SQLite", "Poll (100 ms) and a query", func(t *testing.T) (here, there revocation.Store) {
			file, closing := filepath.Join(t.TempDir(), "x.db"), new(sync.WaitGroup)
			t.Cleanup(closing.Wait)
			open := func() revocation.Store {
				store, err := openStore(t.Context(), file, config{closing: closing}, func(err error) { t.Log(err) })
				if err != nil {
					t.Fatal(err)
				}
				return store
			}
			return open(), open()
		}},
		{"Redis", "usually milliseconds", func(t *testing.T) (here, there revocation.Store) {
			server := newRedis(t, testprogram.Find(t, "redis-server"))
			server.start()
			open := func() revocation.Store {
				store, closeStore := server.open(t.Context())
				t.Cleanup(closeStore)
				return store
			}
			return open(), open()
		}},
	} {
		for _, push := range []bool{false, true} {
			name := map[bool]string{false: "BackChannel", true: "Push"}[push]
			t.Run(tt.name+" "+name, func(t *testing.T) {
				here, there := tt.open(t)
				h, err := newReceiver(here.Revoke, func() {})
				if err != nil {
					t.Fatal(err)
				}
				receiver := httptest.NewServer(h)
				defer receiver.Close()
				token := accessFor(t, "session-1")
				first, second := newAPI(t, here), newAPI(t, there)
				stream, cancel := first.Watch(admitted(t, first, token), watch)
				defer cancel()
				ended := make(chan time.Time, 1)
				context.AfterFunc(stream, func() { ended <- time.Now() })
				admitted(t, first, token) // from the cache
				admitted(t, second, token)

				begin := time.Now()
				if status := sendLogout(t, receiver.URL, "session-1", push); status != 200 && status != 202 {
					t.Fatalf("status %d", status)
				}
				if _, err := first.Verify(t.Context(), token); !errors.Is(err, jwthttp.ErrRevoked) {
					t.Errorf("a cached token after the answer: %v", err)
				}
				cached := time.Since(begin)
				for {
					if _, err := second.Verify(t.Context(), token); errors.Is(err, jwthttp.ErrRevoked) {
						break
					}
					if time.Since(begin) > late {
						t.Fatal("the other machine accepts the token")
					}
					<-time.After(time.Millisecond)
				}
				elsewhere := time.Since(begin)
				var watched time.Time
				select {
				case watched = <-ended:
				case <-time.After(late):
					t.Fatal("the stream goes on")
				}
				if !errors.Is(context.Cause(stream), jwthttp.ErrRevoked) {
					t.Errorf("the stream has ended for another reason: %v", context.Cause(stream))
				}
				t.Logf("after %v a cached token, %v a token on another machine (delay of the store: %s), %v a stream watched each %v",
					cached.Round(100*time.Microsecond), elsewhere.Round(100*time.Microsecond), tt.delay, watched.Sub(begin).Round(100*time.Microsecond), watch)
			})
		}
	}
}

// newAPI returns a Middleware with a cache for tokens of the sender.
func newAPI(t *testing.T, store revocation.Store) *jwthttp.Middleware {
	t.Helper()
	api, err := jwthttp.New[claims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{{Name: senderName, Audience: []string{"api"}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(senderKey)}},
		Revoked:   store.Revoked,
		CacheSize: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func accessFor(t *testing.T, session string) string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": senderName, "aud": "api", "sub": "alice", "sid": session, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString(senderKey)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func admitted(t *testing.T, api *jwthttp.Middleware, token string) context.Context {
	t.Helper()
	ctx, err := api.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}
