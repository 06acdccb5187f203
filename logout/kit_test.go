package logout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	client      = "client-1"
	senderName  = "https://issuer.test"
	lifetime    = time.Hour
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

	// The clock of a synctest bubble starts at this second, 2000-01-01 00:00:00 UTC.
	bubbleStart = 946684800
)

type (
	object = map[string]any
	array  = []any
)

// bubble runs a subtest whose clock starts at bubbleStart.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// recorder is a store that keeps what it was given, and fails from the call with
// the number failAt on.
type recorder struct {
	entries []revocation.Entry
	failAt  int // 0: never
	err     error
}

func (s *recorder) Revoke(_ context.Context, e revocation.Entry) error {
	if s.failAt > 0 && len(s.entries)+1 >= s.failAt {
		return s.err
	}
	s.entries = append(s.entries, e)
	return nil
}

// spell writes an entry with its times since bubbleStart.
func spell(e revocation.Entry) string {
	times := ""
	for _, at := range []time.Time{e.IssuedUntil, e.Expires} {
		if at.IsZero() {
			times += " -"
		} else {
			times += " " + at.Sub(time.Unix(bubbleStart, 0)).String()
		}
	}
	return fmt.Sprintf("%v %s of %s%s", e.Kind, e.Value, e.Issuer, times)
}

func spellAll(entries []revocation.Entry) string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, spell(e))
	}
	return strings.Join(lines, "\n")
}

// trusted returns the sender as receivers accept it.
func trusted(sender *jwthttptest.Issuer) jwthttp.Issuer {
	iss := sender.Trusted()
	iss.Audience = []string{client}
	return iss
}

func newOptions(sender *jwthttptest.Issuer, revoke func(context.Context, revocation.Entry) error) logout.Options {
	return logout.Options{Issuers: []jwthttp.Issuer{trusted(sender)}, Revoke: revoke, TokenLifetime: lifetime}
}

func mustBackChannel(tb testing.TB, opts logout.Options) http.Handler {
	tb.Helper()
	h, err := logout.BackChannel(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func mustPush(tb testing.TB, opts logout.PushOptions) http.Handler {
	tb.Helper()
	h, err := logout.Push(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// changed returns members with some replaced or, if nil, left out.
func changed(members, changes object) object {
	all := maps.Clone(members)
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// replaced returns members with some replaced, also by nil.
func replaced(members, changes object) object {
	all := maps.Clone(members)
	maps.Copy(all, changes)
	return all
}

// logoutToken returns a logout token for a session, with claims changed. A nil
// removes a claim or header parameter.
func logoutToken(sender *jwthttptest.Issuer, header, changes object) string {
	now := time.Now().Unix()
	return sender.Sign(replaced(object{"typ": "logout+jwt"}, header), changed(object{
		"iss": sender.Name(), "aud": client, "iat": now, "exp": now + 120, "jti": "id-1",
		"sub": "alice", "sid": "session-1", "events": object{logoutEvent: object{}},
	}, changes))
}

// securityToken returns a security event token with one event, with claims
// changed.
func securityToken(sender *jwthttptest.Issuer, header, changes object) string {
	return sender.Sign(replaced(object{"typ": "secevent+jwt"}, header), changed(object{
		"iss": sender.Name(), "aud": client, "iat": time.Now().Unix(), "jti": "id-1",
		"sub_id": object{"format": "iss_sub", "iss": sender.Name(), "sub": "alice"},
		"events": object{sessionRevoked: object{}},
	}, changes))
}

func postForm(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/backchannel-logout", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func postToken(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// errStore is the error of a store that is out of reach. Its text must not reach
// a sender.
var errStore = errors.New("store-secret is out of reach")

// noKeys is a KeySource that is out of reach.
var noKeys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return nil, jwthttp.ErrKeysUnavailable })

// checkHeader checks the header fields that every answer has.
func checkHeader(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	want := http.Header{"Cache-Control": {"no-store"}}
	if w.Code >= 300 {
		want["Content-Type"], want["X-Content-Type-Options"] = []string{"application/json"}, []string{"nosniff"}
	}
	switch w.Code {
	case http.StatusMethodNotAllowed:
		want["Allow"] = []string{"POST"}
	case http.StatusServiceUnavailable:
		want["Retry-After"] = []string{"5"}
	}
	for name, values := range want {
		if !slices.Equal(w.Header()[name], values) {
			t.Errorf("%d: %s is %q, want %q", w.Code, name, w.Header()[name], values)
		}
	}
}

// raw is JSON as it is.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

// slowKeys is a KeySource that waits until the context ends.
type slowKeys struct{}

func (slowKeys) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	return func(*jwt.Token) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

// newAPI returns a Middleware with a cache that accepts the tokens of an issuer,
// unless they are revoked.
func newAPI(tb testing.TB, issuer *jwthttptest.Issuer, revoked jwthttp.RevokedFunc) *jwthttp.Middleware {
	tb.Helper()
	api, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}, Revoked: revoked, CacheSize: 10})
	if err != nil {
		tb.Fatal(err)
	}
	return api
}

// isRevoked reports whether a token that is good otherwise is revoked.
func isRevoked(tb testing.TB, api *jwthttp.Middleware, token string) bool {
	tb.Helper()
	_, err := api.Verify(tb.Context(), token)
	if err != nil && !errors.Is(err, jwthttp.ErrRevoked) {
		tb.Errorf("refused: %v", err)
	}
	return err != nil
}
