package jwthttp

import (
	"container/heap"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"time"
)

// checkRevoked asks Options.Revoked about a verified token. unchecked means
// that it failed, and that FailOpen admits the token.
func (f *family) checkRevoked(ctx context.Context, t *Token) (unchecked bool, e *Error) {
	if f.revoked == nil {
		return false, nil
	}
	revoked, err := f.askRevoked(ctx, t)
	switch {
	case err == nil && !revoked:
		return false, nil
	case err == nil || errors.Is(err, ErrRevoked) || revoked && f.failOpen:
		// A failure that says "revoked" must not be one that admits.
		return false, refuse(ReasonRevoked, ErrRevoked)
	case f.failOpen && ctx.Err() == nil:
		// Not for a request that has ended itself: hanging up would be a way
		// to use a revoked token.
		return true, nil
	}
	return false, refuse(ReasonRevocationUnavailable, err)
}

// askRevoked calls the hook within its deadline, and makes a panic an error.
func (f *family) askRevoked(ctx context.Context, t *Token) (revoked bool, err error) {
	hook := &hookContext{Context: ctx, deadline: time.Now().Add(f.revocationTimeout)}
	defer hook.release()
	defer func() {
		if p := recover(); p != nil {
			revoked, err = false, fmt.Errorf("revocation check panicked: %v", p)
		}
	}()
	revoked, err = f.revoked(hook, t.clone())
	if err == nil {
		err = hook.Err()
	}
	return revoked, err
}

// hookContext is the request's context with the hook's deadline. A hook that
// looks into memory never asks for Done, and a timer that nobody waits for costs
// more than its look-up: so it is set when somebody does.
type hookContext struct {
	context.Context // the request's
	deadline        time.Time

	mu       sync.Mutex
	timed    context.Context // with the timer; nil: nobody asked yet
	cancel   context.CancelFunc
	answered bool // the hook has
}

// Deadline returns the earlier of the request's deadline and the hook's.
func (c *hookContext) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

// Done sets the timer.
func (c *hookContext) Done() <-chan struct{} { return c.withTimer().Done() }

// Err looks at the clock, so it does not wait for a timer that is about to fire.
func (c *hookContext) Err() error {
	c.mu.Lock()
	quiet := c.timed == nil && !c.answered
	c.mu.Unlock()
	if !quiet {
		return c.withTimer().Err() // which never changes once it is there
	}
	if err := c.Context.Err(); err != nil || time.Now().Before(c.deadline) {
		return err
	}
	return c.withTimer().Err()
}

func (c *hookContext) withTimer() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.answered {
			c.cancel()
		}
	}
	return c.timed
}

// release ends c after the hook has answered.
func (c *hookContext) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Revocation names tokens to refuse. It has exactly one of ID, Fingerprint,
// Subject, SessionID and ClientID; or none of them, for all tokens of Issuer.
type Revocation struct {
	_ struct{}

	// Issuer is the "iss" of the tokens. An empty one means tokens without
	// "iss"; it cannot stand alone. It does not matter beside a Fingerprint,
	// which covers "iss" too.
	Issuer string

	ID          string // the token with this "jti"
	Fingerprint string // the token with this [Token.Fingerprint]
	Subject     string // tokens with this "sub"
	SessionID   string // tokens with this "sid"
	ClientID    string // tokens with this "client_id" or "azp"

	// IssuedUntil ends the tokens whose "iat" is not later, and those
	// without "iat". It is required but for ID and Fingerprint, which end
	// their token whatever it says. At most 5 minutes ahead, for issuers
	// whose clock runs fast, and for a request under way that was let in
	// before and is about to get a renewed token: of a session that never
	// comes back, end a minute's more.
	//
	// Most issuers write "iat" in whole seconds. A token issued later in the
	// very second of IssuedUntil is therefore refused too: after "sign out
	// everywhere", let the next login wait for the next second, or issue its
	// token with an "iat" in fractions.
	IssuedUntil time.Time

	// Expires is when the last of the tokens has expired; the entry is kept 5
	// minutes longer, the largest Leeway. Zero, like anything after the year
	// 9999, means until it is removed. An Expires that is too early revives
	// tokens.
	Expires time.Time
}

// maxAhead is how far IssuedUntil may lie in the future.
const maxAhead = 5 * time.Minute

// RevocationList is a set of [Revocation] values in memory; its method Revoked fits
// [Options].Revoked. The zero value is an empty list, ready for use. It is safe
// for concurrent use and has no goroutine; what has expired leaves it with
// later calls: of Add and Remove up to 16 entries each, of Len all.
//
// IT FORGETS EVERYTHING WHEN THE PROGRAM ENDS, AND NO OTHER PROGRAM SEES IT.
// After a restart, and on a second machine, all tokens that it ended are valid
// again until they expire. Use it alone only where that is acceptable; with
// short-lived tokens it often is. The modules redisrevocation and sqlrevocation
// keep revocations where neither happens, behind the same methods.
type RevocationList struct {
	mu      sync.RWMutex
	seeds   [2]maphash.Seed // made with the first entry
	entries [revocationKinds]map[revocationHash]revocationTimes
	expiry  expiryHeap // when to look which entry has expired
	peak    int        // the most entries since the maps were last made
}

type revocationKind uint8

const (
	revokeIssuer revocationKind = iota
	revokeID
	revokeFingerprint
	revokeSubject
	revokeSession
	revokeClient

	revocationKinds = iota
)

// revocationKey says which tokens of a kind. The value of a fingerprint is its
// 32 bytes.
type revocationKey struct{ issuer, value string }

// revocationHash finds an entry among those of its kind, with less memory and
// fewer cache misses than its revocationKey would. The 128 bits come from two
// secret seeds, so nobody can choose names that collide; that two do by chance
// is less likely than a broken memory cell, and would refuse a token, not
// admit one.
type revocationHash [2]uint64

func (l *RevocationList) hash(key revocationKey) revocationHash {
	return revocationHash{maphash.Comparable(l.seeds[0], key), maphash.Comparable(l.seeds[1], key)}
}

// revocationTimes are an entry's times. They are kept small: there may be
// millions.
type revocationTimes struct {
	until   int64 // IssuedUntil in Unix nanoseconds
	expires int64 // Expires in Unix seconds, rounded up; 0: never
}

// parse returns the kind and the key of a Revocation, or an error if it is not
// clear which tokens it means.
func (r Revocation) parse() (kind revocationKind, key revocationKey, err error) {
	key.issuer = r.Issuer
	named := 0
	for _, field := range []struct {
		kind  revocationKind
		value string
	}{
		{revokeID, r.ID}, {revokeFingerprint, r.Fingerprint}, {revokeSubject, r.Subject},
		{revokeSession, r.SessionID}, {revokeClient, r.ClientID},
	} {
		if field.value != "" {
			kind, key.value = field.kind, field.value
			named++
		}
	}
	switch {
	case named > 1:
		return kind, key, errors.New("jwthttp: Revocation: more than one of ID, Fingerprint, Subject, SessionID and ClientID")
	case named == 0 && r.Issuer == "":
		return kind, key, errors.New("jwthttp: Revocation: names no tokens")
	case kind == revokeFingerprint:
		sum, err := hex.DecodeString(r.Fingerprint)
		if err != nil || len(sum) != 32 || strings.ToLower(r.Fingerprint) != r.Fingerprint {
			return kind, key, fmt.Errorf("jwthttp: Revocation.Fingerprint: %.80q: want 64 lower-case hexadecimal digits", r.Fingerprint)
		}
		return kind, revocationKey{value: string(sum)}, nil
	}
	return kind, key, nil
}

// Add puts r on the list; the tokens it names are refused from its return on.
// Adding the same tokens again keeps the later of each of the times. An error
// means that r is not clear or not allowed, and that nothing was added.
func (l *RevocationList) Add(r Revocation) error {
	kind, key, err := r.parse()
	if err != nil {
		return err
	}
	now := time.Now()
	if r.IssuedUntil.IsZero() && kind != revokeID && kind != revokeFingerprint {
		return errors.New("jwthttp: Revocation.IssuedUntil: required without ID or Fingerprint")
	}
	if r.IssuedUntil.After(now.Add(maxAhead)) {
		return fmt.Errorf("jwthttp: Revocation.IssuedUntil: %q: more than 5 minutes ahead", r.IssuedUntil)
	}
	times := revocationTimes{until: unixNano(r.IssuedUntil), expires: expirySecond(r.Expires)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seeds == ([2]maphash.Seed{}) {
		l.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	}
	l.purge(now, purgeSome)
	l.put(kind, l.hash(key), times)
	return nil
}

// unixNano is t in Unix nanoseconds, or -1 if that is before every possible "iat".
func unixNano(t time.Time) int64 {
	if t.Unix() < 0 {
		return -1
	}
	return t.UnixNano()
}

// expirySecond is t in Unix seconds, rounded up; 0 for never, as a time after
// the last "exp" there is says too.
func expirySecond(t time.Time) int64 {
	switch seconds := t.Unix(); {
	case t.IsZero() || seconds >= maxDate:
		return 0
	case t.Nanosecond() > 0:
		return max(1, seconds+1)
	default:
		return max(1, seconds)
	}
}

// put adds an entry, or extends the one that is there.
func (l *RevocationList) put(kind revocationKind, key revocationHash, times revocationTimes) {
	old, ok := l.entries[kind][key]
	if ok {
		times.until = max(times.until, old.until)
		if times.expires != 0 && (old.expires == 0 || old.expires > times.expires) {
			times.expires = old.expires
		}
	}
	if l.entries[kind] == nil {
		l.entries[kind] = make(map[revocationHash]revocationTimes)
	}
	l.entries[kind][key] = times
	if times.expires != 0 && times.expires != old.expires {
		heap.Push(&l.expiry, expiry{times.expires, kind, key})
	}
	l.peak = max(l.peak, l.len())
}

// Remove takes the entry for the tokens that r names off the list; its times
// do not matter. Removing what is not there is no error.
func (l *RevocationList) Remove(r Revocation) {
	kind, key, err := r.parse()
	if err != nil {
		return // Add refused it, too
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries[kind]) > 0 { // or there may be no seeds yet
		delete(l.entries[kind], l.hash(key))
	}
	l.purge(time.Now(), purgeSome)
}

// RevokeToken ends one token, as a logout does: by issuer and "jti", or by
// fingerprint if it has no "jti". The entry lives as long as the token; a token
// without "exp" stays revoked until it is removed.
func (l *RevocationList) RevokeToken(t *Token) error {
	if t == nil {
		return errors.New("jwthttp: RevokeToken: no token")
	}
	r := Revocation{Issuer: t.Issuer, ID: t.ID, Expires: t.ExpiresAt}
	if t.ID == "" {
		if r.Fingerprint = t.Fingerprint(); r.Fingerprint == "" {
			return errors.New("jwthttp: RevokeToken: token made by hand has neither ID nor fingerprint")
		}
	}
	return l.Add(r)
}

// Revoked reports whether the list has an entry for t. It is a [RevokedFunc],
// needs no context, and fails for a nil Token only.
func (l *RevocationList) Revoked(_ context.Context, t *Token) (bool, error) {
	if t == nil {
		return false, errors.New("jwthttp: Revoked: no token")
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for kind, value := range [revocationKinds]string{
		revokeID: t.ID, revokeSubject: t.Subject, revokeSession: t.SessionID, revokeClient: t.ClientID,
	} {
		if len(l.entries[kind]) == 0 {
			continue // a kind the list does not hold costs nothing
		}
		key := revocationKey{issuer: t.Issuer, value: value}
		switch revocationKind(kind) {
		case revokeFingerprint:
			sum, ok := t.sum()
			if !ok {
				continue
			}
			key = revocationKey{value: string(sum[:])}
		case revokeIssuer:
		default:
			if value == "" {
				continue
			}
		}
		if times, ok := l.entries[kind][l.hash(key)]; ok && times.end(revocationKind(kind), t) {
			return true, nil
		}
	}
	return false, nil
}

// end reports whether an entry that names t is in force, and late enough for it.
func (times revocationTimes) end(kind revocationKind, t *Token) bool {
	if dead(times.expires, time.Now()) {
		return false
	}
	if kind == revokeID || kind == revokeFingerprint || t.IssuedAt.IsZero() {
		return true
	}
	return !t.IssuedAt.After(time.Unix(0, times.until))
}

// dead reports whether tokens that expire then have expired for every Leeway.
func dead(expires int64, now time.Time) bool {
	return expires != 0 && now.After(time.Unix(expires, 0).Add(maxLeeway))
}

// Len returns the number of entries in force. It clears out all expired ones,
// which takes about a third of a second for a million; look-ups go on meanwhile.
func (l *RevocationList) Len() int {
	now := time.Now()
	for {
		l.mu.Lock()
		l.purge(now, purgeMany)
		n, done := l.len(), len(l.expiry) == 0 || !dead(l.expiry[0].expires, now)
		l.mu.Unlock()
		if done {
			return n
		}
	}
}

func (l *RevocationList) len() int {
	n := 0
	for _, entries := range l.entries {
		n += len(entries)
	}
	return n
}

// How many expired entries are cleared out at the most before look-ups may go
// on: by a change of the list, more than it adds; by Len.
const (
	purgeSome = 16
	purgeMany = 1024
)

// purge clears out expired entries, the earliest first.
func (l *RevocationList) purge(now time.Time, most int) {
	for ; most > 0 && len(l.expiry) > 0 && dead(l.expiry[0].expires, now); most-- {
		e := heap.Pop(&l.expiry).(expiry)
		if l.current(e) {
			delete(l.entries[e.kind], e.key)
		}
	}
	// Neither a map nor a slice ever shrinks. Making them anew when a quarter
	// is left costs each entry that went a constant share, but all at once:
	// when a million entries have shrunk to a quarter, look-ups wait some 30 ms.
	n := l.len()
	if l.peak > 1024 && n < l.peak/4 {
		for kind, entries := range l.entries {
			l.entries[kind] = make(map[revocationHash]revocationTimes, len(entries))
			maps.Copy(l.entries[kind], entries)
		}
		l.peak = n
	}
	if len(l.expiry) > 1024 && len(l.expiry) > 4*n || cap(l.expiry) > 1024 && len(l.expiry) < cap(l.expiry)/4 {
		kept := make(expiryHeap, 0, min(n, len(l.expiry)))
		for _, e := range l.expiry {
			if l.current(e) {
				kept = append(kept, e)
			}
		}
		heap.Init(&kept)
		l.expiry = kept
	}
}

// current reports whether e still says when its entry expires. Adding again
// and Remove leave the old one behind, which is cheaper than looking for it.
func (l *RevocationList) current(e expiry) bool {
	times, ok := l.entries[e.kind][e.key]
	return ok && times.expires == e.expires
}

// expiry says when an entry expires.
type expiry struct {
	expires int64
	kind    revocationKind
	key     revocationHash
}

// expiryHeap is a [heap.Interface], the earliest expiry first.
type expiryHeap []expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiry)) }

func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}
