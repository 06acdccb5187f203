package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// What a program that uses keyfunc gets when it changes the constructor.
func TestSet_asKeyfunc(t *testing.T) {
	bubble(t, "golang-jwt's parser", func(t *testing.T) {
		s := serveKeys(t, nil)
		var keys keyfunc.Keyfunc = s.set
		s.Rotate()
		for _, tt := range []struct {
			name, token string
			ok          bool
		}{
			{"a new key", s.Token(nil), true},
			{"forged", s.Forged(nil), false},
			{"expired", s.Expired(nil), false},
			{"junk", s.junk("junk"), false},
		} {
			if _, err := jwt.Parse(tt.token, keys.Keyfunc, jwt.WithValidMethods([]string{"ES256"})); (err == nil) != tt.ok {
				t.Errorf("%s with Keyfunc: %v", tt.name, err)
			}
			if _, err := jwt.Parse(tt.token, keys.KeyfuncCtx(t.Context()), jwt.WithValidMethods([]string{"ES256"})); (err == nil) != tt.ok {
				t.Errorf("%s with KeyfuncCtx: %v", tt.name, err)
			}
		}
	})
	bubble(t, "a token that names no key properly", func(t *testing.T) {
		s := serveKeys(t, nil)
		for _, token := range []*jwt.Token{
			{},
			{Method: jwt.SigningMethodES256, Header: map[string]any{"kid": 1}},
			{Method: jwt.SigningMethodES256, Header: map[string]any{"kid": nil}},
			{Method: jwt.SigningMethodES256, Header: map[string]any{"kid": ""}},
			{Header: map[string]any{"kid": s.KeyID()}},
		} {
			if found, err := s.set.Keyfunc(token); err == nil || errors.Is(err, jwthttp.ErrKeysUnavailable) {
				t.Errorf("keys %v, error %v", found, err)
			}
		}
		if s.Fetches() != 1 {
			t.Errorf("%d fetches", s.Fetches())
		}
	})
	bubble(t, "Storage and VerificationKeySet are copies", func(t *testing.T) {
		s := serveKeys(t, nil)
		token := s.Token(nil)
		storage := s.set.Storage()
		all, err := storage.KeyReadAll(t.Context())
		if err != nil || len(all) != 1 || all[0].Marshal().KID != s.KeyID() || all[0].Marshal().ALG != "ES256" {
			t.Fatalf("storage has %d keys (%v)", len(all), err)
		}
		list, err := s.set.VerificationKeySet(t.Context())
		if err != nil || len(list.Keys) != 1 {
			t.Fatalf("%d keys (%v)", len(list.Keys), err)
		}
		stored, err := keyfunc.New(keyfunc.Options{Storage: storage})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jwt.Parse(token, stored.Keyfunc); err != nil {
			t.Errorf("keyfunc with the copy: %v", err)
		}
		for _, key := range []any{all[0].Key(), list.Keys[0]} {
			key.(*ecdsa.PublicKey).X.Add(key.(*ecdsa.PublicKey).X, big.NewInt(1))
		}
		if _, err := storage.KeyDelete(t.Context(), s.KeyID()); err != nil {
			t.Fatal(err)
		}
		s.check(t, "after changes of the copies", token, admitted)
	})
	bubble(t, "before the first fetch has ended", func(t *testing.T) {
		s := &served{Issuer: jwthttptest.New(t, "ES256")}
		s.Slow(2 * time.Second)
		s.start(t, nil)
		if all, err := s.set.Storage().KeyReadAll(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("storage has %d keys (%v)", len(all), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.set.VerificationKeySet(ctx); !errors.Is(err, jwthttp.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if list, err := s.set.VerificationKeySet(t.Context()); err != nil || len(list.Keys) != 1 {
			t.Errorf("%d keys (%v)", len(list.Keys), err)
		}
		n := s.Fetches()
		for range 10 {
			time.Sleep(20 * time.Second)
			if _, err := s.set.VerificationKeySet(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if s.Fetches() != n {
			t.Errorf("%d fetches for keys that are there", s.Fetches()-n)
		}
	})
}

// A Set that someone wraps in another KeySource still finds keys, by golang-jwt's
// token alone.
func TestSet_wrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveKeys(t, nil)
		trusted := s.Trusted()
		trusted.Keys = jwthttp.Keyfunc(s.set.Keyfunc)
		m := newMiddleware(t, trusted)
		s.Rotate()
		for _, tt := range []struct{ name, token, want string }{
			{"a new key", s.Token(nil), admitted},
			{"junk", s.junk("junk"), unknownKey},
			{"forged", s.Forged(nil), signature},
		} {
			if got, err := authenticate(t.Context(), m, tt.token); got != tt.want {
				t.Errorf("%s: %q (%v), want %q", tt.name, got, err, tt.want)
			}
		}
		s.Down(true)
		time.Sleep(10 * time.Second)
		if got, err := authenticate(t.Context(), m, s.junk("junk")); got != noKeys {
			t.Errorf("down: %q (%v)", got, err)
		}
	})
}

var _ jwthttp.KeySource = keyfunc.Keyfunc(nil)
var _ keyfunc.Keyfunc = (*jwks.Set)(nil)
