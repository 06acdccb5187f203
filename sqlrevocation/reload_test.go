package sqlrevocation_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// slowPages is a driver that calls begin before each transaction, and page before each
// page of entries.
type slowPages struct {
	parent  driver.Driver
	address string
	begin   func()
	page    func(context.Context)
}

func (d slowPages) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.parent.Open(d.address)
	if err != nil {
		return nil, err
	}
	return slowConn{conn.(fullConn), d}, nil
}

func (d slowPages) Driver() driver.Driver { return d.parent }

// openSlow opens an instance whose driver calls begin before each transaction and page
// before each page of entries. The test's end closes it.
func (d database) openSlow(t *testing.T, begin func(), page func(context.Context)) *sqlrevocation.Store {
	t.Helper()
	db := sql.OpenDB(slowPages{connect(t, d.driver, d.address).Driver(), d.address, begin, page})
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sqlrevocation.Open(ctx, db, d.opts)
	t.Cleanup(func() {
		cancel()
		if s != nil {
			s.Wait()
		}
		_ = db.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fullConn is what both drivers' connections are.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
}

type slowConn struct {
	fullConn
	d slowPages
}

func (c slowConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.d.begin()
	return c.fullConn.BeginTx(ctx, opts)
}

func (c slowConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.fullConn.PrepareContext(ctx, query)
	if err != nil || !strings.Contains(query, "WHERE key > ") && !strings.Contains(query, "WHERE ctid >= ") {
		return stmt, err
	}
	return slowStmt{stmt, c.d.page}, nil
}

type slowStmt struct {
	driver.Stmt
	page func(context.Context)
}

func (s slowStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.page(ctx)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// To load everything again takes much longer than MaxStale. As long as the log has a
// change that the copy has, the copy is fresh meanwhile, follows, and takes writes.
func TestStore_reload_slow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(t *testing.T, d database, before history)
		fresh  bool
	}{
		{"another epoch", func(t *testing.T, d database, _ history) {
			d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'")
		}, true},
		{"the last changes are lost", func(t *testing.T, d database, before history) {
			d.rewind(t, before)
		}, true},
		{"others have the numbers of what is lost", func(t *testing.T, d database, before history) {
			d.rewind(t, before)
			revoke(t, d.open(t), "1", "2", "3")
		}, true},
		{"the log is outgrown", func(t *testing.T, d database, _ history) {
			d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another', seq = seq + 1000")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, d database) { reloadSlowly(t, d, tt.happen, tt.fresh) })
		})
	}
}

func reloadSlowly(t *testing.T, d database, happen func(*testing.T, database, history), fresh bool) {
	d.fill(t, 12_000) // several pages of each part
	other := d.open(t)
	revoke(t, other, ids(6)...)
	var slow atomic.Bool
	var told heard
	const maxStale = 3 * time.Second
	slowly := d
	slowly.opts.Poll, slowly.opts.MaxStale, slowly.opts.OnError = 300*time.Millisecond, maxStale, told.add
	s := slowly.openSlow(t, func() {}, func(context.Context) {
		for start := time.Now(); slow.Load() && time.Since(start) < 8*time.Second; { // less than a page may take
			<-time.After(10 * time.Millisecond)
		}
	})
	before := d.history(t)
	revoke(t, s, "last 1", "last 2")
	within(t, soon, "followed", func() bool { return revoked(other, "last 2") })
	slow.Store(true)
	start := time.Now()
	happen(t, d, before)
	within(t, soon, "it is noticed", func() bool { return strings.Contains(told.String(), "follow") })
	if fresh {
		checkReload(t, s, other, func() {
			d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'a third one'")
		})
	} else {
		within(t, soon, "stale, since changes may be unknown", func() bool { return s.Ready(t.Context()) != nil })
	}
	loading := s.Stats().Loads == 1
	if took := time.Since(start); !loading || fresh && took <= maxStale {
		t.Errorf("loading after %v: %v", took, loading)
	}
	slow.Store(false)
	within(t, soon, "loaded", func() bool { return s.Stats().Loads > 1 })
	for _, id := range []string{"token-0", "token-11999", "last 1", "last 2"} {
		if !revoked(s, id) {
			t.Errorf("%s is not revoked", id)
		}
	}
	for i, id := range ids(6) {
		if removed := fresh && i%2 == 1; revoked(s, id) == removed {
			t.Errorf("%s is removed and revoked: %v", id, removed)
		}
	}
	within(t, soon, "healed", func() bool { return s.Stats().Lost == 0 })
	// The other instance has written back what was lost.
	within(t, soon, "the loss is reported", func() bool { return strings.Contains(told.String(), "has lost changes: 0 entries") })
}

// checkReload revokes and removes through both instances while s loads everything, for
// longer than its MaxStale. Once it calls again, for another loss.
func checkReload(t *testing.T, s, other *sqlrevocation.Store, again func()) {
	t.Helper()
	for start, n := time.Now(), 0; n < 3 || time.Since(start) < 5*time.Second; n++ {
		if err := s.Ready(t.Context()); err != nil {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		switch {
		case n < 3:
			here, there := fmt.Sprint("here ", n), fmt.Sprint("there ", n)
			revoke(t, s, here)
			revoke(t, other, there)
			if !revoked(s, here) {
				t.Fatalf("%s is not revoked", here)
			}
			within(t, soon, there, func() bool { return revoked(s, there) && revoked(other, here) })
			if err := s.Remove(t.Context(), byID(ids(6)[2*n+1])); err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				again()
			}
		case s.Staleness() > 2*time.Second:
			t.Fatalf("%v old", s.Staleness())
		}
		<-time.After(time.Millisecond)
	}
}

// A page that takes longer than 10 seconds ends the load, which is reported.
func TestStore_load_hangs(t *testing.T) {
	d := sqliteDatabase(t)
	d.fill(t, 10)
	var hangs atomic.Bool
	var told heard
	d.opts.OnError = told.add
	s := d.openSlow(t, func() {}, func(ctx context.Context) {
		if hangs.Load() {
			<-ctx.Done()
		}
	})
	hangs.Store(true)
	d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'")
	within(t, soon, "reported", func() bool {
		return strings.Contains(told.String(), "while everything was loaded: context deadline exceeded")
	})
	hangs.Store(false)
	within(t, soon, "loaded", func() bool { return s.Stats().Loads > 1 })
}

// A load of a file that was deleted meanwhile does not succeed.
func TestStore_load_fileDeleted(t *testing.T) {
	d := sqliteDatabase(t)
	d.fill(t, 10)
	var path string
	if err := connect(t, d.driver, d.address).QueryRow("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		t.Fatal(err)
	}
	var again atomic.Bool
	var told heard
	d.opts.OnError = told.add
	s := d.openSlow(t, func() {}, func(context.Context) {
		if again.Load() {
			_ = os.Remove(path)
		}
	})
	again.Store(true)
	d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'")
	within(t, soon, "reported", func() bool { return strings.Contains(told.String(), "was deleted or replaced") })
	if n := s.Stats().Loads; n != 1 {
		t.Errorf("%d loads", n)
	}
}

// PostgreSQL writes all rows to another file while they are read from the first one.
// Rows that were not read come to where was read already.
func TestStore_load_vacuumFull(t *testing.T) {
	const rows = 30_000
	d := postgresDatabase(t)
	d.fill(t, rows)
	d.exec(t, "DELETE FROM "+d.table("")+" WHERE ctid < '(300,0)'")
	var left int
	if err := connect(t, d.driver, d.address).QueryRow("SELECT count(*) FROM " + d.table("")).Scan(&left); err != nil || left < rows/4 {
		t.Fatal(left, err)
	}
	var pages atomic.Int64
	s := d.openSlow(t, func() {
		if pages.Load() == 2 {
			d.exec(t, "VACUUM FULL "+d.table(""))
		}
	}, func(context.Context) { pages.Add(1) })
	if got := s.Stats().Entries; got != left || pages.Load() < 5 {
		t.Errorf("%d of %d entries in %d pages", got, left, pages.Load())
	}
}

// The database loses changes while Open loads it, which it does again then.
func TestOpen_lossMeanwhile(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.fill(t, 10_000)
		var pages atomic.Int64
		var once sync.Once
		s := d.openSlow(t, func() {
			if pages.Load() > 0 {
				once.Do(func() { d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'") })
			}
		}, func(context.Context) { pages.Add(1) })
		if n := s.Len(); n != 10_000 {
			t.Errorf("%d entries", n)
		}
	})
}
