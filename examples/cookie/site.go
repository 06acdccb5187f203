package main

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/revocation"
)

//go:embed web
var web embed.FS

var pages = demo.Pages(web)

type site struct {
	users             demo.Users
	secret            []byte // new at each start, so a restart signs everyone out
	lifetime, session time.Duration
	ended             revocation.List // in memory: a restart ends all tokens anyway
	notes             sync.Map        // by user
	handler           http.Handler
}

func newSite(users demo.Users, lifetime, session time.Duration) (*site, error) {
	if lifetime < 2*time.Second || session < lifetime {
		return nil, fmt.Errorf("-lifetime %v, -session %v: want at least two seconds, and a session at least as long as a token", lifetime, session)
	}
	s := &site{users: users, secret: make([]byte, 32), lifetime: lifetime, session: session}
	rand.Read(s.secret) // never fails

	// Login CSRF: another site must not sign a visitor in as someone else. The
	// middleware checks requests that have a token, and a login has none. So this
	// check is around the whole site, and all cross-origin posts get one answer.
	// Trusted origins must be set in Options.CrossOrigin, too.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		jwthttp.WriteError(w, &jwthttp.Error{Status: http.StatusForbidden, Reason: jwthttp.ReasonCrossOrigin})
	}))
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{audience},
			Algorithms: []string{"HS256"},
			Types:      []string{"JWT"},
			Keys:       jwthttp.StaticKey(s.secret),
		}},
		Extractor:    jwthttp.FromCookie(cookieName),
		Leeway:       -1, // none: the clock that issues tokens also checks them
		Revoked:      s.ended.Revoked,
		ErrorHandler: refuse,
	})
	if err != nil {
		return nil, err
	}
	// A visitor with a stale cookie is a visitor.
	visitors := auth.AllowAnonymous()
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", visitors.Handler(s.renewing(s.page("home.html"))))
	mux.Handle("GET /account", auth.Handler(s.renewing(s.page("account.html"))))
	mux.Handle("POST /note", auth.Handler(s.renewing(s.note)))
	mux.HandleFunc("GET /login", s.form)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("POST /logout", visitors.Handler(http.HandlerFunc(s.logout))) // without renewing
	mux.HandleFunc("GET /style.css", demo.Style)
	s.handler = withSecurityHeaders(http.MaxBytesHandler(sameOrigin.Handler(mux), 16<<10)) // the forms are small
	return s, nil
}

// refuse is the jwthttp.Options.ErrorHandler. It redirects a browser to the login,
// which leads back. A note would be lost on that way, so the answer to it is the
// login form, which keeps it. Others get the error response of jwthttp.
func refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	// Delete a cookie that will never be accepted. After a 403 or 503 it may be.
	if e.Code == "invalid_token" || e.Reason == jwthttp.ReasonMultiple {
		setCookie(w, "", -1)
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	browser := e.Status == http.StatusUnauthorized && strings.Contains(r.Header.Get("Accept"), "text/html")
	if browser && r.Method == http.MethodPost && r.ParseForm() == nil && r.PostForm.Has("note") {
		problem := "You are not signed in any more, so your note is not saved. Sign in to save it."
		show(w, e.Status, "login.html", loginPage{Return: "/account", Problem: problem, Note: r.PostForm.Get("note")})
		return
	}
	if !browser || !reads {
		jwthttp.WriteError(w, e)
		return
	}
	w.Header().Del("WWW-Authenticate") // the response is no longer a 401
	http.Redirect(w, r, "/login?"+url.Values{"return": {localPath(r.URL.RequestURI())}}.Encode(), http.StatusSeeOther)
}

// localPath returns target if it is a path of this site to go to after a login,
// and / otherwise. It encodes the parsed URL again, because a browser reads \ as /
// and ignores tabs and newlines, so the text itself may lead to another site.
func localPath(target string) string {
	u, err := url.Parse(target) // rejects control characters
	if err != nil || len(target) > 2000 || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.Contains(u.Path, "//") || strings.Contains(u.Path, `\`) {
		return "/"
	}
	if p := path.Clean(u.Path); p == "/login" || p == "/logout" {
		return "/"
	}
	return u.RequestURI()
}

// loginPage is the data of the form.
type loginPage struct{ Return, Name, Problem, Note string }

func (s *site) form(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, "login.html", loginPage{Return: localPath(r.URL.Query().Get("return"))})
}

// login signs a user in. A site on the internet must also limit the attempts per
// name and address.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	err := r.ParseForm()
	// r.Form would accept a password in the URL, which ends up in logs.
	name, password, back := r.PostForm.Get("username"), r.PostForm.Get("password"), localPath(r.PostForm.Get("return"))
	note := r.PostForm.Get("note") // typed before this login; see refuse
	if err != nil || name == "" || password == "" {
		show(w, http.StatusBadRequest, "login.html", loginPage{back, name, "Enter a name and a password.", note})
		return
	}
	if !s.users.Check(name, password) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restricted"`) // required by RFC 9110 §15.5.2
		show(w, http.StatusUnauthorized, "login.html", loginPage{back, name, "Wrong name or password.", note})
		return
	}
	session := claims{SessionID: rand.Text(), AuthTime: *jwt.NewNumericDate(time.Now())}
	session.Subject = name
	session, err = s.issue(w, session)
	if err != nil {
		fail(w, err)
		return
	}
	if note != "" {
		// Another user may have typed it, so this one decides whether to save it.
		show(w, http.StatusOK, "account.html", map[string]any{"Claims": session, "SessionEnd": s.sessionEnd(session), "Note": note, "Unsaved": true})
		return
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// logout revokes all tokens of the session. Deleting the cookie alone would leave
// every copy of a token valid.
//
// Without a valid token, for example on a page that was left open for too long,
// it only deletes the cookie. Then a thief who has renewed a stolen copy stays
// signed in until the session ends. If that is too long, keep sessions on the
// server.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	if c, ok := jwthttp.ClaimsFromContext[claims](r.Context()); ok {
		// A browser that leaves cancels r.Context(), which must not stop a logout.
		if err := s.end(context.WithoutCancel(r.Context()), c); err != nil {
			fail(w, err)
			return
		}
	}
	setCookie(w, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// page shows the user, or a visitor's page.
func (s *site) page(file string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _ := jwthttp.ClaimsFromContext[claims](r.Context()) // the subject of a visitor is empty
		note, _ := s.notes.Load(c.Subject)
		show(w, http.StatusOK, file, map[string]any{"Claims": c, "SessionEnd": s.sessionEnd(c), "Note": note, "Unsaved": false})
	}
}

func (s *site) note(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "invalid or too large form", http.StatusBadRequest)
		return
	}
	c := jwthttp.MustClaims[claims](r.Context())
	s.notes.Store(c.Subject, r.PostForm.Get("note"))
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // after a logout, the back button must not show the page
		next.ServeHTTP(w, r)
	})
}

func show(w http.ResponseWriter, status int, page string, content any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, page, content) // it fails if the client is gone
}

func fail(w http.ResponseWriter, err error) {
	log.Printf("internal error: %v", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}
