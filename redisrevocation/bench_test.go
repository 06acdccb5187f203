package redisrevocation_test

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// fill puts n entries into Redis, while no store is open.
func fill(b *testing.B, client *redis.Client, n int) {
	b.Helper()
	ctx, soon := context.Background(), time.Now().Add(time.Hour).Unix()
	key := func(i int) string { return fmt.Sprintf("%043d", i) }
	inBuckets := make([]uint64, n) // bucket and number of each entry
	for i := range inBuckets {
		sum := sha1.Sum([]byte("salt" + key(i)))
		inBuckets[i] = uint64(binary.BigEndian.Uint32(sum[:])>>12)<<32 | uint64(i)
	}
	slices.Sort(inBuckets)
	pipe := client.Pipeline()
	send := func() {
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
	var text strings.Builder
	buckets := 0
	for at, in := range inBuckets {
		i, bucket := int(uint32(in)), in>>32
		expires := soon + int64(i*7919%86400)
		fmt.Fprintf(&text, "\n%s %020d%020d{\"iss\":\"https://login.example.com/\",\"jti\":\"id-%d\"}", key(i), 0, expires, i)
		if at == n-1 || inBuckets[at+1]>>32 != bucket {
			buckets++
			pipe.HSet(ctx, keys[0], fmt.Sprintf("%05x", bucket), text.String())
			text.Reset()
		}
		if pipe.Len() >= 10_000 {
			send()
		}
	}
	pipe.HSet(ctx, keys[0], "epoch", "filled", "seq", 0, "last", "0-0", "fields", buckets+len(beside), "salt", "salt")
	send()
}

var entries = flag.String("entries", "100000,1000000", "how many entries BenchmarkFigures measures with; 10000000 needs 16 GB of memory")

// BenchmarkFigures measures the load, the memory, look-ups beside 2,000 changes a second,
// and the propagation to nine other instances.
func BenchmarkFigures(b *testing.B) {
	for _, n := range storetest.Sizes(b, *entries) {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			srv := newServer(b, "--appendfsync", "everysec")
			fill(b, srv.client(), n)
			memory := redis.NewClient(&redis.Options{Addr: srv.addr, ReadTimeout: -1})
			defer func() { _ = memory.Close() }()
			storetest.Measure(b, n, func(ctx context.Context) (storetest.Store, error) {
				return open(ctx, srv.addr, redisrevocation.Options{OnError: func(error) {}})
			})
			b.ReportMetric(float64(memory.MemoryUsage(context.Background(), keys[0], 0).Val())/float64(n), "redisB/entry")
		})
	}
}

// BenchmarkHeal is how long it takes until Redis has again what it has lost, with
// three instances that know it.
func BenchmarkHeal(b *testing.B) {
	const n = 20_000
	srv := newServer(b)
	fill(b, srv.client(), n)
	instances := []*opened{mustOpen(b, srv.addr, redisrevocation.Options{}), mustOpen(b, srv.addr, redisrevocation.Options{}), mustOpen(b, srv.addr, redisrevocation.Options{})}
	for b.Loop() {
		srv.client().FlushAll(context.Background())
		for _, s := range instances {
			loads := s.Stats().Loads
			eventually(b, "loaded", soon, func() bool { return s.Stats().Loads > loads || s.Stats().Lost > 0 })
		}
		eventually(b, "written back", soon, func() bool {
			return len(stored(srv.client())) == n
		})
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/heal")
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkPropagation is from the call of Revoke on one instance until the last
// of nine others refuses the token.
func BenchmarkPropagation(b *testing.B) {
	for _, fsync := range []string{"everysec", "always"} {
		b.Run(fsync, func(b *testing.B) {
			srv := newServer(b, "--appendfsync", fsync)
			instances := make([]*opened, 10)
			for i := range instances {
				instances[i] = mustOpen(b, srv.addr, redisrevocation.Options{})
			}
			var took, done []time.Duration
			for n := 0; b.Loop(); n++ {
				id := fmt.Sprint("id-", n)
				start := time.Now()
				instances[0].revoke(id)
				done = append(done, time.Since(start))
				for _, s := range instances[1:] {
					for s.says(id) != "revoked" {
						runtime.Gosched()
					}
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			slices.Sort(done)
			b.ReportMetric(ms(took[len(took)/2]), "median-ms")
			b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
			b.ReportMetric(ms(took[len(took)-1]), "worst-ms")
			b.ReportMetric(ms(done[len(done)/2]), "acknowledged-ms")
		})
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkLookup asks about a token that is not revoked: in memory with so many
// entries, and in Redis with as many, one EXISTS for each kind of revocation in one
// round trip, or for the "jti" only.
func BenchmarkLookup(b *testing.B) {
	token := &jwthttp.Token{Issuer: issuer, ID: "not revoked", Subject: "alice", SessionID: "s", ClientID: "c", IssuedAt: time.Now()}
	ctx := context.Background()
	for _, n := range []int{0, 10_000, 1_000_000} {
		srv := newServer(b, "--appendonly", "no")
		fill(b, srv.client(), n)
		s := mustOpen(b, srv.addr, redisrevocation.Options{})
		b.Run(fmt.Sprintf("memory/%d", n), func(b *testing.B) {
			for b.Loop() {
				if revoked, err := s.Revoked(ctx, token); revoked || err != nil {
					b.Fatal(revoked, err)
				}
			}
		})
		client := srv.client()
		pipe := client.Pipeline()
		for i := range n {
			pipe.Set(ctx, fmt.Sprintf("revoked:%s:id-%d", issuer, i), 1, time.Hour)
			if pipe.Len() == 1000 || i == n-1 {
				if _, err := pipe.Exec(ctx); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprintf("EXISTS/%d", n), func(b *testing.B) { exists(b, client, token.ID) })
		b.Run(fmt.Sprintf("EXISTS_of_four/%d", n), func(b *testing.B) {
			exists(b, client, token.ID, token.Subject, token.SessionID, token.ClientID)
		})
	}
}

func exists(b *testing.B, client *redis.Client, names ...string) {
	for b.Loop() {
		keys := make([]string, len(names))
		for i, name := range names {
			keys[i] = "revoked:" + issuer + ":" + name
		}
		if n, err := client.Exists(context.Background(), keys...).Result(); n != 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
