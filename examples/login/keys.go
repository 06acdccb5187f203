package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// key is an HMAC secret. That is enough here, where one program both signs and
// verifies; other programs that verify should get a public key instead, since
// whoever has this one can sign.
type key struct {
	ID      string    `json:"kid"`
	Secret  []byte    `json:"secret"` // in base64
	Retired time.Time `json:"retired,omitzero"`
}

const secretSize = 32 // RFC 7518 §3.2: for HS256, as long as the hash

func newKey() key {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails
	return key{ID: rand.Text(), Secret: secret}
}

// keyring holds the keys: the first one signs, all of them verify. It may
// change at any time, under the requests that use it.
type keyring struct {
	file    string // where the keys are kept; "" for nowhere
	changes sync.Mutex
	now     atomic.Pointer[generation]
}

// generation is one state of a keyring and never changes. Signers and
// verifiers load it as a whole, so that no token is signed with a key that is
// not yet accepted.
type generation struct {
	keys []key
	set  jwthttp.KeySet
}

// openKeyring reads the keys in file, or makes one key if there is no such file.
func openKeyring(file string) (*keyring, error) {
	r := &keyring{file: file}
	if file != "" {
		keys, err := readKeys(file)
		if err == nil {
			r.use(keys)
			return r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return r, r.replace([]key{newKey()})
}

// signing returns the key for new tokens.
func (r *keyring) signing() key { return r.now.Load().keys[0] }

// verifying finds the key of a token. It is a jwthttp.Keyfunc: a KeySet is
// copied by jwthttp.New and stays what it was, while this asks for the current
// one on each request.
func (r *keyring) verifying(t *jwt.Token) (any, error) {
	return r.now.Load().set.KeyfuncCtx(context.Background())(t)
}

// rotate makes new tokens use a new key. The old keys go on verifying until
// the last token that they signed has expired.
func (r *keyring) rotate(lifetime time.Duration) (kid string, err error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	now := time.Now().UTC()
	keys := slices.Concat([]key{newKey()}, r.now.Load().keys)
	keys[1].Retired = now
	keys = slices.DeleteFunc(keys, func(k key) bool {
		return !k.Retired.IsZero() && now.Sub(k.Retired) > lifetime
	})
	return keys[0].ID, r.replace(keys)
}

// changeSecret drops all keys for a new one: every token ends at once. It is
// for a secret that got out, when no list of revoked tokens helps: whoever has
// the secret makes new ones.
func (r *keyring) changeSecret() error {
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.replace([]key{newKey()})
}

// replace keeps the keys in the file first: a token must not outlive its key
// by a restart, and above all a dropped key must not come back by one.
func (r *keyring) replace(keys []key) error {
	if r.file != "" {
		if err := writeKeys(r.file, keys); err != nil {
			return err
		}
	}
	r.use(keys)
	return nil
}

func (r *keyring) use(keys []key) {
	set := jwthttp.KeySet{}
	for _, k := range keys {
		set[k.ID] = k.Secret
	}
	r.now.Store(&generation{keys: keys, set: set})
}

func readKeys(file string) ([]key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: mode %v lets others read the secrets: chmod 600 it, or better make new ones", file, mode)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var keys []key
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no key in it", file)
	}
	known := map[string]bool{}
	for i, k := range keys {
		if k.ID == "" || known[k.ID] || len(k.Secret) < secretSize {
			return nil, fmt.Errorf("%s: key %d, kid %q: needs a kid of its own and a secret of %d bytes or more", file, i, k.ID, secretSize)
		}
		known[k.ID] = true
	}
	return keys, nil
}

// writeKeys replaces the file as a whole: a program that ends in the middle of
// it leaves the old keys.
func writeKeys(file string, keys []key) error {
	text, err := json.MarshalIndent(keys, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".keys-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // no longer there if all went well
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
