package redisrevocation_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// healed waits until Redis has again what it has lost.
func (o *opened) healed() {
	o.t.Helper()
	made := time.Now()
	eventually(o.t, "written back", soon, func() bool {
		stats := o.Stats() // after it was asked about the last loss
		return stats.Lost == 0 && stats.Loads > 1 && !stats.Loading && stats.Staleness < time.Since(made)
	})
}

// What Redis has lost is written back once, although several instances know it, and
// although it is lost again meanwhile.
func TestStore_heals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(l *losingServer, restore func())
		once bool // each entry has one line then; otherwise the log has the old ones, too
	}{
		{"emptied", func(l *losingServer, _ func()) { l.must(l.client().FlushAll(context.Background()).Err()) }, true},
		{"entries deleted", func(l *losingServer, _ func()) { l.must(l.client().Del(context.Background(), keys[0]).Err()) }, true},
		{"older copy", func(_ *losingServer, restore func()) { restore() }, true},
		{"older copy, twice", func(l *losingServer, restore func()) {
			restore()
			eventually(l.t, "an entry is written back", soon, func() bool {
				return len(stored(l.client())) > 10
			})
			restore()
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &losingServer{t: t, server: newServer(t)}
			instances := []*opened{mustOpen(t, l.addr, redisrevocation.Options{}), mustOpen(t, l.addr, redisrevocation.Options{}), mustOpen(t, l.addr, redisrevocation.Options{})}
			a, b := instances[0], instances[1]
			a.revoke("first")
			restore := l.restore(l.dump(keys...))
			a.revoke(ids(0, 250)...)
			b.soon("revoked", "id-249")
			instances[2].soon("revoked", "id-249")
			tt.lose(l, restore)
			eventually(t, "Redis has all", soon, func() bool { return len(stored(l.client())) == 251 })
			for _, o := range instances {
				o.healed()
				o.want("revoked", ids(0, 250)...)
				if stats := o.Stats(); stats.Entries != 251 || stats.Loads < 2 || stats.Staleness > soon {
					t.Errorf("%+v", stats)
				}
			}
			late := mustOpen(t, l.addr, redisrevocation.Options{})
			late.want("revoked", append(ids(0, 250), "first")...)
			if n := late.Len(); n != 251 {
				t.Errorf("%d entries", n)
			}
			lines := map[string]int{}
			for _, line := range l.client().XRange(context.Background(), keys[1], "-", "+").Val() {
				key := fmt.Sprint(line.Values["key"])
				if lines[key]++; lines[key] > 1 && tt.once {
					t.Errorf("%s has %d changes", key, lines[key])
				}
			}
		})
	}
}

// A removal that was made after the loss is not undone.
func TestStore_heals_removed(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	proxy := storetest.NewProxy(t, srv.addr)
	a, b := mustOpen(t, proxy.Addr(), redisrevocation.Options{}), mustOpen(t, srv.addr, redisrevocation.Options{})
	a.revoke("x", "y")
	proxy.Cut()
	srv.client().FlushAll(context.Background())
	b.remove("x")
	proxy.Heal()
	a.healed()
	for _, o := range []*opened{a, b, mustOpen(t, srv.addr, redisrevocation.Options{})} {
		o.soon("revoked", "y")
		o.want("valid", "x")
	}
}

// It is removed when another instance is about to write it back.
func TestStore_heals_removedMeanwhile(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	client := redis.NewClient(&redis.Options{Addr: srv.addr})
	a := openClient(t, client, redisrevocation.Options{})
	for _, id := range []string{"x", "y"} {
		if err := a.Revoke(context.Background(), byID(id)); err != nil {
			t.Fatal(err)
		}
	}
	var once sync.Once
	others := make(chan *opened, 1)
	client.AddHook(hook{before: func(redis.Cmder) { once.Do(func() { (<-others).remove("x") }) }})
	srv.client().FlushAll(context.Background())
	others <- mustOpen(t, srv.addr, redisrevocation.Options{})
	eventually(t, "written back", soon, func() bool { return a.Stats().Lost == 0 && a.Stats().Healed > 0 })
	late := mustOpen(t, srv.addr, redisrevocation.Options{})
	late.want("valid", "x")
	late.want("revoked", "y")
	if got := said(a, "x"); got != "valid" {
		t.Errorf("x is %s", got)
	}
}

// Losses without an end do not keep an instance and its OnError busy.
func TestStore_repeatedLosses(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	a := mustOpen(t, srv.addr, redisrevocation.Options{MaxStale: time.Second}) // it asks four times a second
	client := srv.client()
	a.revoke("x")
	before := a.Stats().Loads
	for start := time.Now(); time.Since(start) < 5*time.Second; {
		if err := client.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	a.want("revoked", "x")
	if n := a.Stats().Loads - before; n > 12 {
		t.Errorf("%d loads in 5 s", n)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.told); n > 6 {
		t.Errorf("OnError was told %d times: %q", n, a.told)
	}
}

// The state is changed by hand. That is reported, costs few loads, and heals.
func TestStore_changedByHand(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, cmds ...redis.Cmder) {
		t.Helper()
		for _, cmd := range cmds {
			if err := cmd.Err(); err != nil {
				t.Fatalf("%v: %v", cmd, err)
			}
		}
	}
	ctx := context.Background()
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, c *redis.Client)
		silent bool // because nothing is wrong
	}{
		{name: "the log is ahead", change: func(t *testing.T, c *redis.Client) {
			must(t, c.Do(ctx, "XADD", keys[1], "9-9", "prev", "x", "key", "k", "state", strings.Repeat("0", 50)))
		}},
		{name: "the log has been ahead", change: func(t *testing.T, c *redis.Client) {
			must(t, c.Do(ctx, "DEL", keys[1]), c.Do(ctx, "XADD", keys[1], "9-9", "f", "v"), c.Do(ctx, "XDEL", keys[1], "9-9"))
		}, silent: true},
		{name: "the log is behind", change: func(t *testing.T, c *redis.Client) {
			newest := c.XRevRangeN(ctx, keys[1], "+", "-", 1).Val()
			must(t, c.XDel(ctx, keys[1], newest[0].ID))
		}},
		{name: "the log is empty", change: func(t *testing.T, c *redis.Client) { must(t, c.XTrimMaxLen(ctx, keys[1], 0)) }, silent: true},
		{name: "the number is not one", change: func(t *testing.T, c *redis.Client) { must(t, c.HSet(ctx, keys[0], "seq", "x")) }},
		{name: "the number is larger", change: func(t *testing.T, c *redis.Client) { must(t, c.HSet(ctx, keys[0], "seq", "1000")) }},
		{name: "the numbers are behind", change: func(t *testing.T, c *redis.Client) {
			must(t, c.HSet(ctx, keys[0], "seq", "1", "last", c.XRangeN(ctx, keys[1], "-", "+", 1).Val()[0].ID))
		}},
		{name: "the last line is not one", change: func(t *testing.T, c *redis.Client) { must(t, c.HSet(ctx, keys[0], "last", "x")) }},
		{name: "the number of fields is not one", change: func(t *testing.T, c *redis.Client) { must(t, c.HSet(ctx, keys[0], "fields", "x")) }},
		{name: "the number is missing", change: func(t *testing.T, c *redis.Client) { must(t, c.HDel(ctx, keys[0], "seq")) }},
		{name: "the number of fields is wrong", change: func(t *testing.T, c *redis.Client) { must(t, c.HSet(ctx, keys[0], "fields", "1")) }},
		{name: "a bucket is missing", change: func(t *testing.T, c *redis.Client) {
			name, _ := bucket(c, slices.Sorted(maps.Keys(stored(c)))[0])
			must(t, c.HDel(ctx, keys[0], name))
		}},
		{name: "the salt is missing", change: func(t *testing.T, c *redis.Client) { must(t, c.HDel(ctx, keys[0], "salt")) }},
		{name: "both copies of the salt are missing", change: func(t *testing.T, c *redis.Client) { must(t, c.HDel(ctx, keys[0], "salt", "epoch")) }},
		{name: "an entry that is not one", change: func(t *testing.T, c *redis.Client) {
			must(t, c.HSet(ctx, keys[0], "x", "y", "z", ""))
			<-time.After(3 * time.Second) // nobody can load that
			must(t, c.HDel(ctx, keys[0], "x", "z"))
		}},
		{name: "the log has another type", change: func(t *testing.T, c *redis.Client) { another(t, c, keys[1]) }},
		{name: "the entries have another type", change: func(t *testing.T, c *redis.Client) { another(t, c, keys[0]) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			a, b := mustOpen(t, srv.addr, redisrevocation.Options{}), mustOpen(t, srv.addr, redisrevocation.Options{})
			a.revoke("x", "y", "z")
			b.soon("revoked", "z")
			client := srv.client()
			must(t, client.ConfigResetStat(ctx))
			start := time.Now()
			tt.change(t, client)
			if !tt.silent {
				eventually(t, "OnError is told", soon, func() bool { return a.heard("following") && b.heard("following") })
			}
			a.revoke("after")
			b.soon("revoked", "after")
			// Writes do not wait until everything has been loaded, and what was lost is
			// written back after that.
			eventually(t, "a new instance has all", soon, func() bool {
				<-time.After(200 * time.Millisecond) // do not ask too often
				late := mustOpen(t, srv.addr, redisrevocation.Options{})
				late.want("valid", "k")
				return late.says("x") == "revoked" && late.says("y") == "revoked" && late.says("z") == "revoked" && late.says("after") == "revoked"
			})
			eventually(t, "nothing is lost", soon, func() bool { return a.Stats().Lost+b.Stats().Lost == 0 })
			checkBuckets(t, client)
			// Each of two instances asks about five times a second, and more often
			// when something is wrong.
			if n := calls(t, client); n > 200+int(60*time.Since(start).Seconds()) {
				t.Errorf("%d scripts in %v", n, time.Since(start))
			}
		})
	}
}

// another gives a key another type for a while.
func another(t *testing.T, c *redis.Client, key string) {
	t.Helper()
	ctx := context.Background()
	if err := c.Set(ctx, key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * time.Second)
	if err := c.Del(ctx, key).Err(); err != nil {
		t.Fatal(err)
	}
}

// calls is how many scripts Redis has run.
func calls(t *testing.T, c *redis.Client) (n int) {
	t.Helper()
	for line := range strings.Lines(c.Info(context.Background(), "commandstats").Val()) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n
}

// More changes are made while everything is loaded than the log has room for.
func TestOpen_shortLog(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	opts := redisrevocation.Options{LogLength: 200}
	a := mustOpen(t, srv.addr, opts)
	a.revoke(ids(0, 10_000)...)
	pages := 0
	client := redis.NewClient(&redis.Options{Addr: srv.addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &duringPages{conn, 0, func() {
			pages++
			a.revoke(ids(100_000+200*pages, 100_000+200*pages+60)...)
			a.remove(fmt.Sprint("id-", pages))
			a.remove(fmt.Sprint("id-", 10_000-pages))
		}}, err
	}})
	s := openClient(t, client, opts)
	if pages < 10 {
		t.Fatalf("%d pages", pages)
	}
	if want := a.Len(); s.Len() != want {
		t.Errorf("%d entries, want %d", s.Len(), want)
	}
}

// Redis starts anew between two pages, so that the cursor of the first means nothing.
func TestOpen_restartBetweenPages(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	a.revoke(ids(0, 5000)...)
	pages := 0
	client := redis.NewClient(&redis.Options{Addr: srv.addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &beforePages{conn, func() {
			if pages++; pages == 3 {
				srv.kill()
				srv.start()
				a.catchUp() // so that Redis knows the script again
			}
		}}, err
	}})
	ctx, cancel := context.WithCancel(context.Background())
	s, err := redisrevocation.Open(ctx, closing(t, client), redisrevocation.Options{})
	if err == nil {
		if n := s.Len(); n != 5000 {
			t.Errorf("opened with %d entries", n)
		}
		defer s.Wait()
	}
	cancel()
	if pages < 3 {
		t.Errorf("%d pages", pages)
	}
}

// beforePages does something before a page is asked for.
type beforePages struct {
	net.Conn
	do func()
}

func (b *beforePages) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("hscan")) && bytes.Contains(p, []byte("evalsha")) {
		b.do()
	}
	return b.Conn.Write(p)
}

// What is revoked while everything is loaded again is in force before that has ended.
func TestStore_reload(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	b := mustOpen(t, srv.addr, redisrevocation.Options{})
	b.revoke(ids(0, 15_000)...)
	var instance atomic.Pointer[opened]
	var page atomic.Int64
	var early atomic.Bool
	s := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &duringPages{conn, 0, func() {
				s := instance.Load()
				if s == nil {
					return // the first load
				}
				switch page.Add(1) {
				case 1:
					b.revoke("early")
				case 2: // the rest waits
					for start := time.Now(); !early.Load() && time.Since(start) < soon; {
						early.Store(s.says("early") == "revoked" && s.Stats().Loads == 1)
						<-time.After(time.Millisecond)
					}
				}
			}}, err
		}
	})
	instance.Store(s)
	if err := srv.client().HSet(context.Background(), keys[0], "epoch", "another").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "loaded", soon, func() bool { return s.Stats().Loads > 1 })
	s.want("revoked", "early", "id-0", "id-14999")
	if !early.Load() || s.Stats().Lost != 0 {
		t.Errorf("in force before the end of the load: %v; %+v", early.Load(), s.Stats())
	}
}

// duringPages does something while each 80 kB of a snapshot arrive.
type duringPages struct {
	net.Conn
	read int
	do   func()
}

func (d *duringPages) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.read += n; d.read > 80_000 {
		d.read = 0
		d.do()
	}
	return n, err
}
