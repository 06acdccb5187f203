// Package replica keeps a full copy of the revocations that a store holds for
// several machines. It is what redisrevocation and sqlrevocation have in common.
//
// A store numbers its changes without gaps and keeps the last of them. A follower
// loads all entries once, as they were at some number or later. Then it applies the
// changes after that number in their order. So it misses nothing between the two,
// and a gap in the numbers shows that something is missing.
package replica

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/internal/revset"
	"github.com/seed450a7203/jwthttp/revocation"
)

// Record is a revocation as a store keeps it.
type Record struct {
	Key      string // 43 characters of base64url; one for the same tokens, ignoring the times
	Identity string // JSON: which tokens it revokes
	Until    int64  // IssuedUntil in Unix nanoseconds; 0: the zero time
	Expires  int64  // in Unix seconds, rounded up; Never: never
}

// Never is the Expires of a record that stays until it is removed. It is the
// largest value, so that it wins where a store keeps the later of two times.
const Never = revset.Never

// KeptLonger is how long after its Expires a store must keep a record: the
// largest Leeway, and a difference between the clocks of the machines.
const KeptLonger = 15 * time.Minute

// identity is the part of a record that names the tokens. All members but
// Issuer are empty for an entry ByIssuer.
type identity struct {
	Issuer      string `json:"iss,omitempty"`
	ID          string `json:"jti,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Subject     string `json:"sub,omitempty"`
	SessionID   string `json:"sid,omitempty"`
	ClientID    string `json:"client_id,omitempty"`
}

// NewRecord returns the Record of e, or the error that a revocation.List has for it.
func NewRecord(e revocation.Entry) (Record, error) {
	key, err := newKey(e)
	if err != nil {
		return Record{}, err
	}
	times, err := revset.NewTimes(key.Kind, e.IssuedUntil, e.Expires)
	if err != nil {
		return Record{}, err
	}
	return record(key, times, e.IssuedUntil.IsZero())
}

// NewRemoval returns the Record that Remove deletes. It ignores the times of e.
func NewRemoval(e revocation.Entry) (Record, error) {
	key, err := newKey(e)
	if err != nil {
		return Record{}, err
	}
	return record(key, revset.Times{Expires: Never}, true)
}

// OfToken returns the Record that revokes one token, as revocation.List does.
func OfToken(t *jwthttp.Token) (Record, error) {
	key, times, err := revset.OfToken(t)
	if err != nil {
		return Record{}, err
	}
	return record(key, times, true)
}

func newKey(e revocation.Entry) (revset.Key, error) {
	return revset.NewKey(revset.Kind(e.Kind), e.Issuer, e.Value)
}

func record(key revset.Key, times revset.Times, anyTime bool) (Record, error) {
	id := identity{Issuer: key.Issuer}
	if named := id.named(key.Kind); named != nil {
		*named = key.Value
	}
	text, err := json.Marshal(id)
	if err != nil {
		return Record{}, err
	}
	r := Record{Key: id.key(), Identity: string(text), Expires: times.Expires}
	if !anyTime {
		r.Until = max(1, times.Until) // 0 is the zero time
	}
	return r, nil
}

// named returns the member that has the value of a kind, or nil for ByIssuer.
func (id *identity) named(kind revset.Kind) *string {
	switch kind {
	case revset.ByID:
		return &id.ID
	case revset.ByFingerprint:
		return &id.Fingerprint
	case revset.BySubject:
		return &id.Subject
	case revset.BySession:
		return &id.SessionID
	case revset.ByClient:
		return &id.ClientID
	}
	return nil
}

// key is a hash of the members, each with its length, so that no two identities
// have one text.
func (id identity) key() string {
	var text []byte
	for _, member := range [...]string{id.Issuer, id.ID, id.Fingerprint, id.Subject, id.SessionID, id.ClientID} {
		text = binary.AppendUvarint(text, uint64(len(member)))
		text = append(text, member...)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parse is the opposite of record.
func (r Record) parse() (revset.Key, revset.Times, error) {
	var id identity
	// A member that this version does not know would make one token's entry one
	// for all tokens of the issuer.
	decoder := json.NewDecoder(strings.NewReader(r.Identity))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&id); err != nil {
		return revset.Key{}, revset.Times{}, fmt.Errorf("stored revocation %q: %w", r.Key, err)
	}
	key := revset.Key{Kind: revset.ByIssuer, Issuer: id.Issuer}
	for kind := revset.ByID; kind < revset.ByIssuer; kind++ {
		value := *id.named(kind)
		switch {
		case value == "":
		case key.Kind != revset.ByIssuer:
			return revset.Key{}, revset.Times{}, fmt.Errorf("stored revocation %q: names tokens in two ways", r.Key)
		default:
			key.Kind, key.Value = kind, value
		}
	}
	return key, revset.Times{Until: r.Until, Expires: r.Expires}, nil
}

// Change is one step of a store.
type Change struct {
	Seq     uint64 // 1 for the first change of a store, and one more for each
	Record  Record // as it is after the step, or of what was removed
	Removed bool
}

// Errors of a Copy.
var (
	// ErrGap says that changes are missing, so that everything has to be loaded.
	ErrGap = errors.New("changes are missing")
	// ErrLost says that the store has changes other than those made here, under
	// the same numbers. So it has lost some.
	ErrLost = errors.New("the store has lost changes")
	// ErrStale says that a copy has not heard from its store for too long.
	ErrStale = errors.New("no answer from the revocation store")
)

// Copy is one machine's copy. It is safe for concurrent use. Whoever follows the
// store calls Install, Follow and Heard from one goroutine.
type Copy struct {
	maxStale time.Duration
	start    time.Time
	heard    atomic.Int64 // when the store was last known to have nothing newer, since start; 0: never

	sets atomic.Pointer[[]*revset.Set] // the first is the store's; more: what it has lost

	mu  sync.Mutex        // held to change any of it
	seq uint64            // of the last change in the copy
	own map[string]Change // made here and not followed yet, by key
}

// NewCopy returns a Copy that is stale until Install.
func NewCopy(maxStale time.Duration) *Copy {
	c := &Copy{maxStale: maxStale, start: time.Now().Add(-time.Nanosecond), own: map[string]Change{}}
	c.sets.Store(&[]*revset.Set{{}})
	return c
}

// Revoked is a jwthttp.RevokedFunc. A token that the copy knows to be revoked
// is revoked however old the copy is. For other tokens a stale copy returns an
// error.
func (c *Copy) Revoked(t *jwthttp.Token) (bool, error) {
	if t == nil {
		return false, errors.New("no token")
	}
	for _, set := range *c.sets.Load() {
		if set.Contains(t) {
			return true, nil
		}
	}
	return false, c.Ready()
}

// Staleness is how long ago the copy was known to have all that the store had. It
// is the larger of what the monotonic and the wall clock say, because the former
// stands still while a machine is suspended.
func (c *Copy) Staleness() time.Duration {
	heard := time.Duration(c.heard.Load())
	if heard == 0 {
		return math.MaxInt64
	}
	now, last := time.Now(), c.start.Add(heard)
	return max(now.Sub(last), now.Round(0).Sub(last.Round(0)))
}

// Ready returns nil unless the copy is stale.
func (c *Copy) Ready() error {
	age := c.Staleness()
	switch {
	case age == math.MaxInt64:
		return fmt.Errorf("%w yet", ErrStale)
	case age > c.maxStale:
		return fmt.Errorf("%w for %v", ErrStale, age.Round(time.Millisecond))
	}
	return nil
}

// Len is the number of entries in force.
func (c *Copy) Len() int {
	n := 0
	for _, set := range *c.sets.Load() {
		n += set.Len()
	}
	return n
}

// Seq is the number of the last change in the copy.
func (c *Copy) Seq() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seq
}

// Known is the number of the last change that is in force here, including those
// made here. A store whose last number is smaller has lost changes.
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
	for {
		last := c.heard.Load()
		if next := int64(asOf.Sub(c.start)); next <= last || c.heard.CompareAndSwap(last, next) {
			return
		}
	}
}

// Snapshot is all entries of a store, while they are read.
type Snapshot struct {
	set revset.Set
}

// Add adds an entry. An error means that the store holds what it should not.
func (s *Snapshot) Add(r Record) error {
	key, times, err := r.parse()
	if err != nil {
		return err
	}
	s.set.Put(key, times)
	return nil
}

// Install replaces the copy by a snapshot that has all changes up to seq, and
// may have later ones. If the store has lost changes that the copy has, lossy
// keeps what the copy had in addition: a revocation that was acknowledged must
// stay in force as long as this program runs.
func (c *Copy) Install(s *Snapshot, seq uint64, asOf time.Time, lossy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.sets.Load()
	if !lossy {
		old = old[1:]
	}
	sets := append([]*revset.Set{&s.set}, old...)
	for key, change := range c.own {
		if lossy || change.Seq <= seq {
			delete(c.own, key)
			continue
		}
		_ = apply(sets, change) // no error: it was applied before
	}
	c.seq = seq
	c.sets.Store(&sets)
	c.Heard(asOf)
}

// apply makes one change in the sets.
func apply(sets []*revset.Set, change Change) error {
	key, times, err := change.Record.parse()
	if err != nil {
		return err
	}
	if !change.Removed {
		sets[0].Put(key, times)
		return nil
	}
	for _, set := range sets {
		set.Remove(key)
	}
	return nil
}

// Follow makes the changes that the store has made, in its order. It skips those
// that the copy has. After ErrGap the store must be loaded again.
func (c *Copy) Follow(changes ...Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range changes {
		switch {
		case change.Seq <= c.seq:
			continue
		case change.Seq != c.seq+1:
			return fmt.Errorf("%w: %d is followed by %d", ErrGap, c.seq, change.Seq)
		}
		if c.contradicts(change) {
			return fmt.Errorf("%w: number %d is a change other than the one made here", ErrLost, change.Seq)
		}
		own, ok := c.own[change.Record.Key]
		if !ok || own.Seq < change.Seq { // or a later one made here is in force already
			if err := apply(*c.sets.Load(), change); err != nil {
				return err
			}
		}
		if ok && own.Seq <= change.Seq {
			delete(c.own, change.Record.Key)
		}
		c.seq = change.Seq
	}
	return nil
}

// contradicts reports whether a change made here had the number of another one.
func (c *Copy) contradicts(change Change) bool {
	for _, own := range c.own {
		if own.Seq == change.Seq && own != change {
			return true
		}
	}
	return false
}

// Made puts a change that was made here in force once the store has it, before it
// comes back with the others.
func (c *Copy) Made(change Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ok := c.own[change.Record.Key]; change.Seq <= c.seq || ok && own.Seq > change.Seq {
		return nil // it has come back already
	}
	c.own[change.Record.Key] = change
	return apply(*c.sets.Load(), change)
}

// Reporter returns what OnError of a store's Options means: report, or if that
// is nil, a function that logs with slog.Default.
func Reporter(report func(error)) func(error) {
	if report != nil {
		return report
	}
	return func(err error) { slog.Default().Error("revocation store", "err", err) }
}
