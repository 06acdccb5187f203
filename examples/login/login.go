package main

import (
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/cors"

	"github.com/seed450a7203/jwthttp"
)

const (
	issuer   = "https://login.example" // us, since we sign
	audience = "https://lists.example" // us too: the service that the tokens are for

	// A browser takes a cookie with the prefix __Host- only if it is Secure,
	// has the path / and no domain: no other host can set or overwrite it.
	cookieName = "__Host-token"
)

//go:embed web
var web embed.FS

var pages = template.Must(template.ParseFS(web, "web/*.html"))

// place is where the token may be: in a header for programs, in a cookie for browsers.
var place = jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie(cookieName))

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	Role   string `json:"role"`
	Tenant string `json:"tid"`
}

// Validate is called by jwthttp for each request.
func (c claims) Validate() error {
	if c.Subject == "" || c.Role == "" || c.Tenant == "" {
		return errors.New("sub, role or tid is missing")
	}
	return nil
}

type app struct {
	users       userStore
	keys        *keyring
	lifetime    time.Duration
	allowOrigin string
	log         *slog.Logger

	revoked jwthttp.RevocationList
}

func (a *app) handler() (http.Handler, error) {
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name:       issuer,
			Audience:   []string{audience},
			Algorithms: []string{"HS256"},
			Types:      []string{"at+jwt"},
			Keys:       jwthttp.Keyfunc(a.keys.verifying),
		}},
		Extractor:    place,
		Revoked:      a.revoked.Revoked,
		ErrorHandler: a.refuse,
		Observer:     a.observe,
	})
	if err != nil {
		return nil, err
	}

	// Login CSRF: another site must not sign a visitor in as someone else. No
	// token is needed to sign in, so the guard of the middleware does not help.
	sameSite := http.NewCrossOriginProtection()
	sameSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		jwthttp.WriteError(w, &jwthttp.Error{Status: http.StatusForbidden, Reason: jwthttp.ReasonCrossOrigin})
	}))

	mux := a.routes(auth, sameSite)
	var handler http.Handler = mux
	if a.allowOrigin != "" {
		if strings.Contains(a.allowOrigin, "*") { // a pattern, for rs/cors
			return nil, fmt.Errorf("-allow-origin: %q: not one origin", a.allowOrigin)
		}
		if err := sameSite.AddTrustedOrigin(a.allowOrigin); err != nil {
			return nil, fmt.Errorf("-allow-origin: %w", err)
		}
		// Outside of the middleware: a preflight request has no token, and a
		// page can read a refusal only if it has the headers too. Credentials
		// are not allowed: that page sends its token in a header, no cookie.
		handler = cors.New(cors.Options{
			AllowedOrigins: []string{a.allowOrigin},
			AllowedMethods: []string{http.MethodGet, http.MethodPost},
			AllowedHeaders: []string{"Authorization", "Content-Type"},
			ExposedHeaders: []string{"WWW-Authenticate"},
		}).Handler(mux)
	}
	return withSecurityHeaders(handler), nil
}

func (a *app) routes(auth *jwthttp.Middleware, sameSite *http.CrossOriginProtection) *http.ServeMux {
	admin := auth.Require(isAdmin)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	for _, file := range []string{"app.js", "style.css"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, web, "web/"+file)
		})
	}
	mux.Handle("POST /login", sameSite.Handler(http.HandlerFunc(a.login)))
	mux.Handle("POST /logout", auth.Handler(http.HandlerFunc(a.logout)))
	mux.Handle("GET /list", auth.Handler(http.HandlerFunc(list)))
	mux.Handle("GET /validate", auth.Handler(http.HandlerFunc(validate)))
	mux.Handle("GET /account", auth.Handler(http.HandlerFunc(account)))
	mux.Handle("GET /admin", admin.Handler(http.HandlerFunc(a.admin)))
	mux.Handle("POST /rotate", admin.Handler(http.HandlerFunc(a.rotate)))
	mux.Handle("POST /change-secret", admin.Handler(http.HandlerFunc(a.changeSecret)))
	return mux
}

func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // RFC 6749 §5.1 for tokens, and what they open is as private
		next.ServeHTTP(w, r)
	})
}

// issue signs a token.
func (a *app) issue(name string, u user, lifetime time.Duration) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuer,
			Subject:   name,
			Audience:  jwt.ClaimStrings{audience},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
			ID:        rand.Text(), // what a revocation names
		},
		Role:   u.role,
		Tenant: u.tenant,
	})
	k := a.keys.signing()
	t.Header["kid"] = k.ID
	t.Header["typ"] = "at+jwt" // RFC 9068: no other kind of JWT passes for an access token
	return t.SignedString(k.Secret)
}

// login signs a user in. A program gets the token, a browser's form a cookie
// with it, which no script can read.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	name, password, p := readCredentials(w, r)
	if p != nil {
		p.write(w, r)
		return
	}
	// A service on the internet also limits the attempts per name and address.
	u, ok := a.users.check(name, password)
	if !ok {
		// Without the name: people do type their password there.
		a.log.Info("login refused")
		p := &problem{http.StatusUnauthorized, "invalid_credentials", "wrong name or password"}
		p.write(w, r)
		return
	}
	token, err := a.issue(name, u, a.lifetime)
	if err != nil {
		a.fail(w, err)
		return
	}
	a.log.Info("login", "subject", name)
	if wantsPage(r) {
		setCookie(w, token, int(a.lifetime.Seconds()))
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token":      token,
		"token_type": "Bearer",
		"expires_in": int(a.lifetime.Seconds()),
	})
}

// readCredentials reads name and password from a JSON body or a form.
func readCredentials(w http.ResponseWriter, r *http.Request) (name, password string, p *problem) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	var body struct{ Username, Password string }
	var err error
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "application/json":
		var text []byte
		if text, err = io.ReadAll(r.Body); err == nil {
			err = json.Unmarshal(text, &body)
		}
	case "application/x-www-form-urlencoded":
		err = r.ParseForm()
		// Not r.Form: a password in the URL ends up in logs and histories.
		body.Username, body.Password = r.PostForm.Get("username"), r.PostForm.Get("password")
	default:
		return "", "", &problem{http.StatusUnsupportedMediaType, "invalid_request", "send JSON or a form"}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", "", &problem{http.StatusRequestEntityTooLarge, "invalid_request", "the request is too large"}
	case err != nil || body.Username == "" || body.Password == "":
		return "", "", &problem{http.StatusBadRequest, "invalid_request", "username and password are needed"}
	case len(body.Password) > 72:
		// bcrypt reads no further: anything with the same beginning would do.
		return "", "", &problem{http.StatusBadRequest, "invalid_request", "a password has at most 72 bytes"}
	}
	return body.Username, body.Password, nil
}

// logout ends the token itself, not only the browser's copy of it.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	if err := a.revoked.RevokeToken(token); err != nil {
		a.fail(w, err)
		return
	}
	if token.Source == jwthttp.SourceCookie {
		setCookie(w, "", -1)
	}
	if wantsPage(r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// list answers with the lists of the user's tenant: whose they are, the token
// says, never the request.
func list(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant": c.Tenant,
		"list": map[string][]string{
			"wonderland": {"white rabbit", "hatter", "cheshire cat"},
			"difference": {"mill", "store", "punched cards"},
		}[c.Tenant],
	})
}

func validate(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	writeJSON(w, http.StatusOK, c)
}

func account(w http.ResponseWriter, r *http.Request) {
	c, _ := jwthttp.ClaimsFromContext[claims](r.Context())
	show(w, http.StatusOK, "account.html", c)
}

// isAdmin is a rule for jwthttp: its error is a 403, and its text is for the log.
func isAdmin(r *http.Request) error {
	if c, _ := jwthttp.ClaimsFromContext[claims](r.Context()); c.Role != "admin" {
		return fmt.Errorf("role %q is not admin", c.Role)
	}
	return nil
}

func (a *app) admin(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"kid": a.keys.signing().ID, "revoked": a.revoked.Len()})
}

func (a *app) rotate(w http.ResponseWriter, r *http.Request) {
	kid, err := a.keys.rotate(a.lifetime)
	if err != nil {
		a.fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"kid": kid})
}

func (a *app) changeSecret(w http.ResponseWriter, r *http.Request) {
	if err := a.keys.changeSecret(); err != nil {
		a.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// home serves the page, with a word on why someone was sent here.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	notice := ""
	if r.URL.Query().Has("sign-in-first") {
		notice = "Sign in to see that page."
	}
	show(w, http.StatusOK, "page.html", notice)
}

// refuse is the jwthttp.Options.ErrorHandler: a person in front of a browser
// is sent to the page with the login, a program gets the plain refusal.
func (a *app) refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	if found, _ := place(r); e.Status == http.StatusUnauthorized && found.Source != jwthttp.SourceHeader {
		if found.Source == jwthttp.SourceCookie {
			setCookie(w, "", -1) // it will not get better
		}
		if wantsPage(r) {
			w.Header().Del("WWW-Authenticate") // belongs to the 401 that this is not
			http.Redirect(w, r, "/?sign-in-first", http.StatusSeeOther)
			return
		}
	}
	jwthttp.WriteError(w, e)
}

// observe is the jwthttp.Options.Observer. None of what it logs can hold a
// token: of the URL the path only, of the token what it says, of the error
// what jwthttp keeps free of it.
func (a *app) observe(r *http.Request, e jwthttp.Event) {
	level, fields := slog.LevelInfo, []any{"method", r.Method, "path", r.URL.Path, "took", e.Took, "cached", e.Cached}
	if e.Token != nil {
		fields = append(fields, "subject", e.Token.Subject, "kid", e.Token.KeyID)
	}
	if e.Err == nil {
		a.log.Info("admitted", fields...)
		return
	}
	if e.Err.Status >= 500 {
		level = slog.LevelError
	}
	a.log.Log(r.Context(), level, "refused", append(fields, "reason", e.Err.Reason, "status", e.Err.Status, "cause", e.Err.Err)...)
}

// wantsPage reports whether r comes from someone who looks at pages.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

func setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// problem is a refused login.
type problem struct {
	status     int
	code, text string
}

func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restricted"`) // RFC 9110 §15.5.2: every 401 has one
	}
	if wantsPage(r) {
		show(w, p.status, "page.html", "Not signed in: "+p.text+".")
		return
	}
	writeJSON(w, p.status, map[string]string{"error": p.code, "error_description": p.text})
}

func (a *app) fail(w http.ResponseWriter, err error) {
	a.log.Error("internal error", "error", err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}

func show(w http.ResponseWriter, status int, page string, content any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, page, content) // the client is gone if this fails
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
