package sqlrevocation

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// reportSettings tells OnError which settings of the database do not keep what a
// write acknowledges. It looks at one connection. Settings of a connection, such
// as synchronous of SQLite, may differ on another one.
func (s *Store) reportSettings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var problems []string
	err := s.retry(ctx, func() error {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if s.opts.Dialect == SQLite {
			problems, err = problemsOfSQLite(ctx, conn)
		} else {
			problems, err = problemsOfPostgreSQL(ctx, conn)
		}
		return err
	})
	for _, problem := range problems {
		s.report("%s", problem)
	}
	if err != nil {
		s.report("cannot read the settings: %w", err)
	}
}

func (s *Store) report(format string, args ...any) {
	s.opts.OnError(fmt.Errorf("sqlrevocation: "+format, args...))
}

func problemsOfSQLite(ctx context.Context, conn *sql.Conn) ([]string, error) {
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
		return nil, err
	}
	if file == "" {
		return []string{"the SQLite database is in memory: every revocation is gone when the program ends"}, nil
	}
	var problems []string
	if journal = strings.ToLower(journal); journal == "off" || journal == "memory" {
		problems = append(problems, fmt.Sprintf("SQLite journal_mode is %q: a crash during a write can destroy the database; want WAL or DELETE", journal))
	}
	if synchronous < 2 {
		problems = append(problems, fmt.Sprintf("SQLite synchronous is %d: a power cut can lose acknowledged revocations; want FULL (2) or EXTRA (3)", synchronous))
	}
	return problems, nil
}

func problemsOfPostgreSQL(ctx context.Context, conn *sql.Conn) ([]string, error) {
	var problems []string
	for _, setting := range []struct{ name, loses string }{
		{"fsync", "a power cut can lose acknowledged revocations, or the database"},
		{"full_page_writes", "a power cut can destroy the database"},
	} {
		var value string
		if err := conn.QueryRowContext(ctx, `SELECT current_setting($1)`, setting.name).Scan(&value); err != nil {
			return nil, err
		}
		if value == "off" {
			problems = append(problems, fmt.Sprintf("PostgreSQL %s is off: %s", setting.name, setting.loses))
		}
	}
	return problems, nil
}
