package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

const (
	sessionCookie   = "__Host-idp"
	sessionLifetime = 8 * time.Hour
	codeLifetime    = time.Minute

	accessToken = "at+jwt"     // RFC 9068 §2.1
	logoutToken = "logout+jwt" // OpenID Connect Back-Channel Logout §2.4
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// identity is the identity service: the only one that sees passwords and the
// only one that signs. It is an authorization server in small (RFC 6749 with
// RFC 7636); its clients are public ones, for which PKCE is what makes a
// stolen code worthless. A real site also has a key or a secret to show.
type identity struct {
	url   string            // the "iss" of its tokens
	sites map[string]string // client_id -> URL
	cfg   config
	log   *slog.Logger
	keys  *keyring

	mu       sync.Mutex
	sessions map[string]session // by the cookie's value
	codes    map[string]grant

	handler http.Handler
}

// session is a login. Its ID goes into tokens, for the sites to see, and is
// therefore not the cookie's value.
type session struct {
	id, user string
	expires  time.Time
}

// grant is what a code stands for.
type grant struct {
	session   session
	client    string
	challenge string
	expires   time.Time
}

// claims are what an access token says.
type claims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid"`
	ClientID  string `json:"client_id"`
}

// Validate is called by jwthttp for each request. A token without a session
// would be one that no logout ends.
func (c claims) Validate() error {
	if c.Subject == "" || c.SessionID == "" {
		return errors.New("sub or sid is missing")
	}
	return nil
}

func newIdentity(self string, sites map[string]string, cfg config) (*identity, error) {
	keys, err := newKeyring(cfg.interval, cfg.lifetime)
	if err != nil {
		return nil, err
	}
	i := &identity{
		url: self, sites: sites, cfg: cfg, keys: keys, log: cfg.log.With("at", "identity"),
		sessions: map[string]session{}, codes: map[string]grant{},
	}
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       self,
			Audience:   slices.Collect(maps.Values(sites)), // a site may end a session with its own token
			Algorithms: []string{"ES256"},
			Types:      []string{accessToken},
			Keys:       jwthttp.Keyfunc(keys.verifying),
		}},
		Observer: observer(i.log),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", i.home)
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	mux.Handle("GET /keys", keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("POST /rotate", i.rotate)
	mux.Handle("POST /logout", auth.Optional().Handler(http.HandlerFunc(i.logout)))
	// The session's cookie is none of jwthttp's, so it needs a guard of its
	// own, and so does the login: no other site may sign a visitor in. Sites
	// that call from their servers send neither Origin nor Sec-Fetch-Site.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	i.handler = withSecurityHeaders(self, slices.Sorted(maps.Values(sites)), guarded)
	return i, nil
}

func (i *identity) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                i.url,
		"authorization_endpoint":                i.url + "/authorize",
		"token_endpoint":                        i.url + "/token",
		"jwks_uri":                              i.url + "/keys",
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code"},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"},
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,
	})
}

// authorize sends a browser with a session back to the site with a code, and
// asks every other one for a password first. The form posts to the page's own
// address, so that what the site asked for is judged again.
func (i *identity) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, challenge := q.Get("client_id"), q.Get("code_challenge")
	target, known := i.sites[client]
	switch {
	// Not even an error goes to an address that is not registered, to the letter.
	case !known || q.Get("redirect_uri") != redirectURI(target):
		show(w, http.StatusBadRequest, "message.html", message{"That link is wrong", "No site of ours sends people here with it."})
		return
	case q.Get("response_type") != "code" || q.Get("state") == "" || challenge == "" || q.Get("code_challenge_method") != "S256":
		show(w, http.StatusBadRequest, "message.html", message{"That link is wrong", "It needs response_type, state and a code_challenge by S256."})
		return
	}
	s, ok := i.session(r)
	if r.Method == http.MethodPost {
		s, ok = i.login(w, r)
	}
	if !ok {
		// 403: a 401 would have to name a scheme (RFC 9110 §15.5.2), and a form is none.
		status, notice := http.StatusOK, ""
		if r.Method == http.MethodPost {
			status, notice = http.StatusForbidden, "Wrong name or password."
		}
		show(w, status, "login.html", map[string]string{"Site": target, "Notice": notice})
		return
	}
	code := rand.Text()
	i.mu.Lock()
	maps.DeleteFunc(i.codes, func(_ string, g grant) bool { return time.Now().After(g.expires) })
	i.codes[code] = grant{s, client, challenge, time.Now().Add(codeLifetime)}
	i.mu.Unlock()
	http.Redirect(w, r, redirectURI(target)+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

// session returns the login that the browser's cookie stands for.
func (i *identity) session(r *http.Request) (session, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s, ok := i.sessions[c.Value]
	return s, ok && time.Now().Before(s.expires)
}

// login begins a session. A service on the internet also limits the attempts
// per name and address.
func (i *identity) login(w http.ResponseWriter, r *http.Request) (session, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, password := r.PostFormValue("username"), r.PostFormValue("password")
	if !i.cfg.users.check(name, password) {
		i.log.Info("login refused") // without the name: people do type their password there
		return session{}, false
	}
	now := time.Now()
	s, value := session{rand.Text(), name, now.Add(sessionLifetime)}, rand.Text()
	i.mu.Lock()
	maps.DeleteFunc(i.sessions, func(_ string, s session) bool { return now.After(s.expires) })
	i.sessions[value] = s
	i.mu.Unlock()
	setCookie(w, sessionCookie, value, sessionLifetime)
	i.log.Info("login", "subject", name)
	return s, true
}

// token gives an access token for a code. The code is used up by the first
// attempt, right or wrong.
func (i *identity) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	code := r.PostFormValue("code")
	i.mu.Lock()
	g, ok := i.codes[code]
	delete(i.codes, code)
	i.mu.Unlock()
	now := time.Now()
	if !ok || now.After(g.expires) || r.PostForm.Get("grant_type") != "authorization_code" ||
		r.PostForm.Get("client_id") != g.client || r.PostForm.Get("redirect_uri") != redirectURI(i.sites[g.client]) ||
		subtle.ConstantTimeCompare([]byte(challengeOf(r.PostForm.Get("code_verifier"))), []byte(g.challenge)) != 1 {
		i.log.Warn("code refused")
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"}) // RFC 6749 §5.2
		return
	}
	// A logout between here and above finds no code to delete, but what it
	// tells the sites ends this token too.
	token, err := i.keys.sign(accessToken, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.url,
			Subject:   g.session.user,
			Audience:  jwt.ClaimStrings{i.sites[g.client]},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(i.cfg.lifetime)),
			ID:        rand.Text(),
		},
		SessionID: g.session.id,
		ClientID:  g.client,
	})
	if err != nil {
		fail(w, i.log, err)
		return
	}
	writeJSON(w, http.StatusOK, tokenAnswer{token, "Bearer", int(i.cfg.lifetime.Seconds())})
}

// tokenAnswer is the answer to a good code (RFC 6749 §5.1).
type tokenAnswer struct {
	Token     string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
}

// rotate is for admins. Nobody else notices it.
func (i *identity) rotate(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	if !ok || !i.cfg.users.users[s.user].admin {
		show(w, http.StatusForbidden, "message.html", message{"Not for you", "Only an admin rotates the key."})
		return
	}
	if err := i.keys.rotate(); errors.Is(err, errPending) {
		show(w, http.StatusConflict, "message.html", message{"Not yet", "A new key is on its way already."})
		return
	} else if err != nil {
		fail(w, i.log, err)
		return
	}
	i.log.Info("key rotated", "by", s.user)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session of the browser's cookie, or of the access token that
// a site sends. A site cannot send the cookie, and must not know it.
func (i *identity) logout(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	token, byToken := jwthttp.TokenFromContext(r.Context())
	if byToken {
		s.id, ok = token.SessionID, true
	} else {
		setCookie(w, sessionCookie, "", -1)
	}
	if ok {
		if err := i.end(r.Context(), s.id); err != nil {
			i.log.Error("not every site was told of a logout", "error", err)
			http.Error(w, "Signed out here, but a site could not be told: what it has may last for "+i.cfg.lifetime.String()+".", http.StatusBadGateway)
			return
		}
	}
	if byToken {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// end ends a session, here and at the sites. A service with many sites tells
// those that had a token, from a queue that tries again.
func (i *identity) end(ctx context.Context, id string) error {
	i.mu.Lock()
	maps.DeleteFunc(i.sessions, func(_ string, s session) bool { return s.id == id })
	maps.DeleteFunc(i.codes, func(_ string, g grant) bool { return g.session.id == id })
	i.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // a browser that hangs up does not stop a logout
	told := make(chan error, len(i.sites))
	for _, site := range i.sites {
		go func() { told <- i.tell(ctx, site, id) }()
	}
	var err error
	for range i.sites {
		err = errors.Join(err, <-told)
	}
	return err
}

// tell sends a site a logout token (OpenID Connect Back-Channel Logout §2.5).
func (i *identity) tell(ctx context.Context, site, id string) error {
	now := time.Now()
	token, err := i.keys.sign(logoutToken, logoutClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.url,
			Audience:  jwt.ClaimStrings{site},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(2 * time.Minute)), // §4: short
			ID:        rand.Text(),
		},
		SessionID: id,
		Events:    map[string]json.RawMessage{logoutEvent: json.RawMessage("{}")},
	})
	if err == nil {
		_, err = post(ctx, site+"/backchannel-logout", "", url.Values{"logout_token": {token}})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", site, err)
	}
	return nil
}

// home shows who is signed in, and to an admin what the keys are doing.
func (i *identity) home(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	type row struct{ ID, From, State string }
	var rows []row
	keys, now := i.keys.published(), time.Now()
	for n, k := range keys {
		state := "signs"
		switch {
		case now.Before(k.from):
			state = "published, signs soon"
		case n+1 < len(keys) && !now.Before(keys[n+1].from):
			state = "retired, still published"
		}
		rows = append(rows, row{k.id, k.from.UTC().Format("15:04:05 MST"), state})
	}
	show(w, http.StatusOK, "identity.html", map[string]any{
		"SignedIn": ok, "User": s.user, "Admin": i.cfg.users.users[s.user].admin, "Keys": rows, "Sites": i.sites,
	})
}

// redirectURI is the one that is registered for a site.
func redirectURI(site string) string { return site + "/callback" }

// challengeOf is the S256 code challenge of a verifier (RFC 7636 §4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
