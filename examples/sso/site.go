package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// site is one of the services that people use. It knows the identity service
// by its name, and everything else about its tokens from what that publishes.
type site struct {
	id     string // its client_id
	url    string // its audience
	other  string // for a link
	issuer string
	cfg    config
	log    *slog.Logger

	// Browsers keep cookies per host and not per port. Here, where all three
	// share a host, each needs names of its own, and gets to see those of the
	// others. Real sites have hosts of their own, and __Host- then keeps even
	// neighbours of one domain apart.
	cookie      string // has the access token
	beganCookie string // has what a sign-in began with, until it comes back

	auth  *jwthttp.Middleware
	ended jwthttp.RevocationList // forgets when the program ends; its tokens live for minutes only

	handler http.Handler
}

// logoutClaims are what a logout token says.
type logoutClaims struct {
	jwt.RegisteredClaims
	SessionID string                     `json:"sid"`
	Events    map[string]json.RawMessage `json:"events"`
	Nonce     *string                    `json:"nonce,omitempty"`
}

// Validate is what OpenID Connect Back-Channel Logout §2.6 asks for beyond what
// jwthttp checks anyway.
func (c logoutClaims) Validate() error {
	if _, ok := c.Events[logoutEvent]; !ok || c.SessionID == "" || c.Nonce != nil {
		return errors.New("no logout event, no sid, or a nonce")
	}
	return nil
}

// newSite fetches the keys in the background until ctx ends.
func newSite(ctx context.Context, id, self, other, issuer string, cfg config) (*site, error) {
	s := &site{
		id: id, url: self, other: other, issuer: issuer, cfg: cfg, log: cfg.log.With("at", "site "+id),
		cookie: "__Host-" + id, beganCookie: "__Host-" + id + "-began",
	}
	keys, err := jwthttp.DiscoverJWKS(ctx, issuer, jwthttp.JWKSOptions{
		MinInterval: cfg.interval,
		OnError:     func(err error) { s.log.Error("no keys", "error", err) },
	})
	if err != nil {
		return nil, err
	}
	trusted := jwthttp.Issuer{
		Name:       issuer,
		Audience:   []string{self}, // what the other site is sent is of no use here
		Algorithms: []string{"ES256"},
		Types:      []string{accessToken},
		Keys:       keys,
	}
	s.auth, err = jwthttp.New[claims](jwthttp.Options{
		Issuers:      []jwthttp.Issuer{trusted},
		Extractor:    s.place(),
		Leeway:       leeway,
		Revoked:      s.ended.Revoked,
		ErrorHandler: s.refuse,
		Observer:     observer(s.log),
	})
	if err != nil {
		return nil, err
	}
	trusted.Types = []string{logoutToken} // the same keys sign both kinds: only this keeps them apart
	logouts, err := jwthttp.New[logoutClaims](jwthttp.Options{
		Issuers:      []jwthttp.Issuer{trusted},
		Extractor:    formField("logout_token"),
		Leeway:       leeway,
		ErrorHandler: refuseLogout,
		Observer:     observer(s.log),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.auth.Handler(http.HandlerFunc(s.home)))
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("GET /callback", s.callback)
	mux.Handle("POST /logout", s.auth.Handler(http.HandlerFunc(s.logout)))
	mux.HandleFunc("GET /signed-out", s.signedOut)
	mux.Handle("POST /backchannel-logout", parsed(logouts.Handler(http.HandlerFunc(s.backchannelLogout))))
	s.handler = withSecurityHeaders(self, []string{issuer}, mux)
	return s, nil
}

// place is where an access token may be: in a header for programs, in a cookie for browsers.
func (s *site) place() jwthttp.Extractor {
	return jwthttp.FirstOf(jwthttp.FromHeader("Authorization", "Bearer"), jwthttp.FromCookie(s.cookie))
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	show(w, http.StatusOK, "site.html", map[string]any{"Name": strings.ToUpper(s.id), "Token": token, "Other": s.other, "Issuer": s.issuer})
}

// refuse is the jwthttp.Options.ErrorHandler: a person in front of a browser
// is sent to the identity service, a program gets the plain refusal.
func (s *site) refuse(w http.ResponseWriter, r *http.Request, e *jwthttp.Error) {
	found, _ := s.place()(r)
	if e.Status != http.StatusUnauthorized || found.Source == jwthttp.SourceHeader || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		jwthttp.WriteError(w, e)
		return
	}
	w.Header().Del("WWW-Authenticate") // belongs to the 401 that this is not
	if found.Source == jwthttp.SourceCookie {
		setCookie(w, s.cookie, "", -1) // it will not get better
	}
	if r.Method != http.MethodGet {
		// A logout with a token that has expired: to sign in for it would be
		// odd, and over there is the button too.
		http.Redirect(w, r, s.issuer, http.StatusSeeOther)
		return
	}
	// Both come back: the state from the browser that began and no other, so
	// that nobody is signed in as someone else by a link; the verifier from
	// the one who asks for the token, so that a code alone opens nothing. They
	// wait in the browser: kept here, every visitor would cost memory.
	state, verifier := rand.Text(), rand.Text()+rand.Text() // RFC 7636 §4.1: 43 characters or more
	setCookie(w, s.beganCookie, state+"."+verifier, 5*time.Minute)
	http.Redirect(w, r, s.issuer+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {s.id}, "redirect_uri": {redirectURI(s.url)},
		"state": {state}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}.Encode(), http.StatusSeeOther)
}

// callback is where the identity service sends the browser with a code.
func (s *site) callback(w http.ResponseWriter, r *http.Request) {
	var state, verifier string
	if c, err := r.Cookie(s.beganCookie); err == nil {
		state, verifier, _ = strings.Cut(c.Value, ".")
	}
	q := r.URL.Query()
	if state == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
		s.log.Warn("callback refused: not the state of this browser")
		show(w, http.StatusBadRequest, "message.html", message{"Not signed in", "This browser did not begin that sign-in, or too long ago."})
		return
	}
	setCookie(w, s.beganCookie, "", -1)
	answer, err := s.redeem(r.Context(), q.Get("code"), verifier)
	if err == nil {
		// A token that is no good here would be sent back for the next one,
		// round and round.
		probe := r.Clone(r.Context())
		probe.Header.Set("Authorization", "Bearer "+answer.Token)
		_, err = s.auth.Authenticate(probe)
	}
	if err != nil {
		s.log.Error("no token for a code", "error", err)
		show(w, http.StatusBadGateway, "message.html", message{"Not signed in", "The identity service gave no token for this site."})
		return
	}
	// Lax, not Strict: the first request with it ends a chain of redirects
	// that began elsewhere, and would be without it, for ever.
	setCookie(w, s.cookie, answer.Token, time.Duration(answer.ExpiresIn)*time.Second)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// redeem asks for the token of a code, past the browser.
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

// logout ends the session here, and then everywhere.
func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	if err := s.end(token); err != nil { // first, so that it holds whatever becomes of the rest
		fail(w, s.log, err)
		return
	}
	setCookie(w, s.cookie, "", -1)
	if _, err := post(r.Context(), s.issuer+"/logout", token.Raw(), nil); err != nil {
		s.log.Error("not signed out everywhere", "error", err)
		http.Redirect(w, r, "/signed-out?here-only", http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/signed-out", http.StatusSeeOther)
}

func (s *site) signedOut(w http.ResponseWriter, r *http.Request) {
	text := "Here, at the other site and at the identity service."
	if r.URL.Query().Has("here-only") {
		text = "Here only: the identity service did not answer, or could not tell the other site."
	}
	show(w, http.StatusOK, "message.html", message{"Signed out", text})
}

// backchannelLogout is called by the identity service when a session ended
// elsewhere. The token is what proves that; there is no browser in it. A token
// that comes twice ends what is ended.
func (s *site) backchannelLogout(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	if err := s.end(token); err != nil {
		fail(w, s.log, err)
		return
	}
	s.log.Info("session ended by the identity service")
}

// end refuses the tokens of a session from now on.
func (s *site) end(t *jwthttp.Token) error {
	now := time.Now()
	return s.ended.Add(jwthttp.Revocation{
		Issuer:    t.Issuer,
		SessionID: t.SessionID,
		// A session that ended does not come back, so this may lie ahead, and
		// has to if the clock of the identity service is ahead.
		IssuedUntil: now.Add(leeway),
		Expires:     now.Add(s.cfg.lifetime + leeway),
	})
}

// parsed reads a small form before next, whose Extractor should not.
func parsed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "not a form, or too large", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// formField finds the token in a field of a parsed form. Its Source is left at
// SourceOther: a form is what other sites make browsers send, and jwthttp's
// guard refuses those. A server that calls is no browser and gets through.
func formField(name string) jwthttp.Extractor {
	return func(r *http.Request) (jwthttp.Credential, error) {
		switch values := r.PostForm[name]; len(values) {
		case 0:
			return jwthttp.Credential{}, jwthttp.ErrNoToken
		case 1:
			return jwthttp.Credential{Token: values[0], Name: name}, nil
		default:
			return jwthttp.Credential{}, jwthttp.ErrMultipleTokens
		}
	}
}

// refuseLogout answers as OpenID Connect Back-Channel Logout §2.8 has it: 400
// for a token that is no good. A 503, while the keys are out of reach, stays one.
func refuseLogout(w http.ResponseWriter, _ *http.Request, e *jwthttp.Error) {
	if e.Status == http.StatusUnauthorized {
		w.Header().Del("WWW-Authenticate")
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	jwthttp.WriteError(w, e)
}
