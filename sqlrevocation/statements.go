package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// The statements, in the words that SQLite and PostgreSQL share. sqlText fills in
// the rest: "{t} begins a table's name, {index} is the name of the index, {now} the
// database's clock in Unix seconds, {standby} whether it is a standby, {most} the
// largest mark.
//
// No statement may scan a table. PostgreSQL makes one plan for all values of a
// parameter. So a LIMIT is a number in the text, and {now} is not a function whose
// value may change from row to row. {any} and {end} are around the rows to delete,
// which PostgreSQL finds by the index if they are an array. {clustered} makes SQLite
// keep the entries in the order of their keys. {next} says which entries are a page: in
// the order in which they are in the file, since any other takes many times as long.
const (
	// The tables, in an order such that the row of _meta says that all are there.
	createEntries = `CREATE TABLE IF NOT EXISTS "{t}" (key text PRIMARY KEY, identity text NOT NULL, until bigint NOT NULL, expires bigint NOT NULL){clustered}`
	createIndex   = `CREATE INDEX IF NOT EXISTS {index} ON "{t}" (expires)`
	createLog     = `CREATE TABLE IF NOT EXISTS "{t}_log" (seq bigint PRIMARY KEY, mark bigint NOT NULL, prev bigint NOT NULL, at bigint NOT NULL, ` +
		`key text NOT NULL, identity text NOT NULL, until bigint NOT NULL, expires bigint NOT NULL, removed bigint NOT NULL)`
	createMeta    = `CREATE TABLE IF NOT EXISTS "{t}_meta" (id bigint PRIMARY KEY CHECK (id = 1), epoch text NOT NULL, seq bigint NOT NULL, mark bigint NOT NULL)`
	createMetaRow = `INSERT INTO "{t}_meta" (id, epoch, seq, mark) VALUES (1, $1, 0, 0) ON CONFLICT DO NOTHING`

	// One row: where the history is.
	selectMeta = `SELECT epoch, seq, mark, {standby} FROM "{t}_meta" WHERE id = 1`

	// A page of the entries: in SQLite with keys after $1 and up to $2, in PostgreSQL in
	// the blocks from $1 on and before $2.
	selectEntries = `SELECT key, identity, until, expires FROM "{t}" WHERE {next}`

	// One row: the file of the entries, and how many blocks it has.
	selectFile = `SELECT {file}, {blocks}`

	// Where the history is, together with the changes from $1 on. Both are of one
	// state, because it is one statement. Without a change: one row of NULLs. A row
	// beyond the history is of one that was lost, if the log alone was not restored.
	selectChanges = `SELECT m.epoch, m.seq, m.mark, {standby}, l.seq, l.mark, l.prev, l.key, l.identity, l.until, l.expires, l.removed ` +
		`FROM "{t}_meta" m LEFT JOIN (SELECT * FROM "{t}_log" WHERE seq >= $1 ORDER BY seq LIMIT {page}) l ON l.seq <= m.seq ` +
		`WHERE m.id = 1 ORDER BY l.seq`

	updateMeta = `UPDATE "{t}_meta" SET seq = seq + 1, mark = ((mark & {most}) + $1) & {most} WHERE id = 1 RETURNING seq, mark, epoch, {guard}`
	selectMark = `SELECT mark FROM "{t}_log" WHERE seq = $1`
	lockMeta   = `UPDATE "{t}_meta" SET seq = seq WHERE id = 1 RETURNING epoch, seq, mark, {guard}`

	upsertEntry = `INSERT INTO "{t}" AS old (key, identity, until, expires) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE SET ` +
		`until = CASE WHEN excluded.until > old.until THEN excluded.until ELSE old.until END, ` +
		`expires = CASE WHEN excluded.expires > old.expires THEN excluded.expires ELSE old.expires END ` +
		`RETURNING until, expires`
	deleteEntry = `DELETE FROM "{t}" WHERE key = $1`
	insertLog   = `INSERT INTO "{t}_log" (seq, mark, prev, at, key, identity, until, expires, removed) VALUES ($1, $2, $3, {now}, $4, $5, $6, $7, $8) ` +
		`ON CONFLICT (seq) DO NOTHING`
	deleteLog = `DELETE FROM "{t}_log" WHERE seq >= $1`
	renewMeta = `UPDATE "{t}_meta" SET epoch = $1 WHERE id = 1`

	// Only what is old by the database's clock and by the caller's is deleted. A clock
	// that jumps ahead alone deletes nothing.
	//
	// Looks only at the oldest rows, so that it never searches. The newest row
	// stays, because followers recognise the history by it.
	trimLog = `DELETE FROM "{t}_log" WHERE seq {any}(SELECT seq FROM (SELECT seq, at FROM "{t}_log" ORDER BY seq LIMIT {rows}) oldest ` +
		`WHERE (seq <= $1 OR at < {now} - $3 AND at < $4 - $3) AND seq < $2){end}`
	trimEntries = `DELETE FROM "{t}" WHERE key {any}(SELECT key FROM "{t}" WHERE expires < {now} - $1 AND expires < $2 - $1 ORDER BY expires LIMIT {rows}){end}`
)

// advisoryLock is the number under which creators of tables take turns on
// PostgreSQL, where CREATE TABLE IF NOT EXISTS fails when another session
// creates the same table at that moment. It is "jwthttp" in ASCII.
const advisoryLock = 0x6a777468747470

// sqlText returns a statement for a dialect. The table's name has been checked. It
// is quoted because it may be a word of SQL.
func (s *Store) sqlText(template string) string {
	name := `"` + s.opts.Table
	words := []string{"{index}", name + `_expires"`, "{page}", fmt.Sprint(pageSize), "{most}", fmt.Sprint(mostMark)}
	if s.schema != "" {
		name = `"` + strings.ReplaceAll(s.schema, `"`, `""`) + `".` + name
	}
	words = append(words, `"{t}`, name)
	if s.opts.Dialect == SQLite {
		words = append(words, "$", "?", "{next}", fmt.Sprint("key > ?1 AND key <= ?2 ORDER BY key LIMIT ", entriesSize), "{file}", "0", "{blocks}", "0", "{clustered}", " WITHOUT ROWID", "{any}", "IN ", "{end}", "", "{standby}", "0", "{guard}", "''",
			"{now}", "CAST(strftime('%s', 'now') AS INTEGER)")
	} else {
		// The guard: a client that goes silent in its transaction has the lock. It
		// must not stop all others until its connection is found dead. And COMMIT
		// returns when the change is on the disk, as the setting says to the others.
		table := `'` + strings.ReplaceAll(name, `'`, `''`) + `"'::regclass`
		words = append(words, "{next}", "ctid >= ('(' || $1::bigint || ',0)')::tid AND ctid < ('(' || $2::bigint || ',0)')::tid",
			"{file}", "pg_relation_filenode("+table+")::bigint", "{blocks}", "pg_relation_size("+table+") / current_setting('block_size')::bigint",
			"{clustered}", "", "{any}", "= ANY (ARRAY", "{end}", ")", "{standby}", "pg_is_in_recovery()::int",
			"{guard}", "set_config('idle_in_transaction_session_timeout', '5000', true) || "+
				"CASE WHEN current_setting('synchronous_commit') <> 'remote_apply' THEN set_config('synchronous_commit', 'on', true) ELSE '' END",
			"{now}", "extract(epoch FROM statement_timestamp())::bigint")
	}
	return strings.NewReplacer(words...).Replace(template)
}

// statements are prepared once on every connection of the pool, when they are
// first used there.
type statements struct {
	meta, changes    *sql.Stmt
	entries, file    *sql.Stmt
	next, mark, lock *sql.Stmt
	put, remove, log *sql.Stmt
	unlog, renew     *sql.Stmt // see breakLog
	trim, clean      deletions
}

// deletions delete up to some rows of the log and of the entries.
type deletions struct{ log, entries *sql.Stmt }

// How many rows of each table are deleted at once.
const (
	trimMost  = 4 * trimEvery // by a write
	cleanMost = 1000          // by a follower
)

// all returns the statements with their texts.
func (st *statements) all() []preparation {
	rows := func(text string, most int) string { return strings.ReplaceAll(text, "{rows}", fmt.Sprint(most)) }
	return []preparation{
		{&st.meta, selectMeta}, {&st.changes, selectChanges},
		{&st.entries, selectEntries}, {&st.file, selectFile},
		{&st.next, updateMeta}, {&st.mark, selectMark}, {&st.lock, lockMeta},
		{&st.put, upsertEntry}, {&st.remove, deleteEntry}, {&st.log, insertLog},
		{&st.unlog, deleteLog}, {&st.renew, renewMeta},
		{&st.trim.log, rows(trimLog, trimMost)}, {&st.trim.entries, rows(trimEntries, trimMost)},
		{&st.clean.log, rows(trimLog, cleanMost)}, {&st.clean.entries, rows(trimEntries, cleanMost)},
	}
}

type preparation struct {
	stmt **sql.Stmt
	text string
}

// prepare may be called again after an error.
func (s *Store) prepare(ctx context.Context) error {
	s.stmts.close()
	for _, p := range s.stmts.all() {
		var err error
		if *p.stmt, err = s.db.PrepareContext(ctx, s.sqlText(p.text)); err != nil {
			return fmt.Errorf("preparing: %w", err)
		}
	}
	return nil
}

func (st *statements) close() {
	for _, p := range st.all() {
		if *p.stmt != nil {
			_ = (*p.stmt).Close()
		}
	}
}

// create makes the tables that are missing. If all are there, it needs no right to.
//
// Only Open does this. A follower whose tables have gone keeps asking for them. If
// it made them anew, they could be in the way of a backup that is being restored.
func (s *Store) create(ctx context.Context) error {
	if err := s.findPlace(ctx); err != nil {
		return err
	}
	err := s.tablesAreThere(ctx)
	if err == nil || s.opts.ReadOnly {
		return err
	}
	return s.createTables(ctx)
}

func (s *Store) tablesAreThere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var at replica.Position
	var standby int
	return s.db.QueryRowContext(ctx, s.sqlText(selectMeta)).Scan(&at.Epoch, &at.Seq, &at.Mark, &standby)
}

func (s *Store) createTables(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if s.opts.Dialect == SQLite {
		// Without a transaction: one that reads the schema first cannot wait for a
		// writer.
		return s.createWith(ctx, s.db)
	}
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.writing())
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var standby bool
	if err := tx.QueryRowContext(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby); err != nil {
		return err
	}
	if standby {
		return errStandby
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(advisoryLock)); err != nil {
		return err
	}
	// Another instance may have been faster, and may be writing already. To create
	// what is there could wait for its lock, and that instance for ours.
	if err := s.findSchema(ctx, tx); err != nil {
		return err
	}
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, s.sqlText(`"{t}_meta"`)).Scan(&there); err != nil {
		return err
	}
	if there {
		err := tx.QueryRowContext(ctx, s.sqlText(`SELECT count(*) > 0 FROM "{t}_meta"`)).Scan(&there)
		if err != nil || there {
			return err
		}
	}
	if err := s.createWith(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *Store) createWith(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}) error {
	for _, text := range []string{createEntries, createIndex, createLog, createMeta} {
		if _, err := db.ExecContext(ctx, s.sqlText(text)); err != nil {
			return err
		}
	}
	_, err := db.ExecContext(ctx, s.sqlText(createMetaRow), newEpoch())
	return err
}

// errStandby: the answers of a standby are old by an unknown time. A copy that
// follows one would count as fresh.
var errStandby = errors.New("the server is a standby; its primary is needed")
