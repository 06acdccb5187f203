// Package replica keeps a full copy of the revocations that a store holds for
// several machines. It is what redisrevocation and sqlrevocation have in common.
//
// A store numbers its changes without gaps, gives each a random mark, and keeps the
// last of them. A [Copy] loads all entries once. Then it follows: it makes the
// changes that come after the one it has got to, in their order. A change is known
// by its mark and never by its number, because a store that has lost changes gives
// their numbers to others.
//
// A change that is made here is followed, too, before it is acknowledged. So
// whatever was acknowledged has a place in the order of all changes, and the copy
// has got to that place.
//
// When the store does not know the change that the copy has got to, it has lost
// changes, or they have left its log. Then the copy loads everything again, and
// keeps in force what the store does not have. The store has to remember removals
// for that; see [Removal]. Meanwhile the copy follows from the newest change that it
// and the store have; see [Copy.Rejoin].
package replica

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
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

// NewRemoval returns the Record that Remove deletes. It ignores the times of e. Its
// Expires says how long the removal is remembered.
func NewRemoval(e revocation.Entry) (Record, error) {
	key, err := newKey(e)
	if err != nil {
		return Record{}, err
	}
	return record(key, revset.Times{Expires: time.Now().Add(removalFor).Unix()}, true)
}

// removalFor is how long a removal is remembered. An instance that was out of reach
// for longer may keep in force what was removed.
const removalFor = 24 * time.Hour

// removalPrefix begins the key of a removal. No key of an entry has a colon.
const removalPrefix = "removed:"

// Removal returns the record by which a store remembers a removal among its
// entries, so that it is part of what a Copy loads. An entry that a copy has and the
// store does not was removed if there is a removal that the copy did not know.
// Otherwise it was lost.
func (c Change) Removal() Record {
	r := c.Record
	r.Key, r.Until = removalPrefix+strconv.FormatUint(c.Mark, 10), 0
	return r
}

// removal returns the mark of a removal, or false for an entry.
func (r Record) removal() (mark uint64, ok bool, err error) {
	text, ok := strings.CutPrefix(r.Key, removalPrefix)
	if !ok {
		return 0, false, nil
	}
	if mark, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, fmt.Errorf("stored removal %q: %w", r.Key, err)
	}
	return mark, true, nil
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
	times := revset.Times{Until: r.Until, Expires: r.Expires}
	if key, ok := plainKey(r.Identity); ok {
		return key, times, nil
	}
	key, err := r.parseJSON()
	return key, times, err
}

func (r Record) parseJSON() (revset.Key, error) {
	var id identity
	// A member that this version does not know would make one token's entry one
	// for all tokens of the issuer.
	decoder := json.NewDecoder(strings.NewReader(r.Identity))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&id); err != nil {
		return revset.Key{}, fmt.Errorf("stored revocation %q: %w", r.Key, err)
	}
	key := revset.Key{Kind: revset.ByIssuer, Issuer: id.Issuer}
	for kind := revset.ByID; kind < revset.ByIssuer; kind++ {
		value := *id.named(kind)
		switch {
		case value == "":
		case key.Kind != revset.ByIssuer:
			return revset.Key{}, fmt.Errorf("stored revocation %q: names tokens in two ways", r.Key)
		default:
			key.Kind, key.Value = kind, value
		}
	}
	return key, nil
}

// plainKey parses an identity as record writes it, without escapes: "iss" and one
// other member. That is nearly every identity, and takes a tenth of the time of
// encoding/json, which a store with millions of entries needs to be loaded.
func plainKey(identity string) (key revset.Key, ok bool) {
	rest, ok := strings.CutPrefix(identity, `{"iss":"`)
	if !ok {
		return revset.Key{}, false
	}
	if key.Issuer, rest, ok = plainText(rest); !ok {
		return revset.Key{}, false
	}
	for kind, prefix := range [...]string{
		revset.ByID: `,"jti":"`, revset.BySubject: `,"sub":"`, revset.BySession: `,"sid":"`, revset.ByClient: `,"client_id":"`,
	} {
		if text, found := strings.CutPrefix(rest, prefix); prefix != "" && found {
			key.Kind = revset.Kind(kind)
			key.Value, rest, ok = plainText(text)
			return key, ok && rest == "}"
		}
	}
	return revset.Key{}, false
}

// plainText returns the text up to a quotation mark, which is not empty and needs no
// escape, and what comes after.
func plainText(s string) (text, rest string, ok bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			return s[:i], s[i+1:], i > 0
		case c < ' ' || c == '\\' || c >= 0x7f:
			return "", "", false
		}
	}
	return "", "", false
}

// Reporter returns what OnError of a store's Options means: report, or if that
// is nil, a function that logs with slog.Default. One call ends before the next one
// begins.
func Reporter(report func(error)) func(error) {
	if report == nil {
		report = func(err error) { slog.Default().Error("revocation store", "err", err) }
	}
	var mu sync.Mutex
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		report(err)
	}
}
