package jwthttp

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Reason says why a request was refused, in one word of a closed set that is
// fit for a metric's label. A [Middleware.Require] rule that returns an [*Error]
// of its own may widen the set for its application.
type Reason string

// The reasons for a refusal. README.md has the table of statuses and error codes.
const (
	ReasonMissing               Reason = "missing"                // no credential, or one of another scheme
	ReasonMalformed             Reason = "malformed"              // no strict compact JWS with strict JSON inside
	ReasonMultiple              Reason = "multiple"               // more than one credential
	ReasonTooLarge              Reason = "too_large"              // longer than Options.MaxTokenSize
	ReasonAlgorithm             Reason = "algorithm"              // "alg" not allowed, or a key unfit for it
	ReasonType                  Reason = "type"                   // "typ" not accepted
	ReasonIssuer                Reason = "issuer"                 // "iss" is none of the issuers
	ReasonAudience              Reason = "audience"               // "aud" does not name this service
	ReasonExpired               Reason = "expired"                // "exp" has passed; says nothing about who signed
	ReasonNotYetValid           Reason = "not_yet_valid"          // "nbf" or "iat" lies in the future
	ReasonTooOld                Reason = "too_old"                // issued longer than Issuer.MaxAge ago, or no "iat"
	ReasonUnknownKey            Reason = "unknown_key"            // no key for this token
	ReasonSignature             Reason = "signature"              // signed by someone else, or altered
	ReasonClaims                Reason = "claims"                 // do not decode into T, or its Validate objects
	ReasonBinding               Reason = "binding"                // bound to a key ("cnf") that nothing here can check
	ReasonRevoked               Reason = "revoked"                // taken back
	ReasonAuthentication        Reason = "authentication"         // user authenticated too weakly, or too long ago
	ReasonScope                 Reason = "scope"                  // lacks a scope
	ReasonForbidden             Reason = "forbidden"              // a Require rule objects
	ReasonCrossOrigin           Reason = "cross_origin"           // cookie token on an unsafe cross-origin request
	ReasonKeysUnavailable       Reason = "keys_unavailable"       // our trouble: no keys to verify with
	ReasonRevocationUnavailable Reason = "revocation_unavailable" // our trouble: Options.Revoked gave no answer
)

// Errors to tell causes apart with [errors.Is], beside those of golang-jwt
// (jwt.ErrTokenExpired and its like), which match too.
var (
	// ErrNoToken is what an [Extractor] returns to say: nothing here, look in the next place.
	ErrNoToken = errors.New("no token in the request")
	// ErrMultipleTokens is what an [Extractor] returns for more than one credential.
	ErrMultipleTokens = errors.New("more than one token in the request")
	// ErrRevoked is the cause of a refusal by [Options].Revoked.
	ErrRevoked = errors.New("token is revoked")
	// ErrKeysUnavailable is what a [KeySource] returns, wrapped or not, when
	// it cannot tell whether a key exists; the answer is a 503 then.
	ErrKeysUnavailable = errors.New("keys are unavailable")
)

// Error is a refusal: what the client is told (Status, Code, Scopes) and what
// only logs should see (Reason, Err). A [Middleware.Require] rule may return one
// to choose its own answer. Do not change an Error that you were given.
type Error struct {
	// Status is the HTTP status. Anything outside 400 to 599 is answered as
	// 403 when a rule returns it (with Code insufficient_user_authentication
	// as 401), and as 500 by [WriteError].
	Status int
	// Code is the error code of RFC 6750 §3.1 or RFC 9470 §3, or empty where
	// they have none.
	Code string
	// Reason is never empty in an Error of this package. That of a rule gets
	// the one that goes with its Code, and [ReasonForbidden] otherwise.
	Reason Reason
	// Scopes are those the request needed, for Code insufficient_scope, and
	// for insufficient_user_authentication if some of them are missing too.
	Scopes []string
	// Authentication is what the request needed, for Code
	// insufficient_user_authentication.
	Authentication AuthenticationLevel
	// Err is the cause, for logs. It never holds the token. What this package
	// quotes of an unverified token is escaped and cut; errors of a KeySource,
	// an Extractor or a rule stand as they are.
	Err error

	challenge string  // WWW-Authenticate; empty: none, or not made yet
	answer    *answer // of Reason, if this package chose Status and Code by it
}

// Error describes the refusal for logs. It never holds the token.
func (e *Error) Error() string {
	if e.Err == nil {
		return "jwthttp: " + string(e.Reason)
	}
	return "jwthttp: " + string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Error codes of RFC 6750 §3.1 and RFC 9470 §3.
const (
	codeRequest        = "invalid_request"
	codeToken          = "invalid_token"
	codeScope          = "insufficient_scope"
	codeAuthentication = "insufficient_user_authentication"
)

// answer is all that a client learns about a refusal: one fixed text for each
// Reason, so that nothing from the token, the key server or a library can reach
// it.
type answer struct {
	status int
	code   string
	text   string

	reason Reason
	body   []byte // of the response; never changed
	index  int    // in family.challenges
}

var answers = completed(map[Reason]*answer{
	// RFC 6750 §3.1: no error code when no credential was sent.
	ReasonMissing:               {status: http.StatusUnauthorized, text: "this resource needs a token"},
	ReasonMalformed:             {status: http.StatusUnauthorized, code: codeToken, text: "the token is malformed"},
	ReasonMultiple:              {status: http.StatusBadRequest, code: codeRequest, text: "the request has more than one token"},
	ReasonTooLarge:              {status: http.StatusUnauthorized, code: codeToken, text: "the token is too large"},
	ReasonAlgorithm:             {status: http.StatusUnauthorized, code: codeToken, text: "the algorithm of the token is not accepted"},
	ReasonType:                  {status: http.StatusUnauthorized, code: codeToken, text: "the type of the token is not accepted"},
	ReasonIssuer:                {status: http.StatusUnauthorized, code: codeToken, text: "the issuer of the token is not accepted"},
	ReasonAudience:              {status: http.StatusUnauthorized, code: codeToken, text: "the token is meant for another audience"},
	ReasonExpired:               {status: http.StatusUnauthorized, code: codeToken, text: "the token has expired"},
	ReasonNotYetValid:           {status: http.StatusUnauthorized, code: codeToken, text: "the token is not valid yet"},
	ReasonTooOld:                {status: http.StatusUnauthorized, code: codeToken, text: "the token is too old"},
	ReasonUnknownKey:            {status: http.StatusUnauthorized, code: codeToken, text: "the key of the token is unknown"},
	ReasonSignature:             {status: http.StatusUnauthorized, code: codeToken, text: "the signature of the token is invalid"},
	ReasonClaims:                {status: http.StatusUnauthorized, code: codeToken, text: "the claims of the token are not accepted"},
	ReasonBinding:               {status: http.StatusUnauthorized, code: codeToken, text: "the token is bound to a key, which is not supported"},
	ReasonRevoked:               {status: http.StatusUnauthorized, code: codeToken, text: "the token has been revoked"},
	ReasonAuthentication:        {status: http.StatusUnauthorized, code: codeAuthentication, text: "this resource needs another authentication of the user"},
	ReasonScope:                 {status: http.StatusForbidden, code: codeScope, text: "the token lacks a scope that this resource needs"},
	ReasonForbidden:             {status: http.StatusForbidden, text: "the request is not allowed"},
	ReasonCrossOrigin:           {status: http.StatusForbidden, text: "cross-origin request refused"},
	ReasonKeysUnavailable:       {status: http.StatusServiceUnavailable, text: "the token cannot be verified at the moment"},
	ReasonRevocationUnavailable: {status: http.StatusServiceUnavailable, text: "the token cannot be checked for revocation at the moment"},
})

// completed fills in what follows from the rest.
func completed(answers map[Reason]*answer) map[Reason]*answer {
	for reason, a := range answers {
		a.reason = reason
		a.body = (&Error{Status: a.status, Code: a.code, Reason: reason}).makeBody(a.text)
	}
	for i, reason := range slices.Sorted(maps.Keys(answers)) {
		answers[reason].index = i
	}
	return answers
}

// badRequestText is the description of a malformed credential (400), which is
// not yet a malformed token (401).
const badRequestText = "the credential is malformed"

// retryAfter, in seconds, is what a client should wait before it asks a
// service again that had trouble of its own.
const retryAfter = "5"

// defaultRealm is the realm of Options.Realm "" and of a [WriteError] that
// knows no Middleware.
const defaultRealm = "restricted"

// refuse returns the Error of a reason, without its challenge.
func refuse(reason Reason, cause error) *Error {
	a := answers[reason]
	return &Error{Status: a.status, Code: a.code, Reason: reason, Err: cause, answer: a}
}

// refuseCredential returns the Error of a credential that breaks the syntax of
// its place, before one can speak of a token.
func refuseCredential(cause error) *Error {
	return &Error{Status: http.StatusBadRequest, Code: codeRequest, Reason: ReasonMalformed, Err: cause}
}

// refusal reads the error of a [Middleware.Require] rule.
func refusal(err error) *Error {
	var own *Error
	if !errors.As(err, &own) || own == nil { // nil: a rule that returned a nil *Error as an error
		return refuse(ReasonForbidden, err)
	}
	e := *own // the rule may return one shared value for every request
	if err != error(own) {
		e.Err = err // what the rule said around it
	}
	// A refusal must not look like a success, and a redirect needs an ErrorHandler.
	status, reason := http.StatusForbidden, ReasonForbidden
	switch e.Code {
	case codeScope:
		reason = ReasonScope
	case codeAuthentication:
		status, reason = http.StatusUnauthorized, ReasonAuthentication
	}
	if e.Status < 400 || e.Status > 599 {
		e.Status = status
	}
	if e.Reason == "" {
		e.Reason = reason
	}
	return &e
}

// description is the fixed text that goes with an Error.
func (e *Error) description() string {
	if e.Code == codeRequest && e.Reason == ReasonMalformed {
		return badRequestText
	}
	if a, ok := answers[e.Reason]; ok {
		return a.text
	}
	return answers[ReasonForbidden].text
}

// challenged reports whether the answer carries a challenge (RFC 6750 §3:
// every 401, and the errors that have a code).
func (e *Error) challenged() bool {
	return e.Status == http.StatusUnauthorized || e.Code == codeRequest || e.Code == codeToken || e.Code == codeScope ||
		e.Code == codeAuthentication
}

// buildChallenge writes the value of WWW-Authenticate for e. The realm and the
// metadata URL were judged by New; text that comes from a rule's own Error is
// left out unless it fits a quoted string as it stands.
func (e *Error) buildChallenge(realm, metadataURL string) string {
	var b strings.Builder
	param := func(name, value string) {
		if value != "" && fitsQuotedString(value) {
			b.WriteString(`, ` + name + `="` + value + `"`)
		}
	}
	b.WriteString(`Bearer realm="` + realm + `"`)
	param("error", e.Code)
	if e.Code != "" {
		param("error_description", e.description())
	}
	if e.Code == codeAuthentication {
		param("acr_values", strings.Join(slices.DeleteFunc(slices.Clone(e.Authentication.ACR), notScopeToken), " "))
		if e.Authentication.MaxAge > 0 {
			param("max_age", strconv.FormatInt(int64(e.Authentication.MaxAge/time.Second), 10))
		}
	}
	if e.Code == codeScope || e.Code == codeAuthentication || e.Reason == ReasonMissing {
		param("scope", strings.Join(slices.DeleteFunc(slices.Clone(e.Scopes), notScopeToken), " "))
	}
	if e.Status == http.StatusUnauthorized || e.Code == codeScope || e.Code == codeAuthentication {
		param("resource_metadata", metadataURL) // RFC 9728 §5.1
	}
	return b.String()
}

// fitsQuotedString reports whether s can stand between double quotes as it is
// (RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E).
func fitsQuotedString(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// notScopeToken reports whether s cannot be one scope (RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E).
func notScopeToken(s string) bool {
	return s == "" || strings.Contains(s, " ") || !fitsQuotedString(s)
}

// writeHeaders sets what every refusal has, and what our own body needs.
func (e *Error) writeHeaders(h http.Header, ownBody bool) {
	delete(h, "Content-Length")       // of the answer that is not going to be given
	values := make([]string, 0, 5)    // all of them in one allocation
	set := func(name, value string) { // a canonical name
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set("Cache-Control", "no-store")
	if e.challenge != "" {
		set("Www-Authenticate", e.challenge)
	}
	if e.Status == http.StatusServiceUnavailable {
		set("Retry-After", retryAfter)
	}
	if ownBody {
		set("Content-Type", "application/json")
		set("X-Content-Type-Options", "nosniff")
	}
}

// WriteError writes e as a Handler without [Options].ErrorHandler does: headers
// with the challenge, status, and a JSON body of two members, "error" (the
// code, or the Reason where RFC 6750 has none) and "error_description". Use it
// after [Middleware.Authenticate], in other frameworks, and in an ErrorHandler
// for the cases that it leaves alone.
//
// For an Error that no Middleware made, the challenge names the default realm.
// A nil e is answered with status 500.
func WriteError(w http.ResponseWriter, e *Error) {
	if e == nil {
		e = &Error{}
	}
	if e.Status < 400 || e.Status > 599 {
		own := *e
		own.Status = http.StatusInternalServerError
		e = &own
	}
	if e.challenge == "" && e.challenged() {
		own := *e
		own.challenge = own.buildChallenge(defaultRealm, "")
		e = &own
	}
	e.writeHeaders(w.Header(), true)
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.body()) // the client is gone if this fails
}

func (e *Error) body() []byte {
	if e.isPlain() {
		return e.answer.body
	}
	return e.makeBody(e.description())
}

// isPlain reports whether e still is what its Reason stands for.
func (e *Error) isPlain() bool {
	return e.answer != nil && e.Status == e.answer.status && e.Code == e.answer.code && e.Reason == e.answer.reason
}

func (e *Error) makeBody(text string) []byte {
	name := e.Code
	if name == "" {
		name = string(e.Reason)
	}
	if name == "" { // an Error made by hand, or none at all
		name, text = "error", http.StatusText(e.Status)
	}
	if fitsQuotedString(name) { // as JSON writes it, and so do the fixed texts
		return []byte(`{"error":"` + name + `","error_description":"` + text + "\"}\n")
	}
	body, _ := json.Marshal(struct { // two strings always marshal
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{name, text})
	return append(body, '\n')
}

// Causes that quote nothing. Those that golang-jwt has a sentinel for wrap it.
var (
	errCredential   = errors.New("credential does not fit the field's syntax")
	errTooMany      = errors.New("more cookies or parameters than net/http reads")
	errSegments     = malformed("not three base64url segments")
	errHeaderAlg    = malformed("\"alg\" is missing or not a string")
	errHeaderMember = malformed("header has \"crit\", \"b64\", \"enc\" or \"zip\"")
	errHeaderType   = malformed("header parameter is of the wrong type")
	errTooLarge     = malformed("longer than MaxTokenSize")
	errNoExp        = &cause{text: "\"exp\" is missing", is: []error{jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenMalformed}}
	errExpired      = &cause{text: "\"exp\" has passed", is: []error{jwt.ErrTokenExpired, jwt.ErrTokenInvalidClaims}}
	errNotYetValid  = &cause{text: "\"nbf\" lies in the future", is: []error{jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidClaims}}
	errIssuedLater  = &cause{text: "\"iat\" lies in the future", is: []error{jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidClaims}}
	errTooOld       = &cause{text: "\"iat\" is longer than MaxAge ago", is: []error{jwt.ErrTokenInvalidClaims}}
	errNoIat        = &cause{text: "\"iat\" is missing and MaxAge is set", is: []error{jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenInvalidClaims}}
	errBound        = &cause{text: "token has a \"cnf\" claim", is: []error{jwt.ErrTokenInvalidClaims}}
	errNoKey        = errors.New("no such key")
	errSignature    = &cause{text: "no key of the issuer verifies the signature", is: []error{jwt.ErrTokenSignatureInvalid}}
)

// cause is an error of fixed text that matches sentinels, and may quote what a
// token said. The quoting waits until somebody reads it: most refusals are
// never looked at.
type cause struct {
	text  string
	quote string // from the token
	is    []error
}

func malformed(text string) *cause { return &cause{text: text, is: []error{jwt.ErrTokenMalformed}} }

// quoteMax is how much of an unverified value goes into an error, in bytes.
const quoteMax = 64

func (c *cause) Error() string {
	text := c.text
	if len(c.is) > 0 {
		text = c.is[0].Error() + ": " + text
	}
	if c.quote == "" {
		return text
	}
	return text + ": " + quoteCut(c.quote)
}

func (c *cause) Unwrap() []error { return c.is }
