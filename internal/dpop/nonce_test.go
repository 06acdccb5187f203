package dpop_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed450a7203/jwthttp/internal/dpop"
)

// Rule 59
func TestNonces_Check(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := bytes.Repeat([]byte("a"), 32), bytes.Repeat([]byte("b"), 32)
		before, after := dpop.NewNonces([][]byte{a}), dpop.NewNonces([][]byte{b, a})
		check := func(n *dpop.Nonces, nonce string, valid, newest bool) {
			t.Helper()
			if gotValid, gotNewest := n.Check(nonce); gotValid != valid || gotNewest != newest {
				t.Errorf("%v: nonce %q is valid %v, newest %v; want %v, %v", time.Now(), nonce, gotValid, gotNewest, valid, newest)
			}
		}
		nonce := before.Newest()
		text := binary.BigEndian.AppendUint32(nil, uint32(time.Now().Unix()/60))
		mac := hmac.New(sha256.New, a)
		mac.Write(text)
		if want := base64.RawURLEncoding.EncodeToString(mac.Sum(text)[:20]); nonce != want {
			t.Errorf("nonce %q, want %q", nonce, want)
		}
		check(before, nonce, true, true)
		check(after, nonce, true, false)
		check(before, after.Newest(), false, false)
		for _, wrong := range []string{"", nonce[:26], nonce + "A", strings.ToUpper(nonce), "AAAA" + nonce[4:], nonce[:26] + "E"} {
			check(before, wrong, false, false)
		}
		time.Sleep(60 * time.Second)
		check(before, nonce, true, false)
		next := before.Newest()
		if next == nonce {
			t.Error("the same nonce after a minute")
		}
		time.Sleep(59 * time.Second)
		check(before, nonce, true, false)
		time.Sleep(time.Second)
		check(before, nonce, false, false)
		check(before, next, true, false)
	})
}

// A machine whose clock is a minute behind accepts the nonce of another.
func TestNonces_Check_clocks(t *testing.T) {
	secret := bytes.Repeat([]byte("a"), 32)
	ahead := func(minutes time.Duration) (nonce string) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(minutes * time.Minute)
			nonce = dpop.NewNonces([][]byte{secret}).Newest()
		})
		return nonce
	}
	one, two := ahead(1), ahead(2)
	synctest.Test(t, func(t *testing.T) {
		n := dpop.NewNonces([][]byte{secret})
		if valid, newest := n.Check(one); !valid || newest {
			t.Errorf("a minute ahead: valid %v, newest %v", valid, newest)
		}
		if valid, _ := n.Check(two); valid {
			t.Error("two minutes ahead is accepted")
		}
	})
}
