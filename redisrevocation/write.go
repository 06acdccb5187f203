package redisrevocation

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp/internal/replica"
)

// write makes one change in Redis, and then here. A non-nil invalid is why there is
// no change to make.
func (s *Store) write(ctx context.Context, r replica.Record, removed bool, invalid error) error {
	if invalid != nil {
		return fmt.Errorf("redisrevocation: %w", invalid)
	}
	s.mu.Lock()
	epoch := s.epoch
	known := []any{rand.Text(), epoch, s.copy.Known(), ""} // "": the follower looks whether the last line is ours
	s.mu.Unlock()
	w, err := s.runWrite(ctx, append(known,
		r.Key, digits(r.Until), digits(r.Expires), r.Identity, bit(removed), mark(), s.opts.LogLength, seconds(replica.KeptLonger))...)
	if err == nil && len(w.reply) != 3 {
		err = fmt.Errorf("%d values for a change", len(w.reply))
	}
	if err != nil {
		return fmt.Errorf("redisrevocation: writing: %w", err)
	}
	// Redis has the change, even if too few replicas do.
	if err := s.make(ctx, epoch, w.reply, r.Key, removed); err != nil {
		return fmt.Errorf("redisrevocation: %w", err)
	}
	if w.replicas != nil {
		return fmt.Errorf("redisrevocation: writing: %w", w.replicas)
	}
	return nil
}

// written is the answer to writeScript.
type written struct {
	reply    []string // epoch, seq and state
	replicas error    // why it is not known that enough replicas have the change, or nil
}

// make puts a change that Redis has in force here. epoch is that of the copy
// before the change.
func (s *Store) make(ctx context.Context, epoch string, reply []string, key string, removed bool) error {
	seq, err := strconv.ParseUint(reply[1], 10, 64)
	if err != nil {
		return err
	}
	change := replica.Change{Seq: seq, Removed: removed}
	if change.Record, err = parseState(key, reply[2]); err != nil {
		return err
	}
	// If Redis has lost changes, the numbers began anew, and the copy would take
	// this change for an old one. So it has to be loaded first. A load that was
	// under way may be of the old data; the next one is not.
	for range 3 {
		s.mu.Lock()
		if s.epoch == reply[0] {
			defer s.mu.Unlock()
			return s.copy.Made(change)
		}
		installed, replaced := s.installed, s.epoch != epoch
		s.mu.Unlock()
		if replaced && reply[0] == epoch {
			return errors.New("redis has lost changes, perhaps including this one")
		}
		select {
		case <-installed:
		case <-s.done:
			return errors.New("redis has lost changes, and the store's context has ended")
		case <-time.After(loadFor):
			return errors.New("redis has lost changes, and loading takes too long")
		case <-ctx.Done():
			return fmt.Errorf("redis has lost changes and is being loaded: %w", context.Cause(ctx))
		}
	}
	return errors.New("redis has lost the change again")
}

// runWrite runs writeScript and waits for the replicas. It returns no error if the
// master has made the change.
func (s *Store) runWrite(ctx context.Context, args ...any) (written, error) {
	if s.opts.Replicas == 0 {
		reply, err := writeScript.Run(ctx, s.client, s.keys, args...).StringSlice()
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
	reply, err := cmd.StringSlice()
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

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// mark is a random number that fits the second half of a stream's id.
func mark() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return strconv.FormatUint(binary.BigEndian.Uint64(b[:]), 10)
}

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
