package redisrevocation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// reportSettings tells OnError what the master's settings do not keep. This is
// advice, so a failure here is no failure of Open.
func (s *Store) reportSettings(ctx context.Context) {
	var settings map[string]string
	var replication string
	err := s.follower.call(ctx, loadFor, func(ctx context.Context, node *redis.Client) error {
		var err1, err2 error
		settings, err1 = readSettings(ctx, node)
		replication, err2 = node.Info(ctx, "replication").Result()
		return errors.Join(err1, err2)
	})
	if err != nil {
		s.opts.OnError(fmt.Errorf("redisrevocation: cannot read all settings of redis: check appendonly, appendfsync, maxmemory-policy and the replicas: %w", err))
	}
	findings := weaknesses(settings)
	if n, ok := replicas(replication); ok && n < s.opts.Replicas {
		findings = append(findings, fmt.Sprintf("%d replicas are connected, and Options.Replicas is %d: every change will fail", n, s.opts.Replicas))
	}
	for _, finding := range findings {
		s.opts.OnError(errors.New("redisrevocation: durability: " + finding))
	}
}

// readSettings reads one at a time: Redis before 7 takes one name only.
func readSettings(ctx context.Context, node *redis.Client) (map[string]string, error) {
	settings := map[string]string{}
	for _, name := range [...]string{"appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"} {
		values, err := node.ConfigGet(ctx, name).Result()
		if err != nil {
			return settings, err
		}
		settings[name] = values[name]
	}
	return settings, nil
}

// weaknesses returns what the settings do not keep. It ignores unknown ones.
func weaknesses(settings map[string]string) []string {
	var findings []string
	switch aof, fsync := settings["appendonly"], settings["appendfsync"]; {
	case aof == "no":
		findings = append(findings, "appendonly is no: a crash or restart of redis loses every change since its last RDB file; set it to yes")
	case aof == "yes" && fsync == "everysec":
		findings = append(findings, "appendfsync is everysec: a power cut, and on a slow disk a crash of redis alone, loses up to 2 seconds of acknowledged changes; set it to always if none may be lost")
	case aof == "yes" && fsync == "no":
		findings = append(findings, "appendfsync is no: a power cut loses acknowledged changes of some 30 seconds; a crash of redis alone loses none")
	}
	if settings["appendonly"] == "yes" && settings["appendfsync"] != "no" && settings["no-appendfsync-on-rewrite"] == "yes" {
		findings = append(findings, "no-appendfsync-on-rewrite is yes: a power cut while the append-only file is rewritten loses what was acknowledged meanwhile")
	}
	if policy := settings["maxmemory-policy"]; strings.HasPrefix(policy, "allkeys-") {
		findings = append(findings, fmt.Sprintf("maxmemory-policy is %s: redis may delete revocations when memory is short; use noeviction, or a separate server", policy))
	}
	return findings
}

// replicas finds the number of connected replicas in the answer to INFO.
func replicas(info string) (int, bool) {
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(line, "connected_slaves:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			return n, err == nil
		}
	}
	return 0, false
}
