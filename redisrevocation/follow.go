package redisrevocation

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// follower keeps the copy of its Store up to date, in one goroutine.
type follower struct {
	*Store
	block time.Duration // how long one read waits for changes

	lost   bool // Redis has lost changes, and is not loaded since
	purged time.Time
}

const (
	slack      = 2 * time.Second // how much longer than block a call may take
	loadFor    = 10 * time.Second
	pageSize   = 1000
	purgeEvery = time.Minute
)

// run follows until ctx ends. What fails is tried again, after longer and longer
// pauses of different length on each instance.
func (f *follower) run(ctx context.Context) {
	defer close(f.done)
	for failures := 0; ctx.Err() == nil; {
		err := f.step(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		f.opts.OnError(fmt.Errorf("redisrevocation: following: %w", err))
		lost := errors.Is(err, replica.ErrLost)
		f.lost = f.lost || lost
		if (lost || errors.Is(err, replica.ErrGap)) && failures == 0 {
			failures++
			continue // Redis answers: load at once
		}
		f.reload(ctx)
		wait := min(time.Second, 10*time.Millisecond<<min(failures, 10))
		_ = pause(ctx, wait/2+mathrand.N(wait/2))
		failures++
	}
}

// step reads what has changed, or that nothing has.
func (f *follower) step(ctx context.Context) error {
	at, ok := f.copy.Position()
	if !ok {
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
	if time.Since(f.purged) > purgeEvery {
		f.purged = asked.Add(mathrand.N(purgeEvery)) // not all instances at once
		return f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
			return purgeScript.Run(ctx, node, f.keys, append(arguments(at), f.copy.Now().Unix(), seconds(replica.KeptLonger))...).Err()
		})
	}
	return nil
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
		r, err = parseReply(linesScript.Run(ctx, node, f.keys, append(arguments(at), pageSize)...))
		return err
	})
	return r, err
}

// load replaces the copy by what Redis has.
func (f *follower) load(ctx context.Context) error {
	asked := time.Now()
	start, err := f.state(ctx, replica.Position{})
	if err != nil {
		return err
	}
	snapshot := new(replica.Snapshot)
	if err := f.readPages(ctx, snapshot); err != nil {
		return err
	}
	// What has changed while the pages were read. They are of one history if this
	// continues from where they began.
	at := start.head
	for more := true; more; {
		r, err := f.lines(ctx, at)
		if err != nil {
			return fmt.Errorf("while everything was loaded: %w", err)
		}
		if err := snapshot.Follow(r.changes...); err != nil {
			return err
		}
		for _, change := range r.changes {
			at.Seq, at.Mark = change.Seq, change.Mark
		}
		more = len(r.changes) == pageSize
	}
	lost := f.copy.Install(snapshot, at, asked)
	if f.lost || lost > 0 {
		f.opts.OnError(fmt.Errorf("redisrevocation: redis has lost changes: this instance keeps %d entries in force that an instance that starts later does not have", lost))
	}
	f.lost = false
	return nil
}

// readPages reads all entries.
func (f *follower) readPages(ctx context.Context, snapshot *replica.Snapshot) error {
	var score, key string
	for {
		page, err := f.page(ctx, score, key)
		if err != nil {
			return err
		}
		for i := 2; i+1 < len(page); i += 2 {
			record, err := parseState(page[i], page[i+1])
			if err == nil {
				err = snapshot.Add(record)
			}
			if err != nil {
				return err
			}
		}
		if score, key = page[0], page[1]; key == "" {
			return nil
		}
	}
}

// page returns a page of the entries after one.
func (f *follower) page(ctx context.Context, score, key string) (page []string, err error) {
	err = f.call(ctx, loadFor, func(ctx context.Context, node *redis.Client) error {
		page, err = pageScript.Run(ctx, node, f.keys, append(arguments(replica.Position{}), score, key, pageSize)...).StringSlice()
		return err
	})
	if err == nil && len(page) < 2 {
		err = fmt.Errorf("%d values for a page", len(page))
	}
	return page, err
}

// read waits for changes after a position, and returns them. It does not use XRead,
// whose own time limit is 10 seconds more than it waits.
func (f *follower) read(ctx context.Context, at replica.Position) ([]replica.Change, error) {
	var answer any
	err := f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) (err error) {
		answer, err = node.Do(ctx, "XREAD", "COUNT", pageSize, "BLOCK", f.block.Milliseconds(), "STREAMS", f.keys[2], id(at)).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines, err := parseXRead(answer, f.keys[2])
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
