package redisrevocation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// newSlowServer starts a server whose disk takes that long to write.
func newSlowServer(t *testing.T, sync time.Duration, settings ...string) *server {
	t.Helper()
	srv := newServer(t, settings...)
	srv.kill()
	srv.env = storetest.SlowSync(t, t.TempDir(), sync)
	srv.start()
	return srv
}

// With appendfsync everysec, Redis does not write while an fsync runs. So kill -9 of
// Redis alone loses acknowledged changes of up to two seconds. With always it loses
// none, however slow the disk is.
func TestStore_faults_slowDisk(t *testing.T) {
	seed := storetest.Seed(t)
	for _, tt := range []struct {
		policy string
		sync   time.Duration
		loses  bool
	}{
		{"everysec", 1500 * time.Millisecond, true},
		{"always", 30 * time.Millisecond, false},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 3))
			srv := newSlowServer(t, tt.sync, "--appendfsync", tt.policy)
			rounds, kills, acked, lost := 3, 0, 0, 0
			if tt.loses {
				rounds = 10 // until it has lost some
			}
			for start := time.Now(); kills < rounds && lost == 0 || time.Since(start) < *faultsFor; kills++ {
				begun := time.Now()
				a, l := killWhileWriting(t, srv, kills, time.Second+time.Duration(rnd.Int64N(int64(2*time.Second))))
				if most := int(time.Since(begun) / tt.sync); !tt.loses && a > most {
					t.Errorf("%d changes in %v: fsync does not take %v", a, time.Since(begun), tt.sync)
				}
				acked, lost = acked+a, lost+l
			}
			storetest.Figures(t, fmt.Sprintf("seed %d: %s, %v for an fsync: %d kills of Redis, %d of %d acknowledged changes lost", seed, tt.policy, tt.sync, kills, lost, acked))
			if acked == 0 || tt.loses != (lost > 0) {
				t.Errorf("%d of %d acknowledged changes are lost", lost, acked)
			}
		})
	}
}

// killWhileWriting kills the server after a while, and returns how many changes were
// acknowledged until then, and how many of them Redis does not have afterwards.
func killWhileWriting(t *testing.T, srv *server, round int, after time.Duration) (acked, lost int) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := open(ctx, srv.addr, redisrevocation.Options{OnError: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	var killed atomic.Bool
	timer := time.AfterFunc(after, func() {
		killed.Store(true)
		srv.kill()
	})
	defer timer.Stop()
	id := func(n int) string { return fmt.Sprint("round-", round, "-", n) }
	for s.Revoke(ctx, byID(id(acked))) == nil {
		acked++
	}
	if !killed.Load() {
		t.Fatal("a write has failed before")
	}
	cancel() // so that it does not write back what is lost
	s.Wait()
	srv.start()
	late := mustOpen(t, srv.addr, redisrevocation.Options{})
	for n := range acked {
		if late.says(id(n)) != "revoked" {
			lost++
		}
	}
	return acked, lost
}
