package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	issuer   = "https://site.example" // this site, which signs the tokens
	audience = "https://site.example" // this site, too: a token is good for its pages only

	// A browser accepts a cookie with the prefix __Host- only if it is Secure,
	// has the path / and no domain. So no other host can set or overwrite it.
	// Secure requires https, except on loopback in Chromium: it keeps the cookie
	// of http://127.0.0.1 and http://localhost.
	cookieName = "__Host-token"

	// requestTime is longer than a request takes.
	requestTime = time.Minute
)

// claims are the claims of a token.
type claims struct {
	jwt.RegisteredClaims
	SessionID string          `json:"sid"`
	AuthTime  jwt.NumericDate `json:"auth_time"` // when the password was given (OpenID Connect Core §2)
}

// Validate is called by jwthttp for each request. A logout needs the sid; renewing
// needs iat and auth_time.
func (c claims) Validate() error {
	if c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero() || c.IssuedAt == nil {
		return errors.New("sub, sid, auth_time or iat is missing")
	}
	return nil
}

// sessionEnd returns the time after which the user must enter the password again.
func (s *site) sessionEnd(c claims) time.Time { return c.AuthTime.Add(s.session) }

// issue signs the next token of the session of c, sets the cookie, and returns the
// claims of the token.
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
		setCookie(w, token, int(c.ExpiresAt.Sub(now).Seconds())+1) // rounded up, because 0 means no limit
	}
	return c, err
}

// renewing replaces a token in the second half of its lifetime, unless it is valid
// to the end of the session. It is called by a jwthttp Handler, which has rejected
// expired and revoked tokens.
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

// end revokes all tokens of the session. A request that was admitted before may
// still renew its token, so IssuedUntil is in the future. Nothing else is revoked
// by that, because no later session has the same sid.
func (s *site) end(ctx context.Context, c claims) error {
	return s.ended.Revoke(ctx, revocation.Entry{
		Kind: revocation.BySession, Issuer: issuer, Value: c.SessionID,
		IssuedUntil: time.Now().Add(requestTime),
		Expires:     s.sessionEnd(c).Add(requestTime), // after IssuedUntil, as Revoke requires
	})
}

// setCookie gives the token to the browser. No script can read it. With Lax, the
// browser sends it with links from other sites, but not with their forms.
func setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
