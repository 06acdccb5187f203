// Package sqlrevocation keeps the revocations of jwthttp in a SQL database, so
// that they survive restarts and reach every machine. Its [Store] is a
// [revocation.Store].
//
//	db, err := sql.Open("sqlite", "file:revocations.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)")
//	...
//	store, err := sqlrevocation.Open(ctx, db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite})
//	...
//	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: issuers, Revoked: store.Revoked})
//
// A logout handler revokes the token of its request. A browser that leaves the
// page cancels the context of the request, which must not stop the logout.
// Therefore it passes [context.WithoutCancel]:
//
//	token, ok := jwthttp.TokenFromContext(r.Context())
//	...
//	err := store.RevokeToken(context.WithoutCancel(r.Context()), token)
//
// SQLite (3.35 or later) serves the programs of one machine, PostgreSQL (14 or
// later) those of many. Both pass the same tests. The caller chooses the driver;
// modernc.org/sqlite and github.com/jackc/pgx/v5/stdlib are tested.
//
// Every instance has a full copy in memory and answers from it, so a request
// needs no query. [Store.Revoke] returns when the database has committed and the
// revocation is in force on this instance. On every other instance it is in force
// within Options.Poll and the time of a query. An instance that has not heard from
// the database for Options.MaxStale returns an error for every token that it does
// not know to be revoked. Then the middleware rejects with 503, or admits if
// RevocationFailOpen is set.
//
// # What is lost when
//
// An acknowledged revocation is one for which Revoke has returned nil. It survives:
//
//	                                           SQLite                     PostgreSQL
//	crash of the program                       always                     always
//	crash of the database (kill -9)            (same as the program)      always
//	power cut, crash of the operating system   synchronous=FULL or EXTRA  fsync and full_page_writes on
//	failover to an asynchronous standby        (none)                     no, the last ones are lost
//	failover to a synchronous standby          (none)                     synchronous_standby_names set
//	restored backup                            no, later ones are lost    no, later ones are lost
//
// Writes set synchronous_commit on in their transactions, unless it is remote_apply.
// [Open] reads the other settings and tells Options.OnError which of them do not
// keep what Revoke acknowledges.
//
// Instances notice when the database has lost changes that they had, because each
// change has a random mark. They tell OnError, keep in force what they had until it
// expires or is removed, and write it back. It is lost for good only if no instance
// that had heard of it runs any more. A lost Remove has to be repeated.
//
// A Remove is in force on every instance, also if it is the first change after a
// loss. The database remembers it for a day. An instance that was out of reach for
// nearly as long may keep in force what was removed meanwhile. It does not write that
// back.
//
// # Clocks
//
// An entry is deleted when it has expired 15 minutes ago, by the clocks of the
// database and of the instance that writes. A jump of one of them deletes nothing.
// The clock of each machine decides whether an entry is in force, as in
// [revocation.List]. The clocks may differ by up to 10 minutes. The age of a copy is
// measured on one machine alone. The order of the changes does not depend on a clock.
package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Store is one instance's copy of the revocations in a database, and the way to
// change them. It is safe for concurrent use. The zero value is not usable; call
// [Open].
type Store struct {
	db       *sql.DB
	opts     Options       // with defaults, and Table without a schema
	patience time.Duration // with a question of the follower
	copy     *replica.Copy
	stmts    statements
	ended    context.Context
	done     chan struct{} // closed when the goroutines have ended

	schema string      // of PostgreSQL
	named  bool        // Options.Table names it
	path   string      // of the SQLite database, or ""
	file   os.FileInfo // at path, or nil

	// turn is held by the one write that is under way. Other writes of this
	// instance would wait in the database, each with a connection of the pool.
	turn chan struct{}

	now func() time.Time // for what is deleted

	// Of the follower.
	lost    bool // the database has lost changes, and is not loaded since
	pace    replica.Pace
	reports [2]replica.Rarely // of why everything has to be loaded, and of what was lost
}

// How long to wait for the database.
const (
	mostPatience  = 5 * time.Second  // for an answer to the follower
	loadPatience  = 10 * time.Second // for a page of a load
	writePatience = 10 * time.Second // for a write, with all its attempts
)

var _ revocation.Store = (*Store)(nil)

// Open creates the tables in db that are missing, loads all revocations, and
// follows the changes until ctx ends. After that writes fail, and the copy becomes
// stale. If Open returns an error, nothing is left running. If the database loses
// changes during the load, or its log outgrows LogLength, Open loads again, at most eight
// times in all. Open tells Options.OnError which settings of the database do not keep
// what Revoke acknowledges.
//
// The follower uses one connection of db at a time, and so do the writes; a load uses
// two more. Pass a pool that nothing else uses. Then neither a busy application nor idle
// connections that broke silently keep the follower from its work.
func Open(ctx context.Context, db *sql.DB, opts Options) (*Store, error) {
	if err := opts.check(db); err != nil {
		return nil, err
	}
	opts.defaults()
	s := &Store{
		db: db, opts: opts, ended: ctx, done: make(chan struct{}), turn: make(chan struct{}, 1),
		patience: min(opts.MaxStale/3, mostPatience),
		copy:     replica.NewCopy(opts.MaxStale),
	}
	s.schema, s.opts.Table = opts.place()
	s.named = s.schema != ""
	s.now = s.copy.Now
	if err := s.begin(ctx); err != nil {
		s.stmts.close()
		return nil, fmt.Errorf("sqlrevocation: open: %w", err)
	}
	if !opts.ReadOnly {
		s.reportSettings(ctx)
	}
	s.start(ctx)
	return s, nil
}

// start starts the goroutines of the Store, which end with ctx.
func (s *Store) start(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { s.follow(ctx) })
	if !s.opts.ReadOnly {
		running.Go(func() {
			s.copy.Heal(ctx, s.writeBack, func(err error) {
				s.report("writing back what the database has lost: %w", err)
			})
		})
	}
	go func() {
		running.Wait()
		s.stmts.close()
		close(s.done)
	}()
}

// begin does what Open does in the database.
func (s *Store) begin(ctx context.Context) error {
	attempts, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	load := func(ctx context.Context) error { return replica.First(ctx, s.load) }
	for _, step := range []func(context.Context) error{s.create, s.prepare, load} {
		if err := s.retry(attempts, func() error { return step(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// Revoke adds an entry; see [revocation.Store]. When it returns nil, the database
// has committed the entry, and it is in force on this instance. It is in force on
// the others within Options.Poll and the time of a query.
//
// Revoke gives up when ctx ends, and after 10 seconds. Until then it repeats what
// SQLite refuses because another connection has the lock. SQLite looks at ctx only
// between two waits for a lock, which take busy_timeout each.
func (s *Store) Revoke(ctx context.Context, e revocation.Entry) error {
	record, err := replica.NewRecord(e)
	return s.write(ctx, "revoke", replica.Change{Record: record}, err)
}

// RevokeToken revokes one token, as a logout does; see [revocation.Store]. It
// returns and fails as [Store.Revoke] does.
func (s *Store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	record, err := replica.OfToken(t)
	return s.write(ctx, "revoke", replica.Change{Record: record}, err)
}

// Remove deletes the entry for the tokens that e names; see [revocation.Store].
// It returns and fails as [Store.Revoke] does.
func (s *Store) Remove(ctx context.Context, e revocation.Entry) error {
	record, err := replica.NewRemoval(e)
	return s.write(ctx, "remove", replica.Change{Record: record, Removed: true}, err)
}

// Revoked reports whether t is revoked. It is a [jwthttp.RevokedFunc] that looks
// into memory. A token that the copy knows to be revoked is revoked even if the
// copy is stale. For any other token a stale copy returns an error.
func (s *Store) Revoked(_ context.Context, t *jwthttp.Token) (bool, error) {
	revoked, err := s.copy.Revoked(t)
	if err != nil {
		return false, fmt.Errorf("sqlrevocation: %w", err)
	}
	return revoked, nil
}

// Ready returns nil, or an error if the copy is older than Options.MaxStale. It
// does not ask the database.
func (s *Store) Ready(context.Context) error {
	if err := s.copy.Ready(); err != nil {
		return fmt.Errorf("sqlrevocation: %w", err)
	}
	return nil
}

// Staleness returns how long ago the copy was known to have all that the database
// had. As long as nothing fails, this is at most Options.Poll and the time of a
// query.
func (s *Store) Staleness() time.Duration { return s.copy.Staleness() }

// Stats describes the copy of this instance, for metrics.
func (s *Store) Stats() revocation.Stats { return s.copy.Stats() }

// Len returns the number of entries in force on this instance.
func (s *Store) Len() int { return s.copy.Len() }

// Wait returns when the goroutines of the Store have ended, which is soon after the
// context of Open ends.
func (s *Store) Wait() { <-s.done }

// write makes one change in the database, and then here. A non-nil invalid is why
// there is no change to make.
func (s *Store) write(ctx context.Context, verb string, change replica.Change, invalid error) error {
	if invalid == nil && s.opts.ReadOnly {
		invalid = errReadOnly
	}
	if invalid != nil {
		return fmt.Errorf("sqlrevocation: %s: %w", verb, invalid)
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	err := s.inTurn(ctx, func() error {
		return s.copy.Make(ctx, s.done, func(t *replica.Try) error { return s.try(ctx, t, change) })
	})
	if err != nil {
		return fmt.Errorf("sqlrevocation: %s: %w", verb, err)
	}
	return nil
}

var errReadOnly = errors.New("the Store is read-only, see Options.ReadOnly")

// inTurn calls do when no other write of this instance is under way.
func (s *Store) inTurn(ctx context.Context, do func() error) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for other writes: %w", ctx.Err())
	}
	if err := s.ended.Err(); err != nil {
		return fmt.Errorf("the store's context has ended: %w", err)
	}
	return do()
}

// try makes one change, and follows it with those before it.
func (s *Store) try(ctx context.Context, t *replica.Try, change replica.Change) error {
	var before replica.Position
	err := s.retry(ctx, func() (err error) {
		before, err = s.transact(ctx, t, &change)
		return err
	})
	if err != nil {
		return err
	}
	if before == t.At {
		return s.copy.Follow(t.At, change)
	}
	for !t.Followed() { // others have made changes before it
		at, ok := s.copy.Position()
		if !ok {
			return fmt.Errorf("%w: everything is being loaded", replica.ErrGap)
		}
		head, err := s.advance(ctx, at)
		if err != nil {
			return err
		}
		if head == at {
			break // followed by now, or lost
		}
	}
	return nil
}

// transact makes change in one transaction. It sets number, mark, and times as they
// are after the merge, and returns the position before the change.
func (s *Store) transact(ctx context.Context, t *replica.Try, change *replica.Change) (before replica.Position, err error) {
	tx, at, err := s.lock(ctx)
	if err != nil {
		return before, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := s.continues(ctx, tx, at.before(), t.At); err != nil {
		return before, err
	}
	t.Expect(at.Mark)
	if err := s.apply(ctx, tx, at, change); err != nil {
		return before, err
	}
	if at.Seq%trimEvery == 0 {
		if err := s.trim(ctx, tx, s.stmts.trim, at.Seq); err != nil {
			return before, err
		}
	}
	return at.before(), s.commit(tx)
}

// apply makes a change under a number. It sets the number, the mark, and the times as
// they are after the merge.
func (s *Store) apply(ctx context.Context, tx *sql.Tx, at next, change *replica.Change) (err error) {
	change.Seq, change.Mark = at.Seq, at.Mark
	r, removed := &change.Record, 0
	if change.Removed {
		removed = 1
		err = s.remove(ctx, tx, *change)
	} else {
		err = s.put(ctx, tx, r)
	}
	if err != nil {
		return err
	}
	line := []any{int64(at.Seq), int64(at.Mark), int64(at.before().Mark), r.Key, r.Identity, r.Until, r.Expires, removed}
	added, err := s.appendLog(ctx, tx, line)
	if err != nil || added {
		return err
	}
	if err := s.breakLog(ctx, tx, at.Seq); err != nil {
		return err
	}
	_, err = s.appendLog(ctx, tx, line)
	return err
}

// appendLog adds a line to the log, and reports whether the log did not have its number.
func (s *Store) appendLog(ctx context.Context, tx *sql.Tx, line []any) (added bool, err error) {
	result, err := tx.StmtContext(ctx, s.stmts.log).ExecContext(ctx, line...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// breakLog makes all instances load everything. The log has a number already: from a
// history that was lost, but perhaps not by the entries. An instance that has not followed
// that history must not follow this one from before it.
func (s *Store) breakLog(ctx context.Context, tx *sql.Tx, seq uint64) error {
	_, err := tx.StmtContext(ctx, s.stmts.unlog).ExecContext(ctx, int64(seq)-1)
	if err == nil {
		_, err = tx.StmtContext(ctx, s.stmts.renew).ExecContext(ctx, newEpoch())
	}
	return err
}

// commit commits. It looks at the file afterwards, because what is committed to a
// deleted file is lost.
func (s *Store) commit(tx *sql.Tx) error {
	if err := tx.Commit(); err != nil {
		return &commitError{err}
	}
	if err := s.sameFile(); err != nil {
		return &commitError{err}
	}
	return nil
}

// put adds an entry, and sets the times of r as they are after the merge.
func (s *Store) put(ctx context.Context, tx *sql.Tx, r *replica.Record) error {
	return tx.StmtContext(ctx, s.stmts.put).QueryRowContext(ctx, r.Key, r.Identity, r.Until, r.Expires).Scan(&r.Until, &r.Expires)
}

// remove deletes an entry, and remembers that.
func (s *Store) remove(ctx context.Context, tx *sql.Tx, change replica.Change) error {
	_, err := tx.StmtContext(ctx, s.stmts.remove).ExecContext(ctx, change.Record.Key)
	if err != nil {
		return err
	}
	removal := change.Removal()
	return s.put(ctx, tx, &removal)
}

// continues returns an error if the change at a position has no place in the
// database, which is at head. A removal must not be made without the changes that
// it may concern, nor anything be acknowledged that could not be followed.
func (s *Store) continues(ctx context.Context, tx *sql.Tx, head, at replica.Position) error {
	switch {
	case head.Epoch != at.Epoch || head.Seq < at.Seq || head.Seq == at.Seq && head != at:
		return errLost
	case head == at || at.Seq == 0:
		return nil
	}
	var mark uint64
	err := tx.StmtContext(ctx, s.stmts.mark).QueryRowContext(ctx, int64(at.Seq)).Scan(&mark)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: change %d has left the log", replica.ErrGap, at.Seq)
	case err == nil && mark != at.Mark:
		return errLost
	}
	return err
}

// next is where a transaction puts its change.
type next struct {
	replica.Position
	step uint64 // how much larger the mark is than the one before
}

// before is the position before the change.
func (n next) before() replica.Position {
	b := replica.Position{Epoch: n.Epoch, Seq: n.Seq - 1}
	if b.Seq > 0 {
		b.Mark = (n.Mark - n.step) & mostMark
	}
	return b
}

// mostMark is the largest mark.
const mostMark = 1<<62 - 1

// lock starts a transaction that has the next number. Its first statement locks
// the row of the numbers until the end of the transaction. So the next writer
// gets its number when this transaction has committed, and whoever reads a number
// has all lower ones. The tempting alternative, a serial column and "id > the last
// I have seen", misses changes: numbers are given out first and appear with the
// commit, which may be in another order.
//
// The new mark is the sum of the old one and a random number. So the one statement
// tells both.
//
// On SQLite this is what BEGIN IMMEDIATE is: a transaction that starts with a
// write waits for the lock as busy_timeout says. One that started with a read
// would fail at once when it comes to write.
func (s *Store) lock(ctx context.Context) (*sql.Tx, next, error) {
	tx, err := s.db.BeginTx(ctx, s.opts.Dialect.writing())
	if err != nil {
		return nil, next{}, err
	}
	n, err := s.number(ctx, tx)
	if err != nil {
		_ = tx.Rollback()
		return nil, next{}, err
	}
	return tx, n, nil
}

// number returns the next number.
func (s *Store) number(ctx context.Context, tx *sql.Tx) (next, error) {
	n := next{step: replica.NewMark()}
	var setting string
	err := tx.StmtContext(ctx, s.stmts.next).QueryRowContext(ctx, int64(n.step)).Scan(&n.Seq, &n.Mark, &n.Epoch, &setting)
	return n, err
}

// trimEvery is how many writes share the work of deleting what has expired.
const trimEvery = 16

// trim deletes log rows and entries that are needed no longer, up to some of each.
func (s *Store) trim(ctx context.Context, tx *sql.Tx, del deletions, seq uint64) error {
	const hour = int64(time.Hour / time.Second)
	now := s.now().Unix()
	_, err := tx.StmtContext(ctx, del.log).ExecContext(ctx, int64(seq)-int64(s.opts.LogLength), int64(seq), hour, now)
	if err == nil {
		_, err = tx.StmtContext(ctx, del.entries).ExecContext(ctx, int64(replica.KeptLonger/time.Second), now)
	}
	return err
}
