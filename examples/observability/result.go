package main

import (
	"net/http"
	"slices"

	"github.com/seed450a7203/jwthttp"
)

// reasons are the refusals that get a label of their own: all that jwthttp has.
// A Require rule that returns an *Error with a Reason of its own needs a line
// here, or counts as "other".
var reasons = []jwthttp.Reason{
	jwthttp.ReasonMissing,
	jwthttp.ReasonMalformed,
	jwthttp.ReasonMultiple,
	jwthttp.ReasonTooLarge,
	jwthttp.ReasonAlgorithm,
	jwthttp.ReasonType,
	jwthttp.ReasonIssuer,
	jwthttp.ReasonAudience,
	jwthttp.ReasonExpired,
	jwthttp.ReasonNotYetValid,
	jwthttp.ReasonTooOld,
	jwthttp.ReasonUnknownKey,
	jwthttp.ReasonSignature,
	jwthttp.ReasonClaims,
	jwthttp.ReasonBinding,
	jwthttp.ReasonRevoked,
	jwthttp.ReasonAuthentication,
	jwthttp.ReasonScope,
	jwthttp.ReasonForbidden,
	jwthttp.ReasonCrossOrigin,
	jwthttp.ReasonKeysUnavailable,
	jwthttp.ReasonRevocationUnavailable,
}

// The results that are no Reason.
const (
	resultOK        = "ok"
	resultAnonymous = "anonymous" // admitted by Optional, without a token
	resultOther     = "other"
)

// result is an Event in one word of a closed set, whatever a rule or a token
// says: a label that a client can choose fills the memory of who keeps it.
func result(e jwthttp.Event) string {
	switch {
	case e.Err != nil && slices.Contains(reasons, e.Err.Reason):
		return string(e.Err.Reason)
	case e.Err != nil:
		return resultOther
	case e.Token == nil:
		return resultAnonymous
	}
	return resultOK
}

// observers makes one Options.Observer of several.
func observers(all ...func(*http.Request, jwthttp.Event)) func(*http.Request, jwthttp.Event) {
	return func(r *http.Request, e jwthttp.Event) {
		for _, observe := range all {
			observe(r, e)
		}
	}
}
