package replica

import "time"

// SetAhead sets how far ahead of the monotonic clock the wall clock of a copy is.
func (c *Copy) SetAhead(ahead func() time.Duration) { c.ahead = ahead }
