// Package revocation ends tokens before they expire.
//
// An [Entry] names tokens: one by its ID, or all of a subject, session, client
// or issuer. A [List] keeps entries in memory. The modules redisrevocation and
// sqlrevocation keep them in a database that many machines share. All three are
// a [Store], whose method Revoked is set as [jwthttp.Options].Revoked:
//
//	var revoked revocation.List
//	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: issuers, Revoked: revoked.Revoked})
//
// A logout handler calls RevokeToken with the token of the request. A browser
// that leaves the page cancels the context of its request, which must not stop
// the logout. So pass [context.WithoutCancel]:
//
//	token, ok := jwthttp.TokenFromContext(r.Context())
//	...
//	err := revoked.RevokeToken(context.WithoutCancel(r.Context()), token)
package revocation

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/revset"
)

// Store is a set of revocations. It is implemented by [*List] and by the Store
// types of the modules redisrevocation and sqlrevocation. Package revocationtest
// tests an implementation.
//
// All methods are safe for concurrent use.
type Store interface {
	// Revoke adds an entry. When it returns nil, the entry is in force in this
	// process, and it is as durable as the store can make it. If there is an
	// entry for the same tokens, its IssuedUntil and Expires are only moved
	// later, never earlier.
	//
	// An error about the entry itself means that nothing was added. After any
	// other error the entry may have been added. Call Revoke again then; that
	// does no harm.
	Revoke(context.Context, Entry) error

	// RevokeToken revokes one token, as a logout does. The entry is by issuer
	// and ID, or by fingerprint if the token has no ID. It expires with the
	// token; for a token that does not expire it stays until Remove. A token
	// that has expired and is accepted because of leeway can be revoked, too.
	//
	// It returns an error for a nil token, and for one without ID that was made
	// by hand and therefore has no fingerprint.
	RevokeToken(context.Context, *jwthttp.Token) error

	// Remove deletes the entry for the tokens that the argument names, ignoring
	// its times. If there is no entry, that is no error. The errors are those of
	// Revoke.
	Remove(context.Context, Entry) error

	// Revoked reports whether the token is revoked. It is a
	// [jwthttp.RevokedFunc]. It returns an error for a nil token, and if the
	// store cannot tell.
	Revoked(context.Context, *jwthttp.Token) (bool, error)

	// Ready returns nil if the store can tell which tokens are revoked, and
	// otherwise an error that says why not. It is meant for health checks.
	Ready(context.Context) error

	// Len returns the number of entries in force, without expired ones.
	Len() int
}

var _ Store = (*List)(nil)

// List is a [Store] in memory. The zero value is an empty list, ready for use.
// It ignores the contexts it is given.
//
// A List is neither persistent nor shared between processes. After a restart,
// revoked tokens are accepted again until they expire.
//
// A List starts no goroutine. Expired entries are removed during later calls of
// Revoke, RevokeToken and Remove, a few at a time. Len removes all of them.
type List struct {
	set revset.Set
}

// Revoke adds an entry; see [Store]. The error describes what is wrong with e.
func (l *List) Revoke(_ context.Context, e Entry) error {
	key, err := e.key()
	if err != nil {
		return err
	}
	times, err := revset.NewTimes(key.Kind, e.IssuedUntil, e.Expires)
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	l.set.Put(key, times)
	return nil
}

// RevokeToken revokes one token, as a logout does; see [Store].
func (l *List) RevokeToken(_ context.Context, t *jwthttp.Token) error {
	key, times, err := revset.OfToken(t)
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	l.set.Put(key, times)
	return nil
}

// Remove deletes the entry for the tokens that e names; see [Store].
func (l *List) Remove(_ context.Context, e Entry) error {
	key, err := e.key()
	if err != nil {
		return err
	}
	l.set.Remove(key)
	return nil
}

func (e Entry) key() (revset.Key, error) {
	key, err := revset.NewKey(revset.Kind(e.Kind), e.Issuer, e.Value)
	if err != nil {
		return revset.Key{}, fmt.Errorf("revocation: %w", err)
	}
	return key, nil
}

// Revoked reports whether the list has an entry in force for t. It returns an
// error only for a nil token.
func (l *List) Revoked(_ context.Context, t *jwthttp.Token) (bool, error) {
	if t == nil {
		return false, errors.New("revocation: no token")
	}
	return l.set.Contains(t), nil
}

// Ready returns nil.
func (l *List) Ready(context.Context) error { return nil }

// Len removes all expired entries and returns the number of those in force. It
// looks at every entry, which takes tens of milliseconds for a million.
// Meanwhile look-ups continue.
func (l *List) Len() int { return l.set.Len() }
