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
// written to no longer. cleanMost is how many rows of each table it deletes at once.
const (
	cleanEvery = time.Minute
	cleanMost  = 1000
)

// pageSize is how many changes are read at once.
const pageSize = 1000

func newEpoch() string { return rand.Text() }

// errLost says that the database has not all the changes that it had.
var errLost = errors.New("the database has lost changes (a restored backup, or a failover); those this instance knows stay in force here")

// follow keeps the copy up to date until ctx ends.
func (s *Store) follow(ctx context.Context) {
	defer close(s.done)
	defer s.stmts.close()
	timer := time.NewTimer(s.opts.Poll)
	defer timer.Stop()
	pause := firstPause
	for cleaned := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		err := s.catchUp(ctx)
		if err == nil && start.Sub(cleaned) > cleanEvery {
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
			s.report("follow: %w", err)
			timer.Reset(pause + mathrand.N(pause/2))
			pause = min(2*pause, longestPause)
		}
	}
}

// catchUp brings the copy up to what the database had when it was asked last.
func (s *Store) catchUp(ctx context.Context) error {
	for {
		s.mu.Lock()
		at, lossy := s.at, s.lossy
		newest := s.newestMade()
		s.mu.Unlock()
		if lossy {
			return s.load(ctx)
		}
		sent := time.Now()
		changes, err := s.ask(ctx, at.seq)
		if err != nil {
			return err
		}
		err = s.compare(changes, at, newest)
		if err == nil {
			err = s.make(changes)
		}
		switch {
		case errors.Is(err, errLost) || errors.Is(err, replica.ErrLost):
			s.mu.Lock()
			s.lossy = true // also if loading fails the first time
			s.mu.Unlock()
			s.report("follow: %w", err)
			return s.load(ctx)
		case errors.Is(err, replica.ErrGap):
			s.report("follow: %w: loading everything again", err)
			return s.load(ctx)
		case err != nil:
			return err
		}
		if changes.last() == changes.head.seq {
			s.copy.Heard(sent)
			return nil
		}
	}
}

// newestMade is the highest number made here that has not come back yet.
func (s *Store) newestMade() (newest uint64) {
	for seq := range s.made {
		newest = max(newest, seq)
	}
	return newest
}

// page is what the database answered.
type page struct {
	head position // where its history is
	rows []row
}

// row is a row of the log.
type row struct {
	replica.Change
	mark int64
}

func (p page) last() uint64 {
	if len(p.rows) == 0 {
		return 0
	}
	return p.rows[len(p.rows)-1].Seq
}

// ask reads the changes from number from on.
func (s *Store) ask(ctx context.Context, from uint64) (page, error) {
	// A connection whose other end is gone may stay silent for hours.
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var p page
	err := s.retry(ctx, func() (err error) {
		p, err = s.readChanges(ctx, from)
		return err
	})
	return p, err
}

func (s *Store) readChanges(ctx context.Context, from uint64) (page, error) {
	rows, err := s.stmts.changes.QueryContext(ctx, int64(from), pageSize)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = rows.Close() }()
	var p page
	none := true
	for rows.Next() {
		var standby int
		var seq, mark, until, expires, removed sql.NullInt64
		var key, identity sql.NullString
		if err := rows.Scan(&p.head.epoch, &p.head.seq, &p.head.mark, &standby, &seq, &mark, &key, &identity, &until, &expires, &removed); err != nil {
			return page{}, err
		}
		if standby != 0 {
			return page{}, errStandby
		}
		none = false
		if seq.Valid {
			record := replica.Record{Key: key.String, Identity: identity.String, Until: until.Int64, Expires: expires.Int64}
			p.rows = append(p.rows, row{replica.Change{Seq: uint64(seq.Int64), Record: record, Removed: removed.Int64 != 0}, mark.Int64})
		}
	}
	if err := rows.Err(); err != nil {
		return page{}, err
	}
	if none {
		return page{}, fmt.Errorf("table %q has no row", s.opts.Table+"_meta")
	}
	return p, nil
}

// compare compares an answer with what was known before the question: where the
// copy was, and the newest number made here.
//
// The question includes the last change that the copy has. Numbers appear in their
// order (see lock), so no change before it is missing. But a database that has lost
// changes may have made as many others since, under the same numbers. The mark of
// the change shows that.
func (s *Store) compare(p page, at position, newest uint64) error {
	if p.head.epoch != at.epoch || p.head.seq < max(at.seq, newest) {
		return errLost
	}
	if at.seq > 0 {
		if len(p.rows) == 0 || p.rows[0].Seq != at.seq {
			return fmt.Errorf("%w: change %d has left the log", replica.ErrGap, at.seq)
		}
		if p.rows[0].mark != at.mark {
			return errLost
		}
	} else if len(p.rows) == 0 && p.head.seq > 0 {
		return fmt.Errorf("%w: the log is empty", replica.ErrGap)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range p.rows {
		if mark, ok := s.made[r.Seq]; ok && mark != r.mark {
			return errLost
		}
	}
	return nil
}

// make makes the changes in the copy.
func (s *Store) make(p page) error {
	for _, r := range p.rows {
		if err := s.copy.Follow(r.Change); err != nil {
			return err
		}
		s.mu.Lock()
		s.at.seq, s.at.mark = r.Seq, r.mark
		delete(s.made, r.Seq)
		s.mu.Unlock()
	}
	return nil
}

// load replaces the copy by all that the database has.
func (s *Store) load(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Loading may take long, but a single row must not.
	silence := time.AfterFunc(s.patience, func() { cancel(context.DeadlineExceeded) })
	defer silence.Stop()
	err := s.loadBefore(ctx, silence)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // why, where the driver says "canceled"
	}
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	return nil
}

func (s *Store) loadBefore(ctx context.Context, silence *time.Timer) error {
	s.mu.Lock()
	newest := s.newestMade()
	s.mu.Unlock()
	sent := time.Now()
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	var head position
	var standby int
	if err := tx.StmtContext(ctx, s.stmts.meta).QueryRowContext(ctx).Scan(&head.epoch, &head.seq, &head.mark, &standby); err != nil {
		return err
	}
	if standby != 0 {
		return errStandby
	}
	snapshot, err := s.readEntries(ctx, tx, silence)
	if err != nil {
		return err
	}
	s.install(snapshot, head, sent, newest)
	return nil
}

func (s *Store) readEntries(ctx context.Context, tx *sql.Tx, silence *time.Timer) (*replica.Snapshot, error) {
	rows, err := tx.StmtContext(ctx, s.stmts.entries).QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	snapshot := new(replica.Snapshot)
	for rows.Next() {
		silence.Reset(s.patience)
		var r replica.Record
		if err := rows.Scan(&r.Key, &r.Identity, &r.Until, &r.Expires); err != nil {
			return nil, err
		}
		if err := snapshot.Add(r); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return snapshot, nil
}

// install replaces the copy by a snapshot that was asked for at sent.
func (s *Store) install(snapshot *replica.Snapshot, head position, sent time.Time, newest uint64) {
	s.mu.Lock()
	lost := s.at.epoch != "" && (head.epoch != s.at.epoch || head.seq < max(s.at.seq, newest))
	known := s.lossy
	s.copy.Install(snapshot, head.seq, sent, lost || known)
	s.at, s.lossy = head, false
	for seq := range s.made {
		if lost || known || seq <= head.seq {
			delete(s.made, seq)
		}
	}
	s.mu.Unlock()
	if lost && !known {
		s.report("follow: %w", errLost)
	}
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
	var seq uint64
	var setting string
	if err := tx.StmtContext(ctx, s.stmts.lock).QueryRowContext(ctx).Scan(&seq, &setting); err != nil {
		return err
	}
	if err := s.trim(ctx, tx, seq, cleanMost); err != nil {
		return err
	}
	return tx.Commit()
}
