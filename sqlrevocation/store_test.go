package sqlrevocation_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/revocation/revocationtest"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

const (
	issuer = "https://login.example.com/"
	poll   = 10 * time.Millisecond

	// soon is how long a test waits for what happens soon. It is long because of
	// busy machines; a test ends its wait as soon as it can.
	soon = time.Minute
)

// database is an empty one, or an empty part of one.
type database struct {
	driver, address string
	opts            sqlrevocation.Options
}

func sqliteDatabase(t testing.TB) database {
	return database{"sqlite", sqliteFile(t), sqlrevocation.Options{Dialect: sqlrevocation.SQLite, Poll: poll}}
}

func postgresDatabase(t testing.TB) database {
	s := startPostgres(t)
	return database{"pgx", s.address(s.target()), sqlrevocation.Options{Dialect: sqlrevocation.PostgreSQL, Table: s.table(), Poll: poll}}
}

// onBoth runs a test with each kind of database.
func onBoth(t *testing.T, run func(*testing.T, database)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		run(t, sqliteDatabase(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		run(t, postgresDatabase(t))
	})
}

// table is the name of one of its tables, quoted.
func (d database) table(suffix string) string {
	name := d.opts.Table
	if name == "" {
		name = "jwthttp_revocations"
	}
	return `"` + name + suffix + `"`
}

func (d database) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	db := connect(t, d.driver, d.address)
	defer func() { _ = db.Close() }() // so that a test may do it often
	_, err := db.Exec(statement, args...)
	for start := time.Now(); err != nil && strings.Contains(err.Error(), "SQLITE_BUSY") && time.Since(start) < soon; {
		_, err = db.Exec(statement, args...) // instances may take the lock in turns for long
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (d database) number(t testing.TB, query string) (n int64) {
	t.Helper()
	db := connect(t, d.driver, d.address)
	defer func() { _ = db.Close() }()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// open opens a Store that ends with the test.
func (d database) open(t testing.TB) *sqlrevocation.Store {
	t.Helper()
	db := connect(t, d.driver, d.address)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := sqlrevocation.Open(ctx, db, d.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); s.Wait() })
	return s
}

// heard collects what OnError is told.
type heard struct {
	mu   sync.Mutex
	errs []error
}

func (h *heard) add(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(errors.Join(h.errs...))
}

func byID(id string) revocation.Entry {
	return revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id}
}

func revoke(t testing.TB, s *sqlrevocation.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.Revoke(t.Context(), byID(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func revoked(s storetest.Store, id string) bool {
	got, err := s.Revoked(context.Background(), &jwthttp.Token{Issuer: issuer, ID: id})
	return got && err == nil
}

func TestStore_conformance(t *testing.T) {
	backend := func(d database) revocationtest.Backend {
		return revocationtest.Backend{
			Open: func(ctx context.Context, maxStale time.Duration) (revocation.Store, error) {
				opts := d.opts
				opts.MaxStale = maxStale
				return openInstance(ctx, d.driver, d.address, opts)
			},
			Delay: soon,
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		revocationtest.TestStore(t, func(t *testing.T) revocationtest.Backend { return backend(sqliteDatabase(t)) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		startPostgres(t)
		revocationtest.TestStore(t, func(t *testing.T) revocationtest.Backend {
			b := backend(postgresDatabase(t))
			b.Stop, b.Start = postgres.kill, func() { postgres.start(t) }
			return b
		})
	})
}

func TestStore_faults(t *testing.T) {
	d := postgresDatabase(t)
	faults := 30
	if os.Getenv("CI") == "true" {
		faults = 100
	}
	var proxies []*storetest.Proxy
	for range 3 {
		proxies = append(proxies, storetest.NewProxy(t, postgres.target()))
	}
	storetest.RunFaults(t, storetest.FaultTest{
		Proxies: proxies,
		Open: func(ctx context.Context, i int, maxStale time.Duration) (storetest.Store, error) {
			opts := d.opts
			opts.MaxStale = maxStale
			return openInstance(ctx, "pgx", postgres.address(proxies[i].Addr()), opts)
		},
		Kill: postgres.kill, Restart: func() { postgres.start(t) },
		Faults: faults, Recovery: soon,
	})
}

func TestOpen_errors(t *testing.T) {
	good := connect(t, "sqlite", sqliteFile(t))
	for _, test := range []struct {
		name string
		db   *sql.DB
		opts sqlrevocation.Options
		want []string
	}{
		{"nothing set", nil, sqlrevocation.Options{}, []string{"db: nil", "Options.Dialect: 0: want"}},
		{"everything wrong", good, sqlrevocation.Options{Dialect: 3, Table: "a b", Poll: 1, MaxStale: 2, LogLength: 99},
			[]string{"Options.Dialect: 3", `Options.Table: "a b"`, "Options.Poll: 1ns", "Options.MaxStale: 2ns", "Options.LogLength: 99"}},
		{"too large", good, sqlrevocation.Options{Dialect: 1, Table: strings.Repeat("a", 41), Poll: time.Hour, MaxStale: 2 * time.Hour, LogLength: 10_000_001},
			[]string{"Options.Table", "Options.Poll", "Options.MaxStale", "less than three times Poll", "Options.LogLength"}},
		{"MaxStale under three times Poll", good, sqlrevocation.Options{Dialect: 1, Poll: time.Second, MaxStale: 3*time.Second - 1}, []string{"less than three times Poll"}},
		{"MaxStale's default under three times Poll", good, sqlrevocation.Options{Dialect: 1, Poll: 11 * time.Second}, []string{"less than three times Poll"}},
		{"SQL in a name", good, sqlrevocation.Options{Dialect: 1, Table: `x"; DROP TABLE y; --`}, []string{"Options.Table"}},
		{"no ASCII letters", good, sqlrevocation.Options{Dialect: 1, Table: "tablé"}, []string{"Options.Table"}},
		{"a line break at the end", good, sqlrevocation.Options{Dialect: 1, Table: "a\n"}, []string{"Options.Table"}},
		{"a schema", good, sqlrevocation.Options{Dialect: 1, Table: "a.b"}, []string{"Options.Table"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := sqlrevocation.Open(t.Context(), test.db, test.opts)
			if err == nil {
				t.Fatal("opened")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != len(test.want) && test.name != "everything wrong" {
				t.Errorf("%d problems, want %d:\n%v", n, len(test.want), err)
			}
		})
	}
}

func TestOptions_literals(t *testing.T) {
	if f := reflect.TypeFor[sqlrevocation.Options]().Field(0); f.Name != "_" {
		t.Errorf("the first field is %q", f.Name)
	}
}

func TestOptions_Table(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		for _, name := range []string{"select", "Group", "1", "_", strings.Repeat("X", 40)} {
			d.opts.Table = name
			revoke(t, d.open(t), name)
			if s := d.open(t); !revoked(s, name) || s.Len() != 1 {
				t.Errorf("%q: not stored", name)
			}
		}
	})
}

func TestOpen_concurrency(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		for round := range 5 {
			d.opts.Table = fmt.Sprint("round_", round)
			var all sync.WaitGroup
			for n := range 8 {
				db := connect(t, d.driver, d.address)
				all.Go(func() {
					ctx, cancel := context.WithCancel(context.Background())
					s, err := sqlrevocation.Open(ctx, db, d.opts)
					if err != nil {
						t.Error(err)
						cancel()
						return
					}
					revoke(t, s, fmt.Sprint(n))
					cancel()
					s.Wait()
				})
			}
			all.Wait()
			if n := d.open(t).Len(); n != 8 {
				t.Errorf("%d entries", n)
			}
		}
	})
}

func TestStore_Revoke_again(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		now := time.Unix(time.Now().Unix(), 123456789)
		alice := func(until, expires time.Time) {
			t.Helper()
			if err := a.Revoke(t.Context(), revocation.Entry{Kind: revocation.BySubject, Issuer: issuer, Value: "alice", IssuedUntil: until, Expires: expires}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(until, expires int64) {
			t.Helper()
			for _, table := range []string{d.table(""), "(SELECT until, expires FROM " + d.table("_log") + " ORDER BY seq DESC LIMIT 1) newest"} {
				if got := d.number(t, "SELECT until FROM "+table); got != until {
					t.Errorf("until is %d, want %d", got, until)
				}
				if got := d.number(t, "SELECT expires FROM "+table); got != expires {
					t.Errorf("expires is %d, want %d", got, expires)
				}
			}
			last := func(d int64) *jwthttp.Token {
				return &jwthttp.Token{Issuer: issuer, Subject: "alice", IssuedAt: time.Unix(0, until+d)}
			}
			within(t, soon, "the last instant is in force", func() bool {
				got, _ := b.Revoked(t.Context(), last(0))
				return got
			})
			if got, err := b.Revoked(t.Context(), last(1)); got || err != nil {
				t.Errorf("a nanosecond later is revoked: %v, %v", got, err)
			}
		}
		const never = 1<<63 - 1
		hour := now.Add(time.Hour)
		alice(now, hour)
		want(now.UnixNano(), hour.Unix()+1)
		alice(now.Add(1), now.Add(time.Minute))
		want(now.UnixNano()+1, hour.Unix()+1)
		alice(now, hour.Add(time.Second))
		want(now.UnixNano()+1, hour.Unix()+2)
		alice(now.Add(-1), time.Time{})
		want(now.UnixNano()+1, never)
		alice(now.Add(2), hour)
		want(now.UnixNano()+2, never)
	})
}

func TestStore_injection(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		for i, text := range []string{`'; DROP TABLE ` + d.table("") + `; --`, `" OR 1=1`, "$1 ?1 {t} {now}", "\x00", `\'`} {
			revoke(t, s, text)
			other := d.open(t)
			if !revoked(other, text) || other.Len() != i+1 {
				t.Errorf("%q: not stored", text)
			}
		}
	})
}

func TestStore_numbers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		const each = 100
		var all sync.WaitGroup
		for n, s := range []*sqlrevocation.Store{a, b, a, b} {
			all.Go(func() {
				for i := range each {
					if err := s.Revoke(t.Context(), byID(fmt.Sprint(n, " ", i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, query := range []string{"SELECT count(*) FROM " + d.table("_log"), "SELECT max(seq) FROM " + d.table("_log"), "SELECT seq FROM " + d.table("_meta"), "SELECT count(*) FROM " + d.table("")} {
			if n := d.number(t, query); n != 4*each {
				t.Errorf("%s: %d, want %d", query, n, 4*each)
			}
		}
		for _, s := range []*sqlrevocation.Store{a, b} {
			within(t, soon, "all are in force", func() bool { return s.Len() == 4*each })
		}
	})
}

// A transaction has its number and is not committed yet. With a serial column the
// next number would appear before it.
func TestStore_openTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		tx, err := connect(t, d.driver, d.address).Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.Exec("UPDATE " + d.table("_meta") + " SET seq = seq + 1, mark = 7 WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Revoke(t.Context(), byID("later")) }()
		select {
		case err := <-done:
			t.Fatalf("a number was given out meanwhile: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		if _, err := tx.Exec("INSERT INTO " + d.table("") + ` VALUES ('k', '{"iss":"` + issuer + `","jti":"earlier"}', 0, 9223372036854775807)`); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO " + d.table("_log") + ` VALUES (1, 7, 0, 9000000000, 'k', '{"iss":"` + issuer + `","jti":"earlier"}', 0, 9223372036854775807, 0)`); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		within(t, soon, "both are in force", func() bool { return revoked(s, "earlier") && revoked(s, "later") })
	})
}

// A setting of the server or of the role does not make an acknowledged change less
// durable. A stronger one stays.
func TestStore_synchronousCommit(t *testing.T) {
	for _, tt := range []struct{ setting, want string }{
		{"off", "on"}, {"local", "on"}, {"remote_write", "on"}, {"on", "on"}, {"remote_apply", "remote_apply"},
	} {
		d := postgresDatabase(t)
		d.address = postgres.address(postgres.target(), "synchronous_commit", tt.setting)
		tx, _, err := sqlrevocation.Begin(d.open(t), t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := tx.QueryRow("SELECT current_setting('synchronous_commit')").Scan(&got); err != nil || got != tt.want {
			t.Errorf("%s: a write commits with %q, %v; want %q", tt.setting, got, err, tt.want)
		}
		_ = tx.Rollback()
		after := ""
		if err := connect(t, d.driver, d.address).QueryRow("SELECT current_setting('synchronous_commit')").Scan(&after); err != nil || after != tt.setting {
			t.Errorf("%s: afterwards %q, %v", tt.setting, after, err)
		}
	}
}

// A client that goes silent while it has the lock must not stop the others for good.
func TestStore_silentWriter(t *testing.T) {
	tx, _, err := sqlrevocation.Begin(postgresDatabase(t).open(t), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var limit string
	if err := tx.QueryRow("SELECT current_setting('idle_in_transaction_session_timeout')").Scan(&limit); err != nil || limit != "5s" {
		t.Errorf("PostgreSQL ends an idle transaction after %q, %v", limit, err)
	}
}

func TestStore_Revoke_deadline(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		tx, err := connect(t, d.driver, d.address).Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("UPDATE " + d.table("_meta") + " SET seq = seq WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for range 2 { // one waits for the database, one for the other
			all.Go(func() {
				if err := s.Revoke(ctx, byID("x")); err == nil {
					t.Error("acknowledged")
				}
			})
		}
		all.Wait()
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		revoke(t, s, "y")
		if s := d.open(t); revoked(s, "x") || !revoked(s, "y") {
			t.Error("a write that failed before its commit is stored")
		}
	})
}

func TestStore_shortLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.LogLength = 100
		writer := d.open(t)
		d.opts.Poll, d.opts.MaxStale, d.opts.OnError = 500*time.Millisecond, 30*time.Second, told.add
		late := d.open(t)
		revoke(t, writer, "0")
		within(t, soon, "it follows", func() bool { return revoked(late, "0") })
		d.exec(t, "DELETE FROM "+d.table("_log")) // as if it had been long ago
		for i := range 300 {
			revoke(t, writer, fmt.Sprint(i))
		}
		within(t, soon, "everything was loaded again", func() bool { return late.Len() == 300 })
		if !strings.Contains(told.String(), "loading everything again") || strings.Contains(told.String(), "lost") {
			t.Errorf("OnError: %v", &told)
		}
		if n := d.number(t, "SELECT count(*) FROM "+d.table("_log")); n > 100+64 {
			t.Errorf("the log has %d rows", n)
		}
		revoke(t, writer, "last")
		within(t, soon, "it follows again", func() bool { return revoked(late, "last") })
	})
}

func TestStore_expiry(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		ago := func(d time.Duration) *jwthttp.Token {
			return &jwthttp.Token{Issuer: issuer, ID: fmt.Sprint(d), ExpiresAt: time.Now().Add(-d)}
		}
		for i := range 40 {
			if err := s.RevokeToken(t.Context(), ago(time.Hour+time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		kept := ago(14 * time.Minute) // a clock that is behind may find it in force
		if err := s.RevokeToken(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		d.exec(t, "UPDATE "+d.table("_log")+" SET at = at - 4000")
		for i := range 16 {
			revoke(t, s, fmt.Sprint("fresh ", i))
		}
		if n := d.number(t, "SELECT count(*) FROM "+d.table("")); n > 1+16 {
			t.Errorf("%d entries are left", n)
		}
		if n := d.number(t, "SELECT count(*) FROM "+d.table("")+" WHERE identity LIKE '%-"+fmt.Sprint(14*time.Minute)+"%' OR identity LIKE '%14m%'"); n != 1 {
			t.Error("one was deleted too early")
		}
		if n := d.number(t, "SELECT count(*) FROM "+d.table("_log")); n > 16 {
			t.Errorf("%d rows of the log are left", n)
		}
		revoke(t, s, "last")
		within(t, soon, "it still follows", func() bool { return s.Staleness() < time.Second })
	})
}

func TestStore_expiry_withoutWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.OnError = told.add
		s := d.open(t)
		for i := range 5 {
			if err := s.RevokeToken(t.Context(), &jwthttp.Token{Issuer: issuer, ID: fmt.Sprint(i), ExpiresAt: time.Now().Add(-time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}
		revoke(t, s, "kept")
		made := time.Now()
		within(t, soon, "it has all", func() bool { return s.Staleness() < time.Since(made) })
		d.exec(t, "UPDATE "+d.table("_log")+" SET at = at - 4000")
		if err := sqlrevocation.Clean(s, t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := d.number(t, "SELECT count(*) FROM "+d.table("")); n != 1 {
			t.Errorf("%d entries are left", n)
		}
		if n := d.number(t, "SELECT min(seq) FROM "+d.table("_log")); n != 6 {
			t.Errorf("the oldest change is %d, want the newest, by which followers know the history", n)
		}
		revoke(t, d.open(t), "last")
		within(t, soon, "it follows", func() bool { return revoked(s, "last") })
		if told.String() != "<nil>" {
			t.Errorf("OnError: %v", &told)
		}
	})
}

// There are more changes than are read at once. The copy is not fresh before it has
// the last one.
func TestStore_Staleness_manyChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		const changes = 2500
		d.opts.Poll = time.Second
		s := d.open(t)
		tx, err := connect(t, d.driver, d.address).Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("UPDATE "+d.table("_meta")+" SET seq = $1", changes); err != nil {
			t.Fatal(err)
		}
		for seq := 1; seq <= changes; seq++ {
			identity := fmt.Sprintf(`{"iss":%q,"jti":"%d"}`, issuer, seq)
			if _, err := tx.Exec("INSERT INTO "+d.table("_log")+" VALUES ($1, 0, 0, 9000000000, $2, $3, 0, 9223372036854775807, 0)", seq, fmt.Sprint(seq), identity); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		committed := time.Now()
		within(t, soon, "it is fresh", func() bool { return s.Staleness() < time.Since(committed) })
		if n := s.Len(); n != changes {
			t.Errorf("fresh with %d of %d changes", n, changes)
		}
	})
}

// history is the state of a database, to go back to.
type history struct{ seq, mark int64 }

func (d database) rewind(t testing.TB, to history) {
	t.Helper()
	l := losingDatabase{database: d, db: connect(t, d.driver, d.address), t: t}
	l.change(
		fmt.Sprintf("UPDATE {t}_meta SET seq = %d, mark = %d", to.seq, to.mark),
		fmt.Sprintf("DELETE FROM {t} WHERE key IN (SELECT key FROM {t}_log WHERE seq > %d)", to.seq),
		fmt.Sprintf("DELETE FROM {t}_log WHERE seq > %d", to.seq),
	)
}

func TestStore_lostChanges(t *testing.T) {
	for _, test := range []struct {
		name   string
		poll   time.Duration
		happen func(t *testing.T, d database, then history)
	}{
		{"a restored backup", poll, func(t *testing.T, d database, then history) { d.rewind(t, then) }},
		{"a restored backup that has gone on", 300 * time.Millisecond, func(t *testing.T, d database, then history) {
			d.rewind(t, then)
			s := d.open(t)
			for i := range 5 { // more than were lost
				revoke(t, s, fmt.Sprint("another ", i))
			}
		}},
		{"new tables", poll, func(t *testing.T, d database, _ history) {
			for _, suffix := range []string{"", "_log", "_meta"} {
				d.exec(t, "DROP TABLE "+d.table(suffix))
			}
			d.open(t)
		}},
		{"new tables that have gone on", 300 * time.Millisecond, func(t *testing.T, d database, _ history) {
			for _, suffix := range []string{"", "_log", "_meta"} {
				d.exec(t, "DROP TABLE "+d.table(suffix))
			}
			revoke(t, d.open(t), "1", "2", "3", "4", "5")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				loseChanges(t, d, test.poll, test.happen)
			})
		})
	}
}

func loseChanges(t *testing.T, d database, every time.Duration, happen func(*testing.T, database, history)) {
	var told heard
	slow := d
	slow.opts.Poll, slow.opts.OnError = every, told.add
	a, b := slow.open(t), slow.open(t)
	revoke(t, a, "kept")
	then := history{d.number(t, "SELECT seq FROM "+d.table("_meta")), d.number(t, "SELECT mark FROM "+d.table("_meta"))}
	revoke(t, a, "lost 1", "lost 2")
	within(t, soon, "all are in force", func() bool { return revoked(b, "lost 2") })
	happen(t, d, then)
	within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "has lost changes") })
	for _, s := range []*sqlrevocation.Store{a, b} {
		revoke(t, s, "new")
		for _, id := range []string{"kept", "lost 1", "lost 2", "new"} {
			within(t, soon, id+" is in force", func() bool { return revoked(s, id) })
		}
		within(t, soon, "it is fresh", func() bool { return s.Staleness() < time.Second })
	}
	if err := a.Remove(t.Context(), byID("lost 1")); err != nil {
		t.Fatal(err)
	}
	if revoked(a, "lost 1") {
		t.Error("removed, and in force")
	}
	within(t, soon, "what was lost is removed everywhere", func() bool { return !revoked(b, "lost 1") })
}

// The instance that writes does not know yet that the database has gone back.
func TestStore_lostChanges_write(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.opts.Poll, d.opts.MaxStale = 3*time.Second, 30*time.Second
		revoke(t, d.open(t), "1", "2", "3")
		s := d.open(t) // knows the three, and asks in three seconds
		then := history{1, d.number(t, "SELECT mark FROM "+d.table("_log")+" WHERE seq = 1")}
		d.rewind(t, then)
		revoke(t, s, "new")
		if !revoked(s, "new") {
			t.Error("acknowledged, and not in force here")
		}
		within(t, soon, "the others are there still", func() bool { return s.Staleness() < time.Second && revoked(s, "new") && revoked(s, "3") })
		if err := s.Remove(t.Context(), byID("new")); err != nil {
			t.Fatal(err)
		}
		if revoked(s, "new") {
			t.Error("removed, and in force")
		}
	})
}

// A change that was acknowledged to this instance, and lost before it came back;
// another has its number now.
func TestStore_lostChanges_own(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		slow := d
		slow.opts.Poll, slow.opts.OnError = 500*time.Millisecond, told.add
		other, s := d.open(t), slow.open(t)
		revoke(t, s, "mine")
		d.rewind(t, history{})
		revoke(t, other, "other")
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "has lost changes") })
		within(t, soon, "both are in force", func() bool { return revoked(s, "mine") && revoked(s, "other") })
	})
}

func TestStore_newTables(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		slow := d
		slow.opts.Poll, slow.opts.OnError = 300*time.Millisecond, told.add
		s := slow.open(t)
		for _, suffix := range []string{"", "_log", "_meta"} {
			d.exec(t, "DROP TABLE "+d.table(suffix))
		}
		revoke(t, d.open(t), "1")
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "has lost changes") })
		within(t, soon, "it follows", func() bool { return revoked(s, "1") })
	})
}

// The primary dies, and a standby that lacks the last changes takes over.
func TestStore_asynchronousStandby(t *testing.T) {
	d := postgresDatabase(t)
	before := d.open(t)
	revoke(t, before, "kept")
	standby := postgres.standby(t)
	if _, err := openInstance(t.Context(), "pgx", standby.address(standby.target()), d.opts); err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("a standby was opened: %v", err)
	}
	both := d
	both.address = postgres.address(postgres.target()+","+standby.target(), "target_session_attrs", "read-write")
	var told heard
	both.opts.OnError = told.add
	a, b := both.open(t), both.open(t)
	standby.kill() // so that it does not get what comes
	revoke(t, a, "lost 1", "lost 2")
	within(t, soon, "all are in force", func() bool { return revoked(b, "lost 2") })
	postgres.kill()
	defer postgres.start(t)
	standby.start(t)
	defer standby.kill()
	standby.promote(t)
	d.address = standby.address(standby.target())
	revoke(t, d.open(t), "1", "2", "3")
	for _, s := range []*sqlrevocation.Store{a, b} {
		within(t, soon, "it follows the new primary", func() bool { return revoked(s, "3") })
		for _, id := range []string{"kept", "lost 1", "lost 2"} {
			if !revoked(s, id) {
				t.Errorf("%s is not in force any more", id)
			}
		}
	}
	if !strings.Contains(told.String(), "has lost changes") {
		t.Errorf("OnError: %v", &told)
	}
	revoke(t, a, "new")
	within(t, soon, "new is in force", func() bool { return revoked(b, "new") })
}

func TestStore_deletedTables(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.opts.MaxStale = time.Second
		s := d.open(t)
		revoke(t, s, "x")
		d.exec(t, "DELETE FROM "+d.table("_meta"))
		within(t, soon, "it is stale", func() bool { return s.Ready(t.Context()) != nil })
		if err := s.Revoke(t.Context(), byID("y")); err == nil {
			t.Error("acknowledged")
		}
		if _, err := s.Revoked(t.Context(), &jwthttp.Token{Issuer: issuer, ID: "y"}); err == nil {
			t.Error("a stale copy says it knows")
		}
		d.open(t)
		within(t, soon, "it recovers", func() bool { return s.Ready(t.Context()) == nil })
	})
}

func TestStore_halfOpenConnection(t *testing.T) {
	d := postgresDatabase(t)
	proxy := storetest.NewProxy(t, postgres.target())
	var told heard
	through := database{"pgx", postgres.address(proxy.Addr()), d.opts}
	through.opts.MaxStale, through.opts.OnError = 3*time.Second, told.add
	s, writer := through.open(t), d.open(t)
	proxy.HalfOpen()
	within(t, soon, "the question ends", func() bool { return told.String() != "<nil>" })
	revoke(t, writer, "x")
	within(t, soon, "it is stale", func() bool { return s.Ready(t.Context()) != nil })
	proxy.Heal()
	within(t, soon, "it follows", func() bool { return revoked(s, "x") && s.Ready(t.Context()) == nil })
}

func TestOpen_settings(t *testing.T) {
	file := func(pragmas string) func(*testing.T) database {
		return func(t *testing.T) database {
			return database{"sqlite", "file:" + filepath.Join(t.TempDir(), "x.db") + "?" + pragmas, sqlrevocation.Options{Dialect: sqlrevocation.SQLite}}
		}
	}
	server := func(settings ...string) func(*testing.T) database {
		return func(t *testing.T) database {
			d := postgresDatabase(t)
			d.address = postgres.address(postgres.target(), settings...)
			return d
		}
	}
	for _, test := range []struct {
		name string
		d    func(*testing.T) database
		want string
	}{
		{"SQLite in WAL mode, FULL", func(t *testing.T) database { return sqliteDatabase(t) }, ""},
		{"SQLite in DELETE mode, EXTRA", file("_pragma=synchronous(EXTRA)"), ""},
		{"SQLite NORMAL", file("_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"), "synchronous is 1"},
		{"SQLite synchronous off", file("_pragma=synchronous(OFF)"), "synchronous is 0"},
		{"SQLite without a journal", file("_pragma=journal_mode(OFF)"), `journal_mode is "off"`},
		{"SQLite with a journal in memory", file("_pragma=journal_mode(MEMORY)"), `journal_mode is "memory"`},
		{"SQLite in memory", func(t *testing.T) database {
			return database{"sqlite", "file:shared?mode=memory&cache=shared", sqlrevocation.Options{Dialect: sqlrevocation.SQLite}}
		}, "in memory"},
		{"PostgreSQL as it comes", server(), ""},
		{"PostgreSQL without synchronous_commit, which writes set on", server("synchronous_commit", "off"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told heard
			d := test.d(t)
			d.opts.OnError = told.add
			d.open(t)
			if got := told.String(); test.want == "" && got != "<nil>" || !strings.Contains(got, test.want) {
				t.Errorf("OnError: %v, want %q", got, test.want)
			}
		})
	}
}

func TestStore_onePoolConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := connect(t, d.driver, d.address)
		db.SetMaxOpenConns(1)
		ctx, cancel := context.WithCancel(context.Background())
		s, err := sqlrevocation.Open(ctx, db, d.opts)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				for i := range 20 {
					if err := s.Revoke(t.Context(), byID(fmt.Sprint(n, i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		cancel()
		s.Wait()
		if err := s.Revoke(t.Context(), byID("x")); err == nil {
			t.Error("acknowledged after the end")
		}
	})
}

func TestStore_noBusyTimeout(t *testing.T) {
	d := sqliteDatabase(t)
	d.address = strings.Replace(d.address, "busy_timeout(1000)", "busy_timeout(0)", 1)
	var all sync.WaitGroup
	for n := range 3 {
		s := d.open(t)
		all.Go(func() {
			for i := range 30 {
				if err := s.Revoke(t.Context(), byID(fmt.Sprint(n, " ", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := d.open(t).Len(); n != 90 {
		t.Errorf("%d entries", n)
	}
}

// writerEnv has the address of a database for a process that writes to it.
const writerEnv = "SQLREVOCATION_TEST_WRITER"

// writeUntilKilled prints a number when its revocation is acknowledged.
func writeUntilKilled() {
	db, err := sql.Open("sqlite", os.Getenv(writerEnv))
	if err != nil {
		panic(err)
	}
	s, err := sqlrevocation.Open(context.Background(), db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite, Poll: poll, LogLength: 100})
	if err != nil {
		panic(err)
	}
	for n := s.Len(); ; n++ {
		if err := s.Revoke(context.Background(), byID(fmt.Sprint(n))); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

func TestStore_killedWriters(t *testing.T) {
	d := sqliteDatabase(t)
	const kills = 25
	next := 0 // number
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+d.address)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() { // it has begun to write
			if next == 0 || lines.Text() != "" {
				_, _ = fmt.Sscan(lines.Text(), &next)
				next++
				break
			}
		}
		timer := time.AfterFunc(rand.N(30*time.Millisecond), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &next); err != nil {
				t.Fatal(err)
			}
			next++
		}
		_ = cmd.Wait()
		timer.Stop()
		checkAfterKill(t, d, next)
	}
	storetest.Figures(t, fmt.Sprintf("%d kills, %d revocations acknowledged, all there", kills, next))
}

// checkAfterKill checks that at most one more change was committed than acknowledged,
// and that all tables agree.
func checkAfterKill(t *testing.T, d database, next int) {
	t.Helper()
	s := d.open(t)
	for n := range next {
		if !revoked(s, fmt.Sprint(n)) {
			t.Fatalf("%d was acknowledged, and is not there", n)
		}
	}
	entries := int64(s.Len())
	if entries != int64(next) && entries != int64(next)+1 {
		t.Fatalf("%d entries, %d acknowledged", entries, next)
	}
	for _, query := range []string{"SELECT seq FROM " + d.table("_meta"), "SELECT max(seq) FROM " + d.table("_log"), "SELECT count(*) FROM " + d.table("")} {
		if n := d.number(t, query); n != entries {
			t.Fatalf("half a revocation: %s: %d, %d entries", query, n, entries)
		}
	}
}
