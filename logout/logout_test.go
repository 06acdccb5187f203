package logout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Rule 72.
func TestNew_invalid(t *testing.T) {
	const wantLifetime = `want the longest lifetime of an access token, at most 87600h0m0s`
	for _, tt := range []struct {
		name   string
		change func(*logout.Options)
		want   string
	}{
		{"no Issuers", func(o *logout.Options) { o.Issuers = nil }, `logout: Issuers: want at least one sender`},
		{"Audience Any", func(o *logout.Options) { o.Issuers[0].Audience = []string{jwthttp.Any} },
			`logout: Issuers[0].Audience: "*": want the client ID that the sender knows this program by`},
		{"no Audience", func(o *logout.Options) { o.Issuers[0].Audience = nil },
			`jwthttp: Issuers[0].Audience: want the names of this service, or Any alone`},
		{"Name Any", func(o *logout.Options) { o.Issuers[0].Name = jwthttp.Any }, `logout: Issuers[0].Name: "*": want the exact name of a sender`},
		{"Types", func(o *logout.Options) { o.Issuers[0].Types = []string{"logout+jwt"} }, `logout: Issuers[0].Types: must be nil`},
		{"empty Types", func(o *logout.Options) { o.Issuers[0].Types = []string{} }, `logout: Issuers[0].Types: must be nil`},
		{"no Keys", func(o *logout.Options) { o.Issuers[0].Keys = nil }, `jwthttp: Issuers[0].Keys: want a KeySource`},
		{"no Revoke", func(o *logout.Options) { o.Revoke = nil }, `logout: Revoke: want the method of a revocation.Store`},
		{"no TokenLifetime", func(o *logout.Options) { o.TokenLifetime = 0 }, `logout: TokenLifetime: "0s": ` + wantLifetime},
		{"a negative TokenLifetime", func(o *logout.Options) { o.TokenLifetime = -1 }, `logout: TokenLifetime: "-1ns": ` + wantLifetime},
		{"a huge TokenLifetime", func(o *logout.Options) { o.TokenLifetime = 10*365*24*time.Hour + 1 }, `logout: TokenLifetime: "87600h0m0.000000001s": ` + wantLifetime},
		{"a huge Leeway", func(o *logout.Options) { o.Leeway = 5*time.Minute + 1 }, `jwthttp: Leeway: "5m0.000000001s": want 0 to 5m0s`},
		{"several", func(o *logout.Options) { o.Revoke, o.TokenLifetime = nil, 0 },
			"logout: Revoke: want the method of a revocation.Store\nlogout: TokenLifetime: \"0s\": " + wantLifetime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := newOptions(jwthttptest.New(t, "ES256"), (&recorder{}).Revoke)
			tt.change(&opts)
			h, err := logout.BackChannel(opts)
			p, pushErr := logout.Push(logout.PushOptions{Options: opts})
			if h != nil || p != nil || err == nil || pushErr == nil {
				t.Fatalf("errors %v, %v", err, pushErr)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" || pushErr.Error() != err.Error() {
				t.Errorf("error (-want +got):\n%s\nof Push: %v", diff, pushErr)
			}
		})
	}
	for _, authorization := range []string{" x", "x ", "x\n", "\x00", "ä"} {
		opts := logout.PushOptions{Options: newOptions(jwthttptest.New(t, "ES256"), (&recorder{}).Revoke), Authorization: authorization}
		const want = "logout: Authorization: want a value that a header field can have"
		if h, err := logout.Push(opts); h != nil || err == nil || err.Error() != want {
			t.Errorf("%q: error %v", authorization, err)
		}
	}
}

// The limits are allowed, and the caller's options stay what they are.
func TestNew_valid(t *testing.T) {
	opts := newOptions(jwthttptest.New(t, "ES256"), (&recorder{}).Revoke)
	opts.TokenLifetime, opts.Leeway = 10*365*24*time.Hour, 5*time.Minute
	if _, err := logout.BackChannel(opts); err != nil {
		t.Error(err)
	}
	if _, err := logout.Push(logout.PushOptions{Options: opts, Authorization: "Bearer ~!"}); err != nil {
		t.Error(err)
	}
	if iss := opts.Issuers[0]; iss.Types != nil || iss.NoExpiry {
		t.Errorf("issuer %+v", iss)
	}
}

func TestDefaultEntries(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		e := logout.SecurityEvent{Issuer: "a", Type: sessionRevoked, Time: time.Unix(bubbleStart-60, 0)}
		e.Subject = logout.Subject{Format: "iss_sub", Issuer: "b", Subject: "alice"}
		if got := spellAll(logout.DefaultEntries(e)); got != "subject alice of b -1m0s -" {
			t.Error(got)
		}
		e.Subject = logout.Subject{Format: "complex", User: &e.Subject, Session: &logout.Subject{Format: "opaque", ID: "s"}}
		user := *e.Subject.User
		e.Subject.User = &logout.Subject{Format: "iss_sub", Issuer: "b", Subject: user.Subject}
		if got := spellAll(logout.DefaultEntries(e)); got != "session s of b 1m0s -" {
			t.Error(got)
		}
		e.Subject.User = nil
		if got := spellAll(logout.DefaultEntries(e)); got != "session s of a 1m0s -" {
			t.Error(got)
		}
		e.Type = "x"
		if got := logout.DefaultEntries(e); got != nil {
			t.Error(got)
		}
	})
}

// Printing shows neither a token nor a secret.
func TestEvent_printing(t *testing.T) {
	sender := jwthttptest.New(t, "ES256")
	token := logoutToken(sender, nil, nil)
	r := postForm(token)
	r.Header.Set("Authorization", "Bearer secret")
	e := logout.Event{Request: r, Sender: "a", ID: "b", Ended: make([]revocation.Entry, 2), Err: errors.New("c")}
	const want = `message "b" of "a": 2 revoked: c`
	text, err := json.Marshal(e)
	if err != nil || string(text) != `"message \"b\" of \"a\": 2 revoked: c"` {
		t.Errorf("%s (%v)", text, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(verb, e); got != want {
			t.Errorf("%s: %s", verb, got)
		}
	}
	var log strings.Builder
	plain := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	slog.New(slog.NewTextHandler(&log, plain)).Info("x", "event", e)
	e.Err = nil
	slog.New(slog.NewTextHandler(&log, plain)).Info("x", "event", e)
	const line = "level=INFO msg=x event.sender=a event.jti=b event.revoked=2"
	if log.String() != line+" event.error=c\n"+line+"\n" || e.String() != `message "b" of "a": 2 revoked` {
		t.Errorf("%s%s", log.String(), e)
	}
	opts := logout.PushOptions{Authorization: "Bearer secret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, opts); got != "PushOptions" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// Nothing of a message, nor of the store's error, reaches the sender, and the
// Observer's error does not have the token.
func TestReceivers_leaks(t *testing.T) {
	sender := jwthttptest.New(t, "ES256")
	opts := newOptions(sender, (&recorder{failAt: 1, err: errStore}).Revoke)
	var events []logout.Event
	opts.Observer = func(_ context.Context, e logout.Event) { events = append(events, e) }
	backChannel, push := mustBackChannel(t, opts), mustPush(t, logout.PushOptions{Options: opts, Authorization: ""})
	secret := object{"iss": "secret-iss", "sub": "secret-sub"}
	for _, tt := range []struct {
		h     http.Handler
		r     func(string) *http.Request
		token string
	}{
		{backChannel, postForm, logoutToken(sender, nil, nil)},
		{backChannel, postForm, logoutToken(sender, nil, secret)},
		{backChannel, postForm, logoutToken(sender, object{"kid": "secret-kid"}, nil)},
		{push, postToken, securityToken(sender, nil, nil)},
		{push, postToken, securityToken(sender, nil, secret)},
		{push, postToken, securityToken(sender, nil, object{"sub_id": issSub("secret-iss")})},
		{push, postToken, securityToken(sender, nil, object{"events": object{"secret-type": 1}})},
	} {
		w := serve(tt.h, tt.r(tt.token))
		last := events[len(events)-1]
		if w.Code < 400 || strings.Contains(w.Body.String(), "secret") || strings.Contains(last.String(), tt.token) || last.Err == nil {
			t.Errorf("%d %q, event %v", w.Code, w.Body, last)
		}
	}
}

// A panic of Revoke or the Observer in one request leaves the others alone.
func TestReceivers_panics(t *testing.T) {
	sender := jwthttptest.New(t, "ES256")
	var list revocation.List
	opts := newOptions(sender, func(ctx context.Context, e revocation.Entry) error {
		if e.Value == "panic" {
			panic("Revoke")
		}
		return list.Revoke(ctx, e)
	})
	opts.Observer = func(_ context.Context, e logout.Event) {
		if e.ID == "panic" {
			panic(http.ErrAbortHandler)
		}
	}
	server := httptest.NewServer(mustBackChannel(t, opts))
	defer server.Close()
	for _, tt := range []struct {
		name    string
		changes object
		code    int // 0: the connection is closed
	}{
		{"good", nil, 200},
		{"Revoke panics", object{"sid": "panic"}, 400},
		{"the Observer panics", object{"jti": "panic", "sid": "session-2"}, 0},
		{"good again", object{"sid": "session-3"}, 200},
	} {
		r := postForm(logoutToken(sender, nil, tt.changes))
		response, err := http.Post(server.URL, r.Header.Get("Content-Type"), r.Body)
		code := 0
		if err == nil {
			code = response.StatusCode
			response.Body.Close()
		}
		if code != tt.code {
			t.Errorf("%s: %d (%v), want %d", tt.name, code, err, tt.code)
		}
	}
	if list.Len() != 3 {
		t.Errorf("%d entries", list.Len())
	}
}

// A flood of forged messages costs one fetch per MinInterval, and no memory.
func TestReceivers_flood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := jwthttptest.New(t, "ES256")
		keys, err := jwks.New(t.Context(), sender.KeySetURL(), jwks.Options{Client: sender.Client(), MinInterval: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		var list revocation.List
		opts := newOptions(sender, list.Revoke)
		opts.Issuers[0].Keys = keys
		backChannel, push := mustBackChannel(t, opts), mustPush(t, logout.PushOptions{Options: opts})
		forger := jwthttptest.New(t, "ES256") // of the same name
		var kids atomic.Int64
		flood := func(n int) {
			form, set := logoutToken(forger, nil, nil), securityToken(forger, nil, nil)
			for range n {
				header := object{"typ": "logout+jwt", "kid": fmt.Sprint(kids.Add(1)), "alg": "ES256"}
				if w := serve(backChannel, postForm(withHeader(t, header, form))); w.Code != 400 {
					t.Fatalf("%d %q", w.Code, w.Body)
				}
				header["typ"] = "secevent+jwt"
				if w := serve(push, postToken(withHeader(t, header, set))); w.Code != 400 {
					t.Fatalf("%d %q", w.Code, w.Body)
				}
			}
		}
		flood(100)
		synctest.Wait()
		fetches, before := sender.Fetches(), heap()
		const intervals, perInterval = 5, 300
		for range intervals {
			time.Sleep(10 * time.Second)
			flood(perInterval)
			synctest.Wait()
		}
		grown := int64(heap()) - int64(before)
		t.Logf("%d forged messages: %d fetches in %d intervals, heap %+d KiB", 2*intervals*perInterval, sender.Fetches()-fetches, intervals, grown>>10)
		if got := sender.Fetches() - fetches; got < 1 || got > intervals+1 {
			t.Errorf("%d fetches", got)
		}
		if grown > 4<<20 || list.Len() > 0 {
			t.Errorf("the heap has grown by %d bytes, %d entries", grown, list.Len())
		}
	})
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// withHeader replaces the header of a token and leaves its signature.
func withHeader(t *testing.T, header object, token string) string {
	t.Helper()
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(token, ".")
	return encode(string(text)) + "." + rest
}

// replica is the store of a second machine, which learns of an entry after delay.
type replica struct {
	revocation.List
	delay time.Duration
}

// A logout ends a cached token, a watched stream and a token on another machine.
// The store of this test stands in for one that machines share; its delay is the
// Poll of sqlrevocation. Rule 71.
func TestReceivers_delay(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(tb testing.TB, sender *jwthttptest.Issuer, opts logout.Options) *httptest.ResponseRecorder
	}{
		{"BackChannel", func(tb testing.TB, sender *jwthttptest.Issuer, opts logout.Options) *httptest.ResponseRecorder {
			return serve(mustBackChannel(tb, opts), postForm(logoutToken(sender, nil, nil)))
		}},
		{"Push", func(tb testing.TB, sender *jwthttptest.Issuer, opts logout.Options) *httptest.ResponseRecorder {
			return serve(mustPush(tb, logout.PushOptions{Options: opts}), postToken(securityToken(sender, nil, nil)))
		}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			const poll, watch = time.Second, 10 * time.Second
			sender := jwthttptest.New(t, "ES256")
			here, there := &revocation.List{}, &replica{delay: poll}
			opts := newOptions(sender, func(ctx context.Context, e revocation.Entry) error {
				time.AfterFunc(there.delay, func() { _ = there.Revoke(ctx, e) })
				return here.Revoke(ctx, e)
			})
			token := sender.Token(object{"sid": "session-1"})
			api, api2 := newAPI(t, sender, here.Revoked), newAPI(t, sender, there.Revoked)
			if isRevoked(t, api, token) || isRevoked(t, api2, token) {
				t.Fatal("revoked before the logout")
			}
			stream, err := api.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			stream, cancel := api.Watch(stream, watch)
			defer cancel()
			start := time.Now()
			if w := tt.send(t, sender, opts); w.Code >= 300 {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
			if !isRevoked(t, api, token) {
				t.Error("a cached token is not revoked when the answer comes")
			}
			cached := time.Since(start)
			for !isRevoked(t, api2, token) && time.Since(start) < time.Minute {
				time.Sleep(50 * time.Millisecond)
			}
			elsewhere := time.Since(start)
			<-stream.Done()
			watched := time.Since(start)
			t.Logf("ended after: cached token %v, another machine %v (delay %v), watched stream %v (interval %v)", cached, elsewhere, poll, watched, watch)
			if cached != 0 || elsewhere > poll+50*time.Millisecond || watched > watch || !errors.Is(context.Cause(stream), jwthttp.ErrRevoked) {
				t.Errorf("cached %v, elsewhere %v, watched %v: %v", cached, elsewhere, watched, context.Cause(stream))
			}
		})
	}
}
