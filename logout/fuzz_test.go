package logout_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signHS256 signs any two texts, JSON or not.
func signHS256(header, payload string) string {
	signed := encode(header) + "." + encode(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + encode(string(mac.Sum(nil)))
}

// fuzzOptions returns options for tokens of signHS256, without leeway.
func fuzzOptions(store *recorder) logout.Options {
	return logout.Options{
		Issuers: []jwthttp.Issuer{{Name: senderName, Audience: []string{client}, Algorithms: []string{"HS256"}, Keys: jwthttp.StaticKey(secret)}},
		Revoke:  store.Revoke, TokenLifetime: lifetime, Leeway: -1, BySubject: true,
	}
}

// parse is golang-jwt's reading of a token, with a second of leeway since it cuts
// dates to whole seconds.
func parse(token string, opts ...jwt.ParserOption) (jwt.MapClaims, map[string]any, error) {
	claims := jwt.MapClaims{}
	opts = append(opts, jwt.WithStrictDecoding(), jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(senderName),
		jwt.WithAudience(client), jwt.WithIssuedAt(), jwt.WithLeeway(time.Second))
	parsed, err := jwt.NewParser(opts...).ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return secret, nil })
	if err != nil {
		return nil, nil, err
	}
	return claims, parsed.Header, nil
}

// identifier is the text of a claim that may be an integer.
func identifier(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return fmt.Sprint(int64(v))
	}
	return ""
}

// values returns the values of entries of a kind.
func values(entries []revocation.Entry, kind revocation.Kind) (list []string) {
	for _, e := range entries {
		if e.Kind == kind {
			list = append(list, e.Value)
		}
	}
	return list
}

// FuzzBackChannel checks each accepted form with net/url, golang-jwt and
// encoding/json: they find one logout token that names the same session or subject.
func FuzzBackChannel(f *testing.F) {
	now := time.Now().Unix()
	good := fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"exp":%d,"jti":"1","sub":"a","sid":"s","events":{%q:{}}}`, senderName, client, now-60, now+3600, logoutEvent)
	for _, change := range []struct{ from, to string }{
		{"", ""}, {`"sub":"a",`, ``}, {`"sid":"s",`, ``}, {`"sub":"a"`, `"nonce":null`}, {`"sub":"a"`, `"Nonce":1`}, {`:{}}`, `:null}`}, {`:{}}`, `:{},"x":1}`},
		{`"jti":"1",`, ``}, {`"s"`, `7`}, {`"s"`, `7.5`}, {`"s"`, `"\u0073"`}, {`"s"`, `""`}, {`"a"`, `null`}, {`"sid"`, `"SID"`}, {`"events"`, `"Events"`}, {`{"iss"`, ` {"iss"`},
		{`:{}}`, `:{},` + fmt.Sprintf("%q", logoutEvent) + `:{}}`}, {fmt.Sprint(now - 60), "6"}, {fmt.Sprintf(`"iat":%d,`, now-60), `"iat":6,"sub":"b",`},
	} {
		f.Add(`{"alg":"HS256","typ":"logout+jwt"}`, strings.Replace(good, change.from, change.to, 1), "logout_token=TOKEN", "")
	}
	for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT"}`, `{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"none"}`, `{}`} {
		f.Add(header, good, "logout_token=TOKEN", "")
	}
	for _, form := range []string{"", "logout_token=", "a=b&logout_token=TOKEN", "logout_token=TOKEN&logout_token=TOKEN", "logout%5ftoken=TOKEN", "logout_token=TOKEN;a=b", "logout_token=%zz", "Logout_token=TOKEN"} {
		f.Add(`{"alg":"HS256","typ":"logout+jwt"}`, good, form, "")
	}
	f.Add(`{"alg":"HS256","typ":"logout+jwt"}`, good, "logout_token=TOKEN", "logout_token=1")
	f.Add(`{"alg":"HS256","typ":"logout+jwt"}`, good, "logout_token=TOKEN", "a=1;logout%5Ftoken")

	var store recorder
	h := mustBackChannel(f, fuzzOptions(&store))
	f.Fuzz(func(t *testing.T, header, payload, form, query string) {
		store.entries = nil
		token := signHS256(header, payload)
		body := strings.ReplaceAll(form, "TOKEN", token)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.URL.RawQuery = query
		w := serve(h, r)
		if w.Code == http.StatusBadRequest && len(store.entries) == 0 {
			return
		}
		if w.Code != http.StatusOK {
			t.Fatalf("%d, %d entries", w.Code, len(store.entries))
		}
		fields, err := url.ParseQuery(body)
		inQuery, _ := url.ParseQuery(query)
		if err != nil || len(fields["logout_token"]) != 1 || inQuery.Has("logout_token") || len(body) > 16<<10 {
			t.Fatalf("accepted form %q, query %q", body, query)
		}
		claims, head, err := parse(fields.Get("logout_token"), jwt.WithExpirationRequired())
		if err != nil {
			t.Fatalf("golang-jwt refuses %q, %q: %v", header, payload, err)
		}
		typ, _ := head["typ"].(string)
		typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
		events, _ := claims["events"].(object)
		_, isLogout := events[logoutEvent].(object)
		_, hasNonce := claims["nonce"]
		if !slices.Contains([]string{"", "jwt", "logout+jwt"}, typ) || !isLogout || hasNonce || identifier(claims["jti"]) == "" || claims["iat"] == nil {
			t.Fatalf("accepted %q, %q", header, payload)
		}
		issued, _ := claims["iat"].(float64)
		old := time.Since(time.Unix(int64(issued), 0)) - lifetime // of the last token of the subject
		for kind, claim := range map[revocation.Kind]string{revocation.BySession: "sid", revocation.BySubject: "sub"} {
			want := []string{identifier(claims[claim])}
			if want[0] == "" || kind == revocation.BySubject && old > 0 {
				want = nil
			}
			if kind == revocation.BySubject && old.Abs() < 5*time.Second {
				continue // it expires while the test looks
			}
			if got := values(store.entries, kind); !slices.Equal(got, want) && !isLarge(claims[claim]) {
				t.Errorf("%q revokes %v %q, want %q", payload, kind, got, want)
			}
		}
	})
}

// isLarge reports whether a float64 may have lost digits of an integer.
func isLarge(v any) bool {
	n, ok := v.(float64)
	return ok && (n > 1<<53 || n < -(1<<53) || n == 0) // zero: "-0" keeps its sign
}

// FuzzPush checks each accepted token with golang-jwt and encoding/json: they find
// the same events, and the same session or subject in each.
func FuzzPush(f *testing.F) {
	now := time.Now().Unix()
	good := fmt.Sprintf(`{"iss":%q,"aud":%q,"iat":%d,"jti":"1","sub_id":{"format":"iss_sub","iss":%q,"sub":"a"},"events":{%q:{"event_timestamp":%d}}}`, senderName, client, now-60, senderName, sessionRevoked, now-120)
	const user = `{"format":"iss_sub","iss":"https://issuer.test","sub":"a"}`
	for _, change := range []struct{ from, to string }{
		{"", ""}, {user, `{"format":"complex","user":` + user + `,"session":{"format":"opaque","id":"s"}}`}, {user, `{"session":{"format":"opaque","id":"s"}}`},
		{user, `{"format":"complex","tenant":` + user + `}`}, {user, `{"format":"opaque","id":"s"}`}, {user, `{"format":"email","email":"a@b"}`}, {user, "null"}, {user, "1"}, {user, "{}"},
		{`"sub_id":` + user + `,`, ``}, {`"sub_id":` + user + `,`, ``}, {`"event_timestamp":`, `"subject":` + user + `,"event_timestamp":`}, {`"event_timestamp":`, `"event_timestamp":1`}, {`"event_timestamp":`, `"event_timestamp":-`},
		{`"a"`, `"\u0061"`}, {`"a"`, `""`}, {`"a"`, `1`}, {`"sub_id"`, `"SUB_ID"`}, {`"format"`, `"Format"`}, {`"jti":"1",`, ``}, {sessionRevoked, prefixRISC + "account-disabled"},
		{`"events":{`, `"events":{"x":{},`}, {`"events":{`, `"events":{"x":1,`}, {`"jti"`, `"exp":1,"jti"`}, {`{"iss"`, "\n{\"iss\""},
	} {
		f.Add(`{"alg":"HS256","typ":"secevent+jwt"}`, strings.Replace(good, change.from, change.to, 1), "TOKEN")
	}
	for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","typ":"Application/SecEvent+JWT"}`, `{"alg":"HS256","typ":"logout+jwt"}`, `{"alg":"none","typ":"secevent+jwt"}`} {
		f.Add(header, good, "TOKEN")
	}
	for _, body := range []string{"", "TOKEN\n", " TOKEN", "TOKEN=", "TOKENTOKEN", "Bearer TOKEN"} {
		f.Add(`{"alg":"HS256","typ":"secevent+jwt"}`, good, body)
	}

	var store recorder
	var seen []logout.SecurityEvent
	opts := logout.PushOptions{Options: fuzzOptions(&store)}
	opts.Entries = func(_ context.Context, e logout.SecurityEvent) ([]revocation.Entry, error) {
		seen = append(seen, e)
		return logout.DefaultEntries(e), nil
	}
	h := mustPush(f, opts)
	f.Fuzz(func(t *testing.T, header, payload, body string) {
		store.entries, seen = nil, nil
		token := signHS256(header, payload)
		body = strings.ReplaceAll(body, "TOKEN", token)
		w := serve(h, postToken(body))
		if w.Code == http.StatusBadRequest && len(store.entries) == 0 {
			return
		}
		if w.Code != http.StatusAccepted {
			t.Fatalf("%d, %d entries", w.Code, len(store.entries))
		}
		claims, head, err := parse(body)
		if err != nil {
			t.Fatalf("golang-jwt refuses %q, %q: %v", header, payload, err)
		}
		typ, _ := head["typ"].(string)
		if strings.TrimPrefix(strings.ToLower(typ), "application/") != "secevent+jwt" || identifier(claims["jti"]) == "" || claims["iat"] == nil {
			t.Fatalf("accepted %q, %q", header, payload)
		}
		events, _ := claims["events"].(object)
		if len(events) == 0 || len(seen) > len(events) {
			t.Fatalf("accepted %q with %d events", payload, len(seen))
		}
		for _, e := range seen {
			checkSeen(t, e, claims, events[e.Type])
		}
	})
}

// checkSeen compares an event with what golang-jwt has read.
func checkSeen(t *testing.T, e logout.SecurityEvent, claims jwt.MapClaims, event any) {
	t.Helper()
	payload, ok := event.(object)
	if !ok || !json.Valid(e.Payload) {
		t.Fatalf("event %q of %v", e.Payload, event)
	}
	at, ok := claims["iat"].(float64)
	if payload["event_timestamp"] != nil {
		at, ok = payload["event_timestamp"].(float64)
	}
	if !ok || e.Time.Unix() != int64(at) || e.Time.After(time.Now()) {
		t.Errorf("time %v of %v", e.Time, at)
	}
	subject := claims["sub_id"]
	if subject == nil {
		subject = payload["subject"]
	}
	members, ok := subject.(object)
	if !ok {
		if subject != nil || e.Subject.Format != "" {
			t.Errorf("subject %+v of %v", e.Subject, subject)
		}
		return
	}
	switch e.Subject.Format {
	case "iss_sub":
		if members["iss"] != e.Subject.Issuer || members["sub"] != e.Subject.Subject || e.Subject.Issuer != senderName || e.Subject.Subject == "" {
			t.Errorf("subject %+v of %v", e.Subject, members)
		}
	case "complex":
		session, _ := members["session"].(object)
		if e.Subject.Session != nil && e.Subject.Session.Format == "opaque" && session["id"] != e.Subject.Session.ID {
			t.Errorf("session %+v of %v", e.Subject.Session, session)
		}
	}
}
