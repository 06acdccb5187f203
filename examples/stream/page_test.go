package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/revocation"
)

func TestPage(t *testing.T) {
	ctx := exampletest.Browser(t)
	r := start(t, hour, 200*time.Millisecond)
	complained := exampletest.Complaints(ctx)
	exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(r.url+"/"), chromedp.WaitVisible("#login"))
	signIn := func(password string) {
		t.Helper()
		exampletest.Do(t, ctx, chromedp.SetValue("#username", demo.Alice), chromedp.SetValue("#password", password), chromedp.Click("#login button", chromedp.NodeEnabled))
	}
	// until waits for the page to show a text.
	until := func(selector, text string) {
		t.Helper()
		exampletest.Do(t, ctx, chromedp.Poll(`document.querySelector("`+selector+`").textContent.includes("`+text+`")`, nil, chromedp.WithPollingTimeout(10*time.Second)))
	}
	signIn("wrong")
	until("#status", "Wrong name or password")
	exampletest.Look(t, ctx, "stream-signed-out")
	for _, button := range []string{"logout", "everywhere"} {
		signIn(demo.AlicePassword)
		until("#status", "Signed in as alice") // and the lists are empty
		until("#socket", "clock: ")
		until("#events", "clock: ")
		exampletest.Do(t, ctx, chromedp.SendKeys("[name=text]", "hello from "+button), chromedp.Click("#chat button.main", chromedp.NodeEnabled))
		until("#socket", "alice: hello from "+button)
		until("#events", "alice: hello from "+button)
		exampletest.Do(t, ctx, chromedp.Reload(), chromedp.WaitVisible("#logout")) // the cookie is kept
		until("#status", "Signed in as alice")
		until("#socket-end", "Open")
		until("#events-end", "Open")
		until("#socket", "clock: ")
		exampletest.Look(t, ctx, "stream-"+button+"-before")
		exampletest.Do(t, ctx, chromedp.Click("#"+button, chromedp.NodeEnabled))
		until("#socket-end", "Ended: 1008 revoked")
		until("#events-end", "Ended: revoked")
		exampletest.Look(t, ctx, "stream-"+button+"-after")
		var state int
		var script string
		exampletest.Do(t, ctx, chromedp.Evaluate("events.readyState", &state), chromedp.Evaluate("document.cookie", &script))
		if state != 2 || script != "" {
			t.Errorf("the EventSource is in state %d, want 2: closed; scripts see the cookie %q", state, script)
		}
	}
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(got, "\n"))
	}
}

// EventSource reconnects when a stream ends, and a 401 stops it, as a comment of
// app.js says.
func TestPage_reconnect(t *testing.T) {
	ctx := exampletest.Browser(t)
	r := start(t, hour, hour)
	exampletest.Do(t, ctx, chromedp.Navigate(r.url+"/"), chromedp.WaitVisible("#login"),
		chromedp.SetValue("#username", demo.Alice), chromedp.SetValue("#password", demo.AlicePassword), chromedp.Click("#login button", chromedp.NodeEnabled),
		chromedp.Poll(`document.querySelector("#events").textContent.includes("clock: ")`, nil),
		chromedp.Evaluate(`document.querySelector("#events").replaceChildren()`, nil))
	r.stop() // this and later streams end with "shutdown", after which the page lets the browser reconnect
	exampletest.Do(t, ctx,
		chromedp.Poll(`document.querySelector("#events-end").textContent.startsWith("Ended: shutdown") && events.readyState === 0`, nil, chromedp.WithPollingTimeout(10*time.Second)))
	if err := r.revoked.Revoke(t.Context(), revocation.Entry{Kind: revocation.ByIssuer, Issuer: issuer, IssuedUntil: time.Now()}); err != nil {
		t.Fatal(err)
	}
	exampletest.Do(t, ctx,
		chromedp.Poll(`document.querySelector("#events-end").textContent.startsWith("Refused") && events.readyState === 2`, nil, chromedp.WithPollingTimeout(10*time.Second)))
}
