package sqlrevocation_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/internal/storetest"
)

var faultsFor = flag.Duration("faults", 0, "how long each test of losses runs at least")

// The database loses what it has acknowledged: older backups of all or of some tables
// are restored, tables are made anew, and rows are deleted.
func TestStore_faults_losses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		rounds := 30
		if os.Getenv("CI") == "true" {
			rounds = 100
		}
		d.opts.LogLength = 100 // which some losses outgrow
		d.opts.OnError = func(error) {}
		d.open(t) // makes the tables
		l := &losingDatabase{d, connect(t, d.driver, d.address), t}
		storetest.RunLosses(t, storetest.LossTest{
			Instances: 3,
			Open: func(ctx context.Context, i int) (storetest.Store, error) {
				opts := d.opts
				opts.Poll = []time.Duration{poll, 20 * time.Millisecond, 100 * time.Millisecond, poll}[i]
				return openInstance(ctx, d.driver, d.address, opts)
			},
			Losses: []storetest.Loss{
				{Name: "older backup", Begin: func(*rand.Rand) func() { return l.backup(tables...) }},
				{Name: "older backup, and the log outgrown", Begin: func(*rand.Rand) func() {
					restore := l.backup(tables...)
					return func() { restore(); l.outgrowLog() }
				}},
				{Name: "older backup without the log", Begin: func(*rand.Rand) func() { return l.backup("_meta", "") }},
				{Name: "older backup of the log", Begin: func(*rand.Rand) func() { return l.backup("_log") }},
				{Name: "older backup of the numbers", Begin: func(*rand.Rand) func() { return l.backup("_meta") }},
				{Name: "new tables", Begin: func(rnd *rand.Rand) func() {
					l.change(`DELETE FROM {t}`, `DELETE FROM {t}_log`, fmt.Sprintf(`UPDATE {t}_meta SET seq = 0, mark = 0, epoch = '%d'`, rnd.Uint64()))
					return nil
				}},
				{Name: "entry deleted", Begin: func(*rand.Rand) func() {
					l.change(`DELETE FROM {t} WHERE key IN (SELECT key FROM {t} ORDER BY expires LIMIT 3)`)
					return nil
				}},
				{Name: "log deleted", Begin: func(*rand.Rand) func() {
					l.change(`DELETE FROM {t}_log WHERE seq % 2 = 0`)
					return func() {}
				}},
			},
			Time: *faultsFor, Rounds: rounds,
			Recovery: soon,
		})
	})
}

// tables are the suffixes of the tables.
var tables = []string{"_meta", "", "_log"}

// losingDatabase changes the tables behind the back of the instances.
type losingDatabase struct {
	database
	db *sql.DB
	t  *testing.T
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

// outgrowLog makes more changes than the log keeps.
func (l *losingDatabase) outgrowLog() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := openInstance(ctx, l.driver, l.address, l.opts)
	if err != nil {
		l.t.Error(err)
		return
	}
	for i := range 2 * l.opts.LogLength {
		if err := s.Revoke(ctx, byID(fmt.Sprint("outgrows ", i))); err != nil {
			l.t.Error(err)
		}
	}
	cancel()
	s.Wait()
}
