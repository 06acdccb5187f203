package sqlrevocation

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// Pauses after a failure: doubling, each up to half longer by chance, so that the
// instances do not all come back to a database at the same moments.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// cleanEvery is how often a follower deletes what has expired, for tables that are
// written to no longer.
const cleanEvery = time.Minute

// How many rows are read at once.
const (
	pageSize      = 1000 // of the log
	entriesSize   = 5000 // of the entries in SQLite
	entriesBlocks = 128  // of the entries in PostgreSQL: some 5,000 rows
)

func newEpoch() string { return rand.Text() }

// errLost says that the database has not all the changes that it had.
var errLost = fmt.Errorf("database: %w (a restored backup, or a failover)", replica.ErrLost)

// follow keeps the copy up to date until ctx ends.
func (s *Store) follow(ctx context.Context) {
	timer := time.NewTimer(s.opts.Poll)
	defer timer.Stop()
	pause := firstPause
	for cleaned := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.copy.Broken():
		}
		start := time.Now()
		err := s.catchUp(ctx)
		if err == nil && start.Sub(cleaned) > cleanEvery && !s.opts.ReadOnly {
			cleaned = start
			err = s.clean(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			pause = firstPause
			// From start, so that the time of a query is not added to every Poll.
			timer.Reset(max(0, s.opts.Poll-time.Since(start)))
		default:
			if errors.Is(err, replica.ErrLost) || errors.Is(err, replica.ErrGap) { // during a load
				s.reports[0].Report(s.opts.OnError, fmt.Errorf("sqlrevocation: follow: %w", err))
			} else {
				s.report("follow: %w", err)
			}
			timer.Reset(pause + mathrand.N(pause/2))
			pause = min(2*pause, longestPause)
		}
	}
}

// catchUp brings the copy up to what the database had when it was asked last.
func (s *Store) catchUp(ctx context.Context) error {
	if _, ok := s.copy.Position(); !ok || s.copy.Loading() {
		return s.load(ctx)
	}
	err := s.followUp(ctx)
	lost := errors.Is(err, replica.ErrLost)
	if !lost && !errors.Is(err, replica.ErrGap) {
		return err
	}
	s.lost = s.lost || lost // also if loading fails the first time
	s.reports[0].Report(s.opts.OnError, fmt.Errorf("sqlrevocation: follow: %w: loading everything again", err))
	if err := sleep(ctx, s.pace.Next(s.opts.MaxStale)); err != nil {
		return err
	}
	return s.load(ctx)
}

// followUp is catchUp without a load. If it returns ErrLost or ErrGap, the copy has to
// be loaded.
func (s *Store) followUp(ctx context.Context) error {
	for {
		sent := time.Now()
		at, ok := s.copy.Position()
		if !ok {
			return fmt.Errorf("%w: a write has found that", replica.ErrGap)
		}
		if err := s.sameFile(); err != nil {
			return err
		}
		head, err := s.advance(ctx, at)
		switch {
		case errors.Is(err, replica.ErrLost) || errors.Is(err, replica.ErrGap):
			if !s.copy.Break(at) {
				continue // a write has followed meanwhile
			}
			return err
		case err != nil:
			return err
		}
		if now, ok := s.copy.Position(); ok && now.Seq >= head.Seq {
			s.copy.Heard(sent)
			return nil
		}
	}
}

// sleep returns an error if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// advance follows some of the changes after a position, and returns where the
// database is.
func (s *Store) advance(ctx context.Context, at replica.Position) (head replica.Position, err error) {
	p, err := s.ask(ctx, at.Seq)
	if err != nil {
		return head, err
	}
	changes, err := p.after(at)
	if err != nil {
		return head, err
	}
	return p.head, s.copy.Follow(at, changes...)
}

// page is what the database answered.
type page struct {
	head replica.Position // where its history is
	rows []logRow
}

// logRow is a change, and the mark of the one before it.
type logRow struct {
	replica.Change
	prev uint64
}

// after returns the changes after a position, from which on the database was asked.
//
// The question includes the last change that the copy has. Numbers appear in their
// order (see lock), so no change before it is missing. But a database that has lost
// changes may have made as many others since, under the same numbers. The mark of
// the change shows that. If the log alone was lost, or all but the log, the log may
// be of two histories. The mark of the one before shows that.
func (p page) after(at replica.Position) ([]replica.Change, error) {
	rows := p.rows
	switch {
	case p.head == at:
		return nil, nil // also if the log is empty
	case p.head.Epoch != at.Epoch || p.head.Seq <= at.Seq:
		return nil, errLost
	case at.Seq > 0 && (len(rows) == 0 || rows[0].Seq != at.Seq):
		return nil, fmt.Errorf("%w: change %d has left the log", replica.ErrGap, at.Seq)
	case at.Seq > 0 && rows[0].Mark != at.Mark:
		return nil, errLost
	case at.Seq > 0:
		rows = rows[1:]
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: the log has nothing after %d of %d", replica.ErrGap, at.Seq, p.head.Seq)
	}
	changes := make([]replica.Change, len(rows))
	for i, row := range rows {
		changes[i] = row.Change
		end := at.End(changes[:i])
		if end.Seq > 0 && row.Seq == end.Seq+1 && row.prev != end.Mark || row.Seq == p.head.Seq && row.Mark != p.head.Mark {
			return nil, errLost
		}
	}
	return changes, nil
}

// ask reads the changes from number from on.
func (s *Store) ask(ctx context.Context, from uint64) (page, error) {
	// A connection whose other end is gone may stay silent for hours.
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var p page
	err := s.retry(ctx, func() (err error) {
		p, err = readChanges(ctx, s.stmts.changes, from)
		return err
	})
	return p, err
}

func readChanges(ctx context.Context, changes *sql.Stmt, from uint64) (page, error) {
	rows, err := changes.QueryContext(ctx, int64(from))
	if err != nil {
		return page{}, err
	}
	defer func() { _ = rows.Close() }()
	var p page
	none := true
	for rows.Next() {
		var standby int
		var seq, mark, prev, until, expires, removed sql.NullInt64
		var key, identity sql.NullString
		if err := rows.Scan(&p.head.Epoch, &p.head.Seq, &p.head.Mark, &standby, &seq, &mark, &prev, &key, &identity, &until, &expires, &removed); err != nil {
			return page{}, err
		}
		if standby != 0 {
			return page{}, errStandby
		}
		none = false
		if seq.Valid {
			record := replica.Record{Key: key.String, Identity: identity.String, Until: until.Int64, Expires: expires.Int64}
			change := replica.Change{Seq: uint64(seq.Int64), Mark: uint64(mark.Int64), Record: record, Removed: removed.Int64 != 0}
			p.rows = append(p.rows, logRow{change, uint64(prev.Int64)})
		}
	}
	if err := rows.Err(); err != nil {
		return page{}, err
	}
	if none {
		return page{}, errors.New("the table that ends in \"_meta\" has no row")
	}
	return p, nil
}

// clean deletes what has expired. It locks as a write does, or an entry that a
// write extends at that moment could be deleted.
func (s *Store) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	if err := s.retry(ctx, func() error { return s.cleanOnce(ctx) }); err != nil {
		return fmt.Errorf("deleting what has expired: %w", err)
	}
	return nil
}

func (s *Store) cleanOnce(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.writing())
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	head, err := s.head(ctx, tx)
	if err != nil {
		return err
	}
	if err := s.trim(ctx, tx, s.stmts.clean, head.Seq); err != nil {
		return err
	}
	return tx.Commit()
}
