package logout

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Push returns a handler for security event tokens (RFC 8417) that are delivered
// by push (RFC 8935). Register it as the endpoint_url of a stream. It is safe
// for concurrent use.
//
// A token with several events revokes what all of them name, or is refused. Events
// of a type that Entries has nothing for are acknowledged.
//
// The response is 202 after Revoke has returned nil for every entry. It is 400
// with an error code of RFC 8935 §2.4 if the token is invalid. It is 503 if
// Revoke or Entries fails, or if there are no keys to verify the token with; the
// sender tries again then. A token that is delivered twice does no harm.
//
// If opts is invalid, the returned error describes every problem, naming the
// field.
func Push(opts PushOptions) (http.Handler, error) {
	rc, err := newReceiver(opts.Options, true, "secevent+jwt")
	if a := opts.Authorization; !isFieldValue(a) {
		err = errors.Join(err, errors.New("logout: Authorization: want a value that a header field can have"))
	}
	if err != nil {
		return nil, err
	}
	p := &pushReceiver{receiver: rc, authorization: opts.Authorization, entries: opts.Entries}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := Event{Request: r}
		f := p.push(w, r, &event)
		rc.observe(event, f)
		if f == nil || f.code == "" {
			f.writeHeader(w, http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Language", "en") // RFC 8935 §2.3
		f.writeHeader(w, http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(struct { // it fails if the sender is gone
			Err         string `json:"err"`
			Description string `json:"description"`
		}{f.code, f.text()})
	}), nil
}

// isFieldValue reports whether a request can have this value of a field (RFC 9110
// §5.5).
func isFieldValue(s string) bool {
	return s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

type pushReceiver struct {
	*receiver
	authorization string
	entries       func(context.Context, SecurityEvent) ([]revocation.Entry, error)
}

func (p *pushReceiver) push(w http.ResponseWriter, r *http.Request, e *Event) *failure {
	if r.Method != http.MethodPost {
		return notAllowed(r.Method)
	}
	if !p.authenticates(r) {
		return refused(codeAuthentication, errors.New("logout: Authorization is missing or wrong"))
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/secevent+jwt" {
		return invalid("Content-Type is not application/secevent+jwt")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return invalid("the body is incomplete or larger than 16 KiB")
	}
	ctx, cancel := withDeadline(r)
	defer cancel()
	m, f := p.verify(ctx, string(raw), e)
	if f != nil {
		return f
	}
	events, err := p.parse(m)
	if err != nil {
		return refused(codeRequest, err)
	}
	entries, f := p.allEntries(ctx, m.Issuer, events)
	if f != nil {
		return f
	}
	if err := p.revoke(ctx, entries, e); err != nil {
		return unavailable(err)
	}
	return nil
}

// authenticates compares the Authorization field in constant time.
func (p *pushReceiver) authenticates(r *http.Request) bool {
	if p.authorization == "" {
		return true
	}
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return false
	}
	got, want := sha256.Sum256([]byte(lines[0])), sha256.Sum256([]byte(p.authorization)) // of one length
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// parse returns the events of a token that are not about the stream.
func (p *pushReceiver) parse(m message) (events []SecurityEvent, err error) {
	empty := true
	for typ, payload := range m.events.Members() {
		if payload.Kind != strictjson.Object {
			return nil, fmt.Errorf("logout: the event %.100q is not an object", typ)
		}
		if empty = false; aboutStream(typ) {
			continue
		}
		event, err := newEvent(m, typ, payload, p.opts.Leeway)
		if err != nil {
			return nil, fmt.Errorf("logout: the event %.100q: %w", typ, err)
		}
		events = append(events, event)
	}
	if empty {
		return nil, errors.New(`logout: "events" is empty`)
	}
	return events, nil
}

// allEntries returns what all events revoke.
func (p *pushReceiver) allEntries(ctx context.Context, sender string, events []SecurityEvent) (all []revocation.Entry, f *failure) {
	issuers, err := p.issuers(sender)
	if err != nil {
		return nil, unavailable(err)
	}
	for _, event := range events {
		for _, issuer := range event.Subject.issuers() {
			if issuer != sender && !slices.Contains(issuers, issuer) {
				return nil, refused(codeAccess, fmt.Errorf("logout: sender %.100q names a subject of %.100q", sender, issuer))
			}
		}
		var entries []revocation.Entry
		if p.entries == nil {
			entries, f = p.defaultEntries(event, issuers)
		} else if err := guard(func() (err error) {
			entries, err = p.entries(ctx, event)
			return err
		}); err != nil {
			f = unavailable(fmt.Errorf("logout: entries: %w", err))
		}
		if f != nil {
			return nil, f
		}
		all = append(all, entries...)
	}
	return all, nil
}

// defaultEntries returns what an event revokes if Entries is nil. The sender as
// the issuer of tokens is replaced.
func (p *pushReceiver) defaultEntries(event SecurityEvent, issuers []string) (all []revocation.Entry, f *failure) {
	if hasDefault(event.Type) && event.Subject.Format == "" {
		return nil, invalid("the event has no subject")
	}
	for _, entry := range defaultEntries(event, p.opts.BySubject) {
		if entry.Issuer != event.Issuer {
			all = append(all, entry)
			continue
		}
		if len(issuers) == 0 {
			return nil, refused(codeAccess, errors.New("logout: TokenIssuer has no issuer for the sender"))
		}
		for _, issuer := range issuers {
			entry.Issuer = issuer
			all = append(all, entry)
		}
	}
	return all, nil
}
