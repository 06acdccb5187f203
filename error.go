package jwthttp

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/internal/refusal"
	"github.com/seed450a7203/jwthttp/internal/syntax"
)

// Reason says why a request was refused. The constants are a closed set, so
// they can be labels of metrics. An [*Error] of a rule or [Extractor] may have a
// Reason of the application.
type Reason string

// The reasons of this package. README.md has their statuses and error codes.
const (
	ReasonMissing               Reason = "missing"                // no credential, or one of another scheme
	ReasonMalformed             Reason = "malformed"              // invalid credential, serialization, JSON or claim
	ReasonMultiple              Reason = "multiple"               // more than one credential
	ReasonTooLarge              Reason = "too_large"              // longer than Options.MaxTokenSize
	ReasonAlgorithm             Reason = "algorithm"              // "alg" not allowed, or a key that does not fit it
	ReasonType                  Reason = "type"                   // "typ" not accepted
	ReasonIssuer                Reason = "issuer"                 // unknown "iss"
	ReasonAudience              Reason = "audience"               // "aud" or the client does not match
	ReasonExpired               Reason = "expired"                // "exp" has passed
	ReasonNotYetValid           Reason = "not_yet_valid"          // "nbf" or "iat" is in the future
	ReasonTooOld                Reason = "too_old"                // older than Issuer.MaxTokenAge, or no "iat"
	ReasonUnknownKey            Reason = "unknown_key"            // no key for this token
	ReasonSignature             Reason = "signature"              // invalid signature
	ReasonClaims                Reason = "claims"                 // claims do not decode into T, or Validate failed
	ReasonBinding               Reason = "binding"                // "cnf" is invalid, or the client has not proved it
	ReasonProof                 Reason = "proof"                  // the DPoP proof is missing or invalid
	ReasonNonce                 Reason = "nonce"                  // the nonce of the DPoP proof is missing or not valid
	ReasonReplayed              Reason = "replayed"               // the DPoP proof was used before
	ReasonRevoked               Reason = "revoked"                // revoked by Options.Revoked
	ReasonAuthentication        Reason = "authentication"         // the user authenticated too weakly or too long ago
	ReasonScope                 Reason = "scope"                  // insufficient scope
	ReasonForbidden             Reason = "forbidden"              // refused by a Require rule
	ReasonCrossOrigin           Reason = "cross_origin"           // cookie token in an unsafe cross-origin request
	ReasonIssuersUnavailable    Reason = "issuers_unavailable"    // Options.FindIssuer failed
	ReasonKeysUnavailable       Reason = "keys_unavailable"       // no keys to verify with at the moment
	ReasonRevocationUnavailable Reason = "revocation_unavailable" // Options.Revoked failed
	ReasonReplayUnavailable     Reason = "replay_unavailable"     // DPoP.Replay failed
	ReasonCanceled              Reason = "canceled"               // the client hung up, or the context ended
	ReasonMisconfigured         Reason = "misconfigured"          // the server is set up wrong
)

// Use [errors.Is] to test an [*Error] for these errors, or for those of
// golang-jwt, such as jwt.ErrTokenExpired.
var (
	// ErrNoToken is returned by an [Extractor] that finds no credential.
	ErrNoToken = errors.New("no token in the request")
	// ErrMultipleTokens is returned by an [Extractor] that finds several credentials.
	ErrMultipleTokens = errors.New("more than one token in the request")
	// ErrRevoked is the cause of a refusal by [Options].Revoked.
	ErrRevoked = errors.New("token is revoked")
	// ErrKeysUnavailable is returned by a [KeySource] that cannot tell whether a
	// key exists. The response is a 503.
	ErrKeysUnavailable = errors.New("keys are unavailable")
)

// Error is a refused request. A [Middleware.Require] rule or an [Extractor] may
// return an Error to choose the response. Do not modify an Error of this package.
type Error struct {
	// Status is the HTTP status. In an Error of a rule or Extractor, an invalid
	// Status (not 400 to 599) is replaced by that of Code. Without Code, it is
	// 403 for a rule and 400 for an Extractor.
	Status int
	// Code is an error code of RFC 6750 §3.1, RFC 9470 §3 or RFC 9449 §7.1, or
	// "".
	Code string
	// Reason is set by this package if a rule or Extractor leaves it empty.
	Reason Reason
	// Description is the error_description of a rule's or Extractor's Error. If
	// it is empty or not allowed by RFC 6750 §3, the fixed text of Reason is
	// sent.
	Description string
	// Scopes are the scopes that the request needs. They are sent with the Codes
	// insufficient_scope and insufficient_user_authentication, and with
	// ReasonMissing.
	Scopes []string
	// ACRValues are the accepted values of "acr". They and MaxAge are sent only
	// with the Code insufficient_user_authentication.
	ACRValues []string
	// MaxAge is the maximum time since the user authenticated. If zero, no
	// limit.
	MaxAge time.Duration
	// Err is the cause, for logs; clients never see it. This package never puts
	// the token into it. Values of an unverified token are quoted and shortened.
	// Errors of a KeySource, Extractor or rule are included unchanged.
	Err error

	challenges [2]string // the WWW-Authenticate fields, once they are known
	nonce      string    // for the client (RFC 9449 §8)
	token      *Token    // if its signature was verified
	cached     bool      // it was verified for an earlier request
}

// Error returns Reason and Err, for logs.
func (e *Error) Error() string {
	switch {
	case e == nil: // a rule's mistake, which is the cause of another Error then
		return "jwthttp: nil *Error"
	case e.Err == nil:
		return "jwthttp: " + string(e.Reason)
	}
	return "jwthttp: " + string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Error codes of RFC 6750 §3.1, RFC 9470 §3 and RFC 9449 §7.1.
const (
	codeRequest        = "invalid_request"
	codeToken          = "invalid_token"
	codeScope          = "insufficient_scope"
	codeAuthentication = "insufficient_user_authentication"
	codeProof          = "invalid_dpop_proof"
	codeNonce          = "use_dpop_nonce"
)

// answer is what a client learns about a Reason. The texts are fixed, so that
// nothing from the token, the key server or a library can reach the client.
type answer struct {
	status int
	code   string
	text   string
}

var answers = map[Reason]answer{
	// RFC 6750 §3.1: no error code without a credential.
	ReasonMissing:               {http.StatusUnauthorized, "", "authentication required"},
	ReasonMalformed:             {http.StatusUnauthorized, codeToken, "malformed token"},
	ReasonMultiple:              {http.StatusBadRequest, codeRequest, "more than one token"},
	ReasonTooLarge:              {http.StatusUnauthorized, codeToken, "token too large"},
	ReasonAlgorithm:             {http.StatusUnauthorized, codeToken, "token algorithm not accepted"},
	ReasonType:                  {http.StatusUnauthorized, codeToken, "token type not accepted"},
	ReasonIssuer:                {http.StatusUnauthorized, codeToken, "token issuer not accepted"},
	ReasonAudience:              {http.StatusUnauthorized, codeToken, "token is for another audience"},
	ReasonExpired:               {http.StatusUnauthorized, codeToken, "token expired"},
	ReasonNotYetValid:           {http.StatusUnauthorized, codeToken, "token not valid yet"},
	ReasonTooOld:                {http.StatusUnauthorized, codeToken, "token too old"},
	ReasonUnknownKey:            {http.StatusUnauthorized, codeToken, "unknown token key"},
	ReasonSignature:             {http.StatusUnauthorized, codeToken, "invalid token signature"},
	ReasonClaims:                {http.StatusUnauthorized, codeToken, "token claims not accepted"},
	ReasonBinding:               {http.StatusUnauthorized, codeToken, "token binding not proved"},
	ReasonProof:                 {http.StatusUnauthorized, codeProof, "DPoP proof missing or not valid"},
	ReasonNonce:                 {http.StatusUnauthorized, codeNonce, "DPoP proof needs another nonce"},
	ReasonReplayed:              {http.StatusUnauthorized, codeProof, "DPoP proof used before"},
	ReasonRevoked:               {http.StatusUnauthorized, codeToken, "token revoked"},
	ReasonAuthentication:        {http.StatusUnauthorized, codeAuthentication, "another authentication of the user required"},
	ReasonScope:                 {http.StatusForbidden, codeScope, "insufficient scope"},
	ReasonCrossOrigin:           {http.StatusForbidden, "", "cross-origin request refused"},
	ReasonIssuersUnavailable:    {http.StatusServiceUnavailable, "", "token issuer cannot be looked up at the moment"},
	ReasonKeysUnavailable:       {http.StatusServiceUnavailable, "", "token cannot be verified at the moment"},
	ReasonRevocationUnavailable: {http.StatusServiceUnavailable, "", "token revocation cannot be checked at the moment"},
	ReasonReplayUnavailable:     {http.StatusServiceUnavailable, "", "reuse of the DPoP proof cannot be checked at the moment"},
	ReasonCanceled:              {499, "", "request canceled"}, // never sent; nginx logs the same number
	ReasonMisconfigured:         {http.StatusInternalServerError, "", "server is misconfigured"},
	ReasonForbidden:             {http.StatusForbidden, "", "request not allowed"},
}

// answer is that of ReasonForbidden for a Reason of the application.
func (r Reason) answer() answer {
	if a, ok := answers[r]; ok {
		return a
	}
	return answers[ReasonForbidden]
}

// retryAfter is how many seconds a client should wait after a 503.
const retryAfter = "5"

// defaultRealm is used if Options.Realm is empty.
const defaultRealm = "restricted"

// refuse returns the Error of a reason, without its challenge.
func refuse(reason Reason, cause error) *Error {
	a := reason.answer()
	return &Error{Status: a.status, Code: a.code, Reason: reason, Err: cause}
}

// refuseCredential returns the Error of a credential that violates the syntax of
// its place, so that it cannot even be called a token.
func refuseCredential(cause error) *Error {
	return &Error{Status: http.StatusBadRequest, Code: codeRequest, Reason: ReasonMalformed, Err: cause}
}

// orOwn returns the Error that a rule or Extractor has returned as err, with
// what it lacks, or e if err is no Error.
func (e *Error) orOwn(err error) *Error {
	var returned *Error
	if !errors.As(err, &returned) || returned == nil {
		return e
	}
	own := *returned // it may be shared by many requests
	own.challenges, own.nonce, own.token, own.cached = [2]string{}, "", nil, false
	if err != error(returned) {
		own.Err = err // with what was wrapped around it
	}
	status, reason := e.Status, e.Reason
	switch own.Code {
	case codeRequest:
		status = http.StatusBadRequest
	case codeToken, codeProof, codeNonce:
		status = http.StatusUnauthorized
	case codeScope:
		status, reason = http.StatusForbidden, ReasonScope
	case codeAuthentication:
		status, reason = http.StatusUnauthorized, ReasonAuthentication
	}
	if own.Status < 400 || own.Status > 599 { // a refusal must not look like a success
		own.Status = status
	}
	if own.Reason == "" {
		own.Reason = reason
	}
	return &own
}

// description is the error_description.
func (e *Error) description() string {
	switch {
	case e.Description != "" && syntax.FitsQuotedString(e.Description):
		return e.Description
	case e.Reason == ReasonMalformed && e.Code == codeRequest:
		return "malformed credential"
	case e.Reason == "" && e.Status >= http.StatusInternalServerError:
		return "internal server error"
	}
	return e.Reason.answer().text
}

// hasChallenge reports whether the answer has a challenge: every 401, and the
// errors that have a code (RFC 6750 §3, RFC 9470 §3).
func (e *Error) hasChallenge() bool {
	switch e.Code {
	case codeRequest, codeToken, codeScope, codeAuthentication:
		return true
	}
	return e.Status == http.StatusUnauthorized
}

// addChallenge adds the challenge of a scheme. used: the credential has this scheme,
// so that its error belongs there. Text of a rule's own Error that does not fit
// between quotes is left out.
func (e *Error) addChallenge(scheme, algs, realm, metadataURL string, used bool) {
	if !e.hasChallenge() {
		return
	}
	var c refusal.Challenge
	c.Begin(scheme, realm)
	c.Add("algs", algs) // RFC 9449 §7.1
	if used {
		c.Add("error", e.Code)
	}
	if used && e.Code != "" {
		c.Add("error_description", e.description())
	}
	if used && e.Code == codeAuthentication {
		c.AddList("acr_values", e.ACRValues) // the syntax of scope
		if e.MaxAge > 0 {
			c.Add("max_age", strconv.FormatInt(int64(e.MaxAge/time.Second), 10))
		}
	}
	if e.Code == codeScope || e.Code == codeAuthentication || e.Reason == ReasonMissing {
		c.AddList("scope", e.Scopes)
	}
	if e.Status == http.StatusUnauthorized || e.Code == codeScope {
		c.Add("resource_metadata", metadataURL) // RFC 9728 §5.1
	}
	if e.challenges[0] == "" {
		e.challenges[0] = c.String()
	} else {
		e.challenges[1] = c.String()
	}
}

// challenge completes the Error of a Middleware for a credential of this scheme, or
// "" if there is none.
func (c *config) challenge(e *Error, scheme string) {
	o := &c.opts
	if o.DPoP == nil {
		e.addChallenge("Bearer", "", o.Realm, o.ResourceMetadataURL, true)
		return
	}
	proved := strings.EqualFold(scheme, schemeDPoP)
	unknown := e.Reason == ReasonMultiple
	if !o.DPoP.Required {
		e.addChallenge("Bearer", "", o.Realm, o.ResourceMetadataURL, unknown || !proved)
	}
	e.addChallenge(schemeDPoP, c.proofs.AlgorithmList, o.Realm, o.ResourceMetadataURL, unknown || proved)
	if proved && c.proofs.Nonces != nil && e.Status == http.StatusUnauthorized {
		e.nonce = c.proofs.Nonces.Newest() // RFC 9449 §8
	}
}

// writeHeader sets the header fields that every refusal has, and with a body
// those that describe it.
func (e *Error) writeHeader(h http.Header, body bool) {
	delete(h, "Content-Length") // of the answer that is not going to be given
	values := []string{"no-store", retryAfter, "application/json", "nosniff", e.challenges[0], e.challenges[1]}
	h["Cache-Control"] = values[0:1:1]
	if e.challenges[1] != "" {
		h["Www-Authenticate"] = values[4:6:6]
	} else if e.challenges[0] != "" {
		h["Www-Authenticate"] = values[4:5:5]
	}
	if e.nonce != "" {
		h["Dpop-Nonce"] = []string{e.nonce}
	}
	if e.Status == http.StatusServiceUnavailable {
		h["Retry-After"] = values[1:2:2]
	}
	if body {
		h["Content-Type"], h["X-Content-Type-Options"] = values[2:3:3], values[3:4:4]
	}
}

// WriteError writes the response to a refused request: the challenge, the
// status, and a JSON body of "error" (the Code, or else the Reason),
// "error_description" and "reason". Use it after [Middleware.Authenticate], and
// for the remaining cases in an [Options].ErrorHandler.
//
// If err is not an [*Error], the response is a 500 without details. For an
// Error that no Middleware has returned, the realm is "restricted". For
// [ReasonCanceled] nothing is written and the connection is closed.
func WriteError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) || e == nil {
		e = &Error{Status: http.StatusInternalServerError}
	}
	e.write(w)
}

// write is WriteError.
func (e *Error) write(w http.ResponseWriter) {
	if e.Reason == ReasonCanceled {
		// net/http would send an empty 200 to a client that can still read.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
		return
	}
	if e.challenges[0] == "" || e.Status < 400 || e.Status > 599 {
		e = e.completed()
	}
	e.writeHeader(w.Header(), true)
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.body()) // it fails if the client is gone
}

// completed returns a copy of an Error that no Middleware has returned, with a
// valid status and a challenge.
func (e *Error) completed() *Error {
	own := *e
	if own.Status < 400 || own.Status > 599 {
		own.Status = http.StatusInternalServerError
	}
	if own.challenges[0] == "" {
		own.addChallenge("Bearer", "", defaultRealm, "", true)
	}
	return &own
}

// body is the JSON body of the answer.
func (e *Error) body() []byte {
	name := cmp.Or(e.Code, string(e.Reason), string(ReasonForbidden))
	if e.Code == "" && e.Reason == "" && e.Status >= http.StatusInternalServerError { // not an Error of this package
		name = "server_error"
	}
	return refusal.Body(name, e.description(), string(e.Reason))
}
