package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

var invented = flag.Int("invented", 30_000, "number of invented names in TestTenThousandTenants")

func TestProgram(t *testing.T) {
	p := exampletest.Start(t, "-ttl", "200ms")
	p.PasteLines(t)
	for path, want := range map[string]int{
		"/": 200, "/issuers/acme/keys": 200, "/issuers/acme/.well-known/openid-configuration": 200,
		"/issuers/hooli/keys": 404, "/hello": 401,
	} {
		if got := p.Status(t, "GET", path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := p.Status(t, "POST", "/drop?name=acme", "Sec-Fetch-Site", "cross-site"); got != 403 {
		t.Errorf("a form of another site: %d", got)
	}
	p.End(t)
}

func TestPage(t *testing.T) {
	ctx := exampletest.Browser(t)
	p := exampletest.Start(t, "-ttl", "1s")
	complained := exampletest.Complaints(ctx)
	shows := func(id, want string) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			var got string
			if err := chromedp.Text("#"+id, &got).Do(ctx); err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("%s shows %q, want %q", id, got, want)
			}
			return nil
		})
	}
	click := func(button string) chromedp.Action { // returns when the next page is there
		return chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := chromedp.RunResponse(ctx, chromedp.Click(button))
			return err
		})
	}
	exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(p.URL+"/"),
		shows("acme-at-acme", "200"), shows("acme-at-globex", "403 forbidden"), shows("globex-at-acme", "403 forbidden"),
		shows("globex-at-globex", "200"), shows("stranger-at-acme", "401 issuer"), shows("fetches", "2"))
	exampletest.Look(t, ctx, "tenants")
	exampletest.Do(t, ctx, chromedp.SetValue("#name", "initech"), click("#add"), chromedp.WaitVisible("#drop-initech"),
		shows("initech-at-initech", "200"), shows("initech-at-acme", "403 forbidden"), shows("fetches", "3"),
		click("#drop-initech"), chromedp.WaitNotPresent("#drop-initech"))
	for start := time.Now(); ; {
		var got string
		exampletest.Do(t, ctx, click("#again"), chromedp.Text("#initech-at-acme", &got))
		if got == "401 issuer" {
			break
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("the token of a dropped tenant: %q", got)
		}
	}
	exampletest.Do(t, ctx, shows("acme-at-acme", "200"), shows("fetches", "3"))
	exampletest.Look(t, ctx, "tenants-dropped")
	if all := complained(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
	p.End(t)
}

// direct answers the requests for keys without a network.
type direct struct {
	handler  http.Handler
	requests atomic.Int64
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.requests.Add(1)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// newTestSite returns a site with tenants of the given names.
func newTestSite(t *testing.T, ttl time.Duration, most int, names ...string) (*site, *direct) {
	t.Helper()
	d := &direct{}
	s, err := newSite(t.Context(), config{url: "http://127.0.0.1:8080", users: demo.NewFastUsers(), ttl: ttl, tenants: most, client: &http.Client{Transport: d}})
	if err != nil {
		t.Fatal(err)
	}
	d.handler = s.handler()
	for _, name := range names {
		if err := s.add(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return s, d
}

func tokenOf(t *testing.T, s *site, name string) string {
	t.Helper()
	token, err := s.providers.token(name, demo.Alice)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSite_hosts(t *testing.T) {
	s, _ := newTestSite(t, time.Minute, 8, "acme", "globex")
	acme := tokenOf(t, s, "acme")
	for _, tt := range []struct {
		host string
		want answer
	}{
		{"acme.example", answer{Status: 200}},
		{"ACME.Example", answer{Status: 200}},
		{"globex.example", answer{403, "forbidden"}},
		{"hooli.example", answer{403, "forbidden"}},
		{"acme.example.", answer{403, "forbidden"}},
		{"acme.example:8080", answer{403, "forbidden"}},
		{"acme", answer{403, "forbidden"}},
		{"127.0.0.1:8080", answer{403, "forbidden"}},
		{"evil.acme.example", answer{403, "forbidden"}},
		{"acme.example.globex.example", answer{403, "forbidden"}},
	} {
		if got := s.try(t.Context(), acme, tt.host); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.host, got, tt.want)
		}
	}
	if got := s.try(t.Context(), tokenOf(t, s, "globex"), "acme.example"); got.Status != 403 {
		t.Errorf("the token of the other tenant: %v", got)
	}
}

func TestSite_changes(t *testing.T) {
	s, d := newTestSite(t, time.Nanosecond, 3, "acme", "globex")
	post := func(path, name string) int {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:8080"+path, strings.NewReader(url.Values{"name": {name}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		return w.Code
	}
	token := tokenOf(t, s, "acme")
	for _, tt := range []struct {
		path, name   string
		status, then int // and what the token of acme gets then
	}{
		{"/drop", "hooli", 303, 200},
		{"/drop", "acme", 303, 401},
		{"/add", "acme", 303, 200},
		{"/add", "acme", 303, 200},
		{"/add", "", 400, 200},
		{"/add", "Acme", 400, 200},
		{"/add", "a/../b", 400, 200},
		{"/add", strings.Repeat("a", 22), 400, 200},
		{"/add", "initech", 303, 200},
		{"/add", "hooli", 400, 200}, // one too many
		{"/drop", "' OR 1=1 --", 303, 200},
	} {
		if got := post(tt.path, tt.name); got != tt.status {
			t.Errorf("%s %q: %d, want %d", tt.path, tt.name, got, tt.status)
		}
		if got := s.try(t.Context(), token, "acme.example"); got.Status != tt.then {
			t.Errorf("then acme gets %v, want %d", got, tt.then)
		}
	}
}

// The issuer of a name must not be found by a similar name.
func TestSite_findIssuer(t *testing.T) {
	s, _ := newTestSite(t, time.Minute, 8, "acme")
	name := s.providers.issuer("acme")
	for _, other := range []string{strings.ToUpper(name), name + " ", name + "/", name + "\x00", strings.Replace(name, "a", "à", 1), "%", ""} {
		if issuer, err := s.findIssuer(t.Context(), other); issuer != nil || err != nil {
			t.Errorf("%q: %v, %v", other, issuer, err)
		}
	}
	if issuer, err := s.findIssuer(t.Context(), name); err != nil || issuer == nil || issuer.Name != name {
		t.Errorf("%v, %v", issuer, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if issuer, err := s.findIssuer(ended, name); issuer != nil || err == nil {
		t.Errorf("a look-up that ends early: %v, %v", issuer, err)
	}
	if issuer, err := s.findIssuer(t.Context(), name); err != nil || issuer == nil {
		t.Errorf("after it: %v, %v", issuer, err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.try(t.Context(), tokenOf(t, s, "acme"), "acme.example"); got != (answer{503, "issuers_unavailable"}) {
		t.Errorf("without the database: %v", got)
	}
}

// memory returns the bytes of live objects.
func memory() int64 {
	runtime.GC()
	runtime.GC() // what finalizers have released
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Invented names cause no fetch, displace no tenant and need no memory.
func TestTenThousandTenants(t *testing.T) {
	const tenants = 10_000
	names := *invented
	if testing.Short() {
		names = min(names, 10_000)
	}
	s, d := newTestSite(t, time.Hour, tenants)
	before, goroutines := memory(), runtime.NumGoroutine()
	tokens := make([]string, tenants)
	for i := range tokens {
		name := fmt.Sprint("t", i)
		if err := s.add(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		tokens[i] = tokenOf(t, s, name)
	}
	start, added := time.Now(), memory()
	// Each tenant is asked for twice. The second time everything is known.
	for range 2 {
		for i, token := range tokens {
			if got := s.try(t.Context(), token, fmt.Sprintf("t%d%s", i, domain)); got.Status != 200 {
				t.Fatalf("tenant %d: %v", i, got)
			}
		}
	}
	served, lookUps, fetches := memory(), s.lookUps.Load(), d.requests.Load()
	t.Logf("%d tenants: %d B each in the test, %d B each in use, %d goroutines, %d look-ups, %d requests for metadata and keys, %v",
		tenants, (added-before)/tenants, (served-added)/tenants, runtime.NumGoroutine()-goroutines, lookUps, fetches, time.Since(start).Round(time.Millisecond))
	// A set whose first fetch ends while its first token looks for it is fetched again.
	if lookUps != tenants || fetches < 2*tenants || fetches > 2*tenants+tenants/10 {
		t.Errorf("%d look-ups and %d requests for %d tenants", lookUps, fetches, tenants)
	}
	if n := runtime.NumGoroutine() - goroutines; n > tenants/100 {
		t.Errorf("%d goroutines", n)
	}
	start = time.Now()
	encode := base64.RawURLEncoding.EncodeToString
	head, tail := encode([]byte(`{"alg":"EdDSA"}`))+".", "."+encode(make([]byte, 64))
	for i := range names {
		claims := fmt.Sprintf(`{"iss":"%s","aud":%q,"exp":99999999999}`, s.providers.issuer(fmt.Sprint("invented", i)), audience)
		if got := s.try(t.Context(), head+encode([]byte(claims))+tail, "t0"+domain); got != (answer{401, "issuer"}) {
			t.Fatalf("invented name %d: %v", i, got)
		}
	}
	grown := memory() - served
	t.Logf("%d invented names: %d KiB in all, %d goroutines, %d look-ups, %d requests, %v each",
		names, grown>>10, runtime.NumGoroutine()-goroutines, s.lookUps.Load()-lookUps, d.requests.Load()-fetches, time.Since(start)/time.Duration(names))
	if n := s.lookUps.Load() - lookUps; n != int64(names) {
		t.Errorf("%d look-ups of %d names", n, names)
	}
	if n := d.requests.Load() - fetches; n != 0 {
		t.Errorf("%d requests because of invented names", n)
	}
	// At most as many names are remembered as there may be tenants.
	if most := int64(tenants) * 2 << 10; grown > most {
		t.Errorf("%d bytes more, want at most %d", grown, most)
	}
	lookUps = s.lookUps.Load()
	for i, token := range tokens {
		if got := s.try(t.Context(), token, fmt.Sprintf("t%d%s", i, domain)); got.Status != 200 {
			t.Fatalf("tenant %d afterwards: %v", i, got)
		}
	}
	if s.lookUps.Load() != lookUps || d.requests.Load() != fetches {
		t.Errorf("invented names displace tenants: %d look-ups, %d requests", s.lookUps.Load()-lookUps, d.requests.Load()-fetches)
	}
	if n := runtime.NumGoroutine() - goroutines; n > tenants/100 {
		t.Errorf("%d goroutines", n)
	}
}
