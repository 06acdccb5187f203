package jwthttp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// FuzzAuthenticate checks that golang-jwt's strict Parser accepts each admitted
// token with the same claims. The fuzzer chooses header and payload, which are then
// signed, so that it need not guess a signature. A third text replaces the
// signature.
func FuzzAuthenticate(f *testing.F) {
	now := time.Now().Unix()
	good := claimsJSON(map[string]any{"iat": now - 60, "exp": now + 3600, "nbf": now - 60})
	for _, header := range []string{
		goodHeader, `{"alg":"HS256"}`, `{"alg":"HS256","kid":"a"}`, `{"alg":"none"}`, `{"alg":"HS256","crit":["x"],"x":1}`,
		`{"alg":"HS256","b64":false}`, `{"alg":"HS256","Alg":"none"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{}`, "\x00",
	} {
		f.Add(header, good, "")
	}
	for _, changes := range []map[string]any{
		{"exp": now}, {"exp": nil}, {"exp": 1e18}, {"exp": "x"}, {"nbf": now + 60}, {"iat": now + 60}, {"iss": "x"}, {"iss": nil},
		{"aud": []string{"x"}}, {"aud": []any{1}}, {"aud": []string{"x", audienceName}}, {"EXP": 1}, {"cnf": 1}, {"cnf": json.RawMessage("null")}, {"scope": "a b"}, {"scope": []string{"a"}}, {"sub": 1}, {"nbf": json.RawMessage("null")}, {"exp": float64(now) + 9.5},
	} {
		base := map[string]any{"iat": now - 60, "exp": now + 3600}
		for name, v := range changes {
			base[name] = v
		}
		f.Add(goodHeader, claimsJSON(base), "")
	}
	f.Add(goodHeader, good, "AAAA")
	f.Add(goodHeader, good+good, "")

	opts := newOptions()
	opts.Leeway = -1
	m := mustNew[jwt.MapClaims](f, opts)
	// golang-jwt cuts dates to whole seconds, so it gets one of leeway.
	oracle := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuerName),
		jwt.WithAudience(audienceName), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(time.Second))

	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		signed := b64(header) + "." + b64(payload)
		token := signed + "." + b64(hs256(signed))
		if signature != "" {
			token = signed + "." + signature
		}
		r, err := m.Authenticate(newRequest(func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token} }))
		if err != nil {
			var e *jwthttp.Error
			if !errors.As(err, &e) || e.Status < 400 || e.Status > 401 || e.Reason == "" {
				t.Errorf("refusal %#v", err)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("the error shows the token: %v", err)
			}
			return
		}
		want := jwt.MapClaims{}
		parsed, err := oracle.ParseWithClaims(withoutNull(t, token), &want, func(*jwt.Token) (any, error) { return secret, nil })
		if err != nil || !parsed.Valid {
			t.Fatalf("golang-jwt refuses %q, %q: %v", header, payload, err)
		}
		got, ok := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context())
		verified, ok2 := jwthttp.TokenFromContext(r.Context())
		if !ok || !ok2 {
			t.Fatal("admitted without claims")
		}
		a, _ := json.Marshal(withoutNullClaims(got))
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("claims %s, golang-jwt has %s", a, b)
		}
		subject, exp := fmt.Sprint(want["sub"]), want["exp"].(float64)
		switch want["sub"].(type) {
		case nil:
			subject = ""
		case float64: // an integer, whose text golang-jwt does not keep
			subject = verified.Subject
		}
		if verified.Subject != subject || verified.ExpiresAt.Unix() != int64(exp) || verified.Algorithm != parsed.Header["alg"] {
			t.Errorf("token %v of %q, %q", verified, header, payload)
		}
		if strings.TrimRight(signature, "=") != "" && signature != b64(hs256(signed)) {
			t.Errorf("signature %q was accepted", signature)
		}
	})
}

// withoutNull returns a token without the registered claims that are null, which
// golang-jwt refuses.
func withoutNull(t *testing.T, token string) string {
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	before := len(claims)
	if claims = withoutNullClaims(claims); len(claims) == before {
		return token
	}
	if payload, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	return reSign(parts[0], b64(string(payload)))
}

func withoutNullClaims[M ~map[string]V, V any](claims M) M {
	claims = maps.Clone(claims)
	maps.DeleteFunc(claims, func(name string, value V) bool {
		text, err := json.Marshal(value)
		return err == nil && string(text) == "null" && slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}, name)
	})
	return claims
}

// kinds has a field of each kind that is decoded differently.
type kinds struct {
	jwt.RegisteredClaims
	Group
	S      string            `json:"s"`
	Named  jwthttp.Reason    `json:"named"`
	B      bool              `json:"b"`
	I      int               `json:"i"`
	I8     int8              `json:"i8"`
	U      uint16            `json:"u"`
	F      float32           `json:"f"`
	N      json.Number       `json:"n"`
	L      []string          `json:"l"`
	Bytes  []byte            `json:"bytes"`
	P      *string           `json:"p"`
	A      any               `json:"a"`
	M      map[string]string `json:"m"`
	Case   string            `json:"tenantId"`
	Date   *jwt.NumericDate  `json:"auth_time"`
	Groups jwt.ClaimStrings  `json:"groups"`
	T      time.Time         `json:"t"`
	Upper  upper             `json:"upper"`
	Skip   string            `json:"-"`
}

// upper decodes itself.
type upper string

func (u *upper) UnmarshalText(text []byte) error {
	*u = upper(strings.ToUpper(string(text)))
	return nil
}

// quotedKinds has an option that only encoding/json supports.
type quotedKinds struct {
	I int    `json:"i,string"`
	S string `json:"s"`
}

// registeredKinds has the registered claims as fields of other types.
type registeredKinds struct {
	Issuer    any                `json:"iss"`
	Subject   *string            `json:"sub"`
	Audience  jwt.ClaimStrings   `json:"aud"`
	ExpiresAt int64              `json:"exp"`
	NotBefore *float64           `json:"nbf"`
	IssuedAt  *jwt.NumericDate   `json:"iat"`
	Dates     []*jwt.NumericDate `json:"dates"`
	ID        json.RawMessage    `json:"jti"`
}

// FuzzClaims checks that claims are what encoding/json makes of the payload, and
// that a token is refused if encoding/json refuses it, cached or not.
func FuzzClaims(f *testing.F) {
	for _, members := range []string{
		`"s":"x","b":true,"i":-5,"i8":7,"u":3,"f":1.5,"n":12,"l":["a","b"],"bytes":"AAAA","p":"p","a":[1],"m":{"k":"v"},"tenantId":"t"`,
		`"s":null,"b":null,"i":null,"l":null,"p":null,"a":null,"m":null,"n":null,"named":null,"auth_time":null,"groups":null,"t":null`,
		`"s":1`, `"b":"true"`, `"b":0`, `"i":1.0`, `"i":1e2`, `"i":-0`, `"i":"5","s":"x"`, `"upper":"x","-":"dash","Skip":"x"`, `"i":9223372036854775808`, `"i":"1"`, `"i8":128`, `"i8":-128`, `"u":-1`, `"f":1e39`,
		`"n":"12"`, `"n":"x"`, `"l":["a",null]`, `"l":[1]`, `"l":[]`, `"l":"a"`, `"S":"x"`, `"TENANTID":"x"`, `"tenantid":"x"`, `"tenantid":"x","tenantId":"y"`,
		`"s":"\u00e9\ud83d\ude00"`, `"role":"r","Extra":{"a":1}`, `"extra":1`, `"named":"x"`, `"auth_time":1.5`, `"auth_time":"1"`, `"groups":"a"`, `"groups":["a"]`,
		`"t":"2026-01-02T03:04:05Z"`, `"t":1`, `"sub":"s","jti":"j","iat":1.25,"nbf":0`, `"dates":[1,2.5]`, `"Registeredclaims":1,"Group":{"role":"x"}`,
	} {
		f.Add(members)
	}
	opts := newOptions()
	opts.CacheSize = 64
	ofQuoted := mustNew[quotedKinds](f, opts)
	ofKinds, ofRegistered := mustNew[kinds](f, opts), mustNew[*registeredKinds](f, opts)
	f.Fuzz(func(t *testing.T, members string) {
		payload := strings.TrimSuffix(claimsJSON(map[string]any{"iat": nil, "exp": time.Now().Unix() + 3600, "sub": nil, "jti": nil, "role": nil}), "}") + "," + members + "}"
		request := newRequest(withBearer(signHS256(goodHeader, payload)))
		checkDecoded[kinds](t, ofKinds, request, payload)
		checkDecoded[quotedKinds](t, ofQuoted, request, payload)
		checkDecoded[*registeredKinds](t, ofRegistered, request, payload)
	})
}

func checkDecoded[T any](t *testing.T, m *jwthttp.Middleware, request *http.Request, payload string) {
	t.Helper()
	var want T
	wantErr := json.Unmarshal([]byte(payload), &want)
	for range 2 {
		r, err := m.Authenticate(request)
		var e *jwthttp.Error
		if errors.As(err, &e) && e.Reason != jwthttp.ReasonClaims {
			return // before it came to the claims
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: error %v, encoding/json says %v", payload, err, wantErr)
		}
		if err != nil {
			continue
		}
		if got := jwthttp.MustClaims[T](r.Context()); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: claims %+v, encoding/json has %+v", payload, got, want)
		}
	}
}

// FuzzExtract checks that an extractor finds only tokens that are in the request,
// and that none is left in the URL.
func FuzzExtract(f *testing.F) {
	for _, s := range []string{"", "Bearer", "Bearer a.b.c", "bearer  a", "Basic x, Bearer y", "c=a.b.c", `c="x"; c=y`, "q=a&q=b", "%71=x&a", "q=%2", "a;q=x&&", "q=&q"} {
		f.Add(s, s, s)
	}
	e := jwthttp.OnlyOne(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie("c"), jwthttp.FromQuery("q"))
	f.Fuzz(func(t *testing.T, authorization, cookie, rawQuery string) {
		r := newRequest(withField("Authorization", authorization), withField("Cookie", cookie), withQuery(rawQuery))
		c, err := e(r)
		if err == nil {
			places := map[jwthttp.Source]string{jwthttp.SourceHeader: authorization, jwthttp.SourceCookie: cookie}
			if c.Source != jwthttp.SourceQuery && !strings.Contains(places[c.Source], c.Token) || c.Token == "" {
				t.Errorf("token %q is not in the %v", c.Token, c.Source)
			}
			if values := r.URL.Query()["q"]; c.Source == jwthttp.SourceQuery && len(values) == 1 && values[0] != c.Token {
				t.Errorf("token %q, net/url has %q", c.Token, values)
			}
		}
		opts := newOptions()
		opts.Extractor = e
		opts.Observer = func(_ context.Context, event jwthttp.Event) {
			if values := event.Request.URL.Query()["q"]; strings.Join(values, "") != "" {
				t.Errorf("the URL still has %q", values)
			}
		}
		_, _ = mustNew[testClaims](t, opts).Authenticate(r)
	})
}
