package replica

import (
	"time"

	"github.com/seed450a7203/jwthttp/internal/revset"
)

// SetAhead sets how far ahead of the monotonic clock the wall clock of a copy is.
func (c *Copy) SetAhead(ahead func() time.Duration) { c.jump = ahead }

// InstallAll joins a snapshot and replaces the copy by it, also if the copy is elsewhere.
func (c *Copy) InstallAll(s *Snapshot, at Position, asOf time.Time) (lost int, ok bool) {
	c.mu.Lock()
	if ok = c.join(s, at); ok {
		c.broken = true
	}
	c.mu.Unlock()
	if !ok {
		return 0, false
	}
	return c.Install(s, at, asOf)
}

// ParseIdentity parses an identity in both ways. ok says that the fast one does it.
func ParseIdentity(identity string) (plain, all revset.Key, ok bool, err error) {
	plain, ok = plainKey(identity)
	all, err = Record{Identity: identity}.parseJSON()
	return plain, all, ok, err
}
