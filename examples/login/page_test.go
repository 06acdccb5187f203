package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
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
			t.Fatal("no Chromium found: the page is not driven")
		}
		t.Skip("no Chromium found: the page is not driven")
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
		chromedp.WindowSize(1200, 1000),
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

// complaints collects what the page throws and what the browser blocks. A
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

func TestThePageShowsWhatShouldHappen(t *testing.T) {
	ctx := browser(t)
	s := start(t)
	complained := complaints(ctx)
	do(t, ctx, log.Enable(), chromedp.Navigate(s.url+"/"), chromedp.WaitVisible("#list"))

	count := 0
	press := func(button string, want ...string) {
		t.Helper()
		count++
		entry := fmt.Sprintf("#answer-%d", count)
		var text string
		do(t, ctx, chromedp.Click("#"+button, chromedp.NodeEnabled), chromedp.Text(entry, &text, chromedp.NodeVisible))
		for _, w := range append(want, ": as expected") {
			if !strings.Contains(text, w) {
				t.Errorf("%s, answer %d: no %q in\n%s", button, count, w, text)
			}
		}
	}
	fill := func(name, password string) {
		t.Helper()
		do(t, ctx, chromedp.SetValue("#username", name), chromedp.SetValue("#password", password))
	}

	press("list", "401 Unauthorized", `Bearer realm="restricted"`, "missing")
	fill("alice", "wrong")
	press("sign-in", "401 Unauthorized", "wrong name or password")
	fill("alice", alicePassword)
	press("sign-in", "200 OK", "token_type")
	press("list", "200 OK", "white rabbit")
	press("tamper", "401 Unauthorized", "the signature of the token is invalid")
	press("admin", "403 Forbidden")
	press("list", "200 OK", "white rabbit")
	press("sign-out", "204 No Content")
	press("list", "401 Unauthorized", "the token has been revoked")
	press("tamper", "401 Unauthorized", "the signature of the token is invalid")
	press("sign-out", "401 Unauthorized", "the token has been revoked")
	fill("ada", adaPassword)
	press("sign-in", "200 OK")
	press("admin", "200 OK", "kid")

	var status, page string
	do(t, ctx, chromedp.Text("#status", &status), chromedp.OuterHTML("html", &page))
	if want := "Ask as an admin: 200, as expected."; status != want {
		t.Errorf("screen readers hear %q, want %q", status, want)
	}
	if shown := regexp.MustCompile(`eyJ[\w-]{10,}`).FindString(page); shown != "" {
		t.Errorf("the page shows more of a token than its beginning: %s", shown)
	}
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
	if file := os.Getenv("LOGIN_SCREENSHOT"); file != "" {
		var png []byte
		do(t, ctx, chromedp.FullScreenshot(&png, 100))
		if err := os.WriteFile(file, png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The cookie is Secure, and this is http: Chromium takes it, since it trusts
// the loopback interface, by name and by address.
func TestABrowserSignsInWithACookie(t *testing.T) {
	ctx := browser(t)
	s := start(t)
	complained := complaints(ctx)
	for _, url := range []string{s.url, strings.Replace(s.url, "127.0.0.1", "localhost", 1)} {
		var at, text, script string
		do(t, ctx, log.Enable(),
			chromedp.Navigate(url+"/account"), // not yet
			chromedp.Text(".notice", &text, chromedp.NodeVisible),
			chromedp.Location(&at),
		)
		if at != url+"/?sign-in-first" || text != "Sign in to see that page." {
			t.Errorf("before the sign-in: %q at %s", text, at)
		}
		do(t, ctx,
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
		do(t, ctx,
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
		t.Errorf("the browser complains: %q", got)
	}
}
