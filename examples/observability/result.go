package main

import (
	"context"
	"slices"

	"github.com/seed450a7203/jwthttp"
)

// reasons are the refusals that have a label: all reasons of jwthttp. If your
// Require rules return an *Error with another Reason, add it here. Otherwise it
// counts as "other".
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
	jwthttp.ReasonProof,
	jwthttp.ReasonNonce,
	jwthttp.ReasonReplayed,
	jwthttp.ReasonRevoked,
	jwthttp.ReasonAuthentication,
	jwthttp.ReasonScope,
	jwthttp.ReasonForbidden,
	jwthttp.ReasonCrossOrigin,
	jwthttp.ReasonIssuersUnavailable,
	jwthttp.ReasonKeysUnavailable,
	jwthttp.ReasonRevocationUnavailable,
	jwthttp.ReasonReplayUnavailable,
	jwthttp.ReasonCanceled,
	jwthttp.ReasonMisconfigured,
}

// The results that are not a Reason.
const (
	resultOK        = "ok"
	resultAnonymous = "anonymous" // admitted by Optional or AllowAnonymous, without a good token
	resultOther     = "other"
)

// result returns one word of a closed set for e. If clients could choose labels,
// they could fill the memory of the metrics server.
func result(e jwthttp.Event) string {
	switch {
	case e.Admitted && (e.Err != nil || e.Token == nil):
		return resultAnonymous
	case e.Admitted:
		return resultOK
	case slices.Contains(reasons, e.Err.Reason):
		return string(e.Err.Reason)
	}
	return resultOther
}

// observers returns an Options.Observer that calls all of them.
func observers(all ...func(context.Context, jwthttp.Event)) func(context.Context, jwthttp.Event) {
	return func(ctx context.Context, e jwthttp.Event) {
		for _, observe := range all {
			observe(ctx, e)
		}
	}
}
