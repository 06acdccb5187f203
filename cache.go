package jwthttp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// cache remembers verified tokens of one family, so that a token seen before
// costs no signature. All else about it is judged again for each request.
//
// It evicts by SIEVE (Zhang et al., NSDI 2024): an entry asked for since the
// hand last passed is spared, so tokens that are seen once do not push out the
// busy ones; and a hit moves nothing, so it needs no more than a read lock.
//
// A full cache takes a token only when it is verified for the second time: most
// that come once would push out one that comes again.
type cache struct {
	maxEntries int
	maxBytes   int64
	seed       maphash.Seed
	once       []atomic.Uint64 // hashes of tokens that found the cache full, each at its place

	mu             sync.RWMutex
	entries        map[string]*verified // by the whole token
	bytes          int64                // of their tokens
	newest, oldest *verified
	hand           *verified // where eviction goes on, towards the newest; nil: at the oldest
}

// cacheLinks is an entry's place in the cache.
type cacheLinks struct {
	newer, older *verified
	seen         atomic.Bool // asked for since the hand last passed
	shared       bool        // in a cache, or was: other requests may have it too
}

// maxCachedBytes is the mean size of token that a cache full of entries has room for.
const maxCachedBytes = 2 << 10

func newCache(size int) *cache {
	if size == 0 {
		return nil
	}
	return &cache{
		maxEntries: size,
		maxBytes:   int64(size) * maxCachedBytes,
		seed:       maphash.MakeSeed(),
		once:       make([]atomic.Uint64, size),
		entries:    make(map[string]*verified),
	}
}

// get returns what is known of a token, or nil.
func (c *cache) get(raw string) *verified {
	c.mu.RLock()
	v := c.entries[raw]
	c.mu.RUnlock()
	if v != nil && !v.seen.Load() { // writing each time would take the cache line from other processors
		v.seen.Store(true)
	}
	return v
}

// put remembers v, which must not change from then on.
func (c *cache) put(v *verified) {
	if int64(len(v.raw)) > c.maxBytes || c.isFull(len(v.raw)) && !c.again(v.raw) {
		return
	}
	v.raw = strings.Clone(v.raw) // the request's may be part of more
	if !v.issuer.ownsKeys() {
		v.key = copyKey(v.key) // its owner may change it, which must not go unnoticed
	}
	v.shared = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[v.raw]; ok {
		c.remove(old)
	}
	for !c.hasRoom(len(v.raw)) {
		c.evict()
	}
	c.entries[v.raw] = v
	c.bytes += int64(len(v.raw))
	if v.older = c.newest; v.older != nil {
		v.older.newer = v
	} else {
		c.oldest = v
	}
	c.newest = v
}

func (c *cache) hasRoom(n int) bool {
	return len(c.entries) < c.maxEntries && c.bytes+int64(n) <= c.maxBytes
}

func (c *cache) isFull(n int) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return !c.hasRoom(n)
}

// again reports whether the token was the last one that was asked about at its
// place. That another one has the same hash does no harm: it is cached too soon.
func (c *cache) again(raw string) bool {
	h := maphash.String(c.seed, raw)
	return c.once[h%uint64(len(c.once))].Swap(h) == h
}

// evict removes the first entry at or after the hand that nobody asked for.
func (c *cache) evict() {
	e := c.hand
	for {
		if e == nil {
			e = c.oldest
		}
		if !e.seen.Load() {
			break
		}
		e.seen.Store(false)
		e = e.newer
	}
	c.hand = e
	c.remove(e)
}

func (c *cache) remove(e *verified) {
	if c.hand == e {
		c.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	// A Token that someone holds keeps its entry; that must not keep all others.
	e.newer, e.older = nil, nil
	delete(c.entries, e.raw)
	c.bytes -= int64(len(e.raw))
}

// forget removes a token that will not be good again.
func (c *cache) forget(raw string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[raw]; ok {
		c.remove(e)
	}
}

// recall returns what is known of a token if it is still good. Without an Error
// and with nil the token has to be verified: it is new, or its key is another
// one by now.
func (f *family) recall(ctx context.Context, raw string) (*verified, *Error) {
	v := f.cache.get(raw)
	if v == nil {
		return nil, nil
	}
	if e := v.issuer.judgeTimes(&v.token.Token, f.leeway); e != nil {
		f.cache.forget(raw)
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
