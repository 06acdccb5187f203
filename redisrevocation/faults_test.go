package redisrevocation_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// Acknowledged changes survive kill -9 of a Redis with appendfsync always, and
// connections that are cut, slow or dead.
func TestStore_faults(t *testing.T) {
	faults := 30
	if os.Getenv("CI") == "true" {
		faults = 100
	}
	srv := newServer(t)
	proxies := make([]*storetest.Proxy, 3)
	for i := range proxies {
		proxies[i] = storetest.NewProxy(t, srv.addr)
	}
	storetest.RunFaults(t, storetest.FaultTest{
		Proxies: proxies,
		Open: func(ctx context.Context, i int, maxStale time.Duration) (storetest.Store, error) {
			s, err := open(ctx, proxies[i].Addr(), redisrevocation.Options{MaxStale: maxStale}, func(o *redis.Options) {
				// Three ways of using the client: one tries again, one fails
				// at once, one heeds the deadline and speaks RESP2.
				switch i {
				case 1:
					o.MaxRetries = -1
				case 2:
					o.ContextTimeoutEnabled, o.Protocol = true, 2
				}
			})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Kill:     srv.kill,
		Restart:  srv.start,
		Faults:   faults,
		Recovery: soon,
	})
}

var faultsFor = flag.Duration("faults", 0, "how long the test of losses runs at least")

// Redis loses what it has acknowledged: it is emptied, keys are deleted, older
// copies of all or of some keys are restored, and replicas take over that lag.
func TestStore_faults_losses(t *testing.T) {
	l := &losingServer{t: t, server: newServer(t)}
	for range 3 {
		l.proxies = append(l.proxies, storetest.NewProxy(t, l.server.addr))
	}
	const rounds = 10 // more with -faults
	storetest.RunLosses(t, storetest.LossTest{
		Instances: len(l.proxies),
		Open: func(ctx context.Context, i int) (storetest.Store, error) {
			addr := l.server.addr
			if i < len(l.proxies) {
				addr = l.proxies[i].Addr()
			}
			// Some losses outgrow the log. A copy of a small MaxStale asks often.
			opts := redisrevocation.Options{LogLength: 1, MaxStale: time.Second, OnError: func(error) {}}
			s, err := open(ctx, addr, opts, func(o *redis.Options) { o.MaxRetries = i % 2 })
			if err != nil {
				return nil, err
			}
			if i == 1 { // its clock jumps, and what it deletes in Redis shows it
				s.client.AddHook(hook{before: jump})
			}
			return s, nil
		},
		Losses: []storetest.Loss{
			{Name: "older copy", Begin: func(*rand.Rand) func() { return l.restore(l.dump(keys...)) }},
			{Name: "older copy of the entries", Begin: func(*rand.Rand) func() { return l.restore(l.dump(keys[0])) }},
			{Name: "older copy of the log", Begin: func(*rand.Rand) func() { return l.restore(l.dump(keys[1])) }},
			{Name: "emptied", Begin: func(*rand.Rand) func() { l.must(l.client().FlushAll(context.Background()).Err()); return nil }},
			{Name: "key deleted", Begin: func(rnd *rand.Rand) func() {
				l.must(l.client().Del(context.Background(), keys[rnd.IntN(len(keys))]).Err())
				return nil
			}},
			{Name: "field deleted", Begin: func(rnd *rand.Rand) func() { l.deleteField(rnd); return nil }},
			{Name: "lines deleted", Begin: func(rnd *rand.Rand) func() { l.deleteLines(rnd); return func() {} }},
			{Name: "failover", Begin: func(*rand.Rand) func() { return l.failOver() }},
		},
		Proxies: l.proxies,
		Time:    *faultsFor, Rounds: rounds,
		Recovery: soon,
	})
	checkBuckets(t, l.client())
}

// jump leaves the clock of the caller in the arguments of a write as it is, or moves
// it by more than an entry is kept.
func jump(cmd redis.Cmder) {
	args := cmd.Args()
	if now, ok := args[len(args)-2].(int64); ok && strings.HasPrefix(cmd.Name(), "eval") {
		args[len(args)-2] = now + (rand.Int64N(3)-1)*3*3600
	}
}

var keys = []string{"{jwthttp}:entries", "{jwthttp}:log"}

// losingServer is a server, and then one of its replicas.
type losingServer struct {
	*server
	t       *testing.T
	proxies []*storetest.Proxy
}

func (l *losingServer) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Error(err)
	}
}

// dump returns copies of some keys, all of one moment.
func (l *losingServer) dump(names ...string) map[string]string {
	ctx, dumps := context.Background(), map[string]string{}
	client := redis.NewClient(&redis.Options{Addr: l.server.addr})
	defer client.Close()
	cmds, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			p.Dump(ctx, name)
		}
		return nil
	})
	if err != redis.Nil { // a key that is not there
		l.must(err)
	}
	for i, cmd := range cmds {
		dumps[names[i]] = cmd.(*redis.StringCmd).Val()
	}
	return dumps
}

// restore returns a function that puts copies in place of the keys.
func (l *losingServer) restore(dumps map[string]string) func() {
	return func() {
		ctx := context.Background()
		client := redis.NewClient(&redis.Options{Addr: l.server.addr})
		defer client.Close()
		_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for name, text := range dumps {
				if p.Del(ctx, name); text != "" {
					p.Restore(ctx, name, 0, text)
				}
			}
			return nil
		})
		l.must(err)
	}
}

// deleteField deletes a bucket of entries, or, as often, a field beside them.
func (l *losingServer) deleteField(rnd *rand.Rand) {
	ctx, client := context.Background(), l.client()
	names := slices.Clone(beside)
	if rnd.IntN(2) == 0 {
		names = slices.DeleteFunc(client.HKeys(ctx, keys[0]).Val(), func(name string) bool { return slices.Contains(beside, name) })
	}
	if len(names) > 0 {
		l.must(client.HDel(ctx, keys[0], names[rnd.IntN(len(names))]).Err())
	}
}

// deleteLines deletes some lines of the log.
func (l *losingServer) deleteLines(rnd *rand.Rand) {
	ctx, client := context.Background(), l.client()
	for _, line := range client.XRange(ctx, keys[1], "-", "+").Val() {
		if rnd.IntN(2) == 0 {
			l.must(client.XDel(ctx, keys[1], line.ID).Err())
		}
	}
}

// failOver returns a function with which a replica takes over that has only what the
// server has now.
func (l *losingServer) failOver() func() {
	ctx, master := context.Background(), l.server
	next := newServer(l.t, "--replicaof", "127.0.0.1 "+port(master.addr))
	client := next.client()
	eventually(l.t, "the replica is linked", soon, func() bool {
		return strings.Contains(client.Info(ctx, "replication").Val(), "master_link_status:up")
	})
	l.must(client.ReplicaOf(ctx, "NO", "ONE").Err())
	return func() {
		l.server = next
		for _, p := range l.proxies {
			p.Redirect(next.addr)
		}
		master.kill()
	}
}
