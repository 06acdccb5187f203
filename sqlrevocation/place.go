package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// findPlace finds where the tables are, and keeps it. Connections that are opened
// later may have another search_path, and the file of SQLite may be replaced.
func (s *Store) findPlace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	if s.opts.Dialect == SQLite {
		return s.findFile(ctx)
	}
	return s.findSchema(ctx, s.db)
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// findSchema finds the schema of the tables, or where they would be created.
func (s *Store) findSchema(ctx context.Context, db querier) error {
	if s.named {
		return nil
	}
	rows, err := db.QueryContext(ctx, `SELECT n.nspname, coalesce(c.oid = to_regclass($2), false) FROM pg_class c `+
		`JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = $1 AND c.relpersistence <> 't'`,
		s.opts.Table+"_meta", `"`+s.opts.Table+`_meta"`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var found, elsewhere string
	for rows.Next() {
		var schema string
		var visible bool
		if err := rows.Scan(&schema, &visible); err != nil {
			return err
		}
		if visible {
			found = schema
		} else {
			elsewhere = schema
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if elsewhere != "" {
		return fmt.Errorf("schema %q has a table %q, which search_path does not lead to: want \"schema.table\" in Options.Table", elsewhere, s.opts.Table)
	}
	if s.schema = found; found != "" {
		return nil
	}
	var current sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&current); err != nil {
		return err
	}
	if s.schema = current.String; s.schema == "" {
		return errors.New("search_path names no schema that exists")
	}
	return nil
}

// findFile notes which file the SQLite database is. A database in memory has none,
// and neither has one that a driver keeps elsewhere.
func (s *Store) findFile(ctx context.Context) error {
	err := s.db.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&s.path)
	if err != nil || s.path == "" {
		return err
	}
	s.file, _ = os.Stat(s.path)
	return nil
}

// sameFile returns an error if the file of the SQLite database was deleted or
// replaced. The connections still have the old one, which other programs do not see.
func (s *Store) sameFile() error {
	if s.file == nil {
		return nil
	}
	file, err := os.Stat(s.path)
	if err == nil && !os.SameFile(s.file, file) {
		err = errors.New("it is another file now")
	}
	if err != nil {
		return fmt.Errorf("the SQLite file was deleted or replaced while it was in use; restart the program: %w", err)
	}
	return nil
}
