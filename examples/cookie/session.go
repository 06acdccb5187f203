package main

import (
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

const (
	issuer   = "https://site.example" // us, since we sign
	audience = "https://site.example" // us too: the pages are all that a token opens

	// A browser takes a cookie with the prefix __Host- only if it is Secure,
	// has the path / and no domain: no other host can set or overwrite it.
	// Secure asks for https, but for loopback: Chromium keeps the cookie of
	// http://127.0.0.1 and http://localhost and sends it back (see the tests).
	cookieName = "__Host-token"
)

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	SessionID string          `json:"sid"`
	AuthTime  jwt.NumericDate `json:"auth_time"` // when the password was given (OpenID Connect Core §2)
}

// Validate is called by jwthttp for each request. Without a sid no logout would
// end the token; without iat and auth_time nobody knows when to renew it.
func (c claims) Validate() error {
	if c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero() || c.IssuedAt == nil {
		return errors.New("sub, sid, auth_time or iat is missing")
	}
	return nil
}

// sessionEnd is when the password is asked for again, whatever was renewed.
func (s *site) sessionEnd(c claims) time.Time { return c.AuthTime.Add(s.session) }

// issue signs the next token of the session of c, and returns what it says.
func (s *site) issue(w http.ResponseWriter, c claims) (claims, error) {
	now := time.Now()
	expires := now.Add(s.lifetime)
	if end := s.sessionEnd(c); end.Before(expires) {
		expires = end
	}
	c.Issuer, c.Audience, c.ID = issuer, jwt.ClaimStrings{audience}, rand.Text()
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(expires)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.secret)
	if err == nil {
		setCookie(w, token, int(c.ExpiresAt.Sub(now).Seconds())+1) // rounded up: 0 would be no limit
	}
	return c, err
}

// renewing replaces a token when more than half of its life has passed, unless
// it lasts to the end of the session anyway. It stands behind auth.Handler: a
// token that is expired or revoked does not get here.
func (s *site) renewing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := jwthttp.ClaimsFromContext[claims](r.Context()) // false: a visitor
		if ok && time.Since(c.IssuedAt.Time) > time.Until(c.ExpiresAt.Time) && c.ExpiresAt.Before(s.sessionEnd(c)) {
			c, err := s.issue(w, c)
			if err != nil {
				fail(w, err)
				return
			}
			r = r.WithContext(jwthttp.ContextWithClaims(r.Context(), c))
		}
		next(w, r)
	}
}

// end refuses all tokens of the session, those too that a request under way is
// about to renew: it was let in before, and its token may be issued after this.
// Such a request takes no minute, and the sid does not come back.
func (s *site) end(c claims) error {
	return s.ended.Add(jwthttp.Revocation{
		Issuer: issuer, SessionID: c.SessionID,
		IssuedUntil: time.Now().Add(time.Minute),
		Expires:     s.sessionEnd(c), // no token of the session lives longer
	})
}

// setCookie hands the token to the browser, out of reach of scripts. Lax keeps
// it out of other sites' forms and frames, and still sends it along with a link.
func setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
