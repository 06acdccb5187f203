package jwthttp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// AuthenticationLevel says how and how recently the user must have been
// authenticated, in the terms of RFC 9470. Its zero value asks for nothing.
type AuthenticationLevel struct {
	_ struct{}

	// ACR are the authentication context class references that will do, the
	// preferred one first: the token's "acr" must be one of them, letter for
	// letter. Empty: any will do, or none.
	ACR []string
	// MaxAge is how long ago the user may have been authenticated, by the
	// token's "auth_time", without leeway, in whole seconds. Zero: at any time.
	MaxAge time.Duration
}

// RequireAuthentication returns a Middleware that also needs a token of a user
// who was authenticated as level says: for the transfer that wants a second
// factor, or a password typed in the last five minutes. The refusal tells the
// client what to ask the authorization server for, and the client comes back
// with a new token (RFC 9470): a 401 with the error
// insufficient_user_authentication, acr_values and max_age. Where a scope is
// missing too, it names the scopes as well.
//
// A token without "acr" or "auth_time", or with one of the wrong type, does not
// suffice where that is needed, nor does an "auth_time" in the future beyond
// [Options].Leeway. Levels add up: what is left are the values that all of them
// accept and the shortest MaxAge. A [Middleware.Require] rule may refuse with an
// [*Error] of this Code and a level of its own, by the amount that is
// transferred, say.
//
// It panics for a level that asks for nothing, an ACR that is empty or has a
// space or anything but printable ASCII, or a quote or backslash, a MaxAge that
// is negative, over ten years or no whole number of seconds, and if no ACR is
// left.
func (m *Middleware) RequireAuthentication(level AuthenticationLevel) *Middleware {
	if err := level.check(); err != nil {
		panic(fmt.Sprintf("jwthttp: RequireAuthentication: %v", err))
	}
	d := *m
	d.level = level.clone()
	if len(m.level.ACR) > 0 {
		d.level.ACR = slices.Clone(m.level.ACR)
		if len(level.ACR) > 0 {
			d.level.ACR = slices.DeleteFunc(d.level.ACR, func(acr string) bool { return !slices.Contains(level.ACR, acr) })
		}
		if len(d.level.ACR) == 0 {
			panic(fmt.Sprintf("jwthttp: RequireAuthentication: no \"acr\" is among %q and %q", m.level.ACR, level.ACR))
		}
	}
	if before := m.level.MaxAge; before > 0 && (level.MaxAge == 0 || before < level.MaxAge) {
		d.level.MaxAge = before
	}
	return &d
}

func (l AuthenticationLevel) check() error {
	if l.isZero() {
		return errors.New("want ACR or MaxAge")
	}
	for _, acr := range l.ACR {
		if notScopeToken(acr) { // acr_values is a list of the same form
			return fmt.Errorf("ACR: %q is not one value", acr)
		}
	}
	if l.MaxAge < 0 || l.MaxAge > maxMaxAge || l.MaxAge%time.Second != 0 {
		return fmt.Errorf("MaxAge: %q: want 0 to %v in whole seconds", l.MaxAge, maxMaxAge)
	}
	return nil
}

func (l AuthenticationLevel) isZero() bool { return len(l.ACR) == 0 && l.MaxAge == 0 }

func (l AuthenticationLevel) clone() AuthenticationLevel {
	l.ACR = slices.Clone(l.ACR)
	return l
}

// judge says what a token's authentication lacks.
func (l AuthenticationLevel) judge(t *Token, leeway time.Duration) error {
	if len(l.ACR) > 0 && !slices.Contains(l.ACR, t.ACR) {
		return fmt.Errorf("\"acr\" is %.200q, want one of %q", t.ACR, l.ACR)
	}
	if l.MaxAge == 0 {
		return nil
	}
	switch now := time.Now(); {
	case t.AuthTime.IsZero():
		return errors.New("\"auth_time\" is missing, or no date")
	case t.AuthTime.After(now.Add(leeway)):
		return errors.New("\"auth_time\" lies in the future")
	case now.Sub(t.AuthTime) > l.MaxAge:
		return fmt.Errorf("\"auth_time\" is longer than %v ago", l.MaxAge)
	}
	return nil
}
