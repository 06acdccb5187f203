package sqlrevocation

import (
	"strings"
	"time"
)

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

// Statements returns the texts of the statements of s that are used again and again.
func Statements(s *Store) map[string]string {
	texts := map[string]string{}
	for _, p := range new(statements).all() {
		text := s.sqlText(p.text)
		texts[strings.Join(strings.Fields(text), " ")] = text
	}
	return texts
}
