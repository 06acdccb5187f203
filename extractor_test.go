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

// placeholder stands for a good token in the rows of this file. No character of
// it may occur in a token, a scheme or a name.
const placeholder = "<token>"

// extraction is one request against one extractor.
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
			fillPlaceholders(r, goodToken(nil))
			checkVerdict(t, mustNew[testClaims](t, opts), r, tt.want)
		})
	}
}

func fillPlaceholders(r *http.Request, token string) {
	for _, values := range r.Header {
		for i := range values {
			values[i] = strings.ReplaceAll(values[i], placeholder, token)
		}
	}
	r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, placeholder, token)
	r.RequestURI = strings.ReplaceAll(r.RequestURI, placeholder, token)
}

func one(name string, want string, request ...func(*http.Request)) extraction {
	return extraction{name, request, want}
}

func auth(values ...string) func(*http.Request) { return withField("Authorization", values...) }

// RFC 6750 §2.1, RFC 9110 §11.1 and §11.4.
func TestFromHeader_bearer(t *testing.T) {
	runExtractions(t, nil, []extraction{
		// Rule 1
		one("no field", missing),
		one("empty field", missing, auth("")),
		one("another scheme", missing, auth("Basic dXNlcjpwYXNz")),
		one("the token without a scheme", missing, auth("<token>")),
		one("the token after another word", missing, auth("Token <token>")),
		one("a scheme that needs a proof", missing, auth("DPoP <token>")),
		one("another scheme with parameters", missing, auth(`Digest username="a", realm="b", nonce="c"`)),
		one("no space after the scheme", missing, auth("Bearer<token>")),
		one("a colon after the scheme", missing, auth("Bearer:<token>")),
		one("another field", missing, withField("X-Authorization", "Bearer <token>")),
		one("Proxy-Authorization", missing, withField("Proxy-Authorization", "Bearer <token>")),
		one("a trailer", missing, func(r *http.Request) { r.Trailer = http.Header{"Authorization": {"Bearer " + goodToken(nil)}} }),
		one("a cookie", missing, withField("Cookie", "token=<token>")),
		one("a query parameter", missing, withQuery("access_token=<token>")),

		// Rule 2
		one("as in the RFC", admitted, auth("Bearer <token>")),
		one("lower case", admitted, auth("bearer <token>")),
		one("upper case", admitted, auth("BEARER <token>")),
		one("several spaces", admitted, auth("Bearer    <token>")),

		one("a tab after the scheme", badField, auth("Bearer\t<token>")),
		one("a tab after the space", badField, auth("Bearer \t<token>")),
		one("a no-break space after the scheme", badField, auth("Bearer\u00a0<token>")),
		one("a no-break space after the space", badField, auth("Bearer \u00a0<token>")),
		// Rule 3
		one("nothing after the scheme", badField, auth("Bearer")),
		one("a space after the scheme", badField, auth("Bearer ")),
		one("two words", badField, auth("Bearer <token> <token>")),
		one("a space at the end", badField, auth("Bearer <token> ")),
		one("a comma at the end", badField, auth("Bearer <token>,")),
		one("quotes", badField, auth(`Bearer "<token>"`)),
		one("a parameter", badField, auth("Bearer <token>; x=y")),
		one("a byte above 0x7f", badField, auth("Bearer <token>\xff")),
		one("a letter outside of ASCII", badField, auth("Bearer <token>é")),
		one("the scheme twice", badField, auth("Bearer Bearer <token>")),
		one("padding in the middle", badField, auth("Bearer a=b.c.d")),
		one("a blank inside the payload of a token with another algorithm", badField, auth("Bearer "+b64(`{"alg":"none"}`)+".e 30.")),

		one("token68 that is no token", badToken, auth("Bearer abc")),
		one("token68 with padding", badToken, auth("Bearer <token>==")),
		one("base64 of the other alphabet", badToken, auth("Bearer a/b.c+d.e~f")),

		// Rule 4
		one("two fields", twoTokens, auth("Bearer <token>", "Bearer <token>")),
		one("two fields, ours first", twoTokens, auth("Bearer <token>", "Basic dTpw")),
		one("two fields, ours last", twoTokens, auth("Basic dTpw", "Bearer <token>")),
		one("two fields of other schemes", twoTokens, auth("Basic dTpw", "Digest x")),
		one("two fields, one empty", twoTokens, auth("", "Bearer <token>")),
		one("two credentials joined by a comma", twoTokens, auth("Bearer <token>, Bearer <token>")),
		one("two tokens joined by a comma", twoTokens, auth("Bearer <token>,<token>")),
		one("another scheme joined before ours", twoTokens, auth("Basic dTpw, Bearer <token>")),
		one("another scheme joined before ours without a blank", twoTokens, auth("Basic dTpw,bearer <token>")),
		one("ours joined before another scheme", twoTokens, auth("Bearer <token>, Basic dTpw")),
		one("another scheme joined before ours with a tab", twoTokens, auth("Basic dTpw,Bearer\t<token>")),
		one("another scheme joined before ours, quoted", missing, auth(`Basic dTpw, Bearer "<token>"`)),
		one("the word alone in another scheme's list", missing, auth("Basic dTpw, x")),
		one("our scheme without a token in another's list", missing, auth("Basic dTpw, Bearer")),
		one("our scheme inside another's quotes", missing, auth(`Digest realm="a, Bearer b", x="c"`)),
		one("a DEL after the scheme", badField, auth("Bearer\x7f<token>")),
		one("a tab that ends the field", badField, auth("Bearer\t")),
	})
}

// The log tells a field without the scheme from a missing field. The client is
// told the same.
func TestFromHeader_cause(t *testing.T) {
	header, cookie := jwthttp.FromHeader("authorization", "Bearer"), jwthttp.FromCookie("session")
	const other = `no token in the request: Authorization does not have the scheme "Bearer"`
	for _, tt := range []struct {
		name      string
		extractor jwthttp.Extractor
		request   []func(*http.Request)
		want      string
	}{
		{"the token without a scheme", nil, []func(*http.Request){auth("<token>")}, other},
		{"another scheme", nil, []func(*http.Request){auth("Basic dTpw")}, other},
		{"the token without a scheme, in the first of two places", jwthttp.FirstOf(header, cookie), []func(*http.Request){auth("<token>")}, other},
		{"the token without a scheme, in the last of two places", jwthttp.FirstOf(cookie, header), []func(*http.Request){auth("<token>")}, other},
		{"the token without a scheme, in one of two places", jwthttp.OnlyOne(cookie, header), []func(*http.Request){auth("<token>")}, other},
		{"no field", nil, nil, "no token in the request"},
		{"an empty field", nil, []func(*http.Request){auth("")}, other},
		{"no field in two places", jwthttp.FirstOf(header, cookie), nil, "no token in the request"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = tt.extractor
			r := newRequest(tt.request...)
			fillPlaceholders(r, goodToken(nil))
			m := mustNew[testClaims](t, opts)
			_, err := m.Authenticate(r)
			var e *jwthttp.Error
			if !errors.As(err, &e) || e.Status != http.StatusUnauthorized || e.Reason != jwthttp.ReasonMissing || e.Err.Error() != tt.want {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if body := serve(m, r).Body.String(); strings.Contains(body, "scheme") {
				t.Errorf("the client is told %s", body)
			}
		})
	}
}

func TestFromHeader_fields(t *testing.T) {
	t.Run("the whole of Authorization, as tutorials send it", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("authorization", ""), []extraction{
			one("bare token", admitted, auth("<token>")),
			one("no field", missing),
			one("empty field", missing, auth("")),
			one("with a scheme after all", badField, auth("Bearer <token>")),
			one("two tokens", twoTokens, auth("<token>,<token>")),
			one("two fields", twoTokens, auth("<token>", "<token>")),
		})
	})
	t.Run("a field called token", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("token", ""), []extraction{
			one("bare token", admitted, withField("token", "<token>")),
			one("no field", missing, auth("<token>")),
			one("not a token", badToken, withField("token", "undefined")),
		})
	})
	t.Run("another scheme", func(t *testing.T) {
		runExtractions(t, jwthttp.FromHeader("Authorization", "Token"), []extraction{
			one("that scheme", admitted, auth("token <token>")),
			one("the usual scheme", missing, auth("Bearer <token>")),
		})
	})
}

func TestFromCookie(t *testing.T) {
	runExtractions(t, jwthttp.FromCookie("session"), []extraction{
		one("alone", admitted, withField("Cookie", "session=<token>")),
		one("among others", admitted, withField("Cookie", "a=1; session=<token>; b=2")),
		one("on a second line, as HTTP/2 sends them", admitted, withField("Cookie", "a=1", "session=<token>")),
		one("in double quotes", admitted, withField("Cookie", `session="<token>"`)),
		one("no cookie", missing),
		one("another name", missing, withField("Cookie", "session2=<token>; xsession=<token>")),
		one("another case", missing, withField("Cookie", "Session=<token>")),
		one("a name without a value", missing, withField("Cookie", "session")),
		one("empty", missing, withField("Cookie", "session=")),
		one("empty in double quotes", missing, withField("Cookie", `session=""`)),
		// Rule 5
		one("twice", twoTokens, withField("Cookie", "session=<token>; session=<token>")),
		one("twice on two lines", twoTokens, withField("Cookie", "session=<token>", "session=<token>")),
		one("twice, once empty", twoTokens, withField("Cookie", "session=; session=<token>")),
		one("twice, once without a value", twoTokens, withField("Cookie", "session; session=<token>")),
		one("twice, once with a blank after the name", twoTokens, withField("Cookie", "session =x; session=<token>")),
		one("with a blank after the name, as net/http reads it", admitted, withField("Cookie", "session =<token>")),
		one("with a blank inside", badToken, withField("Cookie", "session=<token> <token>")),
		one("with a byte that makes net/http drop the cookie", badToken, withField("Cookie", "session=<token>\x01")),
		one("not token68", badToken, withField("Cookie", `session=<token>"x`)),
		// Rule 8
		one("more cookies than net/http reads", badField, withField("Cookie", strings.Repeat("a=b; ", 3000)+"session=<token>")),
		one("more cookies than net/http reads, on many lines", badField, func(r *http.Request) {
			for range 3001 {
				r.Header.Add("Cookie", "a=b")
			}
		}),
		one("as many cookies as net/http reads", admitted, withField("Cookie", strings.Repeat("a=b; ", 2999)+"session=<token>")),
	})
}

// Rule 5
func TestFromQuery(t *testing.T) {
	runExtractions(t, jwthttp.FromQuery("token"), []extraction{
		one("alone", admitted, withQuery("token=<token>")),
		one("among others", admitted, withQuery("a=1&token=<token>&b=2")),
		one("with an escaped name", admitted, withQuery("tok%65n=<token>")),
		one("no parameter", missing, withQuery("a=1")),
		one("no query", missing, withQuery("")),
		one("another case", missing, withQuery("Token=<token>")),
		one("a longer name", missing, withQuery("token2=<token>")),
		one("a name that does not decode", missing, withQuery("toke%zz=<token>")),
		one("empty", missing, withQuery("token=&a=1")),
		one("without a value", missing, withQuery("token")),
		one("twice", twoTokens, withQuery("token=<token>&token=<token>")),
		one("twice, once escaped", twoTokens, withQuery("token=<token>&%74oken=<token>")),
		one("a line break at the end", badToken, withQuery("token=<token>%0A")),
		one("a plus sign", badToken, withQuery("token=<token>+")),
		one("not token68", badToken, withQuery("token=%22<token>%22")),
		one("an escape that does not decode", badToken, withQuery("token=<token>%zz")),
		one("a semicolon, which net/http drops the parameter for", badToken, withQuery("token=<token>;a=1")),
		one("an escaped token longer than any", "401 invalid_token too_large", withQuery("token="+strings.Repeat("%41", 1<<16))),
		// Rule 8
		one("more parameters than we read", badField, withQuery(strings.Repeat("a=b&", 3000)+"token=<token>")),
		// Rule 7
		one("a form parameter in the body", missing, func(r *http.Request) {
			r.Method = http.MethodPost
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(strings.NewReader("token=" + goodToken(nil)))
		}),
	})
}

func TestFromWebSocketProtocol(t *testing.T) {
	upgrade := func(protocols ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header["Sec-Websocket-Protocol"] = protocols
		}
	}
	runExtractions(t, jwthttp.FromWebSocketProtocol("jwt."), []extraction{
		one("among other protocols", admitted, upgrade("chat, jwt.<token>")),
		one("on a second line", admitted, upgrade("chat", "jwt.<token>")),
		one("with a foreign origin: scripts of other sites do not have the token", admitted, upgrade("chat, jwt.<token>"), withField("Origin", "https://elsewhere.example")),
		one("no upgrade", missing, withField("Sec-WebSocket-Protocol", "jwt.<token>")),
		one("another upgrade", missing, upgrade("jwt.<token>"), withField("Upgrade", "h2c")),
		one("over HTTP/2", admitted, withMethod("CONNECT"), withField("Sec-WebSocket-Protocol", "jwt.<token>"), func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} }),
		one("only other protocols", missing, upgrade("chat, JWT.<token>")),
		one("nothing after the prefix", badField, upgrade("chat, jwt.")),
		one("not token68", badField, upgrade("jwt.<token>!")),
		one("twice", twoTokens, upgrade("jwt.<token>, jwt.<token>")),
		one("twice, once empty", twoTokens, upgrade("jwt.<token>, jwt.")),
	})
}

// Rule 6
func TestFirstOf(t *testing.T) {
	runExtractions(t, jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("session"), jwthttp.FromQuery("token")), []extraction{
		one("nowhere", missing),
		one("first place", admitted, auth("Bearer <token>")),
		one("second place", admitted, withField("Cookie", "session=<token>")),
		one("third place", admitted, withQuery("token=<token>")),
		one("a foreign scheme falls through", admitted, auth("Basic dTpw"), withField("Cookie", "session=<token>")),
		one("an empty cookie falls through", admitted, withField("Cookie", "session="), withQuery("token=<token>")),
		one("a malformed credential does not fall through", badField, auth("Bearer"), withField("Cookie", "session=<token>")),
		one("a bad token does not fall through", badToken, auth("Bearer abc"), withField("Cookie", "session=<token>")),
		one("two credentials do not fall through", twoTokens, auth("Bearer <token>", "Bearer <token>"), withField("Cookie", "session=<token>")),
		one("a bad token in the second place is not looked at", admitted, auth("Bearer <token>"), withField("Cookie", "session=x")),
	})
}

// Rule 5
func TestOnlyOne(t *testing.T) {
	runExtractions(t, jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("session"), jwthttp.FromQuery("token")), []extraction{
		one("nowhere", missing),
		one("first place", admitted, auth("Bearer <token>")),
		one("last place", admitted, withQuery("token=<token>")),
		one("header and query, equal tokens", twoTokens, auth("Bearer <token>"), withQuery("token=<token>")),
		one("header and cookie", twoTokens, auth("Bearer <token>"), withField("Cookie", "session=x")),
		one("a malformed one and a good one", twoTokens, auth("Bearer"), withField("Cookie", "session=<token>")),
		one("a malformed one alone", badField, auth("Bearer")),
		one("a foreign scheme does not count", admitted, auth("Basic dTpw"), withQuery("token=<token>")),
		one("an empty cookie does not count", admitted, auth("Bearer <token>"), withField("Cookie", "session=")),
	})
}

func postForm(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(body, placeholder, goodToken(nil))))
	}
}

// RFC 6750 §2.2.
func TestFromForm(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FromForm("token")
	for _, tt := range []extraction{
		one("alone", admitted, postForm("token=<token>")),
		one("among others", admitted, postForm("a=1&token=<token>&b=2")),
		one("with a charset", admitted, postForm("token=<token>"), withField("Content-Type", "Application/X-WWW-Form-URLEncoded; charset=utf-8")),
		one("no field", missing, postForm("a=1")),
		one("empty", missing, postForm("token=")),
		one("another case", missing, postForm("Token=<token>")),
		one("a query parameter", missing, postForm("a=1"), withQuery("token=<token>")),
		one("a query parameter of a GET", missing, withQuery("token=<token>")),
		one("another method", missing, postForm("token=<token>"), withMethod("PUT")),
		one("another type", missing, postForm("token=<token>"), withField("Content-Type", "application/json")),
		one("no type", missing, postForm("token=<token>"), withField("Content-Type")),
		one("multipart", missing, postForm("token=<token>"), withField("Content-Type", "multipart/form-data; boundary=x")),
		one("twice", twoTokens, postForm("token=<token>&token=<token>")),
		one("twice, once empty", twoTokens, postForm("token=<token>&token=")),
		one("not token68", badToken, postForm("token=%22")),
		one("a body that does not decode", badField, postForm("token=%zz")),
		one("more fields than we read", badField, postForm(fields(3000)+"token=<token>")), // Rule 8
		// Rule 45
		one("a query that does not decode", admitted, postForm("token=<token>"), withQuery("q=100%&a=1;b=2")),
		one("more fields of one name than we read", badField, postForm(strings.Repeat("a=&", 3000)+"token=<token>")),
		one("more bytes than we read", badField, postForm("a="+strings.Repeat("x", 1<<20)+"&token=<token>")),
		one("from the same origin", admitted, postForm("token=<token>"), withField("Sec-Fetch-Site", "same-origin")),
		one("from another site", "403 cross_origin", postForm("token=<token>"), withField("Sec-Fetch-Site", "cross-site")),
		one("from another origin", "403 cross_origin", postForm("token=<token>"), withField("Origin", "https://evil.example")),
	} {
		bubble(t, tt.name, func(t *testing.T) {
			// A body can be read only once, so checkVerdict does not fit.
			r := newRequest(tt.request...)
			fillPlaceholders(r, goodToken(nil))
			if got := verdict(mustNew[testClaims](t, opts), r); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
		})
	}
}

// fields returns n fields of a form, each with a separator.
func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "f%d=1&", i)
	}
	return b.String()
}

func TestFromForm_handler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FirstOf(jwthttp.FromForm("token"), jwthttp.FromQuery("token"))
		inner := serve(mustNew[testClaims](t, opts), newRequest(postForm("token=<token>&a=1"), withQuery("b=2&token=x"))).inner
		if inner == nil {
			t.Fatal("refused")
		}
		if got := inner.PostForm.Get("a"); got != "1" {
			t.Errorf("PostForm %v", inner.PostForm)
		}
		if err := inner.ParseForm(); err != nil {
			t.Error(err)
		}
		if got := inner.Form["token"]; inner.URL.RawQuery != "b=2" || len(got) != 1 || got[0] == "x" {
			t.Errorf("query %q, form has %d tokens", inner.URL.RawQuery, len(got))
		}
	})
	opts := newOptions()
	opts.Extractor = jwthttp.FromForm("token")
	_, err := mustNew[testClaims](t, opts).Authenticate(newRequest(postForm("token=confidential%zz")))
	if err == nil || strings.Contains(err.Error(), "confidential") || strings.Contains(err.Error(), "%zz") {
		t.Errorf("the error quotes the form: %v", err)
	}
}

// A form that cannot be parsed is refused each time, also if an outer middleware
// has tried to parse it before. Rule 8
func TestFromForm_twice(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FromForm("token")
	m := mustNew[testClaims](t, opts)
	for _, tt := range []struct {
		name   string
		before func(*http.Request)
	}{
		{"after another Handler", func(r *http.Request) { _, _ = m.AllowAnonymous().Authenticate(r) }},
		{"after FormValue", func(r *http.Request) { r.FormValue("a") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, body := range []string{"token=x&b=%zz", strings.Repeat("a=&", 1<<20)} {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				tt.before(r)
				if got := verdict(m.Optional(), r); got == admitted {
					t.Errorf("form of %d bytes: verdict %q", len(body), got)
				}
			}
		})
	}
}

func TestFromProxyHeader(t *testing.T) {
	const field = "Cf-Access-Jwt-Assertion"
	runExtractions(t, jwthttp.FromProxyHeader(strings.ToLower(field)), []extraction{
		one("alone", admitted, withField(field, "<token>")),
		one("no field", missing, auth("Bearer <token>")),
		one("empty field", missing, withField(field, "")),
		one("two fields", twoTokens, withField(field, "<token>", "<token>")),
		one("not token68", badToken, withField(field, "a b")),
		one("with a scheme", badToken, withField(field, "Bearer <token>")),
		// Rule 45
		one("POST from the same origin", admitted, withField(field, "<token>"), withMethod("POST"), withField("Sec-Fetch-Site", "same-origin")),
		one("POST from another site", "403 cross_origin", withField(field, "<token>"), withMethod("POST"), withField("Sec-Fetch-Site", "cross-site")),
		one("GET from another site", admitted, withField(field, "<token>"), withField("Sec-Fetch-Site", "cross-site")),
	})
}

// What an Extractor reports besides the token.
func TestCredential(t *testing.T) {
	upgrade := func(r *http.Request) {
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Protocol", "chat, jwt.abc")
	}
	for _, tt := range []struct {
		name      string
		extractor jwthttp.Extractor
		request   func(*http.Request)
		want      jwthttp.Credential
	}{
		{"header", jwthttp.FromHeader("authorization", "Bearer"), auth("bearer abc"), jwthttp.Credential{Name: "Authorization", Scheme: "Bearer", Source: jwthttp.SourceHeader}},
		{"header without a scheme", jwthttp.FromHeader("x-token", ""), withField("X-Token", "abc"), jwthttp.Credential{Name: "X-Token", Source: jwthttp.SourceHeader}},
		{"proxy header", jwthttp.FromProxyHeader("x-token"), withField("X-Token", "abc"), jwthttp.Credential{Name: "X-Token", Source: jwthttp.SourceOther}},
		{"cookie", jwthttp.FromCookie("c"), withField("Cookie", "c=abc"), jwthttp.Credential{Name: "c", Source: jwthttp.SourceCookie}},
		{"query", jwthttp.FromQuery("q"), withQuery("q=abc"), jwthttp.Credential{Name: "q", Source: jwthttp.SourceQuery}},
		{"form", jwthttp.FromForm("f"), postForm("f=abc"), jwthttp.Credential{Name: "f", Source: jwthttp.SourceOther}},
		{"WebSocket", jwthttp.FromWebSocketProtocol("jwt."), upgrade, jwthttp.Credential{Name: "Sec-Websocket-Protocol", Source: jwthttp.SourceHeader}},
		{"first of several", jwthttp.FirstOf(jwthttp.FromCookie("c"), jwthttp.FromHeader("Authorization", "Token")), auth("TOKEN abc"), jwthttp.Credential{Name: "Authorization", Scheme: "Token", Source: jwthttp.SourceHeader}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.extractor(newRequest(tt.request))
			if err != nil || got.Token != "abc" || got.Name != tt.want.Name || got.Scheme != tt.want.Scheme || got.Source != tt.want.Source {
				t.Errorf("token %q, %v, scheme %q, error %v", got.Token, got, got.Scheme, err)
			}
		})
	}
}

func TestExtractor_custom(t *testing.T) {
	answer := func(c jwthttp.Credential, err error) jwthttp.Extractor {
		return func(*http.Request) (jwthttp.Credential, error) { return c, err }
	}
	none := jwthttp.Credential{}
	expiredSession := &jwthttp.Error{Status: 440, Code: "session", Reason: "session", Description: "session expired"}
	for _, tt := range []struct {
		name     string
		e        jwthttp.Extractor
		want     string
		optional string
	}{
		{"ErrNoToken is no credential", answer(none, jwthttp.ErrNoToken), missing, admitted},
		{"wrapped ErrNoToken is no credential", answer(none, fmt.Errorf("session: %w", jwthttp.ErrNoToken)), missing, admitted},
		{"an empty token is no credential", answer(none, nil), missing, admitted},
		{"ErrNoToken with a token is no credential", answer(jwthttp.Credential{Token: "a.b.c"}, jwthttp.ErrNoToken), missing, admitted},
		{"wrapped ErrMultipleTokens is a 400", answer(none, fmt.Errorf("session: %w", jwthttp.ErrMultipleTokens)), twoTokens, twoTokens},
		{"every other error is a 400", answer(none, errors.New("cannot decrypt")), badField, badField},
		{"text that is no token68 is a 401 unless from a header", answer(jwthttp.Credential{Token: "a b"}, nil), badToken, badToken},
		{"text that is no token68 is a 400 from a header", answer(jwthttp.Credential{Token: "a b", Source: jwthttp.SourceHeader}, nil), badField, badField},
		{"an Error is the answer", answer(none, expiredSession), "440 session session", "440 session session"},
		{"a wrapped Error is the answer", answer(none, fmt.Errorf("store: %w", expiredSession)), "440 session session", "440 session session"},
		{"an Error that wraps ErrNoToken is the answer", answer(none, &jwthttp.Error{Status: 401, Reason: "gone", Err: jwthttp.ErrNoToken}), "401 gone", "401 gone"},
		{"an Error that wraps ErrMultipleTokens is the answer", answer(none, &jwthttp.Error{Status: 409, Reason: "gone", Err: jwthttp.ErrMultipleTokens}), "409 gone", "409 gone"},
		{"an Error without a status is a 400", answer(none, &jwthttp.Error{}), "400 malformed", "400 malformed"},
		{"an Error with the code of a token is a 401", answer(none, &jwthttp.Error{Code: "invalid_token"}), badToken, badToken},
		{"an Error that looks like a success is a 400", answer(none, &jwthttp.Error{Status: 204}), "400 malformed", "400 malformed"},
		{"an Error with a token is the answer", answer(jwthttp.Credential{Token: "a.b.c"}, expiredSession), "440 session session", "440 session session"},
		{"a nil *Error is a 400", answer(none, (*jwthttp.Error)(nil)), badField, badField},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = tt.e
			m := mustNew[testClaims](t, opts)
			for _, d := range []struct {
				m    *jwthttp.Middleware
				want string
			}{{m, tt.want}, {m.Optional(), tt.optional}} {
				if got := verdict(d.m, newRequest()); got != d.want {
					t.Errorf("verdict %q, want %q", got, d.want)
				}
				if res := serve(d.m, newRequest()); (res.inner != nil) != (d.want == admitted) {
					t.Errorf("status %d, want %q", res.Code, d.want)
				}
			}
			if _, err := m.Authenticate(newRequest()); err.Error() == "" || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("error %q", err)
			}
			opts.Extractor = jwthttp.FirstOf(tt.e, jwthttp.FromCookie("c"))
			if got := verdict(mustNew[testClaims](t, opts), newRequest(withField("Cookie", "c=x"))); tt.want != missing && got != tt.want {
				t.Errorf("verdict %q: fell through to the next place", got)
			}
		})
	}
	if expiredSession.Err != nil || expiredSession.Status != 440 {
		t.Errorf("the Extractor's Error was changed: %v", expiredSession)
	}
}

func TestExtractor_panics(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"FromHeader without a field", func() { jwthttp.FromHeader("", "Bearer") }},
		{"FromHeader with a blank in the field", func() { jwthttp.FromHeader("X Token", "") }},
		{"FromHeader with a blank in the scheme", func() { jwthttp.FromHeader("Authorization", "Bearer ") }},
		{"FromProxyHeader without a field", func() { jwthttp.FromProxyHeader("") }},
		{"FromProxyHeader with a colon in the field", func() { jwthttp.FromProxyHeader("a:") }},
		{"FromCookie without a name", func() { jwthttp.FromCookie("") }},
		{"FromCookie with a semicolon in the name", func() { jwthttp.FromCookie("a;b") }},
		{"FromForm without a name", func() { jwthttp.FromForm("") }},
		{"FromQuery without a name", func() { jwthttp.FromQuery("") }},
		{"FromWebSocketProtocol without a prefix", func() { jwthttp.FromWebSocketProtocol("") }},
		{"FromWebSocketProtocol with a comma", func() { jwthttp.FromWebSocketProtocol("a,b") }},
		{"FirstOf without places", func() { jwthttp.FirstOf() }},
		{"FirstOf with a nil place", func() { jwthttp.FirstOf(jwthttp.FromCookie("a"), nil) }},
		{"OnlyOne without places", func() { jwthttp.OnlyOne() }},
		{"OnlyOne with a nil place", func() { jwthttp.OnlyOne(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, name := panicOf(tt.f), strings.Fields(tt.name)[0]; !strings.HasPrefix(got, "jwthttp: "+name) {
				t.Errorf("panic %q", got)
			}
		})
	}
}

// panicOf returns the text with which f panics.
func panicOf(f func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	f()
	return ""
}

// Everything after the extraction sees the request without the token.
func TestFromQuery_removal(t *testing.T) {
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
			opts.Observer = func(_ context.Context, e jwthttp.Event) { see(e.Request) }
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
		})
	}
}

// A token in the URL leaves it even if another place has the credential.
func TestFromQuery_removal_places(t *testing.T) {
	header, q := jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromQuery("token")
	custom := func(r *http.Request) (jwthttp.Credential, error) {
		return jwthttp.Credential{Token: r.Header.Get("X-Token")}, nil
	}
	for _, tt := range []struct {
		name  string
		e     jwthttp.Extractor
		query string
		want  string
	}{
		{"header first", jwthttp.FirstOf(header, q), "token=<token>", admitted},
		{"a custom place between", jwthttp.FirstOf(header, custom, q), "token=<token>", admitted},
		{"nested", jwthttp.FirstOf(jwthttp.FirstOf(header, custom), jwthttp.FirstOf(custom, q)), "token=<token>", admitted},
		{"only one", jwthttp.OnlyOne(header, q), "token=<token>", twoTokens},
		{"only one, query first", jwthttp.OnlyOne(q, header), "token=<token>", twoTokens},
		{"two parameters", jwthttp.OnlyOne(q, jwthttp.FromQuery("other")), "token=<token>&other=<token>", twoTokens},
		{"a parameter twice after a header", jwthttp.FirstOf(header, jwthttp.FromQuery("twice")), "twice=<token>&twice=<token>", admitted},
		{"a name with a blank", jwthttp.FirstOf(header, jwthttp.FromQuery("my token")), "my+token=<token>", admitted},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = tt.e
			var seen *http.Request
			opts.Observer = func(_ context.Context, e jwthttp.Event) { seen = e.Request }
			r := newRequest(withQuery("a=1&"+tt.query), withBearer(goodToken(nil)))
			fillPlaceholders(r, goodToken(nil))
			if got := verdict(mustNew[testClaims](t, opts), r); got != tt.want || seen.URL.RawQuery != "a=1" || seen.RequestURI != "/things?a=1" {
				t.Errorf("verdict %q with %s", got, seen.RequestURI)
			}
		})
	}
}

func TestFromQuery_removal_form(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FromQuery("token")
	m := mustNew[testClaims](t, opts)
	for _, tt := range []struct {
		name, body string
		want       url.Values
	}{
		{"without it in the body", "a=1", url.Values{"a": {"1"}, "b": {"2"}}},
		{"with one in the body", "a=1&token=mine", url.Values{"a": {"1"}, "b": {"2"}, "token": {"mine"}}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/?b=2&token="+goodToken(nil), strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if err := r.ParseForm(); err != nil {
				t.Fatal(err)
			}
			inner := serve(m, r).inner
			if inner == nil {
				t.Fatal("refused")
			}
			if diff := cmp.Diff(tt.want, inner.Form); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
			if len(r.Form["token"]) == 0 {
				t.Error("the original form was changed")
			}
		})
	}
}

// RFC 6750 §2.3 and §5.3.
func TestFromQuery_responseHeader(t *testing.T) {
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	for _, tt := range []struct {
		name            string
		before, handler func(http.Header)
		claims          map[string]any
		cacheControl    string
		referrerPolicy  string
	}{
		{name: "admitted", cacheControl: "private", referrerPolicy: "no-referrer"},
		{name: "public before", before: set("Cache-Control", "public, max-age=60"), cacheControl: "private", referrerPolicy: "no-referrer"},
		{name: "no-store before", before: set("Cache-Control", "no-store"), cacheControl: "no-store", referrerPolicy: "no-referrer"},
		{name: "private before", before: set("Cache-Control", "private, max-age=60"), cacheControl: "private, max-age=60", referrerPolicy: "no-referrer"},
		{name: "a policy before", before: set("Referrer-Policy", "same-origin"), cacheControl: "private", referrerPolicy: "no-referrer"},
		{name: "the handler's cache control", handler: set("Cache-Control", "no-cache"), cacheControl: "no-cache", referrerPolicy: "no-referrer"},
		{name: "the handler's policy", handler: set("Referrer-Policy", "same-origin"), cacheControl: "private", referrerPolicy: "same-origin"},
		{name: "refused", claims: map[string]any{"exp": 1}, cacheControl: "no-store", referrerPolicy: "no-referrer"},
		{name: "public before a refusal", before: set("Cache-Control", "public"), claims: map[string]any{"exp": 1}, cacheControl: "no-store", referrerPolicy: "no-referrer"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions()
			opts.Extractor = jwthttp.FromQuery("token")
			w := httptest.NewRecorder()
			if tt.before != nil {
				tt.before(w.Header())
			}
			mustNew[testClaims](t, opts).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.handler != nil {
					tt.handler(w.Header())
				}
			})).ServeHTTP(w, newRequest(withQuery("token="+goodToken(tt.claims))))
			if got := w.Header(); got.Get("Cache-Control") != tt.cacheControl || got.Get("Referrer-Policy") != tt.referrerPolicy {
				t.Errorf("headers %v", got)
			}
		})
	}
	bubble(t, "a header token has none of them", func(t *testing.T) {
		if got := serve(mustNew[testClaims](t, newOptions()), newRequest(withBearer(goodToken(nil)))).Header(); len(got) != 0 {
			t.Errorf("headers %v", got)
		}
	})
	bubble(t, "an ignored token has them", func(t *testing.T) {
		opts := newOptions()
		opts.Extractor = jwthttp.FromQuery("token")
		res := serve(mustNew[testClaims](t, opts).AllowAnonymous(), newRequest(withQuery("token=x&a=1")))
		if got := res.Header().Get("Referrer-Policy"); res.inner == nil || res.inner.URL.RawQuery != "a=1" || got != "no-referrer" {
			t.Errorf("Referrer-Policy %q", got)
		}
	})
}

// Rule 7
// Rule 44
func TestExtractor_body(t *testing.T) {
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

// Rule 9
func TestExtractor_size(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"), jwthttp.FromQuery("q"))
	m := mustNew[testClaims](t, opts)
	const tooLarge, unknownIssuer = "401 invalid_token too_large", "401 invalid_token issuer"
	for _, tt := range []extraction{
		one("900 KiB of token", tooLarge, withBearer(strings.Repeat("A", 900<<10))),
		one("500 KiB of dots", tooLarge, withBearer(strings.Repeat(".", 500<<10))),
		one("900 KiB of commas", tooLarge, withBearer(strings.Repeat(",", 900<<10))),
		one("900 KiB of another scheme", missing, auth("Basic "+strings.Repeat("Bearer,", 130<<10))),
		one("900 KiB of cookie", tooLarge, withField("Cookie", "c="+strings.Repeat("A", 900<<10))),
		one("900 KiB of parameter", tooLarge, withQuery("q="+strings.Repeat("A", 900<<10))),
		one("900 KiB of escapes", tooLarge, withQuery("q="+strings.Repeat("%41", 300<<10))),
		one("900 KiB of ampersands", badField, withQuery(strings.Repeat("&", 900<<10))),
		one("900 KiB of a parameter's name", missing, withQuery(strings.Repeat("%41", 300<<10)+"=1")),
		one("8 KiB of members", unknownIssuer, withBearer(b64(goodHeader)+"."+b64("{"+members(750)+"}")+".AAAA")),
		one("8 KiB of brackets", badToken, withBearer(b64(goodHeader)+"."+b64(`{"a":`+strings.Repeat("[", 6000))+".AAAA")),
		one("8 KiB of objects of 17 members", unknownIssuer, withBearer(b64(goodHeader)+"."+b64(`{"a":[`+strings.Repeat("{"+members(17)+"},", 50)+"1]}")+".AAAA")),
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			if got := verdict(m, r); got != tt.want {
				t.Fatalf("verdict %q, want %q", got, tt.want)
			}
			if got := bytesPerRun(func() { _, _ = m.Authenticate(r) }); got > 64<<10 {
				t.Errorf("%d bytes allocated", got)
			}
		})
	}
}

// bytesPerRun returns the bytes that f allocates, as the mean of a few runs.
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

func TestSource_String(t *testing.T) {
	for _, tt := range []struct {
		source jwthttp.Source
		want   string
	}{
		{jwthttp.SourceOther, "other"}, {jwthttp.SourceHeader, "header"}, {jwthttp.SourceCookie, "cookie"}, {jwthttp.SourceQuery, "query"}, {200, "other"},
	} {
		if got := tt.source.String(); got != tt.want {
			t.Errorf("Source(%d) is %q, want %q", tt.source, got, tt.want)
		}
	}
}

// Rule 45
func TestOptions_crossOrigin(t *testing.T) {
	const crossOrigin = "403 cross_origin"
	trusting := http.NewCrossOriginProtection()
	if err := trusting.AddTrustedOrigin("https://app.example"); err != nil {
		t.Fatal(err)
	}
	cookie := withField("Cookie", "c=<token>")
	other, proxy := withField("X-Other", "<token>"), withField("X-Proxy", "<token>")
	site := func(v string) func(*http.Request) { return withField("Sec-Fetch-Site", v) }
	foreign := withField("Origin", "https://evil.example")
	websocket := func(r *http.Request) {
		r.Header.Set("Connection", "keep-alive, Upgrade")
		r.Header.Set("Upgrade", "websocket")
	}
	overHTTP2 := func(r *http.Request) { r.Method, r.Header[":protocol"] = "CONNECT", []string{"websocket"} }
	opts := newOptions()
	opts.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"), jwthttp.FromQuery("q"), jwthttp.FromProxyHeader("X-Proxy"),
		func(r *http.Request) (jwthttp.Credential, error) {
			return jwthttp.Credential{Token: r.Header.Get("X-Other")}, nil
		})
	m := mustNew[testClaims](t, opts)
	opts.CrossOrigin = trusting
	mTrusting := mustNew[testClaims](t, opts)
	for _, tt := range []struct {
		m *jwthttp.Middleware
		extraction
	}{
		{m, one("cookie, same origin", admitted, cookie, withMethod("POST"), site("same-origin"))},
		{m, one("cookie, not from a browser", admitted, cookie, withMethod("POST"))},
		{m, one("cookie, safe method, cross-site", admitted, cookie, site("cross-site"))},
		{m, one("cookie, POST, cross-site", crossOrigin, cookie, withMethod("POST"), site("cross-site"))},
		{m, one("cookie, POST, same-site", crossOrigin, cookie, withMethod("POST"), site("same-site"))},
		{m, one("cookie, PUT, cross-site", crossOrigin, cookie, withMethod("PUT"), site("cross-site"))},
		{m, one("cookie, PATCH, cross-site", crossOrigin, cookie, withMethod("PATCH"), site("cross-site"))},
		{m, one("cookie, DELETE, cross-site", crossOrigin, cookie, withMethod("DELETE"), site("cross-site"))},
		{m, one("cookie, POST, foreign origin", crossOrigin, cookie, withMethod("POST"), foreign)},
		{m, one("cookie, POST, origin null", crossOrigin, cookie, withMethod("POST"), withField("Origin", "null"))},
		{m, one("cookie, POST, own origin", admitted, cookie, withMethod("POST"), withField("Origin", "http://example.com"))},
		{m, one("other source, POST, cross-site", crossOrigin, other, withMethod("POST"), site("cross-site"))},
		{m, one("proxy header, POST, cross-site", crossOrigin, proxy, withMethod("POST"), site("cross-site"))},
		{m, one("proxy header, POST, foreign origin", crossOrigin, proxy, withMethod("POST"), foreign)},
		{m, one("proxy header, WebSocket, cross-site", crossOrigin, proxy, websocket, site("cross-site"))},
		{mTrusting, one("proxy header, POST, trusted origin", admitted, proxy, withMethod("POST"), site("cross-site"), withField("Origin", "https://app.example"))},
		{m, one("cookie, WebSocket, foreign origin", crossOrigin, cookie, websocket, foreign)},
		{m, one("cookie, WebSocket, cross-site", crossOrigin, cookie, websocket, site("cross-site"))},
		{m, one("cookie, WebSocket in other letters, foreign origin", crossOrigin, cookie, withField("Upgrade", "WebSocket"), foreign)},
		{m, one("cookie, WebSocket in a list, foreign origin", crossOrigin, cookie, withField("Upgrade", "h2c, websocket"), foreign)},
		{m, one("cookie, empty upgrade, foreign origin", crossOrigin, cookie, withField("Upgrade", ""), foreign)},
		{m, one("cookie, WebSocket, own origin", admitted, cookie, websocket, withField("Origin", "http://example.com"))},
		{m, one("other source, WebSocket, foreign origin", crossOrigin, other, websocket, foreign)},
		{m, one("cookie, WebSocket over HTTP/2, foreign origin", crossOrigin, cookie, foreign, overHTTP2)},
		{mTrusting, one("cookie, POST, trusted origin", admitted, cookie, withMethod("POST"), site("cross-site"), withField("Origin", "https://app.example"))},
		{mTrusting, one("cookie, WebSocket, trusted origin", admitted, cookie, websocket, site("cross-site"), withField("Origin", "https://app.example"))},
		{mTrusting, one("cookie, POST, another origin than the trusted one", crossOrigin, cookie, withMethod("POST"), site("cross-site"), foreign)},
		{m, one("header, POST, cross-site", admitted, auth("Bearer <token>"), withMethod("POST"), site("cross-site"), foreign)},
		{m, one("header, WebSocket, foreign origin", admitted, auth("Bearer <token>"), websocket, foreign)},
		{m, one("query, POST, cross-site", admitted, withQuery("q=<token>"), withMethod("POST"), site("cross-site"))},
		{m, one("no token, POST, cross-site", missing, withMethod("POST"), site("cross-site"))},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(tt.request...)
			fillPlaceholders(r, goodToken(nil))
			checkVerdict(t, tt.m, r, tt.want)
			if tt.want == crossOrigin {
				checkVerdict(t, tt.m.Optional(), r, tt.want)
			}
			if r.Method == http.MethodConnect || r.Header.Get("Upgrade") == "" {
				return
			}
			if r.Method != http.MethodGet {
				t.Errorf("the method of the original request is now %s", r.Method)
			}
		})
	}
}
