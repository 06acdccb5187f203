package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/cors"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	issuer   = "https://login.example" // this program, which signs the tokens
	audience = "https://lists.example" // this program too: the tokens are for its lists

	// A browser accepts a cookie with the prefix __Host- only if it is Secure,
	// has the path / and no domain. So no other host can set or overwrite it.
	cookieName = "__Host-token"
)

//go:embed web
var web embed.FS

var pages = demo.Pages(web)

// Programs send the token in a header, browsers in a cookie.
var (
	fromHeader = jwthttp.FromHeader("Authorization", "Bearer")
	fromCookie = jwthttp.FromCookie(cookieName)
)

// claims are the claims of a token.
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
	users       demo.Users
	keys        *keyring
	lifetime    time.Duration
	allowOrigin string
	log         *slog.Logger

	revoked revocation.List // in memory: a restart forgets it
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
		Extractor:    jwthttp.FirstOf(fromHeader, fromCookie),
		Revoked:      a.revoked.Revoked,
		ErrorHandler: a.refuse,
		Observer:     a.observe,
	})
	if err != nil {
		return nil, err
	}

	// Login CSRF: another site must not sign a visitor in as someone else. The
	// middleware does not protect the login, because a login needs no token.
	sameSite := http.NewCrossOriginProtection()
	sameSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		jwthttp.WriteError(w, &jwthttp.Error{Status: http.StatusForbidden, Reason: jwthttp.ReasonCrossOrigin})
	}))

	mux := a.routes(auth, sameSite)
	if a.allowOrigin == "" {
		return withSecurityHeaders(mux), nil
	}
	if strings.Contains(a.allowOrigin, "*") { // a pattern, for rs/cors
		return nil, fmt.Errorf("-allow-origin: %q is not an origin", a.allowOrigin)
	}
	if err := sameSite.AddTrustedOrigin(a.allowOrigin); err != nil {
		return nil, fmt.Errorf("-allow-origin: %w", err)
	}
	return withSecurityHeaders(withCORS(a.allowOrigin, mux)), nil
}

// withCORS allows pages of one other origin to send requests and to read the
// answers. It goes around the middleware: a preflight request has no token, and a
// page can read an error response only if that has the CORS headers, too. Cookies
// are not allowed, because the page sends its token in a header.
func withCORS(origin string, next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedOrigins: []string{origin},
		AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"WWW-Authenticate"},
	}).Handler(next)
}

func (a *app) routes(auth *jwthttp.Middleware, sameSite *http.CrossOriginProtection) *http.ServeMux {
	admin := auth.Require(jwthttp.Rule(isAdmin))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, web, "web/app.js")
	})
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
		h.Set("Cache-Control", "no-store") // RFC 6749 §5.1 for tokens; the pages are private, too
		next.ServeHTTP(w, r)
	})
}

// role returns the role and the tenant of a user. It stands for the database.
func role(name string) (role, tenant string) {
	if name == demo.Ada {
		return "admin", "difference"
	}
	return "editor", "wonderland"
}

// issue signs a token.
func (a *app) issue(name string, lifetime time.Duration) (string, error) {
	now := time.Now()
	role, tenant := role(name)
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuer,
			Subject:   name,
			Audience:  jwt.ClaimStrings{audience},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
			ID:        rand.Text(), // a logout revokes it by this ID
		},
		Role:   role,
		Tenant: tenant,
	})
	k := a.keys.signing()
	t.Header["kid"] = k.ID
	t.Header["typ"] = "at+jwt" // RFC 9068: so no other kind of JWT is accepted as an access token
	return t.SignedString(k.Secret)
}

// login signs a user in. A program gets the token in the response. The form of a
// browser gets it in a cookie that no script can read.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	name, password, p := readCredentials(w, r)
	if p != nil {
		p.write(w, r)
		return
	}
	// A service on the internet must also limit the attempts per name and address.
	if !a.users.Check(name, password) {
		// The name is not logged, because people sometimes type their password there.
		a.log.Info("login refused")
		p := &problem{http.StatusUnauthorized, "invalid_credentials", "wrong name or password"}
		p.write(w, r)
		return
	}
	token, err := a.issue(name, a.lifetime)
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
		// r.Form would accept a password in the URL, which ends up in logs.
		body.Username, body.Password = r.PostForm.Get("username"), r.PostForm.Get("password")
	default:
		return "", "", &problem{http.StatusUnsupportedMediaType, "invalid_request", "send JSON or a form"}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", "", &problem{http.StatusRequestEntityTooLarge, "invalid_request", "request too large"}
	case err != nil || body.Username == "" || body.Password == "":
		return "", "", &problem{http.StatusBadRequest, "invalid_request", "username and password required"}
	case len(body.Password) > 72:
		// bcrypt ignores what follows.
		return "", "", &problem{http.StatusBadRequest, "invalid_request", "a password has at most 72 bytes"}
	}
	return body.Username, body.Password, nil
}

// logout revokes the token. Deleting the cookie alone would leave every copy of
// it valid.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	// A client that hangs up cancels r.Context(), which must not stop a logout.
	if err := a.revoked.RevokeToken(context.WithoutCancel(r.Context()), token); err != nil {
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

// list returns the list of the user's tenant. The tenant comes from the token,
// never from the request.
func list(w http.ResponseWriter, r *http.Request) {
	c := jwthttp.MustClaims[claims](r.Context())
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant": c.Tenant,
		"list": map[string][]string{
			"wonderland": {"white rabbit", "hatter", "cheshire cat"},
			"difference": {"mill", "store", "punched cards"},
		}[c.Tenant],
	})
}

func validate(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, jwthttp.MustClaims[claims](r.Context()))
}

func account(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, "account.html", jwthttp.MustClaims[claims](r.Context()))
}

// isAdmin is a rule for jwthttp. Its error is answered with 403; the text goes
// to the log only.
func isAdmin(_ *http.Request, c claims) error {
	if c.Role != "admin" {
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

// home serves the page. Browsers that were redirected here get a notice.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	notice := ""
	if r.URL.Query().Has("sign-in-first") {
		notice = "Sign in to see that page."
	}
	show(w, http.StatusOK, "page.html", notice)
}

// refuse is the jwthttp.Options.ErrorHandler. It redirects a browser to the page
// with the login. A program gets the error response of jwthttp.
func (a *app) refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	if _, err := fromHeader(r); !errors.Is(err, jwthttp.ErrNoToken) {
		jwthttp.WriteError(w, e) // only programs send the header
		return
	}
	// Delete a cookie that will never be accepted. After a 403 or 503 it may be.
	if e.Code == "invalid_token" || e.Reason == jwthttp.ReasonMultiple {
		setCookie(w, "", -1)
	}
	if e.Status == http.StatusUnauthorized && wantsPage(r) {
		w.Header().Del("WWW-Authenticate") // the response is no longer a 401
		http.Redirect(w, r, "/?sign-in-first", http.StatusSeeOther)
		return
	}
	jwthttp.WriteError(w, e)
}

// observe is the jwthttp.Options.Observer. It logs nothing that can contain a
// token: the path but not the query, single claims, and the cause of a refusal.
func (a *app) observe(ctx context.Context, e jwthttp.Event) {
	level, fields := slog.LevelInfo, []any{"method", e.Request.Method, "path", e.Request.URL.Path, "took", e.Took, "cached", e.Cached}
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
	a.log.Log(ctx, level, "refused", append(fields, "reason", e.Err.Reason, "status", e.Err.Status, "cause", e.Err.Err)...)
}

// wantsPage reports whether a browser has sent r to show the answer as a page.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

func setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// problem is the answer to a failed login.
type problem struct {
	status     int
	code, text string
}

func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restricted"`) // required by RFC 9110 §15.5.2
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
	_ = pages.ExecuteTemplate(w, page, content) // it fails if the client is gone
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
