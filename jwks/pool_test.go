package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
)

// hosts are the key servers of many issuers. They have the same key, and each
// answers as it is told.
type hosts struct {
	mu      sync.Mutex
	fetched map[string][]time.Time                                 // key sets by host
	answers map[string]func(*http.Request) (*http.Response, error) // by host; absent: the key set
	errors  []error
}

func newHosts() *hosts {
	return &hosts{fetched: map[string][]time.Time{}, answers: map[string]func(*http.Request) (*http.Response, error){}}
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Host
	h.mu.Lock()
	respond := h.answers[host]
	if strings.HasSuffix(r.URL.Path, "/keys") {
		h.fetched[host] = append(h.fetched[host], time.Now())
	}
	h.mu.Unlock()
	switch {
	case respond != nil:
		return respond(r)
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		return answer(r, http.StatusOK, fmt.Sprintf(`{"issuer":"https://%s","jwks_uri":"https://%[1]s/keys"}`, host)), nil
	}
	return answer(r, http.StatusOK, jwkSet(edJWK(`,"kid":"k"`))), nil
}

func (h *hosts) becomes(host string, respond func(*http.Request) (*http.Response, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[host] = respond
}

func (h *hosts) fetches(host string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.fetched[host])
}

func (h *hosts) onError(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors = append(h.errors, err)
}

func (h *hosts) reported() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.errors)
}

// pool returns a Pool whose context the test's end cancels.
func (h *hosts) pool(t testing.TB, opts jwks.PoolOptions) *jwks.Pool {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	opts.Client, opts.OnError = &http.Client{Transport: h}, h.onError
	p, err := jwks.NewPool(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tenantIssuer(keys jwthttp.KeySource, host string) jwthttp.Issuer {
	return jwthttp.Issuer{Name: "https://" + host, Audience: []string{"api"}, Algorithms: []string{"EdDSA"}, Keys: keys}
}

// poolMiddleware finds every tenant whose host does not begin with "x", by Discover.
func poolMiddleware(t testing.TB, p *jwks.Pool) *jwthttp.Middleware {
	t.Helper()
	m, err := jwthttp.New[struct{}](jwthttp.Options{FindIssuer: func(_ context.Context, name string) (*jwthttp.Issuer, error) {
		host := strings.TrimPrefix(name, "https://")
		if strings.HasPrefix(host, "x") {
			return nil, nil
		}
		issuer := tenantIssuer(p.Discover(name), host)
		return &issuer, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tenantToken(t *testing.T, host, kid string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodEdDSA, testKeys().ed, kid, jwt.MapClaims{"iss": "https://" + host, "aud": "api", "exp": time.Now().Add(1000 * time.Hour).Unix()})
}

func TestPool_sets(t *testing.T) {
	bubble(t, "a set is fetched by the first token", func(t *testing.T) {
		h := newHosts()
		p := h.pool(t, jwks.PoolOptions{})
		m := poolMiddleware(t, p)
		p.Discover("https://a.test")
		p.Keys("https://a.test/keys")
		time.Sleep(time.Hour)
		if h.fetches("a.test") != 0 {
			t.Error("fetched without a token")
		}
		for range 3 {
			if got := verdict(m, tenantToken(t, "a.test", "k")); got != admitted {
				t.Error(got)
			}
			time.Sleep(time.Minute) // FindIssuer makes another source of the same set
		}
		if h.fetches("a.test") != 1 {
			t.Errorf("%d fetches", h.fetches("a.test"))
		}
	})
	bubble(t, "a name that FindIssuer does not have is not fetched", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{}))
		if got := verdict(m, tenantToken(t, "x.test", "k")); got != "401 invalid_token issuer" || len(h.fetched) != 0 {
			t.Error(got, h.fetched)
		}
	})
	bubble(t, "a URL and an issuer are different sets", func(t *testing.T) {
		h := newHosts()
		p := h.pool(t, jwks.PoolOptions{})
		for _, keys := range []jwthttp.KeySource{p.Discover("https://a.test"), p.Keys("https://a.test/keys"), p.Keys("https://a.test/other/keys"), p.Keys("https://a.test/keys")} {
			if got := verdict(newMiddleware(t, tenantIssuer(keys, "a.test")), tenantToken(t, "a.test", "k")); got != admitted {
				t.Error(got)
			}
		}
		if h.fetches("a.test") != 3 {
			t.Errorf("%d fetches", h.fetches("a.test"))
		}
	})
	bubble(t, "golang-jwt's parser", func(t *testing.T) {
		keys := newHosts().pool(t, jwks.PoolOptions{}).Keys("https://a.test/keys")
		token, err := jwt.Parse(tenantToken(t, "a.test", "k"), keys.KeyfuncCtx(t.Context()))
		if err != nil || !token.Valid {
			t.Error(err)
		}
	})
}

// What happens to one issuer concerns no other. Rule 66
func TestPool_independence(t *testing.T) {
	refused := func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
	for _, tt := range []struct {
		name    string
		server  func(*http.Request) (*http.Response, error)
		kid     string
		want    string // of the tokens of a.test
		fetches int    // of a.test, at most
	}{
		{"a dead server", refused, "k", noKeys, 0},
		{"a server that hangs", hang, "k", noKeys, 0},
		{"another issuer's metadata", func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusOK, `{"issuer":"https://b.test","jwks_uri":"https://b.test/keys"}`), nil
		}, "k", noKeys, 0},
		{"unknown keys", nil, "unknown", unknownKey, 12},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			h := newHosts()
			h.becomes("a.test", tt.server)
			m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{}))
			bad, good := tenantToken(t, "a.test", tt.kid), tenantToken(t, "b.test", "k")
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				if got, err := authenticate(ctx, m, bad); got != tt.want {
					t.Errorf("%s (%v), want %s", got, err, tt.want)
				}
				cancel()
				before := time.Now()
				if got := verdict(m, good); got != admitted || time.Since(before) > 0 {
					t.Errorf("the other issuer: %s after %v", got, time.Since(before))
				}
				time.Sleep(time.Second)
			}
			if n := h.fetches("a.test"); n > tt.fetches {
				t.Errorf("%d fetches", n)
			}
			if n := h.fetches("b.test"); n != 1 {
				t.Errorf("%d fetches of the other issuer", n)
			}
		})
	}
}

// A key is replaced under its name. Rule 66
func TestPool_replacedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{}))
		h.becomes("a.test", func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/keys") {
				return answer(r, http.StatusOK, jwkSet(strings.Replace(edJWK(`,"kid":"k"`), b64(testKeys().ed[32:]), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", 1))), nil // RFC 8037 A.2
			}
			return answer(r, http.StatusOK, `{"issuer":"https://a.test","jwks_uri":"https://a.test/keys"}`), nil
		})
		token := tenantToken(t, "a.test", "k")
		if got := verdict(m, token); got != signature {
			t.Errorf("the other key: %s", got)
		}
		h.becomes("a.test", nil)
		time.Sleep(10 * time.Second)
		if got := verdict(m, token); got != admitted {
			t.Errorf("the new key: %s", got)
		}
	})
}

func TestPool_idle(t *testing.T) {
	bubble(t, "a set that no token needs is not refreshed", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{IdleAfter: 2 * time.Hour}))
		idle, busy := tenantToken(t, "a.test", "k"), tenantToken(t, "b.test", "k")
		verdict(m, idle)
		for range 24 * 60 {
			verdict(m, busy)
			time.Sleep(time.Minute)
		}
		// 15 minutes, less up to a half.
		if n := h.fetches("a.test"); n < 8 || n > 18 {
			t.Errorf("%d fetches of a set that is used once", n)
		}
		if n := h.fetches("b.test"); n < 96 || n > 193 {
			t.Errorf("%d fetches of a set that is in use", n)
		}
		before := h.fetches("a.test")
		if got := verdict(m, idle); got != admitted || h.fetches("a.test") != before+1 {
			t.Errorf("%s after %d fetches more", got, h.fetches("a.test")-before)
		}
	})
	bubble(t, "a set is kept for an hour by default", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{}))
		token := tenantToken(t, "a.test", "k")
		for range 3 {
			if got := verdict(m, token); got != admitted {
				t.Error(got)
			}
			before := h.fetches("a.test")
			time.Sleep(59 * time.Minute)
			if h.fetches("a.test") < before+3 {
				t.Error("not refreshed")
			}
		}
		before := h.fetches("a.test")
		time.Sleep(24 * time.Hour)
		if n := h.fetches("a.test") - before; n > 3 {
			t.Errorf("%d fetches in a day", n)
		}
	})
}

func TestPool_MaxSets(t *testing.T) {
	bubble(t, "the set whose last use is longest ago is dropped", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{MaxSets: 2}))
		for _, host := range []string{"a.test", "b.test", "a.test", "c.test", "a.test", "b.test"} {
			if got := verdict(m, tenantToken(t, host, "k")); got != admitted {
				t.Errorf("%s: %s", host, got)
			}
			time.Sleep(2 * time.Second)
		}
		if got := fmt.Sprint(h.fetches("a.test"), h.fetches("b.test"), h.fetches("c.test")); got != "1 2 1" {
			t.Errorf("fetches %s", got)
		}
		time.Sleep(40 * time.Minute)
		if h.fetches("c.test") != 1 {
			t.Error("a dropped set is refreshed")
		}
	})
	bubble(t, "a set that was used once is newer than one that was used before", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{MaxSets: 2}))
		for _, host := range []string{"a.test", "a.test", "b.test", "c.test", "b.test"} {
			time.Sleep(2 * time.Second)
			if got := verdict(m, tenantToken(t, host, "k")); got != admitted {
				t.Errorf("%s: %s", host, got)
			}
		}
		if n := h.fetches("b.test"); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
	bubble(t, "there are never more", func(t *testing.T) {
		h := newHosts()
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{MaxSets: 50, IdleAfter: 24 * time.Hour}))
		for i := range 200 {
			verdict(m, tenantToken(t, fmt.Sprint(i, ".test"), "k"))
			time.Sleep(time.Second)
		}
		time.Sleep(15 * time.Minute)
		h.mu.Lock()
		defer h.mu.Unlock()
		refreshed := 0
		for _, times := range h.fetched {
			if len(times) > 1 {
				refreshed++
			}
		}
		if refreshed > 55 { // some were due while they were in the Pool
			t.Errorf("%d sets are refreshed", refreshed)
		}
	})
	bubble(t, "a set that is dropped during its fetch serves who waits", func(t *testing.T) {
		h := newHosts()
		h.becomes("a.test", func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if strings.HasSuffix(r.URL.Path, "/keys") {
				return answer(r, http.StatusOK, jwkSet(edJWK(`,"kid":"k"`))), nil
			}
			return answer(r, http.StatusOK, `{"issuer":"https://a.test","jwks_uri":"https://a.test/keys"}`), nil
		})
		m := poolMiddleware(t, h.pool(t, jwks.PoolOptions{MaxSets: 1}))
		token, done := tenantToken(t, "a.test", "k"), make(chan string)
		go func() { done <- verdict(m, token) }()
		time.Sleep(time.Millisecond)
		if got := verdict(m, tenantToken(t, "b.test", "k")); got != admitted {
			t.Error(got)
		}
		if got := <-done; got != admitted {
			t.Errorf("who waited: %s", got)
		}
		time.Sleep(40 * time.Minute)
		if n := h.fetches("a.test"); n != 1 {
			t.Errorf("%d fetches", n)
		}
		if len(h.reported()) != 0 {
			t.Error(h.reported())
		}
	})
}

// A KeySource does not keep the keys of a set that was dropped.
func TestPool_MaxSets_memory(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "%s,", edJWK(fmt.Sprintf(`,"kid":"%d"`, i)))
	}
	h := newHosts()
	text := tenantToken(t, "a.test", "k")
	const sets = 40
	for i := range sets {
		h.becomes(fmt.Sprint(i, ".test"), func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusOK, jwkSet(many.String()+edJWK(`,"kid":"k"`))), nil
		})
	}
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	fill := func(p *jwks.Pool) (sources []jwthttp.KeySource) {
		for i := range sets {
			sources = append(sources, p.Keys(fmt.Sprintf("https://%d.test/keys", i)))
			if _, err := jwt.Parse(text, sources[i].KeyfuncCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		return sources
	}
	before := memory()
	large, small := h.pool(t, jwks.PoolOptions{MaxSets: sets}), h.pool(t, jwks.PoolOptions{MaxSets: 1})
	kept := fill(large)
	all := memory() - before
	dropped := fill(small)
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) { // until the last fetches have ended
		more := memory() - before - all
		if more < all/2 {
			break
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d sets have %d bytes, and as many that were dropped have %d", sets, all, more)
		}
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(dropped)
}

// A failing key server does not close idle connections of the program.
func TestNewPool_connections(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound) // no key set
	}))
	defer server.Close()
	reused := false
	request := func() {
		trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		r, err := http.NewRequestWithContext(trace, "GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
	}
	h := newHosts()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	own, err := jwks.NewPool(ctx, jwks.PoolOptions{Options: jwks.Options{OnError: h.onError}})
	if err != nil {
		t.Fatal(err)
	}
	request()
	if _, err := jwt.Parse(tenantToken(t, "a.test", "k"), own.Keys(server.URL+"/keys").KeyfuncCtx(t.Context())); !errors.Is(err, jwthttp.ErrKeysUnavailable) {
		t.Errorf("a server without keys: %v", err)
	}
	request()
	if !reused {
		t.Error("the connection was closed")
	}
}

// Sets that were started at once do not refresh at once.
func TestPool_spread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sets = 1000
		h := newHosts()
		p := h.pool(t, jwks.PoolOptions{})
		start := time.Now()
		for i := range sets {
			keys := p.Keys(fmt.Sprintf("https://%d.test/keys", i))
			if _, err := jwt.Parse(tenantToken(t, "a.test", "k"), keys.KeyfuncCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(15 * time.Minute)
		h.mu.Lock()
		defer h.mu.Unlock()
		seconds := map[time.Duration]int{}
		first, last := time.Hour, time.Duration(0)
		for host, times := range h.fetched {
			if len(times) < 2 {
				t.Fatalf("%s is not refreshed within 15 minutes", host)
			}
			at := times[1].Sub(start)
			seconds[at.Truncate(time.Second)]++
			first, last = min(first, at), max(last, at)
		}
		if last-first < 5*time.Minute {
			t.Errorf("all sets are refreshed between %v and %v", first, last)
		}
		for at, n := range seconds {
			if n > sets/50 {
				t.Errorf("%d fetches in the second after %v", n, at)
			}
		}
	})
}

// Sets wait for their next fetch without goroutines.
func TestPool_goroutines(t *testing.T) {
	const sets = 10000
	h := newHosts()
	p := h.pool(t, jwks.PoolOptions{MaxSets: sets})
	text := tenantToken(t, "a.test", "k")
	before := runtime.NumGoroutine()
	for i := range sets {
		if _, err := jwt.Parse(text, p.Keys(fmt.Sprintf("https://%d.test/keys", i)).KeyfuncCtx(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 100 {
		set, err := jwks.New(ctx, fmt.Sprintf("https://single-%d.test/keys", i), jwks.Options{Client: &http.Client{Transport: h}, OnError: h.onError})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); runtime.NumGoroutine() > before+10; <-time.After(time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d goroutines more for %d sets", runtime.NumGoroutine()-before, sets+100)
		}
	}
}

// The timers of its sets do not keep a Pool in memory whose context has ended.
func TestPool_memoryAfterEnd(t *testing.T) {
	freed, ended := make(chan struct{}), make(chan struct{})
	func() {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := jwks.NewPool(ctx, jwks.PoolOptions{Options: jwks.Options{
			Client: &http.Client{Transport: newHosts()}, OnError: func(error) { close(ended) },
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jwt.Parse(tenantToken(t, "a.test", "k"), p.Keys("https://a.test/keys").KeyfuncCtx(t.Context())); err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(p, func(freed chan struct{}) { close(freed) }, freed)
		cancel()
		<-ended
	}()
	for start := time.Now(); ; {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-time.After(time.Millisecond):
			if time.Since(start) > 30*time.Second {
				t.Fatal("still in memory")
			}
		}
	}
}

// Tenants are added, dropped and given other keys while requests come, and sets are
// dropped. No token is accepted that was refused before the request for longer than the
// answers and keys are kept. Rules 63, 66
func TestPool_underLoad(t *testing.T) {
	const names, ttl, refresh = 12, 5 * time.Millisecond, 20 * time.Millisecond
	h := newHosts()
	p := h.pool(t, jwks.PoolOptions{MaxSets: names / 2, IdleAfter: 50 * time.Millisecond,
		Options: jwks.Options{RefreshInterval: refresh, MinInterval: time.Millisecond}})
	var tenants [names]struct {
		sync.Mutex
		dropped bool
		refused time.Time // since when its token must be refused; zero: it is good
		token   string
	}
	number := func(host string) (i int) {
		_, _ = fmt.Sscanf(host, "%d.test", &i)
		return i
	}
	m, err := jwthttp.New[struct{}](jwthttp.Options{IssuerTTL: ttl, CacheSize: 100, FindIssuer: func(_ context.Context, name string) (*jwthttp.Issuer, error) {
		host := strings.TrimPrefix(name, "https://")
		tenant := &tenants[number(host)]
		tenant.Lock()
		defer tenant.Unlock()
		if tenant.dropped {
			return nil, nil
		}
		issuer := tenantIssuer(p.Keys(name+"/keys"), host)
		return &issuer, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	const other = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8037 A.2
	for i := range tenants {
		tenants[i].token = tenantToken(t, fmt.Sprint(i, ".test"), "k")
		h.becomes(fmt.Sprint(i, ".test"), func(r *http.Request) (*http.Response, error) {
			tenant := &tenants[i]
			tenant.Lock()
			defer tenant.Unlock()
			key := edJWK(`,"kid":"k"`)
			if !tenant.dropped && !tenant.refused.IsZero() {
				key = strings.Replace(key, b64(testKeys().ed[32:]), other, 1)
			}
			return answer(r, http.StatusOK, jwkSet(key)), nil
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var good atomic.Int64
	for worker := range 4 {
		all.Go(func() {
			for i := worker; ctx.Err() == nil; i = (i + 5) % names {
				tenant := &tenants[i]
				tenant.Lock()
				refused, dropped := tenant.refused, tenant.dropped
				tenant.Unlock()
				asked := time.Now()
				if verdict(m, tenant.token) != admitted {
					continue
				}
				good.Add(1)
				if dropped && asked.Sub(refused) > ttl {
					tenant.Lock()
					if tenant.dropped && tenant.refused.Equal(refused) {
						t.Errorf("tenant %d is admitted %v after it was dropped", i, asked.Sub(refused))
					}
					tenant.Unlock()
				}
			}
		})
	}
	for n := range 1000 {
		tenant := &tenants[n*5%names]
		tenant.Lock()
		switch phase := n / names / 4 % 3; { // each is longer than the answers are kept
		case phase == 0: // added
			tenant.dropped, tenant.refused = false, time.Time{}
		case phase == 1 && tenant.refused.IsZero(): // another key under the same name
			tenant.refused = time.Now()
		case phase == 2 && !tenant.dropped:
			tenant.dropped, tenant.refused = true, time.Now()
		}
		tenant.Unlock()
		<-time.After(200 * time.Microsecond) // at least 9 ms a phase
	}
	cancel()
	all.Wait()
	if good.Load() == 0 {
		t.Error("nothing was admitted")
	}
}

func TestNewPool_problems(t *testing.T) {
	deadline, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		opts jwks.PoolOptions
		want []string
	}{
		{"a context with a deadline", deadline, jwks.PoolOptions{}, []string{"ctx"}},
		{"no context", nil, jwks.PoolOptions{}, []string{"ctx"}},
		{"negative sizes", t.Context(), jwks.PoolOptions{MaxSets: -1, IdleAfter: -1}, []string{"MaxSets", "IdleAfter"}},
		{"options of the sets", t.Context(), jwks.PoolOptions{Options: jwks.Options{Timeout: -1, MaxBytes: -1}}, []string{"PoolOptions.Timeout", "PoolOptions.MaxBytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := jwks.NewPool(tt.ctx, tt.opts)
			if p != nil || err == nil {
				t.Fatal("no error, or a Pool")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %s", err, part)
				}
			}
		})
	}
}

// An address that can never serve keys is a problem of the Issuer.
func TestPool_addresses(t *testing.T) {
	h := newHosts()
	p := h.pool(t, jwks.PoolOptions{})
	for _, tt := range []struct {
		name string
		keys jwthttp.KeySource
		want string // in the error; empty: none
	}{
		{"a URL", p.Keys("https://a.test/keys?tenant=1"), ""},
		{"no URL", p.Keys(""), "URL is empty"},
		{"plain http", p.Keys("http://a.test/keys"), "want https"},
		{"an issuer", p.Discover("https://a.test"), ""},
		{"no issuer", p.Discover(""), "URL is empty"},
		{"an issuer with a query", p.Discover("https://a.test?x=1"), "without user and query"},
		{"a name that is no URL", p.Discover("a.test"), "want an absolute URL"},
		{"another issuer", p.Discover("https://b.test"), "discovered from another issuer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jwthttp.New[struct{}](jwthttp.Options{Issuers: []jwthttp.Issuer{tenantIssuer(tt.keys, "a.test")}})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if tt.want == "" || strings.Contains(tt.want, "discovered") {
				return
			}
			_, err = jwt.Parse(sign(t, jwt.SigningMethodEdDSA, testKeys().ed, "k", nil), tt.keys.KeyfuncCtx(t.Context()))
			if !errors.Is(err, jwthttp.ErrKeysUnavailable) {
				t.Errorf("golang-jwt's parser: %v", err)
			}
		})
	}
	if len(h.fetched) != 0 {
		t.Error("fetched", h.fetched)
	}
}

func TestPool_end(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		ctx, cancel := context.WithCancel(t.Context())
		p, err := jwks.NewPool(ctx, jwks.PoolOptions{Options: jwks.Options{Client: &http.Client{Transport: h}, OnError: h.onError}})
		if err != nil {
			t.Fatal(err)
		}
		m := poolMiddleware(t, p)
		token := tenantToken(t, "a.test", "k")
		verdict(m, token)
		verdict(m, tenantToken(t, "b.test", "k"))
		cancel()
		time.Sleep(5 * time.Minute)
		if got := verdict(m, token); got != admitted {
			t.Errorf("five minutes later: %s", got)
		}
		time.Sleep(time.Second)
		if got := verdict(m, token); got != noKeys {
			t.Errorf("more than five minutes later: %s", got)
		}
		if got := verdict(m, tenantToken(t, "c.test", "k")); got != noKeys || h.fetches("c.test") != 0 {
			t.Errorf("an issuer that was not there: %s", got)
		}
		time.Sleep(24 * time.Hour)
		if n := h.fetches("a.test"); n != 1 {
			t.Errorf("%d fetches", n)
		}
		if got := fmt.Sprint(h.reported()); len(h.reported()) != 1 || !strings.Contains(got, "context has ended") {
			t.Errorf("OnError got %s", got)
		}
	})
}

func TestPool_printing(t *testing.T) {
	p := newHosts().pool(t, jwks.PoolOptions{})
	for _, v := range []any{p, p.Keys("https://user:hunter2@a.test/keys?key=hunter2"), jwthttp.Issuer{Keys: p.Keys("https://user:hunter2@a.test/keys?key=hunter2")}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
				t.Errorf("%s shows a secret: %s", verb, got)
			}
		}
	}
	if got := fmt.Sprint(p.Keys("https://a.test/keys")); got != "key set of https://a.test/keys" {
		t.Error(got)
	}
}
