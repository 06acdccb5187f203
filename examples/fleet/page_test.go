package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

func TestPage(t *testing.T) {
	ctx := exampletest.Browser(t)
	p := start(t, "-data", t.TempDir())
	complained := exampletest.Complaints(ctx)
	// each waits until the tokens of all instances are shown in that way.
	each := func(kind string) {
		t.Helper()
		exampletest.Do(t, ctx, chromedp.Poll(fmt.Sprintf(`document.querySelectorAll(".token.%s").length === %d`, kind, instances), nil))
	}
	exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(p.URL),
		chromedp.SetValue("#username", demo.Alice), chromedp.SetValue("#password", "wrong"), chromedp.Click("#login button"),
		chromedp.WaitVisible("#status.bad"),
		chromedp.SetValue("#password", demo.AlicePassword), chromedp.Click("#login button"))
	each("good")
	exampletest.Look(t, ctx, "fleet-signed-in")
	exampletest.Do(t, ctx, chromedp.Click(`[data-instance="2"] button`, chromedp.NodeEnabled))
	each("bad")
	var here, other, status string
	exampletest.Do(t, ctx,
		chromedp.Poll(`document.querySelector("#status").textContent.includes("ms.")`, nil),
		chromedp.Text(`[data-instance="2"] .token`, &here), chromedp.Text(`[data-instance="3"] .token`, &other), chromedp.Text("#status", &status))
	if here != "rejected, revoked here" || !regexp.MustCompile(`^rejected after \d+ ms$`).MatchString(other) ||
		!regexp.MustCompile(`^Signed out at instance 2\. All instances rejected the token within \d+ ms\.$`).MatchString(status) {
		t.Errorf("the page shows %q, %q, %q", here, other, status)
	}
	exampletest.Look(t, ctx, "fleet-signed-out")
	if got := complained(); len(got) > 0 {
		t.Errorf("the browser reports %q", got)
	}
	exampletest.Do(t, ctx, chromedp.Navigate("about:blank")) // it asks no more
	p.End(t)
}
