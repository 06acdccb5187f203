package sqlrevocation

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// load replaces the copy by all that the database has. It reads pages, so that no
// statement takes long, and no transaction keeps the database from its work.
func (s *Store) load(ctx context.Context) error {
	if err := s.sameFile(); err != nil {
		return err
	}
	sent := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	pages, failed := make(chan loaded), make(chan error, 1)
	go func() { // a page is on its way while the one before is added
		defer close(pages)
		failed <- s.sendPages(ctx, pages)
	}()
	defer func() {
		cancel()
		for range pages { // until the goroutine has ended
		}
	}()
	snapshot, at := new(replica.Snapshot), replica.Position{}
	for p := range pages {
		if err := p.addTo(snapshot); err != nil {
			return fmt.Errorf("loading: %w", err)
		}
		s.copy.Preview(p.changes...)
		at = p.at
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	s.reportLoss(s.copy.Install(snapshot, at, sent))
	return nil
}

// reportLoss tells OnError that the database has lost changes.
func (s *Store) reportLoss(lost int) {
	if !s.lost && lost == 0 {
		return
	}
	s.lost = false
	then := "they are being written back"
	if s.opts.ReadOnly {
		then = "an instance that is not read-only must write them back"
	}
	s.reports[1].Report(s.opts.OnError, fmt.Errorf("sqlrevocation: follow: the database has lost changes: "+
		"%d entries are in force here and not in the database; %s", s.copy.Stats().Lost, then))
}

// loaded is a page of the entries as it was at a position.
type loaded struct {
	changes []replica.Change // between the position of the page before, if there is one, and this one
	records []replica.Record
	at      replica.Position
}

// addTo adds the entries of a page, and then the changes up to it.
func (p loaded) addTo(snapshot *replica.Snapshot) error {
	for _, r := range p.records {
		if err := snapshot.Add(r); err != nil {
			return err
		}
	}
	return snapshot.Follow(p.changes...)
}

// sendPages sends all pages. Each has the changes since the page before. So the log
// need not be longer than what changes during one page.
func (s *Store) sendPages(ctx context.Context, pages chan<- loaded) error {
	p, key := loaded{}, ""
	for first := true; ; first = false {
		at := p.at
		err := s.retry(ctx, func() (err error) {
			p, err = s.readPage(ctx, at, key, first)
			return err
		})
		if err != nil {
			return err
		}
		select {
		case pages <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(p.records) < entriesSize {
			return nil
		}
		key = p.records[entriesSize-1].Key
	}
}

// readPage reads the entries after key, and the changes after a position that were
// made until then. It does so in one transaction, which sees one state.
func (s *Store) readPage(ctx context.Context, at replica.Position, key string, first bool) (p loaded, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return p, err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	if p.at, err = s.position(ctx, tx); err != nil {
		return p, err
	}
	if !first {
		if p.changes, err = s.changesBetween(ctx, tx, at, p.at); err != nil {
			return p, fmt.Errorf("while everything was loaded: %w", err)
		}
	}
	p.records, err = s.readEntries(ctx, tx, key)
	return p, err
}

// position returns where the history is.
func (s *Store) position(ctx context.Context, tx *sql.Tx) (at replica.Position, err error) {
	var standby int
	err = tx.StmtContext(ctx, s.stmts.meta).QueryRowContext(ctx).Scan(&at.Epoch, &at.Seq, &at.Mark, &standby)
	if err == nil && standby != 0 {
		err = errStandby
	}
	return at, err
}

// changesBetween returns all changes from a position to the present one.
func (s *Store) changesBetween(ctx context.Context, tx *sql.Tx, from, to replica.Position) (all []replica.Change, err error) {
	for from != to {
		p, err := readChanges(ctx, tx.StmtContext(ctx, s.stmts.changes), from.Seq)
		if err != nil {
			return nil, err
		}
		changes, err := p.after(from)
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
		last := changes[len(changes)-1]
		from.Seq, from.Mark = last.Seq, last.Mark
	}
	return all, nil
}

// readEntries reads a page of the entries after key.
func (s *Store) readEntries(ctx context.Context, tx *sql.Tx, key string) ([]replica.Record, error) {
	rows, err := tx.StmtContext(ctx, s.stmts.entries).QueryContext(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	records := make([]replica.Record, 0, entriesSize)
	for rows.Next() {
		var r replica.Record
		if err := rows.Scan(&r.Key, &r.Identity, &r.Until, &r.Expires); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, rows.Err()
}
