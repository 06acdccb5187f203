package jwthttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
)

const (
	missing   = "401 missing"
	badField  = "400 invalid_request malformed"
	badToken  = "401 invalid_token malformed"
	twoTokens = "400 invalid_request multiple"
)

// extraction is one request against one extractor. T in a text is a good token.
type extraction struct {
	name    string
	request []func(*http.Request)
	want    string
}

func runExtractions(t *testing.T, e jwthttp.Extractor, tests []extraction) {
	t.Helper()
	opts := newOptions()
	opts.Extractor = e
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			token := goodToken(nil)
			for _, values := range r.Header {
				for i := range values {
					values[i] = strings.ReplaceAll(values[i], "T", token)
				}
			}
			r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "T", token)
			r.RequestURI = strings.ReplaceAll(r.RequestURI, "T", token)
			checkVerdict(t, mustNew[testClaims](t, opts), r, tt.want)
		})
	}
}

func one(name string, want string, request ...func(*http.Request)) extraction {
	return extraction{name, request, want}
}

func auth(values ...string) func(*http.Request) { return withField("Authorization", values...) }

// RFC 6750 §2.1, RFC 9110 §11.1 and §11.4; rules 1 to 4 of our conformance list.
func TestBearerCredentialsInTheAuthorizationField(t *testing.T) {
	runExtractions(t, nil, []extraction{
		one("no field", missing),
		one("empty field", missing, auth("")),
		one("another scheme", missing, auth("Basic dXNlcjpwYXNz")),
		one("a scheme that needs a proof", missing, auth("DPoP T")),
		one("another scheme with parameters", missing, auth(`Digest username="a", realm="b", nonce="c"`)),
		one("the scheme grown together with the token", missing, auth("BearerT")),
		one("a colon after the scheme", missing, auth("Bearer:T")),
		one("another field", missing, withField("X-Authorization", "Bearer T")),
		one("Proxy-Authorization", missing, withField("Proxy-Authorization", "Bearer T")),
		one("a trailer", missing, func(r *http.Request) { r.Trailer = http.Header{"Authorization": {"Bearer " + goodToken(nil)}} }),
		one("a cookie", missing, withField("Cookie", "token=T")),
		one("a query parameter", missing, withQuery("access_token=T")),

		one("as in the RFC", admitted, auth("Bearer T")),
		one("lower case", admitted, auth("bearer T")),
		one("upper case", admitted, auth("BEARER T")),
		one("several spaces", admitted, auth("Bearer    T")),

		one("a tab after the scheme", badField, auth("Bearer\tT")),
		one("a tab after the space", badField, auth("Bearer \tT")),
		one("a no-break space after the scheme", badField, auth("Bearer\u00a0T")),
		one("a no-break space after the space", badField, auth("Bearer \u00a0T")),
		one("nothing after the scheme", badField, auth("Bearer")),
		one("a space after the scheme", badField, auth("Bearer ")),
		one("two words", badField, auth("Bearer T T")),
		one("a space at the end", badField, auth("Bearer T ")),
		one("a comma at the end", badField, auth("Bearer T,")),
		one("quotes", badField, auth(`Bearer "T"`)),
		one("a parameter", badField, auth("Bearer T; x=y")),
		one("a byte above 0x7f", badField, auth("Bearer T\xff")),
		one("a letter outside of ASCII", badField, auth("Bearer Té")),
		one("the scheme twice", badField, auth("Bearer Bearer T")),
		one("padding in the middle", badField, auth("Bearer a=b.c.d")),

		one("token68 that is no token", badToken, auth("Bearer abc")),
		one("token68 with padding", badToken, auth("Bearer T==")),
		one("base64 of the other alphabet", badToken, auth("Bearer a/b.c+d.e~f")),

		one("two fields", twoTokens, auth("Bearer T", "Bearer T")),
		one("two fields, ours first", twoTokens, auth("Bearer T", "Basic dTpw")),
		one("two fields, ours last", twoTokens, auth("Basic dTpw", "Bearer T")),
		one("two fields of other schemes", twoTokens, auth("Basic dTpw", "Digest x")),
		one("two fields, one empty", twoTokens, auth("", "Bearer T")),
		one("two credentials joined by a comma", twoTokens, auth("Bearer T, Bearer T")),
		one("two tokens joined by a comma", twoTokens, auth("Bearer T,T")),
		one("another scheme joined before ours", twoTokens, auth("Basic dTpw, Bearer T")),
		one("another scheme joined before ours without a blank", twoTokens, auth("Basic dTpw,bearer T")),
		one("ours joined before another scheme", twoTokens, auth("Bearer T, Basic dTpw")),
		one("another scheme joined before ours with a tab", twoTokens, auth("Basic dTpw,Bearer\tT")),
		one("another scheme joined before ours, quoted", missing, auth(`Basic dTpw, Bearer "T"`)),
		one("the word alone in another scheme's list", missing, auth("Basic dTpw, x")),
		one("our scheme without a token in another's list", missing, auth("Basic dTpw, Bearer")),
		one("our scheme inside another's quotes", missing, auth(`Digest realm="a, Bearer b", x="c"`)),
		one("a DEL after the scheme", badField, auth("Bearer\x7fT")),
		one("a tab that ends the field", badField, auth("Bearer\t")),
	})
}

func TestTokensInOtherFields(t *testing.T) {
	t.Run("the whole of Authorization, as tutorials send it", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("authorization", ""), []extraction{
			one("bare token", admitted, auth("T")),
			one("no field", missing),
			one("empty field", missing, auth("")),
			one("with a scheme after all", badField, auth("Bearer T")),
			one("two tokens", twoTokens, auth("T,T")),
			one("two fields", twoTokens, auth("T", "T")),
		})
	})
	t.Run("a field called token", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("token", ""), []extraction{
			one("bare token", admitted, withField("token", "T")),
			one("no field", missing, auth("T")),
			one("not a token", badToken, withField("token", "undefined")),
		})
	})
	t.Run("a scheme of one's own", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("Authorization", "Token"), []extraction{
			one("that scheme", admitted, auth("token T")),
			one("the usual scheme", missing, auth("Bearer T")),
		})
	})
}

func TestTokensInCookies(t *testing.T) {
	runExtractions(t, jwthttp.FromCookie("session"), []extraction{
		one("alone", admitted, withField("Cookie", "session=T")),
		one("among others", admitted, withField("Cookie", "a=1; session=T; b=2")),
		one("on a second line, as HTTP/2 sends them", admitted, withField("Cookie", "a=1", "session=T")),
		one("in double quotes", admitted, withField("Cookie", `session="T"`)),
		one("no cookie", missing),
		one("another name", missing, withField("Cookie", "session2=T; xsession=T")),
		one("another case", missing, withField("Cookie", "Session=T")),
		one("a name without a value", missing, withField("Cookie", "session")),
		one("empty", missing, withField("Cookie", "session=")),
		one("empty in double quotes", missing, withField("Cookie", `session=""`)),
		one("twice", twoTokens, withField("Cookie", "session=T; session=T")),
		one("twice on two lines", twoTokens, withField("Cookie", "session=T", "session=T")),
		one("twice, once empty", twoTokens, withField("Cookie", "session=; session=T")),
		one("twice, once without a value", twoTokens, withField("Cookie", "session; session=T")),
		one("twice, once with a blank after the name", twoTokens, withField("Cookie", "session =x; session=T")),
		one("with a blank after the name, as net/http reads it", admitted, withField("Cookie", "session =T")),
		one("with a blank inside", badToken, withField("Cookie", "session=T T")),
		one("with a byte that makes net/http drop the cookie", badToken, withField("Cookie", "session=T\x01")),
		one("not token68", badToken, withField("Cookie", `session=T"x`)),
		one("more cookies than net/http reads", badField, withField("Cookie", strings.Repeat("a=b; ", 3000)+"session=T")),
		one("more cookies than net/http reads, on many lines", badField, func(r *http.Request) {
			for range 3001 {
				r.Header.Add("Cookie", "a=b")
			}
		}),
		one("as many cookies as net/http reads", admitted, withField("Cookie", strings.Repeat("a=b; ", 2999)+"session=T")),
	})
}

func TestTokensInTheQuery(t *testing.T) {
	runExtractions(t, jwthttp.FromQuery("token"), []extraction{
		one("alone", admitted, withQuery("token=T")),
		one("among others", admitted, withQuery("a=1&token=T&b=2")),
		one("with an escaped name", admitted, withQuery("tok%65n=T")),
		one("no parameter", missing, withQuery("a=1")),
		one("no query", missing, withQuery("")),
		one("another case", missing, withQuery("Token=T")),
		one("a longer name", missing, withQuery("token2=T")),
		one("a name that does not decode", missing, withQuery("toke%zz=T")),
		one("empty", missing, withQuery("token=&a=1")),
		one("without a value", missing, withQuery("token")),
		one("twice", twoTokens, withQuery("token=T&token=T")),
		one("twice, once escaped", twoTokens, withQuery("token=T&%74oken=T")),
		one("a line break at the end", badToken, withQuery("token=T%0A")),
		one("a plus sign", badToken, withQuery("token=T+")),
		one("not token68", badToken, withQuery("token=%22T%22")),
		one("an escape that does not decode", badToken, withQuery("token=T%zz")),
		one("a semicolon, which net/http drops the parameter for", badToken, withQuery("token=T;a=1")),
		one("an escaped token longer than any", "401 invalid_token too_large", withQuery("token="+strings.Repeat("%41", 1<<16))),
		one("more parameters than we read", badField, withQuery(strings.Repeat("a=b&", 3000)+"token=T")),
		one("a form parameter in the body", missing, func(r *http.Request) {
			r.Method = http.MethodPost
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(strings.NewReader("token=" + goodToken(nil)))
		}),
	})
}

func TestTokensInAWebSocketUpgrade(t *testing.T) {
	upgrade := func(protocols ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header["Sec-Websocket-Protocol"] = protocols
		}
	}
	runExtractions(t, jwthttp.FromWebSocketProtocol("jwt."), []extraction{
		one("among other protocols", admitted, upgrade("chat, jwt.T")),
		one("on a second line", admitted, upgrade("chat", "jwt.T")),
		one("with a foreign origin: scripts of other sites do not have the token", admitted, upgrade("chat, jwt.T"), withField("Origin", "https://elsewhere.example")),
		one("no upgrade", missing, withField("Sec-WebSocket-Protocol", "jwt.T")),
		one("another upgrade", missing, upgrade("jwt.T"), withField("Upgrade", "h2c")),
		one("over HTTP/2", admitted, withMethod("CONNECT"), withField("Sec-WebSocket-Protocol", "jwt.T"), func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} }),
		one("only other protocols", missing, upgrade("chat, JWT.T")),
		one("nothing after the prefix", badField, upgrade("chat, jwt.")),
		one("not token68", badField, upgrade("jwt.T!")),
		one("twice", twoTokens, upgrade("jwt.T, jwt.T")),
		one("twice, once empty", twoTokens, upgrade("jwt.T, jwt.")),
	})
}

func TestTheFirstPlaceWithACredentialDecides(t *testing.T) {
	runExtractions(t, jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("session"), jwthttp.FromQuery("token")), []extraction{
		one("nowhere", missing),
		one("first place", admitted, auth("Bearer T")),
		one("second place", admitted, withField("Cookie", "session=T")),
		one("third place", admitted, withQuery("token=T")),
		one("a foreign scheme falls through", admitted, auth("Basic dTpw"), withField("Cookie", "session=T")),
		one("an empty cookie falls through", admitted, withField("Cookie", "session="), withQuery("token=T")),
		one("a malformed credential does not fall through", badField, auth("Bearer"), withField("Cookie", "session=T")),
		one("a bad token does not fall through", badToken, auth("Bearer abc"), withField("Cookie", "session=T")),
		one("two credentials do not fall through", twoTokens, auth("Bearer T", "Bearer T"), withField("Cookie", "session=T")),
		one("a bad token in the second place is not looked at", admitted, auth("Bearer T"), withField("Cookie", "session=x")),
	})
}

func TestOnlyOnePlaceMayHaveACredential(t *testing.T) {
	runExtractions(t, jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("session"), jwthttp.FromQuery("token")), []extraction{
		one("nowhere", missing),
		one("first place", admitted, auth("Bearer T")),
		one("last place", admitted, withQuery("token=T")),
		one("header and query, equal tokens", twoTokens, auth("Bearer T"), withQuery("token=T")),
		one("header and cookie", twoTokens, auth("Bearer T"), withField("Cookie", "session=x")),
		one("a malformed one and a good one", twoTokens, auth("Bearer"), withField("Cookie", "session=T")),
		one("a malformed one alone", badField, auth("Bearer")),
		one("a foreign scheme does not count", admitted, auth("Basic dTpw"), withQuery("token=T")),
		one("an empty cookie does not count", admitted, auth("Bearer T"), withField("Cookie", "session=")),
	})
}

func TestExtractorsOfOnesOwn(t *testing.T) {
	answer := func(c jwthttp.Credential, err error) jwthttp.Extractor {
		return func(*http.Request) (jwthttp.Credential, error) { return c, err }
	}
	for _, tt := range []struct {
		name string
		e    jwthttp.Extractor
		want string
	}{
		{"ErrNoToken is no credential", answer(jwthttp.Credential{}, jwthttp.ErrNoToken), missing},
		{"wrapped ErrNoToken is no credential", answer(jwthttp.Credential{}, fmt.Errorf("session: %w", jwthttp.ErrNoToken)), missing},
		{"an empty token is no credential", answer(jwthttp.Credential{}, nil), missing},
		{"wrapped ErrMultipleTokens is a 400", answer(jwthttp.Credential{}, fmt.Errorf("session: %w", jwthttp.ErrMultipleTokens)), twoTokens},
		{"every other error is a 400", answer(jwthttp.Credential{}, errors.New("cannot decrypt")), badField},
		{"text that is no token68 is a 401 unless from a header", answer(jwthttp.Credential{Token: "a b"}, nil), badToken},
		{"text that is no token68 is a 400 from a header", answer(jwthttp.Credential{Token: "a b", Source: jwthttp.SourceHeader}, nil), badField},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = tt.e
			m := mustNew[testClaims](t, opts)
			checkVerdict(t, m, newRequest(), tt.want)
			want := tt.want
			if want == missing {
				want = admitted
			}
			checkVerdict(t, m.Optional(), newRequest(), want)
		})
	}
}

func TestMistakesInTheProgramPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"FromHeader without a field":                func() { jwthttp.FromHeader("", "Bearer") },
		"FromHeader with a blank in the field":      func() { jwthttp.FromHeader("X Token", "") },
		"FromHeader with two words as scheme":       func() { jwthttp.FromHeader("Authorization", "Bearer ") },
		"FromCookie without a name":                 func() { jwthttp.FromCookie("") },
		"FromCookie with a semicolon in the name":   func() { jwthttp.FromCookie("a;b") },
		"FromQuery without a name":                  func() { jwthttp.FromQuery("") },
		"FromWebSocketProtocol without a prefix":    func() { jwthttp.FromWebSocketProtocol("") },
		"FromWebSocketProtocol with a comma":        func() { jwthttp.FromWebSocketProtocol("a,b") },
		"FirstOf without places":                    func() { jwthttp.FirstOf() },
		"FirstOf with a nil place":                  func() { jwthttp.FirstOf(jwthttp.FromCookie("a"), nil) },
		"OnlyOne without places":                    func() { jwthttp.OnlyOne() },
		"OnlyOne with a nil place":                  func() { jwthttp.OnlyOne(nil) },
		"RequireScopes without scopes":              func() { mustNew[testClaims](t, newOptions()).RequireScopes() },
		"RequireAnyScope without scopes":            func() { mustNew[testClaims](t, newOptions()).RequireAnyScope() },
		"RequireScopes with an empty scope":         func() { mustNew[testClaims](t, newOptions()).RequireScopes("") },
		"RequireScopes with two scopes in one text": func() { mustNew[testClaims](t, newOptions()).RequireScopes("a b") },
		"RequireAnyScope with a double quote":       func() { mustNew[testClaims](t, newOptions()).RequireAnyScope(`a"b`) },
		"RequireAnyScope with a byte above 0x7f":    func() { mustNew[testClaims](t, newOptions()).RequireAnyScope("é") },
		"Require of nothing":                        func() { mustNew[testClaims](t, newOptions()).Require(nil) },
		"Handler of nothing":                        func() { mustNew[testClaims](t, newOptions()).Handler(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p, _ := recover().(string); !strings.HasPrefix(p, "jwthttp: ") {
					t.Errorf("panic %q, want one of jwthttp", p)
				}
			}()
			f()
		})
	}
}

// Everyone behind the extraction sees the request without the token.
func TestAQueryTokenLeavesTheRequest(t *testing.T) {
	good, bad := goodToken(nil), goodToken(map[string]any{"exp": 1})
	type view struct{ RawQuery, RequestURI string }
	for _, tt := range []struct {
		name, query, want string
		admitted          bool
	}{
		{"first", "token=" + good + "&a=1", "a=1", true},
		{"in the middle", "a=1&token=" + good + "&b=2", "a=1&b=2", true},
		{"last", "a=1&token=" + good, "a=1", true},
		{"alone", "token=" + good, "", true},
		{"the other bytes stay", "b=%7e+&&A=%2F&token=" + good + "&=&;x&a", "b=%7e+&&A=%2F&=&;x&a", true},
		{"escaped name", "a=1&t%6fken=" + good, "a=1", true},
		{"an empty one stays", "token=&a=1", "token=&a=1", false},
		{"refused token", "a=1&token=" + bad, "a=1", false},
		{"two tokens", "token=" + good + "&a=1&token=" + bad, "a=1", false},
		{"too many parameters", "token=" + good + "&a=1" + strings.Repeat("&b", 3000), "a=1" + strings.Repeat("&b", 3000), false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var seen []view
			see := func(r *http.Request) {
				uri := strings.TrimPrefix(r.RequestURI, "/things")
				seen = append(seen, view{r.URL.RawQuery, strings.TrimPrefix(uri, "?")})
				_ = r.ParseForm()
				if strings.Join(r.Form["token"], "") != "" {
					t.Error("the form has the token")
				}
			}
			opts := newOptions()
			opts.Extractor = jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromQuery("token"))
			opts.Observer = func(r *http.Request, _ jwthttp.Event) { see(r) }
			opts.ErrorHandler = func(_ http.ResponseWriter, r *http.Request, _ *jwthttp.Error) { see(r) }
			m := mustNew[testClaims](t, opts).Require(func(r *http.Request) error { see(r); return nil })

			r := newRequest(withQuery(tt.query))
			original := r.Clone(r.Context())
			res := serve(m, r)
			if res.inner != nil {
				see(res.inner)
			}
			want := []view{{tt.want, tt.want}, {tt.want, tt.want}, {tt.want, tt.want}}
			if !tt.admitted {
				want = want[:2] // Observer and ErrorHandler
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("seen (-want +got):\n%s", diff)
			}
			if *r.URL != *original.URL || r.RequestURI != original.RequestURI {
				t.Error("the original request was changed")
			}
			if got := [2]string{res.Header().Get("Cache-Control"), res.Header().Get("Referrer-Policy")}; tt.admitted && got != [2]string{"private", "no-referrer"} {
				t.Errorf("response headers %q", got)
			}
		})
	}
}

// Whatever place decides, a token in the URL must leave it.
func TestAQueryTokenLeavesTheRequestWhereverTheOtherOneIs(t *testing.T) {
	header, q := jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromQuery("token")
	custom := func(r *http.Request) (jwthttp.Credential, error) {
		return jwthttp.Credential{Token: r.Header.Get("X-Token")}, nil
	}
	for _, tt := range []struct {
		name string
		e    jwthttp.Extractor
		want string
	}{
		{"header first", jwthttp.FirstOf(header, q), admitted},
		{"a custom place between", jwthttp.FirstOf(header, custom, q), admitted},
		{"nested", jwthttp.FirstOf(jwthttp.FirstOf(header, custom), jwthttp.FirstOf(custom, q)), admitted},
		{"only one", jwthttp.OnlyOne(header, q), twoTokens},
		{"only one, query first", jwthttp.OnlyOne(q, header), twoTokens},
		{"two parameters", jwthttp.OnlyOne(q, jwthttp.FromQuery("other")), twoTokens},
		{"a parameter twice behind a header", jwthttp.FirstOf(header, jwthttp.FromQuery("twice")), admitted},
		{"a name with a blank", jwthttp.FirstOf(header, jwthttp.FromQuery("my token")), admitted},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = tt.e
			good := goodToken(nil)
			raw := "a=1&token=" + good
			switch tt.name {
			case "two parameters":
				raw += "&other=" + good
			case "a parameter twice behind a header":
				raw = "a=1&twice=" + good + "&twice=" + good
			case "a name with a blank":
				raw = "a=1&my+token=" + good
			}
			r := newRequest(withQuery(raw), withBearer(good))
			out, err := mustNew[testClaims](t, opts).Authenticate(r)
			got := admitted
			if err != nil {
				got = verdictOf(err)
			}
			if got != tt.want || out.URL.RawQuery != "a=1" || out.RequestURI != "/things?a=1" {
				t.Errorf("%q with %s", got, out.RequestURI)
			}
		})
	}
}

func TestAQueryTokenLeavesAFormThatWasParsedBefore(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FromQuery("token")
	m := mustNew[testClaims](t, opts)
	for name, body := range map[string]string{"without it in the body": "a=1", "with one in the body": "a=1&token=mine"} {
		bubble(t, name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/?b=2&token="+goodToken(nil), strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if err := r.ParseForm(); err != nil {
				t.Fatal(err)
			}
			inner := serve(m, r).inner
			if inner == nil {
				t.Fatal("refused")
			}
			want := url.Values{"a": {"1"}, "b": {"2"}}
			if strings.Contains(body, "mine") {
				want["token"] = []string{"mine"}
			}
			if diff := cmp.Diff(want, inner.Form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			if len(r.Form["token"]) == 0 {
				t.Error("the original form was changed")
			}
		})
	}
}

func TestAHandlersOwnHeadersStayOnAQueryTokensResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromQuery("token")
		h := mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for before, want := range map[string]string{"public, max-age=60": "private", "no-store": "no-store", "private, max-age=60": "private, max-age=60", "": "private"} {
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", before)
			w.Header().Set("Referrer-Policy", "same-origin")
			h.ServeHTTP(w, newRequest(withQuery("token="+goodToken(nil))))
			if got := w.Header(); got.Get("Cache-Control") != want || got.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("after %q: headers %v", before, got)
			}
		}
		own := mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("Referrer-Policy", "same-origin")
		}))
		w := httptest.NewRecorder()
		own.ServeHTTP(w, newRequest(withQuery("token="+goodToken(nil))))
		if got := w.Header(); got.Get("Cache-Control") != "no-cache" || got.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("the handler's own: headers %v", got)
		}
	})
}

// Rule 7 and 44: the body is the handler's.
func TestTheBodyIsNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("token"), jwthttp.FromQuery("token"))
		body := strings.NewReader("token=x")
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		checkVerdict(t, mustNew[testClaims](t, opts), r, missing)
		if body.Len() != 7 {
			t.Error("the body was read")
		}
	})
}

// Rule 9: what is too large is refused before anything is done about it.
func TestHugeCredentialsCostNothing(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"), jwthttp.FromQuery("q"))
	m := mustNew[testClaims](t, opts)
	for name, tt := range map[string]struct {
		request func(*http.Request)
		want    string
	}{
		"900 KiB of token":               {withBearer(strings.Repeat("A", 900<<10)), "401 invalid_token too_large"},
		"500 KiB of dots":                {withBearer(strings.Repeat(".", 500<<10)), "401 invalid_token too_large"},
		"900 KiB of commas":              {withBearer(strings.Repeat(",", 900<<10)), "401 invalid_token too_large"},
		"900 KiB of another scheme":      {auth("Basic " + strings.Repeat("Bearer,", 130<<10)), missing},
		"900 KiB of cookie":              {withField("Cookie", "c="+strings.Repeat("A", 900<<10)), "401 invalid_token too_large"},
		"900 KiB of parameter":           {withQuery("q=" + strings.Repeat("A", 900<<10)), "401 invalid_token too_large"},
		"900 KiB of escapes":             {withQuery("q=" + strings.Repeat("%41", 300<<10)), "401 invalid_token too_large"},
		"900 KiB of ampersands":          {withQuery(strings.Repeat("&", 900<<10)), badField},
		"900 KiB of parameter's name":    {withQuery(strings.Repeat("%41", 300<<10) + "=1"), missing},
		"8 KiB of members":               {withBearer(b64(goodHeader) + "." + b64("{"+members(750)+"}") + ".AAAA"), "401 invalid_token issuer"},
		"8 KiB of brackets":              {withBearer(b64(goodHeader) + "." + b64(`{"a":`+strings.Repeat("[", 6000)) + ".AAAA"), badToken},
		"8 KiB of objects of 17 members": {withBearer(b64(goodHeader) + "." + b64(`{"a":[`+strings.Repeat("{"+members(17)+"},", 50)+"1]}") + ".AAAA"), "401 invalid_token issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(tt.request)
			if got := verdict(m, r); got != tt.want {
				t.Fatalf("verdict %q, want %q", got, tt.want)
			}
			if got := bytesPerRun(func() { _, _ = m.Authenticate(r) }); got > 64<<10 {
				t.Errorf("%d bytes allocated", got)
			}
		})
	}
}

// bytesPerRun returns what f allocates, the mean of a few runs.
func bytesPerRun(f func()) uint64 {
	const runs = 10
	var before, after runtime.MemStats
	f()
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%x":1`, i)
	}
	return b.String()
}

func TestSourceNames(t *testing.T) {
	for source, want := range map[jwthttp.Source]string{
		jwthttp.SourceOther: "other", jwthttp.SourceHeader: "header", jwthttp.SourceCookie: "cookie", jwthttp.SourceQuery: "query", 200: "other",
	} {
		if got := source.String(); got != want {
			t.Errorf("Source(%d) is %q, want %q", source, got, want)
		}
	}
}

// Rule 10: nothing and something bad are different things.
func TestOptionalAdmitsAMissingTokenOnly(t *testing.T) {
	m := mustNew[testClaims](t, newOptions()).Optional()
	for name, tt := range map[string]struct {
		request func(*http.Request)
		want    string
	}{
		"nothing":          {func(*http.Request) {}, admitted},
		"a foreign scheme": {auth("Basic dTpw"), admitted},
		"a good token":     {withBearer(goodToken(nil)), admitted},
		"an expired token": {withBearer(goodToken(map[string]any{"exp": 1})), "401 invalid_token expired"},
		"an empty bearer":  {auth("Bearer"), badField},
		"two fields":       {auth("Basic dTpw", "Basic dTpw"), twoTokens},
		"garbage":          {withBearer("garbage"), badToken},
	} {
		bubble(t, name, func(t *testing.T) { checkVerdict(t, m, newRequest(tt.request), tt.want) })
	}
	inner := serve(m, newRequest()).inner
	if _, ok := jwthttp.ClaimsFromContext[testClaims](inner.Context()); ok {
		t.Error("claims without a token")
	}
	if _, ok := jwthttp.TokenFromContext(inner.Context()); ok {
		t.Error("a Token without a token")
	}
}

// Rule 11: the method makes no difference to a header token.
func TestEveryMethodNeedsAToken(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	for _, name := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"} {
		bubble(t, name, func(t *testing.T) {
			if got := verdict(m, newRequest(withMethod(name))); got != missing {
				t.Errorf("without a token: %q", got)
			}
			if got := verdict(m, newRequest(withMethod(name), withBearer(goodToken(nil)))); got != admitted {
				t.Errorf("with a token: %q", got)
			}
		})
	}
}

// Rule 45.
func TestTokensThatABrowserSendsUnaskedAreGuarded(t *testing.T) {
	const crossOrigin = "403 cross_origin"
	trusting := http.NewCrossOriginProtection()
	if err := trusting.AddTrustedOrigin("https://app.example"); err != nil {
		t.Fatal(err)
	}
	cookie := func(r *http.Request) { r.Header.Set("Cookie", "c="+goodToken(nil)) }
	header := func(r *http.Request) { withBearer(goodToken(nil))(r) }
	other := func(r *http.Request) { r.Header.Set("X-Other", goodToken(nil)) }
	inQuery := func(r *http.Request) { withQuery("q=" + goodToken(nil))(r) }
	site := func(v string) func(*http.Request) { return withField("Sec-Fetch-Site", v) }
	foreign := withField("Origin", "https://evil.example")
	websocket := func(r *http.Request) {
		r.Header.Set("Connection", "keep-alive, Upgrade")
		r.Header.Set("Upgrade", "websocket")
	}
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"), jwthttp.FromQuery("q"),
		func(r *http.Request) (jwthttp.Credential, error) {
			return jwthttp.Credential{Token: r.Header.Get("X-Other")}, nil
		})
	m := mustNew[testClaims](t, opts)
	opts.CrossOrigin = trusting
	mTrusting := mustNew[testClaims](t, opts)
	for _, tt := range []struct {
		name    string
		m       *jwthttp.Middleware
		request []func(*http.Request)
		want    string
	}{
		{"cookie, same origin", m, []func(*http.Request){cookie, withMethod("POST"), site("same-origin")}, admitted},
		{"cookie, not from a browser", m, []func(*http.Request){cookie, withMethod("POST")}, admitted},
		{"cookie, safe method, cross-site", m, []func(*http.Request){cookie, site("cross-site")}, admitted},
		{"cookie, POST, cross-site", m, []func(*http.Request){cookie, withMethod("POST"), site("cross-site")}, crossOrigin},
		{"cookie, POST, same-site", m, []func(*http.Request){cookie, withMethod("POST"), site("same-site")}, crossOrigin},
		{"cookie, PUT, cross-site", m, []func(*http.Request){cookie, withMethod("PUT"), site("cross-site")}, crossOrigin},
		{"cookie, PATCH, cross-site", m, []func(*http.Request){cookie, withMethod("PATCH"), site("cross-site")}, crossOrigin},
		{"cookie, DELETE, cross-site", m, []func(*http.Request){cookie, withMethod("DELETE"), site("cross-site")}, crossOrigin},
		{"cookie, POST, foreign origin", m, []func(*http.Request){cookie, withMethod("POST"), foreign}, crossOrigin},
		{"cookie, POST, origin null", m, []func(*http.Request){cookie, withMethod("POST"), withField("Origin", "null")}, crossOrigin},
		{"cookie, POST, own origin", m, []func(*http.Request){cookie, withMethod("POST"), withField("Origin", "http://example.com")}, admitted},
		{"other source, POST, cross-site", m, []func(*http.Request){other, withMethod("POST"), site("cross-site")}, crossOrigin},
		{"cookie, WebSocket, foreign origin", m, []func(*http.Request){cookie, websocket, foreign}, crossOrigin},
		{"cookie, WebSocket, cross-site", m, []func(*http.Request){cookie, websocket, site("cross-site")}, crossOrigin},
		{"cookie, WebSocket, own origin", m, []func(*http.Request){cookie, websocket, withField("Origin", "http://example.com")}, admitted},
		{"cookie, WebSocket over HTTP/2, foreign origin", m, []func(*http.Request){cookie, withMethod("CONNECT"), foreign, func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} }}, crossOrigin},
		{"cookie, POST, trusted origin", mTrusting, []func(*http.Request){cookie, withMethod("POST"), site("cross-site"), withField("Origin", "https://app.example")}, admitted},
		{"cookie, WebSocket, trusted origin", mTrusting, []func(*http.Request){cookie, websocket, site("cross-site"), withField("Origin", "https://app.example")}, admitted},
		{"cookie, POST, another origin than the trusted one", mTrusting, []func(*http.Request){cookie, withMethod("POST"), site("cross-site"), foreign}, crossOrigin},
		{"header, POST, cross-site", m, []func(*http.Request){header, withMethod("POST"), site("cross-site"), foreign}, admitted},
		{"header, WebSocket, foreign origin", m, []func(*http.Request){header, websocket, foreign}, admitted},
		{"query, POST, cross-site", m, []func(*http.Request){inQuery, withMethod("POST"), site("cross-site")}, admitted},
		{"no token, POST, cross-site", m, []func(*http.Request){withMethod("POST"), site("cross-site")}, missing},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			checkVerdict(t, tt.m, r, tt.want)
			if tt.want == crossOrigin {
				checkVerdict(t, tt.m.Optional(), r, tt.want)
			}
		})
	}
}

// A recipe of the README: a token in a form field, and one in an encrypted
// cookie, need ten lines each.
func TestTheSourceOfAnUnnamedPlaceIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = func(r *http.Request) (jwthttp.Credential, error) {
			return jwthttp.Credential{Token: r.PostFormValue("token"), Name: "token"}, nil
		}
		m := mustNew[testClaims](t, opts)
		post := func(site string) *http.Request {
			r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", strings.NewReader("token="+goodToken(nil)))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", site)
			return r
		}
		checkVerdictOnce(t, m, post("same-origin"), admitted)
		checkVerdictOnce(t, m, post("cross-site"), "403 cross_origin")
	})
}

// checkVerdictOnce is for a request with a body, which can be judged only once.
func checkVerdictOnce(t *testing.T, m *jwthttp.Middleware, r *http.Request, want string) {
	t.Helper()
	if got := verdict(m, r); got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
}
