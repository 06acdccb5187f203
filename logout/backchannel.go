package logout

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/form"
	"github.com/seed450a7203/jwthttp/internal/rawquery"
	"github.com/seed450a7203/jwthttp/internal/refusal"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	logoutField = "logout_token"
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// BackChannel returns a handler for the logout tokens of OpenID Connect
// Back-Channel Logout 1.0. Register it as backchannel_logout_uri. It is safe for
// concurrent use.
//
// A logout token with "sid" revokes the tokens of that session, including those
// issued during the next minute. One with "sub" alone revokes the tokens of the
// subject that were issued until the logout token was. So a logout token that is
// replayed or late does not end a later login, unless it has a "sid", whose
// session never comes back.
//
// The response is 200 after Revoke has returned nil. It is 400 if the token is
// invalid or Revoke fails (§2.8), and 503 if there are no keys to verify the
// token with. Which providers send a logout token again is up to them.
//
// If opts is invalid, the returned error describes every problem, naming the
// field.
func BackChannel(opts Options) (http.Handler, error) {
	rc, err := newReceiver(opts, false, "logout+jwt", "JWT", "")
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := Event{Request: r}
		f := rc.backChannel(w, r, &event)
		rc.observe(event, f)
		f.writeHeader(w, http.StatusOK)
		if f == nil {
			return
		}
		code := f.code
		switch code {
		case "":
			code = "temporarily_unavailable"
		default: // OAuth has one code for all of them (RFC 6749 §5.2)
			code = codeRequest
		}
		_, _ = w.Write(refusal.Body(code, f.text(), ""))
	}), nil
}

func (rc *receiver) backChannel(w http.ResponseWriter, r *http.Request, e *Event) *failure {
	if r.Method != http.MethodPost {
		return notAllowed(r.Method)
	}
	raw, err := logoutToken(w, r)
	if err != nil {
		return refused(codeRequest, err)
	}
	ctx, cancel := withDeadline(r)
	defer cancel()
	m, f := rc.verify(ctx, raw, e)
	if f == nil {
		f = m.checkLogout()
	}
	if f != nil {
		return f
	}
	issuers, err := rc.issuers(m.Issuer)
	switch {
	case err != nil:
		return &failure{http.StatusBadRequest, "", err}
	case len(issuers) == 0:
		return refused(codeAccess, errors.New("logout: TokenIssuer has no issuer for the sender"))
	}
	if err := rc.revoke(ctx, rc.logoutEntries(m, issuers), e); err != nil {
		return &failure{http.StatusBadRequest, "", err} // §2.8
	}
	return nil
}

// logoutToken returns the only logout token of a request.
func logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if rawquery.Is(pair, logoutField) {
			return "", errors.New("logout: logout_token in the query")
		}
	}
	if !form.IsForm(r) { // what middleware has parsed before may be another kind of form
		return "", errors.New("logout: Content-Type is not application/x-www-form-urlencoded")
	}
	own := *r // an Observer that prints the form must not show the token
	own.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if _, err := form.Parse(&own); err != nil {
		return "", errors.New("logout: the body is not a valid form, or larger than 16 KiB")
	}
	values := own.PostForm[logoutField]
	if len(values) != 1 {
		return "", errors.New("logout: want one logout_token in the form")
	}
	return values[0], nil
}

// checkLogout applies the rules of Back-Channel Logout 1.0 §2.4 and §2.6.
func (m message) checkLogout() *failure {
	for name := range m.claims.Members() {
		if strings.EqualFold(name, "nonce") {
			return invalid(`"nonce" is not allowed, as it marks an ID token`)
		}
	}
	session, subject := member(m.claims, "sid"), member(m.claims, "sub")
	switch {
	case member(m.events, logoutEvent).Kind != strictjson.Object:
		return invalid(`"events" has no logout event`)
	case session.Kind == strictjson.Absent && subject.Kind == strictjson.Absent:
		return invalid(`want "sid" or "sub"`)
	case session.Kind != strictjson.Absent && m.SessionID == "", subject.Kind != strictjson.Absent && m.Subject == "":
		return invalid(`"sid" or "sub" is empty`)
	}
	return nil
}

// logoutEntries returns what a logout token revokes.
func (rc *receiver) logoutEntries(m message, issuers []string) (entries []revocation.Entry) {
	for _, issuer := range issuers {
		if m.SessionID != "" {
			entries = append(entries, sessionEntry(issuer, m.SessionID, m.IssuedAt))
		}
		if m.SessionID == "" || rc.opts.BySubject && m.Subject != "" {
			entries = append(entries, subjectEntry(issuer, m.Subject, m.IssuedAt))
		}
	}
	return entries
}

// sessionEntry revokes the tokens of a session that ended at a time, by the clock of
// the sender. If that clock is ahead, so are the dates in the tokens.
func sessionEntry(issuer, session string, ended time.Time) revocation.Entry {
	now := time.Now()
	ahead := max(0, ended.Sub(now)) + sessionMargin
	return revocation.Entry{Kind: revocation.BySession, Issuer: issuer, Value: session, IssuedUntil: now.Add(min(ahead, maxAhead))}
}

// subjectEntry revokes the tokens that a subject got until a time. It is one that
// the message has, never now, so that a replay does not end a new login.
func subjectEntry(issuer, subject string, until time.Time) revocation.Entry {
	return revocation.Entry{Kind: revocation.BySubject, Issuer: issuer, Value: subject, IssuedUntil: until}
}
