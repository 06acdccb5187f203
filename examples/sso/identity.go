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
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

const (
	sessionCookie   = "__Host-idp"
	sessionLifetime = 8 * time.Hour
	codeLifetime    = time.Minute

	accessToken = "at+jwt"     // RFC 9068 §2.1
	logoutToken = "logout+jwt" // OpenID Connect Back-Channel Logout §2.4
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// identity is the identity service. Only it sees passwords and signs tokens. It is
// a small authorization server (RFC 6749 with RFC 7636) for public clients, where
// PKCE makes a stolen code useless. Real sites should also authenticate with a key
// or a secret.
type identity struct {
	url   string            // the "iss" of the tokens
	sites map[string]string // client_id -> URL
	cfg   config
	log   *slog.Logger
	keys  *keyring

	mu       sync.Mutex
	sessions map[string]session // by the cookie's value
	codes    map[string]grant

	handler http.Handler
}

// session is a login. The sites see its ID in tokens, so the ID is not the value of
// the cookie.
type session struct {
	id, user string
	expires  time.Time
}

// grant is what a code is exchanged for.
type grant struct {
	session   session
	client    string
	challenge string
	expires   time.Time
}

// logoutClaims are the claims of a logout token.
type logoutClaims struct {
	jwt.RegisteredClaims
	SessionID string                     `json:"sid"`
	Events    map[string]json.RawMessage `json:"events"`
	Nonce     *string                    `json:"nonce,omitempty"` // only for tests
}

// claims are the claims of an access token.
type claims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid"`
	ClientID  string `json:"client_id"`
}

// Validate is called by jwthttp for each request. A logout needs the sid.
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
			Audience:   slices.Collect(maps.Values(sites)), // a site ends a session with the token that it has
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
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	mux.Handle("GET /keys", keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("POST /rotate", i.rotate)
	mux.Handle("POST /logout", auth.Optional().Handler(http.HandlerFunc(i.logout)))
	// jwthttp does not protect the session's cookie and the login against
	// cross-origin requests. The servers of the sites send neither Origin nor
	// Sec-Fetch-Site.
	protected := http.NewCrossOriginProtection().Handler(mux)
	i.handler = withSecurityHeaders(self, slices.Sorted(maps.Values(sites)), protected)
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

// authorize redirects a browser with a session to the site, with a code. Other
// browsers get the login form first. It posts to the URL of its page, so the
// parameters are checked again.
func (i *identity) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, challenge := q.Get("client_id"), q.Get("code_challenge")
	target, known := i.sites[client]
	switch {
	// An address that is not registered exactly gets no redirect, not even with an error.
	case !known || q.Get("redirect_uri") != redirectURI(target):
		show(w, http.StatusBadRequest, "message.html", message{At: "idp", Title: "Invalid link", Text: "It is not from a registered site."})
		return
	case q.Get("response_type") != "code" || q.Get("state") == "" || challenge == "" || q.Get("code_challenge_method") != "S256":
		show(w, http.StatusBadRequest, "message.html", message{At: "idp", Title: "Invalid link", Text: "response_type code, state and an S256 code_challenge are required."})
		return
	}
	s, ok := i.session(r)
	if r.Method == http.MethodPost {
		s, ok = i.login(w, r)
	}
	if !ok {
		// The status is 403, because a 401 must have a challenge (RFC 9110 §15.5.2)
		// and there is no scheme for a form.
		status, notice := http.StatusOK, ""
		if r.Method == http.MethodPost {
			status, notice = http.StatusForbidden, "Wrong name or password."
		}
		show(w, status, "login.html", map[string]string{"Site": strings.ToUpper(client), "URL": target, "Notice": notice})
		return
	}
	code := rand.Text()
	i.mu.Lock()
	maps.DeleteFunc(i.codes, func(_ string, g grant) bool { return time.Now().After(g.expires) })
	i.codes[code] = grant{s, client, challenge, time.Now().Add(codeLifetime)}
	i.mu.Unlock()
	http.Redirect(w, r, redirectURI(target)+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

// session returns the session of the browser's cookie.
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

// login begins a session. A service on the internet must also limit the attempts
// per name and address.
func (i *identity) login(w http.ResponseWriter, r *http.Request) (session, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, password := r.PostFormValue("username"), r.PostFormValue("password")
	if !i.cfg.users.Check(name, password) {
		i.log.Info("login refused") // without the name, because people sometimes type their password there
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

// token exchanges a code for an access token. A code is valid for one attempt,
// successful or not.
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
	// A logout at this moment finds no code to delete, but its message to the
	// sites revokes the new token, too.
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

// tokenAnswer is the answer to a valid code (RFC 6749 §5.1).
type tokenAnswer struct {
	Token     string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
}

// rotate publishes a new key, for admins only.
func (i *identity) rotate(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	if !ok || s.user != demo.Ada {
		show(w, http.StatusForbidden, "message.html", message{At: "idp", Title: "Not allowed", Text: "Only an admin can rotate the key."})
		return
	}
	if err := i.keys.rotate(); errors.Is(err, errPending) {
		show(w, http.StatusConflict, "message.html", message{At: "idp", Title: "Not yet", Text: "A new key has been published and is not in use yet."})
		return
	} else if err != nil {
		fail(w, i.log, err)
		return
	}
	i.log.Info("key rotated", "by", s.user)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session of the browser's cookie, or that of the access token of a
// site. Sites do not have the cookie.
func (i *identity) logout(w http.ResponseWriter, r *http.Request) {
	s, ok := i.session(r)
	token, byToken := jwthttp.TokenFromContext(r.Context())
	if byToken {
		s.id, ok = token.SessionID, true
	} else {
		setCookie(w, sessionCookie, "", -1)
	}
	if ok {
		i.cfg.board.start(s.id)
		if err := i.end(r.Context(), s.id); err != nil {
			i.log.Error("not every site was told of a logout", "error", err)
			http.Error(w, "Signed out here, but a site could not be told. Its tokens are valid for up to "+i.cfg.lifetime.String()+".", http.StatusBadGateway)
			return
		}
	}
	if byToken {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, "/?ended="+url.QueryEscape(s.id), http.StatusSeeOther)
}

// end ends a session here and at the sites. A service with many sites should tell
// those that have a token, and retry from a queue.
func (i *identity) end(ctx context.Context, id string) error {
	i.mu.Lock()
	maps.DeleteFunc(i.sessions, func(_ string, s session) bool { return s.id == id })
	maps.DeleteFunc(i.codes, func(_ string, g grant) bool { return g.session.id == id })
	i.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // a browser that leaves must not stop a logout
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
			ExpiresAt: jwt.NewNumericDate(now.Add(2 * time.Minute)), // §4 recommends at most two minutes
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

// home shows the user and the keys.
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
		"SignedIn": ok, "User": s.user, "Admin": s.user == demo.Ada, "Keys": rows, "Sites": i.sites,
		"Arrivals": i.cfg.board.arrivals(r.Context(), r.URL.Query().Get("ended")),
	})
}

// redirectURI returns the registered redirect URI of a site.
func redirectURI(site string) string { return site + "/callback" }

// challengeOf returns the S256 code challenge of a verifier (RFC 7636 §4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
