package jwthttptest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func status(m *jwthttp.Middleware, token string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := m.Authenticate(r)
	if err == nil {
		return "admitted"
	}
	return string(err.(*jwthttp.Error).Reason)
}

func middleware(t *testing.T, issuer jwthttp.Issuer) *jwthttp.Middleware {
	t.Helper()
	m, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestIssuer_tokens(t *testing.T) {
	for _, alg := range []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"} {
		t.Run(alg, func(t *testing.T) {
			issuer := jwthttptest.New(t, alg)
			m := middleware(t, issuer.Trusted())
			for _, tt := range []struct{ name, token, want string }{
				{"no claims", issuer.Token(nil), "admitted"},
				{"a struct", issuer.Token(struct{ Role string }{"x"}), "admitted"},
				{"another subject", issuer.Token(map[string]any{"sub": "bob"}), "admitted"},
				{"exp left out", issuer.Token(map[string]any{"exp": nil}), "malformed"},
				{"another audience", issuer.Token(map[string]any{"aud": "x"}), "audience"},
				{"expired", issuer.Expired(nil), "expired"},
				{"not yet valid", issuer.NotYetValid(nil), "not_yet_valid"},
				{"forged", issuer.Forged(nil), "signature"},
				{"tampered", issuer.Tampered(nil), "signature"},
				{"tampered, with the subject mallory", issuer.Tampered(map[string]any{"sub": "mallory"}), "signature"},
				{"another typ", issuer.Sign(map[string]any{"typ": "x"}, map[string]any{"iss": issuer.Name(), "aud": jwthttptest.Audience}), "type"},
				{"kid and typ left out", issuer.Sign(map[string]any{"kid": nil, "typ": nil}, issuerClaims(issuer)), "unknown_key"},
			} {
				if got := status(m, tt.token); got != tt.want {
					t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
				}
			}
		})
	}
}

func issuerClaims(i *jwthttptest.Issuer) map[string]any {
	return map[string]any{"iss": i.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()}
}

func TestIssuer_rotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		m := middleware(t, issuer.Trusted())
		first, old := issuer.KeyID(), issuer.Token(nil)
		second := issuer.Publish()
		if issuer.KeyID() != first || issuer.Rotate() == second || issuer.KeyID() == first {
			t.Error("the wrong key signs")
		}
		issuer.Use(second)
		issuer.Withdraw(first)
		if got := status(m, old); got != "unknown_key" {
			t.Errorf("a withdrawn key: %s", got)
		}
		if got := status(m, issuer.Token(nil)); got != "admitted" {
			t.Errorf("the new key: %s", got)
		}
	})
}

func TestIssuer_ServeHTTP(t *testing.T) {
	check := func(t *testing.T, issuer *jwthttptest.Issuer, client *http.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		opts := jwks.Options{Client: client}
		set, err := jwks.New(ctx, issuer.KeySetURL(), opts)
		if err != nil {
			t.Fatal(err)
		}
		found, err := jwks.Discover(ctx, issuer.Name(), opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []*jwks.Set{set, found} {
			trusted := issuer.Trusted()
			trusted.Keys = source
			if got := status(middleware(t, trusted), issuer.Token(nil)); got != "admitted" {
				t.Errorf("%v: %s", source, got)
			}
		}
		if issuer.Fetches() != 2 {
			t.Errorf("%d fetches", issuer.Fetches())
		}
		issuer.Down(true)
		if set.Refresh(ctx) == nil {
			t.Error("Refresh succeeded while the server is down")
		}
		issuer.Down(false)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "own", http.StatusTeapot) })
		if set.Refresh(ctx) == nil {
			t.Error("Refresh succeeded with another answer")
		}
		issuer.Answer(nil)
		if err := set.Refresh(ctx); err != nil {
			t.Error(err)
		}
		if resp, err := client.Get(issuer.Name() + "/other"); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("another path: %v, %v", resp, err)
		}
	}
	t.Run("with a server", func(t *testing.T) { check(t, jwthttptest.Start(t, "Ed25519"), http.DefaultClient) })
	t.Run("without a server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := jwthttptest.New(t, "RS256")
			check(t, issuer, issuer.Client())
			issuer.Slow(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, issuer.KeySetURL(), nil)
			if _, err := issuer.Client().Do(r); err == nil {
				t.Error("not slow")
			}
		})
	})
}

func TestIssuer_misuse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		misuse func(*recorder)
	}{
		{"unknown algorithm", func(tb *recorder) { jwthttptest.New(tb, "none") }},
		{"claims that are not an object", func(tb *recorder) { jwthttptest.New(tb, "HS256").Token("x") }},
		{"claims that do not marshal", func(tb *recorder) { jwthttptest.New(tb, "HS256").Token(make(chan int)) }},
		{"use of an unknown key", func(tb *recorder) { jwthttptest.New(tb, "HS256").Use("x") }},
		{"withdrawal of an unknown key", func(tb *recorder) { jwthttptest.New(tb, "HS256").Withdraw("x") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := &recorder{TB: t}
			done := make(chan struct{})
			go func() { defer close(done); tt.misuse(tb) }()
			<-done
			if !tb.failed {
				t.Error("the test did not end")
			}
		})
	}
}

// recorder is a testing.TB that notes its failure.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Fatalf(string, ...any) {
	r.failed = true
	runtime.Goexit()
}
