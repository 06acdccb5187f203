package jwthttp_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

const invalid = "401 invalid_token "

type verification struct {
	name  string
	token string
	want  string
}

// checkCached asks twice about r without a cache and twice with one, since a
// cached token must fare the same.
func checkCached(t *testing.T, opts jwthttp.Options, r *http.Request, want string) {
	t.Helper()
	for _, opts.CacheSize = range []int{0, 8} {
		checkVerdict(t, mustNew[testClaims](t, opts), r, want)
	}
}

func runVerifications(t *testing.T, opts jwthttp.Options, tests []verification) {
	t.Helper()
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			checkCached(t, opts, newRequest(withBearer(tt.token)), tt.want)
		})
	}
}

// outcome is a list of headers or payloads that fare the same.
type outcome struct {
	name string
	want string
	json []string
}

// verifications returns a row for each text of the outcomes, which token signs.
func verifications(outcomes []outcome, token func(text string) string) []verification {
	var tests []verification
	for _, o := range outcomes {
		for _, text := range o.json {
			tests = append(tests, verification{o.name + " " + text[:min(len(text), 120)], token(text), o.want})
		}
	}
	return tests
}

func withHeader(header string) string { return signHS256(header, claimsJSON(nil)) }

// reSign signs altered segments again, so that nothing but their shape is wrong.
func reSign(header, payload string) string {
	signed := header + "." + payload
	return signed + "." + b64(hs256(signed))
}

// Rule 12: RFC 7515 §2, §3.1, §5.2; RFC 7519 §7.2.
func TestAuthenticate_serialization(t *testing.T) {
	good := goodToken(nil)
	parts := strings.Split(good, ".")
	h, p, sig := parts[0], parts[1], parts[2]
	// A payload whose length leaves bits over in its last character.
	spare := b64(claimsJSON(map[string]any{"x": ""}))
	for len(spare)%4 == 0 {
		spare = b64(claimsJSON(map[string]any{"x": strings.Repeat("x", len(spare)%3+1)}))
	}
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", spare[len(spare)-1])
	spareBits := spare[:len(spare)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last+1])

	opts := newOptions()
	opts.Extractor = func(r *http.Request) (jwthttp.Credential, error) { // takes any bytes
		return jwthttp.Credential{Token: r.Header["Token"][0]}, nil
	}
	m := mustNew[testClaims](t, opts)
	for _, tt := range []verification{
		{"three segments", good, admitted},
		{"spare bits that are zero", reSign(h, spare), admitted},
		{"spare bits that are not zero", reSign(h, spareBits), invalid + "malformed"},
		{"spare bits of the signature that are not zero", good[:len(good)-1] + string(good[len(good)-1]+1), invalid + "malformed"},
		{"one segment", h, invalid + "malformed"},
		{"two segments", h + "." + p, invalid + "malformed"},
		{"four segments", good + ".AAAA", invalid + "malformed"},
		{"four segments, the last empty", good + ".", invalid + "malformed"},
		{"five segments, a JWE", h + "..." + p + "." + sig, invalid + "malformed"},
		{"only dots", "..", invalid + "malformed"},
		{"an empty header", "." + p + "." + sig, invalid + "malformed"},
		{"an empty payload", reSign(h, ""), invalid + "malformed"},
		{"an empty signature", h + "." + p + ".", invalid + "signature"},
		{"JSON serialization", `{"protected":"` + h + `","payload":"` + p + `","signature":"` + sig + `"}`, invalid + "malformed"},
		{"padding", reSign(b64(`{"alg":"HS256"}  `)+"=", p), invalid + "malformed"},
		{"padding of the signature", good + "=", invalid + "malformed"},
		{"a line break at the end", good + "\n", invalid + "malformed"},
		{"four line breaks at the end", good + "\n\n\n\n", invalid + "malformed"},
		{"a line break in the header", reSign(h[:3]+"\n"+h[3:], p), invalid + "malformed"},
		{"a carriage return in the payload", reSign(h, p[:8]+"\r"+p[8:]), invalid + "malformed"},
		{"a blank in the payload", reSign(h, p[:8]+" "+p[8:]), invalid + "malformed"},
		{"a blank before the token", " " + good, invalid + "malformed"},
		{"the other base64 alphabet", reSign(h, strings.ReplaceAll(b64(claimsJSON(map[string]any{"x": "???>>>"})), "_", "/")), invalid + "malformed"},
		{"a NUL in the signature", good + "\x00", invalid + "malformed"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest()
			r.Header["Token"] = []string{tt.token}
			checkVerdict(t, m, r, tt.want)
		})
	}
}

// Rules 13, 14, 17 and 27: RFC 7515 §4.1; RFC 7519 §5; RFC 8725 §3.1, §3.11.
func TestAuthenticate_header(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32)
	runVerifications(t, newOptions(), verifications([]outcome{
		{"good", admitted, []string{
			`{"alg":"HS256"}`,
			`{"alg":"HS256","typ":"JWT"}`,
			` { "alg" : "HS256" } `,
			`{"\u0061lg":"HS\u003256"}`,
			`{"alg":"HS256","cty":"JWT","x":{"y":[1,null,true]}}`,
		}},
		{"not one JSON object", invalid + "malformed", []string{
			`"HS256"`, `["HS256"]`, `null`, `{"alg":"HS256"`, `{"alg":"HS256"}}`, `{"alg":"HS256"} {}`,
			"\ufeff" + `{"alg":"HS256"}`,
			`{"alg":"HS256","x":"` + "\xff" + `"}`,
			`{"alg":"HS256","x":"\ud800"}`,
			`{"alg":"HS256","x":` + deep + `}`,
		}},
		// Rule 13
		{"alg missing or not a string", invalid + "malformed", []string{
			`{}`, `{"typ":"JWT"}`, `{"alg":null}`, `{"alg":256}`, `{"alg":["HS256"]}`,
		}},
		{"alg not accepted", invalid + "algorithm", []string{
			`{"alg":""}`, `{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"NONE"}`, `{"alg":"nOnE"}`, `{"alg":"none "}`,
			`{"alg":"hs256"}`, `{"alg":"HS384"}`, `{"alg":"RS256"}`, `{"alg":"XS256"}`, `{"alg":"HS256\u0000"}`,
		}},
		{"two names that are equal or differ by case", invalid + "malformed", []string{
			`{"alg":"HS256","alg":"HS256"}`,
			`{"alg":"HS256","alg":"none"}`,
			`{"alg":"HS256","Alg":"none"}`,
			`{"ALG":"HS256"}`,
			`{"alg":"HS256","x":1,"x":1}`,
			`{"alg":"HS256","x":1,"X":1}`,
			`{"alg":"HS256","x":{"y":1,"y":2}}`,
			`{"alg":"HS256","x":[{"y":1,"\u0079":2}]}`,
			`{"alg":"HS256","KID":"a"}`,
		}},
		// Rule 14
		{"extension", invalid + "malformed", []string{
			`{"alg":"HS256","crit":["exp"],"exp":1}`,
			`{"alg":"HS256","crit":["x"],"x":1}`,
			`{"alg":"HS256","crit":[]}`,
			`{"alg":"HS256","crit":null}`,
			`{"alg":"HS256","crit":"b64"}`,
			`{"alg":"HS256","crit":["b64"],"b64":true}`,
			`{"alg":"HS256","Crit":["x"]}`,
			`{"alg":"HS256","b64":false}`,
			`{"alg":"HS256","b64":true}`,
			`{"alg":"HS256","b64":null}`,
			`{"alg":"HS256","zip":"DEF"}`,
			`{"alg":"HS256","zip":null}`,
			`{"alg":"HS256","enc":"A128GCM"}`,
		}},
		// Rule 17
		{"kid of a static key", admitted, []string{`{"alg":"HS256","kid":"any"}`, `{"alg":"HS256","kid":""}`}},
		{"invalid kid", invalid + "malformed", []string{
			`{"alg":"HS256","kid":1}`, `{"alg":"HS256","kid":null}`, `{"alg":"HS256","kid":["a"]}`,
			`{"alg":"HS256","kid":"a\r\nSet-Cookie: x"}`, `{"alg":"HS256","kid":"a\u007f"}`, `{"alg":"HS256","kid":"a\u0000"}`,
		}},
		{"kid of 64 KiB", invalid + "too_large", []string{`{"alg":"HS256","kid":"` + strings.Repeat("a", 64<<10) + `"}`}},
		// Rule 27
		{"default typ", admitted, []string{
			`{"alg":"HS256","typ":"jwt"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"AT+JWT"}`,
			`{"alg":"HS256","typ":"application/at+jwt"}`, `{"alg":"HS256","typ":"Application/JWT"}`,
		}},
		{"another typ", invalid + "type", []string{
			`{"alg":"HS256","typ":"dpop+jwt"}`, `{"alg":"HS256","typ":"logout+jwt"}`, `{"alg":"HS256","typ":"secevent+jwt"}`,
			`{"alg":"HS256","typ":"JOSE"}`, `{"alg":"HS256","typ":"text/jwt"}`, `{"alg":"HS256","typ":"application/"}`,
			`{"alg":"HS256","typ":"JWT "}`, `{"alg":"HS256","typ":"application/application/jwt"}`,
		}},
		{"invalid typ", invalid + "malformed", []string{`{"alg":"HS256","typ":""}`, `{"alg":"HS256","typ":1}`, `{"alg":"HS256","typ":null}`}},
	}, withHeader))
}

// Rule 14: keys in a token, or that it points to, are never used (RFC 8725 §3.10).
func TestAuthenticate_keysInHeader(t *testing.T) {
	called := false
	iss := newIssuer()
	iss.Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { called = true; return secret, nil })
	transport := http.DefaultTransport
	http.DefaultTransport = refusingTransport{t}
	defer func() { http.DefaultTransport = transport }()
	for _, member := range []string{
		`"jwk":{"kty":"oct","k":"AAAA"}`, `"jku":"https://evil.example/keys"`, `"x5u":"https://evil.example/x"`, `"x5c":["AAAA"]`,
	} {
		bubble(t, member, func(t *testing.T) {
			called = false
			token := signHS256(`{"alg":"HS256",`+member+`}`, claimsJSON(nil))
			checkVerdict(t, mustNew[testClaims](t, newOptions(iss)), newRequest(withBearer(token)), admitted)
			checkVerdict(t, mustNew[testClaims](t, newOptions(iss)), newRequest(withBearer(altered(token))), invalid+"signature")
			if !called {
				t.Error("the configured keys were not asked")
			}
		})
	}
}

type refusingTransport struct{ t *testing.T }

func (rt refusingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	rt.t.Errorf("outgoing call to %s", r.URL)
	return nil, errors.New("refused")
}

// Rule 27
func TestIssuer_Types(t *testing.T) {
	listed, orAbsent, absentOnly, mixedCase := newIssuer(), newIssuer(), newIssuer(), newIssuer()
	mixedCase.Types = []string{"Application/aT+jWT"}
	listed.Types = []string{"application/at+jwt", "secevent+jwt"}
	orAbsent.Types = []string{"at+jwt", ""}
	absentOnly.Types = []string{""}
	for _, group := range []struct {
		name  string
		iss   jwthttp.Issuer
		tests []outcome
	}{
		{"two types", listed, []outcome{
			{"in the list", admitted, []string{
				`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"application/AT+JWT"}`, `{"alg":"HS256","typ":"secevent+jwt"}`,
			}},
			{"not in the list", invalid + "type", []string{
				`{"alg":"HS256","typ":"\u017fecevent+jwt"}`, `{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256"}`,
			}},
		}},
		{"one type and none", orAbsent, []outcome{
			{"accepted", admitted, []string{`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256"}`}},
			{"not accepted", invalid + "type", []string{`{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","typ":"application/"}`}},
			{"empty", invalid + "malformed", []string{`{"alg":"HS256","typ":""}`}},
		}},
		{"a type in other letters", mixedCase, []outcome{
			{"accepted", admitted, []string{`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","typ":"AT+JWT"}`, `{"alg":"HS256","typ":"APPLICATION/At+Jwt"}`}},
			{"not accepted", invalid + "type", []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","typ":"at-jwt"}`}},
		}},
		{"no type", absentOnly, []outcome{
			{"absent", admitted, []string{`{"alg":"HS256"}`}},
			{"there", invalid + "type", []string{`{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","typ":"at+jwt"}`}},
		}},
	} {
		t.Run(group.name, func(t *testing.T) { runVerifications(t, newOptions(group.iss), verifications(group.tests, withHeader)) })
	}
}

// Rules 15 and 16: RFC 7519 §4.1, §7.2; RFC 8259.
func TestAuthenticate_payload(t *testing.T) {
	const good = `{"exp":9999999999,"iss":"https://login.example","aud":"https://api.example"`
	nested := func(depth int) string {
		return `{"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	var many strings.Builder
	for i := range 20 {
		fmt.Fprintf(&many, `"m%d":%d,`, i, i)
	}
	// complete adds the members of a text like {"x":1} to good ones.
	complete := func(text string) string {
		return signHS256(goodHeader, good+strings.Replace(text, "{", ",", 1))
	}
	runVerifications(t, newOptions(), append(verifications([]outcome{
		{"not one JSON object", invalid + "malformed", []string{
			`[]`, `"a"`, `1`, `null`, ``, `{`, `{"a"}`, good + `,}`, good + `}x`, good + `} {}`, good + `/*c*/}`, good, good + "}\x00",
		}},
		{"good", admitted, []string{good + "}", " " + good + "\n}\t"}},
		{"exp of another case", invalid + "malformed", []string{ // Rule 16
			`{"exp":1,"Exp":9999999999,"iss":"https://login.example","aud":"https://api.example"}`,
			`{"EXP":9999999999,"iss":"https://login.example","aud":"https://api.example"}`,
		}},
	}, func(text string) string { return signHS256(goodHeader, text) }), verifications([]outcome{
		{"good", admitted, []string{
			`{"role":"\ud83d\ude00 ü"}`,
			nested(32),
			`{"x":{"Y":1,"y":2}}`, // only the names of the top level decode into T unchecked
			`{"Role":"b"}`,
		}},
		{"too deep", invalid + "malformed", []string{nested(33), nested(3000), strings.Repeat(`{"x":`, 33) + "1" + strings.Repeat("}", 33)}},
		{"invalid value", invalid + "malformed", []string{
			`{"x":01}`, `{"x":+1}`, `{"x":NaN}`, `{"x":1e400}`, `{"x":'a'}`, `{"x":"` + "\n" + `"}`, `{"x":"` + "\x80" + `"}`,
			`{"x":"\udc00"}`, `{"x":"\ud800\u0041"}`, `{"x":"\u12"}`, `{"x":"\v"}`,
		}},
		{"duplicate name", invalid + "malformed", []string{
			`{"x":{"y":1,"y":1}}`, `{"x":[{"y":1,"y":1}]}`, `{"exp":9999999999}`, `{"role":"a","role":"a"}`,
			`{` + many.String() + `"m0":1}`,
		}},
		// Rule 16: encoding/json matches names without case.
		{"name of another case", invalid + "malformed", []string{
			`{"SUB":"root"}`, `{"i\u017fs":"x"}`, `{"ſub":"root"}`, `{"Cnf":{}}`, `{"Client_ID":"a"}`, `{"Scp":"a"}`, `{"AUTH_TIME":1}`,
			`{"role":"a","Role":"b"}`, `{"kk":1,"\u212ak":2}`,
		}},
		{"claim of the wrong type", invalid + "malformed", []string{
			`{"sid":[]}`, `{"client_id":{}}`, `{"azp":true}`, `{"jti":1.5}`, `{"sub":["a"]}`,
			`{"scope":1}`, `{"scope":{}}`, `{"scope":["a",1]}`, `{"scope":["a",null]}`, `{"scope":true}`,
			`{"scp":["a",1]}`, `{"scp":["a",null]}`, `{"scp":{}}`, `{"scope":"a","scp":1}`,
		}},
		// Rule 15: a null claim counts as absent.
		{"null", admitted, []string{
			`{"sub":null}`, `{"jti":null}`, `{"sid":null,"client_id":null,"azp":null,"cid":null}`, `{"scope":null,"scp":null}`,
			`{"nbf":null,"iat":null}`, `{"cnf":null}`, `{"acr":null,"amr":null,"auth_time":null}`, `{"role":null}`,
		}},
		// Claims of RFC 9068 §2.2.1 that are of the wrong type count as missing.
		{"acr, amr and auth_time of the wrong type", admitted, []string{`{"acr":1,"amr":"pwd","auth_time":"2026-01-02"}`, `{"acr":[],"amr":[1],"auth_time":-1}`}},
	}, complete)...))
}

// Rules 24 and 25: RFC 7519 §2, §4.1.4 to §4.1.6.
func TestAuthenticate_times(t *testing.T) {
	raw := func(name, value string) string {
		changes := map[string]any{name: json.RawMessage(value)}
		return goodToken(changes)
	}
	with := func(leeway time.Duration, change func(*jwthttp.Issuer)) jwthttp.Options {
		opts := newOptions()
		opts.Leeway = leeway
		change(&opts.Issuers[0])
		return opts
	}
	unchanged := func(*jwthttp.Issuer) {}
	maxAge := func(i *jwthttp.Issuer) { i.MaxTokenAge = time.Hour }
	now := func(d time.Duration) string { return fmt.Sprintf("%.3f", float64(bubbleStart)+d.Seconds()) }
	none := with(-1, unchanged)
	byDefault := with(0, unchanged)
	minute := with(time.Minute, unchanged)
	for _, group := range []struct {
		name  string
		opts  jwthttp.Options
		tests []verification
	}{
		{"exp without leeway", none, []verification{
			{"one millisecond ahead", raw("exp", now(time.Millisecond)), admitted},
			{"now", raw("exp", now(0)), invalid + "expired"},
			{"a millisecond ago", raw("exp", now(-time.Millisecond)), invalid + "expired"},
			{"zero", raw("exp", "0"), invalid + "expired"},
			{"with an exponent", raw("exp", "9.5e8"), admitted},
			{"the last second of the year 9999", raw("exp", "253402300799"), admitted},
			{"one second later", raw("exp", "253402300800"), invalid + "malformed"},
			{"missing", goodToken(map[string]any{"exp": nil}), invalid + "malformed"},
			{"null", raw("exp", "null"), invalid + "malformed"},
			{"a string", raw("exp", `"9999999999"`), invalid + "malformed"},
			{"an array", raw("exp", `[9999999999]`), invalid + "malformed"},
			{"a boolean", raw("exp", `true`), invalid + "malformed"},
			{"an object", raw("exp", `{}`), invalid + "malformed"},
			{"larger than any float", signHS256(goodHeader, strings.Replace(claimsJSON(nil), `"exp":946688400`, `"exp":1e400`, 1)), invalid + "malformed"},
			{"negative", raw("exp", "-1"), invalid + "malformed"},
			{"minus zero", raw("exp", "-0"), invalid + "expired"},
		}},
		{"exp with the default leeway of 30 seconds", byDefault, []verification{
			{"almost 30 seconds ago", raw("exp", now(-30*time.Second+time.Millisecond)), admitted},
			{"30 seconds ago", raw("exp", now(-30*time.Second)), invalid + "expired"},
		}},
		{"exp with a leeway of a minute", minute, []verification{
			{"almost a minute ago", raw("exp", now(-time.Minute+time.Millisecond)), admitted},
			{"a minute ago", raw("exp", now(-time.Minute)), invalid + "expired"},
		}},
		{"NoExpiry", with(-1, func(i *jwthttp.Issuer) { i.NoExpiry = true }), []verification{
			{"missing", goodToken(map[string]any{"exp": nil}), admitted},
			{"null", raw("exp", "null"), admitted}, // Rule 15
			{"in the past", raw("exp", "1"), invalid + "expired"},
			{"zero", raw("exp", "0"), invalid + "expired"},
			{"a string", raw("exp", `""`), invalid + "malformed"},
		}},
		{"nbf without leeway", none, []verification{
			{"now", raw("nbf", now(0)), admitted},
			{"a millisecond ahead", raw("nbf", now(time.Millisecond)), invalid + "not_yet_valid"},
			{"zero", raw("nbf", "0"), admitted},
			{"1e19", raw("nbf", "1e19"), invalid + "malformed"},
			{"1e300", raw("nbf", "1e300"), invalid + "malformed"},
			{"the largest int64", raw("nbf", "9223372036854775807"), invalid + "malformed"},
			{"a string", raw("nbf", `"0"`), invalid + "malformed"},
			{"null", raw("nbf", "null"), admitted},
		}},
		{"nbf with the default leeway of 30 seconds", byDefault, []verification{
			{"30 seconds ahead", raw("nbf", now(30*time.Second)), admitted},
			{"more than 30 seconds ahead", raw("nbf", now(30*time.Second+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"nbf with a leeway of a minute", minute, []verification{
			{"a minute ahead", raw("nbf", now(time.Minute)), admitted},
			{"more than a minute ahead", raw("nbf", now(time.Minute+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"iat without leeway", none, []verification{
			{"now", raw("iat", now(0)), admitted},
			{"a millisecond ahead", raw("iat", now(time.Millisecond)), invalid + "not_yet_valid"},
			{"missing", goodToken(map[string]any{"iat": nil}), admitted},
			{"null", raw("iat", "null"), admitted},
			{"zero", raw("iat", "0"), admitted},
			{"a string", raw("iat", `"0"`), invalid + "malformed"},
		}},
		{"iat with the default leeway of 30 seconds", byDefault, []verification{
			{"30 seconds ahead", raw("iat", now(30*time.Second)), admitted},
			{"more than 30 seconds ahead", raw("iat", now(30*time.Second+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"iat with a leeway of a minute", minute, []verification{
			{"a minute ahead", raw("iat", now(time.Minute)), admitted},
			{"more than a minute ahead", raw("iat", now(time.Minute+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"MaxTokenAge, to which leeway adds nothing", with(time.Minute, maxAge), []verification{
			{"an hour ago", raw("iat", now(-time.Hour)), admitted},
			{"more than an hour ago", raw("iat", now(-time.Hour-time.Millisecond)), invalid + "too_old"},
			{"missing", goodToken(map[string]any{"iat": nil}), invalid + "too_old"},
			{"null", raw("iat", "null"), invalid + "too_old"},
			{"zero", raw("iat", "0"), invalid + "too_old"},
			{"a string", raw("iat", `"946684700"`), invalid + "malformed"},
		}},
	} {
		t.Run(group.name, func(t *testing.T) { runVerifications(t, group.opts, group.tests) })
	}
}

// Rule 26: RFC 7519 §4.1.1, §4.1.3; RFC 8725 §3.8, §3.9.
func TestAuthenticate_issuerAndAudience(t *testing.T) {
	claim := func(name string, v any) string { return goodToken(map[string]any{name: v}) }
	anyone := newIssuer()
	anyone.Name, anyone.Audience = jwthttp.Any, []string{jwthttp.Any}
	two := newIssuer()
	two.Audience = []string{"https://other.example", audienceName}
	for _, group := range []struct {
		name  string
		opts  jwthttp.Options
		tests []verification
	}{
		{"iss", newOptions(), []verification{
			{"another", claim("iss", "https://evil.example"), invalid + "issuer"},
			{"by case", claim("iss", "https://LOGIN.example"), invalid + "issuer"},
			{"with a slash", claim("iss", issuerName+"/"), invalid + "issuer"},
			{"a prefix", claim("iss", issuerName[:len(issuerName)-1]), invalid + "issuer"},
			{"longer", claim("iss", issuerName+".evil.example"), invalid + "issuer"},
			{"the word for any", claim("iss", jwthttp.Any), invalid + "issuer"},
			{"empty", claim("iss", ""), invalid + "issuer"},
			{"missing", claim("iss", nil), invalid + "issuer"},
			{"an array", claim("iss", []string{issuerName}), invalid + "malformed"},
			{"null", claim("iss", json.RawMessage("null")), invalid + "issuer"},
			{"an integer", claim("iss", 1), invalid + "malformed"},
		}},
		{"aud", newOptions(), []verification{
			{"among others", claim("aud", []string{"a", audienceName}), admitted},
			{"missing", claim("aud", nil), invalid + "audience"},
			{"empty", claim("aud", ""), invalid + "audience"},
			{"an empty array", claim("aud", []string{}), invalid + "audience"},
			{"a prefix", claim("aud", audienceName[:10]), invalid + "audience"},
			{"longer", claim("aud", audienceName+"/"), invalid + "audience"},
			{"by case", claim("aud", strings.ToUpper(audienceName)), invalid + "audience"},
			{"the word for any", claim("aud", jwthttp.Any), invalid + "audience"},
			{"others", claim("aud", []string{"a", "b"}), invalid + "audience"},
			{"a number", claim("aud", 1), invalid + "malformed"},
			{"null", claim("aud", json.RawMessage("null")), invalid + "audience"},
			{"an array with an empty name", claim("aud", []string{""}), invalid + "audience"},
			{"an array with a number", claim("aud", []any{audienceName, 1}), invalid + "malformed"},
			{"an array with null", claim("aud", []any{audienceName, nil}), invalid + "malformed"},
			{"nested", claim("aud", []any{[]any{audienceName}}), invalid + "malformed"},
			{"an object", claim("aud", map[string]any{audienceName: true}), invalid + "malformed"},
		}},
		{"several audiences", newOptions(two), []verification{
			{"the first", claim("aud", "https://other.example"), admitted},
			{"the second", claim("aud", audienceName), admitted},
			{"neither", claim("aud", "https://third.example"), invalid + "audience"},
		}},
		{"waived", newOptions(anyone), []verification{
			{"any iss", claim("iss", "https://evil.example"), admitted},
			{"no iss", claim("iss", nil), admitted},
			{"any aud", claim("aud", "x"), admitted},
			{"no aud", claim("aud", nil), admitted},
			{"null iss", claim("iss", json.RawMessage("null")), admitted},
			{"null aud", claim("aud", json.RawMessage("null")), admitted}, // Rule 15
			{"iss of the wrong type", claim("iss", 1), invalid + "malformed"},
			{"aud of the wrong type", claim("aud", 1), invalid + "malformed"},
		}},
	} {
		t.Run(group.name, func(t *testing.T) { runVerifications(t, group.opts, group.tests) })
	}
}

// Two Issuers of one Name: the algorithm selects one of them, with its own rules.
func TestOptions_Issuers_oneName(t *testing.T) {
	k := testKeys()
	before, after := newIssuer(), issuerWith(jwthttp.StaticKey(&k.p256.PublicKey), "ES256")
	after.Audience, after.NoExpiry = []string{"https://new.example"}, true
	opts := newOptions(before, after)
	signES := func(changes map[string]any) string {
		return signChanged(t, jwt.SigningMethodES256, k.p256, "", changes)
	}
	runVerifications(t, opts, []verification{
		{"the first", goodToken(nil), admitted},
		{"the second", signES(map[string]any{"aud": "https://new.example"}), admitted},
		{"the second without exp", signES(map[string]any{"aud": "https://new.example", "exp": nil}), admitted},
		{"the first without exp", goodToken(map[string]any{"exp": nil}), invalid + "malformed"},
		{"the first with the second's audience", goodToken(map[string]any{"aud": "https://new.example"}), invalid + "audience"},
		{"the second with the first's audience", signES(nil), invalid + "audience"},
		{"an algorithm of neither", signHS256(`{"alg":"HS384"}`, claimsJSON(nil)), invalid + "algorithm"},
		{"the second's algorithm signed with the first's key", signHS256(`{"alg":"ES256"}`, claimsJSON(map[string]any{"aud": "https://new.example"})), invalid + "signature"},
		{"another issuer", goodToken(map[string]any{"iss": "https://other.example"}), invalid + "issuer"},
	})
}

// A token without "aud" can be tied to this service by its client.
func TestIssuer_Clients(t *testing.T) {
	iss := newIssuer()
	iss.Audience, iss.Clients = []string{jwthttp.Any}, []string{"web", "app"}
	withAudience := newIssuer()
	withAudience.Clients = []string{"web"}
	client := func(name string, v any) string { return goodToken(map[string]any{"aud": nil, name: v}) }
	runVerifications(t, newOptions(iss), []verification{
		{"client_id", client("client_id", "web"), admitted},
		{"the second client", client("client_id", "app"), admitted},
		{"azp", client("azp", "web"), admitted},
		{"cid", client("cid", "web"), admitted},
		{"no client", client("sub", "web"), invalid + "audience"},
		{"an empty client_id", client("client_id", ""), invalid + "audience"},
		{"null", client("client_id", json.RawMessage("null")), invalid + "audience"},
		{"another client", client("client_id", "other"), invalid + "audience"},
		{"by case", client("client_id", "WEB"), invalid + "audience"},
		{"a prefix", client("client_id", "we"), invalid + "audience"},
		{"longer", client("client_id", "web2"), invalid + "audience"},
		{"the word for any", client("client_id", jwthttp.Any), invalid + "audience"},
		{"two clients", client("client_id", "web app"), invalid + "audience"},
		{"azp of another client_id", goodToken(map[string]any{"client_id": "other", "azp": "web"}), invalid + "audience"},
		{"cid of another azp", goodToken(map[string]any{"azp": "other", "cid": "web"}), invalid + "audience"},
		{"cid of another type", client("cid", []string{"web"}), invalid + "audience"},
		{"an array", client("client_id", []string{"web"}), invalid + "malformed"},
	})
	runVerifications(t, newOptions(withAudience), []verification{
		{"client and audience", goodToken(map[string]any{"azp": "web"}), admitted},
		{"client alone", goodToken(map[string]any{"azp": "web", "aud": "x"}), invalid + "audience"},
		{"audience alone", goodToken(nil), invalid + "audience"},
	})
}

// AWS load balancers pad the segments, and sign them with the padding.
func TestIssuer_PaddedSegments(t *testing.T) {
	padded := func(text string) string { return base64.URLEncoding.EncodeToString([]byte(text)) }
	pad := func(text string) string { // to a length whose encoding ends in one "="
		return text + strings.Repeat(" ", (2-len(text)%3+3)%3)
	}
	payload := pad(claimsJSON(nil))
	signed := padded(pad(goodHeader)) + "." + padded(payload)
	token := signed + "." + padded(hs256(signed))
	header, rest, _ := strings.Cut(token, ".")
	unpadded := strings.ReplaceAll(signed, "=", "")
	padding := newIssuer()
	padding.PaddedSegments = true
	strict := newIssuer()
	strict.Name = "https://strict.example"
	fromStrict := padded(pad(goodHeader)) + "." + padded(pad(claimsJSON(map[string]any{"iss": strict.Name})))
	if strings.Count(signed, "=") != 2 {
		t.Fatalf("padding of %q", signed)
	}
	// sign returns a token whose segments need this many equal signs, but for the
	// signature, which needs one.
	sign := func(inHeader, inPayload int) string {
		spaces := func(text string, equals int) string { return text + strings.Repeat(" ", (6-equals-len(text)%3)%3) }
		signed := padded(spaces(goodHeader, inHeader)) + "." + padded(spaces(claimsJSON(nil), inPayload))
		if strings.Count(signed, "=") != inHeader+inPayload {
			t.Fatalf("padding of %q", signed)
		}
		return signed + "." + padded(hs256(signed))
	}
	replace := func(from, to string) string { // in the header of a token with two equal signs, signed again
		h, p, _ := strings.Cut(sign(2, 1), ".")
		p, _, _ = strings.Cut(p, ".")
		signed := strings.Replace(h, from, to, 1) + "." + p
		return signed + "." + padded(hs256(signed))
	}
	field := jwthttp.FromHeader("X-Data", "")
	proxy := jwthttp.FromProxyHeader("X-Data")
	for _, tt := range []struct {
		name      string
		extractor jwthttp.Extractor
		issuers   []jwthttp.Issuer
		token     string
		want      string
	}{
		{"padded, in a field", field, []jwthttp.Issuer{padding}, token, admitted},
		{"padded, from a proxy", proxy, []jwthttp.Issuer{padding}, token, admitted},
		{"without padding", field, []jwthttp.Issuer{padding}, goodToken(nil), admitted},
		{"only the signature padded", field, []jwthttp.Issuer{padding}, goodToken(nil) + "=", admitted},
		{"signed without the padding", field, []jwthttp.Issuer{padding}, signed + "." + padded(hs256(unpadded)), invalid + "signature"},
		{"padding cut off", field, []jwthttp.Issuer{padding}, unpadded + "." + padded(hs256(signed)), invalid + "signature"},
		{"two equal signs", field, []jwthttp.Issuer{padding}, sign(2, 2), admitted},
		{"two equal signs and one, from a proxy", proxy, []jwthttp.Issuer{padding}, sign(2, 1), admitted},
		{"segments that need none", field, []jwthttp.Issuer{padding}, sign(0, 0), admitted},
		{"two equal signs without the option", field, []jwthttp.Issuer{newIssuer()}, sign(2, 0), invalid + "malformed"},
		{"one of two equal signs", field, []jwthttp.Issuer{padding}, replace("==", "="), invalid + "malformed"},
		{"none of two equal signs", field, []jwthttp.Issuer{padding}, replace("==", ""), admitted}, // signed like this
		{"three equal signs", field, []jwthttp.Issuer{padding}, replace("==", "==="), invalid + "malformed"},
		{"a third equal sign instead of a character", field, []jwthttp.Issuer{padding}, replace("A==", "==="), invalid + "malformed"},
		{"six equal signs", field, []jwthttp.Issuer{padding}, replace("==", "======"), invalid + "malformed"},
		{"escaped equal signs", proxy, []jwthttp.Issuer{padding}, replace("==", "%3D%3D"), invalid + "malformed"},
		{"padding too long", field, []jwthttp.Issuer{padding}, header + "=." + rest, invalid + "malformed"},
		{"four equal signs", field, []jwthttp.Issuer{padding}, header + "====." + rest, invalid + "malformed"},
		{"padding in front", proxy, []jwthttp.Issuer{padding}, "=" + header[:len(header)-1] + "." + rest, invalid + "malformed"},
		{"a segment of padding alone", proxy, []jwthttp.Issuer{padding}, "====." + rest, invalid + "malformed"},
		{"without the option", field, []jwthttp.Issuer{newIssuer()}, token, invalid + "malformed"},
		{"without the option, from a proxy", proxy, []jwthttp.Issuer{newIssuer()}, token, invalid + "malformed"},
		{"of another issuer", field, []jwthttp.Issuer{padding, strict}, fromStrict + "." + padded(hs256(fromStrict)), invalid + "malformed"},
		// It is no token68 (RFC 9110 §11.2), which the scheme asks for.
		{"with a scheme", jwthttp.FromHeader("X-Data", "Bearer"), []jwthttp.Issuer{padding}, "Bearer " + token, "400 invalid_request malformed"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			opts := newOptions(tt.issuers...)
			opts.Extractor = tt.extractor
			checkCached(t, opts, newRequest(withField("X-Data", tt.token)), tt.want)
		})
	}
}

// Rule 28: RFC 7800 §3.
func TestAuthenticate_boundToken(t *testing.T) {
	var tests []verification
	for _, cnf := range []string{`{"jkt":"` + strings.Repeat("A", 43) + `"}`, `{"x5t#S256":"` + strings.Repeat("A", 43) + `"}`, `{"jkt":"x"}`, `{"x5t#S256":"x"}`, `{"unknown":1}`, `{}`, `"x"`, `""`, `[]`, `0`, `false`} {
		tests = append(tests, verification{cnf, goodToken(map[string]any{"cnf": json.RawMessage(cnf)}), invalid + "binding"})
	}
	runVerifications(t, newOptions(), append(tests,
		verification{"null is no binding", goodToken(map[string]any{"cnf": json.RawMessage("null")}), admitted},
		verification{"not before the signature holds", altered(goodToken(map[string]any{"cnf": 1})), invalid + "signature"}))
}

// Cheap checks come first. Each of these tokens is wrong in all later ways, too.
func TestAuthenticate_order(t *testing.T) {
	asked := 0
	iss := newIssuer()
	iss.Algorithms = []string{"HS256", "HS384"}
	iss.Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { asked++; return nil, errors.New("no such key") })
	other := jwthttp.Issuer{Name: "other", Audience: []string{"x"}, Algorithms: []string{"HS512"}, Keys: iss.Keys}
	m := mustNew[testClaims](t, newOptions(iss, other))
	wrong := map[string]any{"aud": "x", "exp": 1}
	foreign := map[string]any{"iss": "x", "aud": "x", "exp": 1}
	for _, tt := range []struct {
		name, token, want string
		asked             int
	}{
		{"size before shape", strings.Repeat("!", 9000), invalid + "too_large", 0},
		{"shape before header", b64(`{"alg":"none"}`) + ".!.x", "400 invalid_request malformed", 0},
		{"header before alg", signHS256(`{"alg":"none","crit":[]}`, "{}"), invalid + "malformed", 0},
		{"unknown alg before the payload", signHS256(`{"alg":"none"}`, "not json"), invalid + "algorithm", 0},
		{"payload before iss", signHS256(goodHeader, `{"iss":"x","exp":"x"}`), invalid + "malformed", 0},
		{"iss before typ", signHS256(`{"alg":"HS256","typ":"x"}`, claimsJSON(foreign)), invalid + "issuer", 0},
		{"the issuer's alg before typ", signHS256(`{"alg":"HS512","typ":"x"}`, claimsJSON(wrong)), invalid + "algorithm", 0},
		{"typ before aud", signHS256(`{"alg":"HS256","typ":"x"}`, claimsJSON(wrong)), invalid + "type", 0},
		{"aud before exp", signHS256(goodHeader, claimsJSON(wrong)), invalid + "audience", 0},
		{"exp before the key", goodToken(map[string]any{"exp": 1}), invalid + "expired", 0},
		{"the key last", goodToken(nil), invalid + "unknown_key", 1},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			asked = 0
			if got := verdict(m, newRequest(withBearer(tt.token))); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
			if asked != tt.asked {
				t.Errorf("keys asked %d times, want %d", asked, tt.asked)
			}
		})
	}
}

func TestError_Is(t *testing.T) {
	iss := newIssuer()
	iss.MaxTokenAge = 2 * time.Hour
	opts := newOptions(iss)
	list := new(revocation.List)
	opts.Revoked = list.Revoked
	for _, tt := range []struct {
		token string
		want  []error
	}{
		{"garbage", []error{jwt.ErrTokenMalformed}},
		{signHS256(`{"alg":"HS256","crit":[]}`, "{}"), []error{jwt.ErrTokenMalformed}},
		{signHS256(goodHeader, `{"a":1,"a":1}`), []error{jwt.ErrTokenMalformed}},
		{goodToken(map[string]any{"exp": "x"}), []error{jwt.ErrTokenMalformed}},
		{goodToken(map[string]any{"exp": nil}), []error{jwt.ErrTokenMalformed, jwt.ErrTokenRequiredClaimMissing}},
		{signHS256(`{"alg":"none"}`, "{}"), []error{jwt.ErrTokenUnverifiable}},
		{goodToken(map[string]any{"iss": "x"}), []error{jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"aud": "x"}), []error{jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"exp": 1}), []error{jwt.ErrTokenExpired, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"nbf": 9e9}), []error{jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"iat": 9e9}), []error{jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"iat": nil}), []error{jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"iat": 1}), []error{jwt.ErrTokenInvalidClaims}},
		{altered(goodToken(nil)), []error{jwt.ErrTokenSignatureInvalid}},
		{goodToken(map[string]any{"cnf": 1}), []error{jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"role": 1}), []error{jwt.ErrTokenInvalidClaims}},
		{goodToken(map[string]any{"jti": "gone"}), []error{jwthttp.ErrRevoked}},
		{"", []error{jwthttp.ErrNoToken}},
	} {
		bubble(t, fmt.Sprint(tt.want), func(t *testing.T) {
			if err := list.Revoke(t.Context(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: "gone"}); err != nil {
				t.Fatal(err)
			}
			r := newRequest(withBearer(tt.token))
			if tt.token == "" {
				r = newRequest()
			}
			_, err := mustNew[testClaims](t, opts).Authenticate(r)
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("error %q is not %q", err, want)
				}
			}
		})
	}
}

func TestTokenFromContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		compact := signHS256(`{"alg":"HS256","typ":"at+JWT","kid":"k1"}`, claimsJSON(map[string]any{
			"aud": []string{"a", audienceName}, "nbf": json.RawMessage("946684790.5"), "sid": "s", "azp": "app",
			"scope": "orders:read  orders:write", "acr": "high", "amr": []string{"pwd", "otp"}, "auth_time": bubbleStart - 120,
		}))
		inner := serve(mustNew[jwt.MapClaims](t, newOptions()), newRequest(withBearer(compact))).inner
		got, ok := jwthttp.TokenFromContext(inner.Context())
		if !ok {
			t.Fatal("no token")
		}
		at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
		want := &jwthttp.Token{
			Issuer: issuerName, Subject: "alice", ID: "id-1", SessionID: "s", ClientID: "app",
			Audience: []string{"a", audienceName},
			IssuedAt: at(bubbleStart - 60), NotBefore: at(bubbleStart - 10).Add(500 * time.Millisecond), ExpiresAt: at(bubbleStart + 3600),
			Scopes: []string{"orders:read", "orders:write"},
			ACR:    "high", AMR: []string{"pwd", "otp"}, AuthTime: at(bubbleStart - 120),
			Algorithm: "HS256", KeyID: "k1", Type: "at+JWT", Source: jwthttp.SourceHeader,
		}
		if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "raw" }, cmp.Ignore())); diff != "" {
			t.Errorf("token (-want +got):\n%s", diff)
		}
		if got.Raw() != compact {
			t.Errorf("Raw() is %q", got.Raw())
		}
		var claims struct{ Role string }
		if err := got.Claims(&claims); err != nil || claims.Role != "editor" {
			t.Errorf("Claims: %v, %v", claims, err)
		}
	})
}

// tokenOf returns the Token that a handler sees.
func tokenOf(t *testing.T, opts jwthttp.Options, compact string) *jwthttp.Token {
	t.Helper()
	inner := serve(mustNew[struct{}](t, opts), newRequest(withBearer(compact))).inner
	if inner == nil {
		t.Fatal("refused")
	}
	token, ok := jwthttp.TokenFromContext(inner.Context())
	if !ok {
		t.Fatal("no token")
	}
	return token
}

// Rule 25
func TestToken_Scopes(t *testing.T) {
	null := json.RawMessage("null")
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   []string
	}{
		{"none", nil, nil},
		{"scope", map[string]any{"scope": "a b"}, []string{"a", "b"}},
		{"scope with spaces around", map[string]any{"scope": " a  b "}, []string{"a", "b"}},
		{"scope with a tab is one odd scope", map[string]any{"scope": "a\tb"}, []string{"a\tb"}},
		{"empty scope", map[string]any{"scope": ""}, nil},
		{"null", map[string]any{"scope": null, "scp": null}, nil},
		{"scope as an array", map[string]any{"scope": []string{"a", "b"}}, []string{"a", "b"}},
		{"an element of an array is not split", map[string]any{"scope": []string{"a b"}}, []string{"a b"}},
		{"an empty array", map[string]any{"scope": []string{}}, []string{}},
		{"an empty element", map[string]any{"scope": []string{"", "a", ""}}, []string{"", "a", ""}},
		{"an element of spaces", map[string]any{"scp": []string{" ", "a "}}, []string{" ", "a "}},
		{"the same element twice", map[string]any{"scope": []string{"a", "a"}}, []string{"a", "a"}},
		{"escaped elements", map[string]any{"scope": json.RawMessage(`["\u0061","b\u0020c"]`)}, []string{"a", "b c"}},
		{"scope as an array before scp of spaces", map[string]any{"scope": []string{"a"}, "scp": "b c"}, []string{"a"}},
		{"scp as a string", map[string]any{"scp": "a b"}, []string{"a", "b"}},
		{"scp as an array", map[string]any{"scp": []string{"a", "b c"}}, []string{"a", "b c"}},
		{"scope before scp", map[string]any{"scope": "a", "scp": "b"}, []string{"a"}},
		{"scope as an array before scp", map[string]any{"scope": []string{"a"}, "scp": []string{"b"}}, []string{"a"}},
		{"an empty scope before scp", map[string]any{"scope": "", "scp": "b"}, nil},
		{"an empty array before scp", map[string]any{"scope": []string{}, "scp": "b"}, []string{}},
		{"a null scope before scp", map[string]any{"scope": null, "scp": "b"}, []string{"b"}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tokenOf(t, newOptions(), goodToken(tt.claims)).Scopes); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestToken_ClientID(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"none", nil, ""},
		{"client_id", map[string]any{"client_id": "c"}, "c"},
		{"azp", map[string]any{"azp": "a"}, "a"},
		{"cid", map[string]any{"cid": "i"}, "i"},
		{"client_id before azp and cid", map[string]any{"client_id": "c", "azp": "a", "cid": "i"}, "c"},
		{"azp before cid", map[string]any{"azp": "a", "cid": "i"}, "a"},
		{"null before azp", map[string]any{"client_id": json.RawMessage("null"), "azp": "a"}, "a"},
		{"cid of another type", map[string]any{"cid": []int{1}}, ""},
		{"an escaped value", map[string]any{"client_id": json.RawMessage(`"\u00e9\n\ud83d\ude00"`)}, "é\n😀"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			if got := tokenOf(t, newOptions(), goodToken(tt.claims)).ClientID; got != tt.want {
				t.Errorf("ClientID %q, want %q", got, tt.want)
			}
		})
	}
}

// Rule 25: identifiers may be JSON integers.
func TestToken_identifiers(t *testing.T) {
	for _, claim := range []struct {
		name string
		got  func(*jwthttp.Token) string
	}{
		{"sub", func(t *jwthttp.Token) string { return t.Subject }},
		{"jti", func(t *jwthttp.Token) string { return t.ID }},
		{"sid", func(t *jwthttp.Token) string { return t.SessionID }},
		{"client_id", func(t *jwthttp.Token) string { return t.ClientID }},
		{"azp", func(t *jwthttp.Token) string { return t.ClientID }},
	} {
		for _, tt := range []struct{ value, want string }{
			{`"42"`, "42"}, {`42`, "42"}, {`-1`, "-1"}, {`0`, "0"}, {`-0`, "-0"}, // as it is written
			{`9007199254740993`, "9007199254740993"}, {`-9007199254740993`, "-9007199254740993"}, {`18446744073709551616`, "18446744073709551616"},
			{`12345678901234567890123`, "12345678901234567890123"}, // more digits than a float64 has
			{`null`, ""}, {`""`, ""},
		} {
			bubble(t, claim.name+" "+tt.value, func(t *testing.T) {
				token := tokenOf(t, newOptions(), goodToken(map[string]any{claim.name: json.RawMessage(tt.value)}))
				if got := claim.got(token); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		}
		for _, value := range []string{`42.0`, `4.2e1`, `42E0`, `1e400`, `-0.5`, `-0.0`, `true`, `false`, `{}`, `[]`, `["42"]`, `[42]`} {
			token := goodToken(map[string]any{claim.name: json.RawMessage(value)})
			runVerifications(t, newOptions(), []verification{{claim.name + " " + value, token, invalid + "malformed"}})
		}
	}
	runVerifications(t, newOptions(), []verification{
		// As encoding/json does, a string field of the claims refuses an integer.
		{"a string field", goodToken(map[string]any{"sub": 42}), invalid + "claims"},
	})
}

// The claims have an integer as encoding/json decodes it.
func TestToken_identifiers_claims(t *testing.T) {
	const exact = "9007199254740993" // 2^53 + 1
	type number struct {
		Subject json.Number `json:"sub"`
	}
	type integer struct {
		Subject int64 `json:"sub"`
	}
	checkSubject(t, "42", func(c jwt.MapClaims) bool { return c["sub"] == 42.0 })
	checkSubject(t, "42", func(c any) bool { return c.(map[string]any)["sub"] == 42.0 })
	checkSubject(t, "42", func(c number) bool { return c.Subject == "42" })
	checkSubject(t, exact, func(c jwt.MapClaims) bool { return c["sub"] == float64(1<<53) })
	checkSubject(t, exact, func(c number) bool { return c.Subject == exact })
	checkSubject(t, exact, func(c integer) bool { return c.Subject == 1<<53+1 })
	checkSubject(t, exact, func(c json.RawMessage) bool { return strings.Contains(string(c), `"sub":`+exact) })
}

// checkSubject verifies a token whose "sub" is a number.
func checkSubject[T any](t *testing.T, subject string, isRight func(T) bool) {
	t.Helper()
	bubble(t, fmt.Sprintf("%s in %T", subject, *new(T)), func(t *testing.T) {
		ctx, err := mustNew[T](t, newOptions()).Verify(t.Context(), goodToken(map[string]any{"sub": json.RawMessage(subject)}))
		if err != nil {
			t.Fatal(err)
		}
		if claims := jwthttp.MustClaims[T](ctx); !isRight(claims) {
			t.Errorf("claims %v", claims)
		}
		if token, _ := jwthttp.TokenFromContext(ctx); token.Subject != subject {
			t.Errorf("Subject %q", token.Subject)
		}
	})
}

func TestToken_Fingerprint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fingerprint := func(compact string) string { return tokenOf(t, newOptions(), compact).Fingerprint() }
		a, b := fingerprint(goodToken(nil)), fingerprint(goodToken(map[string]any{"jti": "id-2"}))
		if len(a) != 64 || strings.ToLower(a) != a || a == b {
			t.Errorf("fingerprints %q and %q", a, b)
		}
		compact := goodToken(nil)
		if sum := sha256.Sum256([]byte(compact[:strings.LastIndex(compact, ".")])); a != hex.EncodeToString(sum[:]) {
			t.Errorf("fingerprint %q is not the hash of header and payload", a)
		}
		padding := newIssuer()
		padding.PaddedSegments = true
		if padded := tokenOf(t, newOptions(padding), compact+"=").Fingerprint(); padded != a {
			t.Errorf("fingerprint %q with a padded signature, %q without", padded, a)
		}
		if got := new(jwthttp.Token).Fingerprint(); got != "" {
			t.Errorf("fingerprint of a token made by hand: %q", got)
		}
		if err := new(jwthttp.Token).Claims(new(any)); err == nil {
			t.Error("a token made by hand has claims")
		}
		if got := new(jwthttp.Token).Raw(); got != "" {
			t.Errorf("raw text of a token made by hand: %q", got)
		}
	})
}

// Rule 29
func TestMiddleware_routes(t *testing.T) {
	m := mustNew[testClaims](t, newOptions())
	isRole := func(role string) func(*http.Request) error {
		return jwthttp.Rule(func(_ *http.Request, c testClaims) error {
			if c.Role != role {
				return errNotEditor
			}
			return nil
		})
	}
	for _, tt := range []struct {
		name string
		m    *jwthttp.Middleware
		want string
	}{
		{"no requirement", m, admitted},
		{"its scope", m.RequireScopes("a"), admitted},
		{"another scope", m.RequireScopes("b"), "403 insufficient_scope scope"},
		{"both scopes", m.RequireScopes("a", "b"), "403 insufficient_scope scope"},
		{"any of both scopes", m.RequireAnyScope("a", "b"), admitted},
		{"a rule that accepts it", m.Require(isRole("editor")), admitted},
		{"a rule that does not", m.Require(isRole("admin")), "403 forbidden"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := newRequest(withBearer(goodToken(map[string]any{"scope": "a"})))
			checkVerdict(t, tt.m, r, tt.want)
			checkVerdict(t, m, r, admitted)
		})
	}
}

// Rule 9: the size is checked before anything is decoded.
func TestOptions_MaxTokenSize_allocation(t *testing.T) {
	opts := newOptions()
	opts.Extractor = jwthttp.FromCookie("c") // which reads any size
	m := mustNew[testClaims](t, opts)
	for _, tt := range []struct{ name, token string }{
		{"900 KiB", strings.Repeat("a", 900<<10)},
		{"500 KiB of dots", strings.Repeat(".", 500<<10)},
		{"a header of 900 KiB", strings.Repeat("a", 900<<10) + ".e30."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(withField("Cookie", "c="+tt.token))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := verdict(m, r)
			runtime.ReadMemStats(&after)
			if got != invalid+"too_large" {
				t.Errorf("verdict %q", got)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}

// Rule 47
func TestToken_printing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		compact := goodToken(nil)
		signature := compact[strings.LastIndexByte(compact, '.')+1:]
		var events []jwthttp.Event
		opts := newOptions()
		opts.Observer = func(_ context.Context, e jwthttp.Event) { events = append(events, e) }
		m := mustNew[testClaims](t, opts)
		inner := serve(m, newRequest(withBearer(compact))).inner
		token, _ := jwthttp.TokenFromContext(inner.Context())
		serve(m.RequireScopes("none"), newRequest(withBearer(compact)))
		values := []any{token, *token, []*jwthttp.Token{token}, events, events[0], &events[1], events[1].Err, *events[1].Err, inner.Context(), m}
		for _, v := range values {
			var b strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&b, verb+"\n", v)
			}
			text, _ := json.Marshal(v)
			b.Write(text)
			for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
				slog.New(handler).Info("x", "v", v)
			}
			if strings.Contains(b.String(), signature) || strings.Contains(b.String(), fmt.Sprintf("%x", signature)) {
				t.Errorf("%T shows the token:\n%s", v, b.String())
			}
		}
	})
}

func TestOptions_MaxTokenSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := goodToken(nil)
		opts := newOptions()
		opts.MaxTokenSize = len(token)
		checkVerdict(t, mustNew[testClaims](t, opts), newRequest(withBearer(token)), admitted)
		opts.MaxTokenSize--
		m := mustNew[testClaims](t, opts)
		checkVerdict(t, m, newRequest(withBearer(token)), invalid+"too_large")
		// The log names the option that admits the token. The client is told neither.
		_, err := m.Authenticate(newRequest(withBearer(token)))
		if want := fmt.Sprintf("token has %d bytes, Options.MaxTokenSize is %d", len(token), len(token)-1); !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q", err, want)
		}
		if body := serve(m, newRequest(withBearer(token))).Body.String(); strings.Contains(body, "Size") || strings.Contains(body, fmt.Sprint(len(token))) {
			t.Errorf("the client is told %s", body)
		}
	})
}

// strictClaims has a Validate method on the pointer, valueClaims on the value.
type strictClaims struct {
	testClaims
	Seen bool `json:"-"`
}

func (c *strictClaims) Validate() error {
	c.Seen = true
	return needsEditor(c.Role)
}

type valueClaims struct{ testClaims }

func (c valueClaims) Validate() error { return needsEditor(c.Role) }

var errNotEditor = errors.New("not an editor")

func needsEditor(role string) error {
	if role != "editor" {
		return errNotEditor
	}
	return nil
}

func checkClaims[T any](t *testing.T, name string, role func(T) string, validates bool) {
	bubble(t, name, func(t *testing.T) {
		m := mustNew[T](t, newOptions())
		inner := serve(m, newRequest(withBearer(goodToken(nil)))).inner
		if inner == nil {
			t.Fatal("refused")
		}
		c, ok := jwthttp.ClaimsFromContext[T](inner.Context())
		if !ok || role(c) != "editor" {
			t.Errorf("claims %v, %v", c, ok)
		}
		if validates {
			r := newRequest(withBearer(goodToken(map[string]any{"role": "visitor"})))
			checkVerdict(t, m, r, invalid+"claims")
			if _, err := m.Authenticate(r); !errors.Is(err, errNotEditor) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestNew_claimsTypes(t *testing.T) {
	checkClaims(t, "a struct that embeds jwt.RegisteredClaims", func(c testClaims) string { return c.Role }, false)
	checkClaims(t, "a pointer to it", func(c *testClaims) string { return c.Role }, false)
	checkClaims(t, "a plain struct", func(c struct{ Role string }) string { return c.Role }, false)
	checkClaims(t, "jwt.MapClaims", func(c jwt.MapClaims) string { return c["role"].(string) }, false)
	checkClaims(t, "a map", func(c map[string]any) string { return c["role"].(string) }, false)
	checkClaims(t, "any", func(c any) string { return c.(map[string]any)["role"].(string) }, false)
	checkClaims(t, "json.RawMessage", func(c json.RawMessage) string {
		var v struct{ Role string }
		_ = json.Unmarshal(c, &v)
		return v.Role
	}, false)
	checkClaims(t, "Validate on the pointer", func(c strictClaims) string {
		if !c.Seen {
			return "not validated"
		}
		return c.Role
	}, true)
	checkClaims(t, "Validate on the pointer, a pointer", func(c *strictClaims) string { return c.Role }, true)
	checkClaims(t, "Validate on the value", func(c valueClaims) string { return c.Role }, true)
	checkClaims(t, "Validate on the value, a pointer", func(c *valueClaims) string { return c.Role }, true)
	runVerifications(t, newOptions(), []verification{
		{"claims that do not decode", goodToken(map[string]any{"role": 1}), invalid + "claims"},
	})
}

func TestClaimsFromContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := serve(mustNew[testClaims](t, newOptions()), newRequest(withBearer(goodToken(nil)))).inner.Context()
		if _, ok := jwthttp.ClaimsFromContext[testClaims](ctx); !ok {
			t.Error("not found by their type")
		}
		if c, ok := jwthttp.ClaimsFromContext[*testClaims](ctx); ok || c != nil {
			t.Error("found by the pointer to their type")
		}
		if _, ok := jwthttp.ClaimsFromContext[any](ctx); ok {
			t.Error("found by an interface they satisfy")
		}
		if _, ok := jwthttp.ClaimsFromContext[testClaims](context.Background()); ok {
			t.Error("found in an empty context")
		}
		if c := jwthttp.MustClaims[testClaims](ctx); c.Role != "editor" {
			t.Errorf("MustClaims returns %+v", c)
		}
		for _, must := range []func(){
			func() { jwthttp.MustClaims[*testClaims](ctx) },
			func() { jwthttp.MustClaims[testClaims](context.Background()) },
		} {
			func() {
				defer func() {
					if p := fmt.Sprint(recover()); !strings.Contains(p, "testClaims") {
						t.Errorf("panic %q", p)
					}
				}()
				must()
			}()
		}
	})
}

func TestContextWithClaims(t *testing.T) {
	ctx := jwthttp.ContextWithClaims(context.Background(), testClaims{Role: "editor"})
	ctx = jwthttp.ContextWithClaims(ctx, jwt.MapClaims{"role": "map"})
	token := &jwthttp.Token{Subject: "alice", Scopes: []string{"a"}}
	ctx = jwthttp.ContextWithToken(ctx, token)
	if c, ok := jwthttp.ClaimsFromContext[testClaims](ctx); !ok || c.Role != "editor" {
		t.Errorf("claims %v, %v", c, ok)
	}
	got, ok := jwthttp.TokenFromContext(ctx)
	if !ok || got.Subject != "alice" {
		t.Errorf("token %v, %v", got, ok)
	}
	got.Scopes[0] = "b"
	if token.Scopes[0] != "a" {
		t.Error("the Token was not copied")
	}
	if _, ok := jwthttp.TokenFromContext(jwthttp.ContextWithToken(ctx, nil)); ok {
		t.Error("a nil Token was found")
	}
	r := newRequest().WithContext(ctx)
	if got := verdict(mustNew[testClaims](t, newOptions()), r); got != "401 missing" {
		t.Errorf("a context made by hand counts as authentication: %q", got)
	}
}

// Rules 17 and 31
func TestHandler_unverifiedValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := newIssuer()
		iss.Keys = jwthttp.KeySet{"k1": secret}
		m := mustNew[testClaims](t, newOptions(iss))
		bodies := map[string]string{}
		for _, kid := range []string{"plain", `"quotes"`, "ünïcode", "../../etc/passwd", "' OR 1=1 --", "<script>", "a\u2028b", strings.Repeat("k", 1000)} {
			header, _ := json.Marshal(map[string]string{"alg": "HS256", "kid": kid})
			res := serve(m, newRequest(withBearer(signHS256(string(header), claimsJSON(nil)))))
			bodies[fmt.Sprint(res.Body, res.Header())] = kid
		}
		if len(bodies) != 1 {
			t.Errorf("answers differ by kid: %q", bodies)
		}
	})
}

// An error quotes unverified values for logs, escaped and shortened.
func TestError_quoting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := mustNew[testClaims](t, newOptions()).Authenticate(newRequest(withBearer(goodToken(map[string]any{"aud": "https://wrong.example\n\x1b[31m" + strings.Repeat("x", 1000)}))))
		text := err.Error()
		if !strings.Contains(text, "https://wrong.example") || strings.ContainsAny(text, "\n\x1b") || len(text) > 300 {
			t.Errorf("error %q", text)
		}
	})
}
