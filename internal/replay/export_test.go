package replay

import "github.com/seed450a7203/jwthttp/internal/clock"

// SetNow sets the clocks of a cache.
func SetNow(c *Cache, now func() clock.Moment) { c.now = now }
