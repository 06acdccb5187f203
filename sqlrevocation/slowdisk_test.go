package sqlrevocation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// However slow the disk of PostgreSQL is, a crash of the server loses no change that was
// acknowledged.
func TestStore_faults_slowDisk(t *testing.T) {
	const sync = 30 * time.Millisecond
	startPostgres(t)
	seed := storetest.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 3))
	srv := postgres.standby(t) // a server of this test alone
	srv.promote(t)
	srv.kill()
	srv.env = storetest.SlowSync(t, filepath.Dir(srv.data), sync)
	srv.start(t)
	opts := sqlrevocation.Options{Dialect: sqlrevocation.PostgreSQL, Poll: poll, OnError: func(error) {}}
	kills, all := 0, 0
	for start := time.Now(); kills < 3 || time.Since(start) < *faultsFor; kills++ {
		begun := time.Now()
		acked := writeAndKill(t, srv, opts, kills, 500*time.Millisecond+time.Duration(rnd.Int64N(int64(time.Second))))
		if most := int(time.Since(begun) / sync); acked > most {
			t.Errorf("%d changes in %v: a write to the disk does not take %v", acked, time.Since(begun), sync)
		}
		srv.start(t)
		late := database{"pgx", srv.address(srv.target()), opts}.open(t)
		for n := range acked {
			if !revoked(late, slowID(kills, n)) {
				t.Errorf("seed %d: kill %d: change %d of %d is lost", seed, kills, n, acked)
			}
		}
		all += acked
	}
	if all == 0 {
		t.Error("no change was acknowledged")
	}
	if !t.Failed() {
		storetest.Figures(t, fmt.Sprintf("seed %d: %v for a write to the disk: %d kills of PostgreSQL, none of %d acknowledged changes lost", seed, sync, kills, all))
	}
}

func slowID(round, n int) string { return fmt.Sprint("round-", round, "-", n) }

// writeAndKill kills the server after a while, and returns how many changes were
// acknowledged until then.
func writeAndKill(t *testing.T, srv *server, opts sqlrevocation.Options, round int, after time.Duration) (acked int) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := openInstance(ctx, "pgx", srv.address(srv.target()), opts)
	if err != nil {
		t.Fatal(err)
	}
	var killing atomic.Bool
	killed := make(chan struct{})
	time.AfterFunc(after, func() {
		defer close(killed)
		killing.Store(true)
		srv.kill()
		cancel() // so that it neither tries again nor writes back
	})
	for s.Revoke(ctx, byID(slowID(round, acked))) == nil {
		acked++
	}
	if !killing.Load() {
		t.Error("a write has failed before")
	}
	<-killed
	s.Wait()
	return acked
}
