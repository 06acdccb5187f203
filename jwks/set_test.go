package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/keyset"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Rule 33.
func TestSet_rotation(t *testing.T) {
	bubble(t, "a new key passes after one fetch", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.check(t, "the first key", s.Token(nil), admitted)
		s.Rotate()
		s.check(t, "the second key", s.Token(nil), admitted)
		if s.Fetches() != 2 {
			t.Errorf("%d fetches, want 2", s.Fetches())
		}
	})
	bubble(t, "many requests with a new key cause one fetch", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Rotate()
		s.Slow(time.Second)
		token := s.Token(nil)
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if verdict(s.m, token) == admitted {
					passed.Add(1)
				}
			})
		}
		wg.Wait()
		if passed.Load() != 1000 || s.Fetches() != 2 {
			t.Errorf("%d passed with %d fetches", passed.Load(), s.Fetches())
		}
	})
	// Rule 38.
	bubble(t, "a withdrawn key ends its tokens", func(t *testing.T) {
		s := serveKeys(t, nil)
		first, old := s.KeyID(), s.Token(nil)
		s.Rotate()
		s.check(t, "the new key", s.Token(nil), admitted)
		s.check(t, "the old key", old, admitted)
		s.Withdraw(first)
		time.Sleep(15 * time.Minute)
		s.check(t, "the withdrawn key", old, unknownKey)
	})
	for _, slow := range []time.Duration{0, 3 * time.Second} {
		bubble(t, fmt.Sprintf("a key published MinInterval before its first use is never refused, with answers after %v", slow), func(t *testing.T) {
			s := serveKeys(t, nil)
			s.Slow(slow)
			junk := s.junk("junk")
			var wg sync.WaitGroup
			for i := range 60 {
				wg.Go(func() { verdict(s.m, junk) })
				kid := s.Publish()
				time.Sleep(10 * time.Second)
				wg.Go(func() { verdict(s.m, junk) })
				s.Use(kid)
				s.check(t, fmt.Sprint("key ", i), s.Token(nil), admitted)
				time.Sleep(time.Duration(i%7) * time.Second)
			}
			wg.Wait()
		})
	}
	bubble(t, "an answer from before the publication is followed by another fetch", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MinInterval = time.Second })
		s.Answer(func(w http.ResponseWriter, _ *http.Request) {
			s.Answer(nil)
			old := keySet(s.Issuer)
			time.Sleep(3 * time.Second)
			fmt.Fprint(w, old)
		})
		go verdict(s.m, s.junk("junk"))
		time.Sleep(time.Second)
		kid := s.Publish()
		time.Sleep(time.Second)
		s.Use(kid)
		s.check(t, "published a second ago", s.Token(nil), admitted)
		time.Sleep(time.Minute)
	})
}

// Rule 34.
func TestOptions_MinInterval(t *testing.T) {
	bubble(t, "10,000 junk kids cause one fetch per interval", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.RefreshInterval = 24 * time.Hour })
		known := s.longLived()
		start := time.Now()
		for i := range 10_000 {
			s.check(t, "junk", s.junk(fmt.Sprint("junk", i)), unknownKey)
			before := time.Now()
			s.check(t, "known", known, admitted)
			if time.Since(before) != 0 {
				t.Fatal("a known key waited")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got, most := s.Fetches()-1, int(time.Since(start)/(10*time.Second))+1; got > most || got < most-1 {
			t.Errorf("%d fetches in %v, want %d", got, time.Since(start), most)
		}
	})
	bubble(t, "known keys never wait for a fetch", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(4 * time.Second)
		known := s.Token(nil)
		go verdict(s.m, s.junk("junk"))
		synctest.Wait()
		before := time.Now()
		s.check(t, "during a fetch", known, admitted)
		if time.Since(before) != 0 || s.Fetches() != 2 {
			t.Errorf("waited %v, %d fetches", time.Since(before), s.Fetches())
		}
		time.Sleep(10 * time.Second)
	})
	bubble(t, "tiny intervals do not storm a failing server", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Down(true)
		s.start(t, func(o *jwks.Options) { o.MinInterval, o.RefreshInterval, o.MaxStale = 1, 1, 1 })
		time.Sleep(time.Second)
		if n := s.Fetches(); n > 120 {
			t.Errorf("%d fetches in a second", n)
		}
	})
}

// Rule 34 for tokens without kid, and for a kid that gets another key.
func TestSet_RefetchKeys(t *testing.T) {
	noKid := map[string]any{"kid": nil}
	bubble(t, "a new key is found for a token without kid", func(t *testing.T) {
		s := serveKeys(t, nil)
		claims := map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()}
		old := s.Sign(noKid, claims)
		s.check(t, "the first key", old, admitted)
		time.Sleep(time.Minute)
		kid := s.Publish()
		time.Sleep(10 * time.Second)
		s.Use(kid)
		s.check(t, "the second key", s.Sign(noKid, claims), admitted)
		s.check(t, "the first key still", old, admitted)
	})
	bubble(t, "a kid that gets another key", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.check(t, "the first key", s.Token(nil), admitted)
		other := jwthttptest.New(t, "ES256") // same name, another key
		s.Answer(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.ReplaceAll(keySet(other), other.KeyID(), s.KeyID()))
		})
		old := s.Token(nil)
		s.check(t, "the other key under the known kid", other.Sign(map[string]any{"kid": s.KeyID()}, map[string]any{
			"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60,
		}), admitted)
		s.check(t, "the first key", old, signature)
	})
	bubble(t, "forged tokens cause one fetch per MinInterval", func(t *testing.T) {
		s := serveKeys(t, nil)
		time.Sleep(10 * time.Second)
		fetches := s.Fetches()
		for range 1000 {
			s.check(t, "forged", s.Forged(nil), signature)
			time.Sleep(time.Millisecond)
		}
		if got := s.Fetches() - fetches; got != 1 {
			t.Errorf("%d fetches, want 1", got)
		}
		s.Down(true)
		time.Sleep(time.Minute)
		s.check(t, "forged, while the server is down", s.Forged(nil), signature)
		q := keyset.Query{KeyID: s.KeyID(), HasKeyID: true, Algorithm: "ES256", Issuer: s.Name()}
		time.Sleep(time.Minute)
		if found, err := s.set.RefetchKeys(t.Context(), q); found != nil || err != nil {
			t.Errorf("keys %v of a failed fetch, error %v", found, err)
		}
		s.Down(false)
		time.Sleep(time.Minute)
		if found, err := s.set.RefetchKeys(t.Context(), q); len(found) != 1 || err != nil {
			t.Errorf("%d keys, want 1, error %v", len(found), err)
		}
		if found, err := s.set.RefetchKeys(t.Context(), q); found != nil || err != nil {
			t.Errorf("keys %v within MinInterval, error %v", found, err)
		}
	})
	// Rule 36
	bubble(t, "a new key for a token without kid, while fetches fail", func(t *testing.T) {
		s := serveKeys(t, nil)
		time.Sleep(time.Minute)
		s.Use(s.Publish())
		s.Down(true)
		token := s.Sign(noKid, map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()})
		for _, name := range []string{"in the request that fetches", "within MinInterval"} {
			s.check(t, name, token, noKeys)
		}
		s.Down(false)
		time.Sleep(time.Minute)
		s.check(t, "after the failure", token, admitted)
	})
	bubble(t, "a request whose deadline passes while it waits", func(t *testing.T) {
		s := serveKeys(t, nil)
		time.Sleep(time.Minute)
		s.Slow(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		q := keyset.Query{KeyID: s.KeyID(), HasKeyID: true, Algorithm: "ES256", Issuer: s.Name()}
		if found, err := s.set.RefetchKeys(ctx, q); found != nil || !errors.Is(err, jwthttp.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("keys %v, error %v", found, err)
		}
	})
}

// Rule 35.
func TestSet_clientHangsUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func() (context.Context, context.CancelFunc)
		want error
	}{
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Second)
		}, context.DeadlineExceeded},
		{"hang up", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := serveKeys(t, nil)
			s.Rotate()
			s.Slow(2 * time.Second)
			began := time.Now()
			ctx, cancel := tt.stop()
			defer cancel()
			_, err := s.set.FindKeys(ctx, keyset.Query{KeyID: s.KeyID(), HasKeyID: true, Algorithm: "ES256", Issuer: s.Name()})
			if !errors.Is(err, jwthttp.ErrKeysUnavailable) || !errors.Is(err, tt.want) || time.Since(began) != time.Second {
				t.Errorf("error %v after %v", err, time.Since(began))
			}
			s.check(t, "the next request", s.Token(nil), admitted)
			if time.Since(began) != 2*time.Second || s.Fetches() != 2 {
				t.Errorf("the next request passed after %v and %d fetches; want those of the fetch that ran", time.Since(began), s.Fetches())
			}
		})
	}
	bubble(t, "a request's deadline is a 503", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Rotate()
		s.Slow(2 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if got, err := authenticate(ctx, s.m, s.Token(nil)); got != noKeys {
			t.Errorf("%q (%v)", got, err)
		}
		time.Sleep(time.Minute)
	})
}

func TestSet_Ready(t *testing.T) {
	bubble(t, "before the first fetch has ended", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Slow(3 * time.Second)
		s.start(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.set.Ready(ctx); err != context.DeadlineExceeded {
			t.Errorf("Ready: %v", err)
		}
		if err := s.set.Ready(t.Context()); err != nil {
			t.Errorf("Ready: %v", err)
		}
	})
	bubble(t, "after the end of the context", func(t *testing.T) {
		ctx, end := context.WithCancel(context.Background())
		end()
		set, err := jwks.New(ctx, "https://issuer.test/keys", jwks.Options{Client: failing(), OnError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("Ready: %v", err)
		}
	})
}

// Rule 36.
func TestSet_outage(t *testing.T) {
	bubble(t, "at the start", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Down(true)
		s.start(t, nil)
		token := s.Token(nil)
		s.check(t, "down", token, noKeys)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.set.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "503") {
			t.Errorf("Ready does not say that it waited, and for what: %v", err)
		}
		s.check(t, "still down", token, noKeys)
		if n := s.Fetches(); n < 4 || n > 20 {
			t.Errorf("%d fetches in the first minute", n)
		}
		s.Down(false)
		time.Sleep(10 * time.Second)
		s.check(t, "up again", token, admitted)
		if len(s.reported()) == 0 {
			t.Error("OnError was not called")
		}
	})
	bubble(t, "20 minutes at the start, without a request", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Down(true)
		s.start(t, nil)
		time.Sleep(20 * time.Minute)
		if n := s.Fetches(); n > 20*60/27+10 {
			t.Errorf("%d fetches in 20 minutes", n)
		}
		s.Down(false)
		before := time.Now()
		if err := s.set.Ready(t.Context()); err != nil || time.Since(before) > 30*time.Second {
			t.Errorf("ready after %v (%v)", time.Since(before), err)
		}
	})
	bubble(t, "until the keys are stale, without a request", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MaxStale, o.RefreshInterval = 20*time.Minute, time.Hour })
		s.Down(true)
		time.Sleep(3 * time.Hour)
		s.Down(false)
		time.Sleep(30 * time.Second)
		n := s.Fetches()
		s.check(t, "30 s after the outage", s.Token(nil), admitted)
		if s.Fetches() != n {
			t.Error("the request had to fetch")
		}
	})
	bubble(t, "later", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MaxStale = time.Hour })
		token := s.longLived()
		began := time.Now()
		s.Down(true)
		old := s.KeyID()
		s.Rotate()
		unknown := s.Token(nil)
		s.Use(old)
		s.check(t, "an unknown key, while the server is down", unknown, noKeys)
		time.Sleep(time.Hour)
		s.check(t, "at MaxStale", token, admitted)
		time.Sleep(time.Nanosecond)
		s.check(t, "after MaxStale", token, noKeys)
		if n, most := s.Fetches(), int(time.Since(began)/(10*time.Second))+40; n > most {
			t.Errorf("%d fetches in %v", n, time.Since(began))
		}
		s.Down(false)
		time.Sleep(10 * time.Second)
		s.check(t, "up again", token, admitted)
	})
}

func TestOptions_MaxStale(t *testing.T) {
	bubble(t, "keys do not get stale for want of requests", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MaxStale = time.Minute })
		time.Sleep(10 * time.Minute)
		s.Slow(4 * time.Second)
		before := time.Now()
		s.check(t, "after minutes without a request", s.Token(nil), admitted)
		if time.Since(before) != 0 {
			t.Errorf("waited %v", time.Since(before))
		}
		time.Sleep(time.Minute)
	})
	bubble(t, "the age counts from the beginning of a fetch", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Slow(3 * time.Second)
		began := time.Now()
		s.start(t, func(o *jwks.Options) { o.MaxStale = time.Hour })
		if err := s.set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Slow(0)
		s.Down(true)
		token := s.longLived()
		time.Sleep(time.Until(began.Add(time.Hour)))
		s.check(t, "at MaxStale", token, admitted)
		time.Sleep(time.Nanosecond)
		s.check(t, "after MaxStale", token, noKeys)
	})
	bubble(t, "a cached token ends with its key", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MaxStale = time.Hour })
		trusted := s.Trusted()
		trusted.Keys = s.set
		var err error
		if s.m, err = jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{trusted}, CacheSize: 64}); err != nil {
			t.Fatal(err)
		}
		token, first := s.longLived(), s.KeyID()
		s.check(t, "first", token, admitted)
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.check(t, "after a refresh", token, admitted)
		s.Rotate()
		s.Withdraw(first)
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.check(t, "withdrawn", token, unknownKey)
		token = s.longLived()
		s.check(t, "the new key", token, admitted)
		s.Down(true)
		time.Sleep(time.Hour + 1)
		s.check(t, "stale", token, noKeys)
	})
}

func TestOptions_RefreshInterval(t *testing.T) {
	for _, tt := range []struct {
		name, cacheControl string
		want               time.Duration
	}{
		{"no header", "", 15 * time.Minute},
		{"a shorter max-age", "max-age=60", time.Minute},
		{"among others", "public, Max-Age=120", 2 * time.Minute},
		{"shorter than MinInterval", "max-age=1", 10 * time.Second},
		{"zero", "max-age=0, no-store", 15 * time.Minute},
		{"longer", "max-age=86400", 15 * time.Minute},
		{"not a number", "max-age=x", 15 * time.Minute},
		{"a number too large", "max-age=99999999999999", 15 * time.Minute},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := &served{Issuer: jwthttptest.New(t, "ES256")}
			s.start(t, func(o *jwks.Options) {
				o.Client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					resp, err := s.Client().Transport.RoundTrip(r)
					if err == nil {
						resp.Header.Set("Cache-Control", tt.cacheControl)
					}
					return resp, err
				})}
			})
			time.Sleep(tt.want * 9 / 10)
			if s.Fetches() > 2 || s.Fetches() < 1 {
				t.Errorf("%d fetches before %v", s.Fetches(), tt.want)
			}
			time.Sleep(tt.want/10 + time.Second)
			if s.Fetches() != 2 {
				t.Errorf("%d fetches after %v", s.Fetches(), tt.want)
			}
		})
	}
}

func TestSet_endOfContext(t *testing.T) {
	bubble(t, "keys are used for 5 minutes more", func(t *testing.T) {
		s := serveKeys(t, nil)
		token := s.longLived()
		s.end()
		synctest.Wait()
		s.check(t, "after the end", token, admitted)
		s.Rotate()
		for _, unknown := range []string{s.Token(nil), s.junk("junk")} {
			got, err := authenticate(t.Context(), s.m, unknown)
			if got != noKeys || !strings.Contains(err.Error(), "its context has ended") || errors.Is(err, context.Canceled) {
				t.Errorf("a new key after the end: %q (%v)", got, err)
			}
		}
		if err := s.set.Refresh(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("Refresh after the end: %v", err)
		}
		if err := s.set.Ready(t.Context()); err != nil {
			t.Errorf("Ready after the end: %v", err)
		}
		time.Sleep(5 * time.Minute)
		s.check(t, "5 minutes after the end", token, admitted)
		time.Sleep(time.Nanosecond)
		got, err := authenticate(t.Context(), s.m, token)
		if got != noKeys || !strings.Contains(err.Error(), "its context has ended") {
			t.Errorf("more than 5 minutes after the end: %q (%v)", got, err)
		}
		if _, err := s.set.VerificationKeySet(t.Context()); !errors.Is(err, jwthttp.ErrKeysUnavailable) {
			t.Errorf("VerificationKeySet: %v", err)
		}
		if errs := s.reported(); s.Fetches() != 1 || len(errs) != 1 || !errors.Is(errs[0], context.Canceled) || !strings.Contains(errs[0].Error(), s.KeySetURL()) {
			t.Errorf("%d fetches; OnError got %q, want one error", s.Fetches(), errs)
		}
	})
	bubble(t, "not longer than MaxStale", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.MaxStale = time.Minute })
		token := s.longLived()
		s.end()
		time.Sleep(time.Minute + 1)
		s.check(t, "after MaxStale", token, noKeys)
	})
	bubble(t, "a fetch that runs is not reported", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(3 * time.Second)
		go verdict(s.m, s.junk("junk"))
		synctest.Wait()
		s.end()
		time.Sleep(time.Minute)
		if errs := s.reported(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "its context has ended") {
			t.Errorf("OnError got %q, want one error", errs)
		}
	})
	t.Run("no goroutine is left", func(t *testing.T) {
		before := runtime.NumGoroutine()
		issuer := jwthttptest.Start(t, "ES256")
		ctx, end := context.WithCancel(context.Background())
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for range 20 {
			set, err := jwks.Discover(ctx, issuer.Name(), jwks.Options{Client: client, OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			if err := set.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		end()
		deadline := time.NewTimer(10 * time.Second)
		defer deadline.Stop()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for runtime.NumGoroutine() > before+4 { // the server's
			select {
			case <-tick.C:
			case <-deadline.C:
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		}
	})
}

func TestSet_Refresh(t *testing.T) {
	bubble(t, "waits for a fetch that began after the call", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(time.Second)
		go func() { _ = s.set.Refresh(context.Background()) }()
		synctest.Wait() // that fetch has begun
		began := time.Now()
		if err := s.set.Refresh(t.Context()); err != nil || time.Since(began) != 2*time.Second || s.Fetches() != 3 {
			t.Errorf("error %v after %v and %d fetches", err, time.Since(began), s.Fetches())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.set.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
	})
	bubble(t, "many calls share fetches", func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := s.set.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if s.Fetches() > 3 || time.Since(began) > 2*time.Second {
			t.Errorf("%d fetches in %v", s.Fetches(), time.Since(began))
		}
	})
}

func TestSet_Format(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		issuer := jwthttptest.New(t, "ES256")
		opts := jwks.Options{Client: issuer.Client(), OnError: func(error) {}, RefreshInterval: time.Second}
		fetched, err := jwks.New(ctx, "https://user:hunter2@issuer.test/keys?key=hunter2", opts)
		if err != nil {
			t.Fatal(err)
		}
		discovered, err := jwks.Discover(ctx, issuer.Name(), opts)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwks.Parse([]byte(keySet(issuer)))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			set  *jwks.Set
			want string
		}{
			{fetched, "key set of https://issuer.test/keys"},
			{discovered, "key set of issuer https://issuer.test"},
			{parsed, "parsed key set"},
		} {
			for range 3 { // while fetches change the keys: the race detector watches
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
					if got := fmt.Sprintf(verb, tt.set); got != tt.want {
						t.Errorf("%s prints %q, want %q", verb, got, tt.want)
					}
				}
				text := fmt.Sprintf("%+v", issuerWith(tt.set, "ES256"))
				var log strings.Builder
				slog.New(slog.NewTextHandler(&log, nil)).Info("set", "set", tt.set)
				slog.New(slog.NewJSONHandler(&log, nil)).Info("set", "set", tt.set)
				if text += log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, tt.want) {
					t.Errorf("printed: %s", text)
				}
				time.Sleep(time.Second)
			}
		}
	})
}

// BenchmarkSet shows what a Set costs over a KeySet, serial and parallel.
func BenchmarkSet(b *testing.B) {
	issuer := jwthttptest.New(b, "ES256")
	ctx, end := context.WithCancel(context.Background())
	defer end()
	set, err := jwks.New(ctx, issuer.KeySetURL(), jwks.Options{Client: issuer.Client(), OnError: func(error) {}})
	if err != nil {
		b.Fatal(err)
	}
	if err := set.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	found, err := set.VerificationKeySet(ctx)
	if err != nil {
		b.Fatal(err)
	}
	token := issuer.Token(nil)
	for _, source := range []struct {
		name string
		keys jwthttp.KeySource
	}{
		{"KeySet", jwthttp.KeySet{issuer.KeyID(): found.Keys[0]}},
		{"Set", set},
	} {
		trusted := issuer.Trusted()
		trusted.Keys = source.keys
		m := newMiddleware(b, trusted)
		b.Run("serial/"+source.name, func(b *testing.B) {
			r := newRequest(ctx, token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("parallel/"+source.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := newRequest(ctx, token)
				for pb.Next() {
					if _, err := m.Authenticate(r); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
