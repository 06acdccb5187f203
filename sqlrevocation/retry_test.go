package sqlrevocation_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// Another connection has the lock for longer than a second, and SQLite does not
// wait for it. In a journal mode other than WAL, a reader stops a COMMIT.
func TestStore_noBusyTimeout_heldLock(t *testing.T) {
	const held = 1200 * time.Millisecond
	revokeX := func(t *testing.T, d database, lock func()) {
		s := d.open(t)
		lock()
		revoke(t, s, "x")
	}
	removeX := func(t *testing.T, d database, lock func()) {
		s := d.open(t)
		revoke(t, s, "x")
		lock()
		if err := s.Remove(t.Context(), byID("x")); err != nil {
			t.Fatal(err)
		}
	}
	open := func(t *testing.T, d database, lock func()) {
		lock()
		d.open(t)
	}
	for _, tt := range []struct {
		name, journal, statement string
		do                       func(t *testing.T, d database, lock func())
	}{
		{"Revoke and a writer", "WAL", "DELETE FROM other", revokeX},
		{"Remove and a writer", "WAL", "DELETE FROM other", removeX},
		{"Open of an empty database and a writer", "WAL", "DELETE FROM other", open},
		{"Revoke and a writer, without WAL", "DELETE", "DELETE FROM other", revokeX},
		{"COMMIT and a reader, without WAL", "DELETE", "SELECT count(*) FROM other", revokeX},
		{"Open of an empty database and a reader, without WAL", "DELETE", "SELECT count(*) FROM other", open},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := sqliteDatabase(t)
			d.address = strings.NewReplacer("busy_timeout(1000)", "busy_timeout(0)", "journal_mode(WAL)", "journal_mode("+tt.journal+")").Replace(d.address)
			d.exec(t, "CREATE TABLE other (x)")
			db := connect(t, d.driver, d.address)
			tt.do(t, d, func() {
				tx, err := db.Begin()
				if err != nil {
					t.Fatal(err)
				}
				for {
					rows, err := tx.Query(tt.statement)
					if err == nil {
						rows.Next()
						_ = rows.Close()
						break
					}
					<-time.After(time.Millisecond) // the follower of the Store reads
				}
				time.AfterFunc(held, func() { _ = tx.Rollback() })
			})
		})
	}
}

// coded is an error of a driver that has SQLite's result code.
type coded int

func (c coded) Error() string { return fmt.Sprintf("result code %d", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestMayPass(t *testing.T) {
	plain := errors.New("database is locked")
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"busy", coded(5), true},
		{"busy, extended", fmt.Errorf("x: %w", coded(5|2<<8)), true},
		{"locked", coded(6), true},
		{"busy at the commit", sqlrevocation.CommitError(coded(5)), true},
		{"no such table", coded(1), false},
		{"full disk", coded(13), false},
		{"full disk at the commit", sqlrevocation.CommitError(coded(13)), false},
		{"without a code", plain, true},
		{"without a code, at the commit", sqlrevocation.CommitError(plain), false},
		{"no rows", fmt.Errorf("x: %w", sql.ErrNoRows), false},
	} {
		if got := sqlrevocation.MayPass(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// An error that time does not cure is returned at once and not after 10 seconds.
func TestStore_Revoke_permanentError(t *testing.T) {
	d := sqliteDatabase(t)
	s := d.open(t)
	d.exec(t, "DROP TABLE "+d.table("_meta"))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	timer := time.AfterFunc(8*time.Second, func() { cancel(errors.New("too late")) })
	defer timer.Stop()
	if err := s.Revoke(ctx, byID("x")); err == nil || context.Cause(ctx) != nil {
		t.Errorf("error %v, %v", err, context.Cause(ctx))
	}
}
