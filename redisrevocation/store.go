// Package redisrevocation keeps the revocations of
// [github.com/seed450a7203/jwthttp] in Redis, for all machines of a service. Its
// [Store] is a [revocation.Store].
//
// Every instance has a full copy in memory and answers from it, so no request waits
// for Redis. A revocation is written to Redis first. It is in force on every other
// instance as soon as that one has followed, usually a few milliseconds later. A copy
// that has not heard from Redis for Options.MaxStale returns an error for every
// token that it does not know to be revoked. Then the middleware rejects with 503.
// So within MaxStale a revocation is in force everywhere, or the instance admits
// no requests. The exception is a network split in which some instances still
// reach a master that has been replaced; see below.
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisrevocation.Open(ctx, client, redisrevocation.Options{})
//	...
//	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: issuers, Revoked: store.Revoked})
//
// A logout handler revokes the token of its request. A browser that leaves the
// page cancels the context of the request, which must not stop the logout.
// Therefore it passes [context.WithoutCancel]:
//
//	token, ok := jwthttp.TokenFromContext(r.Context())
//	...
//	err := store.RevokeToken(context.WithoutCancel(r.Context()), token)
//
// # What an acknowledged revocation survives
//
// This depends on how Redis is run. Open reads the settings if it may, and tells
// Options.OnError what they do not keep.
//
//	                                     crash of Redis     power cut        failover to a replica
//	appendonly no                        lost since the last RDB file        see below
//	appendonly yes, appendfsync no       kept               some 30 s lost   see below
//	appendonly yes, appendfsync everysec up to 2 s lost     1 to 2 s lost    see below
//	appendonly yes, appendfsync always   kept               kept             see below
//	one server, no replica               see the lines above                 (none)
//	Sentinel or Cluster, Replicas 0      see the lines above                 lost if the replica did not have it
//	Sentinel or Cluster, Replicas n      see the lines above                 kept if one of the n takes over
//	maxmemory-policy allkeys-...         anything may be deleted when memory is short: use noeviction
//
// With everysec, Redis postpones its writes for up to 2 s while an fsync runs, so a
// crash of Redis alone can lose changes on a slow disk. Use always where no
// acknowledged revocation may be lost.
//
// With Options.Replicas, Revoke waits until that many replicas have received the
// change. A loss in a failover becomes rarer, but is not excluded: Redis does not
// promise to choose a replica that has the change, and a replica may have received
// a change without having written it to its disk. During a network split, an
// instance that reaches only the old master does not hear of the changes on the new
// one until the old one steps down. The setting min-replicas-to-write keeps the old
// master from acknowledging; in a cluster, cluster-node-timeout ends the split.
//
// When Redis has lost changes, every running instance that had them notices, because
// each change has a random mark. It keeps in force what it had until that expires or
// is removed, tells OnError, and follows what Redis has now. Then the instances write
// back what Redis has lost, so that all others and those that start later have it.
// That begins within a second, and takes about a second for 5,000 entries. A lost
// Remove has to be repeated. To delete all revocations, end all instances first.
//
// A Remove is in force on every instance, also if it is the first change after a
// loss. Redis remembers it for a day. An instance that was out of reach for nearly as
// long may keep in force what was removed meanwhile. It does not write that back.
//
// A change that comes after a loss waits until its instance follows again. That takes
// milliseconds if the log has a change that the instance has. Otherwise the change waits
// until everything has been loaded, for at most 30 seconds.
//
// # Clocks
//
// Redis deletes an entry some time after its Expires, and not before 15 minutes have
// passed by its own clock and by that of the instance that asks for it. A jump of one
// of them deletes nothing. Each instance ignores an entry 5 minutes after its Expires
// by the instance's clock, which is also used to check whether a token has expired. So
// the clocks may differ by some minutes. The age of a copy is measured on one machine
// alone. The order of the changes does not depend on a clock.
package redisrevocation

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Options configures a [Store]. The zero value is useful.
type Options struct {
	_ struct{}

	// Prefix begins the names of the keys, which are {Prefix}:entries and
	// {Prefix}:log, both in one slot of a cluster. At most 64 letters, digits and
	// characters of "._-:"; if empty, "jwthttp". Services with the same prefix
	// share their revocations.
	Prefix string

	// MaxStale is how old a copy may be before Revoked returns an error for
	// tokens that it does not know to be revoked. 1 s to 1 h; if zero, 30 s.
	MaxStale time.Duration

	// OnError is called by Open with what the settings of Redis do not keep, and
	// then with failures in the background. If Redis has lost revocations, the
	// text says "lost". It is called from one goroutine at a time, which waits
	// for it. If nil, errors are logged by slog.Default.
	OnError func(error)

	// Replicas is how many replicas must have received a change before
	// Revoke, RevokeToken and Remove return nil. If fewer have received it
	// within ReplicasTimeout, they return an error, but the change stays on the
	// master. 0 to 100; zero means that they do not wait for replicas.
	Replicas int

	// ReplicasTimeout is how long to wait for the replicas. 1 ms to 1 min; if
	// zero, 1 s. It has no effect if Replicas is 0.
	ReplicasTimeout time.Duration

	// ReadOnly is for instances that only follow. Their Redis user needs no right to
	// write; see the README. Revoke, RevokeToken and Remove return an error. The
	// instance does not write back what Redis has lost, and deletes nothing that has
	// expired. Open does not check the settings of Redis, and LogLength, Replicas and
	// ReplicasTimeout have no effect. At least one other instance must not be read-only.
	ReadOnly bool

	// LogLength is how many changes Redis keeps for followers, about 300 bytes
	// each. An instance that falls further behind loads all entries again. 1 to
	// 100,000,000; if zero, 100,000. Redis keeps up to a hundred more.
	LogLength int64
}

// withDefaults returns o with its defaults, or an error with all its problems.
func (o Options) withDefaults() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "jwthttp"
	}
	if o.MaxStale == 0 {
		o.MaxStale = 30 * time.Second
	}
	o.OnError = replica.Reporter(o.OnError)
	if o.ReplicasTimeout == 0 {
		o.ReplicasTimeout = time.Second
	}
	if o.LogLength == 0 {
		o.LogLength = 100_000
	}
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("redisrevocation: Options."+format, args...))
		}
	}
	bad(prefixPattern.MatchString(o.Prefix), "Prefix: %.80q: want at most 64 letters, digits and characters of \"._-:\"", o.Prefix)
	bad(time.Second <= o.MaxStale && o.MaxStale <= time.Hour, "MaxStale: %v: want 1 s to 1 h", o.MaxStale)
	bad(0 <= o.Replicas && o.Replicas <= 100, "Replicas: %d: want 0 to 100", o.Replicas)
	bad(time.Millisecond <= o.ReplicasTimeout && o.ReplicasTimeout <= time.Minute, "ReplicasTimeout: %v: want 1 ms to 1 min", o.ReplicasTimeout)
	bad(1 <= o.LogLength && o.LogLength <= 100_000_000, "LogLength: %d: want 1 to 100,000,000", o.LogLength)
	return o, errors.Join(problems...)
}

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// Store is one instance's copy of the revocations in Redis, and the way to change
// them. It is safe for concurrent use. The zero value is not usable; call [Open].
type Store struct {
	opts   Options
	client redis.UniversalClient
	keys   []string // entries, log
	copy   *replica.Copy
	done   chan struct{} // closed when the goroutines have ended

	follower follower
}

var _ revocation.Store = (*Store)(nil)

// Open loads all revocations and follows their changes until ctx ends. If it
// returns an error, nothing is left running. If Redis loses changes meanwhile, Open loads
// it again, at most eight times in all. Redis must be 6.2 or later, or Valkey.
//
// The client must be a *redis.Client, including one for Sentinel, or a
// *redis.ClusterClient. The caller closes it after Wait. A Store uses one of its
// connections all the time. The client's hooks see the writes if Replicas is 0,
// and not what the follower does.
//
// Set ContextTimeoutEnabled in the client's options if calls should end at the
// deadline of their context. Otherwise the client's own timeouts and retries
// apply, by default some 12 seconds.
func Open(ctx context.Context, client redis.UniversalClient, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if wrong := checkClient(client); wrong != nil {
		err = errors.Join(err, wrong)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts:   opts,
		client: client,
		copy:   replica.NewCopy(opts.MaxStale),
		done:   make(chan struct{}),
	}
	for _, name := range [...]string{"entries", "log"} {
		s.keys = append(s.keys, "{"+opts.Prefix+"}:"+name)
	}
	s.follower = follower{Store: s, block: min(opts.MaxStale/4, time.Second)}
	s.follower.purgeAt = strconv.FormatUint(uint64(mathrand.Uint32()), 10) // not all instances at one place
	if err := s.checkRights(ctx); err != nil {
		return nil, fmt.Errorf("redisrevocation: %w", err)
	}
	if err := replica.First(ctx, s.follower.load); err != nil {
		return nil, fmt.Errorf("redisrevocation: %w", err)
	}
	if !opts.ReadOnly {
		s.reportSettings(ctx)
	}
	s.start(ctx)
	return s, nil
}

// start starts the goroutines of the Store, which end with ctx.
func (s *Store) start(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { s.follower.run(ctx) })
	if !s.opts.ReadOnly {
		running.Go(func() {
			s.copy.Heal(ctx, s.writeBack, func(err error) {
				s.opts.OnError(fmt.Errorf("redisrevocation: writing back what redis has lost: %w", err))
			})
		})
	}
	go func() {
		running.Wait()
		close(s.done)
	}()
}

// checkRights returns an error with the commands that the Redis user may not call and
// the Store needs. Those in scripts are found by the scripts.
func (s *Store) checkRights(ctx context.Context) error {
	return s.follower.call(ctx, loadFor, func(ctx context.Context, node *redis.Client) error {
		commands := []*redis.Cmd{
			node.Eval(ctx, "return 1", s.keys),
			linesScript.Run(ctx, node, s.keys, append(s.arguments(replica.Position{}), 1)...),
			node.Do(ctx, "XREAD", "COUNT", 1, "STREAMS", s.keys[1], "0-0"),
		}
		if s.opts.Replicas > 0 || s.opts.ReadOnly {
			commands = append(commands, node.Do(ctx, "WAIT", 0, 0))
		}
		var missing []error
		for _, cmd := range commands {
			if err := cmd.Err(); redis.HasErrorPrefix(err, "NOPERM") {
				missing = append(missing, err)
			}
		}
		return errors.Join(missing...) // load finds other errors
	})
}

func checkClient(client redis.UniversalClient) error {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return checkPool(c.Options().PoolSize, c.Options().MaxActiveConns)
		}
	case *redis.ClusterClient:
		if c != nil {
			return checkPool(c.Options().PoolSize, c.Options().MaxActiveConns)
		}
	case *redis.Ring: // it would look for entries elsewhere when a server is down
		return errors.New("redisrevocation: client: a redis.Ring cannot find entries when a server is down")
	}
	return fmt.Errorf("redisrevocation: client: %T: want a *redis.Client or *redis.ClusterClient", client)
}

// checkPool refuses a pool in which writes would wait for the follower's read.
func checkPool(size, active int) error {
	if size < 2 || active == 1 {
		return errors.New("redisrevocation: client: the Store reads from one connection all the time: want a PoolSize and MaxActiveConns of 2 or more")
	}
	return nil
}

// Revoke adds an entry; see [revocation.Store]. When it returns nil, Redis has the
// entry, and it is in force on this instance. It is in force on the others when
// they have followed.
func (s *Store) Revoke(ctx context.Context, e revocation.Entry) error {
	record, err := replica.NewRecord(e)
	return s.write(ctx, replica.Change{Record: record}, err)
}

// RevokeToken revokes one token, as a logout does; see [revocation.Store]. It
// returns and fails as [Store.Revoke] does.
func (s *Store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	record, err := replica.OfToken(t)
	return s.write(ctx, replica.Change{Record: record}, err)
}

// Remove deletes the entry for the tokens that e names; see [revocation.Store].
// It returns and fails as [Store.Revoke] does.
func (s *Store) Remove(ctx context.Context, e revocation.Entry) error {
	record, err := replica.NewRemoval(e)
	return s.write(ctx, replica.Change{Record: record, Removed: true}, err)
}

// Revoked reports whether t is revoked. It is a [jwthttp.RevokedFunc] that looks
// into memory. A token that the copy knows to be revoked is revoked even if the
// copy is stale. For any other token a stale copy returns an error.
func (s *Store) Revoked(_ context.Context, t *jwthttp.Token) (bool, error) {
	revoked, err := s.copy.Revoked(t)
	if err != nil {
		return false, fmt.Errorf("redisrevocation: %w", err)
	}
	return revoked, nil
}

// Ready returns nil, or an error if the copy is older than Options.MaxStale. It
// does not ask Redis.
func (s *Store) Ready(context.Context) error {
	if err := s.copy.Ready(); err != nil {
		return fmt.Errorf("redisrevocation: %w", err)
	}
	return nil
}

// Staleness returns how long ago the copy was known to have all that Redis had.
func (s *Store) Staleness() time.Duration { return s.copy.Staleness() }

// Stats describes the copy of this instance, for metrics.
func (s *Store) Stats() revocation.Stats { return s.copy.Stats() }

// Len returns the number of entries in force on this instance.
func (s *Store) Len() int { return s.copy.Len() }

// Wait returns when the goroutines of the Store have ended, which is up to some
// seconds after the context of Open ends.
func (s *Store) Wait() { <-s.done }
