package jwthttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

func runVerifications(t *testing.T, opts jwthttp.Options, tests []verification) {
	t.Helper()
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T) {
			checkVerdict(t, mustNew[testClaims](t, opts), get(bearer(tt.token)), tt.want)
		})
	}
}

// reSign signs altered segments again, so that nothing but their shape is wrong.
func reSign(header, payload string) string {
	signed := header + "." + payload
	return signed + "." + b64(hs256(signed))
}

// RFC 7515 §2, §3.1, §5.2; RFC 7519 §7.2; rules 12 and 15.
func TestCompactSerialisation(t *testing.T) {
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

	opts := options()
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
		{"JSON serialisation", `{"protected":"` + h + `","payload":"` + p + `","signature":"` + sig + `"}`, invalid + "malformed"},
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
			r := get()
			r.Header["Token"] = []string{tt.token}
			checkVerdict(t, m, r, tt.want)
		})
	}
}

// RFC 7515 §4.1; RFC 7519 §5; RFC 8725 §3.1, §3.11; rules 13, 14, 17 and 27.
func TestHeaders(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32)
	var tests []verification
	for header, want := range map[string]string{
		`{"alg":"HS256"}`:                                     admitted,
		`{"alg":"HS256","typ":"JWT"}`:                         admitted,
		` { "alg" : "HS256" } `:                               admitted,
		`{"\u0061lg":"HS\u003256"}`:                           admitted,
		`{"alg":"HS256","cty":"JWT","x":{"y":[1,null,true]}}`: admitted,

		`"HS256"`:                              invalid + "malformed",
		`["HS256"]`:                            invalid + "malformed",
		`null`:                                 invalid + "malformed",
		`{"alg":"HS256"`:                       invalid + "malformed",
		`{"alg":"HS256"}}`:                     invalid + "malformed",
		`{"alg":"HS256"} {}`:                   invalid + "malformed",
		"\ufeff" + `{"alg":"HS256"}`:           invalid + "malformed",
		`{"alg":"HS256","x":"` + "\xff" + `"}`: invalid + "malformed",
		`{"alg":"HS256","x":"\ud800"}`:         invalid + "malformed",
		`{"alg":"HS256","x":` + deep + `}`:     invalid + "malformed",

		`{}`:                                        invalid + "malformed",
		`{"typ":"JWT"}`:                             invalid + "malformed",
		`{"alg":null}`:                              invalid + "malformed",
		`{"alg":256}`:                               invalid + "malformed",
		`{"alg":["HS256"]}`:                         invalid + "malformed",
		`{"alg":""}`:                                invalid + "algorithm",
		`{"alg":"none"}`:                            invalid + "algorithm",
		`{"alg":"None"}`:                            invalid + "algorithm",
		`{"alg":"NONE"}`:                            invalid + "algorithm",
		`{"alg":"nOnE"}`:                            invalid + "algorithm",
		`{"alg":"none "}`:                           invalid + "algorithm",
		`{"alg":"hs256"}`:                           invalid + "algorithm",
		`{"alg":"HS384"}`:                           invalid + "algorithm",
		`{"alg":"RS256"}`:                           invalid + "algorithm",
		`{"alg":"XS256"}`:                           invalid + "algorithm",
		`{"alg":"HS256\u0000"}`:                     invalid + "algorithm",
		`{"alg":"HS256","alg":"HS256"}`:             invalid + "malformed",
		`{"alg":"HS256","alg":"none"}`:              invalid + "malformed",
		`{"alg":"HS256","Alg":"none"}`:              invalid + "malformed",
		`{"ALG":"HS256"}`:                           invalid + "malformed",
		`{"alg":"HS256","x":1,"x":1}`:               invalid + "malformed",
		`{"alg":"HS256","x":1,"X":1}`:               invalid + "malformed",
		`{"alg":"HS256","x":{"y":1,"y":2}}`:         invalid + "malformed",
		`{"alg":"HS256","x":[{"y":1,"\u0079":2}]}`:  invalid + "malformed",
		`{"alg":"HS256","crit":["exp"],"exp":1}`:    invalid + "malformed",
		`{"alg":"HS256","crit":[]}`:                 invalid + "malformed",
		`{"alg":"HS256","crit":null}`:               invalid + "malformed",
		`{"alg":"HS256","crit":"b64"}`:              invalid + "malformed",
		`{"alg":"HS256","crit":["b64"],"b64":true}`: invalid + "malformed",
		`{"alg":"HS256","Crit":["x"]}`:              invalid + "malformed",
		`{"alg":"HS256","b64":false}`:               invalid + "malformed",
		`{"alg":"HS256","b64":true}`:                invalid + "malformed",
		`{"alg":"HS256","zip":"DEF"}`:               invalid + "malformed",
		`{"alg":"HS256","enc":"A128GCM"}`:           invalid + "malformed",

		`{"alg":"HS256","kid":"any"}`:                                 admitted, // a StaticKey serves every kid
		`{"alg":"HS256","kid":1}`:                                     invalid + "malformed",
		`{"alg":"HS256","kid":null}`:                                  invalid + "malformed",
		`{"alg":"HS256","kid":["a"]}`:                                 invalid + "malformed",
		`{"alg":"HS256","kid":"a\r\nSet-Cookie: x"}`:                  invalid + "malformed",
		`{"alg":"HS256","kid":"a\u007f"}`:                             invalid + "malformed",
		`{"alg":"HS256","kid":"a\u0000"}`:                             invalid + "malformed",
		`{"alg":"HS256","kid":"` + strings.Repeat("a", 64<<10) + `"}`: invalid + "too_large",

		`{"alg":"HS256","typ":"jwt"}`:                admitted,
		`{"alg":"HS256","typ":"at+jwt"}`:             admitted,
		`{"alg":"HS256","typ":"AT+JWT"}`:             admitted,
		`{"alg":"HS256","typ":"application/at+jwt"}`: admitted,
		`{"alg":"HS256","typ":"Application/JWT"}`:    admitted,
		`{"alg":"HS256","typ":"dpop+jwt"}`:           invalid + "type",
		`{"alg":"HS256","typ":"logout+jwt"}`:         invalid + "type",
		`{"alg":"HS256","typ":"secevent+jwt"}`:       invalid + "type",
		`{"alg":"HS256","typ":"JOSE"}`:               invalid + "type",
		`{"alg":"HS256","typ":"text/jwt"}`:           invalid + "type",
		`{"alg":"HS256","typ":"application/"}`:       invalid + "type",
		`{"alg":"HS256","typ":"JWT "}`:               invalid + "type",
		`{"alg":"HS256","typ":""}`:                   invalid + "malformed",
		`{"alg":"HS256","typ":1}`:                    invalid + "malformed",
		`{"alg":"HS256","typ":null}`:                 invalid + "malformed",
	} {
		tests = append(tests, verification{header[:min(len(header), 60)], signHS256(header, claimsJSON(nil)), want})
	}
	runVerifications(t, options(), tests)
}

// Keys that a token brings along, or points to, are never used (RFC 8725 §3.10; rule 14).
func TestKeysInsideATokenAreNeverUsed(t *testing.T) {
	called := false
	iss := issuer()
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
			checkVerdict(t, mustNew[testClaims](t, options(iss)), get(bearer(token)), admitted)
			checkVerdict(t, mustNew[testClaims](t, options(iss)), get(bearer(altered(token))), invalid+"signature")
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

func TestAcceptedTypesCanBeListed(t *testing.T) {
	iss := issuer()
	iss.Types = []string{"application/at+jwt", "secevent+jwt"}
	var tests []verification
	for header, want := range map[string]string{
		`{"alg":"HS256","typ":"at+jwt"}`:             admitted,
		`{"alg":"HS256","typ":"application/AT+JWT"}`: admitted,
		`{"alg":"HS256","typ":"secevent+jwt"}`:       admitted,
		`{"alg":"HS256","typ":"\u017fecevent+jwt"}`:  invalid + "type",
		`{"alg":"HS256","typ":"JWT"}`:                invalid + "type",
		`{"alg":"HS256"}`:                            invalid + "type",
	} {
		tests = append(tests, verification{header, signHS256(header, claimsJSON(nil)), want})
	}
	runVerifications(t, options(iss), tests)
}

// RFC 7519 §4.1, §7.2; RFC 8259; rules 15, 16, 24 and 26.
func TestPayloads(t *testing.T) {
	const rest = `,"iss":"https://login.example","aud":"https://api.example"`
	in := func(depth int) string {
		return `{"exp":9999999999` + rest + `,"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	var tests []verification
	for payload, want := range map[string]string{
		`{"exp":9999999999` + rest + `}`:                         admitted,
		`{"exp":9999999999` + rest + `,"role":"\ud83d\ude00 ü"}`: admitted,
		in(32):   admitted,
		in(33):   invalid + "malformed",
		in(3000): invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":{"Y":1,"y":2}}`: admitted, // only the top level decodes into T unchecked

		`[]`:                                     invalid + "malformed",
		`"a"`:                                    invalid + "malformed",
		`1`:                                      invalid + "malformed",
		`null`:                                   invalid + "malformed",
		``:                                       invalid + "malformed",
		`{`:                                      invalid + "malformed",
		`{"a"}`:                                  invalid + "malformed",
		`{"exp":9999999999` + rest + `,}`:        invalid + "malformed",
		`{"exp":9999999999` + rest + `}x`:        invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":01}`:  invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":+1}`:  invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":NaN}`: invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":1e400}`:                 invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":'a'}`:                   invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"` + "\n" + `"}`:        invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"` + "\x80" + `"}`:      invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"\udc00"}`:              invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"\ud800\u0041"}`:        invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"\u12"}`:                invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":"\v"}`:                  invalid + "malformed",
		`{"exp":9999999999` + rest + `/*c*/}`:                      invalid + "malformed",
		`{"exp":9999999999` + rest + `,"x":{"y":1,"y":1}}`:         invalid + "malformed",
		`{"exp":9999999999` + rest + `,"exp":9999999999}`:          invalid + "malformed",
		`{"exp":1,"Exp":9999999999` + rest + `}`:                   invalid + "malformed",
		`{"exp":9999999999` + rest + `,"SUB":"root"}`:              invalid + "malformed",
		`{"exp":9999999999` + rest + `,"i\u017fs":"x"}`:            invalid + "malformed",
		`{"exp":9999999999` + rest + `,"ſub":"root"}`:              invalid + "malformed",
		`{"exp":9999999999` + rest + `,"Cnf":{}}`:                  invalid + "malformed",
		`{"exp":9999999999` + rest + `,"Client_ID":"a"}`:           invalid + "malformed",
		`{"exp":9999999999` + rest + `,"role":"a","Role":"b"}`:     invalid + "malformed",
		`{"exp":9999999999` + rest + `,"kk":1,"\u212ak":2}`:        invalid + "malformed",
		`{"exp":9999999999` + rest + `,` + members(20) + `,"0":1}`: invalid + "malformed",
		`{"exp":9999999999` + rest + `,"Role":"b"}`:                admitted, // no collision

		`{"exp":9999999999` + rest + `,"sub":1}`:          invalid + "malformed",
		`{"exp":9999999999` + rest + `,"sub":null}`:       invalid + "malformed",
		`{"exp":9999999999` + rest + `,"jti":1}`:          invalid + "malformed",
		`{"exp":9999999999` + rest + `,"sid":[]}`:         invalid + "malformed",
		`{"exp":9999999999` + rest + `,"client_id":{}}`:   invalid + "malformed",
		`{"exp":9999999999` + rest + `,"azp":true}`:       invalid + "malformed",
		`{"exp":9999999999` + rest + `,"scope":["a"]}`:    invalid + "malformed",
		`{"exp":9999999999` + rest + `,"scope":null}`:     invalid + "malformed",
		`{"exp":9999999999` + rest + `,"scp":["a",1]}`:    invalid + "malformed",
		`{"exp":9999999999` + rest + `,"scp":["a",null]}`: invalid + "malformed",
		`{"exp":9999999999` + rest + `,"scp":{}}`:         invalid + "malformed",
	} {
		tests = append(tests, verification{payload[:min(len(payload), 120)], signHS256(goodHeader, payload), want})
	}
	runVerifications(t, options(), tests)
}

// RFC 7519 §4.1.4 to §4.1.6, §2; rules 24 and 25.
func TestTimes(t *testing.T) {
	raw := func(name, value string) string {
		changes := map[string]any{name: json.RawMessage(value)}
		return goodToken(changes)
	}
	with := func(change func(*jwthttp.Options)) jwthttp.Options {
		opts := options()
		change(&opts)
		return opts
	}
	now := func(d time.Duration) string { return fmt.Sprintf("%.3f", float64(bubbleStart)+d.Seconds()) }
	plain := options()
	leeway := with(func(o *jwthttp.Options) { o.Leeway = time.Minute })
	maxAge := with(func(o *jwthttp.Options) { o.Issuers[0].MaxAge = time.Hour; o.Leeway = time.Minute })
	noExpiry := with(func(o *jwthttp.Options) { o.Issuers[0].NoExpiry = true })
	for _, group := range []struct {
		name  string
		opts  jwthttp.Options
		tests []verification
	}{
		{"exp", plain, []verification{
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
			{"larger than any float", signHS256(goodHeader, strings.Replace(claimsJSON(nil), `"exp":946688400`, `"exp":1e400`, 1)), invalid + "malformed"},
			{"negative", raw("exp", "-1"), invalid + "malformed"},
			{"minus zero", raw("exp", "-0"), invalid + "expired"},
		}},
		{"exp with leeway", leeway, []verification{
			{"almost a minute ago", raw("exp", now(-time.Minute+time.Millisecond)), admitted},
			{"a minute ago", raw("exp", now(-time.Minute)), invalid + "expired"},
		}},
		{"exp waived", noExpiry, []verification{
			{"missing", goodToken(map[string]any{"exp": nil}), admitted},
			{"in the past", raw("exp", "1"), invalid + "expired"},
			{"null", raw("exp", "null"), invalid + "malformed"},
		}},
		{"nbf", plain, []verification{
			{"now", raw("nbf", now(0)), admitted},
			{"a millisecond ahead", raw("nbf", now(time.Millisecond)), invalid + "not_yet_valid"},
			{"zero", raw("nbf", "0"), admitted},
			{"1e19", raw("nbf", "1e19"), invalid + "malformed"},
			{"1e300", raw("nbf", "1e300"), invalid + "malformed"},
			{"the largest int64", raw("nbf", "9223372036854775807"), invalid + "malformed"},
			{"a string", raw("nbf", `"0"`), invalid + "malformed"},
		}},
		{"nbf with leeway", leeway, []verification{
			{"a minute ahead", raw("nbf", now(time.Minute)), admitted},
			{"more than a minute ahead", raw("nbf", now(time.Minute+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"iat", plain, []verification{
			{"now", raw("iat", now(0)), admitted},
			{"a millisecond ahead", raw("iat", now(time.Millisecond)), invalid + "not_yet_valid"},
			{"missing", goodToken(map[string]any{"iat": nil}), admitted},
			{"null", raw("iat", "null"), invalid + "malformed"},
			{"zero", raw("iat", "0"), admitted},
		}},
		{"iat with leeway", leeway, []verification{
			{"a minute ahead", raw("iat", now(time.Minute)), admitted},
			{"more than a minute ahead", raw("iat", now(time.Minute+time.Millisecond)), invalid + "not_yet_valid"},
		}},
		{"MaxAge, to which leeway adds nothing", maxAge, []verification{
			{"an hour ago", raw("iat", now(-time.Hour)), admitted},
			{"more than an hour ago", raw("iat", now(-time.Hour-time.Millisecond)), invalid + "too_old"},
			{"missing", goodToken(map[string]any{"iat": nil}), invalid + "too_old"},
			{"zero", raw("iat", "0"), invalid + "too_old"},
		}},
	} {
		t.Run(group.name, func(t *testing.T) { runVerifications(t, group.opts, group.tests) })
	}
}

// RFC 7519 §4.1.1, §4.1.3; RFC 8725 §3.8, §3.9; rule 26.
func TestIssuerAndAudience(t *testing.T) {
	claim := func(name string, v any) string { return goodToken(map[string]any{name: v}) }
	anyone := issuer()
	anyone.Name, anyone.Audience = jwthttp.Any, []string{jwthttp.Any}
	two := issuer()
	two.Audience = []string{"https://other.example", audienceName}
	for _, group := range []struct {
		name  string
		opts  jwthttp.Options
		tests []verification
	}{
		{"iss", options(), []verification{
			{"another", claim("iss", "https://evil.example"), invalid + "issuer"},
			{"by case", claim("iss", "https://LOGIN.example"), invalid + "issuer"},
			{"with a slash", claim("iss", issuerName+"/"), invalid + "issuer"},
			{"a prefix", claim("iss", issuerName[:len(issuerName)-1]), invalid + "issuer"},
			{"longer", claim("iss", issuerName+".evil.example"), invalid + "issuer"},
			{"the word for any", claim("iss", jwthttp.Any), invalid + "issuer"},
			{"empty", claim("iss", ""), invalid + "issuer"},
			{"missing", claim("iss", nil), invalid + "issuer"},
			{"an array", claim("iss", []string{issuerName}), invalid + "malformed"},
			{"null", claim("iss", json.RawMessage("null")), invalid + "malformed"},
		}},
		{"aud", options(), []verification{
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
			{"null", claim("aud", json.RawMessage("null")), invalid + "malformed"},
			{"an array with a number", claim("aud", []any{audienceName, 1}), invalid + "malformed"},
			{"an array with null", claim("aud", []any{audienceName, nil}), invalid + "malformed"},
			{"nested", claim("aud", []any{[]any{audienceName}}), invalid + "malformed"},
			{"an object", claim("aud", map[string]any{audienceName: true}), invalid + "malformed"},
		}},
		{"several audiences", options(two), []verification{
			{"the first", claim("aud", "https://other.example"), admitted},
			{"the second", claim("aud", audienceName), admitted},
			{"neither", claim("aud", "https://third.example"), invalid + "audience"},
		}},
		{"waived", options(anyone), []verification{
			{"any iss", claim("iss", "https://evil.example"), admitted},
			{"no iss", claim("iss", nil), admitted},
			{"any aud", claim("aud", "x"), admitted},
			{"no aud", claim("aud", nil), admitted},
			{"iss of the wrong type", claim("iss", 1), invalid + "malformed"},
			{"aud of the wrong type", claim("aud", 1), invalid + "malformed"},
		}},
	} {
		t.Run(group.name, func(t *testing.T) { runVerifications(t, group.opts, group.tests) })
	}
}

// RFC 7800 §3; rule 28.
func TestABoundTokenIsNoBearerToken(t *testing.T) {
	var tests []verification
	for _, cnf := range []string{`{"jkt":"x"}`, `{"x5t#S256":"x"}`, `{"unknown":1}`, `{}`, `null`, `"x"`} {
		tests = append(tests, verification{cnf, goodToken(map[string]any{"cnf": json.RawMessage(cnf)}), invalid + "binding"})
	}
	tests = append(tests, verification{"not before the signature holds", altered(goodToken(map[string]any{"cnf": 1})), invalid + "signature"})
	runVerifications(t, options(), tests)
}

// The order is cheap first: each of these tokens is wrong in all later ways too.
func TestJudgementsComeInOrder(t *testing.T) {
	asked := 0
	iss := issuer()
	iss.Algorithms = []string{"HS256", "HS384"}
	iss.Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { asked++; return nil, errors.New("no such key") })
	other := jwthttp.Issuer{Name: "other", Audience: []string{"x"}, Algorithms: []string{"HS512"}, Keys: iss.Keys}
	m := mustNew[testClaims](t, options(iss, other))
	wrong := map[string]any{"aud": "x", "exp": 1}
	foreign := map[string]any{"iss": "x", "aud": "x", "exp": 1}
	for _, tt := range []struct {
		name, token, want string
		asked             int
	}{
		{"size before shape", strings.Repeat("!", 9000), invalid + "too_large", 0},
		{"shape before header", b64(`{"alg":"none"}`) + ".!.x", "400 invalid_request malformed", 0},
		{"header before alg", signHS256(`{"alg":"none","crit":[]}`, "{}"), invalid + "malformed", 0},
		{"alg of nobody before the payload", signHS256(`{"alg":"none"}`, "not json"), invalid + "algorithm", 0},
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
			if got := verdict(m, get(bearer(tt.token))); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
			if asked != tt.asked {
				t.Errorf("keys asked %d times, want %d", asked, tt.asked)
			}
		})
	}
}

func TestErrorsWrapTheSentinelsOfGolangJWT(t *testing.T) {
	iss := issuer()
	iss.MaxAge = 2 * time.Hour
	opts := options(iss)
	list := new(revocation.List)
	opts.Revoked = list.Revoked
	for _, tt := range []struct {
		token string
		want  []error
	}{
		{"garbage", []error{jwt.ErrTokenMalformed}},
		{signHS256(`{"alg":"HS256","crit":[]}`, "{}"), []error{jwt.ErrTokenMalformed}},
		{signHS256(goodHeader, `{"a":1,"a":1}`), []error{jwt.ErrTokenMalformed}},
		{goodToken(map[string]any{"exp": "x"}), []error{jwt.ErrTokenMalformed, jwt.ErrInvalidType}},
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
			if err := list.Revoke(context.Background(), revocation.Entry{Kind: revocation.ByID, Issuer: issuerName, Value: "gone"}); err != nil {
				t.Fatal(err)
			}
			r := get(bearer(tt.token))
			if tt.token == "" {
				r = get()
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

func TestATokenHasWhatWasVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		compact := signHS256(`{"alg":"HS256","typ":"at+JWT","kid":"k1"}`, claimsJSON(map[string]any{
			"aud": []string{"a", audienceName}, "nbf": json.RawMessage("946684790.5"), "sid": "s", "azp": "app",
			"scope": "orders:read  orders:write",
		}))
		inner := serve(mustNew[jwt.MapClaims](t, options()), get(bearer(compact))).inner
		got, ok := jwthttp.TokenFromContext(inner.Context())
		if !ok {
			t.Fatal("no token")
		}
		at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
		want := &jwthttp.Token{
			Issuer: issuerName, Subject: "alice", ID: "id-1", SessionID: "s", ClientID: "app",
			Audience: []string{"a", audienceName},
			IssuedAt: at(bubbleStart - 60), NotBefore: at(bubbleStart - 10).Add(500 * time.Millisecond), ExpiresAt: at(bubbleStart + 3600),
			Scopes:    []string{"orders:read", "orders:write"},
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

func TestScopesOfAToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   []string
	}{
		{"none", nil, nil},
		{"scope", map[string]any{"scope": "a b"}, []string{"a", "b"}},
		{"scope with blanks around", map[string]any{"scope": " a  b "}, []string{"a", "b"}},
		{"scope with a tab is one odd scope", map[string]any{"scope": "a\tb"}, []string{"a\tb"}},
		{"empty scope", map[string]any{"scope": ""}, nil},
		{"scp as a string", map[string]any{"scp": "a b"}, []string{"a", "b"}},
		{"scp as an array", map[string]any{"scp": []string{"a", "b c"}}, []string{"a", "b c"}},
		{"scope before scp", map[string]any{"scope": "a", "scp": "b"}, []string{"a"}},
		{"an empty scope before scp", map[string]any{"scope": "", "scp": "b"}, nil},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			inner := serve(mustNew[testClaims](t, options()), get(bearer(goodToken(tt.claims)))).inner
			token, _ := jwthttp.TokenFromContext(inner.Context())
			if diff := cmp.Diff(tt.want, token.Scopes); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheClientIDIsThatOfRFC9068OrAzp(t *testing.T) {
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"client_id":        {map[string]any{"client_id": "c"}, "c"},
		"azp":              {map[string]any{"azp": "a"}, "a"},
		"client_id, azp":   {map[string]any{"client_id": "c", "azp": "a"}, "c"},
		"an escaped value": {map[string]any{"client_id": json.RawMessage(`"\u00e9\n\ud83d\ude00"`)}, "é\n😀"},
	} {
		bubble(t, name, func(t *testing.T) {
			inner := serve(mustNew[testClaims](t, options()), get(bearer(goodToken(tt.claims)))).inner
			if token, _ := jwthttp.TokenFromContext(inner.Context()); token.ClientID != tt.want {
				t.Errorf("ClientID %q, want %q", token.ClientID, tt.want)
			}
		})
	}
}

// Several spellings of a signature have one fingerprint.
func TestTheFingerprintLeavesTheSignatureOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fingerprint := func(compact string) string {
			inner := serve(mustNew[testClaims](t, options()), get(bearer(compact))).inner
			token, _ := jwthttp.TokenFromContext(inner.Context())
			return token.Fingerprint()
		}
		a, b := fingerprint(goodToken(nil)), fingerprint(goodToken(map[string]any{"jti": "id-2"}))
		if len(a) != 64 || strings.ToLower(a) != a || a == b {
			t.Errorf("fingerprints %q and %q", a, b)
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

func TestEveryAcceptedSizeIsWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := goodToken(nil)
		opts := options()
		opts.MaxTokenSize = len(token)
		checkVerdict(t, mustNew[testClaims](t, opts), get(bearer(token)), admitted)
		opts.MaxTokenSize--
		checkVerdict(t, mustNew[testClaims](t, opts), get(bearer(token)), invalid+"too_large")
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
		m := mustNew[T](t, options())
		inner := serve(m, get(bearer(goodToken(nil)))).inner
		if inner == nil {
			t.Fatal("refused")
		}
		c, ok := jwthttp.ClaimsFromContext[T](inner.Context())
		if !ok || role(c) != "editor" {
			t.Errorf("claims %v, %v", c, ok)
		}
		if validates {
			r := get(bearer(goodToken(map[string]any{"role": "visitor"})))
			checkVerdict(t, m, r, invalid+"claims")
			if _, err := m.Authenticate(r); !errors.Is(err, errNotEditor) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestAnyDecodableTypeServesAsClaims(t *testing.T) {
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
	runVerifications(t, options(), []verification{
		{"claims that do not decode", goodToken(map[string]any{"role": 1}), invalid + "claims"},
	})
}

func TestClaimsAreFoundByTheirVeryType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := serve(mustNew[testClaims](t, options()), get(bearer(goodToken(nil)))).inner.Context()
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
	})
}

func TestHandlersCanBeTestedWithoutATokenOrAMiddleware(t *testing.T) {
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
	r := get().WithContext(ctx)
	if got := verdict(mustNew[testClaims](t, options()), r); got != missing {
		t.Errorf("a context made by hand counts as an authentication: %q", got)
	}
}

func TestNothingOfATokenReachesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := issuer()
		iss.Keys = jwthttp.KeySet{"k1": secret}
		m := mustNew[testClaims](t, options(iss))
		bodies := map[string]string{}
		for _, kid := range []string{"plain", `"quotes"`, "ünïcode", "../../etc/passwd", "' OR 1=1 --", "<script>"} {
			header, _ := json.Marshal(map[string]string{"alg": "HS256", "kid": kid})
			res := serve(m, get(bearer(signHS256(string(header), claimsJSON(nil)))))
			bodies[fmt.Sprint(res.Body, res.Header())] = kid
		}
		if len(bodies) != 1 {
			t.Errorf("answers differ by kid: %q", bodies)
		}
	})
}

// An error may quote what a token said, so that people can find out what is
// wrong; escaped and cut, since nobody vouches for it.
func TestErrorsQuoteTokensSafely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := mustNew[testClaims](t, options()).Authenticate(get(bearer(goodToken(map[string]any{"aud": "https://wrong.example\n\x1b[31m" + strings.Repeat("x", 1000)}))))
		text := err.Error()
		if !strings.Contains(text, "https://wrong.example") || strings.ContainsAny(text, "\n\x1b") || len(text) > 300 {
			t.Errorf("error %q", text)
		}
	})
}
