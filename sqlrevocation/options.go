package sqlrevocation

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// Dialect is the kind of a database.
type Dialect uint8

// The supported databases.
const (
	SQLite     Dialect = iota + 1 // 3.35 or later, on a local disk
	PostgreSQL                    // 14 or later, the primary
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return fmt.Sprintf("Dialect(%d)", uint8(d))
}

// reading returns options with which several statements see one state of the
// database. Every transaction of SQLite does, and its drivers know no other level.
func (d Dialect) reading() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	return &sql.TxOptions{ReadOnly: true}
}

// writing returns options with which a transaction sees what was committed while it
// waited for the lock. The default level of the database may be another one.
func (d Dialect) writing() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// Options configures a [Store].
type Options struct {
	_ struct{}

	// Dialect is the kind of the database. It is required, because it cannot be
	// read from a *sql.DB.
	Dialect Dialect

	// Table is the name of the table of entries: at most 40 letters, digits and
	// underscores, case-sensitive. If empty, "jwthttp_revocations". Two more tables
	// have "_log" and "_meta" appended to it, an index "_expires". If the tables
	// exist, a database user with SELECT, INSERT, UPDATE and DELETE is enough.
	//
	// On PostgreSQL, "schema.table" names the schema. Without one, Open finds the
	// schema by search_path, and keeps it. It fails if another schema has such a
	// table, because instances with different search paths would share nothing.
	Table string

	// ReadOnly is for instances that only follow. Their database user needs only
	// SELECT, and the tables must exist. Revoke, RevokeToken and Remove return an
	// error. The instance does not write back what the database has lost, and deletes
	// nothing that has expired. Open does not check the settings of the database, and
	// LogLength has no effect. At least one other instance must not be read-only.
	ReadOnly bool

	// Poll is how often the database is asked for changes. With the time of a
	// query, it is the delay of a revocation on other instances. 10 ms to 1 min;
	// if zero, 1 s.
	Poll time.Duration

	// MaxStale is how old the copy may be before Revoked returns an error for
	// tokens that it does not know to be revoked. 1 s to 1 h, and at least three
	// times Poll; if zero, 30 s.
	MaxStale time.Duration

	// OnError is called with failures in the background, and by Open with settings
	// of the database that do not keep what Revoke acknowledges. Between two failures
	// that follow each other it pauses, at first for some milliseconds and later for
	// about a second. If the database has lost revocations, the
	// text says "lost"; several losses in a row are reported once a minute. It is
	// called from one goroutine at a time and must not block. If nil, errors are
	// logged by slog.Default.
	OnError func(error)

	// LogLength is how many changes the database keeps for followers. One that is
	// further behind loads everything again. Changes older than an hour are
	// deleted earlier. 100 to 10,000,000; if zero, 100,000. It should be the same
	// on all instances.
	LogLength int
}

const (
	defaultTable     = "jwthttp_revocations"
	defaultPoll      = time.Second
	defaultMaxStale  = 30 * time.Second
	defaultLogLength = 100_000
)

// The name of the table, and of its schema, is the only text that becomes part of a
// statement. Everything else is a parameter.
var (
	tableName  = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)
	schemaName = regexp.MustCompile(`^[A-Za-z0-9_]{1,63}$`)
)

// place returns the schema that Table names, or "", and the name in it.
func (o Options) place() (schema, table string) {
	if schema, table, ok := strings.Cut(o.Table, "."); ok {
		return schema, table
	}
	return "", o.Table
}

func (o *Options) defaults() {
	if o.Table == "" {
		o.Table = defaultTable
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.MaxStale == 0 {
		o.MaxStale = defaultMaxStale
	}
	if o.LogLength == 0 {
		o.LogLength = defaultLogLength
	}
	o.OnError = replica.Reporter(o.OnError)
}

// check returns all problems of o at once.
func (o Options) check(db *sql.DB) error {
	o.defaults()
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("sqlrevocation: "+format, args...))
	}
	if db == nil {
		bad("db: nil")
	}
	if o.Dialect != SQLite && o.Dialect != PostgreSQL {
		bad("Options.Dialect: %d: want SQLite or PostgreSQL", o.Dialect)
	}
	schema, table := o.place()
	switch qualified := strings.Contains(o.Table, "."); {
	case !tableName.MatchString(table), qualified && !schemaName.MatchString(schema):
		bad("Options.Table: %.80q: want 1 to 40 letters, digits and underscores, after a schema and a dot or alone", o.Table)
	case qualified && o.Dialect == SQLite:
		bad("Options.Table: %q: SQLite has no schemas", o.Table)
	}
	if o.Poll < 10*time.Millisecond || o.Poll > time.Minute {
		bad("Options.Poll: %v: want 10ms to 1m", o.Poll)
	}
	if o.MaxStale < time.Second || o.MaxStale > time.Hour {
		bad("Options.MaxStale: %v: want 1s to 1h", o.MaxStale)
	}
	if o.MaxStale < 3*o.Poll {
		bad("Options.MaxStale: %v: less than three times Poll, %v", o.MaxStale, o.Poll)
	}
	if o.LogLength < 100 || o.LogLength > 10_000_000 {
		bad("Options.LogLength: %d: want 100 to 10000000", o.LogLength)
	}
	return errors.Join(problems...)
}
