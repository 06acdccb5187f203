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

// key is an HMAC secret, which suffices for a program that signs and verifies.
// If other programs verify, use a key pair and give them the public key: whoever
// has the secret can sign.
type key struct {
	ID      string    `json:"kid"`
	Secret  []byte    `json:"secret"` // in base64
	Retired time.Time `json:"retired,omitzero"`
}

const secretSize = 32 // RFC 7518 §3.2: at least as long as the hash of HS256

func newKey() key {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails
	return key{ID: rand.Text(), Secret: secret}
}

// keyring holds the keys. The first one signs; all of them verify. Requests may
// use it while it changes.
type keyring struct {
	file    string // where the keys are saved; if empty, they are not
	changes sync.Mutex
	now     atomic.Pointer[generation]
}

// generation is one immutable state of a keyring. Signing and verifying load it
// as a whole, so no token is signed with a key that is not yet accepted.
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

// verifying is a jwthttp.Keyfunc, which is called for each request. A KeySet would
// not do: jwthttp.New copies it and does not see later changes.
func (r *keyring) verifying(t *jwt.Token) (any, error) {
	return r.now.Load().set.KeyfuncCtx(context.Background())(t)
}

// rotate adds a key, which signs from now on. An old key still verifies until
// the last token that it signed has expired.
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

// changeSecret replaces all keys by a new one, so every token becomes invalid. It
// is for a secret that was stolen. Revoking tokens would not help then, because
// the thief can sign new ones.
func (r *keyring) changeSecret() error {
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.replace([]key{newKey()})
}

// replace saves the keys before they are used. Otherwise a restart could bring
// back a key that changeSecret has removed.
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
		return nil, fmt.Errorf("%s: mode %v lets other users read the secrets: chmod 600 it, or better make new ones", file, mode)
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
		return nil, fmt.Errorf("%s: no keys", file)
	}
	known := map[string]bool{}
	for i, k := range keys {
		if k.ID == "" || known[k.ID] || len(k.Secret) < secretSize {
			return nil, fmt.Errorf("%s: key %d, kid %q: want a unique kid and a secret of at least %d bytes", file, i, k.ID, secretSize)
		}
		known[k.ID] = true
	}
	return keys, nil
}

// writeKeys replaces the file atomically. If the program ends meanwhile, the old
// keys remain.
func writeKeys(file string, keys []key) error {
	text, err := json.MarshalIndent(keys, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".keys-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after an error; otherwise it has been renamed
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
