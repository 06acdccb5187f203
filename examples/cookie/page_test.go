package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

// post is a POST of a browser and the status of its answer.
type post struct {
	path, from string // from: Sec-Fetch-Site
	token      bool
	status     int
}

// watched is a site that records posts.
type watched struct {
	*site
	url string

	mu    sync.Mutex
	posts []post
}

func (s *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.handler.ServeHTTP(w, r)
		return
	}
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	s.handler.ServeHTTP(recorder, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = append(s.posts, post{r.URL.Path, r.Header.Get("Sec-Fetch-Site"), strings.Contains(r.Header.Get("Cookie"), cookieName), recorder.status})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// last returns the latest post. Call it when the browser shows the answer.
func (s *watched) last() post {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts[len(s.posts)-1]
}

func watch(t *testing.T) *watched {
	t.Helper()
	s := &watched{site: newTestSite(t)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// cookies returns the cookies that the browser sends to the site.
func cookies(t *testing.T, ctx context.Context, site string) (found []*network.Cookie) {
	t.Helper()
	exampletest.Do(t, ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		found, err = network.GetCookies().WithURLs([]string{site}).Do(ctx)
		return err
	}))
	return found
}

func fill(t *testing.T, ctx context.Context, name, password string) {
	t.Helper()
	exampletest.Do(t, ctx, chromedp.WaitVisible("#username"), chromedp.SetValue("#username", name), chromedp.SetValue("#password", password), chromedp.Click("#sign-in"))
}

// expect waits for the element and checks the heading and the address.
func expect(t *testing.T, ctx context.Context, element, heading, at string) {
	t.Helper()
	var text, location, script string
	exampletest.Do(t, ctx, chromedp.WaitVisible(element), chromedp.Text("h1", &text), chromedp.Location(&location), chromedp.Evaluate("document.cookie", &script))
	if text != heading || location != at || script != "" {
		t.Errorf("%q at %s, and scripts see the cookies %q; want %q at %s", text, location, script, heading, at)
	}
}

// Chromium keeps the __Host- cookie of a site on plain http if the site is on
// loopback, as 127.0.0.1 and as localhost.
func TestPages_browser(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			ctx := exampletest.Browser(t)
			s := watch(t)
			site := strings.Replace(s.url, "127.0.0.1", host, 1)
			complained := exampletest.Complaints(ctx)
			picture := func(name string) {
				if host == "127.0.0.1" { // the pages of localhost are equal
					exampletest.Look(t, ctx, "cookie-"+name)
				}
			}
			toLogin := site + "/login?return=%2Faccount%3Ftab%3D2"

			exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(site+"/"))
			expect(t, ctx, "#visitor", "Welcome", site+"/")
			picture("1-visitor")
			exampletest.Do(t, ctx, chromedp.Navigate(site+"/account?tab=2"))
			expect(t, ctx, "#username", "Sign in", toLogin)
			picture("2-sent-to-the-login")
			fill(t, ctx, "alice", "wrong")
			expect(t, ctx, `.problem[role="alert"]`, "Sign in", site+"/login")
			picture("3-wrong-password")
			if got := cookies(t, ctx, site); len(got) != 0 {
				t.Errorf("cookies after a wrong password: %v", got)
			}
			fill(t, ctx, "alice", password)
			expect(t, ctx, "#jti", "Hello, alice", site+"/account?tab=2")
			picture("4-back-where-it-began")
			first := cookies(t, ctx, site)
			if len(first) != 1 || first[0].Name != cookieName || first[0].Domain != host || !first[0].Secure || !first[0].HTTPOnly || first[0].SameSite != network.CookieSameSiteLax {
				t.Fatalf("cookies: %v", first)
			}
			renewal(t, ctx, s, site)
			picture("5-renewed")

			exampletest.Do(t, ctx, chromedp.SetValue("#note", "feed the cat"), chromedp.Click("#save"), chromedp.WaitVisible(`#note[value="feed the cat"]`))
			picture("6-note")
			// The token expires before the next note is sent. The note must not get lost.
			exampletest.Do(t, ctx, network.ClearBrowserCookies(), chromedp.SetValue("#note", "feed the dog"), chromedp.Click("#save"), chromedp.WaitVisible("#typed"))
			picture("7-expired")
			fill(t, ctx, "alice", password)
			expect(t, ctx, `#note[value="feed the dog"]`, "Hello, alice", site+"/login")
			picture("8-not-saved-yet")
			exampletest.Do(t, ctx, chromedp.Click("#save"), chromedp.WaitNotPresent(".problem"))
			expect(t, ctx, `#note[value="feed the dog"]`, "Hello, alice", site+"/account")
			signOutAndGoBack(t, ctx, site)
			picture("9-back-button")
			if got := complained(); len(got) > 0 {
				t.Errorf("the browser reports %q", got)
			}
		})
	}
}

// renewal gives the browser an older token instead of waiting.
func renewal(t *testing.T, ctx context.Context, s *watched, site string) {
	t.Helper()
	now := time.Now().Unix()
	old := s.token(t, jwt.MapClaims{"sid": "the session", "jti": "old", "auth_time": now - 360, "iat": now - 360, "exp": now + 240})
	var jti, sid string
	exampletest.Do(t, ctx,
		network.SetCookie(cookieName, old).WithURL(site).WithPath("/").WithSecure(true).WithHTTPOnly(true).WithSameSite(network.CookieSameSiteLax),
		chromedp.Reload(), chromedp.Text("#jti", &jti, chromedp.NodeVisible), chromedp.Text("#sid", &sid))
	got := cookies(t, ctx, site)
	if len(got) != 1 || got[0].Value == old {
		t.Fatalf("the cookie was not replaced: %v", got)
	}
	if next := claimsOf(t, got[0].Value); jti == "old" || next["jti"] != jti || next["sid"] != "the session" || sid != "the session" {
		t.Errorf("the page shows token %q of session %q, the cookie has %v", jti, sid, next)
	}
	if left := time.Until(time.Unix(int64(got[0].Expires), 0)); left < 590*time.Second || left > 602*time.Second {
		t.Errorf("the browser keeps the cookie for %v", left)
	}
}

func signOutAndGoBack(t *testing.T, ctx context.Context, site string) {
	t.Helper()
	exampletest.Do(t, ctx, chromedp.Click("#sign-out"))
	expect(t, ctx, "#visitor", "Welcome", site+"/")
	if got := cookies(t, ctx, site); len(got) != 0 {
		t.Errorf("cookies after the sign-out: %v", got)
	}
	var page string
	exampletest.Do(t, ctx, chromedp.Evaluate("history.back()", nil), chromedp.WaitVisible("#username"), chromedp.OuterHTML("html", &page))
	expect(t, ctx, "#username", "Sign in", site+"/login?return=%2Faccount")
	if strings.Contains(page, "Hello") || strings.Contains(page, "feed the") {
		t.Errorf("the back button shows %s", page)
	}
}

// theirs serves a page of another origin that posts to the site when it loads.
func theirs(t *testing.T, host, action string, form url.Values) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%s">`, action)
		for name := range form {
			fmt.Fprintf(w, `<input name="%s" value="%s">`, name, form.Get(name))
		}
		fmt.Fprint(w, `</form><script>document.forms[0].submit()</script>`)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", host, 1)
}

// A page on another port of 127.0.0.1 has another origin but is same-site, so the
// browser sends the Lax cookie. A page on localhost is cross-site, so it does not.
func TestSite_crossOriginBrowser(t *testing.T) {
	ctx := exampletest.Browser(t)
	s := watch(t)
	exampletest.Do(t, ctx, chromedp.Navigate(s.url+"/login?return=/account"))
	fill(t, ctx, "alice", password)
	exampletest.Do(t, ctx, chromedp.WaitVisible("#note"), chromedp.SetValue("#note", "mine"), chromedp.Click("#save"), chromedp.WaitVisible(`#note[value="mine"]`))
	before := cookies(t, ctx, s.url)
	for _, test := range []struct {
		path string
		form url.Values
	}{
		{"/note", url.Values{"note": {"theirs"}}},
		{"/login", url.Values{"username": {"ada"}, "password": {"analytical-engine"}}},
		{"/logout", url.Values{}},
	} {
		for _, other := range []struct {
			host, from string
			token      bool
		}{
			{"127.0.0.1", "same-site", true},
			{"localhost", "cross-site", false},
		} {
			t.Run(test.path+" from "+other.host, func(t *testing.T) {
				var body, note string
				exampletest.Do(t, ctx,
					chromedp.Navigate(theirs(t, other.host, s.url+test.path, test.form)),
					chromedp.Text("pre", &body, chromedp.NodeVisible)) // how Chromium shows JSON
				if got, want := s.last(), (post{test.path, other.from, other.token, 403}); got != want || !strings.Contains(body, "cross_origin") {
					t.Errorf("got %+v, want %+v; body %s", got, want, body)
				}
				exampletest.Do(t, ctx, chromedp.Navigate(s.url+"/account"), chromedp.Value("#note", &note, chromedp.NodeVisible))
				expect(t, ctx, "#jti", "Hello, alice", s.url+"/account")
				if after := cookies(t, ctx, s.url); note != "mine" || len(after) != 1 || after[0].Value != before[0].Value {
					t.Errorf("note %q, cookies %v", note, after)
				}
			})
		}
	}
}
