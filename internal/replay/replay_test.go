package replay_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replay"
)

func fresh(t testing.TB, c *replay.Cache, key, id string, life time.Duration) string {
	t.Helper()
	ctx := context.Background()
	if key != "" {
		ctx = replay.WithKey(ctx, key)
	}
	ok, err := c.Fresh(ctx, id, time.Now().Add(life).Round(0))
	switch {
	case err != nil && ok:
		t.Errorf("fresh and the error %v", err)
		fallthrough
	case err != nil:
		return "error"
	case ok:
		return "fresh"
	}
	return "used"
}

// Rule 58
func TestCache_Fresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replay.New(1000)
		for i, step := range []struct {
			wait       time.Duration
			key, id    string
			until      time.Duration
			want       string
			remembered int
		}{
			{0, "k", "a", 80 * time.Second, "fresh", 1},
			{0, "k", "a", 80 * time.Second, "used", 1},
			{0, "", "a", 80 * time.Second, "used", 1},
			{0, "l", "b", 500 * time.Millisecond, "fresh", 2},
			{0, "l", "past", 0, "fresh", 2},
			{time.Second, "l", "b", 10 * time.Second, "fresh", 2},
			{78 * time.Second, "k", "a", time.Second, "used", 1},
			{time.Second, "k", "a", time.Second, "used", 1},
			{time.Second, "k", "a", 24 * time.Hour, "fresh", 1},
			{23 * time.Hour, "k", "a", time.Second, "used", 1},
			{2 * time.Hour, "k", "a", time.Second, "fresh", 1},
		} {
			time.Sleep(step.wait)
			if got := fresh(t, c, step.key, step.id, step.until); got != step.want || c.Len() != step.remembered {
				t.Errorf("step %d: %s with %d remembered, want %s with %d", i, got, c.Len(), step.want, step.remembered)
			}
		}
	})
}

// Rule 58
func TestCache_Fresh_full(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replay.New(80)
		flood := func(key string, n int) (admitted int) {
			for i := range n {
				if fresh(t, c, key, key+strconv.Itoa(i), time.Minute) == "fresh" {
					admitted++
				}
			}
			return admitted
		}
		if n := flood("attacker", 100); n != 10 {
			t.Errorf("one key has %d of 80, want 10", n)
		}
		if got := fresh(t, c, "alice", "x", time.Minute); got != "fresh" {
			t.Errorf("another key's is %s", got)
		}
		if got := fresh(t, c, "attacker", "attacker0", time.Minute); got != "used" {
			t.Errorf("a used id of the full key is %s", got)
		}
		if n := flood("", 100); n != 69 {
			t.Errorf("%d without a key, want 69", n)
		}
		if got := fresh(t, c, "bob", "y", time.Minute); got != "error" || c.Len() != 80 {
			t.Errorf("in the full cache it is %s, with %d remembered", got, c.Len())
		}
		if got := fresh(t, c, "alice", "x", time.Minute); got != "used" {
			t.Errorf("a used id of the full cache is %s", got)
		}
		time.Sleep(61 * time.Second)
		if n := flood("attacker", 5); n != 5 || c.Len() != 5 {
			t.Errorf("%d after a minute, %d remembered; want 5", n, c.Len())
		}
	})
}

// Rule 58
func TestCache_Fresh_concurrent(t *testing.T) {
	c := replay.New(1000)
	for round := range 20 {
		var wg sync.WaitGroup
		var admitted atomic.Int32
		for range 100 {
			wg.Go(func() {
				if ok, err := c.Fresh(context.Background(), fmt.Sprint(round), time.Now().Add(time.Minute)); ok && err == nil {
					admitted.Add(1)
				}
			})
		}
		wg.Wait()
		if admitted.Load() != 1 {
			t.Fatalf("%d of 100 are fresh", admitted.Load())
		}
	}
}

// BenchmarkCache_Fresh is a steady state of 80,000 ids.
func BenchmarkCache_Fresh(b *testing.B) {
	c := replay.New(1 << 20)
	ids := make([]string, 1<<18)
	for i := range ids {
		ids[i] = fmt.Sprintf("%022d", i)
	}
	ctx := replay.WithKey(context.Background(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
	until := time.Now().Add(time.Hour)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%80_000 == 0 {
			c = replay.New(1 << 20)
		}
		if ok, err := c.Fresh(ctx, ids[i%len(ids)], until); !ok || err != nil {
			b.Fatal(ok, err)
		}
		i++
	}
}
