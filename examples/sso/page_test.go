package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp"
)

// browser starts a headless Chromium that ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium found: the pages are not driven")
		}
		t.Skip("no Chromium found: the pages are not driven")
	}
	ctx, stopClock := context.WithTimeout(context.Background(), time.Minute)
	ctx, stopProcess := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.WindowSize(900, 700),
	)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		// In order, so that the profile's folder is left alone when it is removed.
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
		closeTab()
		stopProcess()
		stopClock()
	})
	return ctx
}

// complaints collects what a page throws and what the browser blocks. A
// refused request is logged by the browser too, and is what we are here for.
func complaints(ctx context.Context) func() []string {
	var mu sync.Mutex
	var all []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			all = append(all, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if e.Entry.Source != log.SourceNetwork {
				all = append(all, string(e.Entry.Source)+": "+e.Entry.Text)
			}
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// TestABrowserTakesTheTour is what the greeting tells people to try. The
// cookies are Secure, and this is http: Chromium takes them, since it trusts
// the loopback interface.
func TestABrowserTakesTheTour(t *testing.T) {
	ctx := browser(t)
	s := start(t)
	complained := complaints(ctx)
	do(t, ctx, log.Enable())
	// shows waits for the element and checks the heading and the address. With
	// the folder for screenshots in the environment, it takes one.
	shows := func(name, element, at, heading string) {
		t.Helper()
		var text, location, script string
		do(t, ctx, chromedp.WaitVisible(element), chromedp.Text("h1", &text), chromedp.Evaluate("location.origin+location.pathname", &location), chromedp.Evaluate("document.cookie", &script))
		if text != heading || location != at || script != "" {
			t.Errorf("%s: %q at %s, and scripts see the cookies %q; want %q at %s", name, text, location, script, heading, at)
		}
		if folder := os.Getenv("SSO_SCREENSHOTS"); folder != "" {
			var png []byte
			do(t, ctx, chromedp.FullScreenshot(&png, 100))
			if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill := func(name, password string) {
		t.Helper()
		do(t, ctx, chromedp.SetValue("#username", name), chromedp.SetValue("#password", password), chromedp.Click("#sign-in"))
	}

	do(t, ctx, chromedp.Navigate(s.a.url))
	shows("1-sent-to-sign-in", "#username", s.idp.url+"/authorize", "Sign in")
	fill("ada", "wrong")
	shows("2-wrong-password", ".notice", s.idp.url+"/authorize", "Sign in")
	fill("ada", adaPassword)
	shows("3-site-a", "#kid", s.a.url+"/", "Hello, ada")
	do(t, ctx, chromedp.Click("#other"), chromedp.WaitVisible(`//p[text()="Site B"]`))
	shows("4-site-b-without-a-password", "#kid", s.b.url+"/", "Hello, ada")

	do(t, ctx, chromedp.Navigate(s.idp.url), chromedp.Click("#rotate"), chromedp.WaitVisible("tr:nth-child(2) code"))
	shows("5-a-new-key", "#rotate", s.idp.url+"/", "Signed in as ada")
	do(t, ctx, chromedp.Navigate(s.a.url))
	shows("6-site-a-goes-on", "#kid", s.a.url+"/", "Hello, ada")
	do(t, ctx, chromedp.Click("#sign-out"))
	shows("7-signed-out", "#message", s.a.url+"/signed-out", "Signed out")
	do(t, ctx, chromedp.Navigate(s.b.url))
	shows("8-site-b-asks-again", "#username", s.idp.url+"/authorize", "Sign in")
	fill("alice", alicePassword)
	shows("9-site-b-as-alice", "#kid", s.b.url+"/", "Hello, alice")

	// A button of site A whose token is no good any more leads on to the other one.
	do(t, ctx, chromedp.Navigate(s.a.url), chromedp.WaitVisible(`//p[text()="Site A"]`))
	if err := s.a.ended.Add(jwthttp.Revocation{Issuer: s.idp.url, Subject: "alice", IssuedUntil: time.Now()}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Click("#sign-out"))
	shows("10-identity-service", "table", s.idp.url+"/", "Signed in as alice")
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
}
