package jwthttp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// verified is what is known of a token whose signature held. It never changes:
// requests get copies.
type verified struct {
	token  *Token
	claims any // a *claims[T], before its Validate
	issuer *issuer
	key    jwt.VerificationKey // that verified it
}

// cache remembers verified tokens of one family, so that a token seen before
// costs no signature. All else about it is judged again for each request.
//
// It evicts by SIEVE (Zhang et al., NSDI 2024): an entry asked for since the
// hand last passed is spared, so tokens that are seen once do not push out the
// busy ones; and a hit moves nothing, so it needs no more than a read lock.
type cache struct {
	maxEntries int
	maxBytes   int64

	mu             sync.RWMutex
	entries        map[string]*cacheEntry // by the whole token
	bytes          int64                  // of their tokens
	newest, oldest *cacheEntry
	hand           *cacheEntry // where eviction goes on, towards the newest; nil: at the oldest
}

type cacheEntry struct {
	verified
	raw          string
	newer, older *cacheEntry
	seen         atomic.Bool // asked for since the hand last passed
}

// maxCachedBytes is the mean size of token that a cache full of entries has room for.
const maxCachedBytes = 2 << 10

func newCache(size int) *cache {
	if size == 0 {
		return nil
	}
	return &cache{maxEntries: size, maxBytes: int64(size) * maxCachedBytes, entries: make(map[string]*cacheEntry)}
}

// get returns what is known of a token, or nil.
func (c *cache) get(raw string) *verified {
	c.mu.RLock()
	e := c.entries[raw]
	c.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.seen.Load() { // writing each time would take the cache line from other processors
		e.seen.Store(true)
	}
	return &e.verified
}

// put remembers v, and returns it as it is remembered.
func (c *cache) put(v *verified) *verified {
	e := &cacheEntry{verified: *v, raw: strings.Clone(v.token.Raw())} // the request's may be part of more
	e.token = v.token.clone()
	e.token.raw = &e.raw
	if !v.issuer.ownsKeys() {
		e.key = copyKey(v.key) // its owner may change it, which must not go unnoticed
	}
	if int64(len(e.raw)) > c.maxBytes {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[e.raw]; ok {
		c.remove(old)
	}
	for len(c.entries) >= c.maxEntries || c.bytes+int64(len(e.raw)) > c.maxBytes {
		c.evict()
	}
	c.entries[e.raw] = e
	c.bytes += int64(len(e.raw))
	if e.older = c.newest; e.older != nil {
		e.older.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
	return &e.verified
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

func (c *cache) remove(e *cacheEntry) {
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
func (f *family) recall(ctx context.Context, raw string, now time.Time) (*verified, *Error) {
	v := f.cache.get(raw)
	if v == nil {
		return nil, nil
	}
	if e := v.issuer.judgeTimes(v.token, f.leeway, now); e != nil {
		f.cache.forget(raw)
		return nil, e
	}
	method := v.issuer.methods[v.token.Algorithm]
	keys, judged, e := v.issuer.findKeys(ctx, v.token, method)
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
