package sqlrevocation

import "time"

// What tests cannot wait for, or must interrupt.
var (
	Begin   = (*Store).lock
	Clean   = (*Store).clean
	MayPass = mayPass
)

// CommitError returns err as the error of a COMMIT.
func CommitError(err error) error { return &commitError{err} }

// SetNow sets the clock by which s deletes what has expired.
func SetNow(s *Store, now func() time.Time) { s.now = now }
