package revocationtest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

type storeTest struct {
	*testing.T
	backend Backend
	ctx     context.Context

	mu     sync.Mutex
	opened []revocation.Store
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

// entry returns an entry of storeIssuer.
func entry(kind revocation.Kind, value string, issuedUntil time.Time) revocation.Entry {
	return revocation.Entry{Kind: kind, Issuer: storeIssuer, Value: value, IssuedUntil: issuedUntil}
}

func byID(id string) revocation.Entry { return entry(revocation.ByID, id, time.Time{}) }

func tokenWithID(id string) *jwthttp.Token {
	return storeToken(func(t *jwthttp.Token) { t.ID = id })
}

// meaning is an entry, and a change that makes the token of storeToken one that
// the entry does not revoke.
type meaning struct {
	name    string
	entry   revocation.Entry
	another func(*jwthttp.Token)
}

func meanings() []meaning {
	now := time.Now()
	const other = "https://other.example.com/"
	return []meaning{
		{"by ID", byID("id-1"), func(t *jwthttp.Token) { t.ID = "id-2" }},
		{"by ID, of that issuer only", byID("id-1"), func(t *jwthttp.Token) { t.Issuer = other }},
		{"by ID, not of tokens without issuer", byID("id-1"), func(t *jwthttp.Token) { t.Issuer = "" }},
		{"by subject", entry(revocation.BySubject, "alice", now), func(t *jwthttp.Token) { t.Subject = "bob" }},
		{"by subject, not another claim of that value", entry(revocation.BySubject, "alice", now), func(t *jwthttp.Token) { t.Subject, t.ID = "", "alice" }},
		{"by subject, issued later", entry(revocation.BySubject, "alice", now), func(t *jwthttp.Token) { t.IssuedAt = now.Add(1) }},
		{"by session", entry(revocation.BySession, "session-1", now), func(t *jwthttp.Token) { t.SessionID = "session-2" }},
		{"by client", entry(revocation.ByClient, "app-1", now), func(t *jwthttp.Token) { t.ClientID = "app-2" }},
		{"all of an issuer", entry(revocation.ByIssuer, "", now), func(t *jwthttp.Token) { t.Issuer = other }},
		{"a clock that is fast", entry(revocation.BySubject, "alice", now.Add(4*time.Minute)), func(t *jwthttp.Token) { t.IssuedAt = now.Add(4*time.Minute + 1) }},
	}
}

func (s *storeTest) semantics() {
	for _, test := range meanings() {
		s.Run(test.name, func(t *testing.T) {
			sub := &storeTest{T: t, backend: s.backend, ctx: s.ctx}
			defer func() { s.opened = append(s.opened, sub.opened...) }()
			sub.means(test)
		})
	}
	s.Run("tokens without issuer", func(t *testing.T) {
		sub := &storeTest{T: t, backend: s.backend, ctx: s.ctx}
		defer func() { s.opened = append(s.opened, sub.opened...) }()
		sub.withoutIssuer()
	})
}

func (s *storeTest) means(test meaning) {
	a, b := s.open(), s.open()
	s.revoke(a, test.entry)
	s.want(a, storeToken(nil), true)
	s.wantSoon(b, storeToken(nil), true)
	if test.entry.Kind != revocation.ByID {
		s.want(b, storeToken(func(t *jwthttp.Token) { t.IssuedAt = time.Time{} }), true)
		s.want(b, storeToken(func(t *jwthttp.Token) { t.IssuedAt = test.entry.IssuedUntil }), true)
	}
	for _, store := range []revocation.Store{a, b, s.open()} {
		s.want(store, storeToken(test.another), false)
	}
	removal := revocation.Entry{Kind: test.entry.Kind, Issuer: storeIssuer, Value: test.entry.Value}
	if err := a.Remove(s.ctx, removal); err != nil {
		s.Fatal(err)
	}
	s.wantSoon(b, storeToken(nil), false)
}

func (s *storeTest) withoutIssuer() {
	a := s.open()
	without := storeToken(func(t *jwthttp.Token) { t.Issuer = "" })
	for _, e := range []revocation.Entry{
		{Kind: revocation.ByID, Issuer: revocation.NoIssuer, Value: "id-1"},
		{Kind: revocation.ByIssuer, Issuer: revocation.NoIssuer, IssuedUntil: time.Now()},
	} {
		s.revoke(a, e)
		b := s.open()
		s.want(b, without, true)
		s.want(b, storeToken(nil), false)
		if err := a.Remove(s.ctx, e); err != nil {
			s.Fatal(err)
		}
		s.wantSoon(b, without, false)
	}
}

func (s *storeTest) laterTimes() {
	now := time.Now()
	a, b := s.open(), s.open()
	e := entry(revocation.BySubject, "alice", now)
	e.Expires = now.Add(time.Hour)
	s.revoke(a, e)
	e.IssuedUntil, e.Expires = now.Add(-time.Hour), now.Add(30*time.Minute)
	s.revoke(b, e)
	just := storeToken(func(t *jwthttp.Token) { t.IssuedAt = now })
	s.want(b, just, true)
	s.want(s.open(), just, true)
	e.IssuedUntil, e.Expires = now.Add(1), time.Time{}
	s.revoke(b, e)
	for _, store := range []revocation.Store{a, s.open()} {
		s.wantSoon(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = now.Add(1) }), true)
		s.want(store, storeToken(func(t *jwthttp.Token) { t.IssuedAt = now.Add(2) }), false)
	}
	if n := a.Len(); n != 1 {
		s.Errorf("%d entries for the same tokens", n)
	}
	s.revoke(a, byID("id-1"))
	old := storeToken(func(t *jwthttp.Token) { t.ExpiresAt = now.Add(-time.Hour) })
	if err := b.RevokeToken(s.ctx, old); err != nil { // which alone would be an expired entry
		s.Fatal(err)
	}
	other := func(t *jwthttp.Token) { t.Subject = "bob" }
	for _, store := range []revocation.Store{a, b, s.open()} {
		s.wantSoon(store, storeToken(other), true)
	}
}

// refusal is an entry that no store may accept.
type refusal struct {
	name  string
	entry revocation.Entry
	names bool // it names tokens, and may be removed
}

func refusals() []refusal {
	now := time.Now()
	expiring := func(e revocation.Entry, expires time.Time) revocation.Entry {
		e.Expires = expires
		return e
	}
	fingerprint := strings.Repeat("a", 64)
	return []refusal{
		{"the zero Entry", revocation.Entry{}, false},
		{"no Kind", entry(0, "alice", now), false},
		{"an unknown Kind", entry(revocation.ByIssuer+1, "alice", now), false},
		{"no issuer", revocation.Entry{Kind: revocation.BySubject, Value: "alice", IssuedUntil: now}, false},
		{"no ID", byID(""), false},
		{"no fingerprint", entry(revocation.ByFingerprint, "", now), false},
		{"no subject", entry(revocation.BySubject, "", now), false},
		{"no session", entry(revocation.BySession, "", now), false},
		{"no client", entry(revocation.ByClient, "", now), false},
		{"an issuer with a value", entry(revocation.ByIssuer, storeIssuer, now), false},
		{"a fingerprint that is too short", entry(revocation.ByFingerprint, "abc", now), false},
		{"a fingerprint that is too long", entry(revocation.ByFingerprint, fingerprint+"aa", now), false},
		{"a fingerprint in upper case", entry(revocation.ByFingerprint, strings.ToUpper(fingerprint), now), false},
		{"a fingerprint with another letter", entry(revocation.ByFingerprint, "g"+fingerprint[1:], now), false},
		{"an ID that is not UTF-8", byID("\xff"), false},
		{"an issuer that is not UTF-8", revocation.Entry{Kind: revocation.ByID, Issuer: "\xff", Value: "x"}, false},
		{"a subject without IssuedUntil", entry(revocation.BySubject, "alice", time.Time{}), true},
		{"a session without IssuedUntil", entry(revocation.BySession, "s", time.Time{}), true},
		{"a client without IssuedUntil", entry(revocation.ByClient, "c", time.Time{}), true},
		{"an issuer without IssuedUntil", entry(revocation.ByIssuer, "", time.Time{}), true},
		{"IssuedUntil more than 5 minutes ahead", entry(revocation.BySubject, "alice", now.Add(6*time.Minute)), true},
		{"IssuedUntil beyond all times", entry(revocation.BySubject, "alice", time.Unix(1<<63-1, 0)), true},
		{"an ID, with IssuedUntil an hour ahead", entry(revocation.ByID, "x", now.Add(time.Hour)), true},
		{"Expires in the past", expiring(byID("x"), now.Add(-time.Second)), true},
		{"Expires in 1970", expiring(byID("x"), time.Unix(0, 0)), true},
		{"Expires in 1900", expiring(byID("x"), time.Unix(-1e9, 0)), true},
		{"Expires equal to IssuedUntil", expiring(entry(revocation.BySubject, "alice", now.Add(3*time.Minute)), now.Add(3*time.Minute)), true},
	}
}

func (s *storeTest) refusals() {
	a := s.open()
	for _, test := range refusals() {
		if err := a.Revoke(s.ctx, test.entry); err == nil {
			s.Errorf("%s: Revoke accepts it", test.name)
		}
		if err := a.Remove(s.ctx, test.entry); (err == nil) != test.names {
			s.Errorf("%s: Remove returns %v", test.name, err)
		}
	}
	for _, token := range []*jwthttp.Token{nil, {Issuer: storeIssuer}, {Issuer: storeIssuer, ID: "\xff"}} {
		if err := a.RevokeToken(s.ctx, token); err == nil {
			s.Errorf("RevokeToken accepts %v", token)
		}
	}
	if _, err := a.Revoked(s.ctx, nil); err == nil {
		s.Error("Revoked accepts a nil token")
	}
	if n := s.open().Len(); n != 0 {
		s.Errorf("%d entries", n)
	}
}

func (s *storeTest) tokens() {
	a, b := s.open(), s.open()
	for _, claims := range []jwt.MapClaims{
		{"iss": storeIssuer, "jti": "x"}, {"iss": storeIssuer}, {"jti": "x"}, {},
		{"iss": storeIssuer, "jti": "y", "exp": time.Now().Add(-10 * time.Second).Unix()}, // it lives by leeway
	} {
		verified := func(sub string) *jwthttp.Token {
			claims["sub"] = sub
			return verify(s.T, claims)
		}
		token := verified("alice")
		s.want(a, token, false)
		if err := a.RevokeToken(s.ctx, token); err != nil {
			s.Fatal(err)
		}
		s.want(a, token, true)
		s.wantSoon(b, token, true)
		s.want(s.open(), token, true)
		s.want(b, verified("bob"), token.ID != "")
	}
	byHand := &jwthttp.Token{Issuer: storeIssuer, Subject: "alice"} // while there are fingerprints
	s.want(a, byHand, false)
	// The issuer of a fingerprint does not matter.
	carol := verify(s.T, jwt.MapClaims{"iss": storeIssuer, "sub": "carol"})
	e := revocation.Entry{Kind: revocation.ByFingerprint, Issuer: "another", Value: carol.Fingerprint()}
	s.revoke(a, e)
	s.want(a, carol, true)
	e.Issuer = storeIssuer
	if err := a.Remove(s.ctx, e); err != nil {
		s.Fatal(err)
	}
	s.want(a, carol, false)
}

// verify returns the verified Token with claims, and with an hour to live unless
// the claims say otherwise.
func verify(t *testing.T, claims jwt.MapClaims) *jwthttp.Token {
	t.Helper()
	secret := []byte("a secret of a test of at least 32 bytes")
	m, err := jwthttp.New[struct{}](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: jwthttp.Any, Audience: []string{jwthttp.Any}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret),
	}}, Leeway: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	all := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+signed)
	if r, err = m.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	token, _ := jwthttp.TokenFromContext(r.Context())
	return token
}

func (s *storeTest) removal() {
	a, b := s.open(), s.open()
	e := byID("id-1")
	if err := a.Remove(s.ctx, e); err != nil {
		s.Errorf("removing an entry that is not there: %v", err)
	}
	for range 5 { // the last change holds, on whichever instance it was made
		s.revoke(a, e)
		s.wantSoon(b, storeToken(nil), true)
		if err := b.Remove(s.ctx, e); err != nil {
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
		`'; DROP TABLE x; --`, `"`, "`", `\`, "a\r\nb", "\x00", "{}", "*", "%", "\u00e9\U0001f600", " ", strings.Repeat("x", 8000), "\u2028<>&", "-", ":",
	} {
		s.revoke(a, revocation.Entry{Kind: revocation.BySubject, Issuer: text, Value: text, IssuedUntil: time.Now()})
		token := &jwthttp.Token{Issuer: text, Subject: text, IssuedAt: time.Now().Add(-time.Second)}
		s.wantSoon(b, token, true)
		s.want(s.open(), token, true)
		s.want(b, &jwthttp.Token{Issuer: text, Subject: text + " ", IssuedAt: token.IssuedAt}, false)
	}
	// The border between issuer and value counts.
	s.revoke(a, revocation.Entry{Kind: revocation.ByID, Issuer: "ab", Value: "c"})
	s.wantSoon(b, &jwthttp.Token{Issuer: "ab", ID: "c"}, true)
	s.want(b, &jwthttp.Token{Issuer: "a", ID: "bc"}, false)
}

func (s *storeTest) expiry() {
	a := s.open()
	expired := func(id string, ago time.Duration) {
		token := tokenWithID(id)
		token.ExpiresAt = time.Now().Add(-ago)
		if err := a.RevokeToken(s.ctx, token); err != nil {
			s.Fatal(err)
		}
	}
	for i := range 40 {
		expired(fmt.Sprint("expired ", i), time.Hour)
	}
	expired("within leeway", time.Second)
	s.revoke(a, byID("forever"))
	forever := byID("forever in other words")
	forever.Expires = time.Unix(1<<63-1, 0)
	s.revoke(a, forever)
	for _, store := range []revocation.Store{a, s.open()} {
		if n := store.Len(); n != 3 {
			s.Errorf("%d entries in force", n)
		}
		for _, id := range []string{"within leeway", "forever", "forever in other words"} {
			s.want(store, tokenWithID(id), true)
		}
		s.want(store, tokenWithID("expired 1"), false)
	}
}

func (s *storeTest) restart() {
	ctx, cancel := context.WithCancel(s.ctx)
	a := s.openWith(ctx, freshEnough)
	s.revoke(a, byID("id-1"))
	cancel()
	wait(a)
	b := s.open()
	s.want(b, storeToken(nil), true)
	if s.backend.Stop == nil {
		return
	}
	s.backend.Stop()
	s.backend.Start()
	s.want(s.open(), storeToken(nil), true)
	s.within(freshEnough/3, func() bool { return b.Revoke(s.ctx, byID("id-2")) == nil })
	s.wantSoon(b, tokenWithID("id-2"), true)
}

func (s *storeTest) writers() {
	const instances, each = 3, 40
	var stores []revocation.Store
	for range instances {
		stores = append(stores, s.open())
	}
	until := time.Now().Add(-time.Hour)
	var all sync.WaitGroup
	for i, store := range stores {
		for w := range 2 {
			all.Go(func() {
				for n := range each {
					for _, e := range []revocation.Entry{
						byID(fmt.Sprint(i, " ", w, " ", n)),
						entry(revocation.BySubject, "alice", until.Add(time.Duration(instances*n+i))),
					} {
						if err := store.Revoke(s.ctx, e); err != nil {
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

// overlap opens instances while changes are under way. Each must have everything
// that was acknowledged before, and get what comes after.
func (s *storeTest) overlap() {
	writes, stop := context.WithCancel(s.ctx)
	defer stop()
	var seen atomic.Int64
	acknowledged, writing := s.write(writes, &seen)
	var stores []revocation.Store
	last := -1
	for range 10 {
		n := last
		s.within(s.backend.Delay, func() bool {
			n = int(acknowledged.Load())
			return n > last
		})
		last = n
		seen.Store(int64(n))
		store := s.open()
		stores = append(stores, store)
		for i := range n + 1 {
			s.want(store, overlapToken(i), true)
		}
		s.want(store, overlapToken(1<<30), false)
	}
	stop()
	writing.Wait()
	n := int(acknowledged.Load())
	if n < 1 {
		s.Fatal("nothing was written")
	}
	for _, store := range stores {
		s.wantSoon(store, overlapToken(n), true)
		for i := range n + 1 {
			s.want(store, overlapToken(i), true)
		}
	}
}

func overlapToken(n int) *jwthttp.Token { return tokenWithID(fmt.Sprint("overlap ", n)) }

// write revokes one token after another until ctx ends, at most a few hundred
// ahead of the number in seen. It returns the number of the last one that was
// acknowledged, -1 at first, and the group to wait for.
func (s *storeTest) write(ctx context.Context, seen *atomic.Int64) (*atomic.Int64, *sync.WaitGroup) {
	writer := s.open()
	acknowledged, writing := new(atomic.Int64), new(sync.WaitGroup)
	acknowledged.Store(-1)
	writing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if err := writer.Revoke(s.ctx, byID(overlapToken(n).ID)); err != nil {
				s.Error(err)
				return
			}
			acknowledged.Store(int64(n))
			for int64(n)-seen.Load() > 300 && ctx.Err() == nil {
				<-time.After(time.Millisecond)
			}
		}
	})
	return acknowledged, writing
}

// wantUnlessStale checks what store says, unless its copy may have become older
// than maxStale meanwhile.
func (s *storeTest) wantUnlessStale(store revocation.Store, token *jwthttp.Token, revoked bool, maxStale time.Duration) {
	s.Helper()
	before := time.Duration(0)
	if c, ok := store.(interface{ Staleness() time.Duration }); ok {
		before = c.Staleness()
	}
	start := time.Now()
	got, err := store.Revoked(s.ctx, token)
	if err != nil && before+time.Since(start) >= maxStale {
		return
	}
	if err != nil || got != revoked {
		s.Errorf("%v is revoked: %v, %v; want %v", token, got, err, revoked)
	}
}

func (s *storeTest) unreachable() {
	if s.backend.Stop == nil {
		s.Skip("the backend cannot be stopped")
	}
	const maxStale, recovery = 2 * time.Second, time.Minute
	a, b := s.openWith(s.ctx, maxStale), s.openWith(s.ctx, maxStale)
	known, unknown := storeToken(nil), tokenWithID("id-2")
	s.revoke(a, byID("id-1"))
	s.wantSoon(b, known, true)
	s.backend.Stop()
	s.wantUnlessStale(b, unknown, false, maxStale)
	ctx, cancel := context.WithTimeout(s.ctx, 500*time.Millisecond)
	defer cancel()
	if err := a.Revoke(ctx, byID("id-3")); err == nil {
		s.Error("a revocation was acknowledged without the data")
	}
	if !s.within(recovery, func() bool { return b.Ready(s.ctx) != nil }) {
		s.Fatal("still ready")
	}
	if c, ok := b.(interface{ Staleness() time.Duration }); ok && c.Staleness() < maxStale {
		s.Errorf("not ready after %v", c.Staleness())
	}
	if revoked, err := b.Revoked(s.ctx, unknown); revoked || err == nil {
		s.Errorf("a stale copy says %v, %v", revoked, err)
	}
	s.want(b, known, true) // what it knows stays revoked
	s.backend.Start()
	for _, store := range []revocation.Store{a, b} {
		if !s.within(recovery, func() bool { return store.Ready(s.ctx) == nil }) {
			s.Fatalf("not ready after the data is back: %v", store.Ready(s.ctx))
		}
		s.want(store, known, true)
		s.wantUnlessStale(store, unknown, false, maxStale)
	}
	s.within(recovery, func() bool { return a.Revoke(s.ctx, byID("id-2")) == nil })
	s.wantSoon(b, unknown, true)
}

func (s *storeTest) end() {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(s.ctx)
	var stores []revocation.Store
	for range 3 {
		stores = append(stores, s.openWith(ctx, freshEnough))
	}
	cancel()
	for _, store := range stores {
		wait(store)
		wait(store) // a second call returns, too
	}
	if !s.within(time.Minute, func() bool { return runtime.NumGoroutine() <= before+1 }) {
		s.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
	if _, ok := stores[0].(interface{ Wait() }); !ok {
		return // nothing of it runs
	}
	if _, err := s.backend.Open(ctx, freshEnough); err == nil {
		s.Error("opened with a context that has ended")
	}
}
