package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/revocation"
)

const hour = time.Hour

// running is a running site whose clock ticks fast.
type running struct {
	*testing.T
	*site
	url  string
	ctx  context.Context // with a deadline for the test
	stop func()          // shuts the site down
}

func start(t *testing.T, lifetime, every time.Duration) *running {
	t.Helper()
	return startWithClock(t, lifetime, every, 20*time.Millisecond)
}

func startWithClock(t *testing.T, lifetime, every, tick time.Duration) *running {
	t.Helper()
	closing, stop := context.WithCancel(context.Background())
	s, err := newSite(closing, demo.NewFastUsers(), lifetime, every, tick)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Streams must set a longer deadline. A login has the time that it
		// needs on a slow machine.
		if r.URL.Path == "/events" || r.URL.Path == "/socket" {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		}
		s.handler.ServeHTTP(w, r)
	}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 10*time.Second, 10*time.Second
	server.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(func() {
		stop()
		cancel()
		s.streams.Wait()
		server.Close()
	})
	return &running{t, s, server.URL, ctx, stop}
}

// do sends a request; header is name and value in turn.
func (r *running) do(method, path string, body io.Reader, header ...string) *http.Response {
	r.Helper()
	req, err := http.NewRequestWithContext(r.ctx, method, r.url+path, body)
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	return resp
}

// login returns the value of a Cookie field.
func (r *running) login(name string) string {
	r.Helper()
	form := url.Values{"username": {name}, "password": {map[string]string{demo.Alice: demo.AlicePassword, demo.Ada: demo.AdaPassword}[name]}}
	resp := r.do("POST", "/login", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusNoContent || len(cookies) != 1 || !cookies[0].HttpOnly || !cookies[0].Secure || cookies[0].SameSite != http.SameSiteStrictMode {
		r.Fatalf("login: %d, %v", resp.StatusCode, cookies)
	}
	return cookies[0].Name + "=" + cookies[0].Value
}

func (r *running) newTicket(cookie string) string {
	r.Helper()
	var answer struct{ Ticket string }
	if err := json.NewDecoder(r.do("POST", "/ticket", nil, "Cookie", cookie).Body).Decode(&answer); err != nil || answer.Ticket == "" {
		r.Fatalf("ticket: %v", err)
	}
	return answer.Ticket
}

func (r *running) logout(path, cookie string) {
	r.Helper()
	if resp := r.do("POST", path, nil, "Cookie", cookie); resp.StatusCode != http.StatusNoContent {
		r.Fatalf("%s: %d", path, resp.StatusCode)
	}
}

// client is one end of a stream.
type client interface {
	next() (message string, err error)
	hangUp()
}

// ended is how a stream has ended.
type ended string

func (e ended) Error() string { return string(e) }

type socketClient struct {
	*websocket.Conn
	ctx context.Context
}

func (c socketClient) next() (string, error) {
	_, text, err := c.Read(c.ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		err = ended(fmt.Sprint(int(closed.Code), " ", closed.Reason))
	}
	return string(text), err
}

func (c socketClient) hangUp() { _ = c.CloseNow() }

type eventsClient struct {
	*bufio.Scanner
	body io.Closer
}

func (c eventsClient) next() (string, error) {
	event := "message"
	for c.Scan() {
		name, value, _ := strings.Cut(c.Text(), ": ")
		switch {
		case name == "event":
			event = value
		case name == "data" && event == "end":
			for c.Scan() {
				if c.Text() != "" {
					return "", fmt.Errorf("%q after the end", c.Text())
				}
			}
			if c.Err() != nil {
				return "", fmt.Errorf("after %q: %w", value, c.Err())
			}
			return "", ended("end " + value)
		case name == "data":
			return value, nil
		}
	}
	return "", fmt.Errorf("no end was said: %v", c.Err())
}

func (c eventsClient) hangUp() { _ = c.body.Close() }

// dial opens a WebSocket. The response is not nil even if it is a refusal.
func (r *running) dial(protocols []string, header ...string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return r.dialPath("/socket", protocols, h)
}

func (r *running) dialPath(path string, protocols []string, h http.Header) (*websocket.Conn, *http.Response, error) {
	conn, resp, err := websocket.Dial(r.ctx, r.url+path, &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: h})
	if conn != nil {
		r.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, resp, err
}

var ways = []string{"WebSocket by ticket", "WebSocket by cookie", "server-sent events by cookie", "WebSocket by first message"}

// open opens a stream, and waits for its first message.
func (r *running) open(way, cookie string) client {
	r.Helper()
	heard := make(chan struct{})
	defer close(heard)
	go r.sayUntil(heard)
	var c client
	switch way {
	case ways[2]:
		resp := r.do("GET", "/events", nil, "Cookie", cookie)
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
			r.Fatalf("%s: %d %s", way, resp.StatusCode, got)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		c = eventsClient{lines, resp.Body}
	case ways[3]:
		conn, _, err := r.dialPath("/socket/message", []string{protocol}, nil)
		if err == nil {
			err = conn.Write(r.ctx, websocket.MessageText, []byte(r.newTicket(cookie)))
		}
		if err != nil {
			r.Fatalf("%s: %v", way, err)
		}
		c = socketClient{conn, r.ctx}
	default:
		protocols, header := []string{protocol}, []string{"Cookie", cookie}
		if way == ways[0] {
			protocols, header = []string{protocol, ticketPrefix + r.newTicket(cookie)}, nil
		}
		conn, _, err := r.dial(protocols, header...)
		if err != nil {
			r.Fatalf("%s: %v", way, err)
		}
		c = socketClient{conn, r.ctx}
	}
	if message, err := c.next(); err != nil || !strings.Contains(message, `"clock"`) {
		r.Fatalf("%s: %q, %v", way, message, err)
	}
	return c
}

// sayUntil sends messages until one is heard.
func (r *running) sayUntil(heard <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-heard:
			return
		case <-tick.C:
			r.room.say("clock", "")
		}
	}
}

// rest reads until the end of a stream, and returns it.
func rest(c client) string {
	for {
		if _, err := c.next(); err != nil {
			return err.Error()
		}
	}
}

// wantEnd is the end that a client should see.
func wantEnd(way, code, reason string) string {
	if way == ways[2] {
		return "end " + reason
	}
	return code + " " + reason
}

func TestStream_end(t *testing.T) {
	for _, tt := range []struct {
		name            string
		lifetime, every time.Duration
		event           func(r *running, cookie string)
		code, reason    string
	}{
		{"the token expires, between two checks", 4 * time.Second, hour, func(*running, string) {}, "1008", "expired"},
		{"the session logs out", hour, 100 * time.Millisecond, func(r *running, cookie string) { r.logout("/logout", cookie) }, "1008", "revoked"},
		{"the user logs out everywhere, on another device", hour, 100 * time.Millisecond, func(r *running, _ string) {
			r.logout("/logout/everywhere", r.login("alice"))
		}, "1008", "revoked"},
		{"the server shuts down", hour, hour, func(r *running, _ string) { r.stop() }, "1001", "shutdown"},
	} {
		for _, way := range ways {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				t.Parallel()
				r := start(t, tt.lifetime, tt.every)
				cookie := r.login("alice")
				var clients []client
				for range 5 { // a race often has the right result
					clients = append(clients, r.open(way, cookie))
				}
				opened := time.Now()
				tt.event(r, cookie)
				for _, c := range clients {
					if got, want := rest(c), wantEnd(way, tt.code, tt.reason); got != want {
						t.Errorf("it ended with %q, want %q", got, want)
					}
				}
				if took := time.Since(opened); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// An entry is kept until all tokens of its session have expired.
func TestLogout_lifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := newSite(ctx, demo.NewFastUsers(), hour, hour, hour)
		if err != nil {
			t.Fatal(err)
		}
		c := claimsFor(audience, hour)
		c.IssuedAt = jwt.NewNumericDate(time.Now())
		token, err := s.sign(c)
		if err != nil {
			t.Fatal(err)
		}
		post := func(path string) int {
			req := httptest.NewRequest("POST", path, nil)
			req.Header.Set("Cookie", cookieName+"="+token)
			answer := httptest.NewRecorder()
			s.handler.ServeHTTP(answer, req)
			return answer.Code
		}
		if got := post("/ticket"); got != http.StatusOK {
			t.Fatalf("before the sign-out: %d", got)
		}
		if got := post("/logout"); got != http.StatusNoContent {
			t.Fatalf("the sign-out: %d", got)
		}
		time.Sleep(hour - time.Second)
		// Revoke also removes expired entries.
		if err := s.revoked.Revoke(t.Context(), revocation.Entry{Kind: revocation.BySession, Issuer: issuer, Value: "another", IssuedUntil: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if got := post("/ticket"); got != http.StatusUnauthorized {
			t.Errorf("in the last second of the token: %d", got)
		}
	})
}

// Neither another session's logout nor the server's timeouts end a stream.
func TestStream_continues(t *testing.T) {
	r := start(t, hour, 50*time.Millisecond)
	cookie, otherDevice := r.login("ada"), r.login("ada")
	clients := map[string]client{}
	for _, way := range ways {
		clients[way] = r.open(way, cookie)
	}
	r.logout("/logout", otherDevice)
	r.logout("/logout/everywhere", r.login("alice"))
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		for way, c := range clients {
			if _, err := c.next(); err != nil {
				t.Fatalf("%s: %v", way, err)
			}
		}
	}
}

func TestSite_requests(t *testing.T) {
	r := start(t, hour, hour)
	cookie := r.login("alice")
	ticket := ticketPrefix + r.newTicket(cookie)
	forged, err := (&site{secret: bytes.Repeat([]byte("x"), 32)}).sign(claimsFor(socketAudience, hour))
	expired, err2 := r.sign(claimsFor(socketAudience, -hour))
	foreign, err3 := r.sign(claimsFor("https://other.example", hour))
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	with := func(tokens ...string) []string { return append([]string{protocol}, tokens...) }
	const evil = "https://evil.example"
	upgrade := func(protocols []string, header ...string) func() *http.Response {
		return func() *http.Response { _, resp, _ := r.dial(protocols, header...); return resp }
	}
	request := func(method, path string, header ...string) func() *http.Response {
		return func() *http.Response { return r.do(method, path, nil, header...) }
	}
	login := func(name, password string) func() *http.Response {
		return func() *http.Response {
			return r.do("POST", "/login", strings.NewReader("username="+name+"&password="+password), "Content-Type", "application/x-www-form-urlencoded")
		}
	}
	for _, tt := range []struct {
		name   string
		ask    func() *http.Response
		status int
		says   string
	}{
		{"a WebSocket without a token", upgrade(with()), 401, "missing"},
		{"a WebSocket with a ticket", upgrade(with(ticket)), 101, ""},
		{"a WebSocket with a ticket offered first", upgrade([]string{ticket, protocol}), 101, ""},
		{"a WebSocket with a forged ticket", upgrade(with(ticketPrefix + forged)), 401, "signature"},
		{"a forged ticket and a good cookie", upgrade(with(ticketPrefix+forged), "Cookie", cookie), 401, "signature"},
		{"a WebSocket with an expired ticket", upgrade(with(ticketPrefix + expired)), 401, "expired"},
		{"a WebSocket with a token for another service", upgrade(with(ticketPrefix + foreign)), 401, "another audience"},
		{"a WebSocket with two tickets", upgrade(with(ticket, ticket)), 400, "invalid_request"},
		{"a WebSocket with an empty ticket", upgrade(with(ticketPrefix)), 400, "invalid_request"},
		{"a WebSocket with the cookie, from a program", upgrade(with(), "Cookie", cookie), 101, ""},
		{"a WebSocket with the cookie, from our page", upgrade(with(), "Cookie", cookie, "Origin", r.url), 101, ""},
		{"a WebSocket with the cookie, from another site", upgrade(with(), "Cookie", cookie, "Origin", evil), 403, "cross_origin"},
		{"the same, with Sec-Fetch-Site only", upgrade(with(), "Cookie", cookie, "Sec-Fetch-Site", "cross-site"), 403, "cross_origin"},
		{"a WebSocket with a ticket, from our page", upgrade(with(ticket), "Origin", r.url, "Sec-Fetch-Site", "same-origin"), 101, ""},
		{"a WebSocket with a ticket, from another site", upgrade(with(ticket), "Origin", evil), 403, "not authorized for Host"},
		{"events without a token", request("GET", "/events"), 401, "missing"},
		{"events with the cookie", request("GET", "/events", "Cookie", cookie), 200, ""},
		{"events with the cookie, from another site", request("GET", "/events", "Cookie", cookie, "Origin", evil), 200, ""},
		{"events with a forged cookie", request("GET", "/events", "Cookie", cookieName+"="+forged), 401, "audience"},
		{"events with a ticket in the cookie", request("GET", "/events", "Cookie", cookieName+"="+strings.TrimPrefix(ticket, ticketPrefix)), 401, "audience"},
		{"a ticket requested with a ticket", request("POST", "/ticket", "Cookie", cookieName+"="+strings.TrimPrefix(ticket, ticketPrefix)), 401, "audience"},
		{"events with an altered cookie", request("GET", "/events", "Cookie", cookie+"A"), 401, "signature"},
		{"a ticket without a token", request("POST", "/ticket"), 401, "missing"},
		{"a ticket with the cookie, from another site", request("POST", "/ticket", "Cookie", cookie, "Origin", evil), 403, "cross_origin"},
		{"a logout with the cookie, from another site", request("POST", "/logout", "Cookie", cookie, "Origin", evil), 403, "cross_origin"},
		{"a login with a wrong password", login("alice", "x"), 401, "wrong name or password"},
		{"a login whose form is too long to read", login("alice", demo.AlicePassword+"&padding="+strings.Repeat("x", 4<<10)), 401, "wrong name or password"},
		{"a login of an unknown user", login("mallory", demo.AlicePassword), 401, "wrong name or password"},
		{"a login with the password in the URL", request("POST", "/login?username=alice&password="+demo.AlicePassword), 401, "wrong name or password"},
		{"a login by another site", request("POST", "/login?username=alice&password="+demo.AlicePassword, "Origin", evil), 403, "cross-origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := tt.ask()
			if resp == nil {
				t.Fatal("no answer")
			}
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("other sites may read it: %q", got)
			}
			if tt.status < 300 {
				if got := resp.Header.Values("Sec-WebSocket-Protocol"); tt.status == 101 && (len(got) != 1 || got[0] != protocol) {
					t.Errorf("it chose %q", got)
				}
				return
			}
			if body, err := io.ReadAll(resp.Body); !strings.Contains(string(body), tt.says) {
				t.Errorf("%q, %v; want %q", body, err, tt.says)
			}
		})
	}
}

func TestSocketByMessage(t *testing.T) {
	r := start(t, hour, hour)
	cookie := r.login("alice")
	expired, err := r.sign(claimsFor(socketAudience, -hour))
	foreign, err2 := r.sign(claimsFor("https://other.example", hour))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, message, end string }{
		{"an expired ticket", expired, "1008 expired"},
		{"a ticket for another service", foreign, "1008 audience"},
		{"no token", "hello", "1008 malformed"},
		{"an empty message", "", "1008 missing"},
		{"text that cannot be a token", "a b", "1008 malformed"},
		{"a revoked ticket", r.revokedTicket(), "1008 revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The cookie must not count.
			conn, _, err := r.dialPath("/socket/message", []string{protocol}, http.Header{"Cookie": {cookie}})
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Write(r.ctx, websocket.MessageText, []byte(tt.message)); err != nil {
				t.Fatal(err)
			}
			if got := rest(socketClient{conn, r.ctx}); got != tt.end {
				t.Errorf("it ended with %q, want %q", got, tt.end)
			}
		})
	}
	for _, tt := range []struct {
		name, origin string
		status       int
	}{
		{"our page", r.url, 101},
		{"another site", "https://evil.example", 403},
	} {
		if _, resp, _ := r.dialPath("/socket/message", []string{protocol}, http.Header{"Origin": {tt.origin}}); resp == nil || resp.StatusCode != tt.status {
			t.Errorf("%s: %v, want %d", tt.name, resp, tt.status)
		}
	}
}

func (r *running) revokedTicket() string {
	r.Helper()
	cookie := r.login("ada")
	ticket := r.newTicket(cookie)
	r.logout("/logout", cookie)
	return ticket
}

func claimsFor(audience string, left time.Duration) claims {
	return claims{SessionID: "s", RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Subject: "alice", Audience: jwt.ClaimStrings{audience}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(left)),
	}}
}

// A client that offers the token alone must not be answered with it.
func TestSocket_selectedProtocol(t *testing.T) {
	r := start(t, hour, hour)
	conn, resp, err := r.dial([]string{ticketPrefix + r.newTicket(r.login("alice"))})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := resp.Header["Sec-Websocket-Protocol"]; ok {
		t.Errorf("it chose %q", got)
	}
	if got := rest(socketClient{conn, r.ctx}); got != "1008 protocol" {
		t.Errorf("it ended with %q", got)
	}
}

// A logout must revoke the ticket with the token of the cookie, so "sid", "iat" and
// "exp" are equal.
func TestTicket_claims(t *testing.T) {
	r := start(t, hour, hour)
	cookie := r.login("alice")
	var was, is claims
	for token, c := range map[string]*claims{strings.TrimPrefix(cookie, cookieName+"="): &was, r.newTicket(cookie): &is} {
		if _, _, err := jwt.NewParser().ParseUnverified(token, c); err != nil {
			t.Fatal(err)
		}
	}
	was.Audience = jwt.ClaimStrings{socketAudience}
	if !reflect.DeepEqual(was, is) || is.IssuedAt == nil {
		t.Errorf("the ticket says %+v, want %+v", is, was)
	}
}

func TestRoom_allStreams(t *testing.T) {
	r := start(t, hour, hour)
	speaker := r.open(ways[0], r.login("alice")).(socketClient)
	const want = `{"from":"alice","text":"hello\n\nevent: end\ndata: revoked\n\n"}`
	for _, way := range ways {
		c := r.open(way, r.login("ada"))
		// Its line breaks would make an event of their own.
		if err := speaker.Write(r.ctx, websocket.MessageText, []byte("hello\n\nevent: end\ndata: revoked\n\n")); err != nil {
			t.Fatal(err)
		}
		hears(t, way, c, want)
	}
}

// hears reads until what is wanted was said.
func hears(t *testing.T, who string, c client, want string) {
	t.Helper()
	for {
		got, err := c.next()
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if got == want {
			return
		}
	}
}

// rawSocket opens a WebSocket without a library, which would answer a close frame.
func (r *running) rawSocket(ticket string) (net.Conn, *bufio.Reader) {
	r.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	deadline, _ := r.ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s, %s%s\r\n\r\n", conn.RemoteAddr(), protocol, ticketPrefix, ticket)
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		r.Fatalf("%v, %v", resp, err)
	}
	return conn, in
}

// speak sends a short text frame, masked with zeros (RFC 6455 §5.2).
func speak(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := to.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)); err != nil {
		t.Fatal(err)
	}
}

func TestSocket_messagesAfterLogout(t *testing.T) {
	r := start(t, hour, 50*time.Millisecond)
	cookie := r.login("alice")
	conn, in := r.rawSocket(r.newTicket(cookie))
	witness := r.open(ways[2], r.login("ada"))
	speak(t, conn, "before")
	hears(t, "the witness", witness, `{"from":"alice","text":"before"}`)
	r.logout("/logout", cookie)
	if _, err := closeFrame(in); err != nil { // closed, as far as the server is concerned
		t.Fatal(err)
	}
	speak(t, conn, "after")
	closed := time.Now()
	cut := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, in); cut <- err }()
	for {
		message, err := witness.next()
		if err != nil || strings.Contains(message, "after") {
			t.Fatalf("the witness hears %s, %v", message, err)
		}
		select {
		case <-cut: // though it never answered the close frame
			if took := time.Since(closed); took > 8*time.Second {
				t.Errorf("it stayed connected for %v", took)
			}
			return
		default:
		}
	}
}

// A client may send a message before it gets the close frame.
func TestListen_end(t *testing.T) {
	r := start(t, hour, hour)
	witness := r.open(ways[2], r.login("ada"))
	ctx, end := context.WithCancel(jwthttp.ContextWithClaims(t.Context(), claimsFor(socketAudience, hour)))
	end()
	returned := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer close(returned)
		conn, err := websocket.Accept(w, req, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		r.listen(ctx, r.ctx, conn)
	}))
	defer server.Close()
	conn, _, err := websocket.Dial(r.ctx, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(r.ctx, websocket.MessageText, []byte("after")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
	<-returned
	r.room.say("the test", "over")
	for {
		message, err := witness.next()
		if err != nil || strings.Contains(message, "after") {
			t.Fatalf("the witness hears %s, %v", message, err)
		}
		if strings.Contains(message, "over") {
			return
		}
	}
}

// The room is silent, so no write fails.
func TestStream_clientHangsUp(t *testing.T) {
	r := startWithClock(t, hour, hour, hour)
	cookie := r.login("alice")
	var clients []client
	for _, way := range append(ways, ways...) {
		clients = append(clients, r.open(way, cookie))
	}
	for _, c := range clients {
		c.hangUp()
	}
	done := make(chan struct{})
	go func() { r.streams.Wait(); close(done) }()
	select {
	case <-done:
	case <-r.ctx.Done():
		t.Fatal("a handler goes on")
	}
	if len(r.room.members) > 0 {
		t.Errorf("%d are still in the room", len(r.room.members))
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		left := regexp.MustCompile(`jwthttp\.\(\*Middleware\)\.watch|main\.\(\*site\)|websocket\.\(\*Conn\)`).FindString(stacks.String())
		if left == "" {
			return
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			t.Fatalf("%s goes on:\n%s", left, &stacks)
		}
	}
}

// A client that does not read makes its own stream wait, for writeTimeout, and no
// other one.
func TestRoom_slowClients(t *testing.T) {
	r := start(t, hour, hour)
	cookie := r.login("alice")
	r.open(ways[0], cookie)
	r.open(ways[2], cookie)
	quick := r.open(ways[2], cookie)
	members := func() int {
		r.room.mu.Lock()
		defer r.room.mu.Unlock()
		return len(r.room.members)
	}
	if members() != 3 {
		t.Fatalf("%d streams", members())
	}
	text := strings.Repeat("x", 64<<10)
	for n := 0; members() > 1; n++ {
		began := time.Now()
		r.room.say("flood", fmt.Sprint(n, text))
		if took := time.Since(began); took > time.Second {
			t.Fatalf("everyone waited for %v", took)
		}
		for {
			message, err := quick.next()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(message, fmt.Sprintf(`{"from":"flood","text":"%dx`, n)) {
				break
			}
		}
	}
}

func TestRoom_end(t *testing.T) {
	for range 50 { // each has an even chance to pass by luck
		r := &running{site: &site{}}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		heard := 0
		joined := make(chan struct{})
		go r.sayUntil(joined)
		for range r.room.hear(ctx) {
			if heard++; heard == 1 {
				close(joined)
				for range 16 { // fill the channel
					r.room.say("alice", "")
				}
				end()
			}
		}
		if heard != 1 {
			t.Fatalf("%d messages after the end", heard-1)
		}
	}
}

func TestClosing(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7: refused")
	for _, tt := range []struct {
		name   string
		cause  error
		code   websocket.StatusCode
		reason string
	}{
		{"a refusal", &jwthttp.Error{Status: 401, Reason: jwthttp.ReasonRevoked, Err: secret}, 1008, "revoked"},
		{"a failing store", &jwthttp.Error{Status: 503, Reason: jwthttp.ReasonRevocationUnavailable, Err: secret}, 1013, "revocation_unavailable"},
		{"a shutdown", errShutdown, 1001, "shutdown"},
		{"the client is gone", context.Canceled, 1000, ""},
		{"a panic in a hook", secret, 1011, "internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, reason := closing(tt.cause); code != tt.code || reason != tt.reason {
				t.Errorf("%d %q, want %d %q", code, reason, tt.code, tt.reason)
			}
		})
	}
}

func TestNewSite_invalidFlags(t *testing.T) {
	for _, tt := range []struct{ lifetime, every time.Duration }{{time.Second, hour}, {hour, 0}, {hour, -hour}} {
		if _, err := newSite(t.Context(), demo.NewFastUsers(), tt.lifetime, tt.every, time.Second); err == nil {
			t.Errorf("-lifetime %v -every %v is taken", tt.lifetime, tt.every)
		}
	}
}

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	if got := p.Status(t, "GET", "/events"); got != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got)
	}
	p.PasteLines(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := &running{T: t, url: p.URL, ctx: ctx}
	// Only a WebSocket is open, because Shutdown waits for events.
	conn, in := r.rawSocket(r.newTicket(r.login("ada")))
	ends := make(chan error, 1)
	go func() { ends <- endOf(conn, in) }()
	p.End(t)
	if err := <-ends; err != nil {
		t.Errorf("at the program's end: %v", err)
	}
}

// endOf reads until a shutdown ends a WebSocket. Then it does not answer for a
// while, in which the program must wait.
func endOf(conn net.Conn, in *bufio.Reader) error {
	defer conn.Close() // the program waits for it
	payload, err := closeFrame(in)
	if err != nil {
		return err
	}
	if want := "\x03\xe9shutdown"; payload != want { // 1001
		return fmt.Errorf("it was closed with %q, want %q", payload, want)
	}
	_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the program did not wait for the client: %v", err)
	}
	return nil
}

// closeFrame reads short frames that are not masked up to the one that closes.
func closeFrame(in *bufio.Reader) (payload string, err error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return "", err
		}
		text := make([]byte, head[1])
		if _, err := io.ReadFull(in, text); err != nil {
			return "", err
		}
		if head[0] == 0x88 {
			return string(text), nil
		}
	}
}
