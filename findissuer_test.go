package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// tenants is a FindIssuer of tenants that come and go.
type tenants struct {
	mu    sync.Mutex
	known map[string]jwthttp.Issuer
	err   error
	asked []string
}

func newTenants(names ...string) *tenants {
	s := &tenants{known: map[string]jwthttp.Issuer{}}
	for _, name := range names {
		s.add(name, func(*jwthttp.Issuer) {})
	}
	return s
}

func (s *tenants) add(name string, change func(*jwthttp.Issuer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	issuer := newIssuer()
	issuer.Name = name
	change(&issuer)
	s.known[name] = issuer
}

func (s *tenants) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}

func (s *tenants) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *tenants) find(_ context.Context, name string) (*jwthttp.Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, name)
	if s.err != nil {
		return nil, s.err
	}
	if issuer, ok := s.known[name]; ok {
		return &issuer, nil
	}
	return nil, nil
}

func (s *tenants) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func tenantOptions(s *tenants) jwthttp.Options { return jwthttp.Options{FindIssuer: s.find} }

func tenantToken(name string) string { return goodToken(map[string]any{"iss": name}) }

const issuersUnavailable = "503 issuers_unavailable"

// Rules 61, 62, 64
func TestOptions_FindIssuer(t *testing.T) {
	long := strings.Repeat("x", 512)
	k := testKeys()
	for _, tt := range []struct {
		name   string
		change func(*tenants, *jwthttp.Options)
		token  string
		want   string
		asked  []string
	}{
		{"a tenant", nil, tenantToken("a"), admitted, []string{"a"}},
		{"no such tenant", nil, tenantToken("c"), invalid + "issuer", []string{"c"}},
		{"a name of 512 bytes", func(s *tenants, _ *jwthttp.Options) { s.add(long, func(*jwthttp.Issuer) {}) }, tenantToken(long), admitted, []string{long}},
		{"a longer name", func(s *tenants, _ *jwthttp.Options) { s.add(long+"x", func(*jwthttp.Issuer) {}) }, tenantToken(long + "x"), invalid + "issuer", nil},
		{"no name", func(s *tenants, _ *jwthttp.Options) { s.add("", func(*jwthttp.Issuer) {}) }, goodToken(map[string]any{"iss": nil}), invalid + "issuer", nil},
		{"the name Any", func(s *tenants, _ *jwthttp.Options) { s.add("*", func(*jwthttp.Issuer) {}) }, tenantToken("*"), invalid + "issuer", nil},
		{"an error", func(s *tenants, _ *jwthttp.Options) { s.fail(errors.New("database is gone")) }, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an error together with an issuer", func(s *tenants, o *jwthttp.Options) {
			o.FindIssuer = func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
				issuer, _ := s.find(ctx, name)
				return issuer, errors.New("read half of it")
			}
		}, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an issuer of another name", func(s *tenants, _ *jwthttp.Options) { s.add("a", func(i *jwthttp.Issuer) { i.Name = "b" }) }, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an issuer of any name", func(s *tenants, _ *jwthttp.Options) { s.add("a", func(i *jwthttp.Issuer) { i.Name = jwthttp.Any }) }, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an issuer without algorithm", func(s *tenants, _ *jwthttp.Options) { s.add("a", func(i *jwthttp.Issuer) { i.Algorithms = nil }) }, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an issuer without audience", func(s *tenants, _ *jwthttp.Options) { s.add("a", func(i *jwthttp.Issuer) { i.Audience = nil }) }, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"an issuer with a weak key", func(s *tenants, _ *jwthttp.Options) {
			s.add("a", func(i *jwthttp.Issuer) { i.Keys = jwthttp.StaticKey([]byte("short")) })
		}, tenantToken("a"), issuersUnavailable, []string{"a"}},
		{"Issuers wins", func(s *tenants, o *jwthttp.Options) {
			static := newIssuer()
			static.Name, static.Audience = "a", []string{"another service"}
			o.Issuers = []jwthttp.Issuer{static}
		}, tenantToken("a"), invalid + "audience", nil},
		{"an algorithm that the tenant does not accept", nil, signHS256(`{"alg":"HS384"}`, claimsJSON(map[string]any{"iss": "a"})), invalid + "algorithm", []string{"a"}},
		{"an algorithm that does not exist", nil, signHS256(`{"alg":"none"}`, claimsJSON(map[string]any{"iss": "a"})), invalid + "algorithm", nil},
		{"a public-key algorithm", func(s *tenants, _ *jwthttp.Options) {
			s.add("a", func(i *jwthttp.Issuer) {
				i.Algorithms, i.Keys = []string{"ES256"}, jwthttp.StaticKey(&k.p256.PublicKey)
			})
		}, signChanged(t, jwt.SigningMethodES256, k.p256, "", map[string]any{"iss": "a"}), admitted, []string{"a"}},
		{"junk", nil, "a.b", invalid + "malformed", nil},
		{"a token that is too large", func(_ *tenants, o *jwthttp.Options) { o.MaxTokenSize = 10 }, tenantToken("a"), invalid + "too_large", nil},
		{"the audience of the tenant", func(s *tenants, _ *jwthttp.Options) {
			s.add("a", func(i *jwthttp.Issuer) { i.Audience = []string{"another service"} })
		}, tenantToken("a"), invalid + "audience", []string{"a"}},
		{"the key of the tenant", func(s *tenants, _ *jwthttp.Options) {
			s.add("a", func(i *jwthttp.Issuer) { i.Keys = jwthttp.StaticKey([]byte(strings.Repeat("other", 10))) })
		}, tenantToken("a"), invalid + "signature", []string{"a"}},
		{"padded segments", nil, paddedToken("a"), "400 invalid_request malformed", []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenants("a", "b")
				opts := tenantOptions(s)
				if tt.change != nil {
					tt.change(s, &opts)
				}
				checkVerdict(t, mustNew[testClaims](t, opts), newRequest(withBearer(tt.token)), tt.want)
				if !slices.Equal(s.asked, tt.asked) {
					t.Errorf("asked for %.20q, want %.20q", s.asked, tt.asked)
				}
			})
		})
	}
}

// paddedToken has padding in its payload.
func paddedToken(issuer string) string {
	claims := claimsJSON(map[string]any{"iss": issuer})
	claims += strings.Repeat(" ", (4-len(claims)%3)%3) // one byte more than a multiple of three
	signed := b64(goodHeader) + "." + b64(claims) + "=="
	return signed + "." + b64(hs256(signed))
}

// PaddedSegments is an option of each tenant.
func TestOptions_FindIssuer_paddedSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenants("a", "bb", "ccc", "dddd")
		for name := range s.known {
			s.add(name, func(i *jwthttp.Issuer) { i.PaddedSegments = true })
		}
		opts := tenantOptions(s)
		opts.Extractor, opts.CacheSize = jwthttp.FromHeader("X-Token", ""), 10
		m := mustNew[testClaims](t, opts)
		for name := range s.known {
			for range 2 {
				checkVerdict(t, m, newRequest(withField("X-Token", paddedToken(name))), admitted)
			}
		}
	})
}

// Rule 63
func TestOptions_FindIssuer_changes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*tenants)
		pause  time.Duration
		want   string
	}{
		{"a dropped tenant within the TTL", func(s *tenants) { s.drop("a") }, 59 * time.Second, admitted},
		{"a dropped tenant", func(s *tenants) { s.drop("a") }, time.Minute, invalid + "issuer"},
		{"other rules", func(s *tenants) { s.add("a", func(i *jwthttp.Issuer) { i.Audience = []string{"x"} }) }, time.Minute, invalid + "audience"},
		{"another key", func(s *tenants) {
			s.add("a", func(i *jwthttp.Issuer) { i.Keys = jwthttp.StaticKey([]byte(strings.Repeat("other", 10))) })
		}, time.Minute, invalid + "signature"},
		{"a failing look-up", func(s *tenants) { s.fail(errors.New("gone")) }, time.Minute, issuersUnavailable},
		{"a failing look-up within the TTL", func(s *tenants) { s.fail(errors.New("gone")) }, 59 * time.Second, admitted},
		{"no change", func(*tenants) {}, time.Minute, admitted},
	} {
		for _, cacheSize := range []int{0, 10} {
			t.Run(fmt.Sprintf("%s, CacheSize %d", tt.name, cacheSize), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newTenants("a")
					opts := tenantOptions(s)
					opts.CacheSize = cacheSize
					m := mustNew[testClaims](t, opts)
					for range 2 {
						checkVerdict(t, m, newRequest(withBearer(tenantToken("a"))), admitted)
					}
					tt.change(s)
					time.Sleep(tt.pause)
					checkVerdict(t, m, newRequest(withBearer(tenantToken("a"))), tt.want)
				})
			})
		}
	}
}

// Rule 63
func TestMiddleware_Watch_droppedTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenants("a")
		opts := tenantOptions(s)
		opts.IssuerTTL = 10 * time.Second
		m := mustNew[testClaims](t, opts)
		admission, err := m.Verify(t.Context(), tenantToken("a"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := m.Watch(admission, 3*time.Second)
		defer cancel()
		s.drop("a")
		start := time.Now()
		<-ctx.Done()
		if took := time.Since(start); took > 13*time.Second {
			t.Errorf("ended after %v", took)
		}
		if got := verdictOf(context.Cause(ctx)); got != invalid+"issuer" {
			t.Error(got)
		}
	})
}

// Rule 62
func TestOptions_FindIssuer_recovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenants("a")
		m := mustNew[testClaims](t, tenantOptions(s))
		s.fail(errors.New("the text of the database"))
		_, err := m.Verify(t.Context(), tenantToken("a"))
		for _, part := range []string{`issuer "a"`, "the text of the database"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v, want %s", err, part)
			}
		}
		res := serve(m, newRequest(withBearer(tenantToken("a"))))
		if strings.Contains(res.Body.String(), "database") || res.Header().Get("Retry-After") == "" {
			t.Errorf("answer %q with %v", res.Body, res.Header())
		}
		s.fail(nil)
		time.Sleep(time.Second)
		checkVerdict(t, m, newRequest(withBearer(tenantToken("a"))), admitted)
	})
}

func TestOptions_FindIssuer_invalidIssuer(t *testing.T) {
	s := newTenants()
	s.add("a", func(i *jwthttp.Issuer) { i.Name, i.Audience, i.Algorithms = "b", nil, []string{"none"} })
	opts := tenantOptions(s)
	var reported error
	opts.Observer = func(_ context.Context, e jwthttp.Event) { reported = e.Err }
	m := mustNew[testClaims](t, opts)
	verdict(m, newRequest(withBearer(tenantToken("a"))))
	for _, part := range []string{"FindIssuer: ", "Name", "Audience", "Algorithms", `issuer "a"`} {
		if !strings.Contains(fmt.Sprint(reported), part) {
			t.Errorf("error %q does not have %q", reported, part)
		}
	}
}

// One client that hangs up is no reason for a 503, and does not disturb others.
func TestOptions_FindIssuer_hangup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenants("a")
		opts := tenantOptions(s)
		opts.FindIssuer = func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Millisecond):
				return s.find(ctx, name)
			}
		}
		m := mustNew[testClaims](t, opts)
		ctx, hangUp := context.WithCancel(t.Context())
		done := make(chan string)
		for _, wait := range []context.Context{ctx, t.Context(), ctx} {
			go func() { done <- verdict(m, newRequest(withBearer(tenantToken("a"))).WithContext(wait)) }()
			synctest.Wait()
		}
		hangUp()
		got := []string{<-done, <-done, <-done}
		slices.Sort(got)
		if want := []string{admitted, admitted, "499 canceled"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q: who asks ends its look-up", got, want)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		defer cancel()
		go verdict(m, newRequest(withBearer(tenantToken("b"))))
		synctest.Wait()
		if got := verdict(m, newRequest(withBearer(tenantToken("b"))).WithContext(short)); got != issuersUnavailable {
			t.Errorf("a deadline of the request: %q", got)
		}
		time.Sleep(time.Second)
	})
}

// Rule 65
func TestOptions_MaxIssuers(t *testing.T) {
	s := newTenants("a", "b")
	opts := tenantOptions(s)
	opts.MaxIssuers = 2
	m := mustNew[map[string]any](t, opts)
	ask := func(name string) {
		t.Helper()
		want := invalid + "issuer"
		if len(name) == 1 {
			want = admitted
		}
		if got := verdict(m, newRequest(withBearer(signHS256(goodHeader, fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":99999999999}`, name, audienceName))))); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	ask("a")
	ask("b")
	for i := range 1000 {
		ask(fmt.Sprint("invented ", i))
	}
	before := s.calls()
	ask("a")
	ask("b")
	if s.calls() != before {
		t.Error("invented names displace tenants")
	}
	for range 2 { // a third tenant takes turns with the others
		s.add("c", func(*jwthttp.Issuer) {})
		ask("a")
		ask("b")
		ask("c")
	}
	if s.calls() == before+1 {
		t.Error("more tenants are kept than MaxIssuers")
	}
}

// By default, 1000 tenants are kept. Rule 65
func TestOptions_MaxIssuers_default(t *testing.T) {
	for _, tt := range []struct {
		tenants int
		again   bool // some are looked up again
	}{{1000, false}, {1001, true}} {
		s := newTenants()
		m := mustNew[struct{}](t, tenantOptions(s))
		for range 2 {
			for i := range tt.tenants {
				name := fmt.Sprint(i)
				s.add(name, func(*jwthttp.Issuer) {})
				checkVerdict(t, m, newRequest(withBearer(signHS256(goodHeader, fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":99999999999}`, name, audienceName)))), admitted)
			}
		}
		if again := s.calls() > tt.tenants; again != tt.again {
			t.Errorf("%d calls for %d tenants", s.calls(), tt.tenants)
		}
	}
}

// Rule 65
func TestOptions_FindIssuer_oneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenants("a")
		opts := tenantOptions(s)
		opts.FindIssuer = func(ctx context.Context, name string) (*jwthttp.Issuer, error) {
			time.Sleep(10 * time.Millisecond)
			return s.find(ctx, name)
		}
		m := mustNew[testClaims](t, opts)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := verdict(m, newRequest(withBearer(tenantToken("a")))); got != admitted {
					t.Error(got)
				}
			})
		}
		all.Wait()
		if s.calls() != 1 {
			t.Errorf("%d calls", s.calls())
		}
	})
}

func TestOptions_FindIssuer_panic(t *testing.T) {
	m := mustNew[testClaims](t, jwthttp.Options{FindIssuer: func(context.Context, string) (*jwthttp.Issuer, error) { panic("mine") }})
	for range 2 {
		func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("recovered %v", p)
				}
			}()
			serve(m, newRequest(withBearer(tenantToken("a"))))
		}()
	}
}

// Tenants are added, dropped and given new keys under load. Rule 63
func TestOptions_FindIssuer_underLoad(t *testing.T) {
	s := newTenants()
	const names, ttl = 20, 5 * time.Millisecond
	opts := tenantOptions(s)
	opts.IssuerTTL, opts.CacheSize, opts.MaxIssuers = ttl, 100, names/2
	m := mustNew[jwt.MapClaims](t, opts)
	tokens := make([]string, names)
	var dropped [names]struct {
		sync.Mutex
		at time.Time
	}
	for i := range tokens {
		tokens[i] = signHS256(goodHeader, fmt.Sprintf(`{"iss":"%d","aud":%q,"exp":99999999999}`, i, audienceName))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	admissions := 0
	for worker := range 4 {
		all.Go(func() {
			for i := worker; ctx.Err() == nil; i = (i + 7) % names {
				asked := time.Now()
				got := verdict(m, newRequest(withBearer(tokens[i])))
				dropped[i].Lock()
				if at := dropped[i].at; got == admitted && !at.IsZero() && asked.Sub(at) > ttl {
					t.Errorf("tenant %d is admitted %v after it was dropped", i, asked.Sub(at))
				}
				if got == admitted && worker == 0 {
					admissions++
				}
				dropped[i].Unlock()
			}
		})
	}
	for n := range 1000 {
		i := n * 13 % names
		dropped[i].Lock()
		switch name, phase := fmt.Sprint(i), n/names/4%3; { // each is longer than the TTL
		case phase == 0:
			s.add(name, func(*jwthttp.Issuer) {})
			dropped[i].at = time.Time{}
		case dropped[i].at.IsZero() && n/names/12%2 == 0: // a key that does not verify the token
			s.add(name, func(i *jwthttp.Issuer) { i.Keys = jwthttp.StaticKey([]byte(strings.Repeat("other", 10))) })
			dropped[i].at = time.Now()
		case dropped[i].at.IsZero():
			s.drop(name)
			dropped[i].at = time.Now()
		}
		dropped[i].Unlock()
		<-time.After(100 * time.Microsecond)
	}
	cancel()
	all.Wait()
	if admissions == 0 {
		t.Error("nothing was admitted")
	}
}

func BenchmarkOptions_FindIssuer(b *testing.B) {
	static := newIssuer()
	static.Name = "a"
	token := signHS256(goodHeader, fmt.Sprintf(`{"iss":"a","aud":%q,"exp":99999999999}`, audienceName))
	for _, tt := range []struct {
		name string
		opts jwthttp.Options
	}{
		{"static", newOptions(static)},
		{"found", tenantOptions(newTenants("a"))},
	} {
		b.Run(tt.name, func(b *testing.B) {
			tt.opts.CacheSize = 10
			m := mustNew[struct{}](b, tt.opts)
			r := newRequest(withBearer(token))
			for b.Loop() {
				if _, err := m.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
