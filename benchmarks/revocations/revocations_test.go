// Package revocations_test compares ways to ask on each request whether a token is
// revoked, all with one Redis server and the same revoked tokens:
//
//	go test -C benchmarks -run '^$' -bench . ./revocations -entries 1000000
//
// While the questions are asked, another client makes about 2,000 changes a second.
package revocations_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/bits-and-blooms/bloom/v3"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/testprogram"
	"github.com/seed450a7203/jwthttp/redisrevocation"
	"github.com/seed450a7203/jwthttp/revocation"
)

var entries = flag.Int("entries", 20_000, "how many tokens are revoked")

const (
	issuer      = "https://login.example.com/"
	lifetime    = time.Hour
	perSecond   = 2000
	working     = 1000 // how many tokens are in use
	startWithin = time.Minute
)

// way answers whether a token is revoked.
type way struct {
	name    string
	revoked func(ctx context.Context, id string) (bool, error)
}

// startRedis starts a server on loopback that ends with the test.
func startRedis(tb testing.TB) (address string) {
	tb.Helper()
	program := testprogram.Find(tb, "redis-server")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address = listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := tb.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	client := redis.NewClient(&redis.Options{Addr: address})
	defer func() { _ = client.Close() }()
	for start := time.Now(); client.Ping(context.Background()).Err() != nil; {
		if time.Since(start) > startWithin {
			tb.Fatal("redis-server does not answer")
		}
	}
	return address
}

// ways fills the server and returns all ways.
func ways(tb testing.TB, address string) []way {
	ctx, cancel := context.WithCancel(context.Background())
	client := redis.NewClient(&redis.Options{Addr: address})
	store, err := redisrevocation.Open(ctx, client, redisrevocation.Options{OnError: func(err error) { tb.Log(err) }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cancel(); store.Wait(); _ = client.Close() })
	fill(tb, store, client)

	caching := redis.NewClient(&redis.Options{Addr: address, Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	tb.Cleanup(func() { _ = caching.Close() })
	rueidisClient, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(rueidisClient.Close)
	filter := bloom.NewWithEstimates(uint(*entries), 0.01)
	for i := range *entries {
		filter.AddString(id(i))
	}
	sessions := scs.New()
	sessions.Store = sessionStore{client}
	return []way{
		{"a copy in memory (redisrevocation)", func(ctx context.Context, id string) (bool, error) {
			return store.Revoked(ctx, &jwthttp.Token{Issuer: issuer, ID: id})
		}},
		{"EXISTS on each request (go-redis)", func(ctx context.Context, id string) (bool, error) { return exists(ctx, client, id) }},
		{"client-side caching (go-redis)", func(ctx context.Context, id string) (bool, error) { return exists(ctx, caching, id) }},
		{"client-side caching (rueidis)", func(ctx context.Context, id string) (bool, error) {
			n, err := rueidisClient.DoCache(ctx, rueidisClient.B().Get().Key("revoked:"+id).Cache(), time.Minute).ToString()
			if rueidis.IsRedisNil(err) {
				return false, nil
			}
			return n != "", err
		}},
		{"Bloom filter, then EXISTS", func(ctx context.Context, id string) (bool, error) {
			if !filter.TestString(id) {
				return false, nil
			}
			return exists(ctx, client, id)
		}},
		{"a session on the server (scs)", func(ctx context.Context, id string) (bool, error) {
			ctx, err := sessions.Load(ctx, id)
			return err != nil || sessions.GetString(ctx, "user") == "", err
		}},
	}
}

func id(i int) string { return fmt.Sprint("token-", i) }

// exists is what a key for each revoked token costs. It asks with GET, because go-redis
// does not cache EXISTS.
func exists(ctx context.Context, client *redis.Client, id string) (bool, error) {
	err := client.Get(ctx, "revoked:"+id).Err()
	if err == redis.Nil {
		return false, nil
	}
	return err == nil, err
}

// fill revokes the tokens in all ways. The tokens in use have sessions.
func fill(tb testing.TB, store *redisrevocation.Store, client *redis.Client) {
	ctx := context.Background()
	const writers = 16
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := w; i < *entries && err == nil; i += writers {
				err = store.Revoke(ctx, revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id(i), Expires: time.Now().Add(lifetime)})
				if err == nil {
					err = client.Set(ctx, "revoked:"+id(i), "1", lifetime).Err()
				}
			}
			failed <- err
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			tb.Fatal(err)
		}
	}
	codec := scs.GobCodec{}
	for i := range working {
		data, err := codec.Encode(time.Now().Add(lifetime), map[string]any{"user": "alice"})
		if err == nil {
			err = client.Set(ctx, "session:"+used(i), data, lifetime).Err()
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// used is the ID of a token in use, which is not revoked.
func used(i int) string { return fmt.Sprint("used-", i) }

// sessionStore keeps the sessions of scs in Redis, as its redisstore does.
type sessionStore struct{ client *redis.Client }

func (s sessionStore) Find(token string) ([]byte, bool, error) {
	data, err := s.client.Get(context.Background(), "session:"+token).Bytes()
	if err == redis.Nil {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (s sessionStore) Commit(token string, data []byte, expires time.Time) error {
	return s.client.Set(context.Background(), "session:"+token, data, time.Until(expires)).Err()
}

func (s sessionStore) Delete(token string) error {
	return s.client.Del(context.Background(), "session:"+token).Err()
}

// Each way knows the revoked tokens, and admits the others.
func TestWays(t *testing.T) {
	*entries = 100
	for _, way := range ways(t, startRedis(t)) {
		t.Run(way.name, func(t *testing.T) {
			for range 3 { // also from a cache
				for i := range 20 {
					if revoked, err := way.revoked(t.Context(), id(i)); !revoked || err != nil {
						t.Errorf("%s: %t, %v", id(i), revoked, err)
					}
					if revoked, err := way.revoked(t.Context(), used(i)); revoked || err != nil {
						t.Errorf("%s: %t, %v", used(i), revoked, err)
					}
				}
			}
		})
	}
}

// BenchmarkWays is the time of one question about a token that is in use: the mean, the
// median and the 99th percentile.
func BenchmarkWays(b *testing.B) {
	address := startRedis(b)
	all := ways(b, address)
	stop := change(b, address)
	defer stop()
	for _, way := range all {
		b.Run(way.name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				if revoked, err := way.revoked(b.Context(), used(i%working)); revoked || err != nil {
					b.Fatal(revoked, err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(float64(*entries), "entries")
		})
	}
}

// change revokes other tokens from another instance until stop is called.
func change(tb testing.TB, address string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	client := redis.NewClient(&redis.Options{Addr: address})
	store, err := redisrevocation.Open(ctx, client, redisrevocation.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(time.Second / perSecond)
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			other := fmt.Sprint("other-", i)
			_ = store.Revoke(ctx, revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: other, Expires: time.Now().Add(lifetime)})
			_ = client.Set(ctx, "revoked:"+other, "1", lifetime).Err()
		}
	}()
	return func() { cancel(); <-done; store.Wait(); _ = client.Close() }
}
