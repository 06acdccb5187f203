package redisrevocation

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// follower keeps the copy of its Store up to date, in one goroutine.
type follower struct {
	*Store
	block time.Duration // how long one read waits for changes
	reads sync.WaitGroup

	lost    bool // Redis has lost changes, and is not loaded since
	purged  time.Time
	purgeAt string // cursor of the next purge
	pace    replica.Pace
	reports [3]replica.Rarely // of why everything has to be loaded, what was lost, and what was not deleted
}

const (
	slack      = 2 * time.Second // how much longer than block a call may take
	loadFor    = 10 * time.Second
	writeFor   = 10 * time.Second
	pageSize   = 1000
	purgeEvery = time.Second
	purgeSize  = 500 // buckets; Redis needs some milliseconds for them if each has ten lines
)

// run follows until ctx ends. What fails is tried again, after longer and longer
// pauses of different length on each instance.
func (f *follower) run(ctx context.Context) {
	defer f.reads.Wait()
	for failures := 0; ctx.Err() == nil; {
		err := f.step(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		lost := errors.Is(err, replica.ErrLost)
		f.lost = f.lost || lost
		reload := lost || errors.Is(err, replica.ErrGap)
		about := fmt.Errorf("redisrevocation: following: %w", err)
		if reload {
			f.reports[0].Report(f.opts.OnError, about)
		} else {
			f.opts.OnError(about)
		}
		if reload && failures == 0 {
			failures++
			_ = pause(ctx, f.pace.Next(f.opts.MaxStale)) // Redis answers: load soon
			continue
		}
		f.reload(ctx)
		wait := min(time.Second, 10*time.Millisecond<<min(failures, 10))
		_ = pause(ctx, wait/2+mathrand.N(wait/2))
		failures++
	}
}

// reportLoss tells OnError that Redis has lost changes.
func (f *follower) reportLoss(lost int) {
	if !f.lost && lost == 0 {
		return
	}
	f.lost = false
	then := "they are being written back"
	if f.opts.ReadOnly {
		then = "an instance that is not read-only must write them back"
	}
	f.reports[1].Report(f.opts.OnError, fmt.Errorf("redisrevocation: redis has lost changes: %d entries are in force here and not in redis; %s", f.copy.Stats().Lost, then))
}

// step reads what has changed, or that nothing has.
func (f *follower) step(ctx context.Context) error {
	at, ok := f.copy.Position()
	if !ok || f.copy.Loading() {
		return f.load(ctx)
	}
	err := f.stepFrom(ctx, at)
	if (errors.Is(err, replica.ErrLost) || errors.Is(err, replica.ErrGap)) && !f.copy.Break(at) {
		return nil // a write has followed meanwhile
	}
	return err
}

func (f *follower) stepFrom(ctx context.Context, at replica.Position) error {
	changes, err := f.read(ctx, at)
	if err != nil {
		return err
	}
	if err := f.copy.Follow(at, changes...); err != nil {
		return err
	}
	// While changes come without a pause, ask now and then: there may be more than
	// those that were read.
	if len(changes) == 0 || f.copy.Staleness() > f.block/2 {
		return f.ask(ctx)
	}
	return nil
}

// ask reads what has changed up to now. A copy that has it is fresh.
func (f *follower) ask(ctx context.Context) error {
	asked := time.Now()
	at, ok := f.copy.Position()
	if !ok {
		return nil // a writer has found that Redis has to be loaded
	}
	r, err := f.lines(ctx, at)
	if err != nil {
		return err
	}
	if err := f.copy.Follow(at, r.changes...); err != nil {
		return err
	}
	if len(r.changes) < pageSize {
		f.copy.Heard(asked)
	}
	if time.Since(f.purged) > purgeEvery && !f.opts.ReadOnly {
		f.purged = asked.Add(mathrand.N(purgeEvery)) // not all instances at once
		if err := f.purge(ctx, at); err != nil && ctx.Err() == nil {
			f.reports[2].Report(f.opts.OnError, fmt.Errorf("redisrevocation: deleting expired entries: %w", err))
		}
	}
	return nil
}

// purge deletes expired entries from some buckets, and from others the next time. The
// cursor of HSCAN means something else on another server, which does no harm here.
func (f *follower) purge(ctx context.Context, at replica.Position) error {
	return f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
		args := append(f.arguments(at), f.copy.Now().Unix(), seconds(replica.KeptLonger), f.purgeAt, purgeSize)
		next, err := purgeScript.Run(ctx, node, f.keys, args...).Text()
		if err == nil {
			f.purgeAt = next
		}
		return err
	})
}

// call calls do with the master that has the keys. It takes little longer than
// patience, even if the connection is dead and stays silent: WithTimeout bounds one
// attempt, and the context bounds all attempts.
func (f *follower) call(ctx context.Context, patience time.Duration, do func(context.Context, *redis.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	node, err := f.master(ctx)
	if err != nil {
		return err
	}
	return do(ctx, node.WithTimeout(patience))
}

// lines returns at most pageSize changes after a position, as one step in Redis.
func (f *follower) lines(ctx context.Context, at replica.Position) (reply, error) {
	r, err := f.state(ctx, at)
	if err == nil {
		err = r.misses(at)
	}
	return r, err
}

// state is lines for a caller that need not be where Redis continues.
func (f *follower) state(ctx context.Context, at replica.Position) (r reply, err error) {
	err = f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
		r, err = parseReply(linesScript.Run(ctx, node, f.keys, append(f.arguments(at), pageSize)...).Slice())
		if err == nil && f.opts.ReadOnly {
			// The script has not tried to write. A replica refuses WAIT.
			err = node.Do(ctx, "WAIT", 0, 0).Err()
		}
		return err
	})
	return r, err
}

// load replaces the copy by what Redis has.
func (f *follower) load(ctx context.Context) error {
	lost, err := f.copy.Load(ctx, source{f}, f.block/8)
	if err == nil {
		f.reportLoss(lost)
	}
	return err
}

// read waits for changes after a position, and returns them. It returns none, without
// an error, as soon as a write waits until Redis has been loaded.
func (f *follower) read(ctx context.Context, at replica.Position) ([]replica.Change, error) {
	answered := make(chan xread, 1)
	f.reads.Go(func() { answered <- f.xread(ctx, at) })
	var a xread
	select {
	case a = <-answered:
	case <-f.copy.Broken():
		return nil, nil
	}
	if errors.Is(a.err, redis.Nil) {
		return nil, nil
	}
	if a.err != nil {
		return nil, a.err
	}
	lines, err := parseXRead(a.answer, f.keys[1])
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	if first := lines[0]; first.Seq <= at.Seq || first.Seq == at.Seq+1 && first.prev != id(at) {
		return nil, fmt.Errorf("%w: after %s comes %d-%d, which follows %s", errLost, id(at), first.Seq, first.Mark, first.prev)
	}
	changes := make([]replica.Change, len(lines))
	for i, l := range lines {
		changes[i] = l.Change
	}
	return changes, nil
}

// xread is what XREAD answers.
type xread struct {
	answer any
	err    error
}

// xread does not use XRead, whose own time limit is 10 seconds more than it waits.
func (f *follower) xread(ctx context.Context, at replica.Position) (x xread) {
	x.err = f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) (err error) {
		x.answer, err = node.Do(ctx, "XREAD", "COUNT", pageSize, "BLOCK", f.block.Milliseconds(), "STREAMS", f.keys[1], id(at)).Result()
		return err
	})
	return x
}
