package sqlrevocation

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// reportSettings tells OnError which settings of the database do not keep what a
// write acknowledges. It looks at one connection: those that are set for each (such as
// synchronous of SQLite) may differ on another.
func (s *Store) reportSettings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err == nil {
		defer func() { _ = conn.Close() }()
		if s.opts.Dialect == SQLite {
			err = s.settingsOfSQLite(ctx, conn)
		} else {
			err = s.settingsOfPostgreSQL(ctx, conn)
		}
	}
	if err != nil {
		s.report("settings not read: %w", err)
	}
}

func (s *Store) report(format string, args ...any) {
	s.opts.OnError(fmt.Errorf("sqlrevocation: "+format, args...))
}

func (s *Store) settingsOfSQLite(ctx context.Context, conn *sql.Conn) error {
	var file, journal string
	var synchronous int
	err := conn.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&file)
	if err == nil {
		err = conn.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&journal)
	}
	if err == nil {
		err = conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous)
	}
	if err != nil {
		return err
	}
	if file == "" {
		s.report("the SQLite database is in memory: every revocation is lost when the program ends")
		return nil
	}
	if journal = strings.ToLower(journal); journal == "off" || journal == "memory" {
		s.report("SQLite journal_mode is %q: a crash in the midst of a write can destroy the database; want WAL or DELETE", journal)
	}
	if synchronous < 2 {
		s.report("SQLite synchronous is %d: a power cut can lose acknowledged revocations; want FULL (2) or EXTRA (3)", synchronous)
	}
	return nil
}

func (s *Store) settingsOfPostgreSQL(ctx context.Context, conn *sql.Conn) error {
	for _, setting := range []struct{ name, loses string }{
		{"synchronous_commit", "a crash of the server can lose the last acknowledged revocations"},
		{"fsync", "a power cut can lose acknowledged revocations, or the database"},
		{"full_page_writes", "a power cut can destroy the database"},
	} {
		var value string
		if err := conn.QueryRowContext(ctx, `SELECT current_setting($1)`, setting.name).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			s.report("PostgreSQL %s is off: %s", setting.name, setting.loses)
		}
	}
	return nil
}
