package exampletest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/internal/testprogram"
)

// Browser starts a headless Chromium that ends with the test.
func Browser(t *testing.T) context.Context {
	t.Helper()
	path := testprogram.Find(t, "chromium", "chromium-browser", "google-chrome")
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

// Screenshot saves a picture of the page in the folder that the environment
// variable SCREENSHOTS names. Without it, Screenshot does nothing.
func Screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	var picture []byte
	Do(t, ctx, chromedp.FullScreenshot(&picture, 100)) // 100: a PNG
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
