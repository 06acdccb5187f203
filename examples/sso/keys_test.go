package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := newKeyring(10*time.Second, 5*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		published := func() (ids []string) {
			for _, k := range r.published() {
				ids = append(ids, k.id)
			}
			return ids
		}
		signing := func() any {
			text, err := r.sign(accessToken, jwt.MapClaims{})
			if err != nil {
				t.Fatal(err)
			}
			token, err := jwt.Parse(text, r.verifying)
			if err != nil {
				t.Fatal(err)
			}
			return token.Header["kid"]
		}
		first := published()[0]
		if err := r.rotate(); err != nil {
			t.Fatal(err)
		}
		both := published()
		if len(both) != 2 || both[0] != first {
			t.Fatalf("published %q", both)
		}
		time.Sleep(10*time.Second - 1)
		if signing() != first || r.rotate() != errPending {
			t.Error("the new key signs, or can be replaced, too early")
		}
		time.Sleep(time.Nanosecond)
		if signing() != both[1] {
			t.Error("the new key does not sign")
		}
		time.Sleep(5*time.Minute + leeway) // the last token of the first key
		if got := published(); !slices.Equal(got, both) {
			t.Errorf("published %q while a token of the first key may be valid", got)
		}
		time.Sleep(time.Nanosecond)
		if got := published(); !slices.Equal(got, both[1:]) {
			t.Errorf("published %q, want %q", got, both[1:])
		}
		if err := r.rotate(); err != nil || len(r.keys) != 2 {
			t.Errorf("%d keys kept, %v", len(r.keys), err)
		}
		if signing() != both[1] {
			t.Error("another key signs")
		}
	})
}
