package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Source is a store as Load reads it.
type Source interface {
	// Head returns where the store is.
	Head(ctx context.Context) (Position, error)

	// Parts returns functions that together send all records that the store has. They
	// run at the same time. Each sends, with its first page, the changes after from,
	// and with the others those since the page before. These include the last change of
	// each of its records; if there is one Part, they may come later. If send returns an
	// error, so does the Part.
	Parts(ctx context.Context) ([]Part, error)

	// Changes returns changes directly after a position, and whether these are all
	// that the store has.
	Changes(ctx context.Context, after Position) (changes []Change, all bool, err error)

	// Common returns the newest of some positions, newest first, from which the store
	// continues, as it is called in the store's present epoch. It returns false if
	// there is none.
	Common(ctx context.Context, past []Position) (at Position, ok bool, err error)

	// CatchUp follows until the copy has all that the store had. It returns false if
	// the store does not continue from where the copy is.
	CatchUp(ctx context.Context) (ok bool, err error)
}

// Part reads some of the records of a store.
type Part func(ctx context.Context, from Position, send func(Page) error) error

// Page is some of the records of a store, and changes directly after a position.
type Page struct {
	Records int
	Record  func(i int) (Record, error) // may be called by several goroutines
	After   Position
	Changes []Change
}

// End is the position of the last of some changes, or at if there is none.
func (at Position) End(changes []Change) Position {
	if n := len(changes); n > 0 {
		at.Seq, at.Mark = changes[n-1].Seq, changes[n-1].Mark
	}
	return at
}

// Load replaces the copy by all that a store has. Meanwhile the copy follows, if the
// store has a change that the copy has: it catches up each time that every has passed.
// Load returns how many entries the store has lost, and ErrGap if the store must be loaded
// again, since it has lost changes meanwhile.
func (c *Copy) Load(ctx context.Context, store Source, every time.Duration) (lost int, err error) {
	follows, err := c.follows(ctx, store)
	if err != nil {
		return 0, err
	}
	at, err := store.Head(ctx)
	if err != nil {
		return 0, err
	}
	l := &load{copy: c, store: store, snapshot: c.NewSnapshot(), at: at, marks: map[uint64]uint64{at.Seq: at.Mark}, follows: follows, tick: time.NewTicker(every)}
	defer l.tick.Stop()
	if err := l.readAll(ctx); err != nil {
		return 0, fmt.Errorf("while everything was loaded: %w", err)
	}
	for l.snapshot.Settle() {
		l.follow(ctx)
	}
	asked, err := l.join(ctx)
	if err != nil {
		return 0, fmt.Errorf("while everything was loaded: %w", err)
	}
	for more := true; more; l.follow(ctx) {
		if more, err = c.Merge(); err != nil {
			return 0, err
		}
	}
	lost, ok := c.Install(l.snapshot, l.at, asked)
	if !ok {
		return 0, errLostSince
	}
	return lost, nil
}

// First calls load for a copy that has nothing yet. A load fails with ErrGap or ErrLost if
// the store makes more changes meanwhile than its log keeps, or loses some. Then First
// calls it again, after longer and longer pauses, at most eight times in all.
func First(ctx context.Context, load func(context.Context) error) error {
	for try := 1; ; try++ {
		err := load(ctx)
		again := errors.Is(err, ErrGap) || errors.Is(err, ErrLost)
		if !again || try == 8 || !pause(ctx, shortestPace<<try) {
			return err
		}
	}
}

// follows makes the copy follow from where it is, or from the newest change that it and
// the store have. It returns false if there is none.
func (c *Copy) follows(ctx context.Context, store Source) (ok bool, err error) {
	if _, ok := c.Position(); ok {
		if ok, err := store.CatchUp(ctx); ok || err != nil {
			return ok, err
		}
	}
	past := c.Past()
	if len(past) == 0 {
		return false, nil
	}
	at, ok, err := store.Common(ctx, past)
	if err != nil || !ok {
		return false, err
	}
	c.Rejoin(at)
	return store.CatchUp(ctx)
}

// load is one Load.
type load struct {
	copy     *Copy
	store    Source
	snapshot *Snapshot
	at       Position          // of the last change in the snapshot
	marks    map[uint64]uint64 // of the changes from Head on that the snapshot has, by their numbers
	follows  bool              // there is a position to follow from
	tick     *time.Ticker
}

// readAll reads all parts. Each page has the changes since the one before. So a load
// ends even if the log is shorter than what changes meanwhile.
func (l *load) readAll(ctx context.Context) error {
	parts, err := l.store.Parts(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pages := l.start(ctx, cancel, parts)
	defer func() {
		cancel(nil)
		for range pages { // until the goroutines have ended
		}
	}()
	for {
		select {
		case p, ok := <-pages:
			if !ok {
				return context.Cause(ctx)
			}
			if err := l.add(p); err != nil {
				return err
			}
		case <-l.tick.C:
			_ = l.followNow(ctx) // see follow
		}
	}
}

// start starts all parts, and returns their pages. An error of one of them cancels ctx.
func (l *load) start(ctx context.Context, cancel context.CancelCauseFunc, parts []Part) <-chan Page {
	pages := make(chan Page, 4) // some are on their way while another one is added
	send := func(p Page) error {
		select {
		case pages <- p:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	from := l.at
	var reading sync.WaitGroup
	for _, part := range parts {
		reading.Go(func() {
			if err := part(ctx, from, send); err != nil {
				cancel(err)
			}
		})
	}
	go func() {
		reading.Wait()
		close(pages)
	}()
	return pages
}

// add adds a page, and those of its changes that no other page had.
func (l *load) add(p Page) error {
	if err := l.snapshot.AddAll(p.Records, p.Record); err != nil {
		return err
	}
	changes, err := l.unseen(p)
	if err != nil {
		return err
	}
	for _, change := range changes {
		l.marks[change.Seq] = change.Mark
	}
	l.at = l.at.End(changes)
	l.copy.Preview(changes...)
	return l.snapshot.Follow(changes...)
}

// unseen returns those changes of a page that come after the ones that the snapshot has.
// It returns ErrLost if the page has another history.
func (l *load) unseen(p Page) ([]Change, error) {
	if err := consecutive(p.After, p.Changes); err != nil {
		return nil, err
	}
	if p.After.Epoch != l.at.Epoch || p.After.Seq > l.at.Seq {
		return nil, fmt.Errorf("%w: %d comes before %d", ErrLost, l.at.Seq, p.After.Seq)
	}
	n := min(l.at.Seq-p.After.Seq, uint64(len(p.Changes)))
	if last := p.After.End(p.Changes[:n]); last.Mark != l.marks[last.Seq] {
		return nil, fmt.Errorf("%w: number %d is another change now", ErrLost, last.Seq)
	}
	return p.Changes[n:], nil
}

// follow follows if it is time to. An error is not reported: what reads the store next
// fails, too, or the next tick tries again.
func (l *load) follow(ctx context.Context) {
	select {
	case <-l.tick.C:
		_ = l.followNow(ctx)
	default:
	}
}

func (l *load) followNow(ctx context.Context) error {
	if !l.follows {
		return nil
	}
	ok, err := l.copy.follows(ctx, l.store)
	if err == nil {
		l.follows = ok
	}
	return err
}

// join follows what has changed since the last page, until the snapshot is where the
// copy is. It returns when the store had nothing newer.
func (l *load) join(ctx context.Context) (asked time.Time, err error) {
	for {
		asked = time.Now()
		changes, all, err := l.store.Changes(ctx, l.at)
		if err == nil {
			err = consecutive(l.at, changes)
		}
		if err != nil {
			return asked, err
		}
		joined, after := false, l.at
		l.at = after.End(changes)
		if all {
			joined, err = l.copy.Join(l.snapshot, after, changes...)
		} else {
			err = l.snapshot.Follow(changes...)
		}
		if err != nil || joined {
			return asked, err
		}
		if err := l.followNow(ctx); err != nil {
			return asked, err
		}
	}
}
