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

	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/replay"
)

func fresh(t testing.TB, c *replay.Cache, key, id string, life time.Duration) string {
	t.Helper()
	return freshUntil(t, c, replay.Owners{key}, id, time.Now().Add(life).Round(0))
}

func freshUntil(t testing.TB, c *replay.Cache, owners replay.Owners, id string, until time.Time) string {
	t.Helper()
	ok, err := c.Fresh(replay.WithOwners(context.Background(), owners), id, until)
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
			{0, "l", "past", 0, "used", 2},
			{0, "l", "past", -time.Hour, "used", 2},
			{time.Second, "l", "b", 10 * time.Second, "fresh", 2},
			{78 * time.Second, "k", "a", time.Second, "used", 1},
			{time.Second, "k", "a", time.Second, "used", 1},
			{time.Second, "k", "a", 24 * time.Hour, "fresh", 1},
			{0, "k", "forever", 1<<63 - 1, "fresh", 2},
			{0, "k", "forever", 1<<63 - 1, "used", 2},
			{23 * time.Hour, "k", "a", time.Second, "used", 2},
			{2 * time.Hour, "k", "a", time.Second, "fresh", 2},
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
		if n := flood("later", 5); n != 5 || c.Len() != 5 {
			t.Errorf("%d after a minute, %d remembered; want 5", n, c.Len())
		}
	})
}

// Someone with many keys has no larger share than with one.
// Rule 58
func TestCache_Fresh_owners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := replay.New(80)
		until := time.Now().Add(time.Minute)
		use := func(key, subject, id string) string { return freshUntil(t, c, replay.Owners{key, subject}, id, until) }
		for i := range 20 {
			want := "fresh"
			if i >= 10 {
				want = "error"
			}
			id := strconv.Itoa(i)
			if got := use("key"+id, "attacker", id); got != want {
				t.Errorf("id %d with another key is %s, want %s", i, got, want)
			}
		}
		if got := use("key0", "alice", "x"); got != "fresh" {
			t.Errorf("another subject's is %s", got)
		}
		if got := use("key0", "", "y"); got != "fresh" {
			t.Errorf("without a subject it is %s", got)
		}
		for i := range 8 {
			use("shared", strconv.Itoa(i), "shared"+strconv.Itoa(i))
		}
		if got := use("shared", "8", "shared8"); got != "fresh" || c.Len() != 21 {
			t.Errorf("the ninth id of a key is %s, %d remembered", got, c.Len())
		}
		use("shared", "9", "shared9")
		if got := use("shared", "10", "shared10"); got != "error" {
			t.Errorf("the eleventh id of a key is %s", got)
		}
		time.Sleep(62 * time.Second)
		until = time.Now().Add(time.Minute)
		if got := use("key0", "attacker", "z"); got != "fresh" || c.Len() != 1 {
			t.Errorf("a minute later it is %s, %d remembered", got, c.Len())
		}
	})
}

// A clock that is set back revives no proof. Those that cannot have been forgotten
// are accepted.
// Rule 58
func TestCache_Fresh_clock(t *testing.T) {
	for _, tt := range []struct {
		name    string
		back    time.Duration // at the end
		waits   time.Duration
		replay  string // the result for the used proof
		another string // and for one that is made after that
	}{
		{"a minute later", 0, 79 * time.Second, "used", "fresh"},
		{"when it has expired", 0, 82 * time.Second, "used", "fresh"},
		{"set back while it is remembered", 30 * time.Second, 79 * time.Second, "used", "fresh"},
		{"set back after it was forgotten", 30 * time.Second, 82 * time.Second, "error", "fresh"},
		{"set back by more", time.Hour, 82 * time.Second, "error", "error"},
		{"set ahead", -30 * time.Second, 79 * time.Second, "used", "fresh"},
		{"set ahead by more", -time.Hour, 79 * time.Second, "used", "fresh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := replay.New(100)
				back := time.Duration(0)
				replay.SetNow(c, func() clock.Moment {
					m := clock.Now()
					m.Wall = m.Wall.Add(-back)
					return m
				})
				until := time.Now().Add(80 * time.Second).Round(0)
				if got := freshUntil(t, c, replay.Owners{}, "a", until); got != "fresh" {
					t.Fatal(got)
				}
				time.Sleep(tt.waits)
				freshUntil(t, c, replay.Owners{}, "b", time.Now().Add(80*time.Second).Round(0)) // forgets
				back = tt.back
				if got := freshUntil(t, c, replay.Owners{}, "a", until); got != tt.replay {
					t.Errorf("used again, it is %s, want %s", got, tt.replay)
				}
				if got := freshUntil(t, c, replay.Owners{}, "c", time.Now().Add(80*time.Second-back).Round(0)); got != tt.another {
					t.Errorf("another one is %s, want %s", got, tt.another)
				}
			})
		})
	}
}

// No call waits for the removal of many ids, and none of them counts any more
// where room is short.
// Rule 58
func TestCache_Fresh_purge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8000
		c := replay.New(size)
		fill := func(round string) {
			t.Helper()
			for i := range size {
				if got := fresh(t, c, strconv.Itoa(i*8/size), round+strconv.Itoa(i), time.Minute); got != "fresh" {
					t.Fatalf("id %d is %s", i, got)
				}
			}
		}
		fill("first")
		time.Sleep(61 * time.Second)
		if got := fresh(t, c, "", "x", time.Minute); got != "fresh" || c.Len() < size-100 {
			t.Errorf("after a minute it is %s, and one call has removed %d", got, size-c.Len())
		}
		if got := fresh(t, c, "0", "y", time.Minute); got != "fresh" || c.Len() != 2 {
			t.Errorf("of a key with a full share it is %s, %d remembered", got, c.Len())
		}
		time.Sleep(61 * time.Second)
		fill("second")
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
	ctx := replay.WithOwners(context.Background(), replay.Owners{"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "https://login.example\x00alice"})
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
