// Package replica keeps a full copy of the revocations that a store holds for
// several machines: what redisrevocation and sqlrevocation have in common.
//
// A store numbers its changes without gaps and keeps the last of them. Who
// follows it loads all entries once, as they were at some number or later, and
// then applies the changes after that number in their order. So nothing is
// missed between the two, and a hole in the numbers shows that something was.
package replica

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/seed450a7203/jwthttp"
)

// Entry is a revocation as a store keeps it.
type Entry struct {
	Key      string // 43 characters of base64url; one for the same tokens, whatever the times
	Identity string // JSON: which tokens it ends
	Until    int64  // IssuedUntil in Unix nanoseconds; 0: the zero time
	Expires  int64  // in Unix seconds, rounded up; Never: never
}

// Never is the Expires of an entry that stays until it is removed. Being the
// largest, it wins where a store keeps the later of two times.
const Never = math.MaxInt64

// KeptLonger is how long after its Expires a store must keep an entry: the
// largest Leeway, and what the clocks of the machines may differ by besides.
const KeptLonger = 15 * time.Minute

// maxAhead is how far IssuedUntil may lie ahead of the clock of the list.
const maxAhead = 5 * time.Minute

// identity has the members of a Revocation that say which tokens it ends.
type identity struct {
	Issuer      string `json:"iss,omitempty"`
	ID          string `json:"jti,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Subject     string `json:"sub,omitempty"`
	SessionID   string `json:"sid,omitempty"`
	ClientID    string `json:"client_id,omitempty"`
}

// NewEntry returns the Entry of r, or the error that a RevocationList has for it.
func NewEntry(r jwthttp.Revocation) (Entry, error) {
	var list jwthttp.RevocationList
	if err := list.Add(r); err != nil {
		return Entry{}, err
	}
	return newEntry(r)
}

// NewRemoval returns the Entry that Remove takes away: r's, whose times do not matter.
func NewRemoval(r jwthttp.Revocation) (Entry, error) {
	r.IssuedUntil, r.Expires = time.Now(), time.Time{} // so that nothing but the identity is judged
	return NewEntry(r)
}

func newEntry(r jwthttp.Revocation) (Entry, error) {
	if r.Fingerprint != "" {
		r.Issuer = "" // the fingerprint covers it
	}
	id := identity{r.Issuer, r.ID, r.Fingerprint, r.Subject, r.SessionID, r.ClientID}
	for _, member := range id.members() {
		if !utf8.ValidString(member) { // JSON could not carry it, and no token has it
			return Entry{}, errors.New("revocation is not valid UTF-8")
		}
	}
	text, err := json.Marshal(id)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Key: id.key(), Identity: string(text), Expires: Never}
	if !r.IssuedUntil.IsZero() {
		e.Until = max(1, r.IssuedUntil.UnixNano())
		if r.IssuedUntil.Unix() < 0 {
			e.Until = 1
		}
	}
	if !r.Expires.IsZero() && r.Expires.Year() < 10000 {
		e.Expires = max(1, r.Expires.Add(time.Second-1).Unix())
	}
	return e, nil
}

func (id identity) members() [6]string {
	return [...]string{id.Issuer, id.ID, id.Fingerprint, id.Subject, id.SessionID, id.ClientID}
}

// key is a hash of the members, each with its length, so that no two identities
// have one text.
func (id identity) key() string {
	var text []byte
	for _, member := range id.members() {
		text = binary.AppendUvarint(text, uint64(len(member)))
		text = append(text, member...)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Revocation is the opposite of NewEntry.
func (e Entry) Revocation() (jwthttp.Revocation, error) {
	var id identity
	if err := json.Unmarshal([]byte(e.Identity), &id); err != nil {
		return jwthttp.Revocation{}, fmt.Errorf("stored revocation %q: %w", e.Key, err)
	}
	r := jwthttp.Revocation{
		Issuer: id.Issuer, ID: id.ID, Fingerprint: id.Fingerprint,
		Subject: id.Subject, SessionID: id.SessionID, ClientID: id.ClientID,
	}
	if e.Until != 0 {
		r.IssuedUntil = time.Unix(0, e.Until)
	}
	if e.Expires != Never {
		r.Expires = time.Unix(e.Expires, 0)
	}
	return r, nil
}

// OfToken returns the Revocation of one token, as RevocationList.RevokeToken
// would add it.
func OfToken(t *jwthttp.Token) (jwthttp.Revocation, error) {
	if t == nil {
		return jwthttp.Revocation{}, errors.New("no token to revoke")
	}
	r := jwthttp.Revocation{Issuer: t.Issuer, ID: t.ID, Expires: t.ExpiresAt}
	if t.ID == "" {
		if r.Fingerprint = t.Fingerprint(); r.Fingerprint == "" {
			return r, errors.New("token made by hand has neither ID nor fingerprint")
		}
	}
	return r, nil
}

// Change is one step of a store.
type Change struct {
	Seq     uint64 // 1 for the first change of a store, and one more for each
	Entry   Entry  // as it is after the step, or of what was removed
	Removed bool
}

// Errors of a Copy.
var (
	// ErrGap says that changes are missing, so that everything has to be loaded.
	ErrGap = errors.New("changes are missing")
	// ErrLost says that the store has other changes than those made here, under
	// the same numbers: it has lost some.
	ErrLost = errors.New("the store has lost changes")
	// ErrStale says that a copy has not heard from its store for too long.
	ErrStale = errors.New("no word from the revocation store")
)

// Copy is one machine's copy. It is safe for concurrent use; what follows the
// store calls Install, Follow and Heard from one goroutine.
type Copy struct {
	maxStale time.Duration
	start    time.Time
	heard    atomic.Int64 // when the store was last known to have nothing newer, since start; 0: never

	lists atomic.Pointer[[]*jwthttp.RevocationList] // the first is the store's; more: what it has lost
	ahead atomic.Pointer[map[string]Entry]          // see add; nil: none; the map never changes

	mu  sync.Mutex        // held to change any of it
	seq uint64            // of the last change in the copy
	own map[string]Change // made here and not followed yet, by key
}

// NewCopy returns a Copy that is stale until Install.
func NewCopy(maxStale time.Duration) *Copy {
	c := &Copy{maxStale: maxStale, start: time.Now().Add(-time.Nanosecond), own: map[string]Change{}}
	c.lists.Store(&[]*jwthttp.RevocationList{{}})
	return c
}

// Revoked is a jwthttp.RevokedFunc. What the copy knows to be revoked is, however
// old it is; of all else a stale copy says nothing.
func (c *Copy) Revoked(ctx context.Context, t *jwthttp.Token) (bool, error) {
	ahead := c.ahead.Load() // before the lists: what leaves it is in a list by then
	for _, list := range *c.lists.Load() {
		if revoked, err := list.Revoked(ctx, t); revoked || err != nil {
			return revoked, err
		}
	}
	if ahead != nil && endedAhead(*ahead, t) {
		return true, nil
	}
	return false, c.Ready()
}

// endedAhead looks for t among entries that are in no list yet.
func endedAhead(ahead map[string]Entry, t *jwthttp.Token) bool {
	for _, id := range []identity{
		{Issuer: t.Issuer},
		{Issuer: t.Issuer, Subject: t.Subject},
		{Issuer: t.Issuer, SessionID: t.SessionID},
		{Issuer: t.Issuer, ClientID: t.ClientID},
	} {
		if e, ok := ahead[id.key()]; ok && (t.IssuedAt.IsZero() || !t.IssuedAt.After(time.Unix(0, e.Until))) {
			return true
		}
	}
	return false
}

// Staleness is how long ago the copy was known to have all that the store had.
func (c *Copy) Staleness() time.Duration {
	if heard := c.heard.Load(); heard != 0 {
		return time.Since(c.start) - time.Duration(heard)
	}
	return math.MaxInt64
}

// Ready returns nil unless the copy is stale.
func (c *Copy) Ready() error {
	if c.heard.Load() == 0 {
		return fmt.Errorf("%w yet", ErrStale)
	}
	if age := c.Staleness(); age > c.maxStale {
		return fmt.Errorf("%w for %v", ErrStale, age.Round(time.Millisecond))
	}
	return nil
}

// Len is the number of entries in force.
func (c *Copy) Len() int {
	n := 0
	for _, list := range *c.lists.Load() {
		n += list.Len()
	}
	return n
}

// Seq is the number of the last change in the copy.
func (c *Copy) Seq() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seq
}

// Known is the number of the last change that is in force here, one's own
// included. A store whose last number is smaller has lost changes.
func (c *Copy) Known() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.seq
	for _, own := range c.own {
		known = max(known, own.Seq)
	}
	return known
}

// Heard says that the copy has everything the store had at a time: when the
// question was sent, not when the answer came.
func (c *Copy) Heard(asOf time.Time) {
	c.heard.Store(max(int64(asOf.Sub(c.start)), c.heard.Load()))
	c.mu.Lock()
	defer c.mu.Unlock()
	if ahead := c.ahead.Load(); ahead != nil {
		var left map[string]Entry
		for _, e := range *ahead {
			_ = add((*c.lists.Load())[0], &left, e) // no error: it was read before
		}
		c.setAhead(left)
	}
}

func (c *Copy) setAhead(ahead map[string]Entry) {
	if len(ahead) == 0 {
		c.ahead.Store(nil)
		return
	}
	c.ahead.Store(&ahead)
}

// Snapshot is all entries of a store, while they are read.
type Snapshot struct {
	list  jwthttp.RevocationList
	ahead map[string]Entry
}

// Add adds an entry. An error means that the store holds what it should not.
func (s *Snapshot) Add(e Entry) error {
	return add(&s.list, &s.ahead, e)
}

// add adds e to a list. A list takes no IssuedUntil that is further ahead of the
// clock than maxAhead, which that of this machine may show and the writer's did
// not: such an entry waits in ahead until the clock is there.
func add(list *jwthttp.RevocationList, ahead *map[string]Entry, e Entry) error {
	r, err := e.Revocation()
	if err != nil {
		return err
	}
	if r.ID != "" || r.Fingerprint != "" {
		r.IssuedUntil = time.Time{} // these end their token whatever it says
	}
	if time.Until(r.IssuedUntil) <= maxAhead {
		return list.Add(r)
	}
	if *ahead == nil {
		*ahead = map[string]Entry{}
	}
	(*ahead)[e.Key] = e
	return nil
}

// changeAhead is for changes of the map that ahead points to.
func (c *Copy) changeAhead(change func(*map[string]Entry) error) error {
	var next map[string]Entry
	if old := c.ahead.Load(); old != nil {
		next = maps.Clone(*old)
	}
	err := change(&next)
	c.setAhead(next)
	return err
}

// Install replaces the copy by a snapshot that has all changes up to seq, and
// may have later ones. If the store has lost changes that the copy has, lossy
// keeps what the copy had beside it: a revocation that somebody was told of must
// stay in force, as long as this program runs.
func (c *Copy) Install(s *Snapshot, seq uint64, asOf time.Time, lossy bool) {
	c.mu.Lock()
	lists := []*jwthttp.RevocationList{&s.list}
	old, ahead := *c.lists.Load(), maps.Clone(s.ahead)
	if lossy {
		lists = append(lists, old...)
		if lost := c.ahead.Load(); lost != nil {
			if ahead == nil {
				ahead = map[string]Entry{}
			}
			maps.Copy(ahead, *lost)
		}
	} else {
		lists = append(lists, old[1:]...)
	}
	for key, change := range c.own {
		if lossy || change.Seq <= seq {
			delete(c.own, key)
			continue
		}
		_ = apply(lists, &ahead, change)
	}
	c.seq = seq
	c.lists.Store(&lists)
	c.setAhead(ahead) // after the lists, see Revoked
	c.mu.Unlock()
	c.Heard(asOf)
}

// apply makes one change in the lists.
func (c *Copy) apply(change Change) error {
	return c.changeAhead(func(ahead *map[string]Entry) error { return apply(*c.lists.Load(), ahead, change) })
}

func apply(lists []*jwthttp.RevocationList, ahead *map[string]Entry, change Change) error {
	if !change.Removed {
		return add(lists[0], ahead, change.Entry)
	}
	r, err := change.Entry.Revocation()
	if err != nil {
		return err
	}
	delete(*ahead, change.Entry.Key)
	for _, list := range lists {
		list.Remove(r)
	}
	return nil
}

// Follow makes the changes that the store has made, in its order. Those that the
// copy has already are passed over. After ErrGap the store must be loaded again.
func (c *Copy) Follow(changes ...Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range changes {
		switch {
		case change.Seq <= c.seq:
			continue
		case change.Seq != c.seq+1:
			return fmt.Errorf("%w: after %d comes %d", ErrGap, c.seq, change.Seq)
		}
		if c.contradicts(change) {
			return fmt.Errorf("%w: number %d is another one than ours", ErrLost, change.Seq)
		}
		own, ok := c.own[change.Entry.Key]
		if !ok || own.Seq < change.Seq { // or a later one of ours is in force here already
			if err := c.apply(change); err != nil {
				return err
			}
		}
		if ok && own.Seq <= change.Seq {
			delete(c.own, change.Entry.Key)
		}
		c.seq = change.Seq
	}
	return nil
}

// contradicts reports whether a change of one's own had the number of another one.
func (c *Copy) contradicts(change Change) bool {
	for _, own := range c.own {
		if own.Seq == change.Seq && own != change {
			return true
		}
	}
	return false
}

// Made puts a change of one's own in force here once the store has it, before
// it comes back with the others.
func (c *Copy) Made(change Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ok := c.own[change.Entry.Key]; change.Seq <= c.seq || ok && own.Seq > change.Seq {
		return nil // it has come back already
	}
	c.own[change.Entry.Key] = change
	return c.apply(change)
}
