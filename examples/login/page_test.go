package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

func TestPage(t *testing.T) {
	ctx := exampletest.Browser(t)
	s := start(t)
	complained := exampletest.Complaints(ctx)
	exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(s.url+"/"), chromedp.WaitVisible("#list"))

	count := 0
	press := func(button string, want ...string) {
		t.Helper()
		count++
		entry := fmt.Sprintf("#answer-%d", count)
		var text string
		exampletest.Do(t, ctx, chromedp.Click("#"+button, chromedp.NodeEnabled), chromedp.Text(entry, &text, chromedp.NodeVisible))
		for _, w := range append(want, ": as expected") {
			if !strings.Contains(text, w) {
				t.Errorf("%s, answer %d: no %q in\n%s", button, count, w, text)
			}
		}
	}
	fill := func(name, password string) {
		t.Helper()
		exampletest.Do(t, ctx, chromedp.SetValue("#username", name), chromedp.SetValue("#password", password))
	}

	exampletest.Look(t, ctx, "login-start")
	// The answer to a click must be on the screen of a phone.
	exampletest.Do(t, ctx, emulation.SetDeviceMetricsOverride(390, 844, 1, true))
	press("list", "401 Unauthorized", `Bearer realm="restricted"`, "missing")
	fill("alice", "wrong")
	press("sign-in", "401 Unauthorized", "wrong name or password")
	fill("alice", alicePassword)
	press("sign-in", "200 OK", "token_type")
	press("list", "200 OK", "white rabbit")
	var shown bool
	for _, e := range []string{"#answer-4 h3", "#list"} {
		exampletest.Do(t, ctx, chromedp.Evaluate(`(() => { const r = document.querySelector("`+e+`").getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight })()`, &shown))
		if !shown {
			t.Errorf("after a click, %s is not on the screen", e)
		}
	}
	exampletest.Do(t, ctx, emulation.ClearDeviceMetricsOverride())
	press("tamper", "401 Unauthorized", "invalid token signature")
	press("admin", "403 Forbidden")
	press("list", "200 OK", "white rabbit")
	press("sign-out", "204 No Content")
	press("list", "401 Unauthorized", "token revoked")
	press("tamper", "401 Unauthorized", "invalid token signature")
	press("sign-out", "401 Unauthorized", "token revoked")
	fill("ada", adaPassword)
	press("sign-in", "200 OK")
	press("admin", "200 OK", "kid")

	var status, page string
	exampletest.Do(t, ctx, chromedp.Text("#status", &status), chromedp.OuterHTML("html", &page))
	if want := "Get the admin's page: 200, as expected."; status != want {
		t.Errorf("the status for screen readers is %q, want %q", status, want)
	}
	if shown := regexp.MustCompile(`eyJ[\w-]{10,}`).FindString(page); shown != "" {
		t.Errorf("the page shows a token: %s", shown)
	}
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser reports %q", got)
	}
	exampletest.Look(t, ctx, "login")
}

// The cookie is Secure and the page uses http. Chromium accepts that on loopback,
// for 127.0.0.1 and for localhost.
func TestPage_cookie(t *testing.T) {
	ctx := exampletest.Browser(t)
	s := start(t)
	complained := exampletest.Complaints(ctx)
	for _, url := range []string{s.url, strings.Replace(s.url, "127.0.0.1", "localhost", 1)} {
		var at, text, script string
		exampletest.Do(t, ctx, log.Enable(),
			chromedp.Navigate(url+"/account"), // not yet
			chromedp.Text(".notice", &text, chromedp.NodeVisible),
			chromedp.Location(&at),
		)
		if at != url+"/?sign-in-first" || text != "Sign in to see that page." {
			t.Errorf("before the sign-in: %q at %s", text, at)
		}
		exampletest.Do(t, ctx,
			chromedp.SetValue("#username", "alice"),
			chromedp.SetValue("#password", alicePassword),
			chromedp.Click("#sign-in-cookie"),
			chromedp.WaitVisible("dl"),
			chromedp.Text("h1", &text),
			chromedp.Location(&at),
			chromedp.Evaluate("document.cookie", &script),
		)
		if at != url+"/account" || text != "Hello, alice" || script != "" {
			t.Errorf("after the sign-in: %q at %s, and scripts see the cookie %q", text, at, script)
		}
		exampletest.Look(t, ctx, "login-account")
		exampletest.Do(t, ctx,
			chromedp.Click("#sign-out"),
			chromedp.WaitVisible("#sign-in-cookie"),
			chromedp.Navigate(url+"/account"),
			chromedp.Text(".notice", &text, chromedp.NodeVisible),
			chromedp.Location(&at),
		)
		if at != url+"/?sign-in-first" {
			t.Errorf("after the sign-out: %q at %s", text, at)
		}
	}
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser reports %q", got)
	}
}
