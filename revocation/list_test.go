package revocation_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/revocation/revocationtest"
)

func secret() []byte { return []byte("0123456789abcdef0123456789abcdef") }

func TestList_store(t *testing.T) {
	revocationtest.TestStore(t, func(*testing.T) revocationtest.Backend {
		var list revocation.List
		return revocationtest.Backend{
			Open:  func(context.Context, time.Duration) (revocation.Store, error) { return &list, nil },
			Delay: time.Minute,
		}
	})
}

// Rules 41 and 42.
func TestList_Revoke(t *testing.T) {
	const minute = time.Minute // the token was issued a minute before the bubble's clock starts
	by := func(kind revocation.Kind, issuer, value string, issuedUntil time.Time) revocation.Entry {
		return revocation.Entry{Kind: kind, Issuer: issuer, Value: value, IssuedUntil: issuedUntil}
	}
	until := func(e revocation.Entry, expires time.Time) revocation.Entry {
		e.Expires = expires
		return e
	}
	const fingerprint = "of the token"
	for _, tt := range []struct {
		name    string
		entry   revocation.Entry
		claims  map[string]any
		revoked bool
	}{
		{"ID", byID("id-1"), nil, true},
		{"another ID", byID("id-2"), nil, false},
		{"ID of another issuer", by(revocation.ByID, "other", "id-1", time.Time{}), nil, false},
		{"ID of a token without issuer", by(revocation.ByID, revocation.NoIssuer, "id-1", time.Time{}), nil, false},
		{"ID without issuer, of a token without", by(revocation.ByID, revocation.NoIssuer, "id-1", time.Time{}), map[string]any{"iss": nil}, true},
		{"ID of an issuer, of a token without", byID("id-1"), map[string]any{"iss": nil}, false},
		{"ID, regardless of its times", by(revocation.ByID, issuerName, "id-1", at(-time.Hour)), nil, true},
		{"ID that is the subject", byID("alice"), nil, false},
		{"subject", bySubject("alice", at(0)), nil, true},
		{"another subject", bySubject("bob", at(0)), nil, false},
		{"subject, issued in that second", bySubject("alice", at(-minute)), nil, true},
		{"subject, issued later", bySubject("alice", at(-minute-1)), nil, false},
		{"subject, without iat", bySubject("alice", at(-24*time.Hour)), map[string]any{"iat": nil}, true},
		{"subject, until before 1970", bySubject("alice", time.Unix(-1, 0)), map[string]any{"iat": 0}, false},
		{"subject, until long before 1970", bySubject("alice", time.Date(1200, 1, 1, 0, 0, 0, 0, time.UTC)), map[string]any{"iat": 0}, false},
		{"subject, until 1600", bySubject("alice", time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)), nil, false},
		{"ID, forever in other words", until(byID("id-1"), time.Unix(1<<63-1, 0)), nil, true},
		{"ID, until the year 9999", until(byID("id-1"), time.Unix(253402300799, 0)), nil, true},
		{"session", by(revocation.BySession, issuerName, "s", at(0)), map[string]any{"sid": "s"}, true},
		{"session, of a token without", by(revocation.BySession, issuerName, "s", at(0)), nil, false},
		{"client", by(revocation.ByClient, issuerName, "c", at(0)), map[string]any{"azp": "c"}, true},
		{"another client", by(revocation.ByClient, issuerName, "c", at(0)), map[string]any{"azp": "d"}, false},
		{"issuer", by(revocation.ByIssuer, issuerName, "", at(0)), nil, true},
		{"issuer, issued later", by(revocation.ByIssuer, issuerName, "", at(-minute-1)), nil, false},
		{"issuer, a clock that is fast", by(revocation.ByIssuer, issuerName, "", at(5*minute)), nil, true},
		{"another issuer", by(revocation.ByIssuer, "other", "", at(0)), nil, false},
		{"no issuer", by(revocation.ByIssuer, revocation.NoIssuer, "", at(0)), map[string]any{"iss": nil}, true},
		{"no issuer, of a token with one", by(revocation.ByIssuer, revocation.NoIssuer, "", at(0)), nil, false},
		{"fingerprint", by(revocation.ByFingerprint, issuerName, fingerprint, time.Time{}), map[string]any{"jti": nil}, true},
		{"fingerprint of a token with an ID", by(revocation.ByFingerprint, issuerName, fingerprint, time.Time{}), nil, true},
		{"fingerprint, regardless of its issuer", by(revocation.ByFingerprint, revocation.NoIssuer, fingerprint, time.Time{}), nil, true},
		{"another fingerprint", by(revocation.ByFingerprint, issuerName, strings.Repeat("0", 64), time.Time{}), nil, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list revocation.List
			m := middleware(t, &list, "HS256", secret())
			token := sign(t, jwt.SigningMethodHS256, secret(), tt.claims)
			if tt.entry.Value == fingerprint {
				tt.entry.Value = verified(t, m, token).Fingerprint()
			}
			want(t, m, token, false)
			revoke(t, &list, tt.entry)
			if list.Len() != 1 {
				t.Errorf("%d entries", list.Len())
			}
			want(t, m, token, tt.revoked)
			tt.entry.IssuedUntil = time.Time{} // ignored by Remove
			for range 2 {
				if err := list.Remove(t.Context(), tt.entry); err != nil {
					t.Error(err)
				}
			}
			want(t, m, token, false)
			if list.Len() != 0 {
				t.Errorf("%d entries are left", list.Len())
			}
		})
	}
}

func TestList_Revoke_again(t *testing.T) {
	type times struct{ until, expires time.Duration }
	const never = -1
	for _, tt := range []struct {
		name          string
		first, second times
		inForce       time.Duration // the last moment at which the entry is there
		revoked       bool          // a token issued at 0
	}{
		{"later", times{-1, time.Hour}, times{0, 2 * time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"earlier", times{0, 2 * time.Hour}, times{-1, time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"one of each", times{-1, 2 * time.Hour}, times{0, time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"never is the latest", times{0, never}, times{0, time.Hour}, 1000 * time.Hour, true},
		{"never is the latest if it comes second", times{0, time.Hour}, times{0, never}, 1000 * time.Hour, true},
		{"both too early", times{-2, time.Hour}, times{-1, time.Hour}, time.Hour + 5*time.Minute, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list revocation.List
			for _, add := range []times{tt.first, tt.second} {
				e := bySubject("s", at(add.until))
				if add.expires != never {
					e.Expires = at(add.expires)
				}
				revoke(t, &list, e)
			}
			token := &jwthttp.Token{Issuer: issuerName, Subject: "s", IssuedAt: at(0)}
			check := func(want bool) {
				t.Helper()
				if got, err := list.Revoked(t.Context(), token); got != want || err != nil {
					t.Errorf("%v after the start: revoked %v (%v), want %v", time.Since(at(0)), got, err, want)
				}
			}
			check(tt.revoked)
			time.Sleep(tt.inForce)
			check(tt.revoked)
			if list.Len() != 1 {
				t.Error("removed too early")
			}
			time.Sleep(time.Nanosecond)
			if tt.inForce < 1000*time.Hour {
				check(false)
				if list.Len() != 0 {
					t.Error("not removed")
				}
			}
		})
	}
}

// Rule 41: the spellings of one signature are one token.
func TestList_RevokeToken(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		claims map[string]any
		left   int // entries after the end of the token
	}{
		{"with jti", nil, 0},
		{"without jti", map[string]any{"jti": nil}, 0},
		{"without jti and exp", map[string]any{"jti": nil, "exp": nil}, 1},
		{"without iss", map[string]any{"iss": nil}, 0},
		{"without iss and jti", map[string]any{"iss": nil, "jti": nil}, 0},
		{"issuer spelled like NoIssuer", map[string]any{"iss": revocation.NoIssuer}, 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list revocation.List
			m := middleware(t, &list, "ES256", &key.PublicKey)
			token := sign(t, jwt.SigningMethodES256, key, tt.claims)
			mirrored := mirrorSignature(t, token)
			again := sign(t, jwt.SigningMethodES256, key, tt.claims)
			want(t, m, mirrored, false)
			if err := list.RevokeToken(t.Context(), verified(t, m, token)); err != nil {
				t.Fatal(err)
			}
			for _, spelling := range []string{token, mirrored, again} {
				want(t, m, spelling, true)
			}
			want(t, m, sign(t, jwt.SigningMethodES256, key, map[string]any{"jti": "other"}), false)

			time.Sleep(3600*time.Second + 5*time.Minute)
			if list.Len() != 1 {
				t.Error("removed too early")
			}
			time.Sleep(time.Second)
			if got := list.Len(); got != tt.left {
				t.Errorf("%d entries after the token's end, want %d", got, tt.left)
			}
		})
	}
}

// mirrorSignature makes (r, s) of an ES256 signature (r, n-s), which verifies, too.
func mirrorSignature(t *testing.T, token string) string {
	t.Helper()
	i := strings.LastIndexByte(token, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return token[:i] + base64.RawURLEncoding.EncodeToString(sig)
}

func TestList_RevokeToken_leeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		m := middleware(t, &list, "HS256", secret())
		token := sign(t, jwt.SigningMethodHS256, secret(), map[string]any{"exp": bubbleStart - 10})
		if err := list.RevokeToken(t.Context(), verified(t, m, token)); err != nil {
			t.Fatal(err)
		}
		want(t, m, token, true)
	})
}

func TestList_RevokeToken_errors(t *testing.T) {
	var list revocation.List
	for _, tt := range []struct {
		name  string
		token *jwthttp.Token
		ok    bool
	}{
		{"nil", nil, false},
		{"made by hand without ID", &jwthttp.Token{Subject: "s"}, false},
		{"made by hand with ID", &jwthttp.Token{ID: "1"}, true},
	} {
		if err := list.RevokeToken(t.Context(), tt.token); (err == nil) != tt.ok {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
	if _, err := list.Revoked(t.Context(), nil); err == nil {
		t.Error("Revoked accepts a nil token")
	}
	revoke(t, &list, revocation.Entry{Kind: revocation.ByFingerprint, Issuer: issuerName, Value: strings.Repeat("a", 64)})
	if got, err := list.Revoked(t.Context(), &jwthttp.Token{}); got || err != nil {
		t.Errorf("a token made by hand has a fingerprint: %v, %v", got, err)
	}
	if err := list.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// Rule 43, without a goroutine.
func TestList_expiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		const n = 5000
		for i := range n {
			e := byID(fmt.Sprint(i))
			if i%10 != 9 {
				e.Expires = at(time.Duration(i%10)*time.Hour + 1)
			}
			revoke(t, &list, e)
		}
		for hour := range 9 {
			if got, want := list.Len(), n-hour*n/10; got != want {
				t.Errorf("hour %d: %d entries, want %d", hour, got, want)
			}
			time.Sleep(time.Hour)
			if hour == 0 {
				time.Sleep(5*time.Minute + time.Second)
			}
		}
		if got := list.Len(); got != n/10 {
			t.Errorf("%d entries without expiry, want %d", got, n/10)
		}
		for i := range n {
			if got := says(t, &list, fmt.Sprint(i)); got != (i%10 == 9) {
				t.Fatalf("entry %d: revoked %v", i, got)
			}
		}
	})
}

// Expires with a fraction of a second counts to its end.
func TestList_expiry_fraction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list revocation.List
		e := byID("fraction")
		e.Expires = at(1500 * time.Millisecond)
		revoke(t, &list, e)
		time.Sleep(1500*time.Millisecond + 5*time.Minute)
		if !says(t, &list, "fraction") {
			t.Error("not in force at the end of Expires")
		}
	})
}

// The list and a model agree after any order of calls.
func TestList_model(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := mathrand.New(mathrand.NewPCG(1, 2))
		var list revocation.List
		model := map[string]time.Time{}
		gone := func(expires time.Time) bool { return time.Now().After(expires.Add(5 * time.Minute)) }
		for step := range 20000 {
			id := fmt.Sprint(rnd.IntN(300))
			e := byID(id)
			switch rnd.IntN(5) {
			case 0, 1:
				e.Expires = time.Unix(time.Now().Unix()+int64(1+rnd.IntN(600)), 0)
				revoke(t, &list, e)
				if e.Expires.After(model[id]) {
					model[id] = e.Expires
				}
			case 2:
				if err := list.Remove(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				delete(model, id)
			case 3:
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			}
			expires, ok := model[id]
			want := ok && !gone(expires)
			if !want {
				delete(model, id)
			}
			if got := says(t, &list, id); got != want {
				t.Fatalf("step %d: %s revoked %v, want %v", step, id, got, want)
			}
		}
		for id, expires := range model {
			if gone(expires) {
				delete(model, id)
			}
		}
		if list.Len() != len(model) {
			t.Errorf("%d entries, want %d", list.Len(), len(model))
		}
	})
}

func TestList_concurrency(t *testing.T) {
	var list revocation.List
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				id := fmt.Sprint(g, "/", i)
				token := &jwthttp.Token{Issuer: issuerName, ID: id, ExpiresAt: time.Now().Add(time.Hour)}
				if i%2 == 1 {
					token.ExpiresAt = time.Now().Add(-time.Hour)
				}
				if err := list.RevokeToken(t.Context(), token); err != nil {
					t.Error(err)
				}
				if got, _ := list.Revoked(t.Context(), token); got != (i%2 == 0) {
					t.Errorf("%s: revoked %v", id, got)
				}
				if i%3 == 0 {
					if err := list.Remove(t.Context(), byID(id)); err != nil {
						t.Error(err)
					}
				}
				if i%500 == 0 {
					list.Len()
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkList shows what a look-up costs, and how much memory an entry takes, at
// a million entries of the usual kind: a UUID as "jti".
func BenchmarkList(b *testing.B) {
	const n = 1_000_000
	id := func(i int) string { return fmt.Sprintf("%08x-8f5a-4ac0-9c1b-%012x", i*2654435761%(1<<32), i) }
	list := new(revocation.List)
	perEntry := float64(allocated(func() {
		for i := range n {
			e := byID(id(i))
			e.Expires = time.Now().Add(time.Hour + time.Duration(i))
			revoke(b, list, e)
		}
	})) / n
	ids := make([]string, 1<<16)
	for _, kind := range []string{"hit", "miss"} {
		b.Run(kind, func(b *testing.B) {
			for i := range ids {
				ids[i] = id(i * 15)
				if kind == "miss" {
					ids[i] = id(n + i)
				}
			}
			token := &jwthttp.Token{Issuer: issuerName, Subject: "alice"}
			i := 0
			for b.Loop() {
				token.ID = ids[i%len(ids)]
				if got, _ := list.Revoked(context.Background(), token); got != (kind == "hit") {
					b.Fatal(got)
				}
				i++
			}
			b.ReportMetric(perEntry, "B/entry")
		})
	}
	b.Run("Revoke", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			revoke(b, list, byID(ids[i%len(ids)]))
		}
	})
	b.Run("Len", func(b *testing.B) {
		for b.Loop() {
			list.Len()
		}
	})
}

// BenchmarkList_kinds looks up a token with all claims among 250,000 entries by ID,
// subject, session and client each.
func BenchmarkList_kinds(b *testing.B) {
	list := new(revocation.List)
	until := time.Now().Add(-time.Hour)
	for i := range 250_000 {
		value := fmt.Sprint(i)
		for _, kind := range []revocation.Kind{revocation.ByID, revocation.BySubject, revocation.BySession, revocation.ByClient} {
			revoke(b, list, revocation.Entry{Kind: kind, Issuer: issuerName, Value: value, IssuedUntil: until})
		}
	}
	token := &jwthttp.Token{Issuer: issuerName, ID: "a", Subject: "b", SessionID: "c", ClientID: "d", IssuedAt: time.Now()}
	for b.Loop() {
		if got, _ := list.Revoked(context.Background(), token); got {
			b.Fatal(got)
		}
	}
}

// allocated returns the bytes on the heap that f leaves behind.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
