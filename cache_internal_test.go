package jwthttp

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"
)

func put(c *cache, raw string) {
	c.put(&verified{raw: raw, issuer: &issuer{keys: staticKey{}}, cacheLinks: cacheLinks{hash: c.hash(raw)}})
}

func get(c *cache, raw string) *verified {
	v := c.get(raw, c.hash(raw))
	if v != nil {
		v.markSeen()
	}
	return v
}

// checkCache walks the list both ways.
func checkCache(t *testing.T, c *cache) {
	t.Helper()
	n, bytes := 0, int64(0)
	seen := map[string]bool{}
	for e := c.oldest; e != nil; e = e.newer {
		if seen[e.raw] {
			t.Fatalf("%q is in it twice", e.raw)
		}
		seen[e.raw] = true
		n, bytes = n+1, bytes+int64(len(e.raw))
		if !chained(c, e) || e.newer != nil && e.newer.older != e || e.newer == nil && c.newest != e {
			t.Fatal("the list is broken")
		}
	}
	inChains := 0
	for i := range c.table {
		for e := c.table[i].Load(); e != nil; e = e.next.Load() {
			inChains++
		}
	}
	if int64(n) != c.entries.Load() || n != inChains || bytes != c.bytes.Load() || int64(n) > c.maxEntries || bytes > c.maxBytes {
		t.Fatalf("%d entries listed, %d chained, %d counted; %d bytes, %d counted", n, inChains, c.entries.Load(), bytes, c.bytes.Load())
	}
}

func chained(c *cache, v *verified) bool {
	for e := c.chain(v.hash).Load(); e != nil; e = e.next.Load() {
		if e == v {
			return true
		}
	}
	return false
}

func TestACacheKeepsWithinItsBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7, 100} {
		c := newCache(size)
		for range 5000 {
			raw := strings.Repeat("x", rnd.IntN(5)*700) + fmt.Sprint(rnd.IntN(3*size))
			if rnd.IntN(8) == 0 { // of which some have one hash
				raw += strings.Repeat("x", 64)
			}
			switch rnd.IntN(4) {
			case 0:
				c.removeToken(raw, c.hash(raw))
			case 1:
				get(c, raw)
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
	get(c, "a")
	for i := range 100 {
		once, twice := fmt.Sprint("once ", i), fmt.Sprint("twice ", i)
		put(c, once)
		if get(c, once) != nil {
			t.Fatalf("a full cache takes token %d at once", i)
		}
		put(c, twice)
		put(c, twice)
		if get(c, "a") == nil {
			t.Fatalf("pushed out by %d tokens seen twice", i+1)
		}
	}
	if get(c, "twice 99") == nil {
		t.Error("a full cache does not take a token that comes again")
	}
	put(c, "a") // under another key, say
	put(c, "a")
	checkCache(t, c)
}

// The hand goes on from where it was: whoever it spared stays until it has been
// all the way round.
func TestTheHandGoesRound(t *testing.T) {
	c := newCache(4)
	for _, raw := range []string{"a", "b", "c", "d"} {
		put(c, raw)
	}
	get(c, "a")
	get(c, "b")
	for i, gone := range []string{"c", "d", "new 0", "new 1"} {
		raw := fmt.Sprint("new ", i)
		put(c, raw)
		put(c, raw)
		if c.get(gone, c.hash(gone)) != nil || c.entries.Load() != 4 {
			t.Fatalf("%q did not go as the %d. of all", gone, i+1)
		}
	}
}

// What a cache keeps is its own: not a part of the request, nor of its
// neighbours in a chain.
func TestACacheKeepsNothingElseAlive(t *testing.T) {
	request := strings.Repeat("x", 100) + "token"
	c, h := newCache(2), newHeaders()
	raw := request[100:]
	put(c, raw)
	h.put(raw, header{})
	h.put(raw, header{})
	if unsafe.StringData(get(c, "token").raw) == unsafe.StringData(raw) {
		t.Error("a cached token is a part of its request")
	}
	for segment := range *h.known.Load() {
		if unsafe.StringData(segment) == unsafe.StringData(raw) {
			t.Error("a remembered header is a part of its request")
		}
	}
	end := strings.Repeat("x", 64) // of one hash
	put(c, "1"+end)
	first := get(c, "1"+end)
	c = newCache(2)
	put(c, "1"+end)
	put(c, "2"+end)
	second := get(c, "2"+end)
	if second.next.Load() == nil {
		t.Fatal("not in one chain")
	}
	c.removeToken("2"+end, c.hash("2"+end))
	if second.next.Load() != nil || first == nil {
		t.Error("a removed token keeps its neighbour")
	}
}

// When all entries are busy, making room for one must not take a look at all
// of them, with every other request waiting.
func TestAFullCacheOfBusyTokensMakesRoomQuickly(t *testing.T) {
	c := newCache(10 * maxSpared)
	for i := range 10 * maxSpared {
		put(c, fmt.Sprint(i))
		get(c, fmt.Sprint(i))
	}
	put(c, "new")
	put(c, "new")
	spared := 0
	for e := c.oldest; e != nil; e = e.newer {
		if !e.seen.Load() && e.raw != "new" {
			spared++
		}
	}
	if get(c, "new") == nil || spared != maxSpared {
		t.Errorf("%d entries were looked at", spared)
	}
	checkCache(t, c)
}

// What is remembered of headers is bounded, whatever issuers write into theirs.
func TestHeadersAreRememberedWithinBounds(t *testing.T) {
	h := newHeaders()
	most := 0
	for i := range 10 * maxHeaders {
		segment := fmt.Sprint("header ", i)
		h.put(segment, header{keyID: segment})
		if _, ok := h.get(segment); ok {
			t.Fatalf("header %d is remembered at once", i)
		}
		h.put(segment, header{keyID: segment})
		if got, ok := h.get(segment); !ok || got.keyID != segment {
			t.Fatalf("header %d is %v, %v", i, got, ok)
		}
		most = max(most, len(*h.known.Load()))
	}
	if most != maxHeaders {
		t.Errorf("%d headers were remembered at once", most)
	}
	long := strings.Repeat("x", maxHeaderSize+1)
	h.put(long, header{})
	h.put(long, header{})
	if _, ok := h.get(long); ok {
		t.Error("a long header was remembered")
	}
	if _, ok := newHeaders().get(""); ok {
		t.Error("a header out of nothing")
	}
}

// A stranger must not choose what is remembered.
func TestOnlyHeadersOfVerifiedTokensAreRemembered(t *testing.T) {
	secret := []byte(strings.Repeat("k", 32))
	m, err := New[struct{}](Options{Issuers: []Issuer{{Name: Any, Audience: []string{Any}, Algorithms: []string{"HS256"}, NoExpiry: true, Keys: StaticKey(secret)}}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token string, want bool) {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if _, err := m.Authenticate(r); (err == nil) != want {
			t.Fatalf("error %v", err)
		}
	}
	ask(token[:len(token)-8]+"AAAAAAAA", false)
	ask(token[:len(token)-8]+"AAAAAAAA", false)
	if m.family.headers.known.Load() != nil {
		t.Error("the header of a forged token is remembered")
	}
	ask(token, true)
	ask(token, true)
	segment, _, _ := strings.Cut(token, ".")
	if got, ok := m.family.headers.get(segment); !ok || got.algorithm != "HS256" || got.typ != "JWT" {
		t.Errorf("header %v, %v", got, ok)
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
		if get(ours, raw) != nil {
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
