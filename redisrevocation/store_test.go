package redisrevocation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/seed450a7203/jwthttp/revocation/revocationtest"
)

// instance is a Store with a separate client, which ends with it.
type instance struct {
	*redisrevocation.Store
	client *redis.Client
	end    context.CancelFunc
}

func open(ctx context.Context, addr string, opts redisrevocation.Options, change ...func(*redis.Options)) (*instance, error) {
	options := &redis.Options{Addr: addr}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClient(options)
	ctx, cancel := context.WithCancel(ctx)
	store, err := redisrevocation.Open(ctx, client, opts)
	if err != nil {
		cancel()
		_ = client.Close()
		return nil, err
	}
	return &instance{store, client, cancel}, nil
}

func (i *instance) Wait() {
	i.Store.Wait()
	i.end()
	_ = i.client.Close()
}

func TestStore_conformance(t *testing.T) {
	srv := newServer(t)
	var prefixes atomic.Int64
	revocationtest.TestStore(t, func(t *testing.T) revocationtest.Backend {
		proxy := storetest.NewProxy(t, srv.addr)
		prefix := fmt.Sprint("test", prefixes.Add(1))
		return revocationtest.Backend{
			Open: func(ctx context.Context, maxStale time.Duration) (revocation.Store, error) {
				s, err := open(ctx, proxy.Addr(), redisrevocation.Options{Prefix: prefix, MaxStale: maxStale})
				if err != nil {
					return nil, err // a nil *instance would not be a nil store
				}
				return s, nil
			},
			Stop:  proxy.Cut,
			Start: proxy.Heal,
			Delay: soon,
		}
	})
}

// opened is an instance that ends with the test, and what it told OnError.
type opened struct {
	*instance
	t    testing.TB
	mu   sync.Mutex
	told []string
}

func mustOpen(t testing.TB, addr string, opts redisrevocation.Options, change ...func(*redis.Options)) *opened {
	t.Helper()
	o := &opened{t: t}
	opts.OnError = func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.told = append(o.told, err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	if o.instance, err = open(ctx, addr, opts, change...); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		o.Wait()
	})
	return o
}

// heard reports whether OnError was told something with this text.
func (o *opened) heard(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.told, func(s string) bool { return strings.Contains(s, text) })
}

const issuer = "https://login.example.com/"

func byID(id string) revocation.Entry {
	return revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id, Expires: time.Now().Add(time.Hour)}
}

func (o *opened) revoke(ids ...string) {
	o.t.Helper()
	for _, id := range ids {
		if err := o.Revoke(context.Background(), byID(id)); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *opened) remove(id string) {
	o.t.Helper()
	if err := o.Remove(context.Background(), byID(id)); err != nil {
		o.t.Fatal(err)
	}
}

// says is what o says of a token: revoked, or not; or an error.
func (o *opened) says(id string) string {
	revoked, err := o.Revoked(context.Background(), &jwthttp.Token{Issuer: issuer, ID: id})
	switch {
	case err != nil:
		return "error"
	case revoked:
		return "revoked"
	}
	return "valid"
}

// want checks what o says now of each token.
func (o *opened) want(says string, ids ...string) {
	o.t.Helper()
	for _, id := range ids {
		if got := o.says(id); got != says {
			o.t.Errorf("%s is %s, want %s", id, got, says)
		}
	}
}

// catchUp waits until o has all that Redis has now.
func (o *opened) catchUp() {
	o.t.Helper()
	start := time.Now()
	eventually(o.t, "it has followed", soon, func() bool { return o.Staleness() < time.Since(start) })
}

// soon waits until o says so of a token.
func (o *opened) soon(says, id string) {
	o.t.Helper()
	eventually(o.t, id+" "+says, soon, func() bool { return o.says(id) == says })
}

func ids(from, to int) (list []string) {
	for n := from; n < to; n++ {
		list = append(list, fmt.Sprint("id-", n))
	}
	return list
}

func TestOpen_errors(t *testing.T) {
	t.Parallel()
	_, err := redisrevocation.Open(context.Background(), nil, redisrevocation.Options{
		Prefix: "a{b}", MaxStale: time.Millisecond, Replicas: -1, ReplicasTimeout: time.Hour, LogLength: -1,
	})
	if err == nil {
		t.Fatal("opened")
	}
	for _, name := range []string{"Prefix: \"a{b}\"", "MaxStale: 1ms", "Replicas: -1", "ReplicasTimeout: 1h", "LogLength: -1", "client: <nil>"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	var none *redis.Client
	ring := closing(t, redis.NewRing(&redis.RingOptions{}))
	small := closing(t, redis.NewClient(&redis.Options{PoolSize: 1}))
	for _, client := range []redis.UniversalClient{none, ring, small} {
		if _, err := redisrevocation.Open(context.Background(), client, redisrevocation.Options{}); err == nil || !strings.Contains(err.Error(), "client") {
			t.Errorf("%T: %v", client, err)
		}
	}
}

// A number in Lua has 53 bits, and so has a score of a sorted set. Neither may be
// used for a time.
func TestStore_nanoseconds(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	until := time.Unix(1700000000, 123456789)
	r := revocation.Entry{Kind: revocation.BySubject, Issuer: issuer, Value: "alice", IssuedUntil: until, Expires: time.Now().Add(time.Hour)}
	for _, change := range []time.Duration{0, 1, -1} {
		r.IssuedUntil = until.Add(change)
		if err := a.Revoke(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	b := mustOpen(t, srv.addr, redisrevocation.Options{})
	for _, o := range []*opened{a, b} {
		for later := range time.Duration(3) {
			want := later < 2
			got, err := o.Revoked(context.Background(), &jwthttp.Token{Issuer: issuer, Subject: "alice", IssuedAt: until.Add(later)})
			if err != nil || got != want {
				t.Errorf("%v later: %v, %v", later, got, err)
			}
		}
	}
	states := slices.Collect(maps.Values(stored(srv.client())))
	if len(states) != 1 || !strings.HasPrefix(states[0], "01700000000123456790") {
		t.Errorf("kept %q", states)
	}
}

// More than a page of entries, all with the same expiry, and some that stay.
func TestOpen_manyPages(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	for i, id := range ids(0, 2500) {
		r := revocation.Entry{Kind: revocation.ByID, Issuer: issuer, Value: id, Expires: time.Unix(4000000000, 0)}
		if i%3 == 0 {
			r.Expires = time.Time{}
		}
		if err := a.Revoke(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	b := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) { o.Protocol = 2 })
	if n := b.Len(); n != 2500 {
		t.Errorf("%d entries", n)
	}
	changesBetweenPages(t, srv)
	a.remove("id-1")
	b.soon("valid", "id-1")
}

// changesBetweenPages deletes an entry while pages are read, as if it had expired. No
// other one may be left out.
func changesBetweenPages(t *testing.T, srv *server) {
	t.Helper()
	client := srv.client()
	all := stored(client)
	fired := false
	c := mustOpen(t, srv.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &afterPage{Conn: conn, do: func() {
				fired = true
				rewrite(t, client, slices.Sorted(maps.Keys(all))[len(all)/2], "")
			}}, err
		}
	})
	if !fired {
		t.Fatal("there was no page")
	}
	if n, left := c.Len(), len(all); n > left || n < left-1 {
		t.Errorf("%d entries of %d", n, left)
	}
}

// afterPage does something while the first page of a snapshot arrives. Then its
// script has ended, and that of the second has not begun.
type afterPage struct {
	net.Conn
	read int
	do   func()
}

func (a *afterPage) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	before := a.read
	if a.read += n; before < 50_000 && a.read >= 50_000 {
		a.do()
	}
	return n, err
}

func TestStore_behindTheLog(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	proxy := storetest.NewProxy(t, srv.addr)
	opts := redisrevocation.Options{LogLength: 1}
	a, b := mustOpen(t, srv.addr, opts), mustOpen(t, proxy.Addr(), opts)
	a.revoke("removed", "first")
	b.soon("revoked", "first")
	proxy.Cut()
	a.revoke(ids(0, 300)...) // Redis drops a hundred or so at a time
	a.remove("removed")
	b.want("valid", ids(0, 300)...)
	proxy.Heal()
	b.soon("revoked", "id-299")
	b.want("revoked", ids(0, 300)...)
	b.want("revoked", "first")
	b.want("valid", "removed") // so nothing counted as lost
	if !b.heard("changes are missing") || b.heard("lost") {
		t.Errorf("OnError was told %q", b.told)
	}
}

// An instance does not ask for each position that it remembers when the log is shorter.
func TestStore_behindTheLog_questions(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	proxy := storetest.NewProxy(t, srv.addr)
	opts := redisrevocation.Options{LogLength: 1}
	a, b := mustOpen(t, srv.addr, opts), mustOpen(t, proxy.Addr(), opts)
	const remembered = 1000
	b.revoke(ids(0, remembered)...)
	proxy.Cut()
	a.revoke(ids(2000, 2300)...)
	client := srv.client()
	if err := client.ConfigResetStat(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	b.soon("revoked", "id-2299")
	stats, err := client.InfoMap(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	text := stats["Commandstats"]["cmdstat_evalsha"]
	var calls int
	if _, err := fmt.Sscanf(text, "calls=%d,", &calls); err != nil || calls > remembered/2 {
		t.Errorf("%d scripts ran: %q, %v", calls, text, err)
	}
}

// The log alone may be gone: then nothing comes although the number has grown.
func TestStore_deletedLog(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	proxy := storetest.NewProxy(t, srv.addr)
	a, b := mustOpen(t, srv.addr, redisrevocation.Options{}), mustOpen(t, proxy.Addr(), redisrevocation.Options{})
	proxy.Cut()
	a.revoke("x")
	srv.client().Del(context.Background(), "{jwthttp}:log")
	proxy.Heal()
	b.soon("revoked", "x")
	a.revoke("y")
	b.soon("revoked", "y")
}

func TestStore_lostKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(context.Context, *redis.Client) error
	}{
		{"everything", func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() }},
		{"entries", func(ctx context.Context, c *redis.Client) error { return c.Del(ctx, "{jwthttp}:entries").Err() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			a, b := mustOpen(t, srv.addr, redisrevocation.Options{}), mustOpen(t, srv.addr, redisrevocation.Options{})
			a.revoke(ids(0, 5)...)
			b.soon("revoked", "id-4")
			if err := tt.lose(context.Background(), srv.client()); err != nil {
				t.Fatal(err)
			}
			a.revoke("after") // its number may be one that the copies have
			a.want("revoked", "after")
			b.soon("revoked", "after")
			for _, o := range []*opened{a, b} {
				eventually(t, "OnError is told", soon, func() bool { return o.heard("lost") })
				o.want("revoked", ids(0, 5)...)
				o.want("valid", "other")
			}
			for _, o := range []*opened{a, b} {
				o.healed()
			}
			c := mustOpen(t, srv.addr, redisrevocation.Options{})
			c.want("revoked", ids(0, 5)...)
			c.want("revoked", "after")
		})
	}
}

// Only the order of expiry is gone, which is needed to read a snapshot. It is made
// anew.
func TestOpen_lostOrder(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	a := mustOpen(t, srv.addr, redisrevocation.Options{})
	a.revoke(ids(0, 5)...)
	srv.client().Del(context.Background(), "{jwthttp}:expiry")
	b := mustOpen(t, srv.addr, redisrevocation.Options{})
	b.want("revoked", ids(0, 5)...)
}

// After an old copy was restored, the numbers grow again. They may be equal to, or
// beyond, those of an instance that was away. It must notice.
func TestStore_restoredCopy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		changes int
	}{{"smaller", 0}, {"smaller, and written", 2}, {"equal", 5}, {"greater", 8}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			proxy := storetest.NewProxy(t, srv.addr)
			a := mustOpen(t, proxy.Addr(), redisrevocation.Options{})
			a.revoke(ids(0, 5)...)
			backup := filepath.Join(t.TempDir(), "backup")
			srv.kill()
			if err := os.CopyFS(backup, os.DirFS(filepath.Join(srv.dir, "appendonlydir"))); err != nil {
				t.Fatal(err)
			}
			srv.start()
			a.revoke(ids(5, 10)...)
			a.catchUp()
			proxy.Cut()
			srv.kill()
			if err := errors.Join(os.RemoveAll(filepath.Join(srv.dir, "appendonlydir")), os.CopyFS(filepath.Join(srv.dir, "appendonlydir"), os.DirFS(backup))); err != nil {
				t.Fatal(err)
			}
			srv.start()
			b := mustOpen(t, srv.addr, redisrevocation.Options{})
			b.want("valid", "id-9")
			b.revoke(ids(100, 100+tt.changes)...)
			proxy.Heal()
			eventually(t, "OnError is told", soon, func() bool { return a.heard("lost") })
			a.catchUp()
			a.want("revoked", ids(0, 10)...)
			a.want("revoked", ids(100, 100+tt.changes)...)
			b.revoke("later")
			a.soon("revoked", "later")
		})
	}
}

// A replica takes over that lacks the last changes. The same instance writes on.
func TestStore_laggingReplica(t *testing.T) {
	t.Parallel()
	master := newServer(t)
	replica := newServer(t, "--replicaof", "127.0.0.1 "+port(master.addr))
	addr := master.addr
	var mu sync.Mutex
	a := mustOpen(t, master.addr, redisrevocation.Options{}, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	a.revoke(ids(0, 3)...)
	client := replica.client()
	eventually(t, "replicated", soon, func() bool { return len(stored(client)) == 3 })
	if _, err := redisrevocation.Open(context.Background(), client, redisrevocation.Options{}); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("opened a replica: %v", err)
	}
	if err := client.ReplicaOf(context.Background(), "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	a.revoke(ids(3, 6)...)
	mu.Lock()
	addr = replica.addr
	mu.Unlock()
	master.kill()
	a.revoke("after")
	a.want("revoked", ids(0, 6)...)
	a.want("revoked", "after")
	eventually(t, "OnError is told", soon, func() bool { return a.heard("lost") })
	mustOpen(t, replica.addr, redisrevocation.Options{}).want("revoked", "after", "id-2")
}

// A connection that is dead and stays silent: the read ends nevertheless.
func TestStore_deadConnection(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	proxy := storetest.NewProxy(t, srv.addr)
	a := mustOpen(t, proxy.Addr(), redisrevocation.Options{MaxStale: time.Second})
	proxy.HalfOpen()
	eventually(t, "stale", soon, func() bool { return a.Ready(context.Background()) != nil })
	a.want("error", "x")
	eventually(t, "OnError is told", soon, func() bool { return a.heard("following") })
	proxy.Heal()
	eventually(t, "fresh", soon, func() bool { return a.Ready(context.Background()) == nil })
}

// The age of a copy counts from the question, not from its answer.
func TestStore_Staleness_slowAnswers(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	proxy := storetest.NewProxy(t, srv.addr)
	a := mustOpen(t, proxy.Addr(), redisrevocation.Options{MaxStale: time.Second})
	const delay = 200 * time.Millisecond
	proxy.Delay(delay)
	start := time.Now()
	eventually(t, "answers under way are in", soon, func() bool { return time.Since(start) > 4*delay })
	eventually(t, "some more answers", soon, func() bool {
		if age := a.Staleness(); age < delay {
			t.Fatalf("%v old, with answers that take longer", age)
		}
		return time.Since(start) > 12*delay
	})
}

func TestOpen_settings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		settings []string
		want     string // "": nothing is reported
	}{
		{"durable", nil, ""},
		{"no append-only file", []string{"--appendonly", "no"}, "appendonly is no"},
		{"fsync every second", []string{"--appendfsync", "everysec"}, "appendfsync is everysec"},
		{"no fsync", []string{"--appendfsync", "no"}, "appendfsync is no"},
		{"no fsync during a rewrite", []string{"--no-appendfsync-on-rewrite", "yes"}, "no-appendfsync-on-rewrite"},
		{"eviction", []string{"--maxmemory-policy", "allkeys-lru"}, "maxmemory-policy is allkeys-lru"},
		{"CONFIG forbidden", []string{"--rename-command", "CONFIG", ""}, "cannot read"},
	} {
		a := mustOpen(t, newServer(t, tt.settings...).addr, redisrevocation.Options{})
		if tt.want == "" && len(a.told) != 0 || !a.heard(tt.want) && tt.want != "" || len(a.told) > 1 {
			t.Errorf("%s: OnError was told %q", tt.name, a.told)
		}
	}
}

func TestOptions_Replicas(t *testing.T) {
	t.Parallel()
	master := newServer(t)
	replica := newServer(t, "--replicaof", "127.0.0.1 "+port(master.addr))
	client := replica.client()
	eventually(t, "linked", soon, func() bool {
		return strings.Contains(client.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	a := mustOpen(t, master.addr, redisrevocation.Options{Replicas: 1, ReplicasTimeout: soon})
	short := redisrevocation.Options{Replicas: 1, ReplicasTimeout: time.Second}
	b := mustOpen(t, master.addr, short)
	a.revoke("x")
	if n := len(stored(client)); n != 1 {
		t.Errorf("the replica has %d entries after Revoke", n)
	}
	master.client().ScriptFlush(context.Background())
	a.revoke("y")
	replica.kill()
	err := b.Revoke(context.Background(), byID("z"))
	if err == nil || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("without a replica: %v", err)
	}
	b.want("revoked", "z") // the master has it
	if c := mustOpen(t, master.addr, short); !c.heard("0 replicas are connected") {
		t.Errorf("OnError was told %q", c.told)
	}
}
