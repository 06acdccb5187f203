package main

import (
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

//go:embed web
var web embed.FS

var pages = template.Must(template.ParseFS(web, "web/*.html"))

type site struct {
	users             users
	secret            []byte // new at each start: a restart signs everyone out
	lifetime, session time.Duration
	ended             jwthttp.RevocationList // forgets at a restart, which ends all tokens anyway
	notes             sync.Map               // by user
	handler           http.Handler
}

func newSite(known users, lifetime, session time.Duration) (*site, error) {
	if lifetime < 2*time.Second || session < lifetime {
		return nil, fmt.Errorf("-lifetime %v, -session %v: want two seconds or more, and a session no shorter than a token", lifetime, session)
	}
	s := &site{users: known, secret: make([]byte, 32), lifetime: lifetime, session: session}
	rand.Read(s.secret) // never fails

	// jwthttp guards requests with a token by itself. To sign in takes none, and
	// another site must not sign people in as someone else: so there is a guard
	// around the whole site too, which answers all cross-origin posts alike. If
	// it trusts other origins, it belongs into Options.CrossOrigin as well.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
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
		Extractor:    jwthttp.FromCookie(cookieName), // and nowhere else
		Revoked:      s.ended.Revoked,
		ErrorHandler: refuse,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", auth.Optional().Handler(s.renewing(s.page("home.html"))))
	mux.Handle("GET /account", auth.Handler(s.renewing(s.page("account.html"))))
	mux.Handle("POST /note", auth.Handler(s.renewing(s.note)))
	mux.HandleFunc("GET /login", s.form)
	mux.HandleFunc("POST /login", s.login)
	mux.Handle("POST /logout", auth.Optional().Handler(http.HandlerFunc(s.logout))) // renews nothing
	mux.Handle("GET /web/style.css", http.FileServerFS(web))
	s.handler = withSecurityHeaders(http.MaxBytesHandler(guard.Handler(mux), 16<<10)) // the forms are small
	return s, nil
}

// refuse is the jwthttp.Options.ErrorHandler: a person in front of a browser
// is sent to the login and comes back from there, a program gets the refusal.
// What a form has sent is not asked for again after a login: that is no GET.
func refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	if e.Status == http.StatusUnauthorized && e.Reason != jwthttp.ReasonMissing {
		setCookie(w, "", -1) // it will not get better
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if e.Status != http.StatusUnauthorized || !reads || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		jwthttp.WriteError(w, e)
		return
	}
	w.Header().Del("WWW-Authenticate") // belongs to the 401 that this is not
	http.Redirect(w, r, "/login?"+url.Values{"return": {localPath(r.URL.RequestURI())}}.Encode(), http.StatusSeeOther)
}

// localPath returns target if it is a path of this site that makes sense after
// a login, and / otherwise. It returns what it has judged, written anew: a
// browser reads \ as / and skips tabs and newlines, so that the text itself may
// lead elsewhere.
func localPath(target string) string {
	u, err := url.Parse(target) // refuses control characters
	if err != nil || len(target) > 2000 || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.Contains(u.Path, "//") || strings.Contains(u.Path, `\`) {
		return "/"
	}
	if p := path.Clean(u.Path); p == "/login" || p == "/logout" {
		return "/"
	}
	return u.RequestURI()
}

// loginPage is what the form shows beside its fields.
type loginPage struct{ Return, Name, Problem string }

func (s *site) form(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, "login.html", loginPage{Return: localPath(r.URL.Query().Get("return"))})
}

// login signs a user in. A site on the internet also limits the attempts per
// name and address.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	err := r.ParseForm()
	// Not r.Form: a password in the URL ends up in logs and histories.
	name, password, back := r.PostForm.Get("username"), r.PostForm.Get("password"), localPath(r.PostForm.Get("return"))
	if err != nil || name == "" || password == "" {
		show(w, http.StatusBadRequest, "login.html", loginPage{back, name, "Enter a name and a password."})
		return
	}
	if !s.users.check(name, password) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restricted"`) // RFC 9110 §15.5.2: every 401 has one
		show(w, http.StatusUnauthorized, "login.html", loginPage{back, name, "Wrong name or password."})
		return
	}
	session := claims{SessionID: rand.Text(), AuthTime: *jwt.NewNumericDate(time.Now())}
	session.Subject = name
	if _, err := s.issue(w, session); err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// logout ends the session itself, not only the browser's copy of a token, for
// whoever is still signed in. Who comes without a token or with an expired one,
// from a page left open for too long, is signed out, but somebody who has stolen
// a copy and renewed it in time is not, until the session ends: keep sessions on
// the server if that is too long.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	if c, ok := jwthttp.ClaimsFromContext[claims](r.Context()); ok {
		if err := s.end(c); err != nil {
			fail(w, err)
			return
		}
	}
	setCookie(w, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// page shows who is signed in, if anyone is.
func (s *site) page(file string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
		note, _ := s.notes.Load(c.Subject)
		show(w, http.StatusOK, file, map[string]any{"Claims": c, "SessionEnd": s.sessionEnd(c), "Note": note})
	}
}

func (s *site) note(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "not a form, or too large", http.StatusBadRequest)
		return
	}
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	s.notes.Store(c.Subject, r.PostForm.Get("note"))
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // the back button must ask, too
		next.ServeHTTP(w, r)
	})
}

func show(w http.ResponseWriter, status int, page string, content any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, page, content) // the client is gone if this fails
}

func fail(w http.ResponseWriter, err error) {
	log.Printf("internal error: %v", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}
