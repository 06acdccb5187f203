package sqlrevocation_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// eachDatabase runs a benchmark with each kind of database.
func eachDatabase(b *testing.B, run func(*testing.B, database)) {
	b.Run("db=SQLite", func(b *testing.B) { run(b, sqliteDatabase(b)) })
	b.Run("db=PostgreSQL", func(b *testing.B) { run(b, postgresDatabase(b)) })
}

// fill puts n entries into the tables, faster than Revoke would. Those in SQLite have
// other keys than Revoke would give them.
func (d database) fill(b testing.TB, n int) {
	b.Helper()
	d.open(b) // makes the tables
	if n == 0 {
		return
	}
	if d.opts.Dialect == sqlrevocation.PostgreSQL {
		d.exec(b, fmt.Sprintf(`INSERT INTO %s SELECT translate(rtrim(encode(sha256(n::text::bytea), 'base64'), '='), '+/', '-_'), `+
			`format('{"iss":"%s","jti":"token-%%s"}', n), 0, %d + n %% 3600 FROM generate_series(0, %d) n`,
			d.table(""), issuer, time.Now().Add(time.Hour).Unix(), n-1))
		d.exec(b, "ANALYZE "+d.table(""))
		return
	}
	d.exec(b, fmt.Sprintf(`WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d) `+
		`INSERT INTO %s SELECT substr('-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz', 1 + n %% 64, 1) || printf('%%042d', n), `+
		`'{"iss":"%s","jti":"token-' || n || '"}', 0, %d + n %% 3600 FROM numbers`,
		n-1, d.table(""), issuer, time.Now().Add(time.Hour).Unix()))
}

var entries = flag.String("entries", "100000,1000000", "how many entries BenchmarkFigures measures with")

// BenchmarkFigures measures the load, the memory, look-ups beside 2,000 changes a second,
// and the propagation to nine other instances.
func BenchmarkFigures(b *testing.B) {
	for _, n := range storetest.Sizes(b, *entries) {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, d database) {
				d.fill(b, n)
				storetest.Measure(b, n, func(ctx context.Context) (storetest.Store, error) {
					return openInstance(ctx, d.driver, d.address, d.opts)
				})
			})
		})
	}
}

// BenchmarkRevoke shows that a write takes no longer if there are many entries.
func BenchmarkRevoke(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000, 3_000_000} {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, d database) { revokeBeside(b, d, n) })
		})
	}
}

func revokeBeside(b *testing.B, d database, entries int) {
	d.fill(b, entries)
	s, n := d.open(b), 0
	for b.Loop() {
		n++
		if err := s.Revoke(b.Context(), revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: fmt.Sprint(n), Expires: time.Now().Add(time.Hour)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp is what a request pays whose token is not revoked.
func BenchmarkLookUp(b *testing.B) {
	for _, n := range []int{0, 10_000, 1_000_000} {
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			d := sqliteDatabase(b)
			d.fill(b, n)
			s := d.open(b)
			token := &jwthttp.Token{Issuer: issuer, ID: "another", Subject: "alice", IssuedAt: time.Now()}
			b.ReportAllocs()
			for b.Loop() {
				if revoked, err := s.Revoked(b.Context(), token); revoked || err != nil {
					b.Fatal(revoked, err)
				}
			}
		})
	}
}

// BenchmarkAskEachTime is what it would cost to ask the database on each request.
func BenchmarkAskEachTime(b *testing.B) {
	eachDatabase(b, func(b *testing.B, d database) {
		d.fill(b, 10_000)
		ask, err := connect(b, d.driver, d.address).Prepare("SELECT count(*) FROM " + d.table("") + " WHERE key = $1")
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var n int
			if err := ask.QueryRowContext(b.Context(), "another").Scan(&n); err != nil || n != 0 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkPropagation is the time from the call of Revoke on one instance until it
// is in force on the last of nine others.
func BenchmarkPropagation(b *testing.B) {
	eachDatabase(b, func(b *testing.B, d database) {
		writer := d.open(b)
		var others []*sqlrevocation.Store
		for range 9 {
			others = append(others, d.open(b))
		}
		var took []time.Duration
		for b.Loop() {
			id, start := fmt.Sprint(len(took)), time.Now()
			if err := writer.Revoke(b.Context(), byID(id)); err != nil {
				b.Fatal(err)
			}
			for _, s := range others {
				for !revoked(s, id) {
					<-time.After(100 * time.Microsecond)
				}
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "worst-ms")
	})
}
