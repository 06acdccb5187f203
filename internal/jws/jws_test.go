package jws_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func padded(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }

// Rule 12
func TestParse_serialization(t *testing.T) {
	h, p, s := b64(`{"alg":"HS256"}`), b64(`{}`), b64("sig")
	padH, padP, padS := padded(`{"alg":"HS256"} `), padded(`{"a":1}`), padded("sigs")
	for _, tt := range []struct {
		name       string
		text       string
		ok, padded bool // without and with padding
	}{
		{"three segments", h + "." + p + "." + s, true, true},
		{"an empty signature", h + "." + p + ".", true, true},
		{"an empty payload", h + ".." + s, true, true}, // which is no JSON
		{"an empty header", "." + p + "." + s, false, false},
		{"nothing", "", false, false},
		{"one segment", h, false, false},
		{"two segments", h + "." + p, false, false},
		{"four segments", h + "." + p + "." + s + "." + s, false, false},
		{"an empty fourth segment", h + "." + p + "." + s + ".", false, false},
		{"five segments", h + ".." + p + "." + s + "." + s, false, false},
		{"dots", strings.Repeat(".", 1000), false, false},
		{"a line break", h + "." + p + "." + s + "\n", false, false},
		{"a carriage return in the header", h[:4] + "\r" + h[4:] + "." + p + "." + s, false, false},
		{"four line breaks in the payload", h + "." + p + "\n\n\n\n." + s, false, false},
		{"a space", h + "." + p + " ." + s, false, false},
		{"the other alphabet", h + "." + p + "._/+A", false, false},
		{"trailing bits that are zero", h + "." + p + ".AA", true, true},
		{"trailing bits that are not zero", h + "." + p + ".AB", false, false},
		{"one character", h + "." + p + ".A", false, false},
		{"padding", padH + "." + padP + "." + padS, false, true},
		{"padding of the header", padH + "." + p + "." + s, false, true},
		{"padding of the payload", h + "." + padP + "." + s, false, true},
		{"padding of the signature", h + "." + p + "." + padS, false, true},
		{"too much padding", h + "." + p + "." + padS + "=", false, false},
		{"padding that is not needed", h + "." + p + "." + s + "=", false, false},
		{"padding alone", h + "." + p + ".====", false, false},
		{"three equal signs", h + "." + p + ".A===", false, false},
		{"padding in the middle", h + "." + p + ".AA=A", false, false},
		{"padding after trailing bits that are not zero", h + "." + p + ".AB==", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, padding := range []bool{false, true} {
				token, err := jws.Parse(tt.text, padding)
				want := tt.ok || padding && tt.padded
				if (err == nil) != want || (token.Signed != "") != want {
					t.Fatalf("padding %v: token %v, error %v", padding, token, err)
				}
				if err != nil {
					if strings.Contains(err.Error(), h) {
						t.Errorf("error %q shows the token", err)
					}
					continue
				}
				if token.Padded == tt.ok {
					t.Errorf("padding %v: Padded is %v", padding, token.Padded)
				}
				if token.Signed != tt.text[:strings.LastIndexByte(tt.text, '.')] {
					t.Errorf("signed %q", token.Signed)
				}
				parts := strings.Split(tt.text, ".")
				for i, got := range []string{"", token.Payload, string(token.Signature)} {
					if want, _ := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "=")); i > 0 && got != string(want) {
						t.Errorf("segment %d is %q, want %q", i, got, want)
					}
				}
				if got := jws.Segment(tt.text, 1); string(got) != token.Payload {
					t.Errorf("Segment returns %q, want %q", got, token.Payload)
				}
			}
		})
	}
}

// headers seed the fuzz test, too.
var headers = []struct {
	name   string
	header string
	want   *jws.Header // nil: invalid
}{
	{"alg", `{"alg":"HS256"}`, &jws.Header{Algorithm: "HS256"}},
	{"an empty alg", `{"alg":""}`, &jws.Header{}},
	{"everything", `{"typ":"JWT","kid":"k","alg":"ES256","x":[{}]}`, &jws.Header{Algorithm: "ES256", KeyID: "k", Type: "JWT", HasKeyID: true}},
	{"an empty kid", `{"alg":"HS256","kid":""}`, &jws.Header{Algorithm: "HS256", HasKeyID: true}},
	{"escapes", `{"\u0061lg":"\u0048S256","kid":"\u00e9"}`, &jws.Header{Algorithm: "HS256", KeyID: "é", HasKeyID: true}},
	{"no alg", `{}`, nil},
	{"alg of another type", `{"alg":1}`, nil},
	{"a null alg", `{"alg":null}`, nil},
	{"alg by case", `{"Alg":"HS256"}`, nil},
	{"two algs", `{"alg":"HS256","alg":"HS256"}`, nil},
	{"two algs that differ by case", `{"alg":"HS256","ALG":"none"}`, nil},
	{"kid of another type", `{"alg":"HS256","kid":1}`, nil},
	{"a null kid", `{"alg":"HS256","kid":null}`, nil},
	{"a control character in the kid", `{"alg":"HS256","kid":"\u001f"}`, nil},
	{"a DEL in the kid", `{"alg":"HS256","kid":"\u007f"}`, nil},
	{"a line break in the kid", `{"alg":"HS256","kid":"\r\n"}`, nil},
	{"an empty typ", `{"alg":"HS256","typ":""}`, nil},
	{"typ of another type", `{"alg":"HS256","typ":[]}`, nil},
	{"a null typ", `{"alg":"HS256","typ":null}`, nil},
	{"crit", `{"alg":"HS256","crit":["exp"],"exp":1}`, nil},
	{"an empty crit", `{"alg":"HS256","crit":[]}`, nil},
	{"a null crit", `{"alg":"HS256","crit":null}`, nil},
	{"crit by case", `{"alg":"HS256","Crit":[]}`, nil},
	{"b64", `{"alg":"HS256","b64":true}`, nil},
	{"enc", `{"alg":"HS256","enc":"A128GCM"}`, nil},
	{"zip", `{"alg":"HS256","zip":"DEF"}`, nil},
	{"an array", `["HS256"]`, nil},
	{"trailing data", `{"alg":"HS256"}x`, nil},
	{"invalid UTF-8", "{\"alg\":\"HS256\",\"x\":\"\xff\"}", nil},
}

// Rules 13, 14 and 17
func TestParse_header(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			token, err := jws.Parse(b64(tt.header)+"."+b64("{}")+".", false)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				if strings.Contains(err.Error(), "HS256") {
					t.Errorf("error %q shows the header", err)
				}
				return
			}
			if diff := cmp.Diff(*tt.want, token.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// payloads seed the fuzz test, too.
var payloads = []struct {
	name    string
	payload string
	want    *jws.Claims // nil: invalid
}{
	{"nothing", `{}`, &jws.Claims{}},
	{"everything", `{"iss":"i","sub":"s","aud":["a","b"],"exp":4,"nbf":3,"iat":2,"jti":"j","sid":"si","client_id":"c","azp":"z","cid":"d",
		"scope":"a b","scp":["x"],"cnf":{},"acr":"high","amr":["pwd"],"auth_time":1,"tid":"t"}`, &jws.Claims{
		Issuer: "i", Subject: "s", Audience: []string{"a", "b"}, ExpiresAt: at(4), NotBefore: at(3), IssuedAt: at(2), ID: "j", SessionID: "si", ClientID: "c",
		Scopes: []string{"a", "b"}, Bound: true, ACR: "high", AMR: []string{"pwd"}, AuthTime: at(1), TenantID: "t"}},
	{"null", `{"iss":null,"sub":null,"aud":null,"exp":null,"nbf":null,"iat":null,"jti":null,"sid":null,"client_id":null,"azp":null,"cid":null,
		"scope":null,"scp":null,"cnf":null,"acr":null,"amr":null,"auth_time":null,"tid":null}`, &jws.Claims{}},
	{"integers", `{"sub":1,"jti":-2,"sid":3,"client_id":4,"azp":5}`, &jws.Claims{Subject: "1", ID: "-2", SessionID: "3", ClientID: "4"}},
	{"an integer azp", `{"azp":5}`, &jws.Claims{ClientID: "5"}},
	{"an integer cid", `{"cid":6}`, &jws.Claims{ClientID: "6"}},
	{"one audience", `{"aud":"a"}`, &jws.Claims{Audience: []string{"a"}}},
	{"no audience", `{"aud":[]}`, &jws.Claims{Audience: []string{}}},
	{"fractions", `{"exp":1.5,"nbf":0.25,"iat":1e3}`, &jws.Claims{ExpiresAt: at(1).Add(500 * time.Millisecond), NotBefore: at(0).Add(250 * time.Millisecond), IssuedAt: at(1000)}},
	{"zero", `{"exp":0}`, &jws.Claims{ExpiresAt: at(0)}},
	{"the last date", `{"exp":253402300799}`, &jws.Claims{ExpiresAt: at(253402300799)}},
	{"scopes in an array", `{"scope":["a b","c"]}`, &jws.Claims{Scopes: []string{"a b", "c"}}},
	{"spaces only", `{"scope":"  "}`, &jws.Claims{Scopes: []string{}}},
	{"scp", `{"scp":"a  b"}`, &jws.Claims{Scopes: []string{"a", "b"}}},
	{"scp in an array", `{"scp":["a"]}`, &jws.Claims{Scopes: []string{"a"}}},
	{"scope before scp", `{"scope":"","scp":"b"}`, &jws.Claims{}},
	{"step-up claims of another type", `{"acr":1,"amr":"pwd","auth_time":"1"}`, &jws.Claims{}},
	{"a negative auth_time", `{"auth_time":-1}`, &jws.Claims{}},
	{"tid of another type", `{"tid":1}`, &jws.Claims{}},
	{"cid of another type", `{"cid":{}}`, &jws.Claims{}},
	{"a false cnf", `{"cnf":false}`, &jws.Claims{Bound: true}},
	{"an integer iss", `{"iss":1}`, nil},
	{"iss in an array", `{"iss":["i"]}`, nil},
	{"a fraction as sub", `{"sub":1.0}`, nil},
	{"an exponent in sub", `{"sub":1e0}`, nil},
	{"a boolean jti", `{"jti":true}`, nil},
	{"sid in an array", `{"sid":[]}`, nil},
	{"an object as client_id", `{"client_id":{}}`, nil},
	{"azp of another type, next to client_id", `{"client_id":"c","azp":[]}`, nil},
	{"a number as aud", `{"aud":1}`, nil},
	{"aud with a number", `{"aud":["a",1]}`, nil},
	{"aud with null", `{"aud":["a",null]}`, nil},
	{"aud in an object", `{"aud":{"a":1}}`, nil},
	{"exp as text", `{"exp":"1"}`, nil},
	{"nbf in an array", `{"nbf":[1]}`, nil},
	{"a boolean iat", `{"iat":true}`, nil},
	{"a negative exp", `{"exp":-1}`, nil},
	{"an exp after the last date", `{"exp":253402300800}`, nil},
	{"a large nbf", `{"nbf":1e19}`, nil},
	{"a larger nbf", `{"nbf":9223372036854775807}`, nil},
	{"the largest iat", `{"iat":1e300}`, nil},
	{"an iat that overflows", `{"iat":1e400}`, nil},
	{"a number as scope", `{"scope":1}`, nil},
	{"scope with a number", `{"scope":["a",1]}`, nil},
	{"an object as scp", `{"scp":{}}`, nil},
	{"scp of another type, next to scope", `{"scope":"a","scp":1}`, nil},
	{"a duplicate name", `{"x":1,"x":1}`, nil},
	{"exp by case", `{"Exp":1}`, nil},
	{"a long s in iss", `{"i` + "\u017f" + `s":"i"}`, nil},
	{"an array", `[]`, nil},
	{"nothing at all", ``, nil},
}

// Rule 28
func TestParseClaims_confirmation(t *testing.T) {
	const a, b = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"
	for _, tt := range []struct {
		name, cnf string
		bound     bool
		want      jws.Confirmation // zero: invalid, if it is bound
	}{
		{"null", `null`, false, jws.Confirmation{}},
		{"jkt", `{"jkt":"` + a + `"}`, true, jws.Confirmation{KeyThumbprint: a}},
		{"x5t#S256", `{"x5t#S256":"` + b + `"}`, true, jws.Confirmation{CertificateThumbprint: b}},
		{"both", `{"x5t#S256":"` + b + `" , "jkt":"` + a + `"}`, true, jws.Confirmation{KeyThumbprint: a, CertificateThumbprint: b}},
		{"escapes", `{"j\u006bt":"\u0030` + a[1:] + `"}`, true, jws.Confirmation{KeyThumbprint: a}},
		{"nothing", `{}`, true, jws.Confirmation{}},
		{"an array", `["jkt"]`, true, jws.Confirmation{}},
		{"a string", `"` + a + `"`, true, jws.Confirmation{}},
		{"false", `false`, true, jws.Confirmation{}},
		{"zero", `0`, true, jws.Confirmation{}},
		{"jkt null", `{"jkt":null}`, true, jws.Confirmation{}},
		{"jkt null, with a certificate", `{"x5t#S256":"` + b + `","jkt":null}`, true, jws.Confirmation{}},
		{"an empty jkt", `{"jkt":""}`, true, jws.Confirmation{}},
		{"jkt in an array", `{"jkt":["` + a + `"]}`, true, jws.Confirmation{}},
		{"a jkt of 31 bytes", `{"jkt":"` + strings.Repeat("A", 42) + `"}`, true, jws.Confirmation{}},
		{"a jkt of 42 characters", `{"jkt":"` + a[1:] + `"}`, true, jws.Confirmation{}},
		{"a jkt of 44 characters", `{"jkt":"` + a + `A"}`, true, jws.Confirmation{}},
		{"a padded jkt", `{"jkt":"` + a + `="}`, true, jws.Confirmation{}},
		{"trailing bits", `{"jkt":"` + a[:42] + `J"}`, true, jws.Confirmation{}},
		{"the other alphabet", `{"jkt":"` + strings.ReplaceAll(a, "-", "+") + `"}`, true, jws.Confirmation{}},
		{"another member first", `{"kid":"k","jkt":"` + a + `"}`, true, jws.Confirmation{}},
		{"another member last", `{"jkt":"` + a + `","jwk":{}}`, true, jws.Confirmation{}},
		{"SHA-1", `{"x5t":"` + a[:27] + `"}`, true, jws.Confirmation{}},
		{"x5t#S256 by case", `{"x5t#s256":"` + b + `"}`, true, jws.Confirmation{}},
		{"jkt by case", `{"JKT":"` + a + `"}`, true, jws.Confirmation{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseClaims(`{"cnf":` + tt.cnf + `}`)
			if err != nil {
				t.Fatal(err)
			}
			if got.Bound != tt.bound || got.Confirmation != tt.want {
				t.Errorf("bound %v by %+v, want %v by %+v", got.Bound, got.Confirmation, tt.bound, tt.want)
			}
		})
	}
	if _, err := parseClaims(`{"cnf":{"jkt":"` + a + `","jkt":"` + b + `"}}`); err == nil {
		t.Error("two jkt are accepted")
	}
}

func parseClaims(payload string) (*jws.Claims, error) {
	names := strictjson.NewNames(jws.ClaimNames(), []string{jws.TenantIDName})
	c, err := jws.ParseClaims(payload, names, make([]strictjson.Value, names.Len()))
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// Rules 15, 16, 24 and 25
func TestParseClaims(t *testing.T) {
	for _, tt := range payloads {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseClaims(tt.payload)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseClaims_withoutTenantID(t *testing.T) {
	names := strictjson.NewNames(jws.ClaimNames(), nil)
	got, err := jws.ParseClaims(`{"tid":"t","sub":"s"}`, names, make([]strictjson.Value, names.Len()))
	if err != nil || got.TenantID != "" || got.Subject != "s" {
		t.Errorf("claims %v, error %v", got, err)
	}
}

func TestSegment(t *testing.T) {
	text := padded(`{"a":1}`) + "." + b64("payload") + "."
	for i, want := range []string{`{"a":1}`, "payload", "", ""} {
		if got := jws.Segment(text, i); string(got) != want {
			t.Errorf("segment %d is %q, want %q", i, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "alice", `"alice"`},
		{"quotes and line breaks", "a\"\r\n", `"a\"\r\n"`},
		{"outside of ASCII", "é\u2028", `"\u00e9\u2028"`},
		{"64 bytes", strings.Repeat("x", 64), `"` + strings.Repeat("x", 64) + `"`},
		{"65 bytes", strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `"...`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := jws.Quoted(tt.text).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzParse checks that golang-jwt's strict parser reads the same from each token
// that Parse accepts, and that no two texts are the same token.
func FuzzParse(f *testing.F) {
	for _, tt := range headers {
		f.Add(b64(tt.header), b64("{}"), "AA")
	}
	for _, tt := range payloads {
		f.Add(b64(`{"alg":"HS256"}`), b64(tt.payload), "")
	}
	f.Add(padded(`{"alg":"HS256"} `), "e30=", "AA==")
	f.Add(b64(`{"alg":"HS256"}`), "e31", "AB")
	oracle := jwt.NewParser(jwt.WithStrictDecoding())
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		text := header + "." + payload + "." + signature
		token, err := jws.Parse(text, false)
		if relaxed, err2 := jws.Parse(text, true); err == nil && (err2 != nil || relaxed.Padded || !cmp.Equal(relaxed, token)) {
			t.Errorf("%q: %v with padding, %v without", text, relaxed, token)
		} else if err != nil && err2 == nil && !relaxed.Padded {
			t.Errorf("%q is refused without padding and has none", text)
		}
		if err != nil {
			return
		}
		if b64(token.Payload) != payload || b64(string(token.Signature)) != signature || !bytes.Equal(jws.Segment(text, 1), []byte(token.Payload)) {
			t.Errorf("%q is one of several encodings", text)
		}
		var want map[string]any
		if err := json.Unmarshal(jws.Segment(text, 0), &want); err != nil {
			t.Fatal(err)
		}
		if alg, _ := want["alg"].(string); alg != token.Algorithm {
			t.Errorf("%q: alg %q, encoding/json has %q", text, token.Algorithm, alg)
		}
		if kid, ok := want["kid"].(string); kid != token.KeyID || ok != token.HasKeyID {
			t.Errorf("%q: kid %q, encoding/json has %q", text, token.KeyID, kid)
		}
		if typ, _ := want["typ"].(string); typ != token.Type {
			t.Errorf("%q: typ %q, encoding/json has %q", text, token.Type, typ)
		}
		claims, err := parseClaims(token.Payload)
		if err != nil || jwt.GetSigningMethod(token.Algorithm) == nil {
			return
		}
		var theirs jwt.MapClaims
		parsed, _, err := oracle.ParseUnverified(text, &theirs)
		if err != nil {
			t.Fatalf("golang-jwt refuses %q: %v", text, err)
		}
		if !cmp.Equal(parsed.Header, want) {
			t.Errorf("%q: header %v, golang-jwt has %v", text, want, parsed.Header)
		}
		checkClaims(t, text, claims, theirs)
	})
}

// checkClaims compares the claims with golang-jwt's, which has no claims of null
// and no identifiers that are numbers, and cuts dates to whole seconds.
func checkClaims(t *testing.T, text string, got *jws.Claims, want jwt.MapClaims) {
	for name, v := range want {
		if v == nil {
			delete(want, name)
		}
	}
	for _, claim := range []struct{ name, got string }{{"iss", got.Issuer}, {"sub", got.Subject}, {"jti", got.ID}, {"sid", got.SessionID}} {
		if s, isString := want[claim.name].(string); (isString || want[claim.name] == nil) && s != claim.got {
			t.Errorf("%q: %s is %q, golang-jwt has %q", text, claim.name, claim.got, s)
		}
	}
	for _, claim := range []struct {
		name string
		got  time.Time
		date func() (*jwt.NumericDate, error)
	}{{"exp", got.ExpiresAt, want.GetExpirationTime}, {"nbf", got.NotBefore, want.GetNotBefore}, {"iat", got.IssuedAt, want.GetIssuedAt}} {
		date, err := claim.date()
		if v, ok := want[claim.name].(float64); ok && v == 0 { // golang-jwt has no date for zero
			date = &jwt.NumericDate{Time: time.Unix(0, 0)}
		}
		if err != nil || (date == nil) != claim.got.IsZero() || date != nil && date.Unix() != claim.got.Unix() {
			t.Errorf("%q: %s is %v, golang-jwt has %v, %v", text, claim.name, claim.got, date, err)
		}
	}
	if audience, err := want.GetAudience(); err != nil || strings.Join(audience, "\n") != strings.Join(got.Audience, "\n") {
		t.Errorf("%q: aud is %q, golang-jwt has %q, %v", text, got.Audience, audience, err)
	}
	if _, bound := want["cnf"]; bound != got.Bound {
		t.Errorf("%q: bound %v", text, got.Bound)
	}
}
