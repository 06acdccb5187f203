package sqlrevocation_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// Two roles with different search paths have one table, or an error.
func TestOptions_Table_schema(t *testing.T) {
	d := postgresDatabase(t)
	name := d.opts.Table
	for _, statement := range []string{`CREATE SCHEMA IF NOT EXISTS a`, `CREATE SCHEMA IF NOT EXISTS "B"`} {
		d.exec(t, statement)
	}
	inA, inB := d, d
	inA.address = postgres.address(postgres.target(), "search_path", "a")
	inB.address = postgres.address(postgres.target(), "search_path", `"B"`)
	first := inA.open(t)
	revoke(t, first, "x")

	_, err := sqlrevocation.Open(t.Context(), connect(t, inB.driver, inB.address), inB.opts)
	if err == nil || !strings.Contains(err.Error(), `schema "a" has a table "`+name+`"`) {
		t.Errorf("another search path: %v", err)
	}
	inB.opts.Table = "a." + name
	if s := inB.open(t); !revoked(s, "x") {
		t.Error("a table with its schema is another one")
	}
	inB.opts.Table = "B." + name
	second := inB.open(t)
	revoke(t, second, "y")
	if revoked(second, "x") || !revoked(inB.open(t), "y") {
		t.Error("not a table of its schema")
	}
	if _, err := sqlrevocation.Open(t.Context(), connect(t, inA.driver, inA.address), inA.opts); err == nil {
		t.Error("opened, although two schemas have the table")
	}
	revoke(t, first, "z") // an instance keeps its schema

	nowhere := d
	nowhere.opts.Table += "_nowhere"
	nowhere.address = postgres.address(postgres.target(), "search_path", "missing")
	if _, err := sqlrevocation.Open(t.Context(), connect(t, nowhere.driver, nowhere.address), nowhere.opts); err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("no schema: %v", err)
	}
}

// The file of a SQLite database is deleted or replaced while it is in use. Other
// programs see another one then.
func TestStore_replacedFile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replace func(t *testing.T, path string)
	}{
		{"deleted", func(*testing.T, string) {}},
		{"replaced", func(t *testing.T, path string) {
			another := sqliteDatabase(t)
			another.open(t)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := sqliteDatabase(t)
			var told heard
			d.opts.OnError, d.opts.MaxStale = told.add, time.Second
			s := d.open(t)
			revoke(t, s, "x")
			path := strings.TrimPrefix(strings.SplitN(d.address, "?", 2)[0], "file:")
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if err := os.Rename(path+suffix, path+".old"+suffix); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			tt.replace(t, path)
			if err := s.Revoke(t.Context(), byID("y")); err == nil || !strings.Contains(err.Error(), "deleted or replaced") {
				t.Errorf("Revoke: %v", err)
			}
			within(t, soon, "OnError is told", func() bool { return strings.Contains(told.String(), "deleted or replaced") })
			within(t, soon, "it is stale", func() bool { return s.Ready(t.Context()) != nil })
			if !revoked(s, "x") {
				t.Error("what it knows is not in force")
			}
		})
	}
}
