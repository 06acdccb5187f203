package redisrevocation_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed450a7203/jwthttp/internal/storetest"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// All keys of a prefix are in one slot, which Redis computes by CRC16 of the text
// between the braces.
func TestStore_cluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, addrs := newCluster(t)
	a := openCluster(t, addrs[:3], redisrevocation.Options{})
	first := servers[0].client()
	slot := first.ClusterKeySlot(ctx, "{jwthttp}:entries").Val()
	if other := first.ClusterKeySlot(ctx, "{jwthttp}:log").Val(); other != slot {
		t.Errorf("the log is in slot %d, entries in %d", other, slot)
	}
	revokeAndRemove(t, a, openCluster(t, addrs[:3], redisrevocation.Options{}))
	clusterFailsOver(t, a, servers, addrs)
}

// clusterFailsOver gives the master of the slot a replica, and kills it.
func clusterFailsOver(t *testing.T, a *redisrevocation.Store, servers []*server, addrs []string) {
	t.Helper()
	ctx, first := context.Background(), servers[0].client()
	var master *server
	for _, s := range servers[:3] {
		if s.client().Exists(ctx, "{jwthttp}:log").Err() == nil {
			master = s
		}
	}
	cli(t, "--cluster", "add-node", addrs[3], master.addr, "--cluster-slave", "--cluster-master-id", nodeID(master))
	eventually(t, "the replica is linked", soon, func() bool {
		return strings.Contains(servers[3].client().Info(ctx, "replication").Val(), "master_link_status:up")
	})
	b := openCluster(t, addrs, redisrevocation.Options{Replicas: 1, ReplicasTimeout: soon})
	if err := b.Revoke(ctx, byID("kept")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others know", soon, func() bool {
		return strings.Count(first.ClusterNodes(ctx).Val(), "slave") == 1
	})
	master.kill()
	eventually(t, "written to the new master", soon, func() bool {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return a.Revoke(call, byID("after")) == nil
	})
	eventually(t, "followed from the new master", soon, func() bool { return said(b, "after") == "revoked" })
	if got := said(openCluster(t, addrs, redisrevocation.Options{}), "kept"); got != "revoked" {
		t.Errorf("what the replica had got is %s after the failover", got)
	}
}

// newCluster starts four servers, the first three of which are a cluster.
func newCluster(t *testing.T) (servers []*server, addrs []string) {
	t.Helper()
	for range 4 {
		s := newServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "3000")
		servers, addrs = append(servers, s), append(addrs, s.addr)
	}
	cli(t, append(append([]string{"--cluster", "create"}, addrs[:3]...), "--cluster-yes")...)
	ctx := context.Background()
	eventually(t, "cluster is up", soon, func() bool {
		for _, s := range servers[:3] {
			if !strings.Contains(s.client().ClusterInfo(ctx).Val(), "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	return servers, addrs
}

func nodeID(s *server) string {
	return s.client().Do(context.Background(), "CLUSTER", "MYID").Val().(string)
}

func cli(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
}

// openCluster opens an instance whose client reads from replicas where it may. The
// client appends to Addrs.
func openCluster(t *testing.T, addrs []string, opts redisrevocation.Options) *redisrevocation.Store {
	t.Helper()
	return openClient(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: slices.Clone(addrs), ReadOnly: true, RouteRandomly: true, ContextTimeoutEnabled: true}), opts)
}

func openClient(t *testing.T, client redis.UniversalClient, opts redisrevocation.Options) *redisrevocation.Store {
	t.Helper()
	closing(t, client)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := redisrevocation.Open(ctx, client, opts)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		s.Wait()
	})
	return s
}

func said(s *redisrevocation.Store, id string) string {
	return (&opened{instance: &instance{Store: s}}).says(id)
}

func revokeAndRemove(t *testing.T, a, b *redisrevocation.Store) {
	t.Helper()
	ctx := context.Background()
	for _, id := range []string{"x", "y"} {
		if err := a.Revoke(ctx, byID(id)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "revoked", soon, func() bool { return said(b, id) == "revoked" })
	}
	if err := b.Remove(ctx, byID("y")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removed", soon, func() bool { return said(a, "y") == "valid" })
}

// Sentinel names a new master, and the instances find it.
func TestStore_sentinel(t *testing.T) {
	t.Parallel()
	master := newServer(t)
	replica := newServer(t, "--replicaof", "127.0.0.1 "+port(master.addr))
	sentinel := newSentinel(t, master)
	ctx := context.Background()
	eventually(t, "sentinel knows the replica", soon, func() bool {
		return strings.Contains(sentinel.client().Info(ctx, "sentinel").Val(), "status=ok") &&
			strings.Contains(sentinel.client().Info(ctx, "sentinel").Val(), "slaves=1") &&
			strings.Contains(replica.client().Info(ctx, "replication").Val(), "master_link_status:up")
	})
	open := func() *redisrevocation.Store {
		return openClient(t, redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "revocations", SentinelAddrs: []string{sentinel.addr}, ContextTimeoutEnabled: true,
		}), redisrevocation.Options{Replicas: 1, ReplicasTimeout: 5 * time.Second})
	}
	a, b := open(), open()
	revokeAndRemove(t, a, b)
	master.kill()
	eventually(t, "a change reaches the new master", soon, func() bool {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := a.Revoke(call, byID("after"))
		return err != nil && strings.Contains(err.Error(), "0 of 1 replicas") // it has none
	})
	eventually(t, "followed", soon, func() bool { return said(b, "after") == "revoked" })
	if got := said(b, "x"); got != "revoked" {
		t.Errorf("what the replica had got is %s after the failover", got)
	}
}

func newSentinel(t *testing.T, master *server) *server {
	t.Helper()
	s := &server{t: t, addr: storetest.FreeAddr(t), dir: t.TempDir()}
	file := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor revocations 127.0.0.1 %s 1\nsentinel down-after-milliseconds revocations 3000\nsentinel failover-timeout revocations 3000\n",
		port(s.addr), s.dir, port(master.addr))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{file, "--sentinel"}
	t.Cleanup(s.kill)
	s.start()
	return s
}
