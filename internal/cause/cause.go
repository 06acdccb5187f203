// Package cause makes the errors that say in logs why a token was refused. They
// match the errors of golang-jwt. They are formatted when somebody reads them,
// because most refusals are not looked at.
package cause

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type cause struct {
	is     [2]error // nil: none
	format string
	args   []any
}

func (c *cause) Error() string   { return fmt.Sprintf(c.format, c.args...) }
func (c *cause) Unwrap() []error { return c.is[:] }

// Malformed returns an error that is jwt.ErrTokenMalformed.
func Malformed(format string, args ...any) error {
	return &cause{[2]error{jwt.ErrTokenMalformed}, format, args}
}

// Unverifiable returns an error that is jwt.ErrTokenUnverifiable.
func Unverifiable(format string, args ...any) error {
	return &cause{[2]error{jwt.ErrTokenUnverifiable}, format, args}
}

// Invalid returns an error about a claim. It is jwt.ErrTokenInvalidClaims, and
// is unless that is nil.
func Invalid(is error, format string, args ...any) error {
	return &cause{[2]error{is, jwt.ErrTokenInvalidClaims}, format, args}
}

// outOfTime is an error about a date, for whose values no memory is allocated.
type outOfTime struct {
	cause
	off, limit time.Duration
}

func (o *outOfTime) Error() string { return fmt.Sprintf(o.format, o.off, o.limit) }

// OutOfTime returns the same error as Invalid with two durations.
func OutOfTime(is error, format string, off, limit time.Duration) error {
	return &outOfTime{cause{is: [2]error{is, jwt.ErrTokenInvalidClaims}, format: format}, off, limit}
}

// Fixed returns an error with a text and the given errors, at most two.
func Fixed(text string, is ...error) error {
	c := &cause{format: "%s", args: []any{text}}
	copy(c.is[:], is)
	return c
}
