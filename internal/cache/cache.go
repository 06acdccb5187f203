// Package cache is a bounded map whose least used entries are evicted.
package cache

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Cache maps strings to values. It is bounded by the number of entries and by
// the length of their keys. It is safe for concurrent use.
//
// Eviction is FIFO with a second chance: an entry that was used since it came to
// the end of the queue is moved to the front instead. So a hit moves nothing and
// needs only a read lock, and entries that are used once do not displace busy
// ones for long.
type Cache[V any] struct {
	maxEntries int
	maxBytes   int64

	mu    sync.RWMutex
	byKey map[string]*list.Element // of *entry[V]
	queue list.List                // the newest first
	bytes int64                    // length of all keys
}

type entry[V any] struct {
	key   string
	value V
	used  atomic.Bool
}

// maxSpared bounds the work of one eviction.
const maxSpared = 256

// New returns a Cache of at most maxEntries entries, whose keys have at most
// maxBytes bytes together. Both must be positive.
func New[V any](maxEntries int, maxBytes int64) *Cache[V] {
	return &Cache[V]{maxEntries: maxEntries, maxBytes: maxBytes, byKey: make(map[string]*list.Element)}
}

// Get returns the value of key, and marks the entry as used.
func (c *Cache[V]) Get(key string) (value V, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	element, ok := c.byKey[key]
	if !ok {
		return value, false
	}
	e := element.Value.(*entry[V])
	if !e.used.Load() { // a write would take the cache line from other processors
		e.used.Store(true)
	}
	return e.value, true
}

// Put sets the value of key. A key longer than all keys together may be is not
// stored.
func (c *Cache[V]) Put(key string, value V) {
	size := int64(len(key))
	if size > c.maxBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	for spared := 0; len(c.byKey) >= c.maxEntries || c.bytes+size > c.maxBytes; {
		oldest := c.queue.Back()
		if e := oldest.Value.(*entry[V]); spared == maxSpared || !e.used.Swap(false) {
			c.remove(e.key)
			continue
		}
		spared++
		c.queue.MoveToFront(oldest)
	}
	c.byKey[key] = c.queue.PushFront(&entry[V]{key: key, value: value})
	c.bytes += size
}

// Remove removes key, if it is there.
func (c *Cache[V]) Remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

func (c *Cache[V]) remove(key string) {
	if element, ok := c.byKey[key]; ok {
		delete(c.byKey, key)
		c.queue.Remove(element)
		c.bytes -= int64(len(key))
	}
}
