package logout

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seed450a7203/jwthttp"
)

// Error codes of RFC 8935 §2.4.
const (
	codeRequest        = "invalid_request"
	codeKey            = "invalid_key"
	codeIssuer         = "invalid_issuer"
	codeAudience       = "invalid_audience"
	codeAuthentication = "authentication_failed"
	codeAccess         = "access_denied"
)

// failure is why a request failed.
type failure struct {
	status int
	code   string // empty if the sender did nothing wrong
	err    error  // for the Observer
}

func invalid(text string) *failure { return refused(codeRequest, errors.New("logout: "+text)) }

func refused(code string, err error) *failure {
	return &failure{http.StatusBadRequest, code, err}
}

func unavailable(err error) *failure {
	return &failure{http.StatusServiceUnavailable, "", err}
}

func notAllowed(method string) *failure {
	return &failure{http.StatusMethodNotAllowed, codeRequest, fmt.Errorf("logout: method %.20q", method)}
}

// refusedToken returns the failure for an error of Middleware.Verify.
func refusedToken(err error) *failure {
	var e *jwthttp.Error
	errors.As(err, &e) // it is one
	switch e.Reason {
	case jwthttp.ReasonKeysUnavailable:
		return unavailable(err)
	case jwthttp.ReasonAlgorithm, jwthttp.ReasonUnknownKey, jwthttp.ReasonSignature:
		return refused(codeKey, err)
	case jwthttp.ReasonIssuer:
		return refused(codeIssuer, err)
	case jwthttp.ReasonAudience:
		return refused(codeAudience, err)
	}
	return refused(codeRequest, err)
}

// text describes the failure to the sender. The texts are fixed, so that nothing
// from the message or the store can reach it.
func (f *failure) text() string {
	switch f.code {
	case codeKey:
		return "key or signature of the token not accepted"
	case codeIssuer:
		return "token issuer not accepted"
	case codeAudience:
		return "token is for another audience"
	case codeAuthentication:
		return "sender not authenticated"
	case codeAccess:
		return "sender may not revoke these tokens"
	case codeRequest:
		return "malformed request or token"
	}
	return "tokens cannot be revoked at the moment"
}

// writeHeader writes the status and the header fields that every answer has.
func (f *failure) writeHeader(w http.ResponseWriter, success int) {
	h, status := w.Header(), success
	h.Set("Cache-Control", "no-store")
	if f != nil {
		status = f.status
		h.Set("Content-Type", "application/json")
		h.Set("X-Content-Type-Options", "nosniff")
	}
	switch status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
}
