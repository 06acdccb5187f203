package redisrevocation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// source is Redis as a copy loads it.
type source struct{ *follower }

var _ replica.Source = source{}

// Head returns the position of the last change in Redis.
func (s source) Head(ctx context.Context) (replica.Position, error) {
	r, err := s.state(ctx, replica.Position{})
	return r.head, err
}

// Parts is one Part: several would not make Redis faster, which has one thread.
func (s source) Parts(context.Context) ([]replica.Part, error) {
	return []replica.Part{s.sendPages}, nil
}

// sendPages sends all pages.
//
// The cursor of HSCAN means something else after a restart or on another server:
// entries would be skipped silently. So all pages come over one connection.
func (s source) sendPages(ctx context.Context, at replica.Position, send func(replica.Page) error) error {
	node, err := s.master(ctx)
	if err != nil {
		return err
	}
	conn := node.WithTimeout(loadFor).Conn()
	defer func() { _ = conn.Close() }()
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var p replica.Page
		if p, cursor, err = s.page(ctx, conn, at, cursor); err == nil {
			at = p.After.End(p.Changes)
			err = send(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// page reads some entries, and the changes after a position. The changes are read
// last, so that they include those of the entries that were read.
func (s source) page(ctx context.Context, conn *redis.Conn, at replica.Position, cursor uint64) (p replica.Page, next uint64, err error) {
	pipe := conn.Pipeline()
	scan := pipe.HScan(ctx, s.keys[0], cursor, "", pageSize)
	lines := linesScript.EvalSha(ctx, pipe, s.keys, append(s.arguments(at), pageSize)...)
	_, _ = pipe.Exec(ctx)              // both have their errors
	fields, next, err := scan.Result() // names and values in turns
	if err != nil {
		return p, 0, err
	}
	r, err := parseReply(lines.Slice())
	if err != nil {
		return p, 0, err
	}
	entries := entryLines(fields)
	p = replica.Page{Records: len(entries), After: at, Changes: r.changes, Record: func(i int) (replica.Record, error) {
		key, state, _ := strings.Cut(entries[i], " ")
		return parseState(key, state)
	}}
	return p, next, r.misses(at)
}

// entryLines returns the lines of the buckets among some fields of the entries. Each line
// of a bucket begins with a line break.
func entryLines(fields []string) (lines []string) {
	for i := 0; i+1 < len(fields); i += 2 {
		if name, text := fields[i], fields[i+1]; !slices.Contains(notBuckets, name) {
			lines = append(lines, strings.Split(strings.TrimPrefix(text, "\n"), "\n")...)
		}
	}
	return lines
}

// notBuckets are the fields of the entries that are not buckets.
var notBuckets = []string{"epoch", "seq", "last", "fields", "salt"}

// Changes returns at most pageSize changes.
func (s source) Changes(ctx context.Context, after replica.Position) ([]replica.Change, bool, error) {
	r, err := s.lines(ctx, after)
	return r.changes, len(r.changes) < pageSize, err
}

// Common looks for the positions in the log.
func (s source) Common(ctx context.Context, past []replica.Position) (at replica.Position, ok bool, err error) {
	head, err := s.Head(ctx)
	if err != nil {
		return at, false, err
	}
	oldest, err := s.oldest(ctx, head)
	if err != nil {
		return at, false, err
	}
	at, ok, err = replica.Newest(past, func(at replica.Position) (replica.Found, error) {
		switch {
		case at.Seq > head.Seq:
			return replica.Lost, nil
		case at.Seq < oldest:
			return replica.Trimmed, nil
		}
		at.Epoch = head.Epoch
		r, err := s.state(ctx, at)
		if err == nil && !r.continues {
			return replica.Lost, nil
		}
		return replica.Continues, err
	})
	at.Epoch = head.Epoch // the marks tell which changes these are
	return at, ok, err
}

// oldest returns the number of the first line of the log, which is the first from which it
// continues. Without lines, that is its end.
func (s source) oldest(ctx context.Context, head replica.Position) (uint64, error) {
	first := head
	err := s.call(ctx, s.block+slack, func(ctx context.Context, node *redis.Client) error {
		lines, err := node.XRangeN(ctx, s.keys[1], "-", "+", 1).Result()
		if err == nil && len(lines) > 0 {
			first, err = parseID(lines[0].ID)
		}
		return err
	})
	return first.Seq, err
}

// CatchUp asks until the copy has all that Redis had.
func (s source) CatchUp(ctx context.Context) (ok bool, err error) {
	for start := time.Now(); s.copy.Staleness() > time.Since(start); {
		err := s.ask(ctx)
		if errors.Is(err, replica.ErrLost) || errors.Is(err, replica.ErrGap) {
			at, _ := s.copy.Position()
			return !s.copy.Break(at), nil
		}
		if _, ok := s.copy.Position(); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
