package jwthttp_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

const (
	revoked     = invalid + "revoked"
	unavailable = "503 revocation_unavailable"
)

// Rule 40.
func TestTheRevocationHook(t *testing.T) {
	answer := func(revoked bool, err error) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { return revoked, err }
	}
	late := func(revoked bool, after time.Duration) jwthttp.RevokedFunc {
		return func(context.Context, *jwthttp.Token) (bool, error) { time.Sleep(after); return revoked, nil }
	}
	heeding := func(ctx context.Context, _ *jwthttp.Token) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	for _, tt := range []struct {
		name         string
		hook         jwthttp.RevokedFunc
		closed, open string // the verdict without and with FailOpen
	}{
		{"not revoked", answer(false, nil), admitted, admitted},
		{"revoked", answer(true, nil), revoked, revoked},
		{"failed", answer(false, errors.New("store out of reach")), unavailable, admitted},
		{"failed, and says revoked", answer(true, errors.New("store out of reach")), unavailable, revoked},
		{"ErrRevoked as an error", answer(false, fmt.Errorf("store: %w", jwthttp.ErrRevoked)), revoked, revoked},
		{"panics", func(context.Context, *jwthttp.Token) (bool, error) { panic("nil map") }, unavailable, admitted},
		{"panics with http.ErrAbortHandler", func(context.Context, *jwthttp.Token) (bool, error) { panic(http.ErrAbortHandler) }, unavailable, admitted},
		{"heeds the deadline", heeding, unavailable, admitted},
		{"just in time", late(false, time.Second-1), admitted, admitted},
		{"at the deadline: not revoked", late(false, time.Second), unavailable, admitted},
		{"after the deadline: not revoked", late(false, time.Minute), unavailable, admitted},
		{"after the deadline: revoked", late(true, time.Minute), unavailable, revoked},
	} {
		for _, failOpen := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, FailOpen %v", tt.name, failOpen), func(t *testing.T) {
				opts := newOptions()
				opts.Revoked, opts.FailOpen = tt.hook, failOpen
				unchecked := false
				opts.Observer = func(_ *http.Request, e jwthttp.Event) { unchecked = e.Unchecked }
				want := tt.closed
				if failOpen {
					want = tt.open
				}
				checkVerdict(t, mustNew[testClaims](t, opts), newRequest(withBearer(goodToken(nil))), want)
				if wantUnchecked := tt.closed == unavailable && want == admitted; unchecked != wantUnchecked {
					t.Errorf("Event.Unchecked %v, want %v", unchecked, wantUnchecked)
				}
			})
		}
	}
}

func TestTheHookRunsOnlyForVerifiedTokensAndHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		opts := newOptions()
		opts.RevocationTimeout = 3 * time.Second
		opts.Revoked = func(ctx context.Context, token *jwthttp.Token) (bool, error) {
			asked++
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 3*time.Second {
				t.Errorf("deadline %v, %v", deadline, ok)
			}
			if token.Raw() == "" || token.Subject != "alice" {
				t.Errorf("token %v", token)
			}
			return false, nil
		}
		m := mustNew[testClaims](t, opts)
		for _, bad := range []string{altered(goodToken(nil)), goodToken(map[string]any{"exp": 1}), goodToken(map[string]any{"cnf": 1}), goodToken(map[string]any{"role": 1})} {
			_ = verdict(m, newRequest(withBearer(bad)))
		}
		if asked != 0 {
			t.Errorf("asked %d times about refused tokens", asked)
		}
		_ = verdict(m, newRequest(withBearer(goodToken(nil))))
		if asked != 1 {
			t.Errorf("asked %d times about a good one", asked)
		}
	})
}

// The hook's context is set a timer only when somebody asks for Done; it must not
// show otherwise.
func TestTheContextOfTheHook(t *testing.T) {
	ask := func(t *testing.T, request context.Context, hook func(context.Context)) {
		t.Helper()
		opts := newOptions()
		opts.CacheSize = 0
		opts.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
			hook(ctx)
			return false, nil
		}
		_, _ = mustNew[testClaims](t, opts).Authenticate(newRequest(withBearer(goodToken(nil))).WithContext(request))
	}
	type key struct{}
	bubble(t, "it has the request's values and the earlier deadline", func(t *testing.T) {
		request, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "x"), time.Millisecond)
		defer cancel()
		ask(t, request, func(ctx context.Context) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Millisecond || ctx.Value(key{}) != "x" {
				t.Errorf("deadline in %v, %v; value %v", time.Until(deadline), ok, ctx.Value(key{}))
			}
		})
	})
	bubble(t, "it ends at the deadline, for derived contexts too", func(t *testing.T) {
		ask(t, t.Context(), func(ctx context.Context) {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			start := time.Now()
			<-derived.Done()
			if took := time.Since(start); took != time.Second || ctx.Err() != context.DeadlineExceeded || derived.Err() != context.DeadlineExceeded {
				t.Errorf("after %v: %v, %v", took, ctx.Err(), derived.Err())
			}
		})
	})
	bubble(t, "it has ended when Err says so", func(t *testing.T) {
		ask(t, t.Context(), func(ctx context.Context) {
			if err := ctx.Err(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			if ctx.Err() != context.DeadlineExceeded {
				t.Error(ctx.Err())
			}
			<-ctx.Done()
		})
	})
	bubble(t, "it keeps the reason for its end", func(t *testing.T) {
		request, hangUp := context.WithCancel(t.Context())
		ask(t, request, func(ctx context.Context) {
			<-ctx.Done()
			hangUp()
			if ctx.Err() != context.DeadlineExceeded {
				t.Error(ctx.Err())
			}
		})
	})
	bubble(t, "it ends with the request", func(t *testing.T) {
		request, hangUp := context.WithCancel(t.Context())
		ask(t, request, func(ctx context.Context) {
			hangUp()
			<-ctx.Done()
			if ctx.Err() != context.Canceled {
				t.Error(ctx.Err())
			}
		})
	})
	for _, early := range []bool{false, true} {
		bubble(t, fmt.Sprint("it ends with the hook's answer, asked for Done before: ", early), func(t *testing.T) {
			var kept context.Context
			ask(t, t.Context(), func(ctx context.Context) {
				if kept = ctx; early {
					_ = ctx.Done()
				}
			})
			if kept.Err() != context.Canceled {
				t.Error(kept.Err())
			}
			<-kept.Done()
			if kept.Err() != context.Canceled || time.Now().Unix() != bubbleStart {
				t.Errorf("%v at %v", kept.Err(), time.Now())
			}
		})
	}
}

// Hanging up makes the hook fail, and must not make FailOpen admit.
func TestAClientThatHangsUpGainsNothingFromFailOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, hangUp := context.WithCancel(context.Background())
		opts := newOptions()
		opts.FailOpen = true
		opts.Revoked = func(ctx context.Context, _ *jwthttp.Token) (bool, error) {
			hangUp()
			<-ctx.Done()
			return false, ctx.Err()
		}
		r := newRequest(withBearer(goodToken(nil))).WithContext(ctx)
		if got := verdict(mustNew[testClaims](t, opts), r); got != unavailable {
			t.Errorf("verdict %q", got)
		}
	})
}

func at(d time.Duration) time.Time { return time.Unix(bubbleStart, 0).Add(d) }

// Rule 41 and 42.
func TestWhatARevocationEnds(t *testing.T) {
	const minute = time.Minute // goodToken was issued a minute before the bubble's clock starts
	fingerprint := func(t *testing.T, claims map[string]any) string {
		token, _ := jwthttp.TokenFromContext(serve(mustNew[testClaims](t, newOptions()), newRequest(withBearer(goodToken(claims)))).inner.Context())
		return token.Fingerprint()
	}
	for _, tt := range []struct {
		name   string
		r      jwthttp.Revocation
		claims map[string]any
		want   string
	}{
		{"the ID", jwthttp.Revocation{Issuer: issuerName, ID: "id-1"}, nil, revoked},
		{"another ID", jwthttp.Revocation{Issuer: issuerName, ID: "id-2"}, nil, admitted},
		{"the ID of another issuer", jwthttp.Revocation{Issuer: "other", ID: "id-1"}, nil, admitted},
		{"the ID of a token without issuer", jwthttp.Revocation{ID: "id-1"}, nil, admitted},
		{"the ID without issuer, of a token without", jwthttp.Revocation{ID: "id-1"}, map[string]any{"iss": nil}, revoked},
		{"the ID, whatever its times", jwthttp.Revocation{Issuer: issuerName, ID: "id-1", IssuedUntil: at(-time.Hour)}, nil, revoked},
		{"the subject", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: at(0)}, nil, revoked},
		{"another subject", jwthttp.Revocation{Issuer: issuerName, Subject: "bob", IssuedUntil: at(0)}, nil, admitted},
		{"the subject, issued in that second", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: at(-minute)}, nil, revoked},
		{"the subject, issued later", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: at(-minute - 1)}, nil, admitted},
		{"the subject, without iat", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: at(-24 * time.Hour)}, map[string]any{"iat": nil}, revoked},
		{"the subject, until before 1970", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: time.Unix(-1, 0)}, map[string]any{"iat": 0}, admitted},
		{"the subject, until long before 1970", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: time.Date(1200, 1, 1, 0, 0, 0, 0, time.UTC)}, map[string]any{"iat": 0}, admitted},
		{"the subject, until 1600", jwthttp.Revocation{Issuer: issuerName, Subject: "alice", IssuedUntil: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, nil, admitted},
		{"the ID, for ever in other words", jwthttp.Revocation{Issuer: issuerName, ID: "id-1", Expires: time.Unix(math.MaxInt64, 0)}, nil, revoked},
		{"the ID, until the year 9999", jwthttp.Revocation{Issuer: issuerName, ID: "id-1", Expires: time.Unix(253402300799, 0)}, nil, revoked},
		{"the session", jwthttp.Revocation{Issuer: issuerName, SessionID: "s", IssuedUntil: at(0)}, map[string]any{"sid": "s"}, revoked},
		{"a session, of a token without", jwthttp.Revocation{Issuer: issuerName, SessionID: "s", IssuedUntil: at(0)}, nil, admitted},
		{"the client", jwthttp.Revocation{Issuer: issuerName, ClientID: "c", IssuedUntil: at(0)}, map[string]any{"azp": "c"}, revoked},
		{"another client", jwthttp.Revocation{Issuer: issuerName, ClientID: "c", IssuedUntil: at(0)}, map[string]any{"azp": "d"}, admitted},
		{"the issuer", jwthttp.Revocation{Issuer: issuerName, IssuedUntil: at(0)}, nil, revoked},
		{"the issuer, issued later", jwthttp.Revocation{Issuer: issuerName, IssuedUntil: at(-minute - 1)}, nil, admitted},
		{"the issuer, a clock that runs fast", jwthttp.Revocation{Issuer: issuerName, IssuedUntil: at(5 * minute)}, nil, revoked},
		{"another issuer", jwthttp.Revocation{Issuer: "other", IssuedUntil: at(0)}, nil, admitted},
		{"the fingerprint", jwthttp.Revocation{Fingerprint: "of the token"}, map[string]any{"jti": nil}, revoked},
		{"the fingerprint, with issuer", jwthttp.Revocation{Issuer: issuerName, Fingerprint: "of the token"}, nil, revoked},
		{"another fingerprint", jwthttp.Revocation{Fingerprint: strings.Repeat("0", 64)}, nil, admitted},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list jwthttp.RevocationList
			opts := newOptions(func() jwthttp.Issuer { iss := newIssuer(); iss.Name = jwthttp.Any; return iss }())
			opts.Revoked = list.Revoked
			m := mustNew[testClaims](t, opts)
			if tt.r.Fingerprint == "of the token" {
				tt.r.Fingerprint = fingerprint(t, tt.claims)
			}
			r := newRequest(withBearer(goodToken(tt.claims)))
			checkVerdict(t, m, r, admitted)
			if err := list.Add(tt.r); err != nil {
				t.Fatal(err)
			}
			if list.Len() != 1 {
				t.Errorf("%d entries", list.Len())
			}
			checkVerdict(t, m, r, tt.want)
			tt.r.IssuedUntil = time.Time{} // does not matter to Remove
			list.Remove(tt.r)
			list.Remove(tt.r)
			checkVerdict(t, m, r, admitted)
			if list.Len() != 0 {
				t.Errorf("%d entries are left", list.Len())
			}
		})
	}
}

func TestAddRefusesWhatIsNotClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list jwthttp.RevocationList
		for name, r := range map[string]jwthttp.Revocation{
			"nothing":                               {},
			"IssuedUntil alone":                     {IssuedUntil: at(0)},
			"an issuer without IssuedUntil":         {Issuer: "i"},
			"a subject without IssuedUntil":         {Issuer: "i", Subject: "s"},
			"a session without IssuedUntil":         {Issuer: "i", SessionID: "s"},
			"a client without IssuedUntil":          {Issuer: "i", ClientID: "c"},
			"two names":                             {Issuer: "i", ID: "1", Subject: "s", IssuedUntil: at(0)},
			"ID and fingerprint":                    {ID: "1", Fingerprint: strings.Repeat("0", 64)},
			"a moment more than five minutes ahead": {Issuer: "i", Subject: "s", IssuedUntil: at(5*time.Minute + 1)},
			"an ID, more than five minutes ahead":   {Issuer: "i", ID: "1", IssuedUntil: at(time.Hour)},
			"a fingerprint that is none":            {Fingerprint: "abc"},
			"a fingerprint in upper case":           {Fingerprint: strings.Repeat("A", 64)},
			"a fingerprint that is too long":        {Fingerprint: strings.Repeat("a", 66)},
		} {
			err := list.Add(r)
			if err == nil || !strings.HasPrefix(err.Error(), "jwthttp: ") {
				t.Errorf("%s: error %v", name, err)
			}
			list.Remove(r)
		}
		if list.Len() != 0 {
			t.Errorf("%d entries", list.Len())
		}
		for name, r := range map[string]jwthttp.Revocation{
			"a subject without issuer": {Subject: "s", IssuedUntil: at(0)},
			"a fingerprint alone":      {Fingerprint: strings.Repeat("a", 64)},
			"an expiry in the past":    {ID: "1", Expires: at(-time.Hour)},
		} {
			if err := list.Add(r); err != nil {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
}

func TestAddingAgainKeepsTheLaterTimes(t *testing.T) {
	type times struct{ until, expires time.Duration }
	const never = -1
	for _, tt := range []struct {
		name          string
		first, second times
		inForce       time.Duration // the last moment at which the entry is there
		ends          bool          // a token issued at 0
	}{
		{"later", times{-1, time.Hour}, times{0, 2 * time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"earlier", times{0, 2 * time.Hour}, times{-1, time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"one of each", times{-1, 2 * time.Hour}, times{0, time.Hour}, 2*time.Hour + 5*time.Minute, true},
		{"never is the latest", times{0, never}, times{0, time.Hour}, 1000 * time.Hour, true},
		{"and stays so", times{0, time.Hour}, times{0, never}, 1000 * time.Hour, true},
		{"both too early", times{-2, time.Hour}, times{-1, time.Hour}, time.Hour + 5*time.Minute, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var list jwthttp.RevocationList
			for _, add := range []times{tt.first, tt.second} {
				r := jwthttp.Revocation{Issuer: "i", Subject: "s", IssuedUntil: at(add.until)}
				if add.expires != never {
					r.Expires = at(add.expires)
				}
				if err := list.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			token := &jwthttp.Token{Issuer: "i", Subject: "s", IssuedAt: at(0)}
			check := func(want bool) {
				t.Helper()
				if got, err := list.Revoked(t.Context(), token); got != want || err != nil {
					t.Errorf("%v after the start: revoked %v (%v), want %v", time.Since(at(0)), got, err, want)
				}
			}
			check(tt.ends)
			time.Sleep(tt.inForce)
			check(tt.ends)
			if list.Len() != 1 {
				t.Error("gone too early")
			}
			time.Sleep(time.Nanosecond)
			if tt.inForce < 1000*time.Hour {
				check(false)
				if list.Len() != 0 {
					t.Error("not gone")
				}
			}
		})
	}
}

// Rule 41: the spellings of one signature are one token.
func TestRevokeTokenEndsEverySpelling(t *testing.T) {
	k := testKeys()
	n := elliptic.P256().Params().N
	for name, claims := range map[string]map[string]any{"with jti": nil, "without jti": {"jti": nil}, "without jti and exp": {"jti": nil, "exp": nil}} {
		bubble(t, name, func(t *testing.T) {
			var list jwthttp.RevocationList
			iss := issuerWith(jwthttp.StaticKey(&k.p256.PublicKey), "ES256")
			iss.NoExpiry = true
			opts := newOptions(iss)
			opts.Revoked = list.Revoked
			m := mustNew[testClaims](t, opts)
			token := signChanged(t, jwt.SigningMethodES256, k.p256, "", claims)
			mirrored := mirrorSignature(t, token, n)
			again := signChanged(t, jwt.SigningMethodES256, k.p256, "", claims)
			inner := serve(m, newRequest(withBearer(token))).inner
			checkVerdict(t, m, newRequest(withBearer(mirrored)), admitted)
			verified, _ := jwthttp.TokenFromContext(inner.Context())
			if err := list.RevokeToken(verified); err != nil {
				t.Fatal(err)
			}
			for _, spelling := range []string{token, mirrored, again} {
				checkVerdict(t, m, newRequest(withBearer(spelling)), revoked)
			}
			other := signChanged(t, jwt.SigningMethodES256, k.p256, "", map[string]any{"jti": "other"})
			checkVerdict(t, m, newRequest(withBearer(other)), admitted)

			time.Sleep(3600*time.Second + 5*time.Minute)
			if list.Len() != 1 {
				t.Error("gone too early")
			}
			time.Sleep(time.Second)
			if got, want := list.Len(), len(strings.Split(name, "exp"))-1; got != want {
				t.Errorf("%d entries after the token's end, want %d", got, want)
			}
		})
	}
}

// mirrorSignature makes (r, s) of an ES256 signature (r, n-s), which verifies too.
func mirrorSignature(t *testing.T, token string, n *big.Int) string {
	t.Helper()
	i := strings.LastIndexByte(token, '.') + 1
	sig, err := jwt.NewParser().DecodeSegment(token[i:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(n, s).FillBytes(sig[32:])
	return token[:i] + b64(string(sig))
}

func TestTokensThatCannotBeRevoked(t *testing.T) {
	var list jwthttp.RevocationList
	if err := list.RevokeToken(nil); err == nil {
		t.Error("revoked no token")
	}
	if err := list.RevokeToken(&jwthttp.Token{Subject: "s"}); err == nil {
		t.Error("revoked a token made by hand without ID")
	}
	if err := list.RevokeToken(&jwthttp.Token{ID: "1"}); err != nil {
		t.Errorf("a token made by hand with ID: %v", err)
	}
	if _, err := list.Revoked(t.Context(), nil); err == nil {
		t.Error("asked about no token")
	}
	if err := list.Add(jwthttp.Revocation{Fingerprint: strings.Repeat("a", 64)}); err != nil {
		t.Fatal(err)
	}
	if got, err := list.Revoked(t.Context(), &jwthttp.Token{}); got || err != nil {
		t.Errorf("a token made by hand has a fingerprint: %v, %v", got, err)
	}
}

// Rule 43, and that memory goes without a goroutine to fetch it.
func TestExpiredEntriesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list jwthttp.RevocationList
		const n = 5000
		for i := range n {
			r := jwthttp.Revocation{Issuer: "i", ID: fmt.Sprint(i), Expires: at(time.Duration(i%10) * time.Hour)}
			if i%10 == 9 {
				r.Expires = time.Time{}
			}
			if err := list.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		for hour := range 9 {
			if got, want := list.Len(), n-hour*n/10; got != want {
				t.Errorf("hour %d: %d entries, want %d", hour, got, want)
			}
			time.Sleep(5*time.Minute + 1)
			if hour == 4 { // without Len, other calls clear out, a few at a time
				for range n / 10 {
					list.Remove(jwthttp.Revocation{Issuer: "i", ID: "none"})
				}
			}
			time.Sleep(55*time.Minute - 1)
		}
		if got := list.Len(); got != n/10 {
			t.Errorf("%d entries without expiry, want %d", got, n/10)
		}
		for i := range n {
			if got, _ := list.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: fmt.Sprint(i)}); got != (i%10 == 9) {
				t.Fatalf("entry %d: revoked %v", i, got)
			}
		}
	})
}

// The list against a model: any order of calls, one answer.
func TestTheListAgreesWithAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		var list jwthttp.RevocationList
		model := map[string]time.Time{}
		for step := range 20000 {
			id := fmt.Sprint(rnd.IntN(300))
			r := jwthttp.Revocation{Issuer: "i", ID: id}
			switch rnd.IntN(5) {
			case 0, 1:
				r.Expires = time.Unix(time.Now().Unix()+int64(rnd.IntN(600)), 0)
				if err := list.Add(r); err != nil {
					t.Fatal(err)
				}
				if old := model[id]; r.Expires.After(old) {
					model[id] = r.Expires
				}
			case 2:
				list.Remove(r)
				delete(model, id)
			case 3:
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			}
			expires, ok := model[id]
			want := ok && !time.Now().After(expires.Add(5*time.Minute))
			if !want {
				delete(model, id) // or adding again would keep a time of the past
			}
			if got, _ := list.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: id}); got != want {
				t.Fatalf("step %d: %s revoked %v, want %v", step, id, got, want)
			}
		}
		for id, expires := range model {
			if time.Now().After(expires.Add(5 * time.Minute)) {
				delete(model, id)
			}
		}
		if list.Len() != len(model) {
			t.Errorf("%d entries, want %d", list.Len(), len(model))
		}
	})
}

// Memory comes back, and entries that never expire keep no one else's room.
func TestAListShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list jwthttp.RevocationList
		list.Remove(jwthttp.Revocation{ID: "of an empty list"})
		add := func(id string, expires time.Time) {
			if err := list.Add(jwthttp.Revocation{Issuer: "i", ID: id, Expires: expires}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20000 {
			add(fmt.Sprint("forever ", i), time.Time{})
			add(fmt.Sprint("short ", i), at(time.Duration(i%100)*time.Second))
		}
		time.Sleep(time.Hour)
		if got := list.Len(); got != 20000 {
			t.Errorf("%d entries", got)
		}
		i := 0
		if got := bytesPerRun(func() { add(fmt.Sprint("later ", i), at(2*time.Hour+time.Duration(i)*time.Second)); i++ }); got > 20000 {
			t.Errorf("%d bytes allocated by Add", got)
		}
		for i := range 20000 {
			list.Remove(jwthttp.Revocation{Issuer: "i", ID: fmt.Sprint("forever ", i)})
		}
		time.Sleep(time.Hour + 5*time.Minute + 3*time.Second) // those of the first seconds have expired
		left := 0
		for j := range i {
			if got, _ := list.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: fmt.Sprint("later ", j)}); got {
				left++
			}
		}
		if list.Len() != left || left == 0 || left == i {
			t.Errorf("%d entries of %d, %d in force", list.Len(), i, left)
		}
		var before, after runtime.MemStats
		big := new(jwthttp.RevocationList)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 50000 {
			if err := big.Add(jwthttp.Revocation{ID: fmt.Sprint(i), Expires: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if n := big.Len(); n != 0 {
			t.Errorf("%d entries", n)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 1<<20 {
			t.Errorf("an empty list keeps %d bytes", kept)
		}
		runtime.KeepAlive(big)
	})
}

// Expires with a fraction counts to its very end, and a moment of the past does
// not become "never".
func TestTheEdgesOfExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list jwthttp.RevocationList
		for id, expires := range map[string]time.Time{"fraction": at(1500 * time.Millisecond), "1970": time.Unix(0, 0), "1900": time.Unix(-1e9, 0)} {
			if err := list.Add(jwthttp.Revocation{Issuer: "i", ID: id, Expires: expires}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(1500*time.Millisecond + 5*time.Minute)
		for id, want := range map[string]bool{"fraction": true, "1970": false, "1900": false} {
			if got, _ := list.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: id}); got != want {
				t.Errorf("%s: revoked %v", id, got)
			}
		}
	})
}

func TestARequestThatEndedIsNotAdmittedOnTheHooksWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		opts := newOptions()
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { cancel(); return false, nil }
		if got := verdict(mustNew[testClaims](t, opts), newRequest(withBearer(goodToken(nil))).WithContext(ctx)); got != unavailable {
			t.Errorf("verdict %q", got)
		}
	})
}

func TestAnUncheckedTokenThatIsRefusedIsNotAdmittedUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.FailOpen = true
		opts.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("down") }
		var events []jwthttp.Event
		opts.Observer = func(_ *http.Request, e jwthttp.Event) { events = append(events, e) }
		m := mustNew[testClaims](t, opts)
		serve(m.RequireScopes("a"), newRequest(withBearer(goodToken(nil))))
		nest(newRequest(withBearer(goodToken(nil))), m.Handler, m.Handler)
		if len(events) != 3 || events[0].Unchecked || !events[1].Unchecked || !events[2].Unchecked {
			t.Errorf("events %+v", events)
		}
	})
}

func TestTheListIsSafeForConcurrentUse(t *testing.T) {
	var list jwthttp.RevocationList
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				id := fmt.Sprint(g, "/", i)
				if err := list.Add(jwthttp.Revocation{Issuer: "i", ID: id, Expires: time.Now().Add(-time.Hour * time.Duration(i%2))}); err != nil {
					t.Error(err)
				}
				if got, _ := list.Revoked(t.Context(), &jwthttp.Token{Issuer: "i", ID: id}); got != (i%2 == 0) {
					t.Errorf("%s: revoked %v", id, got)
				}
				if i%3 == 0 {
					list.Remove(jwthttp.Revocation{Issuer: "i", ID: id})
				}
				if i%500 == 0 {
					list.Len()
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRevocationList shows what a look-up costs, and what an entry
// weighs, at a million entries of the usual kind: a UUID as "jti".
func BenchmarkRevocationList(b *testing.B) {
	const n = 1_000_000
	id := func(i int) string { return fmt.Sprintf("%08x-8f5a-4ac0-9c1b-%012x", i*2654435761%(1<<32), i) }
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := new(jwthttp.RevocationList)
	for i := range n {
		if err := list.Add(jwthttp.Revocation{Issuer: issuerName, ID: id(i), Expires: time.Now().Add(time.Hour + time.Duration(i))}); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perEntry := float64(after.HeapAlloc-before.HeapAlloc) / n
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
}
