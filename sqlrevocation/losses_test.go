package sqlrevocation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

var faultsFor = flag.Duration("faults", 0, "how long each test of losses runs at least")

// The database loses what it has acknowledged: older backups of all or of some tables
// are restored, tables are made anew, rows are deleted, and standbys take over that
// lag. The clock of one instance jumps.
func TestStore_faults_losses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		const rounds = 8       // more with -faults
		d.opts.LogLength = 100 // which some losses outgrow
		d.opts.OnError = func(error) {}
		d.open(t) // makes the tables
		l := newLosingDatabase(t, d)
		losses := l.losses()
		if l.proxy != nil {
			losses = append(losses, storetest.Loss{Name: "failover", Begin: func(*rand.Rand) func() { return l.failOver() }})
		}
		storetest.RunLosses(t, storetest.LossTest{
			Instances: 3,
			Open: func(ctx context.Context, i int) (storetest.Store, error) {
				opts := d.opts
				opts.Poll = []time.Duration{poll, 20 * time.Millisecond, 100 * time.Millisecond, poll}[i]
				s, err := openInstance(ctx, d.driver, l.address, opts)
				if err == nil && i == 1 { // what it deletes shows its clock
					sqlrevocation.SetNow(s.Store, jump)
				}
				return s, err
			},
			Losses: losses,
			Time:   *faultsFor, Rounds: rounds,
			Recovery: soon,
		})
	})
}

// jump is a clock that is right, or wrong by more than an entry is kept.
func jump() time.Time { return time.Now().Add(time.Duration(rand.IntN(3)-1) * 3 * time.Hour) }

// tables are the suffixes of the tables.
var tables = []string{"_meta", "", "_log"}

// losingDatabase changes the tables behind the back of the instances.
type losingDatabase struct {
	database
	db *sql.DB
	t  testing.TB
	// Of PostgreSQL alone: the server, and the way to it.
	server *server
	proxy  *storetest.Proxy
}

func newLosingDatabase(t *testing.T, d database) *losingDatabase {
	l := &losingDatabase{database: d, db: connect(t, d.driver, d.address), t: t}
	if d.opts.Dialect == sqlrevocation.PostgreSQL {
		l.server, l.proxy = postgres, storetest.NewProxy(t, postgres.target())
		l.address = postgres.address(l.proxy.Addr())
	}
	return l
}

// losses are those of both kinds of databases.
func (l *losingDatabase) losses() []storetest.Loss {
	return []storetest.Loss{
		{Name: "older backup", Begin: func(*rand.Rand) func() { return l.backup(tables...) }},
		{Name: "older backup, and the log outgrown", Begin: func(*rand.Rand) func() {
			restore := l.backup(tables...)
			return func() { restore(); l.outgrowLog() }
		}},
		{Name: "older backup without the log", Begin: func(*rand.Rand) func() { return l.backup("_meta", "") }},
		{Name: "older backup of the log", Begin: func(*rand.Rand) func() { return l.backup("_log") }},
		{Name: "new tables", Begin: func(rnd *rand.Rand) func() {
			l.change(`DELETE FROM {t}`, `DELETE FROM {t}_log`, fmt.Sprintf(`UPDATE {t}_meta SET seq = 0, mark = 0, epoch = '%d'`, rnd.Uint64()))
			return nil
		}},
		{Name: "entry deleted", Silent: true, Begin: func(*rand.Rand) func() {
			l.change(`DELETE FROM {t} WHERE key IN (SELECT key FROM {t} ORDER BY expires LIMIT 3)`)
			return nil
		}},
		{Name: "log deleted", Begin: func(*rand.Rand) func() {
			l.change(`DELETE FROM {t}_log WHERE seq % 2 = 0`)
			return func() {}
		}},
	}
}

// change carries out statements, while nothing else is written. {t} is the name of
// the table of entries.
func (l *losingDatabase) change(statements ...string) {
	l.t.Helper()
	for start := time.Now(); ; {
		err := l.tryChange(statements)
		if err == nil {
			return
		}
		if time.Since(start) > soon {
			l.t.Error(err)
			return
		}
	}
}

func (l *losingDatabase) tryChange(statements []string) error {
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range slices.Insert(slices.Clone(statements), 0, "UPDATE {t}_meta SET seq = seq") { // which locks
		statement = strings.NewReplacer("{t}_meta", l.table("_meta"), "{t}_log", l.table("_log"), "{t}", l.table("")).Replace(statement)
		if _, err := tx.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return tx.Commit()
}

// backup copies some tables, and returns a function that restores them.
func (l *losingDatabase) backup(suffixes ...string) (restore func()) {
	var save, load, drop []string
	for _, suffix := range suffixes {
		table, copied := "{t}"+suffix, fmt.Sprintf(`"copy_of_%s%s"`, strings.Trim(l.table(""), `"`), suffix)
		save = append(save, "DROP TABLE IF EXISTS "+copied, "CREATE TABLE "+copied+" AS SELECT * FROM "+table)
		load = append(load, "DELETE FROM "+table, "INSERT INTO "+table+" SELECT * FROM "+copied)
		drop = append(drop, "DROP TABLE "+copied)
	}
	l.change(save...)
	return func() {
		l.change(load...)
		l.change(drop...)
	}
}

// failOver returns a function with which a standby takes over that has only what the
// server has now.
func (l *losingDatabase) failOver() func() {
	master := l.server
	next := master.standby(l.t)
	next.promote(l.t)
	return func() {
		_ = l.db.Close()
		l.server, l.db = next, connect(l.t, l.driver, next.address(next.target()))
		l.proxy.Redirect(next.target())
		if master != postgres {
			master.kill()
		}
	}
}

// outgrowLog leaves the database as after more changes than the log keeps.
func (l *losingDatabase) outgrowLog() {
	l.change(`DELETE FROM {t}_log`, fmt.Sprintf(`UPDATE {t}_meta SET seq = seq + %d`, 2*l.opts.LogLength))
}

// bySubject revokes what was issued until a time.
func bySubject(until time.Time) revocation.Entry {
	return revocation.Entry{Kind: revocation.BySubject, Issuer: issuer, Value: "alice", IssuedUntil: until}
}

// The instance that revokes again has not asked since another one has removed the
// entry. The order in the database counts on both.
func TestStore_removedElsewhere(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		fast, slow := d, d
		slow.opts.Poll, slow.opts.MaxStale = 10*time.Second, time.Minute
		a, b := slow.open(t), fast.open(t)
		until := time.Now()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(a.Revoke(t.Context(), bySubject(until)))
		must(b.Remove(t.Context(), bySubject(until)))
		must(a.Revoke(t.Context(), bySubject(until.Add(-time.Hour))))
		within(t, soon, "both agree", func() bool { return b.Len() == 1 })
		for i, s := range []*sqlrevocation.Store{a, b} {
			for _, tt := range []struct {
				ago  time.Duration
				want bool
			}{{time.Minute, false}, {2 * time.Hour, true}} {
				got, err := s.Revoked(t.Context(), &jwthttp.Token{Issuer: issuer, Subject: "alice", IssuedAt: until.Add(-tt.ago)})
				if got != tt.want || err != nil {
					t.Errorf("instance %d, issued %v ago: %v, %v", i, tt.ago, got, err)
				}
			}
		}
	})
}

// After a loss, so many changes are made that the log does not show it any more.
func TestStore_lostChanges_outgrownLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.LogLength = 100
		slow := d
		slow.opts.Poll, slow.opts.OnError = 2*time.Second, told.add
		s := slow.open(t)
		revoke(t, s, "kept")
		then := history{1, d.number(t, "SELECT mark FROM "+d.table("_log")+" WHERE seq = 1")}
		revoke(t, s, "lost")
		d.rewind(t, then)
		other := d.open(t)
		for i := range 300 {
			revoke(t, other, fmt.Sprint(i))
		}
		within(t, soon, "it has loaded everything", func() bool { return revoked(s, "299") })
		for _, id := range []string{"kept", "lost"} {
			if !revoked(s, id) {
				t.Errorf("%s is not in force any more", id)
			}
		}
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "has lost changes") })
	})
}

// A Remove is the first change after a loss.
func TestStore_lostChanges_remove(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		slow := d
		slow.opts.Poll = 500 * time.Millisecond
		a, b := slow.open(t), slow.open(t)
		revoke(t, a, "1", "x")
		within(t, soon, "it is in force", func() bool { return revoked(b, "x") })
		d.rewind(t, history{})
		if err := b.Remove(t.Context(), byID("x")); err != nil {
			t.Fatal(err)
		}
		if revoked(b, "x") {
			t.Error("removed, and in force")
		}
		within(t, soon, "it is removed everywhere", func() bool { return !revoked(a, "x") })
		if !revoked(a, "1") || !revoked(b, "1") {
			t.Error("what was lost is not in force any more")
		}
	})
}

// The newest change was made here, is lost, and none comes after it.
func TestStore_lostChanges_ownNewest(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.Poll, d.opts.OnError = 300*time.Millisecond, told.add
		s := d.open(t)
		revoke(t, s, "x")
		d.rewind(t, history{})
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "has lost changes") })
		for range 2 { // and a second time, for good
			if !revoked(s, "x") {
				t.Error("acknowledged, and not in force")
			}
			revoke(t, s, "y")
			d.rewind(t, history{})
			before := time.Now()
			within(t, soon, "it has asked", func() bool { return s.Staleness() < time.Since(before) })
		}
	})
}

// What one of the clocks calls alive is not deleted, neither from the entries nor
// from the log.
func TestStore_expiry_clocks(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		dead := &jwthttp.Token{Issuer: issuer, ID: "dead", ExpiresAt: time.Now().Add(-20 * time.Minute)}
		alive := &jwthttp.Token{Issuer: issuer, ID: "alive", ExpiresAt: time.Now().Add(time.Minute)}
		for _, token := range []*jwthttp.Token{dead, alive} {
			if err := s.RevokeToken(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		revoke(t, s, "newest")
		d.exec(t, "UPDATE "+d.table("_log")+" SET at = at - 4000 WHERE seq = 1")
		for _, tt := range []struct {
			name         string
			ahead        time.Duration
			entries, log int64
		}{
			{"the caller's clock is behind", -2 * time.Hour, 3, 3},
			{"the caller's clock is ahead", 2 * time.Hour, 2, 2},
		} {
			sqlrevocation.SetNow(s, func() time.Time { return time.Now().Add(tt.ahead) })
			if err := sqlrevocation.Clean(s, t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := d.number(t, "SELECT count(*) FROM "+d.table("")); n != tt.entries {
				t.Errorf("%s: %d entries, want %d", tt.name, n, tt.entries)
			}
			if n := d.number(t, "SELECT count(*) FROM "+d.table("_log")); n != tt.log {
				t.Errorf("%s: %d rows of the log, want %d", tt.name, n, tt.log)
			}
		}
	})
}

// The row of the numbers alone is restored. Then changes get numbers that the log has.
func TestStore_restoredNumbers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		revoke(t, a, "1", "2", "3")
		within(t, soon, "it is in force", func() bool { return revoked(b, "3") })
		d.exec(t, fmt.Sprintf("UPDATE %s SET seq = 1, mark = (SELECT mark FROM %s WHERE seq = 1)", d.table("_meta"), d.table("_log")))
		var told heard
		late := d
		late.opts.OnError = told.add
		c := late.open(t)
		follow := func(id string) {
			t.Helper()
			revoke(t, a, id)
			made := time.Now()
			within(t, soon, "it has asked again", func() bool { return c.Staleness() < time.Since(made) && !c.Stats().Loading })
			if !revoked(c, id) {
				t.Errorf("%s is not in force", id)
			}
		}
		follow("4")
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), " 0 entries are in force here and not in") })
		before, loads := told.String(), c.Stats().Loads
		follow("5")
		follow("6")
		if after, n := told.String(), c.Stats().Loads-loads; after != before || n > 0 {
			t.Errorf("of a log that is right again: OnError %v, %d loads", after, n)
		}
		for _, id := range []string{"1", "2", "3", "4", "5", "6"} {
			within(t, soon, id+" is in force", func() bool { return revoked(b, id) })
			if !revoked(a, id) {
				t.Errorf("%s is not in force", id)
			}
		}
		if n := d.open(t).Len(); n != 6 {
			t.Errorf("%d entries", n)
		}
	})
}

// The row of the numbers alone is restored, to where an instance is that has not followed
// yet. It gets what the others have.
func TestStore_restoredNumbers_behind(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a := d.open(t)
		revoke(t, a, "1")
		slow := d
		slow.opts.Poll, slow.opts.MaxStale = time.Minute, time.Hour
		b := slow.open(t)
		revoke(t, a, "2", "3")
		d.exec(t, fmt.Sprintf("UPDATE %s SET seq = 1, mark = (SELECT mark FROM %s WHERE seq = 1)", d.table("_meta"), d.table("_log")))
		within(t, soon, "a has loaded", func() bool { return a.Stats().Loads > 1 && !a.Stats().Loading })
		revoke(t, a, "4", "5", "6")
		revoke(t, b, "7")
		for _, id := range []string{"1", "2", "3", "4", "5", "6", "7"} {
			if !revoked(b, id) {
				t.Errorf("%s is not in force", id)
			}
		}
	})
}

// lossy is a driver that calls committed after each COMMIT.
type lossy struct {
	parent    driver.Driver
	address   string
	committed func()
}

func (d lossy) Driver() driver.Driver { return d.parent }

func (d lossy) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.parent.Open(d.address)
	if err != nil {
		return nil, err
	}
	return lossyConn{conn.(fullConn), d.committed}, nil
}

type lossyConn struct {
	fullConn
	committed func()
}

func (c lossyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.fullConn.BeginTx(ctx, opts)
	return lossyTx{tx, c.committed}, err
}

type lossyTx struct {
	driver.Tx
	committed func()
}

func (t lossyTx) Commit() error {
	err := t.Tx.Commit()
	t.committed()
	return err
}

// The database loses a change before the instance that has made it asks for those before
// it. The change is made again.
func TestStore_lostChanges_afterCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		other := d.open(t)
		revoke(t, other, "1")
		var lost atomic.Pointer[history]
		db := sql.OpenDB(lossy{connect(t, d.driver, d.address).Driver(), d.address, func() {
			if then := lost.Swap(nil); then != nil {
				d.rewind(t, *then)
			}
		}})
		slow := d.opts
		slow.Poll, slow.MaxStale = time.Minute, time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		s, err := sqlrevocation.Open(ctx, db, slow)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { cancel(); s.Wait(); _ = db.Close() }()
		revoke(t, other, "2") // s has not heard of it
		then := d.history(t)
		lost.Store(&then)
		revoke(t, s, "x")
		if !revoked(s, "x") || lost.Load() != nil {
			t.Error("not in force, or not lost")
		}
		within(t, soon, "it is in force", func() bool { return revoked(other, "x") })
	})
}

// A backup is restored, and then a newer one. It has a Remove again after which the entry
// was revoked once more.
func TestStore_newerBackup(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		l := &losingDatabase{database: d, db: connect(t, d.driver, d.address), t: t}
		s := d.open(t)
		revoke(t, s, "x")
		older := d.history(t)
		if err := s.Remove(t.Context(), byID("x")); err != nil {
			t.Fatal(err)
		}
		newer := l.backup(tables...)
		revoke(t, s, "x")
		entries, log := d.table(""), d.table("_log")
		restored := func() {
			t.Helper()
			made := time.Now()
			within(t, soon, "it is loaded", func() bool { return s.Staleness() < time.Since(made) && !s.Stats().Loading })
			if !revoked(s, "x") {
				t.Error("acknowledged, and not in force")
			}
		}
		l.change("DELETE FROM {t}", "INSERT INTO {t} SELECT key, identity, until, expires FROM "+log+" WHERE seq = 1", "DELETE FROM {t}_log WHERE seq > 1",
			fmt.Sprintf("UPDATE {t}_meta SET seq = %d, mark = %d", older.seq, older.mark))
		restored()
		newer()
		restored()
		within(t, soon, "it is written back", func() bool { return d.number(t, "SELECT count(*) FROM "+entries+" WHERE key NOT LIKE 'removed%'") == 1 })
	})
}

// The log alone is restored from a backup that has changes of a history that was lost
// later. Other changes have their numbers by now.
func TestStore_restoredLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		log, backup := d.table("_log"), d.table("_backup")
		during := func(ids ...string) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			s, err := openInstance(ctx, d.driver, d.address, d.opts)
			if err != nil {
				t.Fatal(err)
			}
			revoke(t, s.Store, ids...)
			cancel()
			s.Wait()
		}
		during("1")
		slow := d
		slow.opts.Poll, slow.opts.MaxStale = time.Minute, time.Hour
		s := slow.open(t)
		then := history{1, d.number(t, "SELECT mark FROM "+log+" WHERE seq = 1")}
		during("lost", "lost, too")
		d.exec(t, "CREATE TABLE "+backup+" AS SELECT * FROM "+log)
		d.rewind(t, then)
		during("2", "3")
		d.exec(t, "DELETE FROM "+log)
		d.exec(t, "INSERT INTO "+log+" SELECT * FROM "+backup)
		revoke(t, s, "4")
		for _, id := range []string{"1", "2", "3", "4"} {
			if !revoked(s, id) {
				t.Errorf("%s is not in force", id)
			}
		}
		if n := s.Len(); n != 4 {
			t.Errorf("%d entries", n)
		}
	})
}

// The last change of the log is not the one that the numbers are of.
func TestStore_otherLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		tx, err := connect(t, d.driver, d.address).Begin()
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			"UPDATE " + d.table("_meta") + " SET seq = 1, mark = 7",
			"INSERT INTO " + d.table("_log") + ` VALUES (1, 8, 0, 9000000000, 'k', '{"iss":"` + issuer + `","jti":"other"}', 0, 9223372036854775807, 0)`,
		} {
			if _, err := tx.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		within(t, soon, "everything is loaded", func() bool { return s.Stats().Loads > 1 })
		if n := s.Len(); n != 0 {
			t.Errorf("%d entries", n)
		}
	})
}

// The age of a copy counts from the question, not from its answer.
func TestStore_Staleness_slowAnswers(t *testing.T) {
	d := postgresDatabase(t)
	proxy := storetest.NewProxy(t, postgres.target())
	d.address = postgres.address(proxy.Addr())
	s := d.open(t)
	const delay = 200 * time.Millisecond
	proxy.Delay(delay)
	start := time.Now()
	within(t, soon, "answers under way are in", func() bool { return time.Since(start) > 4*delay })
	within(t, soon, "some more answers", func() bool {
		if age := s.Staleness(); age < delay {
			t.Fatalf("%v old, with answers that take longer", age)
		}
		return time.Since(start) > 12*delay
	})
}

// A follower that comes to a standby is not fresh, although the standby answers.
func TestStore_follower_standby(t *testing.T) {
	d := postgresDatabase(t)
	var told heard
	proxy := storetest.NewProxy(t, postgres.target())
	d.address = postgres.address(proxy.Addr())
	d.opts.OnError, d.opts.MaxStale = told.add, time.Second
	s := d.open(t)
	revoke(t, s, "x")
	standby := postgres.standby(t)
	proxy.Redirect(standby.target())
	within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "standby") })
	within(t, soon, "it is stale", func() bool { return s.Ready(t.Context()) != nil })
	proxy.Redirect(postgres.target())
	within(t, soon, "it is fresh", func() bool { return s.Ready(t.Context()) == nil && revoked(s, "x") })
}
