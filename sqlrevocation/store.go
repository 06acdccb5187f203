// Package sqlrevocation keeps the revocations of jwthttp in a SQL database, so
// that they survive restarts and reach every machine.
//
//	db, err := sql.Open("sqlite", "file:revocations.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)")
//	...
//	store, err := sqlrevocation.Open(ctx, db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite})
//	...
//	m, err := jwthttp.New[Claims](jwthttp.Options{Revoked: store.Revoked, ...})
//
// SQLite (3.35 or later) serves the programs of one machine, PostgreSQL (12 or
// later) those of many. Both pass the same tests. The driver is yours; tested
// are modernc.org/sqlite and github.com/jackc/pgx/v5/stdlib.
//
// Every instance has a full copy in memory and answers from it alone, so a
// request costs no query. [Store.Revoke] returns when the database has committed
// and the revocation is in force on this instance. It is in force on every other
// one within Options.Poll and the time of a query. An instance that has not
// heard from the database for Options.MaxStale answers with an error to all but
// what it knows to be revoked, and the middleware refuses with 503 (or admits,
// with FailOpen).
//
// # What is lost when
//
// An acknowledged revocation, one for which Revoke has returned nil, survives:
//
//	                                           SQLite                     PostgreSQL
//	crash of the program                       always                     always
//	crash of the database (kill -9)            is the program's           always, but synchronous_commit=off
//	power cut, crash of the operating system   synchronous=FULL or EXTRA  fsync, full_page_writes and synchronous_commit on
//	failover to an asynchronous standby        (none)                     THE LAST ONES ARE LOST
//	failover to a synchronous standby          (none)                     synchronous_commit=on, and synchronous_standby_names set
//	restored backup                            what came after it is lost
//
// [Open] reads these settings and tells Options.OnError which of them do not
// keep what Revoke acknowledges. A database that has lost changes (a backup was
// restored, an asynchronous standby took over) is noticed: OnError is told, and
// instances that had them keep them in force as long as they run.
// Instances started later do not know them: revoke again what was lost.
//
// # Clocks
//
// The database's clock decides when an expired entry is deleted, at least 15
// minutes after its Expires; the clock of each machine decides whether one is in
// force, as in jwthttp.RevocationList. They may differ by up to 10 minutes. How old a copy is
// is measured on one machine alone, and no clock has a part in the order of the changes.
package sqlrevocation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// Store is one instance's copy of the revocations in a database. [Open] makes
// one. It is safe for concurrent use.
type Store struct {
	db       *sql.DB
	opts     Options
	patience time.Duration // with a question of the follower
	copy     *replica.Copy
	stmts    statements
	ended    context.Context
	done     chan struct{}

	// turn is held by the one write that is under way. Others of this instance
	// would wait for it in the database, each with a connection of the pool.
	turn chan struct{}

	mu sync.Mutex
	at position // the copy has everything up to there
	// made has the marks of changes made here that have not come back yet.
	made  map[uint64]int64
	lossy bool // the database has lost changes, and is not loaded since
}

// position is a place in the history of a database.
type position struct {
	epoch string // of the tables, since they were made
	seq   uint64 // of the last change
	mark  int64  // of that change; random, so that two histories are told apart
}

// Patience with the database.
const (
	mostPatience  = 5 * time.Second  // with a question of the follower
	writePatience = 10 * time.Second // with a write, in the whole
)

// Open creates the tables in db that are missing, loads all revocations, and
// follows the changes until ctx ends; then writes fail, and the copy gets stale.
// An error means that nothing runs. Open tells Options.OnError which settings of
// the database do not keep what Revoke acknowledges.
//
// The follower uses one connection of db at a time, and so do the writes. Give Open
// a pool of its own: then neither a busy application nor the idle connections of
// its pool, after they broke silently, keep it from following.
func Open(ctx context.Context, db *sql.DB, opts Options) (*Store, error) {
	if err := opts.check(db); err != nil {
		return nil, err
	}
	opts.defaults()
	s := &Store{
		db: db, opts: opts, ended: ctx, done: make(chan struct{}), turn: make(chan struct{}, 1),
		patience: min(opts.MaxStale/3, mostPatience),
		copy:     replica.NewCopy(opts.MaxStale), made: map[uint64]int64{},
	}
	err := s.create(ctx)
	if err == nil {
		err = s.stmts.prepare(ctx, db, opts)
	}
	if err == nil {
		err = s.load(ctx)
	}
	if err != nil {
		s.stmts.close()
		return nil, fmt.Errorf("sqlrevocation: open: %w", err)
	}
	s.reportSettings(ctx)
	go s.follow(ctx)
	return s, nil
}

// Revoke puts r into the database and in force on this instance, then it returns
// nil; on the others r is in force within Options.Poll and the time of a query.
// Revoking the same tokens again keeps the later of each of the times. An error
// means that it is not known whether r is stored, but never half of it: call
// Revoke again, which does no harm. It gives up after 10 seconds, or when ctx ends;
// SQLite looks at ctx only between two waits for a lock, of busy_timeout each.
func (s *Store) Revoke(ctx context.Context, r jwthttp.Revocation) error {
	entry, err := replica.NewEntry(r)
	if err != nil {
		return fmt.Errorf("sqlrevocation: revoke: %w", err)
	}
	return s.write(ctx, "revoke", replica.Change{Entry: entry})
}

// RevokeToken ends one token, as a logout does: by issuer and "jti", or by
// fingerprint if it has no "jti". It does so as [Store.Revoke] does.
func (s *Store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	r, err := replica.OfToken(t)
	if err != nil {
		return fmt.Errorf("sqlrevocation: revoke: %w", err)
	}
	return s.Revoke(ctx, r)
}

// Remove takes the entry for the tokens that r names away; its times do not
// matter. Removing what is not there is no error. It returns and fails as
// [Store.Revoke] does.
func (s *Store) Remove(ctx context.Context, r jwthttp.Revocation) error {
	entry, err := replica.NewRemoval(r)
	if err != nil {
		return fmt.Errorf("sqlrevocation: remove: %w", err)
	}
	return s.write(ctx, "remove", replica.Change{Entry: entry, Removed: true})
}

// Revoked reports whether t is revoked. It is a jwthttp.RevokedFunc for
// jwthttp.Options.Revoked, looks into memory only and needs no context. When the
// copy is stale, the answer for a token that it does not know to be revoked is an error.
func (s *Store) Revoked(ctx context.Context, t *jwthttp.Token) (bool, error) {
	return s.copy.Revoked(ctx, t)
}

// Ready returns nil, or why the copy is stale. It asks nobody; use it for health checks.
func (s *Store) Ready(context.Context) error { return s.copy.Ready() }

// Staleness is how long ago the copy was known to have all that the database
// had. It is Options.Poll and the time of a query at the most while all goes well.
func (s *Store) Staleness() time.Duration { return s.copy.Staleness() }

// Len is the number of entries in force. It clears out expired ones of the copy.
func (s *Store) Len() int { return s.copy.Len() }

// Wait returns when the follower has ended, after the context of Open has.
func (s *Store) Wait() { <-s.done }

// write makes one change in the database, and then here.
func (s *Store) write(ctx context.Context, verb string, change replica.Change) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("sqlrevocation: %s: waiting for other writes: %w", verb, ctx.Err())
	}
	if err := s.ended.Err(); err != nil {
		return fmt.Errorf("sqlrevocation: %s: the store's context has ended: %w", verb, err)
	}
	s.mu.Lock()
	before := s.at
	before.seq = max(before.seq, s.newestMade())
	s.mu.Unlock()
	after, err := s.transact(ctx, &change)
	if err != nil {
		return fmt.Errorf("sqlrevocation: %s: %w", verb, err)
	}
	return s.putInForce(before, after, change)
}

// transact carries change out in one transaction. It completes change.
func (s *Store) transact(ctx context.Context, change *replica.Change) (after position, err error) {
	tx, after, err := s.begin(ctx)
	if err != nil {
		return after, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	change.Seq = after.seq
	e, removed := &change.Entry, 0
	if change.Removed {
		removed = 1
		_, err = tx.StmtContext(ctx, s.stmts.remove).ExecContext(ctx, e.Key)
	} else {
		err = tx.StmtContext(ctx, s.stmts.put).QueryRowContext(ctx, e.Key, e.Identity, e.Until, e.Expires).Scan(&e.Until, &e.Expires)
	}
	if err != nil {
		return after, err
	}
	_, err = tx.StmtContext(ctx, s.stmts.log).ExecContext(ctx, int64(after.seq), after.mark, e.Key, e.Identity, e.Until, e.Expires, removed)
	if err != nil {
		return after, err
	}
	if after.seq%trimEvery == 0 {
		if err := s.trim(ctx, tx, after.seq, 4*trimEvery); err != nil {
			return after, err
		}
	}
	return after, tx.Commit()
}

// begin starts a transaction that has the next number. Its first statement locks
// the row of the numbers until the end of the transaction. So the next writer
// gets its number when this one has committed, and who reads a number has all
// lower ones. The tempting alternative, a serial column and "id > the last I have
// seen", misses changes: numbers are given out first and appear with the commit,
// which may be in another order.
//
// On SQLite it is what BEGIN IMMEDIATE is: a transaction that starts with a
// write waits for the lock as busy_timeout says. One that started with a read
// would fail at once when it comes to write. If the statement fails all the same,
// nothing has happened yet, and it is tried again.
func (s *Store) begin(ctx context.Context) (*sql.Tx, position, error) {
	for pause := 2 * time.Millisecond; ; pause *= 2 {
		tx, at, err := s.tryBegin(ctx)
		if err == nil || s.opts.Dialect != SQLite || errors.Is(err, sql.ErrNoRows) || pause > 200*time.Millisecond {
			return tx, at, err
		}
		select {
		case <-ctx.Done():
			return nil, at, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (s *Store) tryBegin(ctx context.Context) (tx *sql.Tx, at position, err error) {
	if tx, err = s.db.BeginTx(ctx, s.opts.Dialect.writing()); err != nil {
		return nil, at, err
	}
	at.mark = rand.Int64()
	var setting string
	err = tx.StmtContext(ctx, s.stmts.next).QueryRowContext(ctx, at.mark).Scan(&at.seq, &at.epoch, &setting)
	if err != nil {
		_ = tx.Rollback()
		return nil, at, err
	}
	return tx, at, nil
}

// trimEvery is how many writes share the work of clearing out.
const trimEvery = 16

// trim deletes log rows and entries that nobody needs, up to most of each.
func (s *Store) trim(ctx context.Context, tx *sql.Tx, seq uint64, most int) error {
	const hour = int64(time.Hour / time.Second)
	_, err := tx.StmtContext(ctx, s.stmts.trimLog).ExecContext(ctx, int64(seq)-int64(s.opts.LogLength), int64(seq), hour, most)
	if err == nil {
		_, err = tx.StmtContext(ctx, s.stmts.trimEntries).ExecContext(ctx, int64(replica.KeptLonger/time.Second), most)
	}
	return err
}

// putInForce makes a change here that the database has committed.
func (s *Store) putInForce(before, after position, change replica.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case after.epoch != before.epoch || after.seq <= before.seq:
		// The database has lost changes, and the follower has not noticed yet.
		// The copy would take a low number for one that has come back already. A
		// high one stays until the follower has loaded everything again.
		s.lossy = true
		change.Seq = 1<<64 - 1
	case after.seq > s.at.seq:
		s.made[after.seq] = after.mark
	}
	return s.copy.Made(change)
}
