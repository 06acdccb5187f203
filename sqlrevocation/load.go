package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// load replaces the copy by all that the database has. It reads pages, so that no
// statement takes long, and no transaction keeps the database from its work. Meanwhile
// the copy follows, if the log has a change that it has.
func (s *Store) load(ctx context.Context) error {
	err := s.sameFile()
	if err == nil {
		err = s.loadAll(ctx)
	}
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	return nil
}

func (s *Store) loadAll(ctx context.Context) error {
	follows, err := s.rejoin(ctx)
	if err != nil {
		return err
	}
	m := &meanwhile{Store: s, follows: follows, tick: time.NewTicker(s.opts.Poll)}
	defer m.tick.Stop()
	snapshot := s.copy.NewSnapshot()
	last, err := m.readPages(ctx, snapshot)
	if err != nil {
		return err
	}
	for snapshot.Settle() {
		m.follow(ctx)
	}
	at, err := m.join(ctx, snapshot, last.at)
	if err != nil {
		return err
	}
	for more := true; more; m.follow(ctx) {
		if more, err = s.copy.Merge(); err != nil {
			return err
		}
	}
	if lost, ok := s.copy.Install(snapshot, at, last.sent); ok {
		s.reportLoss(lost)
	}
	return nil
}

// meanwhile follows while everything is loaded.
type meanwhile struct {
	*Store
	follows bool // there is a position to follow from
	tick    *time.Ticker
}

// follow follows if it is time to.
func (m *meanwhile) follow(ctx context.Context) {
	select {
	case <-m.tick.C:
		m.followNow(ctx)
	default:
	}
}

func (m *meanwhile) followNow(ctx context.Context) {
	if !m.follows {
		return
	}
	if ok, err := m.rejoin(ctx); err == nil { // otherwise the next page may fail, too
		m.follows = ok
	}
}

// join follows what has changed since the last page, until the snapshot is where the
// copy is. It returns the position.
func (m *meanwhile) join(ctx context.Context, snapshot *replica.Snapshot, at replica.Position) (replica.Position, error) {
	var changes []replica.Change
	for {
		joined, err := m.copy.Join(snapshot, at, changes...)
		if at = end(at, changes); err != nil || joined {
			return at, err
		}
		m.followNow(ctx)
		p, err := m.ask(ctx, at.Seq)
		if err == nil {
			changes, err = p.after(at)
		}
		if err != nil {
			return at, err
		}
	}
}

// readPages reads all entries, and with each page the changes since the page before. It
// returns the last page.
func (m *meanwhile) readPages(ctx context.Context, snapshot *replica.Snapshot) (last loaded, err error) {
	ctx, cancel := context.WithCancel(ctx)
	pages, failed := make(chan loaded), make(chan error, 1)
	go func() { // a page is on its way while the one before is added
		defer close(pages)
		failed <- m.sendPages(ctx, pages)
	}()
	defer func() {
		cancel()
		for range pages { // until the goroutine has ended
		}
	}()
	for {
		select {
		case p, ok := <-pages:
			if !ok {
				return last, <-failed
			}
			if err := p.addTo(snapshot); err != nil {
				return last, err
			}
			m.copy.Preview(p.changes...)
			last = p
		case <-m.tick.C:
			m.followNow(ctx)
		}
	}
}

// rejoin makes the copy follow again from where it is, or from the newest change that
// it and the database have. It returns false if there is none in the log.
func (s *Store) rejoin(ctx context.Context) (ok bool, err error) {
	if _, ok := s.copy.Position(); ok {
		if ok, err := s.followAll(ctx); ok || err != nil {
			return ok, err
		}
	}
	past := s.copy.Past()
	if len(past) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var at replica.Position
	err = s.retry(ctx, func() (err error) {
		at, ok, err = s.common(ctx, past)
		return err
	})
	if err != nil || !ok {
		return false, err
	}
	s.copy.Rejoin(at)
	return s.followAll(ctx)
}

// followAll is catchUp during a load. It returns false if the database does not
// continue from where the copy is.
func (s *Store) followAll(ctx context.Context) (ok bool, err error) {
	err = s.followUp(ctx)
	if errors.Is(err, replica.ErrGap) || errors.Is(err, replica.ErrLost) {
		return false, nil
	}
	return err == nil, err
}

// common returns the newest of some positions that the database has in its log, or
// false.
func (s *Store) common(ctx context.Context, past []replica.Position) (at replica.Position, ok bool, err error) {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return at, false, err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	head, err := s.position(ctx, tx)
	if err != nil {
		return at, false, err
	}
	for _, at := range past {
		if at.Seq > head.Seq {
			continue
		}
		at.Epoch = head.Epoch // the marks tell which changes these are
		var mark uint64
		err := tx.StmtContext(ctx, s.stmts.mark).QueryRowContext(ctx, int64(at.Seq)).Scan(&mark)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return at, false, nil // nor does the log have older ones
		case err != nil || mark == at.Mark:
			return at, err == nil, err
		}
	}
	return at, false, nil
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
	sent    time.Time
	changes []replica.Change // between the position of the page before, if there is one, and this one
	records []replica.Record
	at      replica.Position
	next    place
	last    bool // there are no more entries
}

// place is where a page of the entries begins.
type place struct {
	key   string // in SQLite: after this one
	file  int64  // in PostgreSQL: the file
	block int64  // and a block of it
}

// addTo adds the entries of a page, and then the changes up to it.
func (p loaded) addTo(snapshot *replica.Snapshot) error {
	err := snapshot.AddAll(len(p.records), func(i int) (replica.Record, error) { return p.records[i], nil })
	if err != nil {
		return err
	}
	return snapshot.Follow(p.changes...)
}

// sendPages sends all pages. Each has the changes since the page before. So the log
// need not be longer than what changes during one page.
func (s *Store) sendPages(ctx context.Context, pages chan<- loaded) error {
	for before, first := (loaded{}), true; !before.last; first = false {
		var p loaded
		err := s.retry(ctx, func() (err error) {
			p, err = s.readPage(ctx, before, first)
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
		before = p
	}
	return nil
}

// readPage reads the entries after a page, and the changes that were made meanwhile. It
// does so in one transaction, which sees one state.
func (s *Store) readPage(ctx context.Context, before loaded, first bool) (p loaded, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	p.sent = time.Now()
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return p, err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	if p.at, err = s.position(ctx, tx); err != nil {
		return p, err
	}
	if !first {
		if p.changes, err = s.changesBetween(ctx, tx, before.at, p.at); err != nil {
			return p, fmt.Errorf("while everything was loaded: %w", err)
		}
	}
	if s.opts.Dialect == SQLite {
		err = s.readRows(ctx, tx, &p, before.next)
	} else {
		err = s.readBlocks(ctx, tx, &p, before.next)
	}
	return p, err
}

// readRows reads the entries after a key.
func (s *Store) readRows(ctx context.Context, tx *sql.Tx, p *loaded, from place) (err error) {
	p.records, err = s.readEntries(ctx, tx, from.key)
	if n := len(p.records); n == entriesSize {
		p.next.key = p.records[n-1].Key
	} else {
		p.last = true
	}
	return err
}

// readBlocks reads the entries in some blocks of a table of PostgreSQL. A row that an
// UPDATE moves to another block is among the changes. VACUUM FULL and CLUSTER move rows
// to another file, which is read from its beginning. The rows are read first, because
// the transaction keeps the file from then on.
func (s *Store) readBlocks(ctx context.Context, tx *sql.Tx, p *loaded, from place) (err error) {
	if p.records, err = s.readEntries(ctx, tx, from.block); err != nil {
		return err
	}
	p.next.block = from.block + entriesBlocks
	var blocks int64
	if err := tx.StmtContext(ctx, s.stmts.file).QueryRowContext(ctx).Scan(&p.next.file, &blocks); err != nil {
		return err
	}
	if from.block > 0 && p.next.file != from.file {
		p.next.block = 0
	} else {
		p.last = p.next.block >= blocks
	}
	return nil
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
		from = end(from, changes)
	}
	return all, nil
}

// end is the position of the last change, or at if there is none.
func end(at replica.Position, changes []replica.Change) replica.Position {
	for _, change := range changes {
		at.Seq, at.Mark = change.Seq, change.Mark
	}
	return at
}

// readEntries reads a page of the entries.
func (s *Store) readEntries(ctx context.Context, tx *sql.Tx, from any) ([]replica.Record, error) {
	rows, err := tx.StmtContext(ctx, s.stmts.entries).QueryContext(ctx, from)
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
