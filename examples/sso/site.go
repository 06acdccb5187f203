package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
	"github.com/seed450a7203/jwthttp/sqlrevocation"
)

// fromHeader is where programs send a token. Browsers send it in a cookie.
var fromHeader = jwthttp.FromHeader("Authorization", "Bearer")

// site is one of the two services that people use. Of the identity service it
// knows only the name, and finds the rest in the metadata published there.
type site struct {
	id     string // its client_id
	url    string // its audience
	other  string // the other site, for a link
	issuer string
	cfg    config
	log    *slog.Logger

	// A browser keeps cookies per host, not per port. Because the three services
	// of this example share a host, their cookies need different names, and each
	// service sees those of the others. Real sites have separate hosts, and
	// __Host- separates even hosts of one domain.
	cookie      string // has the access token
	beganCookie string // has state and verifier of a sign-in under way

	auth    *jwthttp.Middleware
	ended   *sqlrevocation.Store
	program *program

	handler http.Handler // of the first instance, for browsers
	second  http.Handler // of the second instance, for programs
}

// newSite returns a site that fetches keys in the background until ctx ends.
func newSite(ctx context.Context, id, self, second, other, issuer string, cfg config) (*site, error) {
	s := &site{
		id: id, url: self, other: other, issuer: issuer, cfg: cfg, log: cfg.log.With("at", "site "+id),
		cookie: "__Host-" + id, beganCookie: "__Host-" + id + "-began",
	}
	s.program = newProgram(second, "Site "+strings.ToUpper(id), cfg, s.log)
	file := filepath.Join(cfg.data, id+".db")
	var err error
	if s.ended, err = openStore(ctx, file, s.cfg, s.warn); err != nil {
		return nil, err
	}
	keys, err := jwks.Discover(ctx, issuer, jwks.Options{
		MinInterval: cfg.interval,
		OnError:     func(err error) { s.log.Error("no keys", "error", err) },
	})
	if err != nil {
		return nil, err
	}
	s.auth, err = jwthttp.New[claims](jwthttp.Options{
		Issuers:      []jwthttp.Issuer{s.trusted(keys, []string{accessToken})},
		Extractor:    jwthttp.FirstOf(fromHeader, jwthttp.FromCookie(s.cookie)),
		Leeway:       leeway,
		Revoked:      s.ended.Revoked,
		ErrorHandler: s.refuse,
		Observer:     observer(s.log),
	})
	if err != nil {
		return nil, err
	}
	receiver, err := logout.BackChannel(logout.Options{
		Issuers:       []jwthttp.Issuer{s.trusted(keys, nil)},
		Revoke:        s.ended.Revoke,
		TokenLifetime: cfg.lifetime,
		Leeway:        leeway,
		Observer:      s.observeLogout,
	})
	if err != nil {
		return nil, err
	}
	s.handler = withSecurityHeaders(self, []string{issuer}, s.route(ctx, receiver))
	s.second, err = s.newSecond(ctx, file, keys)
	return s, err
}

// route returns the routes of the first instance. Programs end with ctx.
func (s *site) route(ctx context.Context, receiver http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.auth.Handler(http.HandlerFunc(s.home)))
	mux.HandleFunc("GET /style.css", demo.Style)
	mux.HandleFunc("GET /callback", s.callback)
	mux.Handle("POST /logout", s.auth.Handler(http.HandlerFunc(s.logout)))
	mux.HandleFunc("GET /signed-out", s.signedOut)
	mux.Handle("POST /program", s.auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwthttp.TokenFromContext(r.Context())
		s.program.start(ctx, token)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})))
	// The identity service has no token of a user, so this is outside of s.auth.
	mux.Handle("/backchannel-logout", receiver)
	return mux
}

// newSecond returns the second instance of a site, for programs. It shares the file
// of revocations with the first, and nothing else. On several machines it would be
// a server such as PostgreSQL or Redis.
func (s *site) newSecond(ctx context.Context, file string, keys *jwks.Set) (http.Handler, error) {
	ended, err := openStore(ctx, file, s.cfg, s.warn)
	if err != nil {
		return nil, err
	}
	auth, err := jwthttp.New[claims](jwthttp.Options{
		Issuers:   []jwthttp.Issuer{s.trusted(keys, []string{accessToken})},
		Leeway:    leeway,
		Revoked:   ended.Revoked,
		CacheSize: 100,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, jwthttp.MustClaims[claims](r.Context()).Subject)
	})))
	return mux, nil
}

func (s *site) warn(err error) { s.log.Warn("revocations", "error", err) }

// trusted returns the identity service as an issuer of the given types of token.
// The same keys sign access tokens and logout tokens, so only "typ" tells them
// apart. Package logout sets its types itself.
func (s *site) trusted(keys *jwks.Set, types []string) jwthttp.Issuer {
	return jwthttp.Issuer{
		Name:       s.issuer,
		Audience:   []string{s.url}, // rejects tokens for the other site
		Algorithms: []string{"ES256"},
		Types:      types,
		Keys:       keys,
	}
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	s.cfg.board.expect(token.SessionID, s.where())
	show(w, http.StatusOK, "site.html", map[string]any{
		"ID": s.id, "Name": strings.ToUpper(s.id), "Token": token, "Other": s.other, "OtherName": map[string]string{"a": "B", "b": "A"}[s.id], "Issuer": s.issuer,
		"Program": s.program.uses(token.SessionID), "Second": s.program.url,
	})
}

// where names the first instance on the pages.
func (s *site) where() string { return "Site " + strings.ToUpper(s.id) + ": your browser" }

// refuse is the jwthttp.Options.ErrorHandler. It redirects a browser to the
// identity service. A program gets the error response of jwthttp.
func (s *site) refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	if _, err := fromHeader(r); !errors.Is(err, jwthttp.ErrNoToken) {
		jwthttp.WriteError(w, e) // only programs send the header
		return
	}
	// Delete a cookie that will never be accepted. After a 403 or 503 it may be.
	if e.Code == "invalid_token" || e.Reason == jwthttp.ReasonMultiple {
		setCookie(w, s.cookie, "", -1)
	}
	if e.Status != http.StatusUnauthorized || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		jwthttp.WriteError(w, e)
		return
	}
	w.Header().Del("WWW-Authenticate") // the response is no longer a 401
	if r.Method != http.MethodGet {
		// A logout with an expired token. A new sign-in would not help; the
		// identity service has a button to sign out, too.
		http.Redirect(w, r, s.issuer, http.StatusSeeOther)
		return
	}
	// The state must come back with the same browser, so that a link cannot sign
	// a visitor in as someone else. The verifier must be sent for the token, so
	// that a stolen code is useless. Both are kept in the browser, because here
	// each visitor would cost memory.
	state, verifier := rand.Text(), rand.Text()+rand.Text() // RFC 7636 §4.1: 43 characters or more
	setCookie(w, s.beganCookie, state+"."+verifier, 5*time.Minute)
	http.Redirect(w, r, s.issuer+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {s.id}, "redirect_uri": {redirectURI(s.url)},
		"state": {state}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}.Encode(), http.StatusSeeOther)
}

// callback signs in a browser that the identity service has sent with a code.
func (s *site) callback(w http.ResponseWriter, r *http.Request) {
	var state, verifier string
	if c, err := r.Cookie(s.beganCookie); err == nil {
		state, verifier, _ = strings.Cut(c.Value, ".")
	}
	q := r.URL.Query()
	if state == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
		s.log.Warn("callback rejected: another browser's state")
		show(w, http.StatusBadRequest, "message.html", message{At: s.id, Title: "Not signed in", Text: "This browser did not begin that sign-in, or the sign-in took too long."})
		return
	}
	setCookie(w, s.beganCookie, "", -1)
	answer, err := s.redeem(r.Context(), q.Get("code"), verifier)
	if err == nil {
		// With a token that this site rejects, the browser would be redirected to
		// the identity service again and again.
		_, err = s.auth.Verify(r.Context(), answer.Token)
	}
	if err != nil {
		s.log.Error("no token for a code", "error", err)
		show(w, http.StatusBadGateway, "message.html", message{At: s.id, Title: "Not signed in", Text: "The identity service gave no token for this site."})
		return
	}
	// The cookie is Lax. A browser does not send a Strict cookie at the end of
	// redirects that began at another site, so the sign-in would never end.
	setCookie(w, s.cookie, answer.Token, time.Duration(answer.ExpiresIn)*time.Second)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// redeem exchanges a code for a token.
func (s *site) redeem(ctx context.Context, code, verifier string) (answer tokenAnswer, err error) {
	body, err := post(ctx, s.issuer+"/token", "", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI(s.url)},
		"client_id": {s.id}, "code_verifier": {verifier},
	})
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	return answer, err
}

// logout ends the session at this site first, and then everywhere.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	ctx := context.WithoutCancel(r.Context()) // a browser that leaves must not stop a logout
	s.cfg.board.start(token.SessionID)
	if err := s.end(ctx, token); err != nil {
		fail(w, s.log, err)
		return
	}
	s.cfg.board.reached(token.SessionID, s.where())
	setCookie(w, s.cookie, "", -1)
	if _, err := post(ctx, s.issuer+"/logout", token.Raw(), nil); err != nil {
		s.log.Error("not signed out everywhere", "error", err)
		http.Redirect(w, r, "/signed-out?here-only&session="+url.QueryEscape(token.SessionID), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/signed-out?session="+url.QueryEscape(token.SessionID), http.StatusSeeOther)
}

func (s *site) signedOut(w http.ResponseWriter, r *http.Request) {
	text := "You are signed out of both sites and of the identity service."
	if r.URL.Query().Has("here-only") {
		text = "You are signed out of this site only. The identity service did not answer, or could not tell the other site."
	}
	show(w, http.StatusOK, "message.html", message{s.id, "Signed out", text, s.cfg.board.arrivals(r.Context(), r.URL.Query().Get("session"))})
}

// observeLogout logs what the identity service has sent.
func (s *site) observeLogout(ctx context.Context, e logout.Event) {
	if e.Err != nil {
		s.log.WarnContext(ctx, "logout refused", "event", e)
		return
	}
	for _, entry := range e.Ended {
		s.cfg.board.reached(entry.Value, s.where())
	}
	s.log.InfoContext(ctx, "session ended by the identity service", "event", e)
}

// end revokes the tokens of a session.
func (s *site) end(ctx context.Context, t *jwthttp.Token) error {
	// The clock of the identity service may be ahead, so its latest tokens may
	// have a later iat than now. No new session has the same sid.
	until := time.Now().Add(leeway)
	return s.ended.Revoke(ctx, revocation.Entry{
		Kind: revocation.BySession, Issuer: t.Issuer, Value: t.SessionID,
		IssuedUntil: until, Expires: until.Add(s.cfg.lifetime),
	})
}
