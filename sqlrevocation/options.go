package sqlrevocation

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Dialect is the kind of a database.
type Dialect uint8

// The databases there are.
const (
	SQLite     Dialect = iota + 1 // 3.35 or later, on a local disk
	PostgreSQL                    // 12 or later, the primary
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

// reading is one state of the database for several statements. A transaction of
// SQLite is that anyway, and its drivers know no other level.
func (d Dialect) reading() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	return &sql.TxOptions{ReadOnly: true}
}

// writing must see what was committed while it waited for the lock, whatever
// level the database has for its default.
func (d Dialect) writing() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// Options says where the revocations are, and how to follow them.
type Options struct {
	_ struct{}

	// Dialect is the kind of the database. Required: it cannot be told from a
	// *sql.DB.
	Dialect Dialect

	// Table is the name of the table of entries; two more have it with "_log"
	// and "_meta" behind it, an index with "_expires". Letters, digits and
	// underscores, at most 40; upper and lower case are as written. ""
	// means "jwthttp_revocations". Tables that are there are used: a database
	// user who may not create any needs SELECT, INSERT, UPDATE and DELETE.
	Table string

	// Poll is how often the database is asked for changes, and so the delay of a
	// revocation on other instances, with the time of a query. 10 ms to 1 min;
	// 0 means 1 s.
	Poll time.Duration

	// MaxStale is how long ago the copy may have heard from the database before
	// it answers with an error. At least three times Poll, 1 s to 1 h; 0 means 30 s.
	MaxStale time.Duration

	// OnError gets what goes wrong in the background, at most about once a
	// second for one cause, and in Open the settings of the database that do not
	// keep what Revoke acknowledges. It is called from one goroutine at a time, and
	// must not block: the follower waits for it. nil drops them.
	OnError func(error)

	// LogLength is how many changes are kept for followers; one that is
	// further behind loads everything again. Changes older than an hour go
	// earlier. 100 to 10,000,000; 0 means 100,000. Use the same on all instances.
	LogLength int
}

const (
	defaultTable     = "jwthttp_revocations"
	defaultPoll      = time.Second
	defaultMaxStale  = 30 * time.Second
	defaultLogLength = 100_000
)

// tableName is all that ever gets into a statement; everything else is a parameter.
var tableName = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)

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
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
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
	if !tableName.MatchString(o.Table) {
		bad("Options.Table: %.80q: want 1 to 40 letters, digits and underscores", o.Table)
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
