// Package redisrevocation keeps the revocations of
// [github.com/seed450a7203/jwthttp] in Redis, for all machines of a service.
//
// Every instance has a full copy in memory and answers from it; no request waits
// for Redis. A revocation is written to Redis first and is in force on every
// other instance as soon as that has followed, a few milliseconds later as a
// rule. A copy that has not heard from Redis for Options.MaxStale fails for
// every token that it does not know to be revoked, so that the middleware refuses
// with 503. So a revocation is in force everywhere within MaxStale, or nothing is
// admitted there; but for a network split in which some instances still reach a
// master that has been replaced (below).
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisrevocation.Open(ctx, client, redisrevocation.Options{OnError: logIt})
//	...
//	mw, err := jwthttp.New[Claims](jwthttp.Options{Revoked: store.Revoked, ...})
//	...
//	err = store.RevokeToken(ctx, jwthttp.TokenFromContext(ctx)) // log-out
//
// # What an acknowledged revocation survives
//
// That is a matter of how Redis is run. Open reads the settings, where it may,
// and tells OnError what they do not keep.
//
//	                                     crash of Redis     power cut        failover to a replica
//	appendonly no                        lost since the last RDB file        see below
//	appendonly yes, appendfsync no       kept               some 30 s lost   see below
//	appendonly yes, appendfsync everysec kept               1 to 2 s lost    see below
//	appendonly yes, appendfsync always   kept               kept             see below
//	one server, no replica               by the lines above                  there is none
//	Sentinel or Cluster, Replicas 0      by the lines above                  what the replica had not got is lost
//	Sentinel or Cluster, Replicas n      by the lines above                  kept if one of the n takes over
//	maxmemory-policy allkeys-...         anything may be deleted when memory is short: use noeviction
//
// Options.Replicas makes Revoke wait until so many replicas have received the
// change. That makes a loss in a failover rarer and does not exclude it: Redis
// does not promise to choose a replica that has it, and a replica that has received
// something need not have written it to its disk. While the network is split, an
// instance that reaches the old master only does not hear of what the new one is
// told, until the old one steps down: min-replicas-to-write keeps the old one from
// acknowledging, and in a cluster cluster-node-timeout ends it.
//
// When Redis has lost changes, every instance that runs notices: it keeps in
// force what it had, tells OnError, and follows what Redis has now. What was lost
// is not written again, so an instance that starts later does not have it.
//
// # Clocks
//
// Times are compared by two clocks. Redis takes an entry out 15 minutes after its
// Expires by its own clock. Each instance stops heeding an entry 5 minutes after
// its Expires by the instance's clock, which also judges whether a token has
// expired. So the clocks may differ by some minutes. Staleness is measured
// by the monotonic clock of one machine. Nothing is ordered by a clock: changes
// have numbers.
package redisrevocation

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// Options for Open. The zero value is useful.
type Options struct {
	_ struct{}

	// Prefix begins the names of the keys, which are {Prefix}:entries and
	// the like, all in one slot of a cluster. At most 64 letters, digits and
	// characters of "._-:"; "" means "jwthttp". Services that share it
	// share their revocations.
	Prefix string

	// MaxStale is how old a copy may be before Revoked fails for tokens that
	// it does not know to be revoked. 1 s to 1 h; 0 means 30 s.
	MaxStale time.Duration

	// OnError is told what Redis's settings do not keep, by Open, and then
	// what goes wrong in the background, by the one goroutine that follows,
	// which waits for it. nil: nobody is told.
	OnError func(error)

	// Replicas is how many replicas must have received a change before
	// Revoke, RevokeToken and Remove return nil. If fewer have within
	// ReplicasTimeout, they fail though the master has the change, which
	// stays. 0 to 100; 0 means none.
	Replicas int

	// ReplicasTimeout is how long to wait for them. 1 ms to 1 min; 0 means 1 s.
	// It does not matter if Replicas is 0.
	ReplicasTimeout time.Duration

	// LogLength is how many changes Redis keeps, about 300 bytes each. An instance
	// that falls further behind loads all entries again. 1 to 100,000,000;
	// 0 means 100,000. Redis keeps up to a hundred more.
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
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
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
// them. It is safe for concurrent use.
type Store struct {
	opts   Options
	client redis.UniversalClient
	keys   []string // entries, expiry, log, meta
	copy   *replica.Copy
	done   chan struct{} // closed when the follower has ended

	mu        sync.Mutex
	epoch     string        // of the data that the copy is of
	installed chan struct{} // closed when another snapshot has replaced the copy

	follower follower
}

// Open loads all revocations and follows their changes until ctx ends. The client
// must be a *redis.Client, one of a Sentinel's included, or a
// *redis.ClusterClient; it stays the caller's, who closes it after Wait. A Store
// uses one of its connections all the time. The client's hooks see the writes only,
// not what follows. Set
// ContextTimeoutEnabled in its options if a call is to heed its context's deadline
// while it waits for Redis: otherwise the client's own timeouts and retries
// decide, some 12 seconds by default. Redis must be 6.2 or later, or Valkey.
func Open(ctx context.Context, client redis.UniversalClient, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if wrong := checkClient(client); wrong != nil {
		err = errors.Join(err, wrong)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts:      opts,
		client:    client,
		copy:      replica.NewCopy(opts.MaxStale),
		done:      make(chan struct{}),
		installed: make(chan struct{}),
	}
	for _, name := range [...]string{"entries", "expiry", "log", "meta"} {
		s.keys = append(s.keys, "{"+opts.Prefix+"}:"+name)
	}
	s.follower = follower{Store: s, block: min(opts.MaxStale/4, time.Second)}
	if err := s.follower.load(ctx); err != nil {
		return nil, fmt.Errorf("redisrevocation: %w", err)
	}
	s.reportSettings(ctx)
	go s.follower.run(ctx)
	return s, nil
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
	case *redis.Ring: // by its hashing, an entry would be nowhere when a server is down
		return errors.New("redisrevocation: client: a redis.Ring loses sight of entries when a server is down")
	}
	return fmt.Errorf("redisrevocation: client: %T: want a *redis.Client or *redis.ClusterClient", client)
}

// checkPool refuses what would let writes wait for the follower's read to end.
func checkPool(size, active int) error {
	if size < 2 || active == 1 {
		return errors.New("redisrevocation: client: one connection is busy with reading all the time: want a PoolSize and MaxActiveConns of 2 or more")
	}
	return nil
}

// Revoke puts r in force: durably in Redis and on this instance when it returns
// nil, on the others when they have followed. Revoking the same tokens again
// keeps the later of each of the times. An error means that r is not clear or not
// allowed, which jwthttp.RevocationList.Add explains, or that it is unknown
// whether Redis has it or will have it in a moment; never half of it.
func (s *Store) Revoke(ctx context.Context, r jwthttp.Revocation) error {
	e, err := replica.NewEntry(r)
	if err != nil {
		return fmt.Errorf("redisrevocation: %w", err)
	}
	return s.write(ctx, e, false)
}

// RevokeToken ends one token, as a logout does: by issuer and "jti", or by
// fingerprint if it has no "jti". The entry lives as long as the token.
func (s *Store) RevokeToken(ctx context.Context, t *jwthttp.Token) error {
	r, err := replica.OfToken(t)
	if err != nil {
		return fmt.Errorf("redisrevocation: %w", err)
	}
	return s.Revoke(ctx, r)
}

// Remove takes away the entry for the tokens that r names; its times do not
// matter. Removing what is not there is no error. An error is as for Revoke.
func (s *Store) Remove(ctx context.Context, r jwthttp.Revocation) error {
	e, err := replica.NewRemoval(r)
	if err != nil {
		return fmt.Errorf("redisrevocation: %w", err)
	}
	return s.write(ctx, e, true)
}

// Revoked is a jwthttp.RevokedFunc that looks into memory. It fails if t is not
// known to be revoked and the copy is older than Options.MaxStale.
func (s *Store) Revoked(ctx context.Context, t *jwthttp.Token) (bool, error) {
	return s.copy.Revoked(ctx, t)
}

// Ready returns nil, or an error when the copy is older than Options.MaxStale. It
// does not ask Redis.
func (s *Store) Ready(context.Context) error { return s.copy.Ready() }

// Staleness is how long ago the copy was known to have all that Redis had.
func (s *Store) Staleness() time.Duration { return s.copy.Staleness() }

// Len is the number of entries in force here.
func (s *Store) Len() int { return s.copy.Len() }

// Wait returns when nothing of s runs any more, up to some seconds after the
// context of Open has ended.
func (s *Store) Wait() { <-s.done }
