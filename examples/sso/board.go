package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// board notes how long sign-outs took, for the pages. The services of this example
// share it because they run in one program. Nothing else depends on it.
type board struct {
	patience time.Duration // how long a page waits for places that have not reported

	mu       sync.Mutex
	expected map[string][]string // where a session is in use
	outs     map[string]*signOut // by session
}

type signOut struct {
	start   time.Time
	left    int // places that have not reported
	reached []arrival
	all     chan struct{} // closed when all places have reported
}

// arrival is when a sign-out was in force at a place.
type arrival struct {
	Where string
	After time.Duration
}

// memory is how long the board remembers a session.
const memory = 10 * time.Minute

func newBoard(patience time.Duration) *board {
	return &board{patience: patience, expected: map[string][]string{}, outs: map[string]*signOut{}}
}

// expect notes that a session is in use at a place.
func (b *board) expect(session, where string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.outs[session] != nil || slices.Contains(b.expected[session], where) {
		return
	}
	b.expected[session] = append(b.expected[session], where)
	time.AfterFunc(memory, func() { b.forget(session) })
}

func (b *board) forget(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.expected, session)
	delete(b.outs, session)
}

// start notes that a sign-out begins. Only the first call for a session counts.
func (b *board) start(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.outs[session] != nil {
		return
	}
	o := &signOut{start: time.Now(), left: len(b.expected[session]), all: make(chan struct{})}
	if o.left == 0 {
		close(o.all)
	}
	b.outs[session] = o
}

// reached notes that a sign-out is in force at a place.
func (b *board) reached(session, where string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.outs[session]
	if o == nil || !slices.Contains(b.expected[session], where) ||
		slices.ContainsFunc(o.reached, func(a arrival) bool { return a.Where == where }) {
		return
	}
	o.reached = append(o.reached, arrival{where, time.Since(o.start).Round(100 * time.Microsecond)})
	if o.left--; o.left == 0 {
		close(o.all)
	}
}

// arrivals returns where a sign-out is in force. It waits for all places, but not
// forever, since one may be down.
func (b *board) arrivals(ctx context.Context, session string) []arrival {
	b.mu.Lock()
	o := b.outs[session]
	b.mu.Unlock()
	if o == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	select {
	case <-o.all:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(o.reached)
}
