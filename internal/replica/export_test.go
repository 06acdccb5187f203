package replica

import (
	"time"

	"github.com/seed450a7203/jwthttp/internal/revset"
)

// SetAhead sets how far ahead of the monotonic clock the wall clock of a copy is.
func (c *Copy) SetAhead(ahead func() time.Duration) { c.jump = ahead }

// ParseIdentity parses an identity in both ways. ok says that the fast one does it.
func ParseIdentity(identity string) (plain, all revset.Key, ok bool, err error) {
	plain, ok = plainKey(identity)
	all, err = Record{Identity: identity}.parseJSON()
	return plain, all, ok, err
}
