package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

const (
	issuer         = "https://chat.example" // us, since we sign
	audience       = "https://chat.example" // of the cookie's token: all of the site
	socketAudience = "wss://chat.example"   // of a ticket: the WebSocket and nothing else

	cookieName = "__Host-token"
)

//go:embed web
var web embed.FS

// claims are what both kinds of token say.
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
	users    []string
	password string // of all of them, for want of a database; see examples/cookie for hashes
	secret   []byte // new at each start: a restart signs everyone out
	lifetime time.Duration
	every    time.Duration // how often a stream asks whether its token was revoked

	ended          jwthttp.RevocationList
	pages, sockets *jwthttp.Middleware
	room           room
	closing        context.Context // ends when the server is to end
	streams        sync.WaitGroup
	handler        http.Handler
}

func newSite(closing context.Context, lifetime, every, tick time.Duration) (*site, error) {
	if lifetime < 2*time.Second || every <= 0 {
		return nil, fmt.Errorf("-lifetime %v, -every %v: want two seconds or more, and more than nothing", lifetime, every)
	}
	s := &site{users: []string{"alice", "bob"}, password: rand.Text(), secret: make([]byte, 32), lifetime: lifetime, every: every, closing: closing}
	rand.Read(s.secret) // never fails
	var problems [2]error
	s.pages, problems[0] = s.accept(jwthttp.FromCookie(cookieName), audience)
	s.sockets, problems[1] = s.accept(jwthttp.FirstOf(jwthttp.FromWebSocketProtocol(ticketPrefix), jwthttp.FromCookie(cookieName)), audience, socketAudience)
	files, _ := fs.Sub(web, "web") // never fails for a valid path
	if err := errors.Join(problems[:]...); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	// The other routes are guarded by jwthttp, since they take a cookie. This one
	// takes none, and no other site may sign people in as someone else.
	mux.Handle("POST /login", http.NewCrossOriginProtection().Handler(http.HandlerFunc(s.login)))
	mux.Handle("POST /ticket", s.pages.Handler(http.HandlerFunc(s.ticket)))
	mux.Handle("POST /logout", s.pages.Handler(s.logout(false)))
	mux.Handle("POST /logout/everywhere", s.pages.Handler(s.logout(true)))
	mux.Handle("GET /events", s.stream(s.pages, s.events))
	mux.Handle("GET /socket", s.stream(s.sockets, s.socket))
	s.handler = withSecurityHeaders(http.MaxBytesHandler(mux, 4<<10)) // the login's form is small
	go s.room.tick(closing, tick)
	return s, nil
}

// accept returns what believes our tokens, found in the given place.
func (s *site) accept(place jwthttp.Extractor, audience ...string) (*jwthttp.Middleware, error) {
	return jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer, Audience: audience, Algorithms: []string{"HS256"}, Types: []string{"JWT"}, Keys: jwthttp.StaticKey(s.secret),
		}},
		Extractor: place,
		Revoked:   s.ended.Revoked,
	})
}

// login signs a user in. A site on the internet also limits the attempts.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("username") // which does not read the URL: that ends up in logs
	same := subtle.ConstantTimeCompare([]byte(r.PostFormValue("password")), []byte(s.password))
	if same == 0 || !slices.Contains(s.users, name) {
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

// ticket returns a token for the WebSocket, to a client that is signed in with
// the cookie.
//
// On this origin the cookie alone would do, for the WebSocket as it does for
// /events. A ticket is for clients that have no cookie: programs, and pages of
// an origin that websocket.AcceptOptions lists. The login does not return the
// cookie's token for them: a script that reads it, ours or an intruder's, could
// do all that the user can. With a ticket it can chat, until the user signs out.
//
// It lives as long as the cookie's token, not for seconds as a ticket in a URL
// should: Watch ends the stream with it. And it is that token's copy, "sid" and
// "iat" included, so whatever ends the one ends the other, also if it is issued
// in the very moment of the sign-out.
func (s *site) ticket(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	c.Audience = jwt.ClaimStrings{socketAudience}
	token, err := s.sign(c)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"ticket": token}) // the client is gone if this fails
}

// logout ends this session or all of the user, and with the tokens the streams.
func (s *site) logout(everywhere bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
		now := time.Now()
		ends := jwthttp.Revocation{Issuer: issuer, SessionID: c.SessionID, IssuedUntil: now, Expires: now.Add(s.lifetime)}
		if everywhere {
			ends.SessionID, ends.Subject = "", c.Subject
		}
		if err := s.ended.Add(ends); err != nil {
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

// setCookie hands the token to the browser, out of reach of scripts.
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
