package redisrevocation_test

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// beside are the fields of the entries beside the buckets.
var beside = []string{"epoch", "fields", "last", "salt", "seq"}

// stored returns the states of the entries in Redis by their keys.
func stored(c *redis.Client) map[string]string {
	states := map[string]string{}
	for name, text := range c.HGetAll(context.Background(), keys[0]).Val() {
		if slices.Contains(beside, name) {
			continue
		}
		for line := range strings.SplitSeq(text[1:], "\n") {
			key, state, _ := strings.Cut(line, " ")
			states[key] = state
		}
	}
	return states
}

// bucket returns the name of the bucket of an entry, and its text.
func bucket(c *redis.Client, key string) (name, text string) {
	ctx := context.Background()
	name = bucketName(c.HGet(ctx, keys[0], "salt").Val(), key)
	return name, c.HGet(ctx, keys[0], name).Val()
}

func bucketName(salt, key string) string {
	sum := sha1.Sum([]byte(salt + key))
	return hex.EncodeToString(sum[:])[:5]
}

// rewrite gives an entry in Redis another state, or deletes it if that is empty. It
// changes nothing else.
func rewrite(t *testing.T, c *redis.Client, key, state string) {
	t.Helper()
	ctx := context.Background()
	name, text := bucket(c, key)
	line, pattern := "", regexp.MustCompile("\n"+key+" [^\n]*")
	if state != "" {
		line = "\n" + key + " " + state
	}
	if !pattern.MatchString(text) {
		t.Errorf("no entry %s in %q", key, text)
	}
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if text = pattern.ReplaceAllLiteralString(text, line); text != "" {
			p.HSet(ctx, keys[0], name, text)
		} else {
			p.HDel(ctx, keys[0], name)
			p.HIncrBy(ctx, keys[0], "fields", -1)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// expired makes an entry in Redis one that has expired so long ago.
func expired(t *testing.T, c *redis.Client, id string, ago time.Duration) {
	t.Helper()
	state := stored(c)[key(t, id)]
	rewrite(t, c, key(t, id), state[:20]+fmt.Sprintf("%020d", time.Now().Add(-ago).Unix())+state[40:])
}

// checkBuckets checks that each entry is once in Redis, in its bucket, and that the
// number of fields is right.
func checkBuckets(t *testing.T, c *redis.Client) {
	t.Helper()
	fields, entries := c.HGetAll(context.Background(), keys[0]).Val(), map[string]bool{}
	for name, text := range fields {
		if slices.Contains(beside, name) {
			continue
		}
		for line := range strings.SplitSeq(strings.TrimPrefix(text, "\n"), "\n") {
			key, _, ok := strings.Cut(line, " ")
			if want := bucketName(fields["salt"], key); !ok || want != name || entries[key] {
				t.Errorf("bucket %s, again: %v: %q", name, entries[key], line)
			}
			entries[key] = true
		}
	}
	if n := fmt.Sprint(len(fields)); fields["fields"] != n {
		t.Errorf("fields %s, want %s", fields["fields"], n)
	}
}

// sharing returns the IDs of n entries in one bucket.
func sharing(t *testing.T, c *redis.Client, n int) []string {
	t.Helper()
	salt, buckets := c.HGet(context.Background(), keys[0], "salt").Val(), map[string][]string{}
	for i := 0; ; i++ {
		id := fmt.Sprint("id-", i)
		name := bucketName(salt, key(t, id))
		if buckets[name] = append(buckets[name], id); len(buckets[name]) == n {
			return buckets[name]
		}
	}
}

func key(t *testing.T, id string) string {
	t.Helper()
	record, err := replica.NewRecord(byID(id))
	if err != nil {
		t.Fatal(err)
	}
	return record.Key
}

// Three entries share a bucket. Changes of one of them leave the others as they are.
func TestStore_buckets(t *testing.T) {
	t.Parallel()
	srv := newServer(t, "--appendfsync", "no")
	a, c := mustOpen(t, srv.addr, redisrevocation.Options{}), srv.client()
	shared, want := sharing(t, c, 3), map[string]string{} // ID to what is said
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 150 {
		i := rnd.IntN(len(shared))
		id := shared[i]
		switch rnd.IntN(4) {
		case 0, 1:
			a.revoke(id)
			want[id] = "revoked"
		case 2:
			a.remove(id)
			delete(want, id)
		case 3: // it expires, and a change of another one deletes it
			if want[id] != "" {
				expired(t, c, id, 16*time.Minute)
				delete(want, id)
			}
			other := shared[(i+1)%len(shared)]
			a.revoke(other)
			want[other] = "revoked"
		}
		states := stored(c)
		for _, id := range shared {
			if state, ok := states[key(t, id)]; ok != (want[id] != "") || ok && !strings.HasSuffix(state, `"`+id+`"}`) {
				t.Fatalf("seed %d: %s: want %v: %q", seed, id, want[id], states)
			}
		}
		checkBuckets(t, c)
	}
	late := mustOpen(t, srv.addr, redisrevocation.Options{})
	for _, id := range shared {
		if got := late.says(id); got != cmp.Or(want[id], "valid") {
			t.Errorf("seed %d: %s is %s", seed, id, got)
		}
	}
}

// One copy of the salt is enough to find all entries.
func TestStore_saltLost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := newServer(t, "--appendfsync", "no")
	a, c := mustOpen(t, srv.addr, redisrevocation.Options{}), srv.client()
	a.revoke(ids(0, 100)...)
	a.end()
	a.Store.Wait() // so that it does not write back
	before := stored(c)
	for _, field := range []string{"salt", "epoch"} {
		if err := c.HDel(ctx, keys[0], field).Err(); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, srv.addr, redisrevocation.Options{})
		b.want("revoked", ids(0, 100)...)
		if after := stored(c); !maps.Equal(after, before) {
			t.Errorf("without %s: %d entries, and %d before", field, len(after), len(before))
		}
		b.revoke("id-1") // as it was, so that it is not there twice
		checkBuckets(t, c)
		before = stored(c)
		b.end()
		b.Store.Wait()
	}
}

// Expired entries leave Redis without a change.
func TestStore_expiry(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	c, a := srv.client(), mustOpen(t, srv.addr, redisrevocation.Options{MaxStale: time.Second}) // it asks often
	a.revoke(ids(0, 2000)...)
	a.revoke("young", "stays")
	for i, id := range ids(0, 2000) {
		if i%10 == 0 {
			expired(t, c, id, 16*time.Minute)
		}
	}
	expired(t, c, "young", 14*time.Minute)
	eventually(t, "deleted", soon, func() bool { return len(stored(c)) <= 1802 })
	a.catchUp()
	states := stored(c)
	for i, id := range append(ids(0, 2000), "young", "stays") {
		if _, ok := states[key(t, id)]; ok == (i%10 == 0 && i < 2000) {
			t.Errorf("%s is there: %v", id, ok)
		}
	}
	checkBuckets(t, c)
	if n := a.Stats().Loads; n != 1 || a.heard("lost") {
		t.Errorf("%d loads: %q", n, a.told)
	}
}

// What one of the clocks calls alive is not deleted.
func TestStore_expiry_clocks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := newServer(t)
	client := redis.NewClient(&redis.Options{Addr: srv.addr})
	s := openClient(t, client, redisrevocation.Options{})
	var ahead time.Duration // of the clock of those who write
	client.AddHook(hook{before: func(cmd redis.Cmder) {
		args := cmd.Args()
		if now, ok := args[len(args)-2].(int64); ok {
			args[len(args)-2] = now + int64(ahead/time.Second)
		}
	}})
	c := srv.client()
	shared := sharing(t, c, 2)
	// stays reports whether an entry stays that has expired so long ago, by Redis's clock.
	stays := func(ago time.Duration) bool {
		t.Helper()
		for _, id := range shared {
			if err := s.Revoke(ctx, byID(id)); err != nil {
				t.Fatal(err)
			}
		}
		expired(t, c, shared[0], ago)
		if err := s.Revoke(ctx, byID(shared[1])); err != nil {
			t.Fatal(err)
		}
		_, ok := stored(c)[key(t, shared[0])]
		return ok
	}
	ahead = 2 * time.Hour
	if !stays(time.Minute) {
		t.Error("the writer's clock alone deletes")
	}
	ahead = 0
	if stays(20 * time.Minute) {
		t.Error("expired by both clocks, and not deleted")
	}
	ahead = -2 * time.Hour
	// The follower has the right clock. It may delete the entry now and then.
	eventually(t, "an entry that is alive by the writer's clock stays", soon, func() bool { return stays(20 * time.Minute) })
}

// The same clocks count if nothing is written.
func TestStore_purge_clocks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := newServer(t)
	a, c := mustOpen(t, srv.addr, redisrevocation.Options{}), srv.client()
	a.revoke("x")
	a.end()
	a.Store.Wait()
	for _, tt := range []struct {
		ago, ahead time.Duration
		stays      bool
	}{
		{time.Minute, 2 * time.Hour, true},
		{20 * time.Minute, -2 * time.Hour, true},
		{20 * time.Minute, -1 << 62, true},
		{14 * time.Minute, 0, true},
		{16 * time.Minute, 0, false},
	} {
		expired(t, c, "x", tt.ago)
		now := time.Now().Add(tt.ahead).Unix()
		if err := redisrevocation.PurgeScript.Run(ctx, c, keys, "epoch", "", "0-0", 0, now, 15*60, "0", 500).Err(); err != nil {
			t.Fatal(err)
		}
		if _, ok := stored(c)[key(t, "x")]; ok != tt.stays {
			t.Errorf("expired %v ago, with a clock %v ahead, it stays: %v", tt.ago, tt.ahead, ok)
		}
		checkBuckets(t, c)
	}
}

// Redis refuses to delete. That is reported, and does no other harm.
func TestStore_purge_fails(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	a, c := mustOpen(t, srv.addr, redisrevocation.Options{}), srv.client()
	a.revoke("x", "y")
	expired(t, c, "x", 16*time.Minute)
	set := func(n string) {
		if err := c.ConfigSet(context.Background(), "min-replicas-to-write", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	eventually(t, "reported", soon, func() bool { return a.heard("deleting expired entries: NOREPLICAS") })
	a.catchUp()
	a.want("revoked", "y")
	if a.heard("following") {
		t.Errorf("OnError was told %q", a.told)
	}
	set("0")
	eventually(t, "deleted", soon, func() bool { return len(stored(c)) == 1 })
	checkBuckets(t, c)
}

// An older copy of the entries alone is noticed, also if the log no longer has the last
// change of that copy.
func TestStore_olderEntries(t *testing.T) {
	t.Parallel()
	for _, trimmed := range []bool{false, true} {
		t.Run(fmt.Sprint("trimmed=", trimmed), func(t *testing.T) {
			t.Parallel()
			l := &losingServer{t: t, server: newServer(t)}
			a, c := mustOpen(t, l.addr, redisrevocation.Options{}), l.client()
			shared := sharing(t, c, 2)
			a.revoke(shared[0])
			restore := l.restore(l.dump(keys[0]))
			a.revoke(shared[1]) // in the same bucket, so the number of fields stays
			if trimmed {
				l.must(c.XTrimMaxLen(context.Background(), keys[1], 1).Err())
			}
			restore()
			eventually(t, "the loss is noticed", soon, func() bool { return a.heard("lost") })
			a.healed()
			mustOpen(t, l.addr, redisrevocation.Options{}).want("revoked", shared...)
			checkBuckets(t, c)
		})
	}
}
