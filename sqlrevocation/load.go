package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// load replaces the copy by all that the database has. It reads pages, so that no
// statement takes long, and no transaction keeps the database from its work.
func (s *Store) load(ctx context.Context) error {
	err := s.sameFile()
	lost := 0
	if err == nil {
		lost, err = s.copy.Load(ctx, source{s}, s.opts.Poll)
	}
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	s.reportLoss(lost)
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

// source is the database as a copy loads it.
type source struct{ *Store }

var _ replica.Source = source{}

// Head returns where the history is.
func (s source) Head(ctx context.Context) (at replica.Position, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	err = s.retry(ctx, func() (err error) {
		at, err = position(s.stmts.meta.QueryRowContext(ctx))
		return err
	})
	return at, err
}

// position reads where the history is.
func position(row *sql.Row) (at replica.Position, err error) {
	var standby int
	err = row.Scan(&at.Epoch, &at.Seq, &at.Mark, &standby)
	if err == nil && standby != 0 {
		err = errStandby
	}
	return at, err
}

// Changes returns at most pageSize changes.
func (s source) Changes(ctx context.Context, after replica.Position) ([]replica.Change, bool, error) {
	err := s.sameFile()
	if err != nil {
		return nil, false, err
	}
	p, err := s.ask(ctx, after.Seq)
	if err != nil {
		return nil, false, err
	}
	changes, err := p.after(after)
	return changes, after.End(changes) == p.head, err
}

// Common looks for the positions in the log.
func (s source) Common(ctx context.Context, past []replica.Position) (at replica.Position, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	err = s.retry(ctx, func() (err error) {
		at, ok, err = s.common(ctx, past)
		return err
	})
	return at, ok, err
}

func (s source) common(ctx context.Context, past []replica.Position) (at replica.Position, ok bool, err error) {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return at, false, err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	head, err := position(tx.StmtContext(ctx, s.stmts.meta).QueryRowContext(ctx))
	if err != nil {
		return at, false, err
	}
	at, ok, err = replica.Newest(past, func(at replica.Position) (replica.Found, error) {
		if at.Seq > head.Seq {
			return replica.Lost, nil
		}
		var mark uint64
		err := tx.StmtContext(ctx, s.stmts.mark).QueryRowContext(ctx, int64(at.Seq)).Scan(&mark)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return replica.Trimmed, nil
		case err == nil && mark != at.Mark:
			return replica.Lost, nil
		}
		return replica.Continues, err
	})
	at.Epoch = head.Epoch // the marks tell which changes these are
	return at, ok, err
}

// CatchUp follows until the copy has all that the database had.
func (s source) CatchUp(ctx context.Context) (ok bool, err error) {
	err = s.followUp(ctx)
	if errors.Is(err, replica.ErrGap) || errors.Is(err, replica.ErrLost) {
		return false, nil
	}
	return err == nil, err
}

// Parts are two, because a driver spends much time on each row.
func (s source) Parts(ctx context.Context) ([]replica.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var now int64
	err := s.retry(ctx, func() (err error) {
		now, _, err = file(s.stmts.file.QueryRowContext(ctx))
		return err
	})
	var parts []replica.Part
	for _, from := range s.opts.Dialect.halves() {
		from.file = now
		parts = append(parts, func(ctx context.Context, at replica.Position, send func(replica.Page) error) error {
			return s.sendPages(ctx, at, from, send)
		})
	}
	return parts, err
}

// file reads the file of the entries, and how many blocks it has.
func file(row *sql.Row) (file, blocks int64, err error) {
	var number sql.NullInt64
	if err := row.Scan(&number, &blocks); err != nil {
		return 0, 0, err
	}
	if !number.Valid {
		return 0, 0, errors.New("the table of entries is partitioned, or no table")
	}
	return number.Int64, blocks, nil
}

// place is where a page of the entries begins.
type place struct {
	done bool // there are no more

	// SQLite keeps the entries in the order of their keys.
	after string
	until any // the last key, or what is more than any text

	// In PostgreSQL any order but that of the file takes many times as long.
	file  int64
	block int64
	step  int64 // how many blocks after this page the next one begins
}

// halves returns where two halves of the entries begin. Most keys begin with any of
// the 64 characters of base64url, of which 32 are less than V.
func (d Dialect) halves() [2]place {
	const middle, step = "V", 2 * entriesBlocks
	return [...]place{
		{after: "", until: middle, block: 0, step: step},
		{after: middle, until: []byte{0xff}, block: entriesBlocks, step: step},
	}
}

// sendPages sends the pages from a place on. Each has the changes since the page
// before. So the log need not be longer than what changes during one page.
func (s source) sendPages(ctx context.Context, at replica.Position, from place, send func(replica.Page) error) error {
	for !from.done {
		p, next, err := s.nextPage(ctx, at, from)
		if err == nil {
			err = send(p)
		}
		if err != nil {
			return err
		}
		at, from = at.End(p.Changes), next
	}
	return nil
}

func (s source) nextPage(ctx context.Context, at replica.Position, from place) (p replica.Page, next place, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	err = s.retry(ctx, func() (err error) {
		p, next, err = s.readPage(ctx, at, from)
		return err
	})
	return p, next, err
}

// readPage reads a page of the entries, and the changes after a position that were made
// until then. It does so in one transaction, which sees one state.
func (s source) readPage(ctx context.Context, at replica.Position, from place) (p replica.Page, next place, err error) {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.reading())
	if err != nil {
		return p, next, err
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	changes, err := s.changesAfter(ctx, tx, at)
	if err != nil {
		return p, next, err
	}
	read := s.readBlocks
	if s.opts.Dialect == SQLite {
		read = s.readKeys
	}
	records, next, err := read(ctx, tx, from)
	record := func(i int) (replica.Record, error) { return records[i], nil }
	return replica.Page{Records: len(records), Record: record, After: at, Changes: changes}, next, err
}

// changesAfter returns all changes after a position.
func (s source) changesAfter(ctx context.Context, tx *sql.Tx, at replica.Position) (all []replica.Change, err error) {
	head, err := position(tx.StmtContext(ctx, s.stmts.meta).QueryRowContext(ctx))
	for err == nil && at != head {
		var p page
		if p, err = readChanges(ctx, tx.StmtContext(ctx, s.stmts.changes), at.Seq); err != nil {
			break
		}
		var changes []replica.Change
		changes, err = p.after(at)
		all, at = append(all, changes...), at.End(changes)
	}
	return all, err
}

// readKeys reads entries in the order of their keys.
func (s source) readKeys(ctx context.Context, tx *sql.Tx, from place) (records []replica.Record, next place, err error) {
	records, err = s.readEntries(ctx, tx, from.after, from.until)
	next = from
	if n := len(records); n == entriesSize {
		next.after = records[n-1].Key
	} else {
		next.done = true
	}
	return records, next, err
}

// readBlocks reads the entries in some blocks of a table of PostgreSQL. A row that an
// UPDATE moves to another block is among the changes. VACUUM FULL and CLUSTER move rows
// to another file, all of which is read then. The rows are read first, because from
// then on the transaction keeps the file.
func (s source) readBlocks(ctx context.Context, tx *sql.Tx, from place) (records []replica.Record, next place, err error) {
	if records, err = s.readEntries(ctx, tx, from.block, from.block+entriesBlocks); err != nil {
		return nil, next, err
	}
	next = from
	var blocks int64
	if next.file, blocks, err = file(tx.StmtContext(ctx, s.stmts.file).QueryRowContext(ctx)); err != nil {
		return nil, next, err
	}
	if from.file != next.file {
		next.block, next.step = 0, entriesBlocks
		return records, next, nil
	}
	next.block += from.step
	next.done = next.block >= blocks
	return records, next, nil
}

// readEntries reads a page of the entries.
func (s source) readEntries(ctx context.Context, tx *sql.Tx, from, to any) ([]replica.Record, error) {
	rows, err := tx.StmtContext(ctx, s.stmts.entries).QueryContext(ctx, from, to)
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
