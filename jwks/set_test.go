package jwthttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

const noKeys = "503 keys_unavailable"

// served is an issuer with a JWKS over it, in a bubble.
type served struct {
	*jwthttptest.Issuer
	set    *jwthttp.JWKS
	m      *jwthttp.Middleware
	end    context.CancelFunc
	errors atomic.Int64
}

func serveKeys(t *testing.T, change func(*jwthttp.JWKSOptions)) *served {
	t.Helper()
	s := &served{Issuer: jwthttptest.New(t, "ES256")}
	s.start(t, change)
	if err := s.set.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) start(t *testing.T, change func(*jwthttp.JWKSOptions)) {
	t.Helper()
	opts := jwthttp.JWKSOptions{Client: s.Client(), OnError: func(error) { s.errors.Add(1) }}
	if change != nil {
		change(&opts)
	}
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	set, err := jwthttp.NewJWKS(ctx, s.KeySetURL(), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.set, s.end = set, end
	iss := s.Trusted()
	iss.Keys = set
	s.m = mustNew[jwt.MapClaims](t, options(iss))
}

func (s *served) verdict(token string) string { return verdict(s.m, get(bearer(token))) }

func (s *served) check(t *testing.T, when, token, want string) {
	t.Helper()
	if got := s.verdict(token); got != want {
		t.Errorf("%s: verdict %q, want %q", when, got, want)
	}
}

// Rule 33.
func TestANewKeyPassesAfterOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		s.check(t, "the first key", s.Token(nil), admitted)
		s.Rotate()
		s.check(t, "the second key", s.Token(nil), admitted)
		if s.Fetches() != 2 {
			t.Errorf("%d fetches", s.Fetches())
		}
	})
}

func TestManyRequestsWithANewKeyCauseOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Rotate()
		s.Slow(time.Second)
		token := s.Token(nil)
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if s.verdict(token) == admitted {
					passed.Add(1)
				}
			})
		}
		wg.Wait()
		if passed.Load() != 1000 || s.Fetches() != 2 {
			t.Errorf("%d passed with %d fetches", passed.Load(), s.Fetches())
		}
	})
}

// Rule 34.
func TestJunkKeysCauseAtMostOneFetchPerMinInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.RefreshInterval = 24 * time.Hour })
		good := s.Token(nil)
		start := time.Now()
		for i := range 10_000 {
			s.check(t, "junk", s.Sign(map[string]any{"kid": fmt.Sprint("junk", i)}, map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60}), invalid+"unknown_key")
			before := time.Now()
			s.check(t, "known", good, admitted)
			if time.Since(before) != 0 {
				t.Fatal("a known key waited")
			}
			time.Sleep(10 * time.Millisecond)
			if i == 300 {
				good = s.Token(nil)
			}
		}
		if got, most := s.Fetches()-1, int(time.Since(start)/(10*time.Second))+1; got > most || got < most-1 {
			t.Errorf("%d fetches in %v, want %d", got, time.Since(start), most)
		}
	})
}

func TestKnownKeysNeverWaitForAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(4 * time.Second)
		good := s.Token(nil)
		go s.verdict(s.Sign(map[string]any{"kid": "junk"}, map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60}))
		synctest.Wait()
		before := time.Now()
		s.check(t, "during a fetch", good, admitted)
		if time.Since(before) != 0 || s.Fetches() != 2 {
			t.Errorf("waited %v, %d fetches", time.Since(before), s.Fetches())
		}
		time.Sleep(10 * time.Second)
	})
}

// A key that was published MinInterval before its first use is never refused,
// whatever junk came before.
func TestAKeyPublishedInTimeIsNeverRefused(t *testing.T) {
	for _, slow := range []time.Duration{0, 3 * time.Second} {
		bubble(t, fmt.Sprintf("with answers after %v", slow), func(t *testing.T) {
			s := serveKeys(t, nil)
			s.Slow(slow)
			junk := s.Sign(map[string]any{"kid": "junk"}, map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(100 * time.Hour).Unix()})
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() { s.verdict(junk) })
				kid := s.Publish()
				time.Sleep(10 * time.Second)
				wg.Go(func() { s.verdict(junk) })
				s.Use(kid)
				s.check(t, fmt.Sprint("key ", i), s.Token(nil), admitted)
				time.Sleep(time.Duration(i%7) * time.Second)
			}
			wg.Wait()
		})
	}
}

// The running fetch may have been answered before the key was published.
func TestAnAnswerFromBeforeThePublicationIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.MinInterval = time.Second })
		s.Answer(func(w http.ResponseWriter, r *http.Request) {
			s.Answer(nil)
			old := newRecorder()
			s.ServeHTTP(old, r)
			time.Sleep(3 * time.Second)
			fmt.Fprint(w, old.body.String())
		})
		junk := s.Sign(map[string]any{"kid": "junk"}, map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 600})
		go s.verdict(junk)
		time.Sleep(time.Second)
		kid := s.Publish()
		time.Sleep(time.Second)
		s.Use(kid)
		s.check(t, "published a second ago", s.Token(nil), admitted)
		time.Sleep(time.Minute)
	})
}

// Without any request the keys stay younger than MaxStale.
func TestKeysDoNotGoStaleForWantOfAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.MaxStale = time.Minute })
		time.Sleep(10 * time.Minute)
		s.Slow(4 * time.Second)
		before := time.Now()
		s.check(t, "after minutes without a request", s.Token(nil), admitted)
		if time.Since(before) != 0 {
			t.Errorf("waited %v", time.Since(before))
		}
		time.Sleep(time.Minute)
	})
}

// Rule 35.
func TestAClientThatGoesAwayNeitherAbortsNorUsesUpAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Rotate()
		s.Slow(2 * time.Second)
		token := s.Token(nil)
		ctx, goAway := context.WithTimeout(context.Background(), time.Second)
		defer goAway()
		began := time.Now()
		if got := verdict(s.m, get(bearer(token)).WithContext(ctx)); got != noKeys || time.Since(began) != time.Second {
			t.Errorf("verdict %q after %v", got, time.Since(began))
		}
		s.check(t, "the next request", token, admitted)
		if time.Since(began) != 2*time.Second || s.Fetches() != 2 {
			t.Errorf("after %v and %d fetches", time.Since(began), s.Fetches())
		}
	})
}

func TestReadyBeforeTheFirstFetchHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
}

// Rule 36.
func TestDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		if s.errors.Load() == 0 {
			t.Error("OnError was not called")
		}
	})
}

func TestDownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.MaxStale = time.Hour })
		token := s.Token(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()})
		began := time.Now()
		s.Down(true)
		old := s.KeyID()
		s.Rotate()
		unknown := s.Token(nil)
		s.Use(old)
		s.check(t, "a key that nobody can know, while the server is down", unknown, noKeys)
		time.Sleep(time.Hour)
		s.check(t, "at MaxStale", token, admitted)
		time.Sleep(time.Nanosecond)
		s.check(t, "after MaxStale", token, noKeys)
		n := s.Fetches()
		if bound := int(time.Since(began)/(10*time.Second)) + 40; n > bound {
			t.Errorf("%d fetches in %v", n, time.Since(began))
		}
		s.Down(false)
		time.Sleep(10 * time.Second)
		s.check(t, "up again", token, admitted)
	})
}

// Rule 37.
func TestRefusedAnswersKeepTheOldKeys(t *testing.T) {
	good := func(s *served) string {
		w := newRecorder()
		r, _ := http.NewRequest(http.MethodGet, s.KeySetURL(), nil)
		s.Issuer.ServeHTTP(w, r)
		return w.body.String()
	}
	text := func(body string) func(*served) http.HandlerFunc {
		return func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
		}
	}
	for name, answer := range map[string]func(*served) http.HandlerFunc{
		"HTML":                   text("<!DOCTYPE html><html></html>"),
		"nothing":                text(""),
		"an empty object":        text("{}"),
		"no key":                 text(`{"keys":[]}`),
		"keys of null":           text(`{"keys":null}`),
		"keys that are no array": text(`{"keys":{}}`),
		"only odd keys":          text(`{"keys":[1,"a",null,{},{"kty":"XX"},{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`),
		"two documents":          func(s *served) http.HandlerFunc { b := good(s); return text(b + b)(s) },
		"another status": func(s *served) http.HandlerFunc {
			b := good(s)
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted); fmt.Fprint(w, b) }
		},
		"not modified, unasked": func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }
		},
		"too large": func(s *served) http.HandlerFunc { b := good(s); return text(b + strings.Repeat(" ", 1<<20))(s) },
		"too slow": func(*served) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		},
		"a redirect to another origin": func(s *served) http.HandlerFunc {
			return s.redirectTo("https://evil.test/keys")
		},
		"a redirect to http": func(s *served) http.HandlerFunc {
			return s.redirectTo("http://issuer.test/keys")
		},
		"a redirect in circles": func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"?x", http.StatusFound) }
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := serveKeys(t, nil)
			token := s.Token(nil)
			s.Answer(answer(s))
			began := time.Now()
			if err := s.set.Refresh(t.Context()); err == nil {
				t.Error("no error")
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			synctest.Wait()
			s.check(t, "the old key", token, admitted)
			if s.errors.Load() != 1 {
				t.Errorf("OnError was called %d times", s.errors.Load())
			}
		})
	}
}

// redirectTo has good keys behind the redirect: only the redirect is wrong.
func (s *served) redirectTo(target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.Answer(nil)
		if r.URL.String() == target {
			s.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}
}

type recorder struct {
	http.ResponseWriter
	header http.Header
	body   strings.Builder
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func TestARedirectWithinTheOriginIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) {
			o.Client.CheckRedirect = func(*http.Request, []*http.Request) error { asked++; return nil }
		})
		s.Answer(func(w http.ResponseWriter, r *http.Request) {
			s.Answer(nil)
			http.Redirect(w, r, "/keys?moved", http.StatusPermanentRedirect)
		})
		if err := s.set.Refresh(t.Context()); err != nil || asked != 1 {
			t.Errorf("error %v, the client's own CheckRedirect was asked %d times", err, asked)
		}
	})
}

// Rule 37 and 39.
func TestWhereKeysMustNotComeFrom(t *testing.T) {
	plain := jwthttp.JWKSOptions{AllowHTTP: true}
	for _, tt := range []struct {
		url  string
		opts jwthttp.JWKSOptions
		ok   bool
	}{
		{"https://issuer.test/keys", jwthttp.JWKSOptions{}, true},
		{"https://user:hunter2@issuer.test/keys?key=hunter2", jwthttp.JWKSOptions{}, true},
		{"http://127.0.0.1:1/keys", jwthttp.JWKSOptions{}, true},
		{"http://localhost:1/keys", jwthttp.JWKSOptions{}, true},
		{"http://issuer.test/keys", jwthttp.JWKSOptions{}, false},
		{"http://localhost.evil.test/keys", jwthttp.JWKSOptions{}, false},
		{"http://issuer.test/keys", plain, true},
		{"ftp://issuer.test/keys", plain, false},
		{"file:///etc/keys", plain, false},
		{"/keys", plain, false},
		{"issuer.test/keys", plain, false},
		{"HTTPS://issuer.test/keys", jwthttp.JWKSOptions{}, true},
		{"https:///keys", plain, false},
		{"https://:443/keys", plain, false},
		{"https://issuer.test/keys#hunter2", plain, false},
		{"https://user:hunter2@issuer.test:x/keys", plain, false},
		{"", plain, false},
		{"https://issuer.test/keys", jwthttp.JWKSOptions{RefreshInterval: -1}, false},
		{"https://issuer.test/keys", jwthttp.JWKSOptions{MinInterval: -1}, false},
		{"https://issuer.test/keys", jwthttp.JWKSOptions{MaxStale: -1}, false},
		{"https://issuer.test/keys", jwthttp.JWKSOptions{Timeout: -1}, false},
		{"https://issuer.test/keys", jwthttp.JWKSOptions{MaxBytes: -1}, false},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		tt.opts.Client = &http.Client{Transport: failingTransport{}}
		for name, f := range map[string]func(context.Context, string, jwthttp.JWKSOptions) (*jwthttp.JWKS, error){"NewJWKS": jwthttp.NewJWKS, "DiscoverJWKS": jwthttp.DiscoverJWKS} {
			ok := tt.ok && !(name == "DiscoverJWKS" && strings.Contains(tt.url, "@")) // an issuer has neither user nor query
			set, err := f(ctx, tt.url, tt.opts)
			if (err == nil) != ok || (set != nil) != ok {
				t.Errorf("%s(%q): %v", name, tt.url, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s shows the password: %v", name, err)
			}
		}
	}
}

func TestErrorsHaveNoSecretsFromURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan error, 1)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		_, err := jwthttp.NewJWKS(ctx, "https://user:hunter2@issuer.test/keys?key=hunter2", jwthttp.JWKSOptions{
			Client:  &http.Client{Transport: failingTransport{}},
			OnError: func(err error) { got <- err; end() },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-got; err.Error() != "jwthttp: GET https://issuer.test/keys: request failed (not shown, since the URL has secrets)" {
			t.Errorf("error %q", err)
		}
	})
}

type failingTransport struct{}

func (failingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// Rule 38.
func TestAWithdrawnKeyEndsItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		first, old := s.KeyID(), s.Token(nil)
		s.Rotate()
		s.check(t, "the new key", s.Token(nil), admitted)
		s.check(t, "the old key", old, admitted)
		s.Withdraw(first)
		time.Sleep(15 * time.Minute)
		s.check(t, "the withdrawn key", old, invalid+"unknown_key")
	})
}

// Rules 19 to 23: what a JWK says, and a bare key does not.
func TestWhichKeysOfASetAreUsed(t *testing.T) {
	k := testKeys()
	public, err := k.p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n, weak := b64(string(k.rsa.N.Bytes())), b64(string(k.weakRSA.N.Bytes()))
	rsaKey := func(members string) string { return `{"kty":"RSA","n":"` + n + `","e":"AQAB"` + members + `}` }
	ecKey := func(members string) string {
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"%s}`, b64(string(public[1:33])), b64(string(public[33:])), members)
	}
	edKey := `{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"` + b64(string(k.ed[32:])) + `"}`
	rs := func(kid string) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.rsa, kid) }
	}
	es := func(kid string) func(*testing.T) string {
		return func(t *testing.T) string { return sign(t, jwt.SigningMethodES256, k.p256, kid) }
	}
	other := ecKey(`,"kid":"other"`)
	for _, tt := range []struct {
		name  string
		keys  []string
		token func(*testing.T) string
		want  string
	}{
		{"without alg and use, as Entra ID serves them", []string{rsaKey(`,"kid":"a"`)}, rs("a"), admitted},
		{"with the very alg and use", []string{rsaKey(`,"kid":"a","alg":"RS256","use":"sig","key_ops":["verify"]`)}, rs("a"), admitted},
		{"with another alg", []string{rsaKey(`,"kid":"a","alg":"PS256"`), other}, rs("a"), invalid + "unknown_key"},
		{"with another alg, no kid in the token", []string{rsaKey(`,"kid":"a","alg":"PS256"`), other}, rs(""), invalid + "unknown_key"},
		{"with use enc", []string{rsaKey(`,"kid":"a","use":"enc"`), other}, rs("a"), invalid + "unknown_key"},
		{"with use enc, no kid in the token", []string{rsaKey(`,"use":"enc"`), other}, rs(""), invalid + "unknown_key"},
		{"with key_ops that do not verify", []string{rsaKey(`,"kid":"a","key_ops":["encrypt"]`), other}, rs("a"), invalid + "unknown_key"},
		{"with empty key_ops", []string{rsaKey(`,"kid":"a","key_ops":[]`), other}, rs("a"), invalid + "unknown_key"},
		{"a private key", []string{rsaKey(`,"kid":"a","d":"AQAB"`), other}, rs("a"), invalid + "unknown_key"},
		{"a weak key", []string{`{"kty":"RSA","kid":"a","n":"` + weak + `","e":"AQAB"}`, other}, func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, k.weakRSA, "a") }, invalid + "unknown_key"},
		{"of another type", []string{ecKey(`,"kid":"a"`)}, rs("a"), invalid + "unknown_key"},
		{"no kid in the token", []string{ecKey(`,"kid":"x"`), rsaKey(`,"kid":"a"`), edKey}, rs(""), admitted},
		{"no kid in the key, nor in the token", []string{rsaKey("")}, rs(""), admitted},
		{"no kid in the key, but in the token", []string{rsaKey("")}, rs("a"), invalid + "unknown_key"},
		{"two keys of one kid", []string{ecKey(`,"kid":"a"`), rsaKey(`,"kid":"a"`)}, es("a"), admitted},
		{"two keys of one kid, the other one", []string{ecKey(`,"kid":"a"`), rsaKey(`,"kid":"a"`)}, rs("a"), admitted},
		{"Ed25519", []string{edKey}, func(t *testing.T) string { return sign(t, jwt.SigningMethodEdDSA, k.ed, "ed") }, admitted},
		{"odd keys beside a good one", []string{`1`, `{"kty":"XX"}`, `{"kty":"EC","crv":"P-999","x":"AA","y":"AA"}`, `{"kty":"RSA","n":"!","e":"AQAB"}`, `{"kty":"RSA","n":1}`, rsaKey(`,"kid":"a"`)}, rs("a"), admitted},
		{"certificates that are none", []string{rsaKey(`,"kid":"a","x5c":["!"],"x5t":"x","x5u":"http://evil.test/"`)}, rs("a"), admitted},
		{"an HMAC token with the set's secret", []string{`{"kty":"oct","kid":"a","k":"` + b64(string(long(32))) + `"}`, other}, func(t *testing.T) string { return sign(t, jwt.SigningMethodHS256, long(32), "a") }, invalid + "unknown_key"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			body := `{"keys":[` + strings.Join(tt.keys, ",") + `]}`
			client := &http.Client{Transport: roundTrip(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })}
			set, err := jwthttp.NewJWKS(ctx, "https://issuer.test/keys", jwthttp.JWKSOptions{Client: client})
			if err != nil {
				t.Fatal(err)
			}
			if err := set.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			algorithms := []string{"RS256", "ES256", "EdDSA"}
			if strings.Contains(tt.name, "HMAC") {
				algorithms = []string{"HS256"}
			}
			m := mustNew[testClaims](t, options(issuerWith(set, algorithms...)))
			checkVerdict(t, m, get(bearer(tt.token(t))), tt.want)

			// golang-jwt's own parser finds the same keys.
			_, err = jwt.Parse(tt.token(t), set.KeyfuncCtx(ctx), jwt.WithoutClaimsValidation())
			if (err == nil) != (tt.want == admitted) {
				t.Errorf("golang-jwt with the same keys: %v", err)
			}
		})
	}
}

// roundTrip answers requests without the network.
type roundTrip http.HandlerFunc

func (rt roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	w := newRecorder()
	rt(w, r)
	return &http.Response{StatusCode: http.StatusOK, Header: w.header, Body: ioNop(w.body.String()), Request: r}, nil
}

func TestAtMostEightKeysOfASet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		first := s.KeyID()
		for range 8 {
			s.Publish()
		}
		s.Rotate()
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Unix() + 60}
		noKid := map[string]any{"kid": nil}
		s.check(t, "the last key, by kid", s.Sign(nil, claims), admitted)
		s.check(t, "the last key, without kid", s.Sign(noKid, claims), invalid+"signature")
		s.Use(first)
		s.check(t, "the first key, without kid", s.Sign(noKid, claims), admitted)
		found, err := s.set.KeyfuncCtx(t.Context())(&jwt.Token{Method: jwt.SigningMethodES256})
		if n := len(found.(jwt.VerificationKeySet).Keys); n != 8 || err != nil {
			t.Errorf("%d keys for golang-jwt (%v)", n, err)
		}
	})
}

func TestKeyfuncCtxOfAJWKSWantsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		for _, token := range []*jwt.Token{{}, {Method: jwt.SigningMethodES256, Header: map[string]any{"kid": 1}}} {
			if keys, err := s.set.KeyfuncCtx(t.Context())(token); err == nil {
				t.Errorf("keys %v", keys)
			}
		}
	})
}

func TestConditionalRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		var conditional, full int
		s.Answer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				conditional++
				w.WriteHeader(http.StatusNotModified)
				return
			}
			full++
			s.Answer(nil)
			s.ServeHTTP(w, r)
		})
		answer := func() { // again, since the full answer takes itself off
			s.Answer(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("If-None-Match") != `"1"` {
					t.Errorf("If-None-Match %q", r.Header.Get("If-None-Match"))
				}
				conditional++
				w.WriteHeader(http.StatusNotModified)
			})
		}
		s.start(t, func(o *jwthttp.JWKSOptions) { o.MaxStale = time.Hour })
		if err := s.set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		answer()
		token := s.Token(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()})
		time.Sleep(10 * time.Hour)
		s.check(t, "after hours of 304", token, admitted)
		if full != 1 || conditional < 30 {
			t.Errorf("%d full answers, %d conditional ones", full, conditional)
		}
	})
}

func TestACacheHeaderMayShortenTheRefreshInterval(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                       15 * time.Minute,
		"max-age=60":             time.Minute,
		"public, Max-Age=120":    2 * time.Minute,
		"max-age=1":              10 * time.Second,
		"max-age=0, no-store":    15 * time.Minute,
		"max-age=86400":          15 * time.Minute,
		"max-age=x":              15 * time.Minute,
		"max-age=99999999999999": 15 * time.Minute,
	} {
		bubble(t, header, func(t *testing.T) {
			s := &served{Issuer: jwthttptest.New(t, "ES256")}
			full := s.Client().Transport
			ctx, end := context.WithCancel(t.Context())
			defer end()
			client := &http.Client{Transport: withHeader{full, "Cache-Control", header}}
			if _, err := jwthttp.NewJWKS(ctx, s.KeySetURL(), jwthttp.JWKSOptions{Client: client}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(want * 9 / 10)
			if s.Fetches() > 2 || s.Fetches() < 1 {
				t.Errorf("%d fetches before %v", s.Fetches(), want)
			}
			time.Sleep(want/10 + time.Second)
			if s.Fetches() != 2 {
				t.Errorf("%d fetches after %v", s.Fetches(), want)
			}
		})
	}
}

type withHeader struct {
	next        http.RoundTripper
	name, value string
}

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(r)
	if err == nil {
		resp.Header.Set(h.name, h.value)
	}
	return resp, err
}

// Keys serve until MaxStale after the end, for a graceful shutdown, and no
// goroutine is left.
func TestTheEndOfAJWKS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, func(o *jwthttp.JWKSOptions) { o.MaxStale = time.Hour })
		token := s.Token(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()})
		s.end()
		synctest.Wait()
		s.check(t, "after the end", token, admitted)
		s.Rotate()
		s.check(t, "a new key after the end", s.Token(nil), noKeys)
		if err := s.set.Refresh(t.Context()); err == nil {
			t.Error("refreshed after the end")
		}
		time.Sleep(time.Hour + 1)
		s.check(t, "after MaxStale", token, noKeys)
		if s.Fetches() != 1 || s.errors.Load() != 0 {
			t.Errorf("%d fetches, %d errors reported", s.Fetches(), s.errors.Load())
		}

		ended, end := context.WithCancel(context.Background())
		end()
		never, err := jwthttp.NewJWKS(ended, s.KeySetURL(), jwthttp.JWKSOptions{Client: &http.Client{Transport: failingTransport{}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := never.Ready(t.Context()); err == nil {
			t.Error("ready after the end")
		}
	})
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	issuer := jwthttptest.Start(t, "ES256")
	ctx, end := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		set, err := jwthttp.DiscoverJWKS(ctx, issuer.Name(), jwthttp.JWKSOptions{Client: client})
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
	for runtime.NumGoroutine() > before+4 { // the server's own
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestRefreshWaitsForAFetchThatBeganAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		s.Slow(time.Second)
		go func() { _ = s.set.Refresh(context.Background()) }()
		synctest.Wait() // that one is on its way
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
}

// discovery answers what a map says, and 404 for the rest.
type discovery map[string]string

// discovering guards every discovery: tests change them under running fetches.
var discovering sync.Mutex

func (d discovery) client(asked *[]string) *http.Client {
	return &http.Client{Transport: statusTrip(func(r *http.Request) (int, string) {
		discovering.Lock()
		defer discovering.Unlock()
		*asked = append(*asked, r.URL.String())
		if etag := r.Header.Get("If-None-Match"); etag != "" && etag != r.URL.Host {
			return http.StatusNotModified, "" // the tag is another address's
		}
		if body, ok := d[r.URL.String()]; ok {
			return http.StatusOK, body
		}
		return http.StatusNotFound, "not here"
	})}
}

type statusTrip func(*http.Request) (int, string)

func (rt statusTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := rt(r)
	return &http.Response{StatusCode: status, Header: http.Header{"Etag": {r.URL.Host}}, Body: ioNop(body), Request: r}, nil
}

func TestDiscovery(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	w := newRecorder()
	r, _ := http.NewRequest(http.MethodGet, issuer.KeySetURL(), nil)
	issuer.ServeHTTP(w, r)
	keys := w.body.String()
	metadata := func(issuer, uri string) string {
		b, _ := json.Marshal(map[string]string{"issuer": issuer, "jwks_uri": uri})
		return string(b)
	}
	const name, uri = "https://issuer.test/tenant", "https://keys.test/set"
	const oidc, oauth = name + "/.well-known/openid-configuration", "https://issuer.test/.well-known/oauth-authorization-server/tenant"
	for _, tt := range []struct {
		name string
		d    discovery
		ok   bool
	}{
		{"OpenID Connect", discovery{oidc: metadata(name, uri), uri: keys}, true},
		{"RFC 8414", discovery{oauth: metadata(name, uri), uri: keys}, true},
		{"nothing there", discovery{uri: keys}, false},
		{"another issuer", discovery{oidc: metadata(name+"/", uri), uri: keys}, false},
		{"another issuer, but RFC 8414", discovery{oidc: metadata("x", uri), oauth: metadata(name, uri), uri: keys}, true},
		{"no issuer", discovery{oidc: metadata("", uri), uri: keys}, false},
		{"HTML", discovery{oidc: "<html>", uri: keys}, false},
		{"no jwks_uri", discovery{oidc: metadata(name, ""), uri: keys}, false},
		{"a jwks_uri over http", discovery{oidc: metadata(name, "http://keys.test/set"), "http://keys.test/set": keys}, false},
		{"a jwks_uri over http on loopback, of an https issuer", discovery{oidc: metadata(name, "http://127.0.0.1/set"), "http://127.0.0.1/set": keys}, false},
		{"a jwks_uri of another case of http", discovery{oidc: metadata(name, "HTTP://127.0.0.1/set"), "http://127.0.0.1/set": keys}, false},
		{"a jwks_uri that is a file", discovery{oidc: metadata(name, "file:///etc/keys")}, false},
		{"no keys there", discovery{oidc: metadata(name, uri)}, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var asked []string
			ctx, end := context.WithCancel(t.Context())
			defer end()
			set, err := jwthttp.DiscoverJWKS(ctx, name, jwthttp.JWKSOptions{Client: tt.d.client(&asked)})
			if err != nil {
				t.Fatal(err)
			}
			within, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := set.Ready(within); (err == nil) != tt.ok {
				t.Errorf("ready: %v after %q", err, asked)
			}
			iss := issuerWith(set, "ES256")
			iss.Name = name
			want := noKeys
			if tt.ok {
				want = admitted
			}
			token := issuer.Token(map[string]any{"iss": name, "aud": audienceName})
			checkVerdict(t, mustNew[testClaims](t, options(iss)), get(bearer(token)), want)

			iss.Name = "https://other.test"
			if _, err := jwthttp.New[testClaims](options(iss)); err == nil || !strings.Contains(err.Error(), "discovered for another issuer") {
				t.Errorf("accepted for another issuer: %v", err)
			}
		})
	}
}

// The address is looked up again in the background, and after a failure.
func TestAMovedKeySetIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		keys := func() string {
			w := newRecorder()
			r, _ := http.NewRequest(http.MethodGet, issuer.KeySetURL(), nil)
			issuer.ServeHTTP(w, r)
			return w.body.String()
		}
		const document = "https://issuer.test/.well-known/openid-configuration"
		d := discovery{document: `{"issuer":"https://issuer.test","jwks_uri":"https://a.test/"}`, "https://a.test/": keys()}
		var asked []string
		ctx, end := context.WithCancel(t.Context())
		defer end()
		set, err := jwthttp.DiscoverJWKS(ctx, issuer.Name(), jwthttp.JWKSOptions{Client: d.client(&asked)})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		trusted := issuer.Trusted()
		trusted.Keys = set
		m := mustNew[testClaims](t, options(trusted))
		issuer.Rotate()
		discovering.Lock()
		d["https://a.test/"] = keys()
		discovering.Unlock()
		if got := verdict(m, get(bearer(issuer.Token(nil)))); got != admitted || len(asked) != 3 {
			t.Errorf("%q after %q: a request asks for the keys only", got, asked)
		}
		move := func(from, to string) {
			discovering.Lock()
			defer discovering.Unlock()
			issuer.Rotate()
			delete(d, from)
			d[document] = `{"issuer":"https://issuer.test","jwks_uri":"` + to + `"}`
			d[to] = keys()
		}
		move("https://a.test/", "https://b.test/")
		time.Sleep(15 * time.Minute)
		if got := verdict(m, get(bearer(issuer.Token(nil)))); got != admitted {
			t.Errorf("%q after %q", got, asked)
		}
		move("https://b.test/", "https://c.test/")
		token := issuer.Token(nil)
		if got := verdict(m, get(bearer(token))); got != noKeys {
			t.Errorf("%q from an address that is gone", got)
		}
		time.Sleep(10 * time.Second)
		if got := verdict(m, get(bearer(token))); got != admitted {
			t.Errorf("%q after %q", got, asked)
		}
	})
}

// Rule 34 for tokens without kid, and for a kid that gets another key.
func TestANewKeyWithoutAKidOfItsOwnIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		noKid := map[string]any{"kid": nil}
		claims := map[string]any{"iss": s.Name(), "aud": jwthttptest.Audience, "exp": time.Now().Add(time.Hour).Unix()}
		old := s.Sign(noKid, claims)
		s.check(t, "the first key", old, admitted)
		time.Sleep(time.Minute)
		kid := s.Publish()
		time.Sleep(10 * time.Second)
		s.Use(kid)
		s.check(t, "the second key", s.Sign(noKid, claims), admitted)
		s.check(t, "the first key still", old, admitted)

		// 1,000 forged ones in a second cause no fetch but the one that is due.
		time.Sleep(10 * time.Second)
		fetches := s.Fetches()
		for range 1000 {
			s.check(t, "forged", s.Forged(nil), invalid+"signature")
			time.Sleep(time.Millisecond)
		}
		if got := s.Fetches() - fetches; got != 1 {
			t.Errorf("%d fetches", got)
		}
		s.Down(true)
		time.Sleep(time.Minute)
		s.check(t, "forged, while the server is down", s.Forged(nil), invalid+"signature")
	})
}

// Metadata that fails does not take the keys with it.
func TestKeysAreFetchedWhileTheMetadataFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		var failing atomic.Bool
		var reported atomic.Int64
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if failing.Load() && strings.Contains(r.URL.Path, "well-known") {
				return nil, errors.New("no metadata")
			}
			return issuer.Client().Transport.RoundTrip(r)
		})}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		set, err := jwthttp.DiscoverJWKS(ctx, issuer.Name(), jwthttp.JWKSOptions{Client: client, MaxStale: time.Hour, OnError: func(error) { reported.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		trusted := issuer.Trusted()
		trusted.Keys = set
		m := mustNew[jwt.MapClaims](t, options(trusted))
		failing.Store(true)
		time.Sleep(3 * time.Hour)
		issuer.Rotate()
		if got := verdict(m, get(bearer(issuer.Token(nil)))); got != admitted || reported.Load() == 0 {
			t.Errorf("verdict %q, %d errors reported", got, reported.Load())
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (rt roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return rt(r) }

func TestManyCallsOfRefreshShareFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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

// However short the intervals, a failing server is not stormed.
func TestTinyIntervalsMakeNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Down(true)
		s.start(t, func(o *jwthttp.JWKSOptions) { o.MinInterval, o.RefreshInterval, o.MaxStale = 1, 1, 1 })
		time.Sleep(time.Second)
		if n := s.Fetches(); n > 120 {
			t.Errorf("%d fetches in a second", n)
		}
	})
}

// BenchmarkKeySource shows what a JWKS costs beyond a KeySet, serial and
// parallel.
func BenchmarkKeySource(b *testing.B) {
	issuer := jwthttptest.New(b, "ES256")
	ctx, end := context.WithCancel(context.Background())
	defer end()
	set, err := jwthttp.NewJWKS(ctx, issuer.KeySetURL(), jwthttp.JWKSOptions{Client: issuer.Client()})
	if err != nil {
		b.Fatal(err)
	}
	if err := set.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	token := issuer.Token(nil)
	found, err := set.KeyfuncCtx(ctx)(&jwt.Token{Method: jwt.SigningMethodES256, Header: map[string]any{"kid": issuer.KeyID()}})
	if err != nil {
		b.Fatal(err)
	}
	for _, source := range []struct {
		name string
		keys jwthttp.KeySource
	}{
		{"KeySet", jwthttp.KeySet{issuer.KeyID(): found.(jwt.VerificationKeySet).Keys[0]}},
		{"JWKS", set},
	} {
		trusted := issuer.Trusted()
		trusted.Keys = source.keys
		opts := options(trusted)
		opts.CacheSize = 0
		m := mustNew[testClaims](b, opts)
		b.Run("serial/"+source.name, func(b *testing.B) {
			r := get(bearer(token))
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
				r := get(bearer(token))
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
