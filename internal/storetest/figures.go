package storetest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	changesPerSecond = 2000
	lookUps          = 300_000
	spreads          = 300
	others           = 9 // instances
)

// Sizes parses the numbers of entries in a flag, separated by commas.
func Sizes(b *testing.B, text string) (sizes []int) {
	b.Helper()
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			b.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// Measure reports the figures of a store that has that many entries: how long it takes
// to load them, what they take in the memory of the program, how long a look-up takes
// while another instance makes some 2,000 changes a second, and how long it takes until a
// change is in force on the last of nine others. Each open must use a different connection.
func Measure(b *testing.B, entries int, open func(context.Context) (Store, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var stores []Store
	defer func() {
		cancel()
		for _, s := range stores {
			s.Wait()
		}
	}()
	add := func() Store {
		s, err := open(ctx)
		if err != nil {
			b.Fatal(err)
		}
		stores = append(stores, s)
		return s
	}
	before := heap()
	start := time.Now()
	s := add()
	b.ReportMetric(time.Since(start).Seconds(), "s/load")
	b.ReportMetric(float64(heap()-before)/float64(entries), "B/entry")
	if n := s.Len(); n != entries {
		b.Fatalf("%d entries, want %d", n, entries)
	}
	measureLookUps(b, s, add())
	if entries > 1_000_000 { // so that eleven copies fit into 16 GB
		defer debug.SetGCPercent(debug.SetGCPercent(20))
	}
	for len(stores) < 1+others {
		add()
	}
	measurePropagation(b, s, stores[1:])
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func entry(id string) revocation.Entry {
	return revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id, Expires: time.Now().Add(time.Hour)}
}

// measureLookUps asks s about tokens that are not revoked.
func measureLookUps(b *testing.B, s, writer Store) {
	ctx, cancel := context.WithCancel(b.Context())
	var changes atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(time.Second / changesPerSecond)
		defer ticks.Stop()
		for ctx.Err() == nil {
			<-ticks.C
			if writer.Revoke(ctx, entry(fmt.Sprint("change-", changes.Load()))) == nil {
				changes.Add(1)
			}
		}
	}()
	tokens := make([]*jwthttp.Token, 4096)
	for i := range tokens {
		tokens[i] = token(fmt.Sprint("in-use-", i))
	}
	took := make([]time.Duration, 0, lookUps)
	start := time.Now()
	for i := range lookUps {
		if i%100 == 0 { // so that they are spread over some seconds
			<-time.After(time.Millisecond)
		}
		asked := time.Now()
		revoked, err := s.Revoked(ctx, tokens[i%len(tokens)])
		took = append(took, time.Since(asked))
		if revoked || err != nil {
			b.Fatal(revoked, err)
		}
	}
	b.ReportMetric(float64(changes.Load())/time.Since(start).Seconds(), "changes/s")
	cancel()
	<-done
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}

// measurePropagation revokes on one instance and waits for the others.
func measurePropagation(b *testing.B, s Store, others []Store) {
	var took []time.Duration
	for i := range spreads {
		id := fmt.Sprint("spread-", i)
		start := time.Now()
		if err := s.Revoke(b.Context(), entry(id)); err != nil {
			b.Fatal(err)
		}
		for _, other := range others {
			for {
				if revoked, err := other.Revoked(b.Context(), token(id)); err != nil {
					b.Fatal(err)
				} else if revoked {
					break
				}
				runtime.Gosched()
			}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(ms(took[len(took)/2]), "ms-median")
	b.ReportMetric(ms(took[len(took)-1]), "ms-worst")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
