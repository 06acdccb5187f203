package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/internal/dpop"
	"github.com/seed450a7203/jwthttp/internal/jwk"
	"github.com/seed450a7203/jwthttp/internal/problems"
)

// The example of RFC 9449 §7.1.
const (
	rfcToken = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcJKT   = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	rfcATH   = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
	rfcJWK   = `{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`
	rfcProof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik" +
		"VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
		"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE" +
		"QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj" +
		"oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z" +
		"WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF" +
		"c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E" +
		"OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)

func newRules(t testing.TB, bases ...string) *dpop.Rules {
	t.Helper()
	p := problems.List{}
	r := dpop.NewRules(&p, dpop.Settings{BaseURLs: bases})
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

// RFC 9449 §7.1
func TestRules_Parse_example(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1562262618, 0)))
		r := newRules(t, "https://resource.example.org")
		p, err := r.Parse([]string{rfcProof}, "GET", "/protectedresource")
		if err != nil {
			t.Fatal(err)
		}
		if p.KeyThumbprint != rfcJKT || !p.IsFor(rfcToken) || p.IsFor(rfcToken+"x") {
			t.Errorf("thumbprint %q, for the token %v, for another %v", p.KeyThumbprint, p.IsFor(rfcToken), p.IsFor(rfcToken+"x"))
		}
		if _, err := r.Finish(p); err != nil {
			t.Error(err)
		}
		if until := r.ReplayUntil(p); until.Unix() != 1562262618+80 {
			t.Errorf("remembered until %v", until)
		}
		i := strings.LastIndexByte(rfcProof, '.')
		p, err = r.Parse([]string{rfcProof[:i+1] + "3" + rfcProof[i+2:]}, "GET", "/protectedresource")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Finish(p); err == nil {
			t.Error("another signature is accepted")
		}
	})
}

// object is a header or the claims of a proof.
type object map[string]any

// raw is JSON text.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

func encode(t testing.TB, o object) string {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// changes of a good proof, which also seed the fuzz test. A nil value removes the
// member. reject is part of the error, and empty if the proof is good.
var changes = []struct {
	name           string
	header, claims object
	reject         string
}{
	{"nothing", nil, nil, ""},
	{"typ in upper case", object{"typ": "DPOP+JWT"}, nil, ""},
	{"typ with a prefix", object{"typ": "Application/dpop+jwt"}, nil, ""},
	{"other header parameters", object{"kid": "k", "jku": "https://x.example", "x5c": []string{"x"}, "y": 1}, nil, ""},
	{"other claims", nil, object{"sub": 1, "iss": []int{1}, "scope": raw("null"), "aud": true, "cnf": raw(`{"jkt":1}`)}, ""},
	{"a nonce", nil, object{"nonce": "n"}, ""},
	{"exp and nbf", nil, object{"exp": in(time.Second), "nbf": in(9 * time.Second)}, ""},
	{"a jti of one byte", nil, object{"jti": "x"}, ""},
	{"a jti of 256 bytes", nil, object{"jti": strings.Repeat("é", 128)}, ""},
	{"as old as permitted", nil, object{"iat": in(-time.Minute)}, ""},
	{"ahead as permitted", nil, object{"iat": in(10 * time.Second)}, ""},
	{"key with private use", object{"jwk": raw(rfcJWK[:len(rfcJWK)-1] + `,"use":"enc","key_ops":["verify"],"ext":true,"alg":"x"}`)}, nil, ""},
	{"members of the key by case", object{"jwk": raw(rfcJWK[:len(rfcJWK)-1] + `,"Y":true,"D":"AA"}`)}, nil, ""},

	{"no typ", object{"typ": nil}, nil, `"typ"`},
	{"typ of a token", object{"typ": "JWT"}, nil, `"typ"`},
	{"typ at+jwt", object{"typ": "at+jwt"}, nil, `"typ"`},
	{"a numeric typ", object{"typ": 1}, nil, "wrong type"},
	{"typ with a long s", object{"typ": "dpop+jwt\u017f"}, nil, `"typ"`},
	{"another prefix", object{"typ": "text/dpop+jwt"}, nil, `"typ"`},
	{"alg none", object{"alg": "none"}, nil, `"alg"`},
	{"alg HS256", object{"alg": "HS256"}, nil, `"alg"`},
	{"alg by case", object{"alg": "es256"}, nil, `"alg"`},
	{"no alg", object{"alg": nil}, nil, `"alg"`},
	{"alg of another curve", object{"alg": "ES384"}, nil, "ECDSA key is on"},
	{"alg of another type", object{"alg": "EdDSA"}, nil, "want ed25519.PublicKey"},
	{"crit", object{"crit": []string{"exp"}}, nil, "crit"},
	{"b64", object{"b64": true}, nil, "crit"},
	{"no jwk", object{"jwk": nil}, nil, `"jwk"`},
	{"a null jwk", object{"jwk": raw("null")}, nil, `"jwk"`},
	{"jwk in an array", object{"jwk": raw("[" + rfcJWK + "]")}, nil, `"jwk"`},
	{"jwk as text", object{"jwk": rfcJWK}, nil, `"jwk"`},
	{"jwk by case", object{"jwk": nil, "JWK": raw(rfcJWK)}, nil, "case"},
	{"two jwk by case", object{"JWK": raw(rfcJWK)}, nil, "case"},
	{"a private key", object{"jwk": raw(rfcJWK[:len(rfcJWK)-1] + `,"d":"AA"}`)}, nil, "private"},
	{"no jti", nil, object{"jti": nil}, `"jti"`},
	{"a numeric jti", nil, object{"jti": 1}, `"jti"`},
	{"a null jti", nil, object{"jti": raw("null")}, `"jti"`},
	{"an empty jti", nil, object{"jti": ""}, `"jti"`},
	{"a jti of 257 bytes", nil, object{"jti": strings.Repeat("x", 257)}, `"jti"`},
	{"another method", nil, object{"htm": "POST"}, `"htm"`},
	{"the method by case", nil, object{"htm": "get"}, `"htm"`},
	{"no htm", nil, object{"htm": nil}, `"htm"`},
	{"htm in an array", nil, object{"htm": []string{"GET"}}, `"htm"`},
	{"another URL", nil, object{"htu": "https://api.example/b"}, `"htu"`},
	{"no htu", nil, object{"htu": nil}, `"htu"`},
	{"a numeric htu", nil, object{"htu": 1}, `"htu"`},
	{"no ath", nil, object{"ath": nil}, "ath"},
	{"a null ath", nil, object{"ath": raw("null")}, "ath"},
	{"a null nonce", nil, object{"nonce": raw("null")}, "nonce"},
	{"a numeric nonce", nil, object{"nonce": 1}, "nonce"},
	{"no iat", nil, object{"iat": nil}, `"iat"`},
	{"a null iat", nil, object{"iat": raw("null")}, `"iat"`},
	{"iat as text", nil, object{"iat": "1"}, `"iat"`},
	{"a huge iat", nil, object{"iat": raw("1e300")}, `"iat"`},
	{"iat 1e400", nil, object{"iat": raw("1e400")}, "number"},
	{"a negative iat", nil, object{"iat": -1}, `"iat"`},
	{"too old", nil, object{"iat": in(-61 * time.Second)}, "ago"},
	{"too far ahead", nil, object{"iat": in(11 * time.Second)}, "future"},
	{"expired", nil, object{"exp": in(0)}, "expired"},
	{"exp as text", nil, object{"exp": "9999999999"}, "date"},
	{"not yet valid", nil, object{"nbf": in(11 * time.Second)}, "valid in"},
	{"iat twice by case", nil, object{"Iat": 1}, "case"},
}

// in returns a date for tests in a bubble, where it is the year 2000.
func in(d time.Duration) int64 {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Unix()
}

// change returns a proof with changes. Its signature is the example's, which is
// not valid for it.
func change(t testing.TB, header, claims object) (first, second string) {
	h := object{"typ": "dpop+jwt", "alg": "ES256", "jwk": raw(rfcJWK)}
	c := object{"jti": "id", "htm": "GET", "htu": "https://api.example/a", "iat": in(0), "ath": rfcATH}
	for _, part := range []struct{ to, from object }{{h, header}, {c, claims}} {
		maps.Copy(part.to, part.from)
		maps.DeleteFunc(part.to, func(_ string, v any) bool { return v == nil })
	}
	return encode(t, h), encode(t, c)
}

const rfcSignature = ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"

// Rule 52
func TestRules_Parse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRules(t, "https://other.example", "https://api.example")
		for _, tt := range changes {
			header, claims := change(t, tt.header, tt.claims)
			p, err := r.Parse([]string{header + "." + claims + rfcSignature}, "GET", "/a?q")
			switch {
			case tt.reject == "" && err != nil:
				t.Errorf("%s: %v", tt.name, err)
			case tt.reject == "" && (p.KeyThumbprint != rfcJKT || !p.IsFor(rfcToken) || tt.name == "a nonce" != (p.Nonce == "n")):
				t.Errorf("%s: %+v", tt.name, p)
			case tt.reject == "":
				if _, err := r.Finish(p); err == nil {
					t.Errorf("%s: signature of another proof is accepted", tt.name)
				}
			case tt.reject != "" && err == nil:
				t.Errorf("%s is accepted", tt.name)
			case tt.reject != "" && !strings.Contains(err.Error(), tt.reject):
				t.Errorf("%s: error %q, want %q", tt.name, err, tt.reject)
			case err != nil && (strings.Contains(err.Error(), rfcATH) || strings.Contains(err.Error(), claims)):
				t.Errorf("%s: error %q shows the proof", tt.name, err)
			}
		}
	})
}

// Rule 52
func TestRules_Parse_fields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRules(t, "https://api.example")
		header, claims := change(t, nil, nil)
		good := header + "." + claims + rfcSignature
		_, long := change(t, nil, object{"x": strings.Repeat("x", 4<<10)})
		duplicate := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":` + rfcJWK + `}`))
		twoX := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":` + strings.Replace(rfcJWK, `"crv"`, `"x":"AA","crv"`, 1) + `}`))
		escapedCrit := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dpop+jwt","alg":"ES256","\u0063rit":["x"],"jwk":` + rfcJWK + `}`))
		for _, tt := range []struct {
			name   string
			fields []string
			ok     bool
		}{
			{"one", []string{good}, true},
			{"none", nil, false},
			{"two", []string{good, good}, false},
			{"an empty one", []string{""}, false},
			{"a list", []string{good + "," + good}, false},
			{"a space", []string{good + " "}, false},
			{"padding", []string{good + "="}, false},
			{"two segments", []string{header + "." + claims}, false},
			{"five segments", []string{header + ".." + claims + rfcSignature + "."}, false},
			{"more than 4 KiB", []string{header + "." + long + rfcSignature}, false},
			{"no JSON", []string{header + ".AAAA" + rfcSignature}, false},
			{"a duplicate name", []string{duplicate + "." + claims + rfcSignature}, false},
			{"an escaped crit", []string{escapedCrit + "." + claims + rfcSignature}, false},
			{"a duplicate name in the key", []string{twoX + "." + claims + rfcSignature}, false},
		} {
			if p, err := r.Parse(tt.fields, "GET", "/a"); (err == nil) != tt.ok || err == nil && p == nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		r.Algorithms = map[string]jwt.SigningMethod{"EdDSA": jwt.SigningMethodEdDSA}
		if _, err := r.Parse([]string{good}, "GET", "/a"); err == nil {
			t.Error("an algorithm that is not in the list is accepted")
		}
	})
}

// Each algorithm, signed by golang-jwt.
func TestRules_Finish(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range jwk.PublicKeyAlgorithms() {
		t.Run(alg, func(t *testing.T) {
			var key crypto.Signer = rsaKey
			if alg == "EdDSA" || alg == "Ed25519" {
				key = edKey
			} else if curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[alg]; curve != nil {
				if key, err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
					t.Fatal(err)
				}
			}
			token := jwt.NewWithClaims(jwk.Method(alg), jwt.MapClaims{"jti": "id", "htm": "GET", "htu": "https://api.example/", "iat": time.Now().Unix(), "ath": rfcATH})
			token.Header["typ"], token.Header["jwk"] = "dpop+jwt", publicJWK(t, key.Public())
			text, err := token.SignedString(key)
			if err != nil {
				t.Fatal(err)
			}
			p, err := newRules(t, "https://api.example").Parse([]string{text}, "GET", "/")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newRules(t, "https://api.example").Finish(p); err != nil {
				t.Error(err)
			}
			other, err := newRules(t, "https://api.example").Parse([]string{text[:strings.LastIndexByte(text, '.')] + ".AAAA"}, "GET", "/")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newRules(t, "https://api.example").Finish(other); err == nil {
				t.Error("another signature is accepted")
			}
		})
	}
}

func publicJWK(t testing.TB, key crypto.PublicKey) object {
	t.Helper()
	text := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		n := len(point) / 2
		return object{"kty": "EC", "crv": k.Curve.Params().Name, "x": text(point[1 : 1+n]), "y": text(point[1+n:])}
	case ed25519.PublicKey:
		return object{"kty": "OKP", "crv": "Ed25519", "x": text(k)}
	case *rsa.PublicKey:
		return object{"kty": "RSA", "n": text(k.N.Bytes()), "e": "AQAB"}
	}
	t.Fatalf("key %T", key)
	return nil
}

// Rule 58
func TestProof_ReplayID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRules(t, "https://api.example")
		id := func(header, claims object) string {
			first, second := change(t, header, claims)
			p, err := r.Parse([]string{first + "." + second + rfcSignature}, "GET", "/a")
			if err != nil {
				t.Fatal(err)
			}
			return p.ReplayID()
		}
		// printf '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I\0id' | sha256sum, 16 bytes in base64url
		if got := id(nil, nil); got != wantID {
			t.Errorf("id %q, want %q", got, wantID)
		}
		if id(nil, object{"iat": in(time.Second), "nonce": "n"}) != wantID {
			t.Error("another proof with the same jti has another id")
		}
		short := dpop.NewRules(&problems.List{}, dpop.Settings{BaseURLs: []string{"https://api.example"}, Leeway: time.Nanosecond})
		first, second := change(t, nil, nil)
		if p, err := short.Parse([]string{first + "." + second + rfcSignature}, "GET", "/a"); err != nil || short.ReplayUntil(p).Unix() != in(80*time.Second) {
			t.Errorf("with a short leeway: %v", err)
		}
		if id(nil, object{"jti": "other"}) == wantID {
			t.Error("another jti has the same id")
		}
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if id(object{"alg": "EdDSA", "jwk": publicJWK(t, private.Public())}, nil) == wantID {
			t.Error("another key has the same id")
		}
	})
}

const wantID = "YbmqMpKga12jKm8ihaPzJw"

// FuzzParse checks that encoding/json and golang-jwt read the same from each
// proof that Parse accepts.
func FuzzParse(f *testing.F) {
	for _, tt := range changes {
		header, claims := change(f, tt.header, tt.claims)
		h, _ := base64.RawURLEncoding.DecodeString(header)
		c, _ := base64.RawURLEncoding.DecodeString(claims)
		f.Add(string(h), string(c))
	}
	r := newRules(f, "https://api.example")
	f.Fuzz(func(t *testing.T, header, claims string) {
		synctest.Test(t, func(t *testing.T) { checkOracle(t, r, header, claims) })
	})
}

func checkOracle(t *testing.T, r *dpop.Rules, header, claims string) {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + rfcSignature
	p, err := r.Parse([]string{text}, "GET", "/a")
	if err != nil {
		return
	}
	var theirs jwt.MapClaims
	token, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(text, &theirs)
	h := members(t, header)
	alg, _ := h["alg"].(string)
	if err != nil && jwt.GetSigningMethod(alg) != nil {
		t.Fatalf("golang-jwt refuses %q: %v", text, err)
	}
	if err != nil { // Ed25519, which golang-jwt does not know by this name
		return
	}
	typ, _ := h["typ"].(string)
	key, _ := h["jwk"].(map[string]any)
	if !strings.HasSuffix(strings.ToLower(typ), "dpop+jwt") || key == nil || key["d"] != nil || key["k"] != nil || token.Method.Alg()[:2] == "HS" {
		t.Errorf("header %q is accepted", header)
	}
	iat, err := theirs.GetIssuedAt()
	if err != nil || iat == nil || time.Since(iat.Time) > time.Minute || time.Until(iat.Time) > 11*time.Second {
		t.Errorf("claims %q: iat %v, %v", claims, iat, err)
	}
	if theirs["htm"] != "GET" || theirs["jti"] == "" || theirs["jti"] == nil {
		t.Errorf("claims %q are accepted", claims)
	}
	if nonce, _ := theirs["nonce"].(string); nonce != p.Nonce {
		t.Errorf("claims %q: nonce %q", claims, p.Nonce)
	}
	if p.IsFor(rfcToken) != (theirs["ath"] == rfcATH) {
		t.Errorf("claims %q: for the token %v", claims, p.IsFor(rfcToken))
	}
	if htu, _ := theirs["htu"].(string); !strings.Contains(strings.ToLower(htu), "://") {
		t.Errorf("claims %q are accepted", claims)
	}
}

// members returns what encoding/json reads; a map, since a struct would take names
// of another case, too.
func members(t *testing.T, text string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", text, err)
	}
	return m
}
