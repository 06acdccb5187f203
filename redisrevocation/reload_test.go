package redisrevocation_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// To load everything again takes much longer than MaxStale. As long as the log has a
// change that the copy has, the copy is fresh meanwhile, follows, and takes writes.
func TestStore_reload_slow(t *testing.T) {
	t.Parallel()
	const maxStale = 3 * time.Second
	for _, tt := range []struct {
		name   string
		happen func(l *losingServer, other *opened, before map[string]string)
		fresh  bool
	}{
		{"another epoch", func(l *losingServer, _ *opened, _ map[string]string) {
			l.must(l.client().HSet(context.Background(), keys[0], "epoch", "another").Err())
		}, true},
		{"the last changes are lost", func(l *losingServer, _ *opened, before map[string]string) {
			l.restore(before)()
		}, true},
		{"others have the numbers of what is lost", func(l *losingServer, other *opened, before map[string]string) {
			l.restore(before)()
			other.revoke("x-1", "x-2", "x-3")
		}, true},
		{"the log is outgrown", func(l *losingServer, _ *opened, _ map[string]string) { l.outgrow() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &losingServer{server: newServer(t, "--appendfsync", "no"), t: t}
			other := mustOpen(t, l.addr, redisrevocation.Options{})
			other.revoke(ids(0, 10_000)...)
			var slow atomic.Bool
			s := mustOpen(t, l.addr, redisrevocation.Options{MaxStale: maxStale}, func(o *redis.Options) {
				o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
					return &duringPages{conn, 0, func() {
						if slow.Load() {
							<-time.After(500 * time.Millisecond)
						}
					}}, err
				}
			})
			before := l.dump(keys...)
			s.revoke("last-1", "last-2")
			other.catchUp()
			slow.Store(true)
			start := time.Now()
			tt.happen(l, other, before)
			eventually(t, "it is noticed", soon, func() bool { return s.heard("following") })
			if tt.fresh {
				checkReload(t, s, other, func() {
					l.must(l.client().HSet(context.Background(), keys[0], "epoch", "a third one").Err())
				})
			} else {
				eventually(t, "stale, since changes may be unknown", soon, func() bool { return s.says("valid") == "error" })
			}
			loading := s.Stats().Loads == 1
			if took := time.Since(start); !loading || tt.fresh && took < 2*maxStale {
				t.Errorf("loading after %v: %v", took, loading)
			}
			slow.Store(false)
			eventually(t, "loaded", soon, func() bool { return s.Stats().Loads > 1 })
			s.want("valid", "valid")
			if tt.fresh {
				s.want("valid", "id-1", "id-3", "id-5")
			}
			s.want("revoked", "id-0", "id-9999", "last-1", "last-2")
			s.healed()
			if !tt.fresh {
				return // nothing is lost
			}
			// The other instance has written back what was lost.
			eventually(t, "the loss is reported", soon, func() bool { return s.heard("has lost changes: 0 entries") })
		})
	}
}

// outgrow makes two changes, and deletes all but the second from the log, in one step.
func (l *losingServer) outgrow() {
	ctx, c := context.Background(), l.client()
	last := c.XRevRangeN(ctx, keys[1], "+", "-", 1).Val()[0]
	number, _, _ := strings.Cut(last.ID, "-")
	n, err := strconv.Atoi(number)
	l.must(err)
	id, before := fmt.Sprint(n+2, "-1"), fmt.Sprint(n+1, "-1")
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: keys[1], ID: id, Values: []any{
			"prev", before, "key", last.Values["key"], "state", last.Values["state"], "removed", "0"}})
		p.XTrimMaxLen(ctx, keys[1], 1)
		p.HSet(ctx, keys[0], "epoch", "another", "seq", n+2, "last", id)
		return nil
	})
	l.must(err)
}

// checkReload revokes and removes through both instances while s loads everything, for
// twice its MaxStale. Once it calls again, for another loss.
func checkReload(t *testing.T, s, other *opened, again func()) {
	t.Helper()
	for start, n := time.Now(), 0; n < 3 || time.Since(start) < 6*time.Second; n++ {
		if err := s.Ready(t.Context()); err != nil {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		switch {
		case n < 3:
			id := ids(40_000+2*n, 40_002+2*n)
			s.revoke(id[0])
			other.revoke(id[1])
			s.want("revoked", id[0])
			s.soon("revoked", id[1])
			other.soon("revoked", id[0])
			s.remove(ids(0, 6)[2*n+1])
			if n == 1 {
				again()
			}
		case s.Staleness() > 2*time.Second:
			t.Fatalf("%v old", s.Staleness())
		}
		<-time.After(time.Millisecond)
	}
}

// Redis loses changes while Open loads it, which it does again then.
func TestOpen_lossMeanwhile(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	client := srv.client()
	mustOpen(t, srv.addr, redisrevocation.Options{}).revoke(ids(0, 3000)...)
	var once sync.Once
	s := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &duringPages{conn, 0, func() {
				once.Do(func() {
					if err := client.HSet(context.Background(), keys[0], "epoch", "another").Err(); err != nil {
						t.Error(err)
					}
				})
			}}, err
		}
	})
	s.want("revoked", ids(0, 3000)...)
}
