package cache_test

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/cache"
)

func TestCache(t *testing.T) {
	c := cache.New[int](10, 100)
	if v, ok := c.Get("a"); ok || v != 0 {
		t.Errorf("an empty cache has %d, %v", v, ok)
	}
	c.Put("a", 1)
	c.Put("b", 2)
	c.Put("a", 3)
	for _, tt := range []struct {
		key  string
		want int
	}{{"a", 3}, {"b", 2}} {
		if v, ok := c.Get(tt.key); v != tt.want || !ok {
			t.Errorf("%s is %d, %v; want %d", tt.key, v, ok, tt.want)
		}
	}
	for _, other := range []string{"", "A", "a ", "ab", "a\x00"} {
		if _, ok := c.Get(other); ok {
			t.Errorf("%q is found", other)
		}
	}
	c.Remove("a")
	c.Remove("a")
	c.Remove("never there")
	if _, ok := c.Get("a"); ok {
		t.Error("a removed key is found")
	}
	if _, ok := c.Get("b"); !ok {
		t.Error("another key is gone")
	}
}

// count returns how many of the keys are in c.
func count(c *cache.Cache[int], keys []string) (entries int, bytes int64) {
	for _, key := range keys {
		if _, ok := c.Get(key); ok {
			entries++
			bytes += int64(len(key))
		}
	}
	return entries, bytes
}

func TestCache_bounds(t *testing.T) {
	for _, tt := range []struct {
		name       string
		maxEntries int
		maxBytes   int64
		size       func(i int) int
		want       int // entries at the end
	}{
		{"entries", 10, 1 << 20, func(int) int { return 20 }, 10},
		{"bytes", 1000, 200, func(int) int { return 20 }, 10},
		{"one entry", 1, 1 << 20, func(int) int { return 20 }, 1},
		{"one entry of all bytes", 10, 20, func(int) int { return 20 }, 1},
		{"keys that are too long", 10, 19, func(int) int { return 20 }, 0},
		{"the last key takes all", 10, 100, func(i int) int { return map[bool]int{false: 10, true: 100}[i == 99] }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cache.New[int](tt.maxEntries, tt.maxBytes)
			var keys []string
			for i := range 100 {
				key := fmt.Sprint(i)
				key += strings.Repeat("x", tt.size(i)-len(key))
				keys = append(keys, key)
				c.Put(key, i)
				if entries, bytes := count(c, keys); entries > tt.maxEntries || bytes > tt.maxBytes {
					t.Fatalf("%d entries of %d bytes", entries, bytes)
				}
			}
			if entries, _ := count(c, keys); entries != tt.want {
				t.Errorf("%d entries, want %d", entries, tt.want)
			}
		})
	}
	t.Run("a key put twice counts once", func(t *testing.T) {
		c := cache.New[int](10, 20)
		for range 100 {
			c.Put("0123456789", 1)
		}
		c.Put("9876543210", 2)
		if entries, _ := count(c, []string{"0123456789", "9876543210"}); entries != 2 {
			t.Errorf("%d entries", entries)
		}
	})
}

// An eviction looks at a bounded number of entries, even if all are in use.
func TestCache_allUsed(t *testing.T) {
	c := cache.New[int](1000, 1<<20)
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprint(i))
		c.Put(keys[i], i)
	}
	if entries, _ := count(c, keys); entries != 1000 { // marks all as used
		t.Fatalf("%d entries", entries)
	}
	c.Put("new", 0)
	if entries, _ := count(c, keys); entries != 999 {
		t.Errorf("%d entries are left", entries)
	}
	if _, ok := c.Get("256"); ok { // after 0 to 255, which were spared
		t.Error("an eviction spares more than 256 entries")
	}
	if _, ok := c.Get("255"); !ok {
		t.Error("a used entry was evicted")
	}
}

// lru is the cache to compare with.
type lru struct {
	size  int
	byKey map[int]*list.Element
	queue list.List
}

func (l *lru) hit(key int) bool {
	if e, ok := l.byKey[key]; ok {
		l.queue.MoveToFront(e)
		return true
	}
	if l.queue.Len() == l.size {
		delete(l.byKey, l.queue.Remove(l.queue.Back()).(int))
	}
	l.byKey[key] = l.queue.PushFront(key)
	return false
}

func TestCache_hitRatio(t *testing.T) {
	const keys, requests = 5000, 60000
	for _, tt := range []struct {
		name string
		size int
		s    float64 // of the Zipf distribution
	}{
		{"a twentieth of the keys", keys / 20, 1.05},
		{"a tenth of the keys", keys / 10, 1.05},
		{"half of the keys", keys / 2, 1.05},
		{"a steeper distribution", keys / 20, 1.3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), tt.s, 10, keys-1)
			c := cache.New[int](tt.size, 1<<30)
			other := lru{size: tt.size, byKey: map[int]*list.Element{}}
			hits, lruHits := 0, 0
			for i := range requests {
				key := int(zipf.Uint64())
				if i%3 == 0 {
					key = keys + i // a token that comes once
				}
				text := strconv.Itoa(key)
				if _, ok := c.Get(text); ok {
					hits++
				} else {
					c.Put(text, key)
				}
				if other.hit(key) {
					lruHits++
				}
			}
			ratio, want := float64(hits)/requests, float64(lruHits)/requests-0.03
			t.Logf("hit ratio %.3f, LRU's is %.3f", ratio, want+0.03)
			if ratio < want {
				t.Errorf("hit ratio %.3f, want at least %.3f", ratio, want)
			}
		})
	}
}

func TestCache_concurrentUse(t *testing.T) {
	c := cache.New[int](50, 1<<10)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				n := (i * (g + 1)) % 100
				key := fmt.Sprint(n)
				switch v, ok := c.Get(key); {
				case ok && v != n:
					t.Errorf("%s is %d", key, v)
					return
				case i%7 == 0:
					c.Remove(key)
				case !ok:
					c.Put(key, n)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	c := cache.New[int](100, 1<<20)
	for i := range 100 {
		c.Put(fmt.Sprint(i), i)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get("50")
		}
	})
}
