package redisrevocation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// follower keeps the copy of its Store up to date, in one goroutine.
type follower struct {
	*Store
	block time.Duration // how long one read waits for changes

	last   string // id of the log's line that the copy has got to
	broken bool   // everything has to be loaded
	lost   bool   // Redis has lost changes, and is not loaded since
	asked  time.Time
	newest uint64 // the number of the last change at asked
	purged time.Time
}

// errLost says that Redis no longer has what the copy has.
var errLost = errors.New("redis has lost changes")

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
		gone := errors.Is(err, errLost) || errors.Is(err, replica.ErrLost)
		f.lost = f.lost || gone // even if the epoch is the same
		if gone || errors.Is(err, replica.ErrGap) {
			f.broken = true
			if failures == 0 {
				failures++
				continue // Redis answers: load at once
			}
		}
		f.reload(ctx)
		wait := min(time.Second, 10*time.Millisecond<<min(failures, 10))
		_ = pause(ctx, wait/2+mathrand.N(wait/2))
		failures++
	}
}

// step reads what has changed, or that nothing has.
func (f *follower) step(ctx context.Context) error {
	if f.broken {
		return f.load(ctx)
	}
	lines, err := f.read(ctx)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := f.apply(line); err != nil {
			return err
		}
	}
	seq := f.copy.Seq()
	if len(lines) == 0 && seq < f.newest { // the log was deleted, or trimmed to nothing
		return fmt.Errorf("%w: the log has nothing after %d of %d", replica.ErrGap, seq, f.newest)
	}
	if !f.asked.IsZero() && seq >= f.newest {
		f.copy.Heard(f.asked)
		f.asked = time.Time{}
	}
	// While changes come without a pause, ask now and then: there may be more than
	// those that were read.
	if len(lines) == 0 || f.asked.IsZero() && f.copy.Staleness() > f.block/2 {
		return f.ask(ctx)
	}
	return nil
}

// ask asks Redis how far it is.
func (f *follower) ask(ctx context.Context) error {
	asked, known := time.Now(), f.copy.Known()
	epoch, seq, last, err := f.state(ctx)
	switch {
	case err != nil:
		return err
	case epoch != f.epoch || seq < known:
		return errLost
	case last == f.last:
		f.copy.Heard(asked)
	default:
		f.asked, f.newest = asked, seq
	}
	if time.Since(f.purged) > purgeEvery {
		f.purged = asked.Add(mathrand.N(purgeEvery)) // not all instances at once
		return f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
			return purgeScript.Run(ctx, node, f.keys, f.known(seconds(replica.KeptLonger))...).Err()
		})
	}
	return nil
}

// known returns the first arguments of a script, and more.
func (f *follower) known(more ...any) []any {
	return append([]any{rand.Text(), f.epoch, f.copy.Seq(), f.last}, more...)
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

func (f *follower) state(ctx context.Context) (epoch string, seq uint64, last string, err error) {
	var reply []string
	err = f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
		reply, err = stateScript.Run(ctx, node, f.keys, f.known()...).StringSlice()
		return err
	})
	if err != nil {
		return "", 0, "", err
	}
	if len(reply) != 3 {
		return "", 0, "", fmt.Errorf("%d values for a state", len(reply))
	}
	seq, err = strconv.ParseUint(reply[1], 10, 64)
	return reply[0], seq, reply[2], err
}

// load replaces the copy by what Redis has.
func (f *follower) load(ctx context.Context) error {
	asked := time.Now()
	epoch, seq, last, err := f.state(ctx)
	if err != nil {
		return err
	}
	lost := f.lost || f.epoch != "" && epoch != f.epoch
	var snapshot replica.Snapshot
	var score, key string
	for {
		page, err := f.page(ctx, score, key)
		if err != nil {
			return err
		}
		if page[0] != epoch {
			return fmt.Errorf("%w while they were loaded", errLost)
		}
		for i := 3; i+1 < len(page); i += 2 {
			record, err := parseState(page[i], page[i+1])
			if err == nil {
				err = snapshot.Add(record)
			}
			if err != nil {
				return err
			}
		}
		if score, key = page[1], page[2]; key == "" {
			break
		}
	}
	if lost {
		f.opts.OnError(errors.New("redisrevocation: redis has lost changes: this instance keeps in force what it had, an instance that starts later does not"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copy.Install(&snapshot, seq, asked, lost)
	f.epoch, f.last, f.broken, f.lost, f.asked, f.newest = epoch, last, false, false, time.Time{}, 0
	close(f.installed)
	f.installed = make(chan struct{})
	return nil
}

// page returns a page of the entries after one.
func (f *follower) page(ctx context.Context, score, key string) (page []string, err error) {
	err = f.call(ctx, loadFor, func(ctx context.Context, node *redis.Client) error {
		page, err = pageScript.Run(ctx, node, f.keys, f.known(score, key, pageSize)...).StringSlice()
		return err
	})
	if err == nil && len(page) < 3 {
		err = fmt.Errorf("%d values for a page", len(page))
	}
	return page, err
}

// line is a line of the log.
type line struct {
	id     string
	fields map[string]string
}

// apply makes the change of a line, if it continues what the copy has.
func (f *follower) apply(l line) error {
	number, _, _ := strings.Cut(l.id, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("line %q of the log has no number", l.id)
	}
	have := f.copy.Seq()
	if seq <= have || seq == have+1 && l.fields["prev"] != f.last {
		return fmt.Errorf("%w: after %s comes %s, which follows %s", errLost, f.last, l.id, l.fields["prev"])
	}
	change := replica.Change{Seq: seq, Removed: l.fields["removed"] == "1"}
	if change.Record, err = parseState(l.fields["key"], l.fields["state"]); err != nil {
		return err
	}
	if err := f.copy.Follow(change); err != nil {
		return err
	}
	f.last = l.id
	return nil
}

// read waits for lines of the log after the copy's last, and returns them. It does
// not use XRead, whose own time limit is 10 seconds more than it waits.
func (f *follower) read(ctx context.Context) ([]line, error) {
	var reply any
	err := f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) (err error) {
		reply, err = node.Do(ctx, "XREAD", "COUNT", pageSize, "BLOCK", f.block.Milliseconds(), "STREAMS", f.keys[2], f.last).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// One stream was asked for: {name: lines} in RESP3, [[name, lines]] in RESP2.
	var list any
	switch r := reply.(type) {
	case map[any]any:
		list = r[f.keys[2]]
	case []any:
		if pair, ok := first(r).([]any); ok && len(pair) == 2 {
			list = pair[1]
		}
	}
	items, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("answer %T to XREAD", reply)
	}
	lines := make([]line, len(items))
	for i, item := range items {
		if lines[i], err = parseLine(item); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func parseLine(item any) (line, error) {
	pair, ok := item.([]any)
	if !ok || len(pair) != 2 {
		return line{}, fmt.Errorf("line %T of the log", item)
	}
	l := line{fields: map[string]string{}}
	l.id, _ = pair[0].(string)
	fields, _ := pair[1].([]any)
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		l.fields[name], _ = fields[i+1].(string)
	}
	return l, nil
}
