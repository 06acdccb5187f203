package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// client is a client in Go. It keeps the nonce of the last answer.
type client struct {
	t     *testing.T
	url   string
	nonce string
}

func (c *client) do(method, path, authorization, proof, body string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for one := range strings.Lines(proof) {
		r.Header.Add("DPoP", strings.TrimSpace(one))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { res.Body.Close() })
	if n := res.Header.Get("DPoP-Nonce"); n != "" {
		c.nonce = n
	}
	return res
}

func (c *client) signIn(password, proof string) (token, problem string) {
	c.t.Helper()
	res := c.do("POST", "/token", "", proof, url.Values{"username": {demo.Alice}, "password": {password}}.Encode())
	var body struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		c.t.Fatal(err)
	}
	return body.Token, body.Error
}

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	c := &client{t: t, url: p.URL}
	key, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	first := key.Proof("POST", p.URL+"/token", "", nil)
	token, _ := c.signIn(demo.AlicePassword, first)
	if token == "" {
		t.Fatal("no token")
	}
	set := func(name string, value any) string {
		return key.Proof("POST", p.URL+"/token", "", func(_, claims map[string]any) { claims[name] = value })
	}
	header := func(name string, value any) string {
		return key.Proof("POST", p.URL+"/token", "", func(header, _ map[string]any) { header[name] = value })
	}
	jwk := func(name string, value any) string {
		return key.Proof("POST", p.URL+"/token", "", func(header, _ map[string]any) { header["jwk"].(map[string]any)[name] = value })
	}
	signed := func(proof, by string) string {
		return proof[:strings.LastIndexByte(proof, '.')] + by[strings.LastIndexByte(by, '.'):]
	}
	for _, test := range []struct{ name, password, proof, want string }{
		{"a wrong password", "wrong", set("x", 1), "invalid_grant"},
		{"no proof", demo.AlicePassword, "", "invalid_dpop_proof"},
		{"the same proof", demo.AlicePassword, first, "invalid_dpop_proof"},
		{"another method", demo.AlicePassword, set("htm", "GET"), "invalid_dpop_proof"},
		{"another URL", demo.AlicePassword, set("htu", p.URL+"/resource"), "invalid_dpop_proof"},
		{"an old proof", demo.AlicePassword, set("iat", time.Now().Add(-time.Hour).Unix()), "invalid_dpop_proof"},
		{"a future proof", demo.AlicePassword, set("iat", time.Now().Add(time.Hour).Unix()), "invalid_dpop_proof"},
		{"no jti", demo.AlicePassword, set("jti", nil), "invalid_dpop_proof"},
		{"typ JWT", demo.AlicePassword, header("typ", "JWT"), "invalid_dpop_proof"},
		{"crit", demo.AlicePassword, header("crit", []string{"exp"}), "invalid_dpop_proof"},
		{"a null crit", demo.AlicePassword, header("crit", json.RawMessage("null")), "invalid_dpop_proof"},
		{"a private key", demo.AlicePassword, jwk("d", "AA"), "invalid_dpop_proof"},
		{"a null private key", demo.AlicePassword, jwk("d", json.RawMessage("null")), "invalid_dpop_proof"},
		{"a point off the curve", demo.AlicePassword, jwk("y", strings.Repeat("A", 43)), "invalid_dpop_proof"},
		{"another curve", demo.AlicePassword, jwk("crv", "P-384"), "invalid_dpop_proof"},
		{"another algorithm", demo.AlicePassword, jwthttptest.NewProver(t, "EdDSA").Proof("POST", p.URL+"/token", "", nil), "invalid_dpop_proof"},
		{"another signature", demo.AlicePassword, set("x", 1) + "AA", "invalid_dpop_proof"},
		{"the signature of another proof", demo.AlicePassword, signed(set("x", 1), first), "invalid_dpop_proof"},
		{"two fields", demo.AlicePassword, set("x", 1) + "\n" + set("x", 2), "invalid_dpop_proof"},
		{"two in one field", demo.AlicePassword, set("x", 1) + "," + set("x", 2), "invalid_dpop_proof"},
	} {
		if token, problem := c.signIn(test.password, test.proof); token != "" || problem != test.want {
			t.Errorf("%s: %q, token %t", test.name, problem, token != "")
		}
	}
	proof := func(k *jwthttptest.Prover) string {
		return k.Proof("GET", p.URL+"/resource", token, func(_, claims map[string]any) { claims["nonce"] = c.nonce })
	}
	again := ""
	for _, test := range []struct {
		name, scheme string
		proof        func() string
		want         string
	}{
		{"no nonce", "DPoP", func() string { return key.Proof("GET", p.URL+"/resource", token, nil) }, "nonce"},
		{"a proof with the nonce", "DPoP", func() string { again = proof(key); return again }, ""},
		{"the same proof", "DPoP", func() string { return again }, "replayed"},
		{"another key", "DPoP", func() string { return proof(other) }, "binding"},
		{"Bearer", "Bearer", func() string { return "" }, "binding"},
		{"no proof", "DPoP", func() string { return "" }, "proof"},
	} {
		res := c.do("GET", "/resource", test.scheme+" "+token, test.proof(), "")
		if got := res.Header.Get("Example-Reason"); got != test.want || (res.StatusCode == 200) != (test.want == "") {
			t.Errorf("%s: %d, reason %q", test.name, res.StatusCode, got)
		}
	}
	p.End(t)
}

func TestPage(t *testing.T) {
	ctx := exampletest.Browser(t)
	p := exampletest.Start(t)
	complained := exampletest.Complaints(ctx)
	exampletest.Do(t, ctx, log.Enable(), chromedp.Navigate(p.URL+"/"), chromedp.WaitVisible("#login"))
	exampletest.Look(t, ctx, "bound-signed-out")
	exampletest.Do(t, ctx, chromedp.SetValue("#username", demo.Alice), chromedp.SetValue("#password", demo.AlicePassword),
		chromedp.Click("#login button"), chromedp.WaitVisible("#actions"))
	for _, step := range []struct{ button, want string }{
		{"call", "Call, again with the nonce: 200, hello alice"},
		{"forget", "Without a nonce: 401, reason nonceWithout a nonce, again with the nonce: 200"},
		{"replay", "Second use of the proof: 401, reason replayed"},
		{"thief", "Stolen, with another key: 401, reason binding"},
		{"bearer", "Stolen, as Bearer: 401, reason binding"},
	} {
		if step.button == "replay" { // the nonce is older than two minutes
			exampletest.Do(t, ctx, chromedp.Evaluate(`nonce = "old"`, nil))
		}
		exampletest.Do(t, ctx, chromedp.Click("#"+step.button),
			chromedp.Poll(`document.querySelector("#log").textContent.includes("`+step.want+`")`, nil, chromedp.WithPollingTimeout(10*time.Second)))
	}
	exampletest.Look(t, ctx, "bound")
	if all := complained(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
	p.End(t)
}
