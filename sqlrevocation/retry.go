package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// Pauses between two attempts: doubling, each up to half longer by chance, so that
// waiting writers do not all come back at the same moments.
const (
	firstWait   = 2 * time.Millisecond
	longestWait = 50 * time.Millisecond
)

// retry calls do until it succeeds, until it fails for a reason that time does not
// cure, or until ctx ends. It returns the last error. SQLite needs it: without a
// busy_timeout, and in some states with one, a statement fails at once if another
// connection has the lock.
func (s *Store) retry(ctx context.Context, do func() error) error {
	for pause := firstWait; ; pause = min(2*pause, longestWait) {
		err := do()
		if err == nil || s.opts.Dialect != SQLite || !mayPass(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause + rand.N(pause/2)):
		}
	}
}

// commitError is the error of a COMMIT, after which it may be unknown whether the
// transaction was committed.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

// Primary result codes of SQLite (https://sqlite.org/rescode.html) that say that
// another connection was in the way, and that nothing was changed.
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteProtocol = 15
	sqliteSchema   = 17
)

// mayPass reports whether an error of SQLite may be gone at the next attempt, and
// nothing has been committed. If the driver's errors have no result code, every
// error may be one of a busy database, except where that could commit twice.
func mayPass(err error) bool {
	if errors.Is(err, replica.ErrGap) || errors.Is(err, replica.ErrLost) {
		return false
	}
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case sqliteBusy, sqliteLocked, sqliteProtocol, sqliteSchema:
			return true
		}
		return false
	}
	var commit *commitError
	return !errors.As(err, &commit) && !errors.Is(err, sql.ErrNoRows)
}
