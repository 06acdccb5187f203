package jwks_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

var faultsFor = flag.Duration("faults", 2*time.Second, "how long the fault test runs")

// TestSet_faults sends valid, forged and junk tokens over sockets while the key
// server rotates its keys, fails, hangs, answers nonsense and recovers. It prints
// figures; "make faults" runs it for longer.
func TestSet_faults(t *testing.T) {
	const minInterval, timeout = 100 * time.Millisecond, 200 * time.Millisecond
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	issuer := jwthttptest.Start(t, "ES256")
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var failures atomic.Int64
	keys, err := jwks.Discover(ctx, issuer.Name(), jwks.Options{
		MinInterval: minInterval, Timeout: timeout, RefreshInterval: 300 * time.Millisecond,
		OnError: func(error) { failures.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	trusted := issuer.Trusted()
	trusted.Keys = keys
	m := newMiddleware(t, trusted)
	server := httptest.NewServer(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer server.Close()

	// Each client sends what newToken returns, again and again.
	var load sync.WaitGroup
	stop := make(chan struct{})
	client := func(newToken func() string, check func(status int, took time.Duration)) {
		load.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				r, _ := http.NewRequest(http.MethodGet, server.URL, nil)
				r.Header.Set("Authorization", "Bearer "+newToken())
				began := time.Now()
				resp, err := server.Client().Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				check(resp.StatusCode, time.Since(began))
			}
		})
	}
	var sent, refused, bad, admittedBad atomic.Int64
	var slowest atomic.Int64
	for range 4 {
		client(func() string { return issuer.Token(nil) }, func(status int, took time.Duration) {
			sent.Add(1)
			if status != http.StatusOK {
				refused.Add(1)
			}
			for old := slowest.Load(); int64(took) > old && !slowest.CompareAndSwap(old, int64(took)); old = slowest.Load() {
			}
		})
	}
	checkBad := func(status int, _ time.Duration) {
		bad.Add(1)
		if status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
			admittedBad.Add(1)
		}
	}
	client(func() string { return issuer.Forged(nil) }, checkBad)
	client(func() string { return issuer.Tampered(nil) }, checkBad)
	client(func() string {
		return issuer.Sign(map[string]any{"kid": fmt.Sprint("junk", time.Now().UnixNano())}, map[string]any{
			"iss": issuer.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60,
		})
	}, checkBad)

	began := time.Now()
	// inUse returns when every client has sent a token of the newest key, so that
	// the key is not first used while the server fails.
	inUse := func() {
		for from := sent.Load(); sent.Load() < from+4*3; {
			<-time.After(time.Millisecond)
		}
	}
	faults := injectFaults(rnd, issuer, minInterval, timeout, inUse, began.Add(*faultsFor))
	took := time.Since(began)
	close(stop)
	load.Wait()

	// Each kind of fetch is at least about MinInterval apart here.
	bound := int(2*float64(took)/float64(minInterval)*1.2) + 10
	t.Logf("seed %d: %v, %d faults (%d failed fetches)", seed, took.Round(time.Millisecond), faults, failures.Load())
	t.Logf("valid requests: %d sent, %d refused; slowest %v", sent.Load(), refused.Load(), time.Duration(slowest.Load()).Round(time.Microsecond))
	t.Logf("bad requests: %d sent, %d admitted", bad.Load(), admittedBad.Load())
	t.Logf("fetches: %d, at most %d", issuer.Fetches(), bound)
	if refused.Load() > 0 || admittedBad.Load() > 0 || issuer.Fetches() > bound || sent.Load() == 0 || bad.Load() == 0 || faults == 0 {
		t.Error("a valid token was refused, a bad one admitted, there were too many fetches, or nothing happened")
	}
}

// injectFaults makes the issuer fail and recover until the given time. In between
// it rotates the key, MinInterval after the new one was published.
func injectFaults(rnd *rand.Rand, issuer *jwthttptest.Issuer, minInterval, timeout time.Duration, inUse func(), until time.Time) (faults int) {
	answerWith := func(body string) func() {
		return func() { issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }) }
	}
	kinds := []func(){
		func() { issuer.Down(true) },
		func() { issuer.Slow(5 * timeout) },
		func() { issuer.Answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		answerWith("<html>"), answerWith("{}"), answerWith(`{"keys":[{"kty":"oct","k":"AAAA"}]}`),
		func() {
			issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
			})
		},
	}
	wait := func(d time.Duration) { <-time.After(d) }
	for time.Now().Before(until) {
		kinds[rnd.IntN(len(kinds))]()
		faults++
		wait(time.Duration(rnd.Int64N(int64(3 * minInterval))))
		issuer.Down(false)
		issuer.Slow(0)
		issuer.Answer(nil)

		old, next := issuer.KeyID(), issuer.Publish()
		wait(minInterval)
		issuer.Use(next)
		inUse()
		wait(time.Duration(rnd.Int64N(int64(minInterval))))
		if rnd.IntN(2) == 0 {
			issuer.Withdraw(old)
		}
	}
	return faults
}
