package benchmarks

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
)

// TestContenders checks that the comparison is fair: each contender admits the
// valid token twice and refuses every invalid one, before and after it has seen
// the valid one.
func TestContenders(t *testing.T) {
	for _, alg := range Algorithms() {
		f := newFixture(t, alg)
		for _, c := range Contenders() {
			if !c.Knows(alg) {
				continue
			}
			t.Run(alg+"/"+c.Name, func(t *testing.T) {
				ran := false
				h, err := c.Guard(f, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
				if err != nil {
					t.Fatal(err)
				}
				bad := []string{Missing, Garbage, Expired, Audience, Issuer, Signature, None, OtherAlg}
				for _, name := range append(append(bad, Admitted, Admitted), bad...) {
					ran = false
					w := httptest.NewRecorder()
					h.ServeHTTP(w, f.Request(name))
					if want := name == Admitted; ran != want {
						t.Errorf("%s: handler ran: %t, want %t", name, ran, want)
					}
					if refused := w.Code >= 400 && w.Code < 500; refused == ran {
						t.Errorf("%s: handler ran: %t, status %d", name, ran, w.Code)
					}
				}
			})
		}
	}
}

func TestFixture_payloadSize(t *testing.T) {
	f := newFixture(t, "HS256")
	segments := strings.Split(f.tokens[Admitted], ".")
	payload, err := jwt.NewParser().DecodeSegment(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(payload) != 400 {
		t.Errorf("payload has %d bytes, want 400: %s", len(payload), payload)
	}
}

func newFixture(tb testing.TB, alg string) *Fixture {
	tb.Helper()
	f, err := NewFixture(alg)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// startRedis returns nil, without a type, if redis-server is not installed.
func startRedis(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	client, stop, err := StartRedis()
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return client
}

// TestBound checks that each handler admits its requests, also when its proofs are
// used again.
func TestBound(t *testing.T) {
	client := startRedis(t)
	for _, alg := range BoundAlgorithms() {
		handlers, err := Bound(newFixture(t, alg), nothing, client)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range handlers {
			var w Discard
			for i := range proofs + 1 {
				w.Reset()
				if h.ServeHTTP(&w, nil); w.Status != http.StatusOK {
					t.Fatalf("%s, %s: status %d of request %d", alg, h.Name, w.Status, i)
				}
			}
		}
	}
}

// TestCalls checks that each call is admitted or refused, before and after another
// one with the same token.
func TestCalls(t *testing.T) {
	for _, alg := range CallAlgorithms() {
		f := newFixture(t, alg)
		for _, name := range []string{Admitted, Missing, Garbage, Expired, Audience, Issuer, Signature, None, OtherAlg} {
			calls, end, err := Calls(f, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range calls {
				want := http.StatusUnauthorized
				if name == Admitted || c.Name == CallUnguarded {
					want = http.StatusOK
				}
				for range 2 {
					var w Discard
					w.Reset()
					if c.ServeHTTP(&w, nil); w.Status != want {
						t.Errorf("%s, %s, %s: status %d, want %d", alg, name, c.Name, w.Status, want)
					}
				}
			}
			end()
		}
	}
}
