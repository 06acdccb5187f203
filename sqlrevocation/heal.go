package sqlrevocation

import (
	"context"
	"database/sql"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// writeBack is a replica.WriteBack.
func (s *Store) writeBack(ctx context.Context, at replica.Position, records []replica.Record) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return s.inTurn(ctx, func() error {
		var changes []replica.Change
		err := s.retry(ctx, func() (err error) {
			changes, err = s.putBack(ctx, at, records)
			return err
		})
		if err != nil {
			return err
		}
		return s.copy.Follow(at, changes...)
	})
}

// putBack makes changes of records in one transaction, and returns all changes after
// a position.
func (s *Store) putBack(ctx context.Context, at replica.Position, records []replica.Record) ([]replica.Change, error) {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.writing())
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	head, err := s.head(ctx, tx)
	if err != nil {
		return nil, err
	}
	p, err := readChanges(ctx, tx.StmtContext(ctx, s.stmts.changes), at.Seq)
	if err != nil {
		return nil, err
	}
	changes, err := p.after(at)
	if err != nil || len(changes) > 0 && changes[len(changes)-1].Seq < head.Seq {
		return changes, err // there are more than a page of them
	}
	changed := map[string]bool{}
	for _, change := range changes {
		changed[change.Record.Key] = true
	}
	for _, record := range records {
		if changed[record.Key] {
			continue
		}
		number, err := s.number(ctx, tx)
		change := replica.Change{Record: record}
		if err == nil {
			err = s.apply(ctx, tx, number, &change)
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	if len(changes) > 0 {
		if err := s.trim(ctx, tx, s.stmts.clean, changes[len(changes)-1].Seq); err != nil {
			return nil, err
		}
	}
	return changes, s.commit(tx)
}

// head locks the row of the numbers, and returns where the history is.
func (s *Store) head(ctx context.Context, tx *sql.Tx) (head replica.Position, err error) {
	var setting string
	err = tx.StmtContext(ctx, s.stmts.lock).QueryRowContext(ctx).Scan(&head.Epoch, &head.Seq, &head.Mark, &setting)
	return head, err
}
