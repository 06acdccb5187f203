package jwthttp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed450a7203/jwthttp/internal/cause"
	"github.com/seed450a7203/jwthttp/internal/clientcert"
	"github.com/seed450a7203/jwthttp/internal/dpop"
	"github.com/seed450a7203/jwthttp/internal/replay"
)

// possession is how a client shows that it has the keys that a token is bound to.
// A nil possession means that it has shown that before.
type possession struct {
	request  *http.Request // nil: none, as in Verify
	proof    *dpop.Proof   // nil: the token came under another scheme than DPoP
	newNonce string        // that the client should use, if it does not yet
}

// schemeDPoP is the authentication scheme of RFC 9449 §7.1.
const schemeDPoP = "DPoP"

// scheme is that of the credential which a token was accepted in, as far as it is
// known from the token.
func (t *Token) scheme() string {
	if t != nil && t.KeyThumbprint != "" {
		return schemeDPoP
	}
	return ""
}

// readProof reads the proof that comes with a token of the DPoP scheme.
func (c *config) readProof(r *http.Request) (*dpop.Proof, *Error) {
	if c.proofs == nil {
		return nil, refuse(ReasonBinding, errors.New("DPoP is not set"))
	}
	target := r.RequestURI
	if target == "" { // no server has made the request
		target = r.URL.EscapedPath()
	}
	proof, err := c.proofs.Parse(r.Header["Dpop"], r.Method, target)
	if err != nil {
		return nil, refuse(ReasonProof, err)
	}
	return proof, nil
}

// prove checks what a token is bound to (RFC 7800 §3).
func (c *config) prove(t *Token, p *possession) *Error {
	required := c.opts.DPoP != nil && c.opts.DPoP.Required
	if p == nil || p.proof == nil && t.KeyThumbprint == "" && t.CertificateThumbprint == "" && !required {
		return nil
	}
	reason, err := c.checkBinding(t, p)
	if err == nil && p.proof != nil {
		reason = ReasonProof
		if p.newNonce, err = c.proofs.Finish(p.proof); errors.Is(err, dpop.ErrNonce) {
			reason = ReasonNonce
		}
	}
	if err != nil {
		return refuse(reason, cause.Invalid(err, "%v", err)).about(t)
	}
	return nil
}

func (c *config) checkBinding(t *Token, p *possession) (Reason, error) {
	switch {
	case p.proof != nil && !p.proof.IsFor(t.Raw()):
		return ReasonProof, dpop.ErrOtherToken
	case p.proof != nil && p.proof.KeyThumbprint != t.KeyThumbprint:
		return ReasonBinding, dpop.ErrOtherKey
	case p.proof == nil && t.KeyThumbprint != "":
		return ReasonBinding, dpop.ErrNoProof // RFC 9449 §7.2
	case t.CertificateThumbprint != "" && p.request != nil:
		return ReasonBinding, clientcert.Check(t.CertificateThumbprint, c.opts.ClientCertificate, p.request)
	case p.proof == nil:
		return ReasonBinding, dpop.ErrUnbound
	}
	return "", nil
}

// checkReplay calls DPoP.Replay. It reports whether the proof is accepted although
// the call failed.
func (c *config) checkReplay(ctx context.Context, t *Token, p *dpop.Proof) (unchecked bool, e *Error) {
	until := c.proofs.ReplayUntil(p)
	if !until.After(time.Now()) { // another use may have been forgotten
		return false, refuse(ReasonProof, dpop.ErrLate)
	}
	owners := replay.Owners{p.KeyThumbprint, t.Issuer + "\x00" + cmp.Or(t.Subject, t.ClientID)}
	used := false // also if the answer is late
	_, err := call(replay.WithOwners(ctx, owners), time.Second, func(ctx context.Context) (bool, error) {
		fresh, err := c.opts.DPoP.Replay(ctx, p.ReplayID(), until)
		used = err == nil && !fresh
		return fresh, err
	})
	switch {
	case used:
		return false, refuse(ReasonReplayed, dpop.ErrReplayed)
	case err == nil:
		return false, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return false, refuse(ReasonCanceled, err)
	case c.opts.DPoP.ReplayFailOpen && ctx.Err() == nil:
		return true, nil
	}
	return false, refuse(ReasonReplayUnavailable, err)
}

// ClientCertFromProxy returns a function for [Options].ClientCertificate that reads
// the Client-Cert field (RFC 9440), which a proxy sets to the certificate of its
// client. The field counts only in requests whose RemoteAddr is in trusted, the
// addresses of the proxies. It must be one item of at most 16 KiB. A proxy that
// connects through a Unix socket has no address, so its requests do not count.
//
// The proxy must remove the field from requests of clients, also if the client has
// shown no certificate. Middleware that replaces RemoteAddr, such as RealIP of chi,
// must not run before: clients choose the address that it sets.
//
// ClientCertFromProxy panics without a prefix, and if one is invalid.
func ClientCertFromProxy(trusted ...netip.Prefix) func(*http.Request) (der []byte, err error) {
	must(len(trusted) > 0, "ClientCertFromProxy: no prefixes")
	for i, prefix := range trusted {
		must(prefix.IsValid(), "ClientCertFromProxy: prefix %d is invalid", i)
	}
	trusted = clientcert.Unmap(trusted)
	return func(r *http.Request) ([]byte, error) {
		return clientcert.Read(r.Header["Client-Cert"], r.RemoteAddr, trusted)
	}
}

// A ReplayCache remembers in memory which proofs were used. Its method Fresh is a
// [ReplayFunc]. [NewReplayCache] returns one; the zero value is not usable. It is
// safe for concurrent use. After a restart it knows no proof, and other machines do
// not see it.
type ReplayCache struct{ cache *replay.Cache }

// NewReplayCache returns a ReplayCache for maxEntries proofs. If it is full, Fresh
// returns an error; a proof is never forgotten before its time. One key may have
// an eighth of it, and so may one subject ("sub", or the client if there is none),
// so that no client fills it alone. NewReplayCache panics if maxEntries is below 8.
func NewReplayCache(maxEntries int) *ReplayCache {
	must(maxEntries >= 8, "NewReplayCache(%d): want at least 8", maxEntries)
	return &ReplayCache{replay.New(maxEntries)}
}

// Fresh remembers id until a time, and reports whether it was not known before. It
// returns false if that time has passed, and an error if the clock was set back so
// far that the id may have been forgotten.
func (c *ReplayCache) Fresh(ctx context.Context, id string, until time.Time) (fresh bool, err error) {
	return c.cache.Fresh(ctx, id, until)
}
