package jwthttp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
)

// cache remembers verified tokens of one family, so that a token seen before
// costs no signature. All else about it is judged again for each request.
//
// It evicts by SIEVE (Zhang et al., NSDI 2024): an entry asked for since the
// hand last passed is spared, so tokens that are seen once do not push out the
// busy ones. A hit moves nothing, and takes no lock: processors that share one
// would wait for each other longer than a hit takes.
//
// A full cache takes a token only when it is verified for the second time: most
// that come once would push out one that comes again.
type cache struct {
	maxEntries, maxBytes int64
	table                []atomic.Pointer[verified] // by hash, the first of a chain; a power of two of them
	once                 doorkeeper                 // for tokens that find the cache full

	mu             sync.Mutex   // held to change anything below, and the chains
	entries, bytes atomic.Int64 // how many there are, and the length of their tokens
	newest, oldest *verified
	hand           *verified // where eviction goes on, towards the newest; nil: at the oldest
}

// cacheLinks is an entry's place in the cache.
type cacheLinks struct {
	hash         uint64
	next         atomic.Pointer[verified] // in its chain
	newer, older *verified
	seen         atomic.Bool // asked for since the hand last passed
	shared       bool        // in a cache, or was: other requests may have it too
}

// maxCachedBytes is the mean size of token that a cache full of entries has room for.
const maxCachedBytes = 2 << 10

// maxSpared bounds the work for one eviction. When so many busy tokens follow
// each other, one of them has to go anyway.
const maxSpared = 256

func newCache(size int) *cache {
	if size == 0 {
		return nil
	}
	n := 1 << bits.Len(uint(size-1))
	return &cache{
		maxEntries: int64(size),
		maxBytes:   int64(size) * maxCachedBytes,
		table:      make([]atomic.Pointer[verified], n),
		once:       newDoorkeeper(n),
	}
}

// hash is that of a token's end: of its signature, which differs from token to
// token, and which nobody but the issuer can choose. The whole of it would take
// a quarter of a hit's time.
func (c *cache) hash(raw string) uint64 {
	return c.once.hash(raw[max(0, len(raw)-64):])
}

// chain returns where the chain of a hash begins.
func (c *cache) chain(hash uint64) *atomic.Pointer[verified] {
	return &c.table[hash&uint64(len(c.table)-1)]
}

// get returns what is known of a token, or nil. It may overlook one whose
// neighbour is removed meanwhile.
func (c *cache) get(raw string, hash uint64) *verified {
	for v := c.chain(hash).Load(); v != nil; v = v.next.Load() {
		if v.hash == hash && v.raw == raw { // by the whole token: a hash decides nothing
			return v
		}
	}
	return nil
}

// markSeen is for a token that is still good: one that was asked for in vain
// must not pass for busy.
func (v *verified) markSeen() {
	if !v.seen.Load() { // writing each time would take the cache line from other processors
		v.seen.Store(true)
	}
}

// put remembers v, which has its hash and must not change from then on.
func (c *cache) put(v *verified) {
	n := int64(len(v.raw))
	if n > c.maxBytes || !c.hasRoom(n) && c.get(v.raw, v.hash) == nil && !c.once.again(v.hash) {
		return
	}
	v.raw = strings.Clone(v.raw) // the request's may be part of more
	if !v.issuer.ownsKeys() {
		v.key = copyKey(v.key) // its owner may change it, which must not go unnoticed
	}
	v.shared = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeToken(v.raw, v.hash)
	for !c.hasRoom(n) {
		c.evict()
	}
	c.entries.Add(1)
	c.bytes.Add(n)
	if v.older = c.newest; v.older != nil {
		v.older.newer = v
	} else {
		c.oldest = v
	}
	c.newest = v
	first := c.chain(v.hash)
	v.next.Store(first.Load())
	first.Store(v)
}

func (c *cache) hasRoom(n int64) bool {
	return c.entries.Load() < c.maxEntries && c.bytes.Load()+n <= c.maxBytes
}

// evict removes the first entry at or after the hand that nobody asked for.
func (c *cache) evict() {
	v := c.hand
	for spared := 0; ; spared++ {
		if v == nil {
			v = c.oldest
		}
		if !v.seen.Load() || spared == maxSpared {
			break
		}
		v.seen.Store(false)
		v = v.newer
	}
	c.hand = v
	c.remove(v)
}

func (c *cache) remove(v *verified) {
	if c.hand == v {
		c.hand = v.newer
	}
	if v.newer != nil {
		v.newer.older = v.older
	} else {
		c.newest = v.older
	}
	if v.older != nil {
		v.older.newer = v.newer
	} else {
		c.oldest = v.newer
	}
	link := c.chain(v.hash)
	for link.Load() != v {
		link = &link.Load().next
	}
	link.Store(v.next.Load())
	// A Token that someone holds keeps its entry; that must not keep all others.
	v.newer, v.older = nil, nil
	v.next.Store(nil)
	c.entries.Add(-1)
	c.bytes.Add(-int64(len(v.raw)))
}

func (c *cache) removeToken(raw string, hash uint64) {
	for v := c.chain(hash).Load(); v != nil; v = v.next.Load() {
		if v.raw == raw {
			c.remove(v)
			return
		}
	}
}

// forget removes a token that will not be good again.
func (c *cache) forget(v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeToken(v.raw, v.hash)
}

// recall returns what is known of a token if it is still good. Without an Error
// and with nil the token has to be verified: it is new, or its key is another
// one by now.
func (f *family) recall(ctx context.Context, raw string, hash uint64) (*verified, *Error) {
	v := f.cache.get(raw, hash)
	if v == nil {
		return nil, nil
	}
	if e := v.issuer.judgeTimes(&v.token.Token, f.leeway); e != nil {
		f.cache.forget(v)
		return nil, e
	}
	method := v.issuer.methods[v.token.Algorithm]
	keys, judged, e := v.issuer.findKeys(ctx, &v.token.Token, method)
	if e != nil {
		return nil, e
	}
	tried := 0
	for _, key := range keys {
		if sameKey(key, v.key) {
			v.markSeen()
			return v, nil
		}
		if judged || fits(method, key) == nil {
			if tried++; tried == maxKeys {
				break // as verifySignature would
			}
		}
	}
	return nil, nil
}

// doorkeeper tells what comes for the first time from what comes again, most of
// the time. It is safe for concurrent use.
type doorkeeper struct {
	seed   maphash.Seed
	places []atomic.Uint64 // each has the last hash that belongs there; a power of two of them
}

func newDoorkeeper(places int) doorkeeper {
	return doorkeeper{maphash.MakeSeed(), make([]atomic.Uint64, places)}
}

func (d *doorkeeper) hash(s string) uint64 { return maphash.String(d.seed, s) }

// again reports whether a hash was the last one that was asked about at its
// place. That another text has the same hash does no harm.
func (d *doorkeeper) again(hash uint64) bool {
	return d.places[hash&uint64(len(d.places)-1)].Swap(hash) == hash
}

// sameKey compares keys by value.
func sameKey(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case ed25519.PublicKey:
		b, ok := b.(ed25519.PublicKey)
		return ok && bytes.Equal(a, b)
	case *rsa.PublicKey: // the pointers first: Equal takes its time
		b, ok := b.(*rsa.PublicKey)
		return ok && (a == b || a != nil && a.N != nil && a.Equal(b))
	case *ecdsa.PublicKey:
		b, ok := b.(*ecdsa.PublicKey)
		return ok && (a == b || a != nil && a.X != nil && a.Y != nil && a.Equal(b))
	}
	return false
}
