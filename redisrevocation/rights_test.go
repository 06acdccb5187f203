package redisrevocation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/redisrevocation"
)

// rights are what the README grants to a user.
func rights(t *testing.T, user string) []string {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "ACL SETUSER "+user+" on >PASSWORD ")
	if !ok {
		t.Fatalf("the README grants no rights to %s", user)
	}
	rules, _, _ := strings.Cut(strings.ReplaceAll(rest, "\\\n", " "), "\n")
	return strings.Fields(rules)
}

// grant makes a user, who has no other rights.
func grant(t *testing.T, admin *redis.Client, user string, rules ...string) func(*redis.Options) {
	t.Helper()
	args := []any{"ACL", "SETUSER", user, "reset", "on", ">secret"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	if err := admin.Do(context.Background(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	return func(o *redis.Options) { o.Username, o.Password = user, "secret" }
}

// The README names these rights, and no others are needed.
func TestStore_rights(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	admin := srv.client()
	app, reader := grant(t, admin, "app", rights(t, "app")...), grant(t, admin, "reader", rights(t, "reader")...)
	a := mustOpen(t, srv.addr, redisrevocation.Options{}, app)
	r := mustOpen(t, srv.addr, redisrevocation.Options{ReadOnly: true}, reader)
	a.revoke("x", "y")
	a.remove("y")
	admin.HDel(context.Background(), keys[0], "salt")
	b := mustOpen(t, srv.addr, redisrevocation.Options{}, app)
	b.want("revoked", "x")
	b.want("valid", "y")
	a.catchUp()
	if !a.heard("cannot read") {
		t.Errorf("OnError was told %q", a.told)
	}
	admin.FlushAll(context.Background())
	eventually(t, "written back", soon, func() bool { return len(stored(admin)) > 0 })
	r.soon("revoked", "x")
	r.catchUp()
	mustOpen(t, srv.addr, redisrevocation.Options{ReadOnly: true}, reader).want("revoked", "x")
}

// Open names each right that is missing, and no write has been made by halves.
func TestOpen_missingRights(t *testing.T) {
	t.Parallel()
	srv := &losingServer{t: t, server: newServer(t)}
	admin, ctx := srv.client(), context.Background()
	mustOpen(t, srv.addr, redisrevocation.Options{}).revoke("x")
	before := fingerprint(srv)
	for user, opts := range map[string]redisrevocation.Options{"app": {Replicas: 1}, "reader": {ReadOnly: true}} {
		all := rights(t, user)
		for i, right := range all {
			if !strings.HasPrefix(right, "+") || right == "+info" { // Open reads settings if it may
				continue
			}
			o := redis.Options{Addr: srv.addr}
			grant(t, admin, "some", slices.Delete(slices.Clone(all), i, i+1)...)(&o)
			ctx, cancel := context.WithCancel(ctx)
			s, err := redisrevocation.Open(ctx, closing(t, redis.NewClient(&o)), opts)
			cancel()
			if err == nil {
				s.Wait()
			}
			if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(right, "+")) {
				t.Errorf("%s without %s: %v", user, right, err)
			}
		}
	}
	if after := fingerprint(srv); after != before {
		t.Errorf("changed from %s to %s", before, after)
	}
}

// fingerprint is the state in Redis.
func fingerprint(l *losingServer) string { return fmt.Sprint(l.dump(keys...)) }

// A right is taken away from a user while the store runs. The change is not made, no
// instance has it in force, and the others can write.
func TestStore_rightTakenAway(t *testing.T) {
	t.Parallel()
	srv := &losingServer{t: t, server: newServer(t)}
	admin := srv.client()
	all := rights(t, "app")
	a := mustOpen(t, srv.addr, redisrevocation.Options{}, grant(t, admin, "app", all...))
	b := mustOpen(t, srv.addr, redisrevocation.Options{})
	b.revoke("x")
	a.soon("revoked", "x")
	for i, right := range all {
		if !strings.HasPrefix(right, "+") || slices.Contains([]string{"+info", "+wait", "+xread", "+eval"}, right) {
			continue
		}
		before := fingerprint(srv)
		grant(t, admin, "app", slices.Delete(slices.Clone(all), i, i+1)...)
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		err := errors.Join(a.Revoke(ctx, byID("refused")), a.Remove(ctx, byID("x")))
		cancel()
		if err == nil || !strings.Contains(err.Error(), right[1:]) {
			t.Errorf("without %s: %v", right, err)
		}
		if after := fingerprint(srv); after != before {
			t.Errorf("without %s: changed", right)
		}
	}
	b.revoke("y")
	grant(t, admin, "app", all...)
	a.soon("revoked", "y")
	for _, o := range []*opened{a, b} {
		o.want("valid", "refused")
		o.want("revoked", "x", "y")
		if o.heard("lost") {
			t.Errorf("OnError was told %q", o.told)
		}
	}
}

// A read-only instance follows, and writes nothing.
func TestOptions_ReadOnly(t *testing.T) {
	t.Parallel()
	l := &losingServer{t: t, server: newServer(t)}
	ctx, admin := context.Background(), l.client()
	reader := grant(t, admin, "reader", rights(t, "reader")...)
	r := mustOpen(t, l.addr, redisrevocation.Options{ReadOnly: true}, reader) // Redis is empty
	a := mustOpen(t, l.addr, redisrevocation.Options{})
	a.revoke("x")
	r.soon("revoked", "x")
	a.remove("x")
	r.soon("valid", "x")
	a.revoke("y")
	r.soon("revoked", "y")
	for _, err := range []error{
		r.Revoke(ctx, byID("z")), r.Remove(ctx, byID("y")), r.RevokeToken(ctx, &jwthttp.Token{Issuer: issuer, ID: "z"}),
	} {
		if err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("error %v", err)
		}
	}
	a.end()
	a.Store.Wait()
	l.must(admin.FlushAll(ctx).Err())
	eventually(t, "the loss is noticed", soon, func() bool { return r.Stats().Lost == 1 })
	r.catchUp()
	r.want("revoked", "y")
	<-time.After(time.Second) // an instance that may write would have done so
	if n := admin.DBSize(ctx).Val(); n != 0 || r.heard("writing back") {
		t.Errorf("it has written %d keys, or tried to: %q", n, r.told)
	}
	next := newServer(t, "--replicaof", "127.0.0.1 "+port(l.addr))
	replica := redis.Options{Addr: next.addr, MaxRetries: -1}
	if s, err := redisrevocation.Open(ctx, closing(t, redis.NewClient(&replica)), redisrevocation.Options{ReadOnly: true}); err == nil {
		t.Errorf("it follows a replica: %v", s.Staleness())
	}
	b := mustOpen(t, l.addr, redisrevocation.Options{})
	b.revoke("z")
	r.soon("revoked", "z")
	r.want("revoked", "y")
}
