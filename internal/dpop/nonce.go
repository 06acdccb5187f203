package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"
)

// Nonces makes and checks nonces without state: a nonce is a minute and its HMAC,
// so every machine with the same secrets accepts it. It is safe for concurrent
// use.
type Nonces struct {
	secrets [][]byte
	current atomic.Pointer[nonceWindow] // of the present minute
}

// nonceWindow has the valid nonces of a minute. The newest is the first.
type nonceWindow struct {
	minute int64
	valid  []string
}

// NewNonces returns Nonces whose first secret makes nonces. All are accepted.
func NewNonces(secrets [][]byte) *Nonces {
	n := &Nonces{}
	for _, secret := range secrets {
		n.secrets = append(n.secrets, slices.Clone(secret))
	}
	return n
}

// Newest returns the nonce of the present minute.
func (n *Nonces) Newest() string { return n.window().valid[0] }

// Check reports whether a nonce is of the previous, the present or the next
// minute, and whether it is the newest.
func (n *Nonces) Check(nonce string) (valid, newest bool) {
	for i, candidate := range n.window().valid {
		if subtle.ConstantTimeCompare([]byte(candidate), []byte(nonce)) == 1 {
			return true, i == 0
		}
	}
	return false, false
}

func (n *Nonces) window() *nonceWindow {
	minute := time.Now().Unix() / 60
	if w := n.current.Load(); w != nil && w.minute == minute {
		return w
	}
	w := &nonceWindow{minute: minute}
	for _, secret := range n.secrets {
		for _, m := range [...]int64{minute, minute - 1, minute + 1} {
			w.valid = append(w.valid, makeNonce(secret, m))
		}
	}
	n.current.Store(w)
	return w
}

// makeNonce returns the minute in 4 bytes and 16 bytes of its HMAC-SHA256.
func makeNonce(secret []byte, minute int64) string {
	text := binary.BigEndian.AppendUint32(nil, uint32(minute))
	hash := hmac.New(sha256.New, secret)
	hash.Write(text)
	return base64.RawURLEncoding.EncodeToString(hash.Sum(text)[:4+16])
}
