package jwks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// Rule 37.
func TestSet_refusedAnswers(t *testing.T) {
	text := func(body string) func(*served) http.HandlerFunc {
		return func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
		}
	}
	redirect := func(target string) func(*served) http.HandlerFunc {
		return func(s *served) http.HandlerFunc { return s.redirectTo(target) }
	}
	for _, tt := range []struct {
		name   string
		answer func(*served) http.HandlerFunc
		want   string // in the error
	}{
		{"HTML", text("<!DOCTYPE html><html></html>"), "not a JSON object"},
		{"nothing", text(""), "not a JSON object"},
		{"null", text("null"), "neither"},
		{"an array", text("[]"), "not a JSON object"},
		{"an empty object", text("{}"), "neither"},
		{"an error object", text(`{"error":"temporarily_unavailable"}`), "neither"},
		{"no key", text(`{"keys":[]}`), "no usable key"},
		{"a key that is too weak", text(jwkSet(`{"kty":"RSA","kid":"weak","n":"` + b64(testKeys().weakRSA.N.Bytes()) + `","e":"AQAB"}`)), `"weak" (RSA key has 1024 bits, want 2048 to 16384)`},
		{"a key for encryption", text(jwkSet(rsaJWK(`,"kid":"enc","use":"enc"`))), `"enc" (use "enc")`},
		{"a key for another algorithm", text(jwkSet(rsaJWK(`,"kid":"oaep","alg":"RSA-OAEP"`))), `"oaep" (`},
		{"keys of null", text(`{"keys":null}`), "no usable key"},
		{"keys that are not an array", text(`{"keys":{}}`), "not an array"},
		{"only odd keys", text(`{"keys":[1,"a",null,{},{"kty":"XX"},{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`), "no usable key"},
		{"two documents", func(s *served) http.HandlerFunc { b := keySet(s.Issuer); return text(b + b)(s) }, "not a JSON object"},
		{"another status", func(s *served) http.HandlerFunc {
			b := keySet(s.Issuer)
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted); fmt.Fprint(w, b) }
		}, "status 202"},
		{"not modified", func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }
		}, "status 304"},
		{"too large", func(s *served) http.HandlerFunc { return text(keySet(s.Issuer) + strings.Repeat(" ", 1<<20))(s) }, "more than 1048576 bytes"},
		{"too slow", func(*served) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, "deadline"},
		{"a redirect to another host", redirect("https://evil.test/keys"), "another origin"},
		{"a redirect to a subdomain", redirect("https://keys.issuer.test/keys"), "another origin"},
		{"a redirect to another port", redirect("https://issuer.test:8443/keys"), "another origin"},
		{"a redirect to http", redirect("http://issuer.test/keys"), "another origin"},
		{"a redirect to http on the same port", redirect("http://issuer.test:443/keys"), "another origin"},
		{"redirects in circles", func(*served) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"?x", http.StatusFound) }
		}, "too many redirects"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := serveKeys(t, nil)
			token := s.Token(nil)
			s.Answer(tt.answer(s))
			began := time.Now()
			if err := s.set.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "jwks: ") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			synctest.Wait()
			s.check(t, "the old key", token, admitted)
			if errs := s.reported(); len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
				t.Errorf("OnError got %q, want one error with %q", errs, tt.want)
			}
		})
	}
}

// redirectTo has the good keys at the target: only the redirect is wrong.
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

func TestSet_redirectWithinTheOrigin(t *testing.T) {
	for _, target := range []string{"/keys?moved", "https://issuer.test/keys?moved", "https://ISSUER.test:443/keys?moved"} {
		bubble(t, target, func(t *testing.T) {
			var asked atomic.Int64
			s := serveKeys(t, func(o *jwks.Options) {
				o.Client.CheckRedirect = func(*http.Request, []*http.Request) error { asked.Add(1); return nil }
			})
			s.Answer(func(w http.ResponseWriter, r *http.Request) {
				s.Answer(nil)
				http.Redirect(w, r, target, http.StatusPermanentRedirect)
			})
			if err := s.set.Refresh(t.Context()); err != nil || asked.Load() != 1 {
				t.Errorf("error %v; the client's own CheckRedirect was called %d times", err, asked.Load())
			}
		})
	}
	bubble(t, "the client's own CheckRedirect refuses", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) {
			o.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("no redirects") }
		})
		s.Answer(s.redirectTo("https://issuer.test/keys?moved"))
		if err := s.set.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "no redirects") {
			t.Errorf("error %v", err)
		}
	})
}

// Rules 37 and 39.
func TestNew_arguments(t *testing.T) {
	plain := jwks.Options{InsecureAllowHTTP: true}
	for _, tt := range []struct {
		name, url string
		opts      jwks.Options
		want      string // in the error of New, or ""
		discover  string // in the error of Discover, or ""
	}{
		{"https", "https://issuer.test/keys", jwks.Options{}, "", ""},
		{"user and query", "https://user:hunter2@issuer.test/keys?key=hunter2", jwks.Options{}, "", "without user and query"},
		{"a query", "https://issuer.test/keys?key=1", jwks.Options{}, "", "without user and query"},
		{"an empty query", "https://issuer.test/keys?", jwks.Options{}, "", "without user and query"},
		{"http on loopback", "http://127.0.0.1:1/keys", jwks.Options{}, "", ""},
		{"http on localhost", "http://localhost:1/keys", jwks.Options{}, "", ""},
		{"http elsewhere", "http://issuer.test/keys", jwks.Options{}, "want https", "want https"},
		{"http on a host that looks local", "http://localhost.evil.test/keys", jwks.Options{}, "want https", "want https"},
		{"http elsewhere, allowed", "http://issuer.test/keys", plain, "", ""},
		{"ftp", "ftp://issuer.test/keys", plain, "want https", "want https"},
		{"a file", "file:///etc/keys", plain, "absolute URL", "absolute URL"},
		{"a path", "/keys", plain, "absolute URL", "absolute URL"},
		{"no scheme", "issuer.test/keys", plain, "absolute URL", "absolute URL"},
		{"upper case", "HTTPS://issuer.test/keys", jwks.Options{}, "", ""},
		{"no host", "https:///keys", plain, "absolute URL", "absolute URL"},
		{"a port alone", "https://:443/keys", plain, "absolute URL", "absolute URL"},
		{"a fragment", "https://issuer.test/keys#hunter2", plain, "absolute URL", "absolute URL"},
		{"not a port", "https://user:hunter2@issuer.test:x/keys", plain, "absolute URL", "absolute URL"},
		{"empty", "", plain, "is empty", "is empty"},
		{"RefreshInterval", "https://issuer.test/keys", jwks.Options{RefreshInterval: -1}, "Options.RefreshInterval", "Options.RefreshInterval"},
		{"MinInterval", "https://issuer.test/keys", jwks.Options{MinInterval: -1}, "Options.MinInterval", "Options.MinInterval"},
		{"MaxStale", "https://issuer.test/keys", jwks.Options{MaxStale: -1}, "Options.MaxStale", "Options.MaxStale"},
		{"Timeout", "https://issuer.test/keys", jwks.Options{Timeout: -1}, "Options.Timeout", "Options.Timeout"},
		{"MaxBytes", "https://issuer.test/keys", jwks.Options{MaxBytes: -1}, "Options.MaxBytes", "Options.MaxBytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			tt.opts.Client, tt.opts.OnError = failing(), func(error) {}
			for _, f := range []struct {
				name string
				make func(context.Context, string, jwks.Options) (*jwks.Set, error)
				want string
			}{{"New", jwks.New, tt.want}, {"Discover", jwks.Discover, tt.discover}} {
				set, err := f.make(ctx, tt.url, tt.opts)
				if (err == nil) != (f.want == "") || (set != nil) != (f.want == "") {
					t.Errorf("%s: %v, want %q", f.name, err, f.want)
				}
				if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), f.want) || !strings.HasPrefix(err.Error(), "jwks: ")) {
					t.Errorf("%s: error %q, want %q", f.name, err, f.want)
				}
			}
		})
	}
	t.Run("a context with a deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		inner, cancelInner := context.WithCancel(ctx)
		defer cancelInner()
		for _, ctx := range []context.Context{ctx, inner, nil} {
			if set, err := jwks.New(ctx, "https://issuer.test/keys", jwks.Options{}); err == nil || set != nil || !strings.Contains(err.Error(), "ctx: ") {
				t.Errorf("New: set %v, error %v", set, err)
			}
			if set, err := jwks.Discover(ctx, "https://issuer.test", jwks.Options{}); err == nil || set != nil || !strings.Contains(err.Error(), "ctx: ") {
				t.Errorf("Discover: set %v, error %v", set, err)
			}
		}
	})
	t.Run("all problems at once", func(t *testing.T) {
		var none context.Context
		_, err := jwks.New(none, "/keys", jwks.Options{Timeout: -1, MaxBytes: -1})
		for _, want := range []string{"jwks: url: ", "jwks: ctx: ", "jwks: Options.Timeout: ", "jwks: Options.MaxBytes: "} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v lacks %q", err, want)
			}
		}
	})
}

// Rule 39.
func TestSet_secretsOfURLs(t *testing.T) {
	const address = "https://user:hunter2@issuer.test/keys?key=hunter2"
	for _, tt := range []struct {
		name      string
		transport roundTrip
		want      string
	}{
		{"an error", func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("cannot reach " + r.URL.String())
		},
			"jwks: GET https://issuer.test/keys: request failed (not shown, because the URL has secrets)"},
		{"a redirect", func(r *http.Request) (*http.Response, error) {
			resp := answer(r, http.StatusFound, "")
			resp.Header.Set("Location", "https://evil.test/?key=hunter2")
			return resp, nil
		}, "jwks: GET https://issuer.test/keys: request failed (not shown, because the URL has secrets)"},
		{"a panic", func(r *http.Request) (*http.Response, error) { panic(r.URL.String()) },
			"jwks: GET https://issuer.test/keys: panic (value not shown, because the URL has secrets)\ngoroutine "},
		{"no usable key", func(r *http.Request) (*http.Response, error) { return answer(r, http.StatusOK, `{"keys":[]}`), nil },
			"jwks: key set of https://issuer.test/keys: no usable key"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			got := make(chan error, 1)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			var once sync.Once
			_, err := jwks.New(ctx, address, jwks.Options{
				Client:  &http.Client{Transport: tt.transport},
				OnError: func(err error) { once.Do(func() { got <- err; end() }) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-got; !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

func TestSet_requests(t *testing.T) {
	bubble(t, "Kubernetes needs its own media type", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.start(t, func(o *jwks.Options) {
			o.Client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if accept := r.Header.Get("Accept"); !strings.Contains(accept, "application/jwk-set+json") || !strings.Contains(accept, "application/json") {
					return answer(r, http.StatusNotAcceptable, ""), nil
				}
				return s.Client().Transport.RoundTrip(r)
			})}
		})
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "Kubernetes's metadata has the usual media type", func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		var refused []string
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			served := "application/json"
			if r.URL.String() == issuer.KeySetURL() {
				served = "application/jwk-set+json"
			}
			if !slices.Contains(strings.Split(r.Header.Get("Accept"), ", "), served) {
				refused = append(refused, r.URL.Path)
				return answer(r, http.StatusNotAcceptable, ""), nil
			}
			return issuer.Client().Transport.RoundTrip(r)
		})}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		set, err := jwks.Discover(ctx, issuer.Name(), jwks.Options{Client: client, OnError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Refresh(t.Context()); err != nil || len(refused) > 0 {
			t.Errorf("%v; 406 for %q", err, refused)
		}
	})
	// An ETag of time and size does not change when a key is replaced by another
	// of the same size in an image.
	bubble(t, "a key set is never fetched conditionally", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.start(t, func(o *jwks.Options) {
			o.Client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
					return answer(r, http.StatusNotModified, ""), nil
				}
				resp, err := s.Client().Transport.RoundTrip(r)
				if err == nil {
					resp.Header.Set("ETag", `"1"`)
					resp.Header.Set("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
				}
				return resp, err
			})}
		})
		first := s.KeyID()
		s.Rotate()
		s.Withdraw(first)
		if err := s.set.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.check(t, "the new key", s.Token(nil), admitted)
	})
}

// closing counts calls of CloseIdleConnections.
type closing struct {
	roundTrip
	calls *atomic.Int64
}

func (c closing) CloseIdleConnections() { c.calls.Add(1) }

func TestSet_deadConnections(t *testing.T) {
	bubble(t, "a failed fetch closes idle connections", func(t *testing.T) {
		var calls atomic.Int64
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.start(t, func(o *jwks.Options) {
			o.Client = &http.Client{Transport: closing{s.Client().Transport.RoundTrip, &calls}}
		})
		if err := s.set.Ready(t.Context()); err != nil || calls.Load() != 0 {
			t.Fatalf("%d calls after a good fetch (%v)", calls.Load(), err)
		}
		s.Down(true)
		if err := s.set.Refresh(t.Context()); err == nil || calls.Load() != 1 {
			t.Errorf("%d calls after a failed fetch (%v)", calls.Load(), err)
		}
	})
	// A connection of HTTP/2 whose other end is gone is used again and again,
	// since a request that times out leaves it open.
	t.Run("a dead connection of HTTP/2 is not used forever", func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		timeout := make(chan struct{})
		var dead sync.Map // remote addresses
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := dead.LoadOrStore(r.RemoteAddr, true); ok || r.ProtoMajor != 2 {
				timeout <- struct{}{}
				<-r.Context().Done()
				return
			}
			issuer.ServeHTTP(w, r)
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		ctx, end := context.WithCancel(context.Background())
		defer end()
		transport := server.Client().Transport.(*http.Transport)
		client := &http.Client{Transport: timingOut{transport, timeout}}
		set, err := jwks.New(ctx, server.URL+"/keys", jwks.Options{Client: client, Timeout: time.Minute, OnError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := set.Refresh(t.Context()); err == nil {
			t.Fatal("the connection is not dead")
		}
		// Not the next fetch at once: the stream may not be gone yet.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range 100 {
			<-tick.C
			if err = set.Refresh(t.Context()); err == nil {
				return
			}
		}
		t.Errorf("fetches still fail: %v", err)
	})
}

// timingOut lets a request time out when the server says so.
type timingOut struct {
	*http.Transport
	timeout <-chan struct{}
}

func (o timingOut) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		defer cancel()
		select {
		case <-o.timeout:
		case <-r.Context().Done():
		}
	}()
	return o.Transport.RoundTrip(r.WithContext(ctx))
}

func TestSet_panics(t *testing.T) {
	broken := func(r *http.Request) (*http.Response, error) { panic("transport is broken") }
	for _, tt := range []struct {
		name string
		do   func(fallback http.RoundTripper) roundTrip
		want []string
	}{
		{"in the transport", func(http.RoundTripper) roundTrip { return broken }, []string{"panic: transport is broken", "fetch_test.go"}},
		{"in the body", func(http.RoundTripper) roundTrip {
			return func(r *http.Request) (*http.Response, error) {
				resp := answer(r, http.StatusOK, "")
				resp.Body = panicking{}
				return resp, nil
			}
		}, []string{"panic: body is broken", "fetch_test.go"}},
		{"without a response", func(http.RoundTripper) roundTrip {
			return func(*http.Request) (*http.Response, error) { return nil, nil }
		}, []string{"jwks: GET "}},
		{"with runtime.Goexit", func(http.RoundTripper) roundTrip {
			return func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }
		}, []string{"ended its goroutine"}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var fail atomic.Bool
			s := &served{Issuer: jwthttptest.New(t, "ES256")}
			good := s.Client().Transport
			s.start(t, func(o *jwks.Options) {
				o.Client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if fail.Load() {
						return tt.do(good)(r)
					}
					return good.RoundTrip(r)
				})}
			})
			if err := s.set.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			fail.Store(true)
			s.check(t, "a junk kid", s.junk("junk"), noKeys)
			synctest.Wait()
			errs := s.reported()
			if len(errs) != 1 {
				t.Fatalf("OnError got %q, want one error", errs)
			}
			for _, want := range tt.want {
				if !strings.Contains(errs[0].Error(), want) {
					t.Errorf("error %q lacks %q", errs[0], want)
				}
			}
			s.check(t, "a known key", s.Token(nil), admitted)
			fail.Store(false)
			time.Sleep(10 * time.Second)
			s.Rotate()
			s.check(t, "a new key afterwards", s.Token(nil), admitted)
		})
	}
	bubble(t, "in OnError", func(t *testing.T) {
		logged := captureLog(t)
		s := serveKeys(t, func(o *jwks.Options) { o.OnError = func(error) { panic("OnError is broken") } })
		s.Down(true)
		s.check(t, "a junk kid", s.junk("junk"), noKeys)
		synctest.Wait()
		if text := logged(); !strings.Contains(text, "OnError is broken") || !strings.Contains(text, "fetch_test.go") {
			t.Errorf("log %q", text)
		}
		s.Down(false)
		time.Sleep(10 * time.Second)
		s.Rotate()
		s.check(t, "a new key afterwards", s.Token(nil), admitted)
	})
	bubble(t, "in CloseIdleConnections", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Down(true)
		s.start(t, func(o *jwks.Options) {
			o.Client = &http.Client{Transport: closing{s.Client().Transport.RoundTrip, nil}}
		})
		time.Sleep(time.Minute)
		s.Down(false)
		if err := s.set.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "while the address is looked up again", func(t *testing.T) {
		d := discover(t)
		d.Rotate()
		d.serve("https://a.test/")
		d.put(d.document, func(*http.Request) (*http.Response, error) { panic("transport is broken") })
		d.check(t, "a new key", d.Token(nil), admitted)
		synctest.Wait()
		if text := fmt.Sprint(d.reported()); !strings.Contains(text, "panic: transport is broken") {
			t.Errorf("OnError got %s", text)
		}
	})
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("body is broken") }
func (panicking) Close() error             { return nil }

// captureLog makes slog's default logger write to a buffer until the test ends.
func captureLog(t *testing.T) (logged func() string) {
	var mu sync.Mutex
	var b bytes.Buffer
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	}), nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(writer) // SetDefault has redirected it
		log.SetFlags(flags)
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestOptions_OnError(t *testing.T) {
	bubble(t, "nil logs", func(t *testing.T) {
		logged := captureLog(t)
		s := serveKeys(t, func(o *jwks.Options) { o.OnError = nil })
		if text := logged(); text != "" {
			t.Errorf("log %q after a good fetch", text)
		}
		s.Down(true)
		_ = s.set.Refresh(t.Context())
		synctest.Wait()
		if text := logged(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "jwks: GET https://issuer.test/keys: status 503") {
			t.Errorf("log %q", text)
		}
		s.end()
		synctest.Wait()
		if text := logged(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "its context has ended") {
			t.Errorf("log %q after the end", text)
		}
	})
	bubble(t, "a slow OnError delays no request", func(t *testing.T) {
		s := serveKeys(t, func(o *jwks.Options) { o.OnError = func(error) { time.Sleep(time.Hour) } })
		s.Down(true)
		before := time.Now()
		s.check(t, "a junk kid", s.junk("junk"), noKeys)
		s.Down(false)
		time.Sleep(10 * time.Second)
		s.Rotate()
		s.check(t, "a new key", s.Token(nil), admitted)
		if took := time.Since(before); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		s.end()
		time.Sleep(2 * time.Hour)
	})
}

func metadata(issuer, uri string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, uri)
}

func TestDiscover(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	served := keySet(issuer)
	const name, uri = "https://issuer.test/tenant", "https://keys.test/set"
	const oidc, oauth = name + "/.well-known/openid-configuration", "https://issuer.test/.well-known/oauth-authorization-server/tenant"
	for _, tt := range []struct {
		name    string
		answers [][2]string // of URLs
		hangs   string      // URL
		ok      bool
	}{
		{"OpenID Connect", [][2]string{{oidc, metadata(name, uri)}, {uri, served}}, "", true},
		{"RFC 8414", [][2]string{{oauth, metadata(name, uri)}, {uri, served}}, "", true},
		{"a byte order mark", [][2]string{{oidc, "\ufeff" + metadata(name, uri)}, {uri, "\ufeff" + served}}, "", true},
		{"RFC 8414 while OpenID Connect hangs", [][2]string{{oauth, metadata(name, uri)}, {uri, served}}, oidc, true},
		{"nothing there", [][2]string{{uri, served}}, "", false},
		{"another issuer", [][2]string{{oidc, metadata(name+"/", uri)}, {uri, served}}, "", false},
		{"another issuer, but RFC 8414", [][2]string{{oidc, metadata("x", uri)}, {oauth, metadata(name, uri)}, {uri, served}}, "", true},
		{"no issuer", [][2]string{{oidc, metadata("", uri)}, {uri, served}}, "", false},
		{"HTML", [][2]string{{oidc, "<html>"}, {uri, served}}, "", false},
		{"no jwks_uri", [][2]string{{oidc, metadata(name, "")}, {uri, served}}, "", false},
		{"a jwks_uri over http", [][2]string{{oidc, metadata(name, "http://keys.test/set")}, {"http://keys.test/set", served}}, "", false},
		{"a jwks_uri over http on loopback, of an https issuer", [][2]string{{oidc, metadata(name, "http://127.0.0.1/set")}, {"http://127.0.0.1/set", served}}, "", false},
		{"a jwks_uri over http in upper case", [][2]string{{oidc, metadata(name, "HTTP://127.0.0.1/set")}, {"http://127.0.0.1/set", served}}, "", false},
		{"a jwks_uri that is a file", [][2]string{{oidc, metadata(name, "file:///etc/keys")}}, "", false},
		{"no keys there", [][2]string{{oidc, metadata(name, uri)}}, "", false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.String() == tt.hangs {
					return hang(r)
				}
				if tt.hangs != "" { // the answers take their time
					time.Sleep(time.Second)
				}
				if err := r.Context().Err(); err != nil {
					return nil, err
				}
				for _, a := range tt.answers {
					if a[0] == r.URL.String() {
						return answer(r, http.StatusOK, a[1]), nil
					}
				}
				return answer(r, http.StatusNotFound, "not here"), nil
			})}
			set, err := jwks.Discover(ctx, name, jwks.Options{Client: client, OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			within, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := set.Ready(within); (err == nil) != tt.ok {
				t.Errorf("ready: %v", err)
			}
			want := noKeys
			if tt.ok {
				want = admitted
			}
			trusted := issuer.Trusted()
			trusted.Name, trusted.Keys = name, set
			token := issuer.Token(map[string]any{"iss": name})
			if got := verdict(newMiddleware(t, trusted), token); got != want {
				t.Errorf("verdict %q, want %q", got, want)
			}
			if set.DiscoveredFrom() != name {
				t.Errorf("discovered from %q", set.DiscoveredFrom())
			}
		})
	}
}

// discovered is an issuer with a Set that was discovered. Its key set is at
// https://a.test/ and can move.
type discovered struct {
	served
	document string // URL of the metadata

	lock    sync.Mutex
	answers map[string]roundTrip // by URL; 404 for others
	asked   int
}

func discover(t *testing.T) *discovered {
	t.Helper()
	d := &discovered{served: served{Issuer: jwthttptest.New(t, "ES256")}, answers: map[string]roundTrip{}}
	d.document = d.Name() + "/.well-known/openid-configuration"
	d.serve("https://a.test/")
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	set, err := jwks.Discover(ctx, d.Name(), jwks.Options{
		Client: &http.Client{Transport: roundTrip(d.roundTrip)},
		OnError: func(err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.errors = append(d.errors, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	trusted := d.Trusted()
	trusted.Keys = set
	d.set, d.end, d.m = set, end, newMiddleware(t, trusted)
	return d
}

func (d *discovered) roundTrip(r *http.Request) (*http.Response, error) {
	d.lock.Lock()
	d.asked++
	f := d.answers[r.URL.String()]
	d.lock.Unlock()
	if f == nil {
		return answer(r, http.StatusNotFound, "not here"), nil
	}
	return f(r)
}

func (d *discovered) requests() int {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.asked
}

func (d *discovered) put(address string, f roundTrip) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.answers[address] = f
}

// serve publishes the current keys, and an address for them in the metadata.
func (d *discovered) serve(address string) {
	body := keySet(d.Issuer)
	d.put(address, func(r *http.Request) (*http.Response, error) { return answer(r, http.StatusOK, body), nil })
	d.put(d.document, func(r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusOK, metadata(d.Name(), address)), nil
	})
}

func TestDiscover_movedKeySet(t *testing.T) {
	bubble(t, "is found for an unknown kid", func(t *testing.T) {
		d := discover(t)
		d.Rotate()
		d.serve("https://b.test/") // a.test still has the old keys
		before := time.Now()
		d.check(t, "moved", d.Token(nil), admitted)
		if time.Since(before) != 0 {
			t.Errorf("waited %v", time.Since(before))
		}
		d.Rotate()
		d.put("https://b.test/", nil)
		d.serve("https://c.test/")
		time.Sleep(10 * time.Second)
		d.check(t, "moved again, and gone from the old place", d.Token(nil), admitted)
	})
	bubble(t, "is found in the background", func(t *testing.T) {
		d := discover(t)
		d.Rotate()
		d.put("https://a.test/", nil)
		d.serve("https://b.test/")
		time.Sleep(15 * time.Minute)
		before := d.requests()
		d.check(t, "moved", d.Token(nil), admitted)
		if n := d.requests(); n != before {
			t.Errorf("the request caused %d others", n-before)
		}
	})
	bubble(t, "is found after a failure", func(t *testing.T) {
		d := discover(t)
		d.put("https://a.test/", nil)
		d.check(t, "gone", d.junk("junk"), noKeys)
		d.Rotate()
		d.serve("https://b.test/")
		time.Sleep(10 * time.Second)
		d.check(t, "moved", d.Token(nil), admitted)
	})
	bubble(t, "is not found at another issuer's", func(t *testing.T) {
		d := discover(t)
		d.Rotate()
		d.serve("https://b.test/")
		d.put(d.document, func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusOK, metadata("https://evil.test", "https://b.test/")), nil
		})
		d.check(t, "in another issuer's metadata", d.Token(nil), unknownKey)
	})
}

func TestDiscover_metadataFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer roundTrip
		most   time.Duration // that a request waits
	}{
		{"with an error", func(*http.Request) (*http.Response, error) { return nil, errors.New("no metadata") }, 0},
		{"with a status", func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusServiceUnavailable, ""), nil
		}, 0},
		{"by hanging", hang, time.Second},
		{"with runtime.Goexit", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, time.Second},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			d := discover(t)
			d.put(d.document, tt.answer)
			time.Sleep(30 * time.Hour) // longer than MaxStale
			d.Rotate()
			body := keySet(d.Issuer)
			d.put("https://a.test/", func(r *http.Request) (*http.Response, error) { return answer(r, http.StatusOK, body), nil })
			before := time.Now()
			d.check(t, "a new key at the known address", d.Token(nil), admitted)
			if took := time.Since(before); took > tt.most {
				t.Errorf("waited %v, want at most %v", took, tt.most)
			}
			if text := fmt.Sprint(d.reported()); !strings.Contains(text, "well-known") && !strings.Contains(text, "metadata of") {
				t.Errorf("OnError got %s", text)
			}
			time.Sleep(10 * time.Second)
			d.check(t, "a junk kid", d.junk("junk"), unknownKey)
			d.put("https://a.test/", nil)
			time.Sleep(10 * time.Second)
			d.check(t, "a junk kid while the keys fail, too", d.junk("junk"), noKeys)
		})
	}
	bubble(t, "slowly, as the keys", func(t *testing.T) {
		d := discover(t)
		d.Rotate()
		d.serve("https://a.test/")
		for _, address := range []string{d.document, "https://a.test/"} {
			fast := d.answers[address]
			d.put(address, func(r *http.Request) (*http.Response, error) { time.Sleep(2 * time.Second); return fast(r) })
		}
		before := time.Now()
		d.check(t, "a new key", d.Token(nil), admitted)
		if took := time.Since(before); took != 2*time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

// Metadata that names a wrong address once must not replace one that works.
func TestDiscover_wrongAddressOnce(t *testing.T) {
	bubble(t, "the last address that served keys", func(t *testing.T) {
		issuer := jwthttptest.New(t, "ES256")
		metadata := "good"
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			switch {
			case r.URL.Path == "/typo":
				http.NotFound(w, r)
			case !strings.HasPrefix(r.URL.Path, "/.well-known/") || metadata == "good":
				issuer.ServeHTTP(w, r)
			case metadata == "wrong":
				fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/typo"}`, issuer.Name(), issuer.Name())
			default:
				http.Error(w, "down", http.StatusServiceUnavailable)
			}
			return w.Result(), nil
		})}
		set, err := jwks.Discover(t.Context(), issuer.Name(), jwks.Options{Client: client, OnError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		metadata = "wrong"
		if err := set.Refresh(t.Context()); err == nil {
			t.Error("no error of a wrong address")
		}
		metadata = "down"
		issuer.Rotate()
		if err := set.Refresh(t.Context()); err != nil {
			t.Errorf("fetch from the last good address: %v", err)
		}
	})
}
