package jwks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/clock"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/internal/problems"
)

// Pool keeps the key sets of many issuers, such as those that
// jwthttp.Options.FindIssuer finds while the program runs. [NewPool] returns one;
// the zero value is not usable. A Pool is safe for concurrent use. Printing it
// shows nothing about its sets.
//
// A set is fetched when a token first needs it, and refreshed from then on as a
// [Set] is. The sets are independent: a failing key server or an unknown key
// affects only the tokens of its issuer. A set that no token has needed for
// PoolOptions.IdleAfter is dropped, and so is a set that has not been needed for
// long if there are MaxSets. A request that uses a dropped set is not disturbed. The
// next token fetches the set again.
//
// A set has a goroutine during a fetch only.
type Pool struct {
	ctx       context.Context
	opts      Options
	maxSets   int
	idleAfter time.Duration
	start     time.Time
	ended     atomic.Pointer[clock.Moment]

	mu   sync.Mutex
	sets map[place]*Set
}

// place is where a key set comes from. One of the fields is empty.
type place struct{ url, issuer string }

// PoolOptions configures a [Pool]. The zero value is usable.
type PoolOptions struct {
	_ struct{}

	// Options are those of each set. If Client is nil, all use one copy of
	// [http.DefaultTransport].
	Options

	// MaxSets is the maximum number of sets. If zero, 1000. With fewer than the
	// issuers in use, sets are fetched again and again.
	MaxSets int

	// IdleAfter is how long a set is kept that no token has needed. It is dropped
	// when its next refresh is due. If zero, 1 hour.
	IdleAfter time.Duration
}

// NewPool returns a Pool without sets. Its context is the lifetime of all sets,
// as the one of [New] is. OnError is told once of its end.
func NewPool(ctx context.Context, opts PoolOptions) (*Pool, error) {
	p := problems.List{Prefix: "jwks: "}
	checkContext(ctx, &p)
	if shared, ok := http.DefaultTransport.(*http.Transport); ok && opts.Client == nil {
		// A failing set closes idle connections, over and over if a server is dead.
		// They must not be those of the whole program.
		opts.Client = &http.Client{Transport: shared.Clone()}
	}
	compiled := opts.Options.compile(&p, "PoolOptions.")
	if opts.MaxSets < 0 {
		p.Add("PoolOptions.MaxSets", opts.MaxSets, "want 0 or more")
	}
	if opts.MaxSets == 0 {
		opts.MaxSets = 1000
	}
	if opts.IdleAfter < 0 {
		p.Add("PoolOptions.IdleAfter", opts.IdleAfter, "want 0 or more")
	}
	if opts.IdleAfter == 0 {
		opts.IdleAfter = time.Hour
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	pool := &Pool{ctx: ctx, opts: compiled, maxSets: opts.MaxSets, idleAfter: opts.IdleAfter, start: time.Now(), sets: map[place]*Set{}}
	context.AfterFunc(ctx, pool.end)
	return pool, nil
}

// Keys returns the key set at a URL; see [New]. Nothing is fetched yet. If the URL
// is invalid, jwthttp.New and FindIssuer report it.
func (p *Pool) Keys(url string) jwthttp.KeySource { return p.source(place{url: url}) }

// Discover returns the key set of an issuer; see the function [Discover]. Nothing
// is fetched yet. If the issuer is not a valid URL, jwthttp.New and FindIssuer
// report it.
func (p *Pool) Discover(issuer string) jwthttp.KeySource { return p.source(place{issuer: issuer}) }

// Format keeps the URLs out of printed options.
func (p *Pool) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pool of key sets") }

func (p *Pool) source(at place) *source {
	_, err := p.newSet(at)
	return &source{pool: p, at: at, err: err}
}

// newSet returns a Set that is not started.
func (p *Pool) newSet(at place) (*Set, error) {
	list := problems.List{Prefix: "jwks: "}
	var s *Set
	if at.url != "" {
		s = p.opts.setOf(&list, at.url)
	} else {
		s = p.opts.setOfIssuer(&list, at.issuer)
	}
	if err := list.Err(); err != nil {
		return nil, err
	}
	s.ctx, s.opts, s.ended = p.ctx, p.opts, &p.ended
	s.pooled = &poolState{pool: p, at: at}
	s.pooled.set.Store(s)
	return s, nil
}

// set returns the set of a place, and starts it if it is not there.
func (p *Pool) set(at place) (*Set, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sets[at]; s != nil {
		s.pooled.use()
		return s, nil
	}
	s, err := p.newSet(at)
	if err != nil {
		return nil, err
	}
	if len(p.sets) >= p.maxSets {
		p.drop(p.leastUsed())
	}
	s.pooled.use()
	p.sets[at] = s
	s.begin()
	return s, nil
}

// sampled is how many sets are compared to find one that is used little.
const sampled = 32

// leastUsed returns the set of a sample whose last use is the longest ago.
func (p *Pool) leastUsed() (oldest *Set) {
	n := 0
	for _, s := range p.sets { // in random order
		if oldest == nil || s.pooled.used.Load() < oldest.pooled.used.Load() {
			oldest = s
		}
		if n++; n == sampled {
			break
		}
	}
	return oldest
}

// drop forgets a set. Whoever uses it now can still do so, and can wait for a fetch.
func (p *Pool) drop(s *Set) {
	s.pooled.set.Store(nil)
	s.stop()
	delete(p.sets, s.pooled.at)
}

func (p *Pool) end() {
	now := clock.Now()
	p.ended.Store(&now)
	p.mu.Lock()
	for _, s := range p.sets {
		s.stop()
	}
	p.mu.Unlock()
	(&Set{opts: p.opts}).report(slog.LevelWarn, fmt.Errorf("jwks: pool: its context has ended, so keys are no longer fetched: %w", p.ctx.Err()))
}

// poolState is what a Pool knows about one of its sets. It outlives the set where
// sources refer to it.
type poolState struct {
	pool *Pool
	at   place
	used atomic.Int64        // the last time, in nanoseconds since the Pool's start
	set  atomic.Pointer[Set] // nil: dropped
}

// use notes that a token needs the set. It is exact to a second, so that requests on
// several processors seldom write.
func (s *poolState) use() {
	if now := int64(time.Since(s.pool.start)); now-s.used.Load() >= int64(time.Second) {
		s.used.Store(now)
	}
}

func (s *poolState) isDropped() bool { return s != nil && s.set.Load() == nil }

// dropIdle drops a set that no token has needed for long, and reports whether it is
// dropped.
func (s *poolState) dropIdle(set *Set) bool {
	if s == nil {
		return false
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if !s.isDropped() && time.Since(s.pool.start)-time.Duration(s.used.Load()) >= s.pool.idleAfter {
		s.pool.drop(set)
	}
	return s.isDropped()
}

// source is the KeySource of one place. It finds the set again after it was dropped.
type source struct {
	pool *Pool
	at   place
	err  error // of the place
	last atomic.Pointer[poolState]
}

var (
	_ jwthttp.KeySource = (*source)(nil)
	_ keyset.Finder     = (*source)(nil)
	_ keyset.Checker    = (*source)(nil)
)

func (k *source) set() (*Set, error) {
	if last := k.last.Load(); last != nil {
		if s := last.set.Load(); s != nil {
			last.use()
			return s, nil
		}
	}
	s, err := k.pool.set(k.at)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", jwthttp.ErrKeysUnavailable, err)
	}
	k.last.Store(s.pooled)
	return s, nil
}

// KeyfuncCtx is the method of [jwthttp.KeySource].
func (k *source) KeyfuncCtx(ctx context.Context) jwt.Keyfunc { return keyfuncOf(ctx, k) }

// FindKeys is that of the set.
func (k *source) FindKeys(ctx context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	s, err := k.set()
	if err != nil {
		return nil, err
	}
	return s.FindKeys(ctx, q)
}

// RefetchKeys is that of the set.
func (k *source) RefetchKeys(ctx context.Context, q keyset.Query) ([]jwt.VerificationKey, error) {
	s, err := k.set()
	if err != nil {
		return nil, err
	}
	return s.RefetchKeys(ctx, q)
}

// DiscoveredFrom returns the issuer given to Pool.Discover, or "".
func (k *source) DiscoveredFrom() string { return k.at.issuer }

// Check returns what is wrong with the URL or issuer.
func (k *source) Check() error { return k.err }

// Format writes where the keys come from, without secrets of the URL.
func (k *source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, (&Set{ctx: k.pool.ctx, url: k.at.url, issuer: k.at.issuer}).name())
}
