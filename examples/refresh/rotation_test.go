package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/revocation"
)

const grace = 10 * time.Second

// kit is a site with a clock that tests move, and a client of it.
type kit struct {
	*testing.T
	site    *site
	data    string
	begin   time.Time
	ahead   time.Duration // of the clock of refresh tokens, which stands still otherwise
	blocked string
	down    atomic.Bool // the store of revocations is out of reach
	log     exampletest.Buffer
	mu      sync.Mutex
	stop    func()
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{T: t, data: t.TempDir(), begin: time.Now()}
	k.start()
	t.Cleanup(func() {
		k.stop()
		if strings.Contains(k.log.String(), "eyJ") {
			t.Errorf("the log has a token:\n%s", k.log.String())
		}
	})
	return k
}

// newInstance returns a site on the files of this one.
func (k *kit) newInstance() (*site, func()) {
	k.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := newSite(ctx, config{
		url: "http://refresh.test", data: k.data, rotate: time.Hour, users: demo.NewFastUsers(), grace: grace,
		now:     func() time.Time { k.mu.Lock(); defer k.mu.Unlock(); return k.begin.Add(k.ahead) },
		blocked: func(subject string) bool { return subject == k.blocked },
		log:     slog.New(slog.NewTextHandler(&k.log, nil)),
	})
	if err != nil {
		cancel()
		k.Fatal(err)
	}
	store := s.revoke
	s.revoke = func(ctx context.Context, e revocation.Entry) error {
		if k.down.Load() {
			return errors.New("down")
		}
		return store(ctx, e)
	}
	return s, func() {
		cancel()
		if err := s.close(); err != nil {
			k.Error(err)
		}
	}
}

func (k *kit) start() {
	k.Helper()
	k.site, k.stop = k.newInstance()
}

// restart ends the program and starts it again.
func (k *kit) restart() {
	k.Helper()
	k.stop()
	k.start()
}

func (k *kit) wait(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ahead += d
}

// pair is an answer of the token endpoint.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
	status  int
	header  http.Header
	body    string
}

func (k *kit) post(ctx context.Context, s *site, path string, form url.Values) (p pair) {
	k.Helper()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			k.Errorf("%s: %v: %q", path, err, w.Body)
		}
	}
	p.status, p.header, p.body = w.Code, w.Header(), w.Body.String()
	if (p.status == 200) != (p.Error == "") || p.header.Get("Cache-Control") != "no-store" {
		k.Errorf("%s: %d %q, header %v", path, p.status, p.body, p.header)
	}
	return p
}

func (k *kit) login() pair {
	k.Helper()
	p := k.post(k.Context(), k.site, "/login", url.Values{"username": {demo.Alice}, "password": {demo.AlicePassword}, "client_id": {"cli"}})
	if p.status != 200 {
		k.Fatalf("login: %d %s", p.status, p.body)
	}
	return p
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {"cli"}, "refresh_token": {token}}
}

func (k *kit) refresh(token string) pair {
	k.Helper()
	return k.post(k.Context(), k.site, "/token", refreshForm(token))
}

// refreshed is refresh for a token that must be accepted.
func (k *kit) refreshed(token string) pair {
	k.Helper()
	p := k.refresh(token)
	if p.status != 200 || p.Refresh == "" || p.Access == "" {
		k.Fatalf("refresh: %d %s", p.status, p.body)
	}
	return p
}

// refused checks that a refresh token is refused.
func (k *kit) refused(name, token string) {
	k.Helper()
	if p := k.refresh(token); p.status != 400 || p.Error != "invalid_grant" || p.Access != "" || p.Refresh != "" {
		k.Errorf("%s: %d %s", name, p.status, p.body)
	}
}

// me checks whether an access token is accepted.
func (k *kit) me(name, access string, want int) {
	k.Helper()
	k.meAt(name, k.site, access, want)
}

func (k *kit) meAt(name string, s *site, access string, want int) {
	k.Helper()
	r := httptest.NewRequest(http.MethodGet, "/me", nil)
	r.Header.Set("Authorization", "Bearer "+access)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != want {
		k.Errorf("%s: %d, want %d", name, w.Code, want)
	}
}

// ended checks that a session has ended: its refresh tokens and its access tokens.
func (k *kit) ended(p pair) {
	k.Helper()
	k.refused("the newest refresh token", p.Refresh)
	k.me("the newest access token", p.Access, 401)
}

// lives checks that a session goes on.
func (k *kit) lives(p pair) pair {
	k.Helper()
	k.me("an access token", p.Access, 200)
	return k.refreshed(p.Refresh)
}

// hungUp is the context of a client that is gone.
func hungUp() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// files returns what is on the disk.
func (k *kit) files() (all []byte) {
	k.Helper()
	names, err := filepath.Glob(filepath.Join(k.data, "*"))
	if err != nil || len(names) == 0 {
		k.Fatalf("%v, %d files", err, len(names))
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			k.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

func (k *kit) exec(statement string) {
	k.Helper()
	if _, err := k.site.sessions.db.Exec(statement); err != nil {
		k.Fatal(err)
	}
}

// count returns the number of rows of a table.
func (k *kit) count(table string) (n int) {
	k.Helper()
	if err := k.site.sessions.db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		k.Fatal(err)
	}
	return n
}

// The ways to get rotation wrong.
var mistakes = []struct {
	name string
	test func(k *kit)
}{
	{"1. a used token is accepted again", func(k *kit) {
		p := k.login()
		k.refreshed(p.Refresh)
		k.wait(grace + time.Millisecond)
		k.refused("used", p.Refresh)
	}},
	{"2. reuse does not end the newest refresh token", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		k.wait(grace + time.Millisecond)
		k.refresh(p.Refresh)
		k.refused("newest", next.Refresh)
	}},
	{"3. reuse does not end the access tokens", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		k.wait(grace + time.Millisecond)
		k.me("before", p.Access, 200)
		k.refresh(p.Refresh)
		k.me("first", p.Access, 401)
		k.me("newest", next.Access, 401)
	}},
	{"4. reuse ends other sessions of the user", func(k *kit) {
		p, other := k.login(), k.login()
		k.refreshed(p.Refresh)
		k.wait(grace + time.Millisecond)
		k.refresh(p.Refresh)
		k.lives(other)
	}},
	{"5. a lost answer ends the session", func(k *kit) {
		p := k.login()
		k.refreshed(p.Refresh) // whose answer is lost
		k.wait(grace)
		k.lives(k.refreshed(p.Refresh))
	}},
	{"6. a repeated request makes a second successor", func(k *kit) {
		p := k.login()
		if a, b := k.refreshed(p.Refresh), k.refreshed(p.Refresh); a.Refresh != b.Refresh {
			k.Error("two successors")
		}
	}},
	{"7. the grace begins anew with each request", func(k *kit) {
		p := k.login()
		k.refreshed(p.Refresh)
		k.wait(grace * 2 / 3)
		next := k.refreshed(p.Refresh)
		k.wait(grace * 2 / 3)
		k.refused("after the grace", p.Refresh)
		k.ended(next)
	}},
	{"8. a used token is accepted in the grace although its successor was used", func(k *kit) {
		p := k.login()
		next := k.refreshed(k.refreshed(p.Refresh).Refresh)
		k.refused("two steps back", p.Refresh)
		k.ended(next)
	}},
	{"9. a token from long ago is unknown, and its thief unnoticed", func(k *kit) {
		p := k.login()
		newest := p
		for range 20 {
			k.wait(idle - time.Hour)
			if k.ahead > longest-idle {
				break
			}
			newest = k.refreshed(newest.Refresh)
		}
		k.refused("the first", p.Refresh)
		k.ended(newest)
	}},
	{"10. simultaneous requests make several successors", func(k *kit) {
		p := k.login()
		k.sameSuccessor(p.Refresh, k.site)
	}},
	{"11. simultaneous requests at two instances make several successors", func(k *kit) {
		second, stop := k.newInstance()
		defer stop()
		k.sameSuccessor(k.login().Refresh, k.site, second)
	}},
	{"12. an end at one instance is unknown at the other", func(k *kit) {
		second, stop := k.newInstance()
		defer stop()
		p := k.login()
		k.post(k.Context(), second, "/revoke", url.Values{"token": {p.Refresh}})
		k.refused("ended elsewhere", p.Refresh)
	}},
	{"13. refresh tokens can be read in the database", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		for _, token := range []string{p.Refresh, next.Refresh, p.Access, next.Access} {
			if bytes.Contains(k.files(), []byte(token)) {
				k.Error("a token is on the disk")
			}
		}
	}},
	{"14. what is in the database is accepted as a token", func(k *kit) {
		p := k.login()
		k.refreshed(p.Refresh)
		var hash, sealed []byte
		if err := k.site.sessions.db.QueryRow(`SELECT hash, sealed FROM tokens WHERE sealed IS NOT NULL`).Scan(&hash, &sealed); err != nil {
			k.Fatal(err)
		}
		for _, text := range [][]byte{hash, sealed} {
			k.refused("as it is", string(text))
			k.refused("in base64url", base64.RawURLEncoding.EncodeToString(text))
			if _, err := open(string(text), sealed); err == nil {
				k.Error("the successor can be opened without the token")
			}
		}
	}},
	{"15. the sealed successor is kept after the client has got it", func(k *kit) {
		k.refreshed(k.refreshed(k.login().Refresh).Refresh)
		if n := k.count("tokens WHERE sealed IS NOT NULL"); n != 1 {
			k.Errorf("%d sealed successors, want that of the last answer", n)
		}
	}},
	{"16. an unknown token ends a session, or an answer tells what exists", func(k *kit) {
		p := k.login()
		used := k.login()
		k.refreshed(used.Refresh)
		k.wait(grace + time.Millisecond)
		bodies := map[string]bool{}
		for _, token := range []string{newToken(), p.Refresh + "A", p.Refresh[1:], strings.ToLower(p.Refresh), p.Refresh + "=", "\x00", used.Refresh, used.Refresh} {
			bodies[k.refresh(token).body] = true
		}
		if len(bodies) != 1 {
			k.Errorf("answers %v", bodies)
		}
		k.lives(p)
	}},
	{"17. a missing token, or one of several, is taken", func(k *kit) {
		p := k.login()
		for _, form := range []url.Values{
			{"grant_type": {"refresh_token"}, "client_id": {"cli"}}, refreshForm(""),
			{"grant_type": {"refresh_token"}, "client_id": {"cli"}, "refresh_token": {p.Refresh, p.Refresh}},
			{"grant_type": {"refresh_token"}, "client_id": {"cli", "other"}, "refresh_token": {p.Refresh}},
			{"grant_type": {"refresh_token", "password"}, "client_id": {"cli"}, "refresh_token": {p.Refresh}},
			{"client_id": {"cli"}, "refresh_token": {p.Refresh}},
			{"grant_type": {"password"}, "client_id": {"cli"}, "refresh_token": {p.Refresh}},
		} {
			if got := k.post(k.Context(), k.site, "/token", form); got.status != 400 || got.Error != "invalid_request" {
				k.Errorf("%v: %d %s", form, got.status, got.body)
			}
		}
		k.lives(p)
	}},
	{"18. a token in the URL is read", func(k *kit) {
		p := k.login()
		form := refreshForm(p.Refresh)
		form.Del("refresh_token")
		for _, form := range []url.Values{form, refreshForm(p.Refresh)} {
			if got := k.post(k.Context(), k.site, "/token?refresh_token="+p.Refresh, form); got.status != 400 {
				k.Errorf("%d %s", got.status, got.body)
			}
		}
		k.lives(p)
	}},
	{"19. an access token is accepted as a refresh token", func(k *kit) {
		p := k.login()
		k.refused("access token", p.Access)
		k.lives(p)
	}},
	{"20. a refresh token is accepted as an access token", func(k *kit) {
		k.me("refresh token", k.login().Refresh, 401)
	}},
	{"21. a token that is not used lives forever", func(k *kit) {
		p, used := k.login(), k.login()
		k.wait(idle - time.Minute)
		used = k.refreshed(used.Refresh)
		k.wait(time.Minute)
		k.refused("idle", p.Refresh)
		k.refreshed(used.Refresh)
	}},
	{"22. a session can be refreshed forever", func(k *kit) {
		p := k.login()
		for k.ahead+idle-time.Hour < longest {
			k.wait(idle - time.Hour)
			p = k.refreshed(p.Refresh)
		}
		k.wait(longest - k.ahead)
		k.refused("after the longest session", p.Refresh)
	}},
	{"23. another client can use the token", func(k *kit) {
		p := k.login()
		for _, client := range []string{"other", "", "CLI"} {
			form := refreshForm(p.Refresh)
			form.Set("client_id", client)
			if got := k.post(k.Context(), k.site, "/token", form); got.Error != "invalid_grant" {
				k.Errorf("%q: %d %s", client, got.status, got.body)
			}
		}
		k.lives(p)
	}},
	{"24. a logout leaves the refresh or the access token", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		for range 2 { // the second changes nothing
			if got := k.post(k.Context(), k.site, "/revoke", url.Values{"token": {next.Refresh}}); got.status != 200 {
				k.Errorf("logout: %d", got.status)
			}
		}
		k.ended(next)
		k.me("an earlier access token", p.Access, 401)
		if ids, err := k.site.sessions.untold(k.Context()); err != nil || len(ids) > 0 {
			k.Errorf("%d sessions would be revoked again (%v)", len(ids), err)
		}
	}},
	{"25. a logout with a used token does nothing", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		k.post(k.Context(), k.site, "/revoke", url.Values{"token": {p.Refresh}})
		k.ended(next)
	}},
	{"26. a blocked user can refresh", func(k *kit) {
		p := k.login()
		k.blocked = demo.Alice
		k.refused("blocked", p.Refresh)
		k.me("the access token", p.Access, 401)
		k.blocked = ""
		k.refused("the session of before", p.Refresh)
	}},
	{"27. a client that hangs up loses its session", func(k *kit) {
		p := k.login()
		k.post(hungUp(), k.site, "/token", refreshForm(p.Refresh))
		k.lives(k.refreshed(p.Refresh))
	}},
	{"28. a thief who hangs up is not noticed", func(k *kit) {
		p := k.login()
		next := k.refreshed(p.Refresh)
		k.wait(grace + time.Millisecond)
		k.post(hungUp(), k.site, "/token", refreshForm(p.Refresh))
		k.ended(next)
	}},
	{"29. access tokens live on because the store was out of reach", func(k *kit) {
		p := k.login()
		k.down.Store(true)
		if got := k.post(k.Context(), k.site, "/revoke", url.Values{"token": {p.Refresh}}); got.status != 503 {
			k.Errorf("logout: %d", got.status)
		}
		k.refused("ended here", p.Refresh)
		k.me("meanwhile", p.Access, 200)
		k.down.Store(false)
		if err := k.site.tell(k.Context()); err != nil { // called every 10 seconds
			k.Error(err)
		}
		k.me("afterwards", p.Access, 401)
	}},
	{"30. the program stops between the end of a session and its revocation", func(k *kit) {
		p := k.login()
		k.down.Store(true)
		k.post(k.Context(), k.site, "/revoke", url.Values{"token": {p.Refresh}})
		k.down.Store(false)
		sid := sessionOf(k, p.Access)
		k.restart()
		revoked, err := k.isRevoked(sid)
		if err != nil || !revoked {
			k.Errorf("revoked %v (%v)", revoked, err)
		}
	}},
	{"31. a restart forgets sessions, or that tokens were used", func(k *kit) {
		p, q := k.login(), k.login()
		used := k.refreshed(p.Refresh)
		k.restart()
		if again := k.refreshed(p.Refresh); again.Refresh != used.Refresh { // in the grace
			k.Error("another successor")
		}
		k.wait(grace + time.Millisecond)
		k.refused("used before the restart", p.Refresh)
		k.refused("of the ended session", used.Refresh)
		k.refreshed(q.Refresh)
	}},
	{"32. a failing database hands out a token, or uses one up", func(k *kit) {
		p := k.login()
		db := k.site.sessions.db
		broken, err := openDB(filepath.Join(k.data, "missing", "x.db"))
		if err != nil {
			k.Fatal(err)
		}
		defer broken.Close()
		k.site.sessions.db = broken
		for path, form := range map[string]url.Values{"/token": refreshForm(p.Refresh), "/revoke": {"token": {p.Refresh}}} {
			if got := k.post(k.Context(), k.site, path, form); got.status != 503 || got.Access != "" {
				k.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
		k.site.sessions.db = db
		k.exec(`CREATE TRIGGER broken BEFORE UPDATE OF replaced ON tokens BEGIN SELECT RAISE(ABORT, 'broken'); END`)
		if got := k.refresh(p.Refresh); got.status != 503 || got.Access != "" || k.count("tokens") != 1 {
			k.Errorf("%d %s, %d tokens", got.status, got.body, k.count("tokens"))
		}
		k.exec(`DROP TRIGGER broken`)
		k.lives(p)
	}},
	{"33. an access token that a refresh in flight gets outlives the session", func(k *kit) {
		p := k.login()
		n, successor, err := k.site.sessions.refresh(k.Context(), p.Refresh, "cli")
		if err != nil {
			k.Fatal(err)
		}
		k.post(k.Context(), k.site, "/revoke", url.Values{"token": {p.Refresh}})
		w := httptest.NewRecorder()
		k.site.answer(w, n, successor, nil)
		var late pair
		if err := json.Unmarshal(w.Body.Bytes(), &late); err != nil {
			k.Fatal(err)
		}
		k.me("in flight", late.Access, 401)
	}},
	{"34. a new key signs before anyone can know it, or ends the tokens of the old one", func(k *kit) {
		p := k.login()
		for range 2 {
			known := k.keyIDs()
			if err := k.site.keys.rotate(time.Now()); err != nil {
				k.Fatal(err)
			}
			next := k.login()
			if !known[keyOf(k, next.Access)] {
				k.Error("a key signs that was not published before")
			}
			k.me("of the old key", p.Access, 200)
			k.me("of the new key", next.Access, 200)
		}
		if n := len(k.keyIDs()); n != 4 {
			k.Errorf("%d keys", n)
		}
		if err := k.site.keys.rotate(time.Now().Add(lifetime + leeway + time.Minute)); err != nil {
			k.Fatal(err)
		}
		if n := len(k.keyIDs()); n != 3 {
			k.Errorf("%d keys after the last token has expired", n)
		}
	}},
}

func TestRotation(t *testing.T) {
	if len(mistakes) < 31 {
		t.Errorf("%d mistakes", len(mistakes))
	}
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(newKit(t))
		})
	}
}

// sameSuccessor sends a refresh token to instances many times at once.
func (k *kit) sameSuccessor(token string, sites ...*site) {
	k.Helper()
	answers := make(chan pair, 20)
	var running sync.WaitGroup
	for n := range cap(answers) {
		running.Go(func() { answers <- k.post(k.Context(), sites[n%len(sites)], "/token", refreshForm(token)) })
	}
	running.Wait()
	close(answers)
	first := pair{}
	for p := range answers {
		if first.Refresh == "" {
			first = p
		}
		if p.status != 200 || p.Refresh != first.Refresh {
			k.Errorf("%d %s", p.status, p.body)
		}
	}
	k.refreshed(first.Refresh)
}

func parse(k *kit, access string) *jwt.Token {
	k.Helper()
	t, _, err := jwt.NewParser().ParseUnverified(access, jwt.MapClaims{})
	if err != nil {
		k.Fatal(err)
	}
	return t
}

func sessionOf(k *kit, access string) string {
	sid, _ := parse(k, access).Claims.(jwt.MapClaims)["sid"].(string)
	return sid
}

func keyOf(k *kit, access string) string {
	kid, _ := parse(k, access).Header["kid"].(string)
	return kid
}

// isRevoked reports whether the access tokens of a session are revoked: one that
// the new keys sign is refused.
func (k *kit) isRevoked(sid string) (bool, error) {
	w := httptest.NewRecorder()
	k.site.answer(w, session{sid, demo.Alice}, "x", nil)
	var p pair
	err := json.Unmarshal(w.Body.Bytes(), &p)
	r := httptest.NewRequest(http.MethodGet, "/me", nil)
	r.Header.Set("Authorization", "Bearer "+p.Access)
	w = httptest.NewRecorder()
	k.site.handler.ServeHTTP(w, r)
	return w.Code == 401 && strings.Contains(w.Body.String(), `"reason":"revoked"`), err
}

// keyIDs returns the IDs of the published keys.
func (k *kit) keyIDs() map[string]bool {
	k.Helper()
	w := httptest.NewRecorder()
	k.site.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/keys", nil))
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		k.Fatal(err)
	}
	ids := map[string]bool{}
	for _, key := range set.Keys {
		id, _ := key["kid"].(string)
		if ids[id] = true; key["d"] != nil || key["alg"] != "ES256" {
			k.Errorf("key %v", key)
		}
	}
	return ids
}

func TestLogin(t *testing.T) {
	k := newKit(t)
	for name, form := range map[string]url.Values{
		"wrong password": {"username": {demo.Alice}, "password": {"x"}, "client_id": {"cli"}},
		"no client":      {"username": {demo.Alice}, "password": {demo.AlicePassword}},
	} {
		if p := k.post(t.Context(), k.site, "/login", form); p.status != 400 || p.Error != "invalid_grant" {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	k.lives(k.login())
}

// Sessions whose tokens have all expired leave the database.
func TestSessions_cleaning(t *testing.T) {
	k := newKit(t)
	k.refreshed(k.login().Refresh)
	k.wait(longest + 2*time.Hour)
	k.login()
	for _, table := range []string{"sessions", "tokens"} {
		if n := k.count(table); n != 1 {
			t.Errorf("%d %s, want 1", n, table)
		}
	}
}

func TestNewSite_invalidFlags(t *testing.T) {
	for flag, cfg := range map[string]config{
		"-rotate": {data: t.TempDir(), rotate: 0},
		"-grace":  {data: t.TempDir(), rotate: time.Hour, grace: -1},
	} {
		if _, err := newSite(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestProgram(t *testing.T) {
	p := exampletest.Start(t, "-data", t.TempDir(), "-grace", "1s")
	if got := p.Status(t, "GET", "/me"); got != 401 {
		t.Errorf("without a token: %d", got)
	}
	p.PasteLines(t)
	p.End(t)
}
