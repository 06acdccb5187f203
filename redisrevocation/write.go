package redisrevocation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// write makes one change in Redis, and then here. A non-nil invalid is why there is
// no change to make.
func (s *Store) write(ctx context.Context, change replica.Change, invalid error) error {
	if invalid != nil {
		return fmt.Errorf("redisrevocation: %w", invalid)
	}
	if s.opts.ReadOnly {
		return errReadOnly
	}
	err := s.copy.Make(ctx, s.done, func(t *replica.Try) error { return s.try(ctx, t, change) })
	if err != nil {
		return fmt.Errorf("redisrevocation: writing: %w", err)
	}
	return nil
}

var errReadOnly = errors.New("redisrevocation: the Store is read-only, see Options.ReadOnly")

// try makes one change, and follows it with those before it.
func (s *Store) try(ctx context.Context, t *replica.Try, change replica.Change) error {
	change.Mark = replica.NewMark()
	t.Expect(change.Mark)
	r, removal := change.Record, ""
	if change.Removed {
		removal = change.Removal().Key
	}
	args := append(s.arguments(t.At), pageSize,
		r.Key, digits(r.Until), digits(r.Expires), r.Identity, removal, change.Mark, s.opts.LogLength,
		s.copy.Now().Unix(), seconds(replica.KeptLonger))
	w, err := s.runWrite(ctx, args...)
	if err != nil {
		return err
	}
	if err := w.reply.misses(t.At); err != nil {
		return err
	}
	if err := s.copy.Follow(t.At, w.reply.changes...); err != nil {
		return err
	}
	if t.Followed() {
		return w.replicas // Redis has the change, even if too few replicas do
	}
	return nil
}

// writeBack is a replica.WriteBack. It does not wait for replicas.
func (s *Store) writeBack(ctx context.Context, at replica.Position, records []replica.Record) error {
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	args := append(s.arguments(at), pageSize, s.opts.LogLength)
	for _, r := range records {
		args = append(args, r.Key, digits(r.Until), digits(r.Expires), r.Identity, replica.NewMark())
	}
	reply, err := parseReply(healScript.Run(ctx, s.client, s.keys, args...).Slice())
	if err == nil {
		err = reply.misses(at)
	}
	if err == nil {
		err = s.copy.Follow(at, reply.changes...)
	}
	return err
}

// arguments returns the first arguments of a script for a caller at a position.
func (s *Store) arguments(at replica.Position) []any {
	readOnly := 0
	if s.opts.ReadOnly {
		readOnly = 1
	}
	return []any{rand.Text(), at.Epoch, id(at), readOnly}
}

// written is the answer to writeScript.
type written struct {
	reply    reply
	replicas error // why it is not known that enough replicas have the change, or nil
}

// runWrite runs writeScript and waits for the replicas. It returns no error if the
// master has made the change.
func (s *Store) runWrite(ctx context.Context, args ...any) (written, error) {
	if s.opts.Replicas == 0 {
		reply, err := parseReply(writeScript.Run(ctx, s.client, s.keys, args...).Slice())
		return written{reply: reply}, err
	}
	for try := 0; ; try++ {
		w, err := s.runAndWait(ctx, args)
		moved := redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "TRYAGAIN")
		if !moved || try == 5 {
			return w, err
		}
		s.reload(ctx)
		if err := pause(ctx, 10*time.Millisecond<<try); err != nil {
			return written{}, err
		}
	}
}

// runAndWait sends the script and WAIT in one pipeline, because WAIT is about what
// its own connection has written. For the same reason both go to one node.
func (s *Store) runAndWait(ctx context.Context, args []any) (written, error) {
	node, err := s.master(ctx)
	if err != nil {
		return written{}, err
	}
	node = node.WithTimeout(max(0, node.Options().ReadTimeout) + s.opts.ReplicasTimeout)
	send := func(eval func(redis.Pipeliner) *redis.Cmd) (cmd, wait *redis.Cmd) {
		pipe := node.Pipeline()
		cmd, wait = eval(pipe), pipe.Do(ctx, "WAIT", s.opts.Replicas, s.opts.ReplicasTimeout.Milliseconds())
		_, _ = pipe.Exec(ctx) // both have their errors
		return cmd, wait
	}
	cmd, wait := send(func(p redis.Pipeliner) *redis.Cmd { return writeScript.EvalSha(ctx, p, s.keys, args...) })
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd, wait = send(func(p redis.Pipeliner) *redis.Cmd { return writeScript.Eval(ctx, p, s.keys, args...) })
	}
	reply, err := parseReply(cmd.Slice())
	if err != nil {
		return written{}, err
	}
	w := written{reply: reply}
	if n, err := wait.Int64(); err != nil {
		w.replicas = fmt.Errorf("waiting for replicas: %w", err)
	} else if n < int64(s.opts.Replicas) {
		w.replicas = fmt.Errorf("%d of %d replicas have the change after %v", n, s.opts.Replicas, s.opts.ReplicasTimeout)
	}
	return w, nil
}

// master returns the client of the server that has the keys.
func (s *Store) master(ctx context.Context) (*redis.Client, error) {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		return c.MasterForKey(ctx, s.keys[0])
	}
	return s.client.(*redis.Client), nil
}

// reload makes a cluster's client look again which server has which keys.
func (s *Store) reload(ctx context.Context) {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		c.ReloadState(ctx)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// digits returns n as a text, such that texts compare as the numbers do.
func digits(n int64) string { return fmt.Sprintf("%020d", n) }

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// parseState parses a state that writeScript has made.
func parseState(key, state string) (replica.Record, error) {
	if len(state) < 42 {
		return replica.Record{}, fmt.Errorf("entry %.50q was not written by this package", key)
	}
	until, err1 := strconv.ParseInt(state[:20], 10, 64)
	expires, err2 := strconv.ParseInt(state[20:40], 10, 64)
	if err1 != nil || err2 != nil {
		return replica.Record{}, fmt.Errorf("entry %.50q has no times", key)
	}
	return replica.Record{Key: key, Identity: state[40:], Until: until, Expires: expires}, nil
}
