package redisrevocation_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
	"github.com/seed450a7203/jwthttp/revocation"
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
	for _, name := range []string{"entries", "log"} {
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
	// A master that lost the second change, has made others as 2 and 3, and
	// has trimmed its log to the third.
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for key, state := range stored(client) {
			if strings.Contains(state, `"b"`) {
				name, _ := bucket(client, key)
				p.HDel(ctx, "{jwthttp}:entries", name)
				state = strings.Replace(state, `"b"`, `"x"`, 1)
				name, _ = bucket(client, "key-of-x")
				p.HSet(ctx, "{jwthttp}:entries", name, "\nkey-of-x "+state)
				p.Do(ctx, "XADD", "{jwthttp}:log", "3-7", "prev", "2-5", "key", "key-of-x", "state", state, "removed", "0")
			}
		}
		p.Do(ctx, "XTRIM", "{jwthttp}:log", "MAXLEN", "1")
		p.HSet(ctx, "{jwthttp}:entries", "seq", "3", "last", "3-7")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.soon("revoked", "x")
	eventually(t, "OnError is told", soon, func() bool { return o.heard("lost") })
	o.want("revoked", "a", "b")
}

// hook calls before and after with each command of a client, which may be nil.
type hook struct {
	before func(redis.Cmder)
	after  func()
}

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.before != nil {
			h.before(cmd)
		}
		err := next(ctx, cmd)
		if err == nil && h.after != nil {
			h.after()
		}
		return err
	}
}

// Redis loses a change while its answer is on the way to the instance that made it.
// Others get its number, and the follower has loaded everything before the answer.
func TestStore_lostWrite(t *testing.T) {
	t.Parallel()
	l := &losingServer{t: t, server: newServer(t)}
	ctx, client := context.Background(), redis.NewClient(&redis.Options{Addr: l.addr})
	s := openClient(t, client, redisrevocation.Options{})
	other := mustOpen(t, l.addr, redisrevocation.Options{})
	other.revoke("a")
	eventually(t, "followed", soon, func() bool { return said(s, "a") == "revoked" })
	restore := l.restore(l.dump(keys...))
	fired := false
	client.AddHook(hook{after: func() {
		if !fired {
			fired = true
			restore()
			other.catchUp()
			other.revoke("b", "c")
			eventually(t, "loaded", soon, func() bool { return said(s, "c") == "revoked" })
		}
	}})
	if err := s.Revoke(ctx, byID("x")); err != nil {
		t.Fatal(err)
	}
	for range 3 { // restores it again and again
		if got := said(s, "x"); got != "revoked" {
			t.Errorf("acknowledged, and %s", got)
		}
		restore()
		restored := time.Now()
		eventually(t, "followed", soon, func() bool { return s.Staleness() < time.Since(restored) })
	}
	if !fired {
		t.Error("nothing was lost")
	}
}

// The instance that revokes again has not followed since another one has removed the
// entry. The order in Redis counts on both.
func TestStore_removedElsewhere(t *testing.T) {
	t.Parallel()
	ctx, srv := context.Background(), newServer(t)
	held, goOn := make(chan struct{}), make(chan struct{})
	var opened, once atomic.Bool
	a := openClient(t, redis.NewClient(&redis.Options{Addr: srv.addr, MaxRetries: -1}), redisrevocation.Options{OnError: func(error) {
		if opened.Load() && once.CompareAndSwap(false, true) {
			close(held)
			<-goOn
		}
	}})
	b := mustOpen(t, srv.addr, redisrevocation.Options{})
	until := time.Now()
	subject := func(until time.Time) revocation.Entry {
		return revocation.Entry{Kind: revocation.BySubject, Issuer: issuer, Value: "alice", IssuedUntil: until}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Revoke(ctx, subject(until)))
	opened.Store(true)
	must(srv.client().Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	<-held
	must(b.Remove(ctx, subject(until)))
	must(a.Revoke(ctx, subject(until.Add(-time.Hour))))
	b.catchUp()
	for name, s := range map[string]*redisrevocation.Store{"a": a, "b": b.Store} {
		for ago, want := range map[time.Duration]bool{time.Minute: false, 2 * time.Hour: true} {
			got, err := s.Revoked(ctx, &jwthttp.Token{Issuer: issuer, Subject: "alice", IssuedAt: until.Add(-ago)})
			if got != want || err != nil {
				t.Errorf("%s, issued %v ago: %v, %v", name, ago, got, err)
			}
		}
	}
	close(goOn)
}

// After a loss, so many changes are made that the log does not show it any more.
func TestStore_lossOutgrowsLog(t *testing.T) {
	t.Parallel()
	l := &losingServer{t: t, server: newServer(t, "--appendfsync", "no")}
	opts := redisrevocation.Options{LogLength: 1}
	proxy := storetest.NewProxy(t, l.addr)
	a := mustOpen(t, proxy.Addr(), opts)
	a.revoke("kept")
	restore := l.restore(l.dump(keys...))
	a.revoke("lost")
	proxy.Cut()
	restore()
	b := mustOpen(t, l.addr, opts)
	b.revoke(ids(0, 300)...)
	proxy.Heal()
	a.soon("revoked", "id-299")
	a.want("revoked", "kept", "lost", "id-0")
	eventually(t, "OnError is told", soon, func() bool { return a.heard("lost") })
}

// A Remove is the first change after a loss, which the one who removes may not know of.
func TestStore_removeAfterLoss(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, l *losingServer, restore func())
		by   func(a, b, late *opened) *opened
	}{
		{"emptied", func(t *testing.T, l *losingServer, _ func()) { l.client().FlushAll(context.Background()) },
			func(_, b, _ *opened) *opened { return b }},
		{"older copy", func(_ *testing.T, _ *losingServer, restore func()) { restore() },
			func(_, b, _ *opened) *opened { return b }},
		{"by a new instance", func(_ *testing.T, _ *losingServer, restore func()) { restore() },
			func(_, _, late *opened) *opened { return late }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &losingServer{t: t, server: newServer(t)}
			proxy := storetest.NewProxy(t, l.addr)
			a, b := mustOpen(t, proxy.Addr(), redisrevocation.Options{}), mustOpen(t, l.addr, redisrevocation.Options{})
			a.revoke("first")
			restore := l.restore(l.dump(keys...))
			a.revoke("x", "y")
			b.soon("revoked", "y")
			proxy.Cut()
			tt.lose(t, l, restore)
			by := tt.by(a, b, mustOpen(t, l.addr, redisrevocation.Options{}))
			by.remove("x")
			by.want("valid", "x")
			proxy.Heal()
			for _, o := range []*opened{a, b} {
				o.soon("valid", "x")
				o.want("revoked", "first", "y")
			}
			mustOpen(t, l.addr, redisrevocation.Options{}).want("valid", "x")
		})
	}
}

// The newest change was made here, is lost, and none comes after it.
func TestStore_lostOwnNewest(t *testing.T) {
	t.Parallel()
	l := &losingServer{t: t, server: newServer(t)}
	proxy := storetest.NewProxy(t, l.addr)
	a := mustOpen(t, proxy.Addr(), redisrevocation.Options{})
	a.revoke("a")
	restore := l.restore(l.dump(keys...))
	a.revoke("x")
	proxy.Cut()
	restore()
	proxy.Heal()
	eventually(t, "OnError is told", soon, func() bool { return a.heard("redis has lost changes") })
	a.catchUp()
	a.want("revoked", "a", "x")
}

// Redis is emptied between two pages. What is installed is of one history.
func TestOpen_lossBetweenPages(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	a.revoke(ids(0, 1500)...)
	client := srv.client()
	fired := false
	opts := &redis.Options{Addr: srv.addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &afterPage{Conn: conn, do: func() {
			fired = true
			if err := client.FlushAll(context.Background()).Err(); err != nil {
				t.Error(err)
			}
			// It is not among the later pages.
			r := revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: "after", Expires: time.Now().Add(time.Minute)}
			if err := a.Revoke(context.Background(), r); err != nil {
				t.Error(err)
			}
		}}, err
	}}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := redisrevocation.Open(ctx, closing(t, redis.NewClient(opts)), redisrevocation.Options{})
	if err == nil {
		if got := said(s, "after"); got != "revoked" {
			t.Errorf("opened, and what was acknowledged before is %s", got)
		}
		defer s.Wait()
	}
	cancel()
	if !fired {
		t.Error("there was no page")
	}
}

// A write that comes after a loss does not wait until the follower's read ends.
func TestStore_lostKeys_write(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	silent := make(chan struct{})
	defer close(silent)
	var silenced atomic.Bool
	s := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &silentReads{Conn: conn, until: silent, began: &silenced}, err
		}
	})
	s.revoke("x") // its line answers the first read
	eventually(t, "the second read has begun", soon, silenced.Load)
	if err := srv.client().FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	s.revoke("y")
	s.want("revoked", "x", "y")
}

// silentReads is a connection on which XREAD after the first line gets no answer, and
// no timeout, until a channel is closed.
type silentReads struct {
	net.Conn
	until <-chan struct{}
	began *atomic.Bool
	reads atomic.Bool
}

func (s *silentReads) Write(p []byte) (int, error) {
	s.reads.Store(bytes.Contains(bytes.ToUpper(p), []byte("XREAD")) && !bytes.Contains(p, []byte("0-0")))
	return s.Conn.Write(p)
}

func (s *silentReads) Read(p []byte) (int, error) {
	if s.reads.Load() {
		s.began.Store(true)
		<-s.until
	}
	return s.Conn.Read(p)
}

// Redis refuses changes that need memory when it has reached its limit. The rest works.
func TestStore_maxmemory(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--maxmemory-policy", "noeviction")
	client := srv.client()
	ctx := context.Background()
	s, other := mustOpen(t, srv.addr, redisrevocation.Options{}), mustOpen(t, srv.addr, redisrevocation.Options{})
	s.revoke("before")
	if err := client.ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, err := range []error{s.Revoke(ctx, byID("refused")), other.Remove(ctx, byID("before"))} {
			if err == nil || !strings.Contains(err.Error(), "maxmemory") {
				t.Fatalf("error %v", err)
			}
		}
	}
	late := mustOpen(t, srv.addr, redisrevocation.Options{})
	for _, s := range []*opened{s, other, late} {
		s.want("revoked", "before")
		s.want("valid", "refused")
		s.catchUp()
	}
	if err := client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	s.revoke("after")
	other.soon("revoked", "after")
	late.soon("revoked", "after")
}

// A copy of Redis is restored, and then a newer one. It has a Remove again after which the
// entry was revoked once more.
func TestStore_newerCopy(t *testing.T) {
	l := &losingServer{t: t, server: newServer(t)}
	o := mustOpen(t, l.addr, redisrevocation.Options{})
	o.revoke("x")
	older := l.restore(l.dump(keys...))
	o.remove("x")
	newer := l.restore(l.dump(keys...))
	o.revoke("x")
	for _, restore := range []func(){older, newer} {
		restore()
		made := time.Now()
		eventually(t, "loaded", soon, func() bool { return o.Staleness() < time.Since(made) && !o.Stats().Loading })
		o.want("revoked", "x")
	}
	o.healed()
	mustOpen(t, l.addr, redisrevocation.Options{}).want("revoked", "x")
}

// The newest common change is found in a log that has been cut.
func TestStore_common(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	o := mustOpen(t, srv.addr, redisrevocation.Options{})
	for i := range 9 {
		o.revoke(fmt.Sprint(i))
	}
	for first := range 10 {
		if err := srv.client().Do(context.Background(), "XTRIM", keys[1], "MINID", first+1).Err(); err != nil {
			t.Fatal(err)
		}
		if at, ok, err := redisrevocation.Common(o.Store); err != nil || !ok || at.Seq != 9 {
			t.Errorf("of the log from %d on: %v, %v, %v", first+1, at, ok, err)
		}
	}
}

// mute closes the connection of the first Remove before its answer comes.
type mute struct {
	net.Conn
	once *sync.Once
	cut  bool
}

func (c *mute) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "removed:") {
		c.once.Do(func() { c.cut = true })
	}
	return c.Conn.Write(b)
}

func (c *mute) Read(b []byte) (int, error) {
	if c.cut {
		_, _ = c.Conn.Read(b) // so the script has run
		_ = c.Conn.Close()
	}
	return c.Conn.Read(b)
}

// The client repeats a Remove whose answer did not come. No instance loads because of that.
func TestStore_removedTwice(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	var cut sync.Once
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	b := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
			c, err := net.Dial(network, addr)
			return &mute{Conn: c, once: &cut}, err
		}
	})
	a.revoke("x")
	b.remove("x")
	a.revoke("y")
	made := time.Now()
	for _, o := range []*opened{a, b} {
		o.soon("revoked", "y")
		eventually(t, "heard", soon, func() bool { return o.Staleness() < time.Since(made) })
		o.want("valid", "x")
		if n := o.Stats().Loads; n != 1 {
			t.Errorf("%d loads; OnError %q", n, o.told)
		}
	}
	if n := srv.client().XLen(context.Background(), keys[1]).Val(); n != 4 {
		t.Errorf("%d lines in the log", n)
	}
}
