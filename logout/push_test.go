package logout_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	prefixCAEP     = "https://schemas.openid.net/secevent/caep/event-type/"
	prefixRISC     = "https://schemas.openid.net/secevent/risc/event-type/"
	prefixSSF      = "https://schemas.openid.net/secevent/ssf/event-type/"
	sessionRevoked = prefixCAEP + "session-revoked"

	other = "https://other.test" // an issuer that the sender may not speak for
)

func issSub(iss string) object { return object{"format": "iss_sub", "iss": iss, "sub": "alice"} }

func opaque(id string) object { return object{"format": "opaque", "id": id} }

// answer returns the body of a refusal.
func answer(code string) string {
	texts := map[string]string{
		"invalid_request":       "malformed request or token",
		"invalid_key":           "key or signature of the token not accepted",
		"invalid_issuer":        "token issuer not accepted",
		"invalid_audience":      "token is for another audience",
		"authentication_failed": "sender not authenticated",
		"access_denied":         "sender may not revoke these tokens",
	}
	return fmt.Sprintf(`{"err":%q,"description":%q}`+"\n", code, texts[code])
}

// checkPush checks an answer: code is the error code, or "" for a 202.
func checkPush(t *testing.T, h http.Handler, r *http.Request, code string) {
	t.Helper()
	w := serve(h, r)
	checkHeader(t, w)
	status, body := http.StatusAccepted, ""
	if code != "" {
		status, body = http.StatusBadRequest, answer(code)
	}
	if w.Code != status || w.Body.String() != body {
		t.Errorf("%d %q, want %d %q", w.Code, w.Body, status, body)
	}
	if language := w.Header().Get("Content-Language"); (language == "en") != (code != "") {
		t.Errorf("Content-Language %q", language)
	}
}

// RFC 8417 §2.2, RFC 8935 §2. Rule 69.
func TestPush_token(t *testing.T) {
	for _, tt := range []struct {
		name            string
		header, changes object
		code            string // "": 202 and endedSubject
	}{
		{"no exp and no sub", nil, nil, ""},
		{"exp and sub", nil, object{"exp": bubbleStart + 60, "sub": "bob"}, ""},
		{"expired", nil, object{"exp": bubbleStart - 30}, "invalid_request"},
		{"typ in another case, with application/", object{"typ": "application/SecEvent+JWT"}, nil, ""},
		{"no typ", object{"typ": nil}, nil, "invalid_request"},
		{"typ JWT", object{"typ": "JWT"}, nil, "invalid_request"},
		{"a logout token's typ", object{"typ": "logout+jwt"}, nil, "invalid_request"},
		{"no jti", nil, object{"jti": nil}, "invalid_request"},
		{"no iat", nil, object{"iat": nil}, "invalid_request"},
		{"iat ahead by the leeway", nil, object{"iat": bubbleStart + 30, "events": object{sessionRevoked: object{"event_timestamp": bubbleStart}}}, ""},
		{"iat ahead by more", nil, object{"iat": bubbleStart + 31}, "invalid_request"},
		{"no iss", nil, object{"iss": nil}, "invalid_issuer"},
		{"another iss", nil, object{"iss": other}, "invalid_issuer"},
		{"no aud", nil, object{"aud": nil}, "invalid_audience"},
		{"another aud", nil, object{"aud": "client-2"}, "invalid_audience"},
		{"another alg", object{"alg": "RS256"}, nil, "invalid_key"},
		{"alg none", object{"alg": "none"}, nil, "invalid_key"},
		{"another kid", object{"kid": "x"}, nil, "invalid_key"},
		{"no events", nil, object{"events": nil}, "invalid_request"},
		{"events is empty", nil, object{"events": object{}}, "invalid_request"},
		{"events is an array", nil, object{"events": array{sessionRevoked}}, "invalid_request"},
		{"an event is null", nil, object{"events": object{sessionRevoked: raw("null")}}, "invalid_request"},
		{"an event is a string", nil, object{"events": object{sessionRevoked: ""}}, "invalid_request"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			checkPush(t, mustPush(t, opts), postToken(securityToken(sender, tt.header, tt.changes)), tt.code)
			want := ""
			if tt.code == "" {
				want = endedSubject
			}
			if diff := cmp.Diff(want, spellAll(store.entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("signed with another key", func(t *testing.T) {
		sender := jwthttptest.New(t, "ES256")
		opts := logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}
		parts := strings.Split(securityToken(sender, nil, nil), ".")
		parts[2] = strings.Split(securityToken(sender, nil, object{"jti": "id-2"}), ".")[2]
		checkPush(t, mustPush(t, opts), postToken(strings.Join(parts, ".")), "invalid_key")
	})
}

// CAEP 1.0 §3.1, RISC 1.0 §2, RFC 9493 §3.2. Rule 69.
func TestPush_subject(t *testing.T) {
	const session = "session session-1 of https://issuer.test 1m0s 1h1m30s"
	for _, tt := range []struct {
		name    string
		subject any // sub_id
		typ     string
		payload object
		want    string // entries, or an error code
	}{
		{"iss_sub", issSub(senderName), sessionRevoked, nil, endedSubject},
		{"account-disabled", issSub(senderName), prefixRISC + "account-disabled", object{"reason": "hijacking"}, endedSubject},
		{"account-purged", issSub(senderName), prefixRISC + "account-purged", nil, endedSubject},
		{"sessions-revoked", issSub(senderName), prefixRISC + "sessions-revoked", nil, endedSubject},
		{"another event", issSub(senderName), prefixCAEP + "credential-change", nil, ""},
		{"account-enabled", issSub(senderName), prefixRISC + "account-enabled", nil, ""},
		{"a type in another case", issSub(senderName), strings.ToUpper(sessionRevoked), nil, ""},

		{"complex: user and session", object{"format": "complex", "user": issSub(senderName), "session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex: session alone", object{"format": "complex", "session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex: user alone", object{"format": "complex", "user": issSub(senderName)}, sessionRevoked, nil, endedSubject},
		{"complex: user and device", object{"format": "complex", "user": issSub(senderName), "device": opaque("d")}, sessionRevoked, nil, endedSubject},
		{"complex: user by email, and session", object{"format": "complex", "user": object{"format": "email", "email": "a@b"}, "session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex: a session of another format", object{"format": "complex", "user": issSub(senderName), "session": object{"format": "did", "url": "did:x:1"}}, sessionRevoked, nil, endedSubject},
		{"complex: the account of user and session", object{"format": "complex", "user": issSub(senderName), "session": opaque("session-1")}, prefixRISC + "account-disabled", nil, endedSubject},
		{"complex: the purged account of user and session", object{"format": "complex", "user": issSub(senderName), "session": opaque("session-1")}, prefixRISC + "account-purged", nil, endedSubject},
		{"complex without a format, session alone", object{"session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex without a format", object{"user": issSub(senderName), "session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex: tenant alone", object{"format": "complex", "tenant": opaque("t")}, sessionRevoked, nil, ""},
		{"complex: tenant as iss_sub", object{"format": "complex", "tenant": issSub(senderName)}, sessionRevoked, nil, ""},
		{"tenant without a format", object{"tenant": opaque("t")}, prefixRISC + "account-disabled", nil, ""},
		{"complex: tenant, user and session", object{"format": "complex", "tenant": opaque("t"), "user": issSub(senderName), "session": opaque("session-1")}, sessionRevoked, nil, session},
		{"complex inside complex", object{"format": "complex", "user": object{"format": "complex", "user": issSub(senderName)}}, sessionRevoked, nil, ""},
		{"complex: null parts", object{"format": "complex", "user": nil, "session": nil}, sessionRevoked, nil, ""},

		{"email", object{"format": "email", "email": "alice@example.com"}, sessionRevoked, nil, ""},
		{"opaque", opaque("alice"), sessionRevoked, nil, ""},
		{"phone_number", object{"format": "phone_number", "phone_number": "+1"}, prefixRISC + "account-disabled", nil, ""},
		{"aliases", object{"format": "aliases", "identifiers": array{issSub(senderName)}}, sessionRevoked, nil, ""},

		{"inside the event, as RISC had it", nil, prefixRISC + "account-disabled", object{"subject": object{"subject_type": "iss-sub", "iss": senderName, "sub": "alice"}}, endedSubject},
		{"inside the event, iss_sub", nil, sessionRevoked, object{"subject": object{"subject_type": "iss_sub", "iss": senderName, "sub": "alice"}}, endedSubject},
		{"inside the event, complex", nil, sessionRevoked, object{"subject": object{"user": issSub(senderName), "session": opaque("session-1")}}, session},
		{"inside the event, of another issuer", nil, sessionRevoked, object{"subject": object{"subject_type": "iss-sub", "iss": other, "sub": "alice"}}, "access_denied"},
		{"sub_id comes before the event's", issSub(senderName), sessionRevoked, object{"subject": opaque("x")}, endedSubject},
		{"no subject", nil, sessionRevoked, nil, "invalid_request"},
		{"no subject of an account", nil, prefixRISC + "account-purged", object{"subject": nil}, "invalid_request"},
		{"no subject of another event", nil, prefixCAEP + "device-compliance-change", nil, ""},

		{"another issuer", issSub(other), sessionRevoked, nil, "access_denied"},
		{"another issuer with a slash", issSub(senderName + "/"), sessionRevoked, nil, "access_denied"},
		{"another issuer in another event", issSub(other), prefixCAEP + "credential-change", nil, "access_denied"},
		{"complex: another issuer", object{"format": "complex", "user": issSub(other), "session": opaque("session-1")}, sessionRevoked, nil, "access_denied"},
		{"complex: a session of another issuer", object{"format": "complex", "user": issSub(senderName), "session": issSub(other)}, sessionRevoked, nil, "access_denied"},

		{"not an object", "alice", sessionRevoked, nil, "invalid_request"},
		{"an array", array{issSub(senderName)}, sessionRevoked, nil, "invalid_request"},
		{"no format", object{"iss": senderName, "sub": "alice"}, sessionRevoked, nil, "invalid_request"},
		{"a format of another type", object{"format": 1, "iss": senderName, "sub": "alice"}, sessionRevoked, nil, "invalid_request"},
		{"a malformed subject of another event", object{}, prefixCAEP + "credential-change", nil, "invalid_request"},
		{"iss_sub without iss", object{"format": "iss_sub", "sub": "alice"}, sessionRevoked, nil, "invalid_request"},
		{"iss_sub with an empty sub", object{"format": "iss_sub", "iss": senderName, "sub": ""}, sessionRevoked, nil, "invalid_request"},
		{"iss_sub with sub as a number", object{"format": "iss_sub", "iss": senderName, "sub": 1}, sessionRevoked, nil, "invalid_request"},
		{"opaque without id", object{"format": "opaque"}, sessionRevoked, nil, "invalid_request"},
		{"email without email", object{"format": "email"}, sessionRevoked, nil, "invalid_request"},
		{"complex: user is malformed", object{"format": "complex", "user": object{"format": "iss_sub"}, "session": opaque("session-1")}, sessionRevoked, nil, "invalid_request"},
		{"complex: session is malformed", object{"format": "complex", "user": issSub(senderName), "session": "session-1"}, sessionRevoked, nil, "invalid_request"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			payload := tt.payload
			if payload == nil {
				payload = object{}
			}
			token := securityToken(sender, nil, object{"sub_id": tt.subject, "events": object{tt.typ: payload}})
			code, want := "", tt.want
			if !strings.Contains(want, " ") {
				code, want = want, ""
			}
			checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, store.Revoke)}), postToken(token), code)
			if diff := cmp.Diff(want, spellAll(store.entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

// Rule 69.
func TestPush_time(t *testing.T) {
	for _, tt := range []struct {
		name      string
		timestamp any
		want      string // entries, or an error code
	}{
		{"missing: iat", nil, "subject alice of https://issuer.test -10s 1h0m20s"},
		{"null: iat", raw("null"), "subject alice of https://issuer.test -10s 1h0m20s"},
		{"seconds", bubbleStart - 100, "subject alice of https://issuer.test -1m40s 58m50s"},
		{"with a fraction", bubbleStart - 99.5, "subject alice of https://issuer.test -1m39.5s 58m50.5s"},
		{"ahead by the leeway", bubbleStart + 30, "subject alice of https://issuer.test 30s 1h1m0s"},
		{"ahead by more", bubbleStart + 31, "invalid_request"},
		{"milliseconds", bubbleStart * 1000, "invalid_request"},
		{"microseconds", bubbleStart * 1000000, "invalid_request"},
		{"far future", 253402300799, "invalid_request"},
		{"negative", -1, "invalid_request"},
		{"a string", fmt.Sprint(bubbleStart), "invalid_request"},
		{"true", true, "invalid_request"},
		{"all tokens have expired", bubbleStart - 3630, ""},
		{"the last token expires in a second", bubbleStart - 3629, "subject alice of https://issuer.test -1h0m29s 1s"},
		{"1970", 0, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			payload := changed(object{}, object{"event_timestamp": tt.timestamp})
			token := securityToken(sender, nil, object{"iat": bubbleStart - 10, "events": object{sessionRevoked: payload}})
			code, want := "", tt.want
			if want == "invalid_request" {
				code, want = want, ""
			}
			checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, store.Revoke)}), postToken(token), code)
			if diff := cmp.Diff(want, spellAll(store.entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

// Several events: all or nothing.
func TestPush_severalEvents(t *testing.T) {
	disabled := prefixRISC + "account-disabled"
	for _, tt := range []struct {
		name   string
		events object
		failAt int
		status int
		ended  int // entries that were stored
	}{
		{"two", object{sessionRevoked: object{}, disabled: object{}}, 0, 202, 2},
		{"one of another type", object{sessionRevoked: object{}, prefixCAEP + "x": object{}}, 0, 202, 1},
		{"one about the stream", object{sessionRevoked: object{}, prefixSSF + "verification": object{"state": "x"}}, 0, 202, 1},
		{"one is malformed", object{sessionRevoked: object{}, disabled: "x"}, 0, 400, 0},
		{"one about the stream is malformed", object{sessionRevoked: object{}, prefixSSF + "verification": 1}, 0, 400, 0},
		{"one in milliseconds", object{sessionRevoked: object{}, disabled: object{"event_timestamp": bubbleStart * 1000}}, 0, 400, 0},
		{"the store fails at the second", object{sessionRevoked: object{}, disabled: object{}}, 2, 503, 1},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			store := recorder{failAt: tt.failAt, err: errStore}
			sender := jwthttptest.New(t, "ES256")
			var event logout.Event
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			opts.Observer = func(_ context.Context, e logout.Event) { event = e }
			w := serve(mustPush(t, opts), postToken(securityToken(sender, nil, object{"events": tt.events})))
			if w.Code != tt.status || len(store.entries) != tt.ended || len(event.Ended) != tt.ended {
				t.Errorf("%d, %d stored, event %v", w.Code, len(store.entries), event)
			}
		})
	}
	bubble(t, "one names a subject of another issuer", func(t *testing.T) {
		var store recorder
		sender := jwthttptest.New(t, "ES256")
		events := object{sessionRevoked: object{"subject": issSub(senderName)}, disabled: object{"subject": issSub(other)}}
		token := securityToken(sender, nil, object{"sub_id": nil, "events": events})
		checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, store.Revoke)}), postToken(token), "access_denied")
		if len(store.entries) > 0 {
			t.Errorf("stored %s", spellAll(store.entries))
		}
	})
}

// Events about the stream have its ID as their subject (SSF 1.0 §8.1.4, §8.1.5).
func TestPush_streamEvents(t *testing.T) {
	for _, typ := range []string{prefixSSF + "verification", prefixSSF + "stream-updated", prefixRISC + "verification", prefixRISC + "stream-updated"} {
		t.Run(typ, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			opts.Entries = func(_ context.Context, e logout.SecurityEvent) ([]revocation.Entry, error) {
				return nil, errors.New("unknown " + e.Type)
			}
			token := securityToken(sender, nil, object{"sub_id": opaque("stream-1"), "events": object{typ: object{"state": "x"}}})
			checkPush(t, mustPush(t, opts), postToken(token), "")
		})
	}
}

// RFC 8935 §2.1.
func TestPush_request(t *testing.T) {
	const authorization = "Bearer of the sender"
	for _, tt := range []struct {
		name   string
		change func(r *http.Request, token string)
		want   string // an error code; "405"
	}{
		{"as it should be", func(*http.Request, string) {}, ""},
		{"a parameter, in another case", func(r *http.Request, _ string) { r.Header.Set("Content-Type", "Application/SecEvent+JWT; a=b") }, ""},
		{"GET", func(r *http.Request, _ string) { r.Method = "GET" }, "405"},
		{"OPTIONS", func(r *http.Request, _ string) { r.Method = "OPTIONS" }, "405"},
		{"another type", func(r *http.Request, _ string) { r.Header.Set("Content-Type", "application/jwt") }, "invalid_request"},
		{"no type", func(r *http.Request, _ string) { r.Header.Del("Content-Type") }, "invalid_request"},
		{"no Authorization", func(r *http.Request, _ string) { r.Header.Del("Authorization") }, "authentication_failed"},
		{"another Authorization", func(r *http.Request, _ string) { r.Header.Set("Authorization", "Bearer of the sendes") }, "authentication_failed"},
		{"a prefix of it", func(r *http.Request, _ string) { r.Header.Set("Authorization", authorization[:10]) }, "authentication_failed"},
		{"in another case", func(r *http.Request, _ string) { r.Header.Set("Authorization", strings.ToLower(authorization)) }, "authentication_failed"},
		{"two Authorization lines", func(r *http.Request, _ string) { r.Header.Add("Authorization", authorization) }, "authentication_failed"},
		{"no body", func(r *http.Request, _ string) { setBody(r, "") }, "invalid_request"},
		{"a line feed", func(r *http.Request, token string) { setBody(r, token+"\n") }, "invalid_request"},
		{"two tokens", func(r *http.Request, token string) { setBody(r, token+token) }, "invalid_request"},
		{"a form", func(r *http.Request, token string) { setBody(r, "SET="+token) }, "invalid_request"},
		{"a body that ends early", func(r *http.Request, token string) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(token), errorReader{}))
		}, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke), Authorization: authorization}
			token := securityToken(sender, nil, nil)
			r := postToken(token)
			r.Header.Set("Authorization", authorization)
			tt.change(r, token)
			if tt.want == "405" {
				w := serve(mustPush(t, opts), r)
				checkHeader(t, w)
				if w.Code != 405 {
					t.Error(w.Code)
				}
			} else {
				checkPush(t, mustPush(t, opts), r, tt.want)
			}
			if (len(store.entries) == 1) != (tt.want == "") {
				t.Errorf("%d entries", len(store.entries))
			}
		})
	}
	t.Run("Authorization is not checked if it is not set", func(t *testing.T) {
		sender := jwthttptest.New(t, "ES256")
		r := postToken(securityToken(sender, nil, nil))
		r.Header.Set("Authorization", "x")
		checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}), r, "")
	})
	for _, size := range []int{16 << 10, 16<<10 + 1} {
		t.Run(fmt.Sprintf("a body of %d bytes", size), func(t *testing.T) {
			sender := jwthttptest.New(t, "HS256")
			token := tokenOfSize(t, sender, size)
			code := ""
			if size > 16<<10 {
				code = "invalid_request"
			}
			checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}), postToken(token), code)
		})
	}
}

// Of a large body, no more than the limit is read.
func TestPush_largeBody(t *testing.T) {
	sender := jwthttptest.New(t, "ES256")
	body := &endless{}
	r := postToken("")
	r.Body = body
	checkPush(t, mustPush(t, logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}), r, "invalid_request")
	if body.read > 17<<10 {
		t.Errorf("%d bytes were read", body.read)
	}
}

// endless is a body of which 1 MiB can be read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read >= 1<<20 {
		return 0, io.EOF
	}
	e.read += len(p)
	return copy(p, strings.Repeat("a", len(p))), nil
}

func (*endless) Close() error { return nil }

// tokenOfSize returns a security event token of exactly size bytes.
func tokenOfSize(t *testing.T, sender *jwthttptest.Issuer, size int) string {
	t.Helper()
	for kid := range 4 { // base64url has no text of some lengths
		for n := size * 3 / 4; n > 0; n-- {
			header := object{"x": strings.Repeat("x", kid)}
			token := securityToken(sender, header, object{"pad": strings.Repeat("a", n)})
			if len(token) == size {
				return token
			}
			if len(token) < size {
				break
			}
		}
	}
	t.Fatalf("no token of %d bytes", size)
	return ""
}

func TestPush_options(t *testing.T) {
	tokenIssuer := func(issuers ...string) func(*logout.PushOptions) {
		return func(o *logout.PushOptions) { o.TokenIssuer = func(string) []string { return issuers } }
	}
	both := object{"format": "complex", "user": issSub(senderName), "session": opaque("session-1")}
	for _, tt := range []struct {
		name    string
		change  func(*logout.PushOptions)
		subject object
		want    string // entries, or an error code
	}{
		{"BySubject with user and session", func(o *logout.PushOptions) { o.BySubject = true }, both, endedSession + "\n" + endedSubject},
		{"BySubject with user", func(o *logout.PushOptions) { o.BySubject = true }, issSub(senderName), endedSubject},
		{"BySubject with session", func(o *logout.PushOptions) { o.BySubject = true }, object{"format": "complex", "session": opaque("session-1")}, endedSession},
		{"TokenIssuer", tokenIssuer("a", "b"), issSub(senderName), "subject alice of a 0s 1h0m30s\nsubject alice of b 0s 1h0m30s"},
		{"TokenIssuer for a session", tokenIssuer("a"), both, "session session-1 of a 1m0s 1h1m30s"},
		{"TokenIssuer for a subject of it", tokenIssuer("a", "b"), issSub("b"), "subject alice of b 0s 1h0m30s"},
		{"TokenIssuer for a session of it", tokenIssuer("a", "b"), object{"format": "complex", "user": issSub("b"), "session": opaque("session-1")}, "session session-1 of b 1m0s 1h1m30s"},
		{"TokenIssuer for another", tokenIssuer("a", "b"), issSub("c"), "access_denied"},
		{"TokenIssuer with none", tokenIssuer(), issSub(senderName), "access_denied"},
		{"TokenIssuer with none, an event without effect", tokenIssuer(), opaque("x"), ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			tt.change(&opts)
			code, want := "", tt.want
			if !strings.Contains(want, " ") {
				code, want = want, ""
			}
			checkPush(t, mustPush(t, opts), postToken(securityToken(sender, nil, object{"sub_id": tt.subject})), code)
			if diff := cmp.Diff(want, spellAll(store.entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPush_entries(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(bubbleStart, 0).Add(d) }
	for _, tt := range []struct {
		name   string
		given  []revocation.Entry
		err    error
		want   string
		status int
	}{
		{"none", nil, nil, "", 202},
		{"of any issuer, with Expires", []revocation.Entry{{Kind: revocation.ByClient, Issuer: other, Value: "x", IssuedUntil: at(time.Second), Expires: at(time.Minute)}}, nil, "client x of https://other.test 1s 1m0s", 202},
		{"Expires is filled in", []revocation.Entry{{Kind: revocation.BySubject, Issuer: other, Value: "x", IssuedUntil: at(-time.Minute)}}, nil, "subject x of https://other.test -1m0s 59m30s", 202},
		{"Expires is filled in for an ID", []revocation.Entry{{Kind: revocation.ByID, Issuer: other, Value: "x"}}, nil, "id x of https://other.test - 1h0m30s", 202},
		{"an Expires that has passed is not skipped", []revocation.Entry{{Kind: revocation.BySubject, Issuer: other, Value: "x", IssuedUntil: at(-time.Hour), Expires: at(-time.Minute)}}, nil, "subject x of https://other.test -1h0m0s -1m0s", 202},
		{"an error", []revocation.Entry{{Kind: revocation.ByID, Issuer: other, Value: "x"}}, errStore, "", 503},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			opts.TokenIssuer = func(string) []string { return nil } // not for Entries
			opts.Entries = func(ctx context.Context, _ logout.SecurityEvent) ([]revocation.Entry, error) {
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 10*time.Second {
					t.Errorf("deadline %v", deadline)
				}
				return tt.given, tt.err
			}
			w := serve(mustPush(t, opts), postToken(securityToken(sender, nil, nil)))
			checkHeader(t, w)
			if diff := cmp.Diff(tt.want, spellAll(store.entries)); diff != "" || w.Code != tt.status || w.Body.Len() > 0 {
				t.Errorf("%d %q, entries (-want +got):\n%s", w.Code, w.Body, diff)
			}
		})
	}
}

// What Entries is told about an event.
func TestPush_securityEvent(t *testing.T) {
	full := raw(`{"format":"complex","session":{"format":"opaque","id":"s"},"tenant":{"format":"opaque","id":"t"},"user":{"email":"a@b","format":"email"}}`)
	for _, tt := range []struct {
		name    string
		subject any
		payload any
		want    logout.SecurityEvent
	}{
		{"complex", full, raw(` { "event_timestamp": 946684700 , "reason_admin": {"en":"x"} } `), logout.SecurityEvent{
			Time: time.Unix(946684700, 0), Payload: raw(`{"event_timestamp":946684700,"reason_admin":{"en":"x"}}`),
			Subject: logout.Subject{Format: "complex", JSON: full,
				User:    &logout.Subject{Format: "email", Email: "a@b", JSON: raw(`{"email":"a@b","format":"email"}`)},
				Session: &logout.Subject{Format: "opaque", ID: "s", JSON: raw(`{"format":"opaque","id":"s"}`)}},
		}},
		{"iss_sub", raw(`{"format":"iss_sub","iss":"https://issuer.test","sub":"a"}`), object{}, logout.SecurityEvent{
			Time: time.Unix(bubbleStart, 0), Payload: raw(`{}`),
			Subject: logout.Subject{Format: "iss_sub", Issuer: senderName, Subject: "a", JSON: raw(`{"format":"iss_sub","iss":"https://issuer.test","sub":"a"}`)},
		}},
		{"an unknown format", raw(`{"format":"x","y":1}`), object{}, logout.SecurityEvent{
			Time: time.Unix(bubbleStart, 0), Payload: raw(`{}`), Subject: logout.Subject{Format: "x", JSON: raw(`{"format":"x","y":1}`)},
		}},
		{"no subject", nil, object{}, logout.SecurityEvent{Time: time.Unix(bubbleStart, 0), Payload: raw(`{}`)}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			sender := jwthttptest.New(t, "ES256")
			opts := logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}
			var got []logout.SecurityEvent
			opts.Entries = func(_ context.Context, e logout.SecurityEvent) ([]revocation.Entry, error) {
				got = append(got, e)
				return nil, nil
			}
			checkPush(t, mustPush(t, opts), postToken(securityToken(sender, nil, object{"sub_id": tt.subject, "events": object{sessionRevoked: tt.payload}})), "")
			tt.want.Issuer, tt.want.ID, tt.want.Type = senderName, "id-1", sessionRevoked
			if diff := cmp.Diff([]logout.SecurityEvent{tt.want}, got, cmpopts.IgnoreUnexported(logout.SecurityEvent{}, logout.Subject{})); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// A sender delivers again what is not acknowledged. Rule 70.
func TestPush_failures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*logout.PushOptions)
		is     error
	}{
		{"the store is out of reach", func(o *logout.PushOptions) { o.Revoke = (&recorder{failAt: 1, err: errStore}).Revoke }, errStore},
		{"the store panics", func(o *logout.PushOptions) {
			o.Revoke = func(context.Context, revocation.Entry) error { panic("x") }
		}, nil},
		{"Entries panics", func(o *logout.PushOptions) {
			o.Entries = func(context.Context, logout.SecurityEvent) ([]revocation.Entry, error) { panic("x") }
		}, nil},
		{"TokenIssuer panics", func(o *logout.PushOptions) { o.TokenIssuer = func(string) []string { panic("x") } }, nil},
		{"the keys are out of reach", func(o *logout.PushOptions) { o.Issuers[0].Keys = noKeys }, jwthttp.ErrKeysUnavailable},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			sender := jwthttptest.New(t, "ES256")
			var event logout.Event
			opts := logout.PushOptions{Options: newOptions(sender, (&recorder{}).Revoke)}
			opts.Observer = func(_ context.Context, e logout.Event) { event = e }
			tt.change(&opts)
			w := serve(mustPush(t, opts), postToken(securityToken(sender, nil, nil)))
			checkHeader(t, w)
			if w.Code != 503 || strings.Contains(w.Body.String(), "secret") || event.Err == nil || tt.is != nil && !errors.Is(event.Err, tt.is) {
				t.Errorf("%d %q, event %v", w.Code, w.Body, event)
			}
		})
	}
}

// The same token again does no harm.
func TestPush_again(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var list revocation.List
		sender := jwthttptest.New(t, "ES256")
		h := mustPush(t, logout.PushOptions{Options: newOptions(sender, list.Revoke)})
		token := securityToken(sender, nil, nil)
		for range 3 {
			checkPush(t, h, postToken(token), "")
			time.Sleep(time.Minute)
		}
		if list.Len() != 1 {
			t.Errorf("%d entries", list.Len())
		}
		api := newAPI(t, sender, list.Revoked)
		if isRevoked(t, api, sender.Token(nil)) {
			t.Error("a later token is revoked")
		}
	})
}
