package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	issuer         = "https://chat.example" // this program
	audience       = "https://chat.example" // of the token in the cookie, for the whole site
	socketAudience = "wss://chat.example"   // of a ticket, for the WebSocket only

	cookieName = "__Host-token"
)

//go:embed web
var web embed.FS

var pages = demo.Pages(web)

// claims are the claims of both kinds of token.
type claims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid"`
}

// Validate is called by jwthttp for each request, and again by Watch.
func (c claims) Validate() error {
	if c.Subject == "" || c.SessionID == "" {
		return errors.New("sub or sid is missing")
	}
	return nil
}

type site struct {
	users    demo.Users
	secret   []byte // random, so a restart signs everyone out
	lifetime time.Duration
	every    time.Duration // how often a stream checks whether its token is revoked

	revoked        revocation.List
	pages, sockets *jwthttp.Middleware
	room           room
	closing        context.Context // ends when the server shuts down
	streams        sync.WaitGroup
	handler        http.Handler
}

func newSite(closing context.Context, users demo.Users, lifetime, every, tick time.Duration) (*site, error) {
	if lifetime < 2*time.Second || every <= 0 {
		return nil, fmt.Errorf("-lifetime %v, -every %v: want at least 2s, and more than 0", lifetime, every)
	}
	s := &site{users: users, secret: make([]byte, 32), lifetime: lifetime, every: every, closing: closing}
	_, _ = rand.Read(s.secret) // never fails
	var problems [2]error
	s.pages, problems[0] = s.accept(jwthttp.FromCookie(cookieName), audience)
	s.sockets, problems[1] = s.accept(jwthttp.FirstOf(jwthttp.FromWebSocketProtocol(ticketPrefix), jwthttp.FromCookie(cookieName)), audience, socketAudience)
	if err := errors.Join(problems[:]...); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	// A visitor with a stale cookie is a visitor.
	mux.Handle("GET /{$}", s.pages.AllowAnonymous().Handler(http.HandlerFunc(s.home)))
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/app.js") })
	// jwthttp protects the other routes against cross-site requests. The login has
	// no cookie yet, and another site must not sign its visitors in.
	mux.Handle("POST /login", http.NewCrossOriginProtection().Handler(http.HandlerFunc(s.login)))
	mux.Handle("POST /ticket", s.pages.Handler(http.HandlerFunc(s.ticket)))
	mux.Handle("POST /logout", s.pages.Handler(s.logout(false)))
	mux.Handle("POST /logout/everywhere", s.pages.Handler(s.logout(true)))
	mux.Handle("GET /events", s.stream(s.pages, s.events))
	mux.Handle("GET /socket", s.stream(s.sockets, s.socket))
	mux.HandleFunc("GET /socket/message", s.socketByMessage)
	s.handler = withSecurityHeaders(http.MaxBytesHandler(mux, 4<<10)) // the login form is small
	go s.room.tick(closing, tick)
	return s, nil
}

// accept returns a Middleware for our tokens in the given place. It allows no
// leeway, because one clock issues and checks them.
func (s *site) accept(place jwthttp.Extractor, audience ...string) (*jwthttp.Middleware, error) {
	return jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: audience, Algorithms: []string{"HS256"}, Types: []string{"JWT"}, Keys: jwthttp.StaticKey(s.secret),
		}},
		Extractor: place,
		Leeway:    -1,
		Revoked:   s.revoked.Revoked,
	})
}

// home shows the page. After a reload it names the user of the cookie.
func (s *site) home(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context()) // the subject of a visitor is empty
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m") // 15m0s
	// It fails only if the client is gone.
	_ = pages.ExecuteTemplate(w, "index.html", map[string]any{"User": c.Subject, "Every": short.Replace(s.every.String()), "Lifetime": short.Replace(s.lifetime.String())})
}

// login signs a user in. A site on the internet must also limit the attempts.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("username") // not from the URL, which ends up in logs
	if !s.users.Check(name, r.PostFormValue("password")) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restricted"`) // RFC 9110 §15.5.2: every 401 has one
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	now := time.Now()
	token, err := s.sign(claims{
		SessionID: rand.Text(),
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: name, Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.lifetime)),
		},
	})
	if err != nil {
		fail(w, err)
		return
	}
	setCookie(w, token, int(s.lifetime.Seconds()))
	w.WriteHeader(http.StatusNoContent)
}

// ticket returns a token for the WebSocket to a client that has the cookie.
//
// On this origin the cookie is sufficient for the WebSocket, as it is for /events.
// A ticket is for clients without the cookie: programs, and pages of an origin
// listed in websocket.AcceptOptions. The login does not return the token of the
// cookie to them, because a script with that token could do everything that the
// user can. With a ticket it can only chat, and only until the logout.
//
// A ticket lives as long as the token of the cookie, because Watch ends the stream
// with it. A ticket in a URL should live for seconds. It copies "sid" and "iat" of
// that token, so a logout revokes both, even if the ticket is issued at the same
// moment.
func (s *site) ticket(w http.ResponseWriter, r *http.Request) {
	c := jwthttp.MustClaims[claims](r.Context())
	c.Audience = jwt.ClaimStrings{socketAudience}
	token, err := s.sign(c)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"ticket": token}) // fails only if the client is gone
}

// logout revokes the tokens of this session, or all of the user. Their streams end.
// A browser that leaves the page cancels the request, but not the logout.
func (s *site) logout(everywhere bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := jwthttp.MustClaims[claims](r.Context())
		now := time.Now()
		entry := revocation.Entry{Kind: revocation.BySession, Issuer: issuer, Value: c.SessionID, IssuedUntil: now, Expires: now.Add(s.lifetime)}
		if everywhere {
			entry.Kind, entry.Value = revocation.BySubject, c.Subject
		}
		if err := s.revoked.Revoke(context.WithoutCancel(r.Context()), entry); err != nil {
			fail(w, err)
			return
		}
		setCookie(w, "", -1)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *site) sign(c claims) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.secret)
}

// setCookie stores the token in the browser, where scripts cannot read it.
func setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func fail(w http.ResponseWriter, err error) {
	log.Printf("internal error: %v", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}
