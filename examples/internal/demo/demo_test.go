package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func hash(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestUsers(t *testing.T) {
	long := strings.Repeat("x", 72) // bcrypt reads no more
	for _, test := range []struct {
		name           string
		users          Users
		user, password string
		want           bool
	}{
		{"alice", NewUsers(), Alice, AlicePassword, true},
		{"ada", NewUsers(), Ada, AdaPassword, true},
		{"alice in tests", NewFastUsers(), Alice, AlicePassword, true},
		{"ada in tests", NewFastUsers(), Ada, AdaPassword, true},
		{"a wrong password", NewFastUsers(), Alice, "wrong", false},
		{"another user's password", NewFastUsers(), Alice, AdaPassword, false},
		{"an unknown user", NewFastUsers(), "mallory", AlicePassword, false},
		{"no user", NewFastUsers(), "", "", false},
		{"the password of the decoy", Users{decoy: hash(t, "decoy", 4)}, "mallory", "decoy", false},
		{"72 bytes", Users{alice: hash(t, long, 4)}, Alice, long, true},
		{"73 bytes", Users{alice: hash(t, long, 4)}, Alice, long + "y", false},
	} {
		if got := test.users.Check(test.user, test.password); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestUsers_cost(t *testing.T) {
	for _, u := range []Users{NewUsers(), NewFastUsers()} {
		want, err := bcrypt.Cost([]byte(u.decoy))
		for _, h := range []string{u.alice, u.ada} {
			if got, err2 := bcrypt.Cost([]byte(h)); got != want || err != nil || err2 != nil {
				t.Errorf("a hash costs %d, the decoy %d: %v, %v", got, want, err, err2)
			}
		}
	}
}

// Without the decoy an unknown name takes microseconds.
func TestUsers_time(t *testing.T) {
	u := Users{alice: hash(t, AlicePassword, 9), decoy: hash(t, "decoy", 9)}
	fastest := func(name string) time.Duration {
		var took []time.Duration
		for range 3 {
			begin := time.Now()
			u.Check(name, "wrong")
			took = append(took, time.Since(begin))
		}
		return slices.Min(took)
	}
	if known, unknown := fastest(Alice), fastest("mallory"); unknown < known/4 {
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}
