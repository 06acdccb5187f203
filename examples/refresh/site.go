package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	_ "modernc.org/sqlite" // the driver

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

const (
	lifetime = 5 * time.Minute // of an access token
	leeway   = time.Minute
	retry    = 10 * time.Second // of revocations that have failed
)

type config struct {
	url     string // the issuer and the audience
	data    string // folder
	rotate  time.Duration
	users   demo.Users
	grace   time.Duration // in which a used refresh token gets the same answer
	now     func() time.Time
	blocked func(subject string) bool // nil: no one
	log     *slog.Logger              // nil: the default
}

// site is the token endpoint, and a resource.
type site struct {
	config
	sessions *sessions
	revoke   func(context.Context, revocation.Entry) error // of the store
	keys     *keyring
	close    func() error // after ctx has ended
	handler  http.Handler
}

type claims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid"`
}

// openDB opens a SQLite file. With these settings a commit is on the disk when it
// returns, and transactions wait for each other from their first statement.
func openDB(file string) (*sql.DB, error) {
	name := url.URL{Scheme: "file", Opaque: file, RawQuery: "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate"}
	return sql.Open("sqlite", name.String())
}

// newSite returns a site whose background work ends with ctx.
func newSite(ctx context.Context, cfg config) (*site, error) {
	if cfg.log == nil {
		cfg.log = slog.Default()
	}
	if cfg.blocked == nil {
		cfg.blocked = func(string) bool { return false }
	}
	switch {
	case cfg.rotate <= 0:
		return nil, fmt.Errorf("-rotate: %v: want a positive duration", cfg.rotate)
	case cfg.grace < 0:
		return nil, fmt.Errorf("-grace: %v: want 0 or more", cfg.grace)
	}
	if err := os.MkdirAll(cfg.data, 0o700); err != nil {
		return nil, err
	}
	db, err := openDB(filepath.Join(cfg.data, "sessions.db"))
	if err != nil {
		return nil, err
	}
	s := &site{config: cfg}
	store, err := sqlrevocation.Open(ctx, db, sqlrevocation.Options{Dialect: sqlrevocation.SQLite, OnError: s.warn})
	if err != nil {
		return nil, err
	}
	s.revoke = store.Revoke
	if s.sessions, err = newSessions(ctx, db, cfg); err != nil {
		return nil, err
	}
	if err := s.sessions.tell(ctx, s.revokeSession); err != nil { // what an earlier run has not finished
		return nil, err
	}
	if s.keys, err = newKeyring(lifetime); err != nil {
		return nil, err
	}
	var background sync.WaitGroup
	background.Go(func() { every(ctx, cfg.rotate, s.keys.rotate, s.warn) })
	background.Go(func() { every(ctx, retry, func(time.Time) error { return s.tell(ctx) }, s.warn) })
	s.close = func() error {
		background.Wait()
		store.Wait()
		return db.Close()
	}
	return s, s.route(store.Revoked)
}

func (s *site) warn(err error) { s.log.Warn("in the background", "error", err) }

// route makes the handler.
func (s *site) route(revoked jwthttp.RevokedFunc) error {
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: s.url, Audience: []string{s.url}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}, Keys: jwthttp.Keyfunc(s.keys.verifying),
		}},
		Leeway:    leeway,
		Revoked:   revoked,
		CacheSize: 1000,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.logout)
	mux.Handle("GET /keys", s.keys)
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"hello": jwthttp.MustClaims[claims](r.Context()).Subject})
	})))
	s.handler = http.MaxBytesHandler(mux, 4<<10)
	return nil
}

// every calls f at an interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(time.Time) error, onError func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if err := f(now); err != nil {
				onError(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// login begins a session. A service on the internet must also limit the attempts
// per name and address.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	name, client := r.PostFormValue("username"), r.PostFormValue("client_id")
	if client == "" || s.blocked(name) || !s.users.Check(name, r.PostFormValue("password")) {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	n, token, err := s.sessions.begin(r.Context(), name, client)
	s.answer(w, n, token, err)
}

// token is the token endpoint (RFC 6749 §6).
func (s *site) token(w http.ResponseWriter, r *http.Request) {
	token, ok := onlyToken(r, "refresh_token")
	if !ok || r.PostForm.Get("grant_type") != "refresh_token" {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	n, successor, err := s.sessions.refresh(r.Context(), token, r.PostForm.Get("client_id"))
	if errors.Is(err, errReused) || errors.Is(err, errBlocked) {
		s.log.Warn("refresh refused", "error", err)
		if e := s.tell(r.Context()); e != nil { // it is tried again soon
			s.log.Error("access tokens of an ended session are not revoked yet", "error", e)
		}
	}
	s.answer(w, n, successor, err)
}

// logout ends a session (RFC 7009).
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	token, ok := onlyToken(r, "token")
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	err := s.sessions.end(r.Context(), token)
	if err == nil {
		err = s.tell(r.Context())
	}
	if err != nil {
		s.log.Error("logout", "error", err)
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
}

// onlyToken returns the value that a form has for a field. No field may be there twice
// (RFC 6749 §3.2). A token in the URL would end up in logs.
func onlyToken(r *http.Request, field string) (string, bool) {
	err := r.ParseForm()
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return "", false
		}
	}
	token := r.PostForm.Get(field)
	return token, err == nil && token != "" && !r.URL.Query().Has(field)
}

// tell revokes the access tokens of ended sessions.
func (s *site) tell(ctx context.Context) error {
	return s.sessions.tell(context.WithoutCancel(ctx), s.revokeSession)
}

// revokeSession revokes the access tokens of a session. A refresh may be in flight,
// and no session comes back, so it is a minute ahead.
func (s *site) revokeSession(ctx context.Context, id string) error {
	until := time.Now().Add(time.Minute)
	return s.revoke(ctx, revocation.Entry{
		Kind: revocation.BySession, Issuer: s.url, Value: id, IssuedUntil: until, Expires: until.Add(lifetime + leeway),
	})
}

// answer sends an access token with the refresh token, or says why not. The client
// does not learn which tokens exist.
func (s *site) answer(w http.ResponseWriter, n session, refresh string, err error) {
	if errors.Is(err, errInvalid) || errors.Is(err, errReused) || errors.Is(err, errBlocked) {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	access := ""
	if err == nil {
		now := time.Now()
		access, err = s.keys.sign(claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: s.url, Subject: n.subject, Audience: jwt.ClaimStrings{s.url}, ID: rand.Text(),
				IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
			},
			SessionID: n.id,
		})
	}
	if err != nil {
		s.log.Error("no token", "error", err)
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "refresh_token": refresh,
	})
}

// refuse sends an error response (RFC 6749 §5.2).
func refuse(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]string{"error": code})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the client is gone
}
