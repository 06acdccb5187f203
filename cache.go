package jwthttp

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"reflect"
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
	maxEntries, maxBytes int

	mu             sync.RWMutex
	entries        map[string]*cacheEntry // by the whole token
	bytes          int                    // of their tokens
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
	return &cache{maxEntries: size, maxBytes: size * maxCachedBytes, entries: make(map[string]*cacheEntry)}
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
	if len(e.raw) > c.maxBytes {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[e.raw]; ok {
		c.remove(old)
	}
	for len(c.entries) >= c.maxEntries || c.bytes+len(e.raw) > c.maxBytes {
		c.evict()
	}
	c.entries[e.raw] = e
	c.bytes += len(e.raw)
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
	delete(c.entries, e.raw)
	c.bytes -= len(e.raw)
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
	keys, _, e := v.issuer.findKeys(ctx, v.token, v.issuer.methods[v.token.Algorithm])
	if e != nil {
		return nil, e
	}
	for _, key := range keys {
		if sameKey(key, v.key) {
			return v, nil
		}
	}
	return nil, nil
}

// sameKey compares keys by value.
func sameKey(a, b any) bool {
	if secret, ok := a.([]byte); ok {
		other, ok := b.([]byte)
		return ok && bytes.Equal(secret, other)
	}
	public, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && !isNil(public) && public.Equal(b)
}

func isNil(v any) bool {
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

// claimsCopier returns a function that copies a *claims[T], or nil if a plain
// copy of a T shares nothing that can be changed. What cannot be copied field
// by field is decoded again from the token.
func claimsCopier[T any]() func(*Token, any) any {
	copyValue, ok := copier(reflect.TypeFor[T](), nil)
	if ok && copyValue == nil {
		if !hasValidate(reflect.TypeFor[T]()) {
			return nil
		}
		return func(_ *Token, from any) any { // Validate may change them
			c := *from.(*claims[T])
			return &c
		}
	}
	return func(t *Token, from any) any {
		c := new(claims[T])
		source := reflect.ValueOf(&from.(*claims[T]).value).Elem()
		if ok && copyValue(reflect.ValueOf(&c.value).Elem(), source) {
			return c
		}
		c = new(claims[T])
		_ = json.Unmarshal(t.payload(), &c.value) // it did decode before
		return c
	}
}

// copyFunc sets one value to a copy of another of its type. It returns false
// for one that holds something it cannot copy.
type copyFunc func(to, from reflect.Value) bool

// copier returns what copies values of type t, nil if assigning does, and
// false if nothing can from outside the type's package.
func copier(t reflect.Type, outer []reflect.Type) (copyFunc, bool) {
	for _, o := range outer {
		if o == t {
			return nil, false // a type that contains itself
		}
	}
	outer = append(outer, t)
	switch t.Kind() {
	case reflect.Struct:
		return structCopier(t, outer)
	case reflect.Pointer:
		element, ok := copier(t.Elem(), outer)
		return func(to, from reflect.Value) bool {
			if from.IsNil() {
				return true
			}
			to.Set(reflect.New(t.Elem()))
			return assign(element, to.Elem(), from.Elem())
		}, ok
	case reflect.Slice:
		element, ok := copier(t.Elem(), outer)
		return func(to, from reflect.Value) bool { return copySlice(element, to, from) }, ok
	case reflect.Map:
		key, ok := copier(t.Key(), outer)
		element, ok2 := copier(t.Elem(), outer)
		return func(to, from reflect.Value) bool { return copyMap(element, to, from) }, ok && ok2 && key == nil
	case reflect.Interface:
		return copyInterface, t.NumMethod() == 0
	case reflect.Array:
		element, ok := copier(t.Elem(), outer)
		return nil, ok && element == nil
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return nil, false
	}
	return nil, true
}

func structCopier(t reflect.Type, outer []reflect.Type) (copyFunc, bool) {
	if t == reflect.TypeFor[time.Time]() {
		return nil, true // its pointer is to a Location, which never changes
	}
	fields := make(map[int]copyFunc)
	for i := range t.NumField() {
		field := t.Field(i)
		element, ok := copier(field.Type, outer)
		if !ok || element != nil && !field.IsExported() {
			return nil, false
		}
		if element != nil {
			fields[i] = element
		}
	}
	if len(fields) == 0 {
		return nil, true
	}
	return func(to, from reflect.Value) bool {
		to.Set(from)
		for i, element := range fields {
			to.Field(i).SetZero()
			if !element(to.Field(i), from.Field(i)) {
				return false
			}
		}
		return true
	}, true
}

func assign(element copyFunc, to, from reflect.Value) bool {
	if element != nil {
		return element(to, from)
	}
	to.Set(from)
	return true
}

func copySlice(element copyFunc, to, from reflect.Value) bool {
	if from.IsNil() {
		return true
	}
	to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
	if element == nil {
		reflect.Copy(to, from)
		return true
	}
	for i := range from.Len() {
		if !element(to.Index(i), from.Index(i)) {
			return false
		}
	}
	return true
}

func copyMap(element copyFunc, to, from reflect.Value) bool {
	if from.IsNil() {
		return true
	}
	to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
	for entries := from.MapRange(); entries.Next(); {
		value := reflect.New(from.Type().Elem()).Elem()
		if !assign(element, value, entries.Value()) {
			return false
		}
		to.SetMapIndex(entries.Key(), value)
	}
	return true
}

// copyInterface copies what encoding/json puts into an interface.
func copyInterface(to, from reflect.Value) bool {
	v, ok := copyJSON(from.Interface())
	if v != nil {
		to.Set(reflect.ValueOf(v))
	}
	return ok
}

func copyJSON(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool, float64, string, json.Number:
		return v, true
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			var ok bool
			if list[i], ok = copyJSON(element); !ok {
				return nil, false
			}
		}
		return list, true
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, element := range v {
			var ok bool
			if object[name], ok = copyJSON(element); !ok {
				return nil, false
			}
		}
		return object, true
	}
	return nil, false
}
