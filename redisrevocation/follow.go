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

	lost    bool // Redis has lost changes, and is not loaded since
	purged  time.Time
	pace    replica.Pace
	reports [2]replica.Rarely // of why everything has to be loaded, and of what was lost
}

const (
	slack      = 2 * time.Second // how much longer than block a call may take
	loadFor    = 10 * time.Second
	writeFor   = 10 * time.Second
	pageSize   = 1000
	purgeEvery = time.Minute
)

// run follows until ctx ends. What fails is tried again, after longer and longer
// pauses of different length on each instance.
func (f *follower) run(ctx context.Context) {
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
		return f.call(ctx, f.block+slack, func(ctx context.Context, node *redis.Client) error {
			return purgeScript.Run(ctx, node, f.keys, append(f.arguments(at), f.copy.Now().Unix(), seconds(replica.KeptLonger))...).Err()
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
		r, err = parseReply(linesScript.Run(ctx, node, f.keys, append(f.arguments(at), pageSize)...).Slice())
		if err == nil && f.opts.ReadOnly {
			// The script has not tried to write. A replica refuses WAIT.
			err = node.Do(ctx, "WAIT", 0, 0).Err()
		}
		return err
	})
	return r, err
}

// load replaces the copy by what Redis has. Meanwhile the copy follows, if the log has
// a change that it has.
func (f *follower) load(ctx context.Context) error {
	start, err := f.state(ctx, replica.Position{})
	if err != nil {
		return err
	}
	follows, err := f.rejoin(ctx)
	if err != nil {
		return err
	}
	m := &meanwhile{follower: f, follows: follows, tick: time.NewTicker(f.block / 8)}
	defer m.tick.Stop()
	snapshot := f.copy.NewSnapshot()
	at, err := m.readPages(ctx, snapshot, start.head)
	if err != nil {
		return err
	}
	for snapshot.Settle() {
		m.follow(ctx)
	}
	at, asked, err := m.join(ctx, snapshot, at)
	if err != nil {
		return fmt.Errorf("while everything was loaded: %w", err)
	}
	for more := true; more; m.follow(ctx) {
		if more, err = f.copy.Merge(); err != nil {
			return err
		}
	}
	if lost, ok := f.copy.Install(snapshot, at, asked); ok {
		f.reportLoss(lost)
	}
	return nil
}

// meanwhile follows while everything is loaded.
type meanwhile struct {
	*follower
	follows bool // there is a position to follow from
	tick    *time.Ticker
}

// follow follows if it is time to.
func (m *meanwhile) follow(ctx context.Context) {
	select {
	case <-m.tick.C:
		m.followNow(ctx)
	default:
	}
}

func (m *meanwhile) followNow(ctx context.Context) {
	if !m.follows {
		return
	}
	if ok, err := m.rejoin(ctx); err == nil { // otherwise the next page may fail, too
		m.follows = ok
	}
}

// join follows what has changed since the last page, until the snapshot is where the
// copy is. It returns the position, and when Redis had nothing newer.
func (m *meanwhile) join(ctx context.Context, snapshot *replica.Snapshot, at replica.Position) (replica.Position, time.Time, error) {
	for {
		asked := time.Now()
		r, err := m.lines(ctx, at)
		if err != nil {
			return at, asked, err
		}
		joined := false
		if len(r.changes) == pageSize {
			err = snapshot.Follow(r.changes...)
		} else {
			joined, err = m.copy.Join(snapshot, at, r.changes...)
		}
		if at = r.end(at); err != nil || joined {
			return at, asked, err
		}
		m.followNow(ctx)
	}
}

// rejoin makes the copy follow again from where it is, or from the newest change that
// it and Redis have. It returns false if there is none in the log.
func (f *follower) rejoin(ctx context.Context) (ok bool, err error) {
	if _, ok := f.copy.Position(); ok {
		if ok, err := f.catchUp(ctx); ok || err != nil {
			return ok, err
		}
	}
	start, err := f.state(ctx, replica.Position{})
	if err != nil {
		return false, err
	}
	for _, at := range f.copy.Past() {
		if at.Seq > start.head.Seq {
			continue
		}
		at.Epoch = start.head.Epoch // the marks tell which changes these are
		r, err := f.state(ctx, at)
		if err != nil {
			return false, err
		}
		if r.continues {
			f.copy.Rejoin(at)
			return f.catchUp(ctx)
		}
	}
	return false, nil
}

// catchUp follows until the copy has all that Redis had. It returns false if Redis does
// not continue from where the copy is.
func (f *follower) catchUp(ctx context.Context) (ok bool, err error) {
	for start := time.Now(); f.copy.Staleness() > time.Since(start); {
		err := f.ask(ctx)
		if errors.Is(err, replica.ErrLost) || errors.Is(err, replica.ErrGap) {
			at, _ := f.copy.Position()
			return !f.copy.Break(at), nil
		}
		if _, ok := f.copy.Position(); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// readPages reads all entries, and with each page the changes that were made since the
// page before. So a load ends even if the log is shorter than what changes meanwhile.
// It returns the position of the last of these changes.
func (m *meanwhile) readPages(ctx context.Context, snapshot *replica.Snapshot, at replica.Position) (replica.Position, error) {
	ctx, cancel := context.WithCancel(ctx)
	pages, failed := make(chan page, 4), make(chan error, 1)
	go func() { // some pages are on their way while another one is added
		defer close(pages)
		failed <- m.sendPages(ctx, at, pages)
	}()
	defer func() {
		cancel()
		for range pages { // until the goroutine has ended
		}
	}()
	for {
		select {
		case p, ok := <-pages:
			if !ok {
				return at, <-failed
			}
			if err := p.addTo(snapshot); err != nil {
				return at, err
			}
			m.copy.Preview(p.changes...)
			at = p.end(at)
		case <-m.tick.C:
			m.followNow(ctx)
		}
	}
}

// sendPages sends all pages. The first has the changes after at, and each of the
// others those after the page before.
//
// The cursor of HSCAN means something else after a restart or on another server:
// entries would be skipped silently. So all pages come over one connection.
func (f *follower) sendPages(ctx context.Context, at replica.Position, pages chan<- page) error {
	node, err := f.master(ctx)
	if err != nil {
		return err
	}
	conn := node.WithTimeout(loadFor).Conn()
	defer func() { _ = conn.Close() }()
	for cursor := uint64(0); ; {
		var p page
		if p, cursor, err = f.page(ctx, conn, at, cursor); err != nil {
			return fmt.Errorf("while everything was loaded: %w", err)
		}
		at = p.end(at)
		select {
		case pages <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		if cursor == 0 {
			return nil
		}
	}
}

// page reads some entries, and the changes after a position. The changes are read
// last, so that they include those of the entries that were read.
func (f *follower) page(ctx context.Context, conn *redis.Conn, at replica.Position, cursor uint64) (p page, next uint64, err error) {
	pipe := conn.Pipeline()
	entries := pipe.HScan(ctx, f.keys[0], cursor, "", pageSize)
	lines := linesScript.EvalSha(ctx, pipe, f.keys, append(f.arguments(at), pageSize)...)
	_, _ = pipe.Exec(ctx) // both have their errors
	if p.entries, next, err = entries.Result(); err != nil {
		return page{}, 0, err
	}
	if p.reply, err = parseReply(lines.Slice()); err != nil {
		return page{}, 0, err
	}
	return p, next, p.misses(at)
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
