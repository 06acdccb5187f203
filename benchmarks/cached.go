package benchmarks

import (
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// CachedOptions is OurOptions with a cache of the given size.
func CachedOptions(f *Fixture, size int) jwthttp.Options {
	o := OurOptions(f)
	o.CacheSize = size
	return o
}

// cacheSize is more than any benchmark has different tokens for, except for
// those that are about a full cache.
const cacheSize = 1024

func cachedContenders() []Contender {
	return []Contender{{Name: Cached, Guard: cached}, {Name: CachedFlat, Guard: cachedFlat}}
}

// cached has claims with slices, which each request gets a copy of.
func cached(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs(CachedOptions(f, cacheSize), func(c Claims) string { return c.Role }, next)
}

func cachedFlat(f *Fixture, next http.Handler) (http.Handler, error) {
	return GuardOurs(CachedOptions(f, cacheSize), func(c FlatClaims) string { return c.Role }, next)
}
