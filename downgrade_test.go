package jwthttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// attempt is one way to use a token.
type attempt struct {
	token, place, proof, certificate, option string
	cached                                   bool
}

// mayPass is RFC 9449 §7 and RFC 8705 §3 in four lines: what is needed to use a
// token of each kind.
func (a attempt) mayPass() bool {
	dpop := a.place == "DPoP" && a.proof == "good" && a.option != "unset"
	switch a.token {
	case "bearer":
		return a.place != "DPoP" && a.option != "required"
	case "jkt":
		return dpop
	case "x5t":
		return a.place != "DPoP" && a.certificate == "good"
	case "both":
		return dpop && a.certificate == "good"
	}
	return false // an unknown member
}

// Every kind of token in every place, with every kind of proof and certificate:
// none passes in a way that proves less than its binding.
// Rules 48, 49, 51, 52, 56
func TestAuthenticate_downgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := jwthttptest.NewProver(t, "EdDSA"), jwthttptest.NewProver(t, "EdDSA")
		tokens := map[string]string{"bearer": goodToken(nil)}
		for kind, cnf := range map[string]map[string]any{
			"jkt": {"jkt": p.Thumbprint()}, "x5t": {"x5t#S256": rfc8705Thumbprint},
			"both":    {"jkt": p.Thumbprint(), "x5t#S256": rfc8705Thumbprint},
			"unknown": {"jkt": p.Thumbprint(), "x5t#S256": rfc8705Thumbprint, "x": 1},
		} {
			tokens[kind] = goodToken(map[string]any{"cnf": cnf})
		}
		places := map[string]func(r *http.Request, token string){
			"Bearer": func(r *http.Request, token string) { withBearer(token)(r) },
			"DPoP":   func(r *http.Request, token string) { r.Header.Set("Authorization", "DPoP "+token) },
			"field":  func(r *http.Request, token string) { r.Header.Set("X-Token", token) },
			"cookie": func(r *http.Request, token string) { r.Header.Set("Cookie", "t="+token) },
			"query":  func(r *http.Request, token string) { withQuery("t=" + token)(r) },
			"form":   func(*http.Request, string) {}, // in the body
			"protocol": func(r *http.Request, token string) {
				withField("Upgrade", "websocket")(r)
				r.Header.Set("Sec-WebSocket-Protocol", "t."+token)
			},
		}
		extractor := jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromHeader("Authorization", "DPoP"), jwthttp.FromHeader("X-Token", ""),
			jwthttp.FromCookie("t"), jwthttp.FromQuery("t"), jwthttp.FromForm("t"), jwthttp.FromWebSocketProtocol("t."))
		proofs := map[string]func(method, token string) []string{
			"none":  func(string, string) []string { return nil },
			"good":  func(method, token string) []string { return []string{p.Proof(method, dpopURL, token, nil)} },
			"two":   func(m, t string) []string { return []string{p.Proof(m, dpopURL, t, nil), p.Proof(m, dpopURL, t, nil)} },
			"other": func(method, token string) []string { return []string{other.Proof(method, dpopURL, token, nil)} },
			"token": func(_, token string) []string { return []string{token} },
		}
		certificates := map[string]func(*http.Request){"none": func(*http.Request) {}, "good": withTLS(rfc8705DER()), "other": withTLS([]byte("other"), rfc8705DER())}
		tried, passed := 0, 0
		for option, dpop := range map[string]*jwthttp.DPoP{"unset": nil, "set": {BaseURLs: []string{dpopBase}}, "required": {BaseURLs: []string{dpopBase}, Required: true}} {
			for _, cached := range []bool{false, true} {
				opts := newOptions()
				opts.DPoP, opts.Extractor = dpop, extractor
				if cached {
					opts.CacheSize = 100
				}
				m := mustNew[testClaims](t, opts)
				for kind, token := range tokens {
					for place, put := range places {
						for proof, prove := range proofs {
							for certificate, show := range certificates {
								r := newRequest()
								if place == "form" {
									r = httptest.NewRequest("POST", "/things", strings.NewReader("t="+token))
									r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
									r.Header.Set("Sec-Fetch-Site", "same-origin")
								}
								put(r, token)
								show(r)
								if fields := prove(r.Method, token); fields != nil {
									r.Header["Dpop"] = fields
								}
								a := attempt{kind, place, proof, certificate, option, cached}
								tried++
								if a.check(t, m, r) {
									passed++
								}
							}
						}
					}
				}
			}
		}
		if tried != 3*2*5*7*5*3 || passed == 0 {
			t.Errorf("%d attempts, %d pass", tried, passed)
		}
	})
}

// check sends a request to a Middleware, and to one that admits visitors inside it or
// instead of it.
func (a attempt) check(t *testing.T, m *jwthttp.Middleware, r *http.Request) (passed bool) {
	admitted, err := m.Authenticate(r)
	if (err == nil) != a.mayPass() {
		t.Errorf("%+v: error %v", a, err)
	}
	if err == nil {
		if again, err := m.Authenticate(admitted); err != nil { // a Handler inside
			t.Errorf("%+v: inside: %v", a, err)
		} else if _, ok := jwthttp.TokenFromContext(again.Context()); !ok {
			t.Errorf("%+v: no token inside", a)
		}
		return true
	}
	if a.place == "form" { // its body has been read
		return false
	}
	visitor, err := m.AllowAnonymous().Authenticate(r)
	if err != nil {
		t.Errorf("%+v: visitor: %v", a, err)
		return false
	}
	if _, ok := jwthttp.TokenFromContext(visitor.Context()); ok {
		t.Errorf("%+v: a visitor has a token", a)
	}
	if _, err := m.Authenticate(visitor); err == nil {
		t.Errorf("%+v: admitted inside an admission as a visitor", a)
	}
	ctx, cancel := m.Watch(visitor.Context(), 0)
	defer cancel()
	if ctx.Err() == nil || context.Cause(ctx) == nil {
		t.Errorf("%+v: the visitor can watch", a)
	}
	if _, err := m.Optional().Authenticate(r); err == nil {
		t.Errorf("%+v: optional", a)
	}
	return false
}
