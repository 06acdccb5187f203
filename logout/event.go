package logout

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/jws"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Types of events.
const (
	prefixCAEP = "https://schemas.openid.net/secevent/caep/event-type/"
	prefixRISC = "https://schemas.openid.net/secevent/risc/event-type/"
	prefixSSF  = "https://schemas.openid.net/secevent/ssf/event-type/"

	typeSessionRevoked  = prefixCAEP + "session-revoked"
	typeSessionsRevoked = prefixRISC + "sessions-revoked" // of Google
	typeDisabled        = prefixRISC + "account-disabled"
	typePurged          = prefixRISC + "account-purged"
)

// aboutStream reports whether an event is about the stream and no user. Its
// subject is the stream.
func aboutStream(typ string) bool {
	switch typ {
	case prefixSSF + "verification", prefixSSF + "stream-updated", prefixRISC + "verification", prefixRISC + "stream-updated":
		return true
	}
	return false
}

// DefaultEntries returns what an event revokes, with a zero Expires. These events
// revoke something:
//
//   - CAEP session-revoked, and sessions-revoked of older RISC senders: the
//     session of a complex subject, if its "session" is opaque, including tokens
//     issued during the next minute; otherwise the tokens of the user
//   - RISC account-disabled and account-purged: the tokens of the user
//
// The user is a subject of the format iss_sub, or the "user" of a complex one.
// Tokens of the user are revoked if they were issued until e.Time. Subjects of
// other formats revoke nothing, and neither does a tenant.
func DefaultEntries(e SecurityEvent) []revocation.Entry { return defaultEntries(e, false) }

// hasDefault reports whether events of a type revoke something by default.
func hasDefault(typ string) bool {
	switch typ {
	case typeSessionRevoked, typeSessionsRevoked, typeDisabled, typePurged:
		return true
	}
	return false
}

func defaultEntries(e SecurityEvent, bySubject bool) (entries []revocation.Entry) {
	if !hasDefault(e.Type) {
		return nil
	}
	user, session := &e.Subject, (*Subject)(nil)
	if e.Subject.Format == formatComplex {
		user, session = e.Subject.User, e.Subject.Session
	}
	isUser := user != nil && user.Format == formatIssuerSubject
	ofAccount := e.Type == typeDisabled || e.Type == typePurged
	if session != nil && session.Format == formatOpaque && !ofAccount {
		issuer := e.Issuer
		if isUser {
			issuer = user.Issuer
		}
		entries = append(entries, sessionEntry(issuer, session.ID, e.Time))
		isUser = isUser && bySubject
	}
	if isUser {
		entries = append(entries, subjectEntry(user.Issuer, user.Subject, e.Time))
	}
	return entries
}

// newEvent parses an event of a message.
func newEvent(m message, typ string, payload strictjson.Value, leeway time.Duration) (e SecurityEvent, err error) {
	e = SecurityEvent{Issuer: m.Issuer, ID: m.ID, Type: typ, Time: m.IssuedAt, Payload: json.RawMessage(payload.Text)}
	if timestamp := member(payload, "event_timestamp"); timestamp.Kind != strictjson.Absent {
		var ok bool
		if e.Time, ok = jws.NumericDate(timestamp); !ok || e.Time.After(time.Now().Add(leeway)) {
			return e, errors.New(`"event_timestamp" is not in seconds, or in the future`)
		}
	}
	subject := member(m.claims, "sub_id")
	if subject.Kind == strictjson.Absent {
		subject = member(payload, "subject")
	}
	if subject.Kind != strictjson.Absent {
		e.Subject, err = newSubject(subject)
	}
	return e, err
}

// Formats of subjects (RFC 9493 §3.2).
const (
	formatIssuerSubject = "iss_sub"
	formatOpaque        = "opaque"
	formatEmail         = "email"
	formatComplex       = "complex"
)

// newSubject parses a subject identifier.
func newSubject(v strictjson.Value) (s Subject, err error) {
	s = Subject{Format: subjectFormat(v), JSON: json.RawMessage(v.Text)}
	text := func(name string) (text string) {
		if text, _ = member(v, name).Unquote(); text == "" && err == nil {
			err = fmt.Errorf("the subject has no %q", name)
		}
		return text
	}
	part := func(name string) (part *Subject) {
		if value := member(v, name); value.Kind != strictjson.Absent && err == nil {
			part = new(Subject)
			*part, err = newSubject(value)
		}
		return part
	}
	switch {
	case s.Format == "":
		err = errors.New("the subject is not an object with a format")
	case s.Format == formatIssuerSubject:
		s.Issuer, s.Subject = text("iss"), text("sub")
	case s.Format == formatOpaque:
		s.ID = text("id")
	case s.Format == formatEmail:
		s.Email = text("email")
	case s.Format == formatComplex:
		s.User, s.Session = part("user"), part("session")
	}
	return s, err
}

// subjectFormat returns the format of a subject, or "".
func subjectFormat(v strictjson.Value) string {
	if format := member(v, "format"); format.Kind != strictjson.Absent {
		text, _ := format.Unquote()
		return text
	}
	// Drafts before RFC 9493, as Google follows them.
	if typ, ok := member(v, "subject_type").Unquote(); ok {
		return strings.ReplaceAll(typ, "-", "_")
	}
	for _, part := range []string{"user", "session", "tenant"} {
		if member(v, part).Kind != strictjson.Absent { // drafts of SSF
			return formatComplex
		}
	}
	return ""
}

// issuers returns the issuers that a subject names.
func (s *Subject) issuers() (list []string) {
	for _, part := range []*Subject{s, s.User, s.Session} {
		if part != nil && part.Format == formatIssuerSubject {
			list = append(list, part.Issuer)
		}
	}
	return list
}
