package jwthttptest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp"
)

// RevocationStore keeps revocations for several machines: each has an instance,
// which answers from a copy in memory. Those of the modules redisrevocation and
// sqlrevocation are RevocationStores.
type RevocationStore interface {
	// Revoke returns nil when r is kept durably, and in force on this
	// instance. An error leaves open whether it is kept; calling again does no harm.
	Revoke(ctx context.Context, r jwthttp.Revocation) error
	// RevokeToken ends one token, as RevocationList.RevokeToken does.
	RevokeToken(ctx context.Context, t *jwthttp.Token) error
	// Remove takes the entry for the tokens of r away.
	Remove(ctx context.Context, r jwthttp.Revocation) error
	// Revoked is a jwthttp.RevokedFunc. A copy that has not heard from the
	// store for too long answers true for what it knows, and an error for
	// everything else.
	Revoked(ctx context.Context, t *jwthttp.Token) (bool, error)
	// Ready returns nil unless the copy is too old.
	Ready(ctx context.Context) error
	// Staleness is how long ago the copy was known to be complete.
	Staleness() time.Duration
	// Len is the number of entries in force.
	Len() int
	// Wait returns when nothing runs any more, once the context of the
	// instance has ended.
	Wait()
}

// RevocationBackend is a store that [TestRevocationStore] tests.
type RevocationBackend struct {
	_ struct{}

	// Open returns another instance on the same data. It follows until ctx ends.
	Open func(ctx context.Context, maxStale time.Duration) (RevocationStore, error)
	// Stop puts the data out of the instances' reach, and Start brings it
	// back. If they are nil, tests of that are skipped.
	Stop, Start func()
	// Delay is within what time a change must be in force on every instance.
	Delay time.Duration
}

// TestRevocationStore tests that a store, with several instances of it, does what
// [RevocationStore] says: the semantics of jwthttp.RevocationList, on every
// instance, across restarts and while the store is out of reach. It calls
// backend for an empty one in each of its subtests. The race detector shows
// more; use it.
func TestRevocationStore(t *testing.T, backend func(t *testing.T) RevocationBackend) {
	for _, test := range []struct {
		name string
		run  func(*storeTest)
	}{
		{"what a revocation ends", (*storeTest).semantics},
		{"the later times win", (*storeTest).laterTimes},
		{"what a list refuses, a store refuses", (*storeTest).refusals},
		{"one token, with and without a jti", (*storeTest).tokens},
		{"taking back", (*storeTest).removal},
		{"any text", (*storeTest).anyText},
		{"what has expired is gone", (*storeTest).expiry},
		{"restart", (*storeTest).restart},
		{"many writers at once", (*storeTest).writers},
		{"instances that open while others write", (*storeTest).overlap},
		{"out of reach", (*storeTest).outOfReach},
		{"nothing is left running", (*storeTest).end},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			s := &storeTest{T: t, backend: backend(t), ctx: ctx}
			t.Cleanup(func() {
				cancel()
				for _, store := range s.opened {
					store.Wait()
				}
			})
			test.run(s)
		})
	}
}

type storeTest struct {
	*testing.T
	backend RevocationBackend
	ctx     context.Context

	mu     sync.Mutex
	opened []RevocationStore
}

// freshEnough is a MaxStale that no test reaches by being slow.
const freshEnough = 30 * time.Second

func (s *storeTest) open() RevocationStore {
	s.Helper()
	return s.openWith(s.ctx, freshEnough)
}

func (s *storeTest) openWith(ctx context.Context, maxStale time.Duration) RevocationStore {
	s.Helper()
	store, err := s.backend.Open(ctx, maxStale)
	if err != nil {
		s.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, store)
	return store
}

func (s *storeTest) revoke(store RevocationStore, r jwthttp.Revocation) {
	s.Helper()
	if err := store.Revoke(s.ctx, r); err != nil {
		s.Fatal(err)
	}
}

// want checks what store says of token at once.
func (s *storeTest) want(store RevocationStore, token *jwthttp.Token, revoked bool) {
	s.Helper()
	if got, err := store.Revoked(s.ctx, token); err != nil || got != revoked {
		s.Errorf("%v is revoked: %v, %v; want %v", token, got, err, revoked)
	}
}

// wantSoon checks it within the backend's Delay.
func (s *storeTest) wantSoon(store RevocationStore, token *jwthttp.Token, revoked bool) {
	s.Helper()
	s.within(s.backend.Delay, func() bool {
		got, err := store.Revoked(s.ctx, token)
		return err == nil && got == revoked
	})
	s.want(store, token, revoked)
}

// within polls until ok, or the time is over.
func (s *storeTest) within(d time.Duration, ok func() bool) bool {
	for start := time.Now(); time.Since(start) < d; {
		if ok() {
			return true
		}
		<-time.After(time.Millisecond)
	}
	return ok()
}

const storeIssuer = "https://login.example.com/"

func storeToken(change func(*jwthttp.Token)) *jwthttp.Token {
	t := &jwthttp.Token{
		Issuer: storeIssuer, Subject: "alice", ID: "id-1", SessionID: "session-1", ClientID: "app-1",
		IssuedAt: time.Now().Add(-time.Minute), ExpiresAt: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(t)
	}
	return t
}

func (s *storeTest) semantics() {
	now := time.Now()
	for _, test := range []struct {
		name    string
		r       jwthttp.Revocation
		another func(*jwthttp.Token) // makes it a token that r does not end
	}{
		{"by ID", jwthttp.Revocation{Issuer: storeIssuer, ID: "id-1"}, func(t *jwthttp.Token) { t.ID = "id-2" }},
		{"by ID, of that issuer only", jwthttp.Revocation{Issuer: storeIssuer, ID: "id-1"}, func(t *jwthttp.Token) { t.Issuer = "https://other.example.com/" }},
		{"by subject", jwthttp.Revocation{Issuer: storeIssuer, Subject: "alice", IssuedUntil: now}, func(t *jwthttp.Token) { t.Subject = "bob" }},
		{"by subject, issued later", jwthttp.Revocation{Issuer: storeIssuer, Subject: "alice", IssuedUntil: now}, func(t *jwthttp.Token) { t.IssuedAt = now.Add(1) }},
		{"by session", jwthttp.Revocation{Issuer: storeIssuer, SessionID: "session-1", IssuedUntil: now}, func(t *jwthttp.Token) { t.SessionID = "session-2" }},
		{"by client", jwthttp.Revocation{Issuer: storeIssuer, ClientID: "app-1", IssuedUntil: now}, func(t *jwthttp.Token) { t.ClientID = "app-2" }},
		{"all of an issuer", jwthttp.Revocation{Issuer: storeIssuer, IssuedUntil: now}, func(t *jwthttp.Token) { t.Issuer = "https://other.example.com/" }},
		{"a clock that runs fast", jwthttp.Revocation{Issuer: storeIssuer, Subject: "alice", IssuedUntil: now.Add(4 * time.Minute)}, func(t *jwthttp.Token) { t.IssuedAt = now.Add(4*time.Minute + 1) }},
	} {
		s.T.Run(test.name, func(t *testing.T) {
			sub := &storeTest{T: t, backend: s.backend, ctx: s.ctx}
			a, b := sub.open(), sub.open()
			sub.revoke(a, test.r)
			sub.want(a, storeToken(nil), true)
			sub.wantSoon(b, storeToken(nil), true)
			if test.r.ID == "" {
				sub.want(b, storeToken(func(t *jwthttp.Token) { t.IssuedAt = time.Time{} }), true)
				sub.want(b, storeToken(func(t *jwthttp.Token) { t.IssuedAt = test.r.IssuedUntil }), true)
			}
			for _, store := range []RevocationStore{a, b, sub.open()} {
				sub.want(store, storeToken(test.another), false)
			}
			if err := a.Remove(sub.ctx, test.r); err != nil {
				t.Fatal(err)
			}
			sub.wantSoon(b, storeToken(nil), false)
		})
	}
}

func (s *storeTest) laterTimes() {
	now := time.Now()
	a, b := s.open(), s.open()
	r := jwthttp.Revocation{Issuer: storeIssuer, Subject: "alice", IssuedUntil: now, Expires: now.Add(time.Hour)}
	s.revoke(a, r)
	r.IssuedUntil, r.Expires = now.Add(-time.Hour), now.Add(-time.Hour)
	s.revoke(b, r)
	just := storeToken(func(t *jwthttp.Token) { t.IssuedAt = now })
	s.want(b, just, true)
	s.want(s.open(), just, true)
	r.IssuedUntil, r.Expires = now.Add(1), time.Time{}
	s.revoke(b, r)
	for _, store := range []RevocationStore{a, s.open()} {
		s.wantSoon(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = now.Add(1) }), true)
		s.want(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = now.Add(2) }), false)
	}
	if n := a.Len(); n != 1 {
		s.Errorf("%d entries for the same tokens", n)
	}
}

func (s *storeTest) refusals() {
	a := s.open()
	for _, r := range []jwthttp.Revocation{
		{},
		{ID: "x", Subject: "y"},
		{Issuer: storeIssuer},
		{Issuer: storeIssuer, Subject: "alice"},
		{Issuer: storeIssuer, Subject: "alice", IssuedUntil: time.Now().Add(6 * time.Minute)},
		{Fingerprint: "x"},
		{Issuer: storeIssuer, ID: "\xff"},
	} {
		if err := a.Revoke(s.ctx, r); err == nil {
			s.Errorf("%+v was taken", r)
		}
	}
	if err := a.RevokeToken(s.ctx, nil); err == nil {
		s.Error("no token was revoked")
	}
	if err := a.RevokeToken(s.ctx, &jwthttp.Token{Issuer: storeIssuer}); err == nil {
		s.Error("a token without anything was revoked")
	}
	if _, err := a.Revoked(s.ctx, nil); err == nil {
		s.Error("no token is not revoked")
	}
	if err := a.Remove(s.ctx, jwthttp.Revocation{}); err == nil {
		s.Error("a removal of nothing was taken")
	}
	if n := s.open().Len(); n != 0 {
		s.Errorf("%d entries", n)
	}
}

func (s *storeTest) tokens() {
	issuer := New(s.T, "HS256")
	m, err := jwthttp.New[struct{}](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}})
	if err != nil {
		s.Fatal(err)
	}
	a, b := s.open(), s.open()
	for _, claims := range []map[string]any{{"jti": "x"}, {"jti": nil}} {
		verified := func(sub string) *jwthttp.Token {
			claims["sub"] = sub
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+issuer.Token(claims))
			r, err := m.Authenticate(r)
			if err != nil {
				s.Fatal(err)
			}
			token, _ := jwthttp.TokenFromContext(r.Context())
			return token
		}
		token := verified("alice")
		if err := a.RevokeToken(s.ctx, token); err != nil {
			s.Fatal(err)
		}
		s.want(a, token, true)
		s.wantSoon(b, token, true)
		s.want(s.open(), token, true)
		if claims["jti"] == nil {
			s.want(b, verified("bob"), false)
		}
	}
}

func (s *storeTest) removal() {
	a, b := s.open(), s.open()
	r := jwthttp.Revocation{Issuer: storeIssuer, ID: "id-1"}
	if err := a.Remove(s.ctx, r); err != nil {
		s.Errorf("removing what is not there: %v", err)
	}
	for range 5 { // each sees the last word, whoever had it
		s.revoke(a, r)
		s.wantSoon(b, storeToken(nil), true)
		if err := b.Remove(s.ctx, r); err != nil {
			s.Fatal(err)
		}
		s.want(b, storeToken(nil), false)
		s.wantSoon(a, storeToken(nil), false)
		s.want(s.open(), storeToken(nil), false)
	}
}

func (s *storeTest) anyText() {
	a, b := s.open(), s.open()
	for _, text := range []string{
		`'; DROP TABLE x; --`, `"`, "`", `\`, "a\r\nb", "\x00", "{}", "*", "%", "\u00e9\U0001f600", " ", strings.Repeat("x", 8000), "\u2028<>&",
	} {
		s.revoke(a, jwthttp.Revocation{Issuer: text, Subject: text, IssuedUntil: time.Now()})
		token := &jwthttp.Token{Issuer: text, Subject: text, IssuedAt: time.Now().Add(-time.Second)}
		s.wantSoon(b, token, true)
		s.want(s.open(), token, true)
		s.want(b, &jwthttp.Token{Issuer: text, Subject: text + " ", IssuedAt: token.IssuedAt}, false)
	}
	// The border between issuer and name counts.
	s.revoke(a, jwthttp.Revocation{Issuer: "ab", ID: "c"})
	s.wantSoon(b, &jwthttp.Token{Issuer: "ab", ID: "c"}, true)
	s.want(b, &jwthttp.Token{Issuer: "a", ID: "bc"}, false)
}

func (s *storeTest) expiry() {
	a := s.open()
	for i := range 40 {
		s.revoke(a, jwthttp.Revocation{Issuer: storeIssuer, ID: fmt.Sprint("dead ", i), Expires: time.Now().Add(-time.Hour)})
	}
	s.revoke(a, jwthttp.Revocation{Issuer: storeIssuer, ID: "dying", Expires: time.Now().Add(-time.Second)}) // a Leeway may let it live
	s.revoke(a, jwthttp.Revocation{Issuer: storeIssuer, ID: "for ever"})
	for _, store := range []RevocationStore{a, s.open()} {
		if n := store.Len(); n != 2 {
			s.Errorf("%d entries in force", n)
		}
		for _, id := range []string{"dying", "for ever"} {
			s.want(store, storeToken(func(t *jwthttp.Token) { t.ID = id }), true)
		}
	}
}

func (s *storeTest) restart() {
	ctx, cancel := context.WithCancel(s.ctx)
	a := s.openWith(ctx, freshEnough)
	s.revoke(a, jwthttp.Revocation{Issuer: storeIssuer, ID: "id-1"})
	cancel()
	a.Wait()
	b := s.open()
	s.want(b, storeToken(nil), true)
	if s.backend.Stop == nil {
		return
	}
	s.backend.Stop()
	s.backend.Start()
	s.want(s.open(), storeToken(nil), true)
	s.within(freshEnough/3, func() bool { return b.Revoke(s.ctx, jwthttp.Revocation{Issuer: storeIssuer, ID: "id-2"}) == nil })
	s.wantSoon(b, storeToken(func(t *jwthttp.Token) { t.ID = "id-2" }), true)
}

func (s *storeTest) writers() {
	const instances, each = 3, 40
	var stores []RevocationStore
	for range instances {
		stores = append(stores, s.open())
	}
	until := time.Now().Add(-time.Hour)
	var all sync.WaitGroup
	for i, store := range stores {
		for w := range 2 {
			all.Go(func() {
				for n := range each {
					for _, r := range []jwthttp.Revocation{
						{Issuer: storeIssuer, ID: fmt.Sprint(i, " ", w, " ", n)},
						{Issuer: storeIssuer, Subject: "alice", IssuedUntil: until.Add(time.Duration(instances*n + i))},
					} {
						if err := store.Revoke(s.ctx, r); err != nil {
							s.Error(err)
							return
						}
					}
				}
			})
		}
	}
	all.Wait()
	last := until.Add(instances*each - 1)
	for _, store := range append(stores, s.open()) {
		s.wantSoon(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = last }), true)
		s.want(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = last.Add(1) }), false)
		s.within(s.backend.Delay, func() bool { return store.Len() == instances*2*each+1 })
		if n := store.Len(); n != instances*2*each+1 {
			s.Errorf("%d entries, want %d", n, instances*2*each+1)
		}
	}
}

// overlap opens instances at moments when changes are on their way: each must
// have all that was acknowledged before, and what comes after.
func (s *storeTest) overlap() {
	writer := s.open()
	writes, stop := context.WithCancel(s.ctx)
	defer stop()
	acknowledged := make(chan int, 1)
	acknowledged <- -1
	token := func(n int) *jwthttp.Token {
		return storeToken(func(t *jwthttp.Token) { t.ID = fmt.Sprint("overlap ", n) })
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; writes.Err() == nil; n++ {
			if err := writer.Revoke(s.ctx, jwthttp.Revocation{Issuer: storeIssuer, ID: token(n).ID}); err != nil {
				s.Error(err)
				return
			}
			<-acknowledged
			acknowledged <- n
		}
	})
	var stores []RevocationStore
	last := -1
	for range 10 {
		n := last
		s.within(s.backend.Delay, func() bool {
			n = <-acknowledged
			acknowledged <- n
			return n > last
		})
		last = n
		store := s.open()
		stores = append(stores, store)
		for i := range n + 1 {
			s.want(store, token(i), true)
		}
		s.want(store, token(1<<30), false)
	}
	stop()
	writing.Wait()
	n := <-acknowledged
	if n < 1 {
		s.Fatal("nothing was written")
	}
	for _, store := range stores {
		s.wantSoon(store, token(n), true)
		for i := range n + 1 {
			s.want(store, token(i), true)
		}
	}
}

func (s *storeTest) outOfReach() {
	if s.backend.Stop == nil {
		s.Skip("the backend cannot be stopped")
	}
	const maxStale = 2 * time.Second
	a, b := s.openWith(s.ctx, maxStale), s.openWith(s.ctx, maxStale)
	known, unknown := storeToken(nil), storeToken(func(t *jwthttp.Token) { t.ID = "id-2" })
	s.revoke(a, jwthttp.Revocation{Issuer: storeIssuer, ID: "id-1"})
	s.wantSoon(b, known, true)
	s.backend.Stop()
	s.want(b, unknown, false) // not too old yet
	ctx, cancel := context.WithTimeout(s.ctx, 500*time.Millisecond)
	defer cancel()
	if err := a.Revoke(ctx, jwthttp.Revocation{Issuer: storeIssuer, ID: "id-3"}); err == nil {
		s.Error("a revocation was acknowledged without a store")
	}
	if !s.within(3*maxStale, func() bool { return b.Ready(s.ctx) != nil }) {
		s.Fatal("still ready")
	}
	if age := b.Staleness(); age < maxStale {
		s.Errorf("not ready after %v", age)
	}
	if revoked, err := b.Revoked(s.ctx, unknown); revoked || err == nil {
		s.Errorf("an old copy says %v, %v", revoked, err)
	}
	s.want(b, known, true) // what it knows stays so
	s.backend.Start()
	for _, store := range []RevocationStore{a, b} {
		if !s.within(5*maxStale, func() bool { return store.Ready(s.ctx) == nil }) {
			s.Fatalf("not ready after the store's return: %v", store.Ready(s.ctx))
		}
		s.want(store, known, true)
		s.want(store, unknown, false)
	}
	s.within(5*maxStale, func() bool { return a.Revoke(s.ctx, jwthttp.Revocation{Issuer: storeIssuer, ID: "id-2"}) == nil })
	s.wantSoon(b, unknown, true)
}

func (s *storeTest) end() {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(s.ctx)
	var stores []RevocationStore
	for range 3 {
		stores = append(stores, s.openWith(ctx, freshEnough))
	}
	cancel()
	for _, store := range stores {
		store.Wait()
		store.Wait() // again does no harm
	}
	if !s.within(10*time.Second, func() bool { return runtime.NumGoroutine() <= before+1 }) {
		s.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
	if _, err := s.backend.Open(ctx, freshEnough); err == nil {
		s.Error("opened with a context that has ended")
	}
}
