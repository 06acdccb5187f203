package redisrevocation_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// A change that was made here is lost before the follower has seen it, because it
// waits after a failure. Others get its number.
func TestStore_lostOwnChanges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := newServer(t)
	client := srv.client()
	failed, goOn := make(chan struct{}), make(chan struct{})
	var opened, held atomic.Bool
	s := openClient(t, redis.NewClient(&redis.Options{Addr: srv.addr, MaxRetries: -1}), redisrevocation.Options{
		OnError: func(error) {
			if opened.Load() && held.CompareAndSwap(false, true) {
				close(failed)
				<-goOn
			}
		},
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Revoke(ctx, byID("a")))
	revoked := time.Now()
	eventually(t, "followed", soon, func() bool { return s.Staleness() < time.Since(revoked) })
	dump := map[string]string{}
	for _, name := range []string{"entries", "expiry", "log", "meta"} {
		key := "{jwthttp}:" + name
		text, err := client.Dump(ctx, key).Result()
		must(err)
		dump[key] = text
	}
	opened.Store(true)
	must(client.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	<-failed
	must(s.Remove(ctx, byID("other")))
	must(s.Remove(ctx, byID("x")))
	for key, text := range dump { // a replica takes over that has only the first change
		must(client.RestoreReplace(ctx, key, 0, text).Err())
	}
	time.AfterFunc(time.Second, func() { close(goOn) })
	must(s.Revoke(ctx, byID("x")))
	for range 2 {
		if got := said(s, "x"); got != "revoked" {
			t.Errorf("acknowledged, and %s", got)
		}
		must(s.Revoke(ctx, byID("y")))
		must(s.Revoke(ctx, byID("z")))
		heard := s.Staleness()
		eventually(t, "followed", soon, func() bool { return s.Staleness() < heard || heard < time.Millisecond })
	}
}

// The follower notices by the log that changes were lost. The numbers and the epoch
// do not show it, and the line that would show it has left the log.
func TestStore_lossShownByLog(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := newServer(t)
	client := srv.client()
	o := mustOpen(t, srv.addr, redisrevocation.Options{})
	o.revoke("a", "b")
	revoked := time.Now()
	eventually(t, "followed", soon, func() bool { return o.Staleness() < time.Since(revoked) })
	all, err := client.HGetAll(ctx, "{jwthttp}:entries").Result()
	if err != nil {
		t.Fatal(err)
	}
	// A master that lost the second change, has made others as 2 and 3, and
	// has trimmed its log to the third.
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for key, state := range all {
			if strings.Contains(state, `"b"`) {
				p.HDel(ctx, "{jwthttp}:entries", key)
				p.ZRem(ctx, "{jwthttp}:expiry", key)
				state = strings.Replace(state, `"b"`, `"x"`, 1)
				p.HSet(ctx, "{jwthttp}:entries", "key-of-x", state)
				p.ZAdd(ctx, "{jwthttp}:expiry", redis.Z{Score: 1e18, Member: "key-of-x"})
				p.Do(ctx, "XADD", "{jwthttp}:log", "3-7", "prev", "2-5", "key", "key-of-x", "state", state, "removed", "0")
			}
		}
		p.Do(ctx, "XTRIM", "{jwthttp}:log", "MAXLEN", "1")
		p.HSet(ctx, "{jwthttp}:meta", "seq", "3", "last", "3-7")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.soon("revoked", "x")
	eventually(t, "OnError is told", soon, func() bool { return o.heard("lost") })
	o.want("revoked", "a", "b")
}
