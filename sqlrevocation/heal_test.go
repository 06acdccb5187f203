package sqlrevocation_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// ids are n names of tokens.
func ids(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("token ", i))
	}
	return names
}

func (d database) history(t testing.TB) history {
	return history{d.number(t, "SELECT seq FROM "+d.table("_meta")), d.number(t, "SELECT mark FROM "+d.table("_meta"))}
}

// What the database has lost is written back once, although several instances know it,
// and although it is lost again meanwhile.
func TestStore_heals(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(*testing.T, database, history)
	}{
		{"a restored backup", func(t *testing.T, d database, then history) { d.rewind(t, then) }},
		{"a restored backup, twice", func(t *testing.T, d database, then history) {
			d.rewind(t, then)
			within(t, soon, "an entry is written back", func() bool { return d.number(t, "SELECT count(*) FROM "+d.table("")) > 10 })
			d.rewind(t, then)
		}},
		{"new tables", func(t *testing.T, d database, _ history) {
			for _, suffix := range []string{"", "_log", "_meta"} {
				d.exec(t, "DROP TABLE "+d.table(suffix))
			}
			d.open(t)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				instances := []*sqlrevocation.Store{d.open(t), d.open(t), d.open(t)}
				a := instances[0]
				revoke(t, a, "first")
				then, names := d.history(t), ids(250)
				revoke(t, a, names...)
				for _, s := range instances {
					within(t, soon, "all are in force", func() bool { return revoked(s, names[249]) })
				}
				tt.lose(t, d, then)
				healed := 0 // on the instance that noticed the loss first
				for _, s := range instances {
					made := time.Now()
					within(t, soon, "all is written back", func() bool {
						stats := s.Stats() // after it was asked about the last loss
						return stats.Loads > 1 && !stats.Loading && stats.Lost == 0 && stats.Staleness < time.Since(made)
					})
					stats := s.Stats()
					if stats.Entries != 251 {
						t.Errorf("%+v", stats)
					}
					healed = max(healed, stats.Healed)
				}
				if healed < 250 {
					t.Errorf("%d entries are written back", healed)
				}
				late := d.open(t)
				for _, name := range append(names, "first") {
					if !revoked(late, name) {
						t.Errorf("a later instance does not know %q", name)
					}
				}
				if n := d.number(t, "SELECT count(*) FROM "+d.table("_log")+" GROUP BY key ORDER BY 1 DESC LIMIT 1"); n != 1 {
					t.Errorf("an entry was written %d times", n)
				}
			})
		})
	}
}

// What is written back makes the log no longer than LogLength.
func TestStore_heals_log(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.opts.LogLength = 100
		s := d.open(t)
		then := d.history(t)
		revoke(t, s, ids(350)...)
		d.rewind(t, then)
		within(t, soon, "all is written back", func() bool { return s.Stats().Healed > 100 && s.Stats().Lost == 0 })
		if n := d.number(t, "SELECT count(*) FROM "+d.table("_log")); n > 100 {
			t.Errorf("the log has %d changes", n)
		}
	})
}

// A removal that was made after the loss is not undone.
func TestStore_heals_removed(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		a, b := d.open(t), d.open(t)
		then := d.history(t)
		revoke(t, a, "x", "y")
		within(t, soon, "both are in force", func() bool { return revoked(b, "y") })
		d.rewind(t, then)
		if err := b.Remove(t.Context(), byID("x")); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*sqlrevocation.Store{a, b} {
			within(t, soon, "y is written back", func() bool { stats := s.Stats(); return stats.Loads > 1 && stats.Lost == 0 })
		}
		for _, s := range []*sqlrevocation.Store{a, b, d.open(t)} {
			if revoked(s, "x") || !revoked(s, "y") {
				t.Errorf("x %t, y %t", revoked(s, "x"), revoked(s, "y"))
			}
		}
	})
}

// Losses without an end do not keep an instance and its OnError busy.
func TestStore_repeatedLosses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.OnError = told.add
		d.opts.Poll = 10 * time.Millisecond
		s := d.open(t)
		revoke(t, s, "x")
		d.opts.ReadOnly = true
		follower := d.open(t)
		before, lost := follower.Stats().Loads, 0
		for start := time.Now(); time.Since(start) < 3*time.Second; lost++ {
			d.exec(t, fmt.Sprintf("UPDATE %s SET epoch = 'epoch %d'", d.table("_meta"), lost))
		}
		if n := follower.Stats().Loads - before; n > 12 {
			t.Errorf("%d loads after %d losses", n, lost)
		}
		if n := strings.Count(told.String(), "\n"); n > 8 {
			t.Errorf("OnError was told %d times:\n%v", n, &told)
		}
		if !revoked(s, "x") || !revoked(follower, "x") {
			t.Error("not in force")
		}
	})
}

// A read-only instance needs no right to write, and writes nothing back.
func TestOptions_ReadOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		follower := d
		follower.opts.ReadOnly, follower.opts.OnError = true, told.add
		if _, err := sqlrevocation.Open(t.Context(), connect(t, d.driver, d.address), follower.opts); err == nil {
			t.Fatal("opened without tables")
		}
		s := d.open(t)
		if d.opts.Dialect == sqlrevocation.PostgreSQL {
			d.exec(t, "DROP ROLE IF EXISTS follower")
			d.exec(t, "CREATE ROLE follower LOGIN")
			for _, suffix := range []string{"", "_log", "_meta"} {
				d.exec(t, "GRANT SELECT ON "+d.table(suffix)+" TO follower")
			}
			follower.address = strings.Replace(d.address, "postgres@", "follower@", 1)
			t.Cleanup(func() { d.exec(t, "DROP OWNED BY follower"); d.exec(t, "DROP ROLE follower") })
		}
		f := follower.open(t)
		revoke(t, s, "x")
		within(t, soon, "it follows", func() bool { return revoked(f, "x") })
		for verb, err := range map[string]error{"Revoke": f.Revoke(t.Context(), byID("y")), "Remove": f.Remove(t.Context(), byID("x"))} {
			if err == nil || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%s: %v", verb, err)
			}
		}
		d.exec(t, "DELETE FROM "+d.table(""))
		d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'")
		within(t, soon, "the other instance has written it back", func() bool {
			return d.number(t, "SELECT count(*) FROM "+d.table("")) == 1 && f.Stats().Lost == 0
		})
		within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "must write them back") })
		if !revoked(f, "x") {
			t.Error("not in force")
		}
	})
}

// A read-only instance that is alone keeps in force what was lost, and does not write
// it back.
func TestOptions_ReadOnly_alone(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx, cancel := context.WithCancel(t.Context())
		writer, err := openInstance(ctx, d.driver, d.address, d.opts)
		if err != nil {
			t.Fatal(err)
		}
		d.opts.ReadOnly = true
		f := d.open(t)
		if err := writer.Revoke(t.Context(), byID("x")); err != nil {
			t.Fatal(err)
		}
		within(t, soon, "it follows", func() bool { return revoked(f, "x") })
		cancel()
		writer.Wait()
		d.exec(t, "DELETE FROM "+d.table(""))
		d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'")
		within(t, soon, "it knows of the loss", func() bool { return f.Stats().Lost == 1 })
		for start := time.Now(); time.Since(start) < 2*time.Second; {
			if n := d.number(t, "SELECT count(*) FROM "+d.table("")); n != 0 {
				t.Fatal("written back")
			}
			<-time.After(50 * time.Millisecond)
		}
		if !revoked(f, "x") {
			t.Error("not in force")
		}
	})
}

// The tables are changed by hand. That is reported, costs one load, and heals.
func TestStore_changedByHand(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		want    string // of what OnError is told; "": nothing is wrong
	}{
		{"the numbers are ahead of the log", []string{"UPDATE {meta} SET seq = seq + 10"}, "changes are missing"},
		{"the numbers and their mark are ahead", []string{"UPDATE {meta} SET seq = seq + 10, mark = 7"}, "changes are missing"},
		{"the numbers are behind the log", []string{"UPDATE {meta} SET seq = seq - 2"}, "lost"},
		{"the numbers start anew", []string{"UPDATE {meta} SET seq = 0, mark = 0"}, "lost"},
		{"the last row of the log is missing", []string{"DELETE FROM {log} WHERE seq = (SELECT max(seq) FROM {log})"}, ""},
		{"the log is empty", []string{"DELETE FROM {log}"}, ""},
		{"the log is empty, and the numbers are ahead", []string{"DELETE FROM {log}", "UPDATE {meta} SET seq = seq + 10"}, "changes are missing"},
		{"the mark is another", []string{"UPDATE {meta} SET mark = 7"}, "lost"},
		{"the epoch is another", []string{"UPDATE {meta} SET epoch = 'another'"}, "lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				var told heard
				d.opts.OnError = told.add
				a, b := d.open(t), d.open(t)
				revoke(t, a, ids(5)...)
				within(t, soon, "all are in force", func() bool { return revoked(b, "token 4") })
				for _, change := range tt.changes {
					d.exec(t, strings.NewReplacer("{meta}", d.table("_meta"), "{log}", d.table("_log")).Replace(change))
				}
				polls := func(n int) {
					for range n {
						made := time.Now()
						for _, s := range []*sqlrevocation.Store{a, b} {
							within(t, soon, "it has asked again", func() bool { return s.Staleness() < time.Since(made) })
						}
					}
				}
				polls(20)
				revoke(t, a, "after")
				polls(20)
				for _, s := range []*sqlrevocation.Store{a, b, d.open(t)} {
					for _, name := range append(ids(5), "after") {
						if !revoked(s, name) {
							t.Errorf("%q is not in force", name)
						}
					}
				}
				for _, s := range []*sqlrevocation.Store{a, b} {
					if stats := s.Stats(); stats.Loads > 3 || stats.Lost != 0 {
						t.Errorf("%+v", stats)
					}
				}
				if tt.want != "" && !strings.Contains(told.String(), tt.want) {
					t.Errorf("OnError: %v", &told)
				}
			})
		})
	}
}

// A row that is deleted by hand is in force where it was, and missing elsewhere, until
// a running instance loads everything again. Then it is written back.
func TestStore_deletedRow(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var told heard
		d.opts.OnError = told.add
		a := d.open(t)
		revoke(t, a, "deleted", "kept")
		d.exec(t, "DELETE FROM "+d.table("")+` WHERE identity LIKE '%"deleted"%'`)
		late := d.open(t)
		revoke(t, late, "after")
		within(t, soon, "followed", func() bool { return revoked(a, "after") })
		if !revoked(a, "deleted") || revoked(late, "deleted") || a.Stats().Loads != 1 || strings.Contains(told.String(), "lost") {
			t.Errorf("in force: %v, on another instance: %v; %+v; told %v", revoked(a, "deleted"), revoked(late, "deleted"), a.Stats(), &told)
		}
		d.exec(t, "UPDATE "+d.table("_meta")+" SET epoch = 'another'") // so that both load
		within(t, soon, "written back", func() bool { return revoked(late, "deleted") && a.Stats().Lost == 0 })
		if !strings.Contains(told.String(), "lost changes: 1 entries") {
			t.Errorf("told %v", &told)
		}
	})
}

// The log is shorter than what changes while everything is loaded.
func TestOpen_changesMeanwhile(t *testing.T) {
	const rows, eachPage = 50_000, 16 // fewer than LogLength from one page of a part to its next one
	onBoth(t, func(t *testing.T, d database) {
		d.opts.LogLength = 100
		d.fill(t, rows)
		writer := d.open(t)
		var written atomic.Int64
		s := d.openSlow(t, func() {}, func(ctx context.Context) {
			for range eachPage {
				if err := writer.Revoke(ctx, byID(fmt.Sprint("meanwhile ", written.Add(1)))); err != nil {
					t.Error(err)
				}
			}
		})
		n := int(written.Load())
		if n <= d.opts.LogLength+eachPage {
			t.Errorf("only %d changes while everything was loaded", n)
		}
		for i := range n {
			if id := fmt.Sprint("meanwhile ", i+1); !revoked(s, id) {
				t.Errorf("%q is not revoked", id)
			}
		}
		if s.Len() != rows+n {
			t.Errorf("%d entries, want %d", s.Len(), rows+n)
		}
	})
}

// A role may end statements that take long.
func TestOpen_statementTimeout(t *testing.T) {
	d := postgresDatabase(t)
	d.fill(t, 400_000)
	d.address = postgres.address(postgres.target(), "statement_timeout", "500")
	if s := d.open(t); s.Len() != 400_000 {
		t.Errorf("%d entries", s.Len())
	}
	var timeout string
	if err := connect(t, d.driver, d.address).QueryRow("SHOW statement_timeout").Scan(&timeout); err != nil || timeout != "500ms" {
		t.Errorf("statement_timeout %q, %v", timeout, err)
	}
}

// No statement reads a table from one end to the other, however many rows there are.
func TestStore_plans(t *testing.T) {
	const rows = 200_000
	t.Run("PostgreSQL", func(t *testing.T) {
		d := postgresDatabase(t)
		d.fill(t, rows)
		d.exec(t, fmt.Sprintf("INSERT INTO %s SELECT n, 1, 1, 1, 'k', '{}', 0, 0, 0 FROM generate_series(1, %d) n", d.table("_log"), rows))
		d.exec(t, "ANALYZE "+d.table("_log"))
		db := connect(t, d.driver, d.address)
		db.SetMaxOpenConns(1)
		exec := func(text string) {
			t.Helper()
			if _, err := db.Exec(text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		exec("SET plan_cache_mode = force_generic_plan") // as after some executions
		for _, text := range sqlrevocation.Statements(d.open(t)) {
			exec("PREPARE statement AS " + text)
			explain := "EXPLAIN EXECUTE statement"
			if n := highestParameter(text); n > 0 {
				explain += "('1'" + strings.Repeat(", '1'", n-1) + ")"
			}
			plan := strings.Join(lines(t, db, explain), "\n")
			exec("DEALLOCATE statement")
			withoutMeta := strings.ReplaceAll(plan, "Seq Scan on "+strings.Trim(d.table("_meta"), `"`), "")
			if strings.Contains(withoutMeta, "Seq Scan") || strings.Contains(text, "expires <") && !strings.Contains(plan, "Index Cond: ((expires <") {
				t.Errorf("%s\n%s", text, plan)
			}
		}
	})
	t.Run("SQLite", func(t *testing.T) {
		d := sqliteDatabase(t)
		d.fill(t, 10)
		db := connect(t, d.driver, d.address)
		for _, text := range sqlrevocation.Statements(d.open(t)) {
			plan := strings.Join(lines(t, db, "EXPLAIN QUERY PLAN "+text, slices.Repeat([]any{1}, highestParameter(text))...), "\n")
			for line := range strings.SplitSeq(plan, "\n") {
				if strings.Contains(line, "SCAN jwthttp") && !strings.Contains(line, "USING") || strings.Contains(line, "TEMP B-TREE") {
					t.Errorf("%s\n%s", text, plan)
				}
			}
			if strings.Contains(text, "expires <") && !strings.Contains(plan, "(expires<?)") {
				t.Errorf("%s\n%s", text, plan)
			}
		}
	})
}

// highestParameter is the largest n for which a statement has $n, or ?n.
func highestParameter(text string) int {
	for n := 9; n > 0; n-- {
		if strings.Contains(text, fmt.Sprint("$", n)) || strings.Contains(text, fmt.Sprint("?", n)) {
			return n
		}
	}
	return 0
}

// lines returns the last column of the rows of a query.
func lines(t *testing.T, db *sql.DB, query string, args ...any) (texts []string) {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	columns, _ := rows.Columns()
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, fmt.Sprint(*values[len(values)-1].(*any)))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}
