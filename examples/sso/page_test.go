package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/revocation"
)

// TestPages does what the greeting suggests. The cookies are Secure and the pages
// use http; Chromium accepts that on loopback.
func TestPages(t *testing.T) {
	ctx := exampletest.Browser(t)
	s := start(t)
	complained := exampletest.Complaints(ctx)
	exampletest.Do(t, ctx, log.Enable())
	origins := map[string]string{} // by colour of the page; each origin has another one
	// shows waits for the element and checks the heading, the address and the colour.
	shows := func(name, element, at, heading string) {
		t.Helper()
		var text, location, script string
		exampletest.Do(t, ctx, chromedp.WaitVisible(element), chromedp.Text("h1", &text), chromedp.Evaluate("location.origin+location.pathname", &location), chromedp.Evaluate("document.cookie", &script))
		if text != heading || location != at || script != "" {
			t.Errorf("%s: %q at %s, and scripts see the cookies %q; want %q at %s", name, text, location, script, heading, at)
		}
		var color, origin string
		exampletest.Do(t, ctx, chromedp.Evaluate("getComputedStyle(document.body).backgroundColor", &color), chromedp.Evaluate("location.origin", &origin))
		if other, ok := origins[color]; ok && other != origin {
			t.Errorf("%s: %s has the colour of %s", name, origin, other)
		}
		origins[color] = origin
		exampletest.Look(t, ctx, "sso-"+name)
	}
	fill := func(name, password string) {
		t.Helper()
		exampletest.Do(t, ctx, chromedp.SetValue("#username", name), chromedp.SetValue("#password", password), chromedp.Click("#sign-in"))
	}

	exampletest.Do(t, ctx, chromedp.Navigate(s.a.url))
	shows("1-sent-to-sign-in", "#username", s.idp.url+"/authorize", "Sign in")
	fill("ada", "wrong")
	shows("2-wrong-password", ".notice", s.idp.url+"/authorize", "Sign in")
	fill("ada", adaPassword)
	shows("3-site-a", "#kid", s.a.url+"/", "Hello, ada")
	exampletest.Do(t, ctx, chromedp.Click("#other"), chromedp.WaitVisible(`//p[text()="Site B"]`))
	shows("4-site-b-without-a-password", "#kid", s.b.url+"/", "Hello, ada")

	exampletest.Do(t, ctx, chromedp.Navigate(s.idp.url), chromedp.Click("#rotate"), chromedp.WaitVisible("tr:nth-child(2) code"))
	shows("5-a-new-key", "#rotate", s.idp.url+"/", "Signed in as ada")
	exampletest.Do(t, ctx, chromedp.Navigate(s.a.url))
	shows("6-site-a-goes-on", "#kid", s.a.url+"/", "Hello, ada")
	exampletest.Do(t, ctx, chromedp.Click("#start"))
	shows("6-a-program", "#program", s.a.url+"/", "Hello, ada")
	exampletest.Do(t, ctx, chromedp.Click("#sign-out"))
	shows("7-signed-out", "#arrivals", s.a.url+"/signed-out", "Signed out")
	var rows []string
	exampletest.Do(t, ctx, chromedp.Evaluate(`[...document.querySelectorAll("#arrivals tbody tr")].map(row => row.innerText)`, &rows))
	if len(rows) != 3 || !strings.Contains(strings.Join(rows, ""), "Site A, second instance: the program's bearer token") {
		t.Errorf("rows %q", rows)
	}
	exampletest.Do(t, ctx, chromedp.Navigate(s.b.url))
	shows("8-site-b-asks-again", "#username", s.idp.url+"/authorize", "Sign in")
	fill("alice", alicePassword)
	shows("9-site-b-as-alice", "#kid", s.b.url+"/", "Hello, alice")

	// A logout at site A with a revoked token leads to the identity service.
	exampletest.Do(t, ctx, chromedp.Navigate(s.a.url), chromedp.WaitVisible(`//p[text()="Site A"]`))
	if err := s.a.ended.Revoke(t.Context(), revocation.Entry{Kind: revocation.BySubject, Issuer: s.idp.url, Value: "alice", IssuedUntil: time.Now()}); err != nil {
		t.Fatal(err)
	}
	exampletest.Do(t, ctx, chromedp.Click("#sign-out"))
	shows("10-identity-service", "table", s.idp.url+"/", "Signed in as alice")
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser reports %q", got)
	}
}
