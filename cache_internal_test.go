package jwthttp

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func put(c *cache, raw string) {
	c.put(&verified{raw: raw, issuer: &issuer{keys: staticKey{}}})
}

// checkCache walks the list both ways.
func checkCache(t *testing.T, c *cache) {
	t.Helper()
	n, bytes := 0, int64(0)
	for e := c.oldest; e != nil; e = e.newer {
		n, bytes = n+1, bytes+int64(len(e.raw))
		if c.entries[e.raw] != e || e.newer != nil && e.newer.older != e || e.newer == nil && c.newest != e {
			t.Fatal("the list is broken")
		}
	}
	if n != len(c.entries) || bytes != c.bytes || n > c.maxEntries || bytes > c.maxBytes {
		t.Fatalf("%d entries listed, %d mapped; %d bytes, %d counted", n, len(c.entries), bytes, c.bytes)
	}
}

func TestACacheKeepsWithinItsBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7, 100} {
		c := newCache(size)
		for range 5000 {
			raw := strings.Repeat("x", rnd.IntN(5)*700) + fmt.Sprint(rnd.IntN(3*size))
			switch rnd.IntN(4) {
			case 0:
				c.forget(raw)
			case 1:
				c.get(raw)
			default:
				put(c, raw)
			}
			checkCache(t, c)
		}
		put(c, strings.Repeat("x", size*maxCachedBytes+1))
		checkCache(t, c)
	}
	if newCache(0) != nil {
		t.Error("a cache of size 0")
	}
}

func TestACacheSparesWhatIsAskedFor(t *testing.T) {
	c := newCache(3)
	for _, raw := range []string{"a", "b", "c"} {
		put(c, raw)
	}
	c.get("a")
	for i := range 100 {
		put(c, fmt.Sprint("once ", i))
		if c.get("a") == nil {
			t.Fatalf("pushed out by %d tokens seen once", i+1)
		}
	}
}

// lru is what SIEVE is compared with.
type lru struct {
	max     int
	order   *list.List
	entries map[int]*list.Element
}

func (l *lru) ask(key int) bool {
	if e, ok := l.entries[key]; ok {
		l.order.MoveToFront(e)
		return true
	}
	if l.order.Len() == l.max {
		last := l.order.Back()
		delete(l.entries, last.Value.(int))
		l.order.Remove(last)
	}
	l.entries[key] = l.order.PushFront(key)
	return false
}

// On a trace where few tokens are busy, most are not, and a third come once,
// the cache finds more than LRU does. The log has both ratios.
func TestHitRatioOnAZipfTrace(t *testing.T) {
	const size, requests = 1000, 200_000
	rnd := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rnd, 1.1, 1, 100_000)
	ours, theirs := newCache(size), &lru{size, list.New(), map[int]*list.Element{}}
	hits, lruHits := 0, 0
	for i := range requests {
		key := int(zipf.Uint64())
		if rnd.IntN(3) == 0 {
			key = 1_000_000 + i
		}
		raw := fmt.Sprint(key)
		if ours.get(raw) != nil {
			hits++
		} else {
			put(ours, raw)
		}
		if theirs.ask(key) {
			lruHits++
		}
	}
	t.Logf("hit ratio at %d entries: %.3f, LRU %.3f", size, float64(hits)/requests, float64(lruHits)/requests)
	if hits <= lruHits {
		t.Error("LRU is better")
	}
}
