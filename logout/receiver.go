package logout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/problems"
	"github.com/seed450a7203/jwthttp/internal/strictjson"
	"github.com/seed450a7203/jwthttp/revocation"
)

const (
	maxBody     = 16 << 10 // bytes
	timeout     = 10 * time.Second
	maxLifetime = 10 * 365 * 24 * time.Hour

	// sessionMargin is how far ahead of now the tokens of a session are revoked.
	// A session that has ended never comes back, but a refresh that is in flight
	// may still get a token.
	sessionMargin = time.Minute

	// maxAhead is how far ahead of now a store takes IssuedUntil.
	maxAhead = 5 * time.Minute
)

// receiver verifies messages and revokes what they name.
type receiver struct {
	opts Options // Leeway without its special values
	auth *jwthttp.Middleware
}

func newReceiver(opts Options, noExpiry bool, types ...string) (*receiver, error) {
	p := problems.List{Prefix: "logout: "}
	opts.Issuers = slices.Clone(opts.Issuers)
	for i := range opts.Issuers {
		iss, field := &opts.Issuers[i], fmt.Sprintf("Issuers[%d].", i)
		if iss.Name == jwthttp.Any {
			p.Add(field+"Name", iss.Name, "want the exact name of a sender")
		}
		if slices.Contains(iss.Audience, jwthttp.Any) {
			p.Add(field+"Audience", jwthttp.Any, "want the client ID that the sender knows this program by")
		}
		if iss.Types != nil {
			p.AddHidden(field+"Types", "must be nil")
		}
		iss.Types, iss.NoExpiry = types, noExpiry
	}
	if opts.Revoke == nil {
		p.AddHidden("Revoke", "want the method of a revocation.Store")
	}
	if opts.TokenLifetime <= 0 || opts.TokenLifetime > maxLifetime {
		p.Add("TokenLifetime", opts.TokenLifetime, "want the longest lifetime of an access token, at most %v", maxLifetime)
	}
	var auth *jwthttp.Middleware
	var err error
	if len(opts.Issuers) == 0 {
		p.AddHidden("Issuers", "want at least one sender")
	} else {
		auth, err = jwthttp.New[struct{}](jwthttp.Options{Issuers: opts.Issuers, Leeway: opts.Leeway, MaxTokenSize: maxBody})
	}
	if err := errors.Join(p.Err(), err); err != nil {
		return nil, err
	}
	switch {
	case opts.Leeway == 0:
		opts.Leeway = 30 * time.Second
	case opts.Leeway < 0:
		opts.Leeway = 0
	}
	return &receiver{opts, auth}, nil
}

// message is a verified token with the claims that every message needs.
type message struct {
	*jwthttp.Token
	claims strictjson.Value
	events strictjson.Value // of another kind than Object, it has no members
}

// verify checks the token of a message.
func (rc *receiver) verify(ctx context.Context, raw string, e *Event) (message, *failure) {
	ctx, err := rc.auth.Verify(ctx, raw)
	if err != nil {
		return message{}, refusedToken(err)
	}
	token, _ := jwthttp.TokenFromContext(ctx) // there is one after Verify
	e.Sender, e.ID = token.Issuer, token.ID
	var payload json.RawMessage
	_ = token.Claims(&payload) // Verify has parsed it
	m := message{Token: token, claims: strictjson.Value{Kind: strictjson.Object, Text: string(payload)}}
	m.events = member(m.claims, "events")
	switch {
	case token.ID == "":
		return m, invalid(`"jti" is missing`)
	case token.IssuedAt.IsZero():
		return m, invalid(`"iat" is missing`)
	}
	return m, nil
}

// member returns the member of an object with exactly this name. It is absent if
// the value is null, or no object.
func member(v strictjson.Value, name string) strictjson.Value {
	for n, value := range v.Members() {
		if n == name && value.Kind != strictjson.Null {
			return value
		}
	}
	return strictjson.Value{}
}

// issuers returns the issuers whose tokens a sender may revoke.
func (rc *receiver) issuers(sender string) (list []string, err error) {
	if rc.opts.TokenIssuer == nil {
		return []string{sender}, nil
	}
	err = guard(func() error {
		list = rc.opts.TokenIssuer(sender)
		return nil
	})
	return list, err
}

// revoke stores entries in their order. Those whose last token has expired have
// nothing to revoke, and a store would not take them.
func (rc *receiver) revoke(ctx context.Context, entries []revocation.Entry, e *Event) error {
	for _, entry := range entries {
		if entry.Expires.IsZero() {
			until := entry.IssuedUntil
			if until.IsZero() { // ByID or ByFingerprint
				until = time.Now()
			}
			entry.Expires = until.Add(rc.opts.TokenLifetime + rc.opts.Leeway)
			if !entry.Expires.After(time.Now()) {
				continue
			}
		}
		if err := guard(func() error { return rc.opts.Revoke(ctx, entry) }); err != nil {
			return fmt.Errorf("logout: revoke: %w", err)
		}
		e.Ended = append(e.Ended, entry)
	}
	return nil
}

// guard calls code of the application. A panic is an error.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return call()
}

// withDeadline returns the context for a message. A sender that hangs up does not
// cancel it: a message that has arrived counts.
func withDeadline(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), timeout)
}

// observe reports the end of a request.
func (rc *receiver) observe(e Event, f *failure) {
	if rc.opts.Observer == nil {
		return
	}
	if f != nil {
		e.Err = f.err
	}
	rc.opts.Observer(e.Request.Context(), e)
}
