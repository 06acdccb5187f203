package jwthttp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Any as an Issuer's Name, or as the only element of its Audience, disables the
// check. Tokens without the claim are accepted, too.
const Any = "*"

// Options configures a [Middleware]. Only Issuers or FindIssuer is required. [New] copies the
// options, including the keys of [StaticKey] and [KeySet], but not CrossOrigin
// and other KeySources.
type Options struct {
	_ struct{}

	// Issuers are the accepted issuers. The "iss" of a token selects one; only
	// its rules and keys apply. Two may have the same Name, except Any, if they
	// have no algorithm in common; then "alg" selects. Required unless FindIssuer
	// is set.
	Issuers []Issuer

	// FindIssuer returns the issuer of a name that Issuers does not have. The name is
	// an unverified "iss": look it up, and compare it with what is stored, since many
	// databases ignore case or accents. Nil without an error is a 401. An error, an
	// invalid issuer or another Name, and an answer after the context's deadline of a
	// second are a 503, kept for a second. An answer is for all requests with the
	// name, so it must depend on the name alone. If nil, only Issuers counts.
	FindIssuer func(ctx context.Context, name string) (*Issuer, error)

	// IssuerTTL is how long an answer of FindIssuer is used. A tenant that is
	// dropped or changed keeps access for that long. If zero, 1 minute; at most
	// 24 hours.
	IssuerTTL time.Duration

	// MaxIssuers is the maximum number of issuers to keep, and of names without
	// one. If zero, 1000; at most 2^24.
	MaxIssuers int

	// Extractor finds the token. If nil, FromHeader("Authorization", "Bearer"),
	// and with DPoP also FromHeader("Authorization", "DPoP").
	Extractor Extractor

	// Leeway is the clock skew allowed for "exp", "nbf" and an "iat" in the
	// future. If zero, 30 seconds; negative means none; at most 5 minutes.
	Leeway time.Duration

	// MaxTokenSize is the maximum length of a token in bytes. If zero, 8 KiB;
	// at most 1 MiB. Tokens that list many groups need more than the default.
	// For a large one, set MaxHeaderBytes of net/http, too.
	MaxTokenSize int

	// Revoked is called for each valid token, before its scopes and rules are
	// checked. If nil, no token is revoked.
	Revoked RevokedFunc

	// RevocationTimeout is the deadline for Revoked. If zero, 1 second; at most
	// 1 minute.
	RevocationTimeout time.Duration

	// RevocationFailOpen admits a token if Revoked fails, with Event.Unchecked
	// set. By default the response is a 503.
	RevocationFailOpen bool

	// DPoP accepts tokens that are bound to a key of the client ("jkt", RFC
	// 9449). If nil, such tokens are rejected.
	DPoP *DPoP

	// ClientCertificate returns the certificate that the client has shown, in
	// DER, or nothing. It is called for tokens that are bound to a certificate
	// ("x5t#S256", RFC 8705 §3). An error counts as nothing. If nil, the leaf of
	// Request.TLS. Behind a proxy that terminates TLS, use ClientCertFromProxy;
	// Request.TLS is not read then. The chain is not verified: the token names
	// the certificate.
	ClientCertificate func(*http.Request) (der []byte, err error)

	// CrossOrigin checks requests with a token from any source but SourceHeader
	// and SourceQuery (CSRF). If nil, the default of net/http. The check cannot
	// be turned off. A WebSocket upgrade is checked like a POST. The login is
	// not protected.
	CrossOrigin *http.CrossOriginProtection

	// CacheSize is the number of tokens to cache. If zero, none; at most 2^24.
	// The signature of a cached token is not verified again; everything else,
	// its key included, is checked on every request. Together, the cached tokens
	// have at most CacheSize x 2 KiB.
	CacheSize int

	// Realm is the realm of challenges. If empty, "restricted".
	Realm string

	// ResourceMetadataURL is sent in challenges as resource_metadata (RFC 9728
	// §5.1). It must be an absolute https URL, or http on loopback. If empty,
	// none is sent.
	ResourceMetadataURL string

	// ErrorHandler writes the response to a refused request. If nil,
	// WriteError. Header fields are already set and may be changed. If it
	// writes nothing, Error.Status is sent. The request has no query token. It
	// is not called for ReasonCanceled.
	ErrorHandler func(http.ResponseWriter, *http.Request, *Error)

	// Observer, unless nil, is called once per decision of Handler, Authenticate
	// and Verify, on the same goroutine and before the response.
	Observer func(context.Context, Event)
}

// Issuer configures which tokens of one issuer are accepted.
type Issuer struct {
	_ struct{}

	// Name is the exact "iss", or Any. Required.
	Name string

	// Audience are the names of this service. One of them must be in "aud".
	// []string{Any} disables the check. Required.
	Audience []string

	// Clients are the accepted clients: Token.ClientID must be one of
	// them. Set it if tokens have no "aud", as those of Amazon Cognito and
	// Clerk. An ID token may name the same client. If nil, any client.
	Clients []string

	// Algorithms are the accepted values of "alg" (RFC 8725 §3.1): names of
	// golang-jwt, or "Ed25519" (RFC 9864), which "EdDSA" does not include. HMAC
	// and public-key algorithms cannot be combined. Required.
	Algorithms []string

	// Keys verify the tokens of this issuer only. Required.
	Keys KeySource

	// Types are the accepted values of "typ" (RFC 8725 §3.11). Case and the
	// prefix "application/" are ignored. "" stands for a missing "typ". If nil,
	// {"", "JWT", "at+jwt"}.
	Types []string

	// MaxTokenAge is the maximum time since "iat", without leeway. If set,
	// "iat" is required. If zero, no limit; at most 10 years.
	MaxTokenAge time.Duration

	// NoExpiry accepts tokens without "exp". Tokens with one still expire.
	NoExpiry bool

	// PaddedSegments accepts tokens whose segments end in "=" padding, which
	// AWS load balancers send. The signature covers the padding.
	PaddedSegments bool
}

// DPoP configures proofs of possession (RFC 9449). A token that is bound to a key
// ("jkt") is accepted under the scheme DPoP only, with a proof that this key made
// for the request. Only BaseURLs is required.
type DPoP struct {
	_ struct{}

	// BaseURLs are what clients put before the path of a request to get the URL
	// in their proofs: "https://api.example", or with the path prefix that a
	// proxy removes. They must be https, or http on loopback. Host and
	// X-Forwarded fields do not count, because clients choose them. Required.
	BaseURLs []string

	// Required also rejects tokens that are bound neither to a key nor to a
	// certificate. Challenges offer only DPoP then.
	Required bool

	// Algorithms are the accepted values of "alg" of proofs, without HMAC. If
	// nil, all of ES256, ES384, ES512, EdDSA, Ed25519, PS256 to PS512 and RS256
	// to RS512.
	Algorithms []string

	// MaxAge is the maximum time since the "iat" of a proof. If zero, 1 minute;
	// at most 5 minutes.
	MaxAge time.Duration

	// Leeway is the clock skew allowed for an "iat" in the future. If zero, 10
	// seconds; at most 1 minute.
	Leeway time.Duration

	// Replay remembers used proofs. If nil, a ReplayCache of this Middleware
	// for 524,288 proofs. Several machines need one that they share, such as
	// that of redisreplay. If Handlers of two New calls are nested, each needs a
	// ReplayFunc that does not share its proofs with the other.
	Replay ReplayFunc

	// ReplayFailOpen admits a request if Replay fails, with Event.Unchecked
	// set. By default the response is a 503.
	ReplayFailOpen bool

	// NonceSecrets require a nonce of the server in each proof, which limits
	// the life of proofs made in advance (RFC 9449 §8). The first secret makes
	// nonces, all are accepted. Each has at least 32 bytes; all machines have
	// the same. A nonce is valid for two minutes. If nil, there is no nonce.
	NonceSecrets [][]byte
}

// Format keeps the secrets out of printed options.
func (DPoP) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "DPoP") }

// A ReplayFunc remembers the id of a used proof until a time, and reports whether
// the id was not known before, in one atomic step. An error, a panic, and true
// after the deadline of the context, 1 second, are failures. It is called on the
// request's goroutine, when everything else about token and proof holds, so only
// clients with a good token can fill its memory. It must be safe for concurrent use.
type ReplayFunc func(ctx context.Context, id string, until time.Time) (fresh bool, err error)

// A RevokedFunc reports whether a token has been revoked. If it returns true, or
// an error that is [ErrRevoked], the token is rejected. Any other error, a panic,
// and false after the deadline of the context are failures.
//
// It is called on the request's goroutine, and by [Middleware.Watch] on another
// one, so it must be safe for concurrent use. The Token is a copy.
type RevokedFunc func(context.Context, *Token) (bool, error)

// Event is a decision about a request or token, for logs and metrics. Printing
// it never shows the Request.
type Event struct {
	_ struct{}

	// Request is the request without a query token, and with the claims if it
	// was admitted. It is nil for Verify.
	Request *http.Request
	// Token is a copy of the token. It is nil unless the signature was verified.
	Token *Token
	// Err is why the token was refused, or nil. If Admitted is true as well,
	// AllowAnonymous has ignored it.
	Err *Error
	// Admitted is true if the request or token was accepted.
	Admitted bool
	// Cached is true if the signature was verified for an earlier request. It is
	// false if Nested is true.
	Cached bool
	// Unchecked is true if the token was admitted although Revoked or DPoP.Replay
	// failed.
	Unchecked bool
	// Nested is true if an outer Handler of the same New had verified the token.
	Nested bool
	// Took is the duration of the decision.
	Took time.Duration
}

// String describes the decision.
func (e Event) String() string {
	outcome := "refused"
	if e.Admitted {
		outcome = "admitted"
	}
	text := fmt.Sprintf("%s after %v", outcome, e.Took)
	if e.Token != nil {
		text += ": " + e.Token.String()
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Format prints the same text as String for every verb.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// MarshalText returns the same text as String.
func (e Event) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// LogValue returns the decision as a group.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Bool("admitted", e.Admitted), slog.Duration("took", e.Took)}
	if e.Token != nil {
		attrs = append(attrs, slog.Any("token", *e.Token))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("reason", string(e.Err.Reason)), slog.Any("error", e.Err))
	}
	return slog.GroupValue(attrs...)
}
