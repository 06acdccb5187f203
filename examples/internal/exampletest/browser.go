package exampletest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// Browser starts a headless Chromium that ends with the test.
func Browser(t *testing.T) context.Context {
	t.Helper()
	path := testprogram.Find(t, "chromium", "chromium-browser", "google-chrome")
	ctx, stopClock := context.WithTimeout(context.Background(), 2*time.Minute)
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
		// The browser must end before the folder of its profile is removed.
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
		closeTab()
		stopProcess()
		stopClock()
	})
	if err := chromedp.Run(ctx); err != nil { // starts the browser; inside Do it would end with the context of Do
		t.Fatal(err)
	}
	return ctx
}

// Complaints returns a function that returns uncaught exceptions of the page and
// messages of the browser, such as blocked scripts. Failed requests are left out,
// because the tests cause them.
func Complaints(ctx context.Context) func() []string {
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

// Do runs actions in the browser in order.
func Do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // actions wait for elements
	defer cancel()
	for i, action := range actions {
		if err := chromedp.Run(ctx, action); err != nil {
			t.Fatalf("action %d of %d: %v", i+1, len(actions), err)
		}
	}
}

// Look checks the page at two widths, in light and in dark mode: nothing overflows
// to the side, nothing is covered, and the modes differ. It saves a picture of each
// in the folder that the environment variable SCREENSHOTS names, if any.
func Look(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	var at int
	Do(t, ctx, chromedp.Evaluate("scrollY", &at))
	for _, width := range []int64{1200, 390} {
		paper := map[string]string{}
		for _, scheme := range []string{"light", "dark"} {
			var found []string
			var color string
			Do(t, ctx,
				emulation.SetDeviceMetricsOverride(width, 844, 1, width < 500),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				chromedp.Evaluate(fmt.Sprintf("(%s)(%d)", faults, width), &found),
				chromedp.Evaluate("getComputedStyle(document.body).backgroundColor", &color))
			paper[color] = scheme
			full := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			for _, f := range found {
				t.Errorf("%s: %s", full, f)
			}
			picture(t, ctx, full)
		}
		if len(paper) != 2 {
			t.Errorf("%s at %d: light and dark mode are equal", name, width)
		}
	}
	Do(t, ctx, emulation.ClearDeviceMetricsOverride(), emulation.SetEmulatedMedia().WithFeatures(nil),
		chromedp.Evaluate(fmt.Sprintf("scrollTo(0, %d)", at), nil))
}

// faults lists what is too wide or covered. It gets the width of the screen, because
// innerWidth grows with a page that overflows.
const faults = `(width) => {
	const found = [], name = (e) => e.tagName.toLowerCase() + " “" + e.textContent.trim().slice(0, 30) + "”";
	if (document.documentElement.scrollWidth > width) found.push("the page is " + document.documentElement.scrollWidth + " wide");
	for (const e of document.querySelectorAll("h1, h2, h3, p, a, button, input, li, dt, dd, th, td, code, pre, svg, svg text")) {
		let r = e.getBoundingClientRect();
		if (!r.width || !r.height) continue;
		if (r.left < -0.5 || r.right > width + 0.5) found.push(name(e) + " leaves the page");
		const frame = e.ownerSVGElement?.getBoundingClientRect();
		if (frame ? r.left < frame.left || r.right > frame.right : e.clientWidth && e.tagName !== "INPUT" && e.scrollWidth > e.clientWidth + 1) found.push(name(e) + " is cut off");
		if (!e.matches("h1, h2, h3, a, button, input")) continue;
		e.scrollIntoView({ block: "center", behavior: "instant" });
		r = e.getClientRects()[0];
		const top = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
		if (top !== e && !e.contains(top)) found.push(name(e) + " is covered by " + (top ? name(top) : "nothing"));
	}
	scrollTo(0, 0);
	return found;
}`

func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	var png []byte
	Do(t, ctx, chromedp.FullScreenshot(&png, 100)) // 100: a PNG
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
