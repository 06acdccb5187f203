// Package redisreplay remembers in Redis which DPoP proofs were used, so that each
// proof is accepted once on all machines of a service (RFC 9449 §11.1). The method
// Fresh of a [Store] is a jwthttp.ReplayFunc:
//
//	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	opts.DPoP.Replay = redisreplay.New(client, "api").Fresh
//
// Each request with a proof waits for one round trip to Redis. While Redis is out
// of reach, such requests get 503, unless ReplayFailOpen is set. Set
// ContextTimeoutEnabled: otherwise go-redis ignores the deadline of Fresh.
//
// # What Redis may forget
//
// A failover to a replica forgets the proofs that the replica had not received
// yet, and a restart forgets those that Redis had not written to its disk. A
// cluster may also accept a proof on both sides of a network split. Whoever has
// recorded such a proof can use it once more, until it is too old (MaxAge). With
// NonceSecrets, it also has to contain a nonce of the last two minutes, so proofs
// that were made in advance do not help.
//
// If maxmemory-policy is not noeviction, Redis may forget proofs when memory is
// short. Unlike in a jwthttp.ReplayCache, no client has a limited share of it.
//
// Proofs expire by the clock of Redis. If it is set ahead, or if the clock of a
// machine is set back, by more than 20 seconds (or twice DPoP.Leeway, if that is
// more), a proof may be forgotten while it is accepted. Let the clocks of servers
// slew instead.
package redisreplay

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Store is a set of used proofs in Redis. [New] returns one; the zero value is not
// usable. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
}

// New returns a Store whose keys are prefix, a colon and an id. Services with the
// same prefix share their used proofs. If two Handlers of different jwthttp.New
// calls are nested, each needs a prefix: the inner one would find each proof used.
// The Store does not close the client.
func New(client redis.UniversalClient, prefix string) *Store { return &Store{client, prefix} }

// Fresh remembers id until a time, and reports whether it was not known before. It
// returns false if that time has passed. The clock is that of this machine. Several
// calls with one id are safe at any time, on any machine: one of them returns true.
// An error means that it is not known whether the id was fresh; it may be
// remembered.
func (s *Store) Fresh(ctx context.Context, id string, until time.Time) (bool, error) {
	left := time.Until(until)
	if left <= 0 { // Redis may have forgotten it
		return false, nil
	}
	set := once{redis.NewBoolCmd(ctx, "set", s.prefix+":"+id, "", "px", left.Milliseconds()+1, "nx")}
	if err := s.client.Process(ctx, set); err != nil {
		return false, fmt.Errorf("redisreplay: %w", err)
	}
	return set.Val(), nil
}

// once is a command that go-redis does not send again. Otherwise an answer that is
// lost would make the second attempt find the id of the first, and a good proof
// would count as used.
type once struct{ *redis.BoolCmd }

// NoRetry returns true.
func (once) NoRetry() bool { return true }
