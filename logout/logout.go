// Package logout receives messages in which an identity provider says that a
// session or a user has ended, and revokes their tokens.
//
// [BackChannel] receives logout tokens (OpenID Connect Back-Channel Logout 1.0).
// [Push] receives security event tokens (RFC 8417, RFC 8935), such as those of
// CAEP and RISC. Both return a handler that adds entries to a
// [revocation.Store]:
//
//	receiver, err := logout.BackChannel(logout.Options{
//		Issuers: []jwthttp.Issuer{{
//			Name:       "https://login.example",
//			Audience:   []string{"my-client-id"}, // not that of access tokens
//			Algorithms: []string{"RS256"},
//			Keys:       keys, // jwks.Discover(ctx, "https://login.example", jwks.Options{})
//		}},
//		Revoke:        store.Revoke,
//		TokenLifetime: time.Hour,
//	})
//	...
//	mux.Handle("/backchannel-logout", receiver)
//
// The sender has no access token and no CSRF token. Do not put a
// [jwthttp.Middleware], or middleware that wants a CSRF token, in front of the
// handler.
package logout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Options configures a receiver. Issuers, Revoke and TokenLifetime are required.
type Options struct {
	_ struct{}

	// Issuers are the accepted senders. Audience is the client ID that the sender
	// knows this program by. Neither it nor Name may be jwthttp.Any. Types must
	// be nil: the receiver sets the accepted "typ". NoExpiry has no effect.
	Issuers []jwthttp.Issuer

	// Revoke adds an entry to a store. It is the method of a revocation.Store.
	// The response is sent after it has returned. Its context ends 10 seconds
	// after the message was read, also if the sender hangs up. A panic counts as
	// an error. It must be safe for concurrent use.
	Revoke func(context.Context, revocation.Entry) error

	// TokenLifetime is the longest lifetime of an access token. The entries
	// expire when the last token has expired. At most 10 years.
	TokenLifetime time.Duration

	// BySubject also revokes the tokens of the subject if a message names a
	// session. Set it for issuers whose access tokens have no "sid", such as
	// Auth0. All sessions of the user end then.
	BySubject bool

	// TokenIssuer returns the "iss" of the tokens that a sender may revoke, if it
	// is not the name of the sender. If nil, each sender revokes the tokens that
	// have its own name as "iss". An empty list refuses the message.
	// revocation.NoIssuer stands for tokens without "iss".
	TokenIssuer func(sender string) []string

	// Leeway is the clock skew allowed for dates in messages and tokens; see
	// jwthttp.Options. If zero, 30 seconds; negative means none; at most 5
	// minutes.
	Leeway time.Duration

	// Observer, unless nil, is called once per request, before the response.
	Observer func(context.Context, Event)
}

// Event is what became of a request, for logs and metrics. Printing it never
// shows the Request.
type Event struct {
	_ struct{}

	// Request is the request. Its body has been read.
	Request *http.Request
	// Sender and ID are the "iss" and "jti" of the message. They are empty unless
	// the signature was verified.
	Sender, ID string
	// Ended are the entries that Revoke has stored. It is empty if the message
	// concerns no tokens. If Err is set, there may have been more to store.
	Ended []revocation.Entry
	// Err is why the message was refused, or nil. It is a *jwthttp.Error if the
	// token could not be verified.
	Err error
}

// String describes the event.
func (e Event) String() string {
	text := fmt.Sprintf("message %q of %q: %d revoked", e.ID, e.Sender, len(e.Ended))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Format prints the same text as String for every verb.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// MarshalText returns the same text as String.
func (e Event) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// LogValue returns the event as a group.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("sender", e.Sender), slog.String("jti", e.ID), slog.Int("revoked", len(e.Ended))}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}

// PushOptions configures [Push].
type PushOptions struct {
	_ struct{}

	Options

	// Authorization is the value of the Authorization field that the sender was
	// told to send, including the scheme. If empty, the field is not checked.
	Authorization string

	// Entries returns what an event revokes. If nil, DefaultEntries, applied to
	// the issuers of Options.TokenIssuer. Entries is not called for verification
	// and stream-updated events. Its entries are stored without a check of the
	// issuer. A zero Expires is filled in. An error or panic is a 503, after
	// which the sender tries again. So is an entry that Revoke rejects, such as
	// one whose Expires has passed. The context is that of Revoke.
	Entries func(ctx context.Context, e SecurityEvent) ([]revocation.Entry, error)
}

// Format keeps Authorization out of printed options.
func (PushOptions) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "PushOptions") }

// SecurityEvent is an event of a verified security event token (RFC 8417).
type SecurityEvent struct {
	_ struct{}

	// Issuer and ID are the "iss" and "jti" of the token.
	Issuer, ID string
	// Type is the URI of the event type.
	Type string
	// Subject is the "sub_id" of the token (RFC 9493), or else the "subject" of
	// the event, where older senders have it. It is zero if there is none.
	Subject Subject
	// Time is the "event_timestamp" of the event, or else the "iat" of the token.
	Time time.Time
	// Payload is the event as a JSON object.
	Payload json.RawMessage
}

// Subject is a subject identifier (RFC 9493). Which fields are set depends on
// Format; JSON has the others.
type Subject struct {
	_ struct{}

	// Format is the "format", such as "iss_sub", "email", "opaque" or "complex".
	// The "subject_type" of older senders, such as "iss-sub", is spelled like a
	// format. A subject with the parts of a complex one and without a format is
	// "complex".
	Format string
	// Issuer and Subject are "iss" and "sub" of the format iss_sub.
	Issuer, Subject string
	// ID is the "id" of the format opaque.
	ID string
	// Email is the "email" of the format email.
	Email string
	// User and Session are parts of the format complex, or nil.
	User, Session *Subject
	// JSON is the identifier as it was received.
	JSON json.RawMessage
}
