package benchmarks

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// An unfair contender is a bug: each admits the good token, twice, and none of
// the bad ones, before or after it has seen the good one.
func TestContendersAdmitTheGoodTokenAndRefuseTheBadOnes(t *testing.T) {
	for _, alg := range Algorithms() {
		f := newFixture(t, alg)
		for _, c := range Contenders() {
			t.Run(alg+"/"+c.Name, func(t *testing.T) {
				if !c.Knows(alg) {
					t.Skip("does not know the algorithm")
				}
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
						t.Errorf("%s: the handler ran: %t, want %t", name, ran, want)
					}
					if refused := w.Code >= 400 && w.Code < 500; refused == ran {
						t.Errorf("%s: the handler ran: %t, and the status is %d", name, ran, w.Code)
					}
				}
			})
		}
	}
}

func TestThePayloadHas400Bytes(t *testing.T) {
	f := newFixture(t, "HS256")
	segments := strings.Split(f.tokens[Admitted], ".")
	payload, err := jwt.NewParser().DecodeSegment(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	if len(payload) != 400 {
		t.Errorf("the payload has %d bytes: %s", len(payload), payload)
	}
}

func TestDistinctTokensAreDistinctAndGood(t *testing.T) {
	f := newFixture(t, "HS256")
	tokens, err := f.Distinct(3)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	h, err := hand(f, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, token := range tokens {
		seen[token] = true
		h.ServeHTTP(httptest.NewRecorder(), RequestWith(token))
	}
	if ran != 3 || len(seen) != 3 {
		t.Errorf("%d admitted and %d distinct, want 3 and 3", ran, len(seen))
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
