// Cookie is a small site without scripts. It has a login form and keeps the token
// in a cookie. The token is renewed while the site is used, until the session
// ends. A logout ends every token of the session. Posts from other sites are
// rejected.
//
//	go run -C examples ./cookie    # -lifetime 20s -session 1m shows both ends soon
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	lifetime := flag.Duration("lifetime", 15*time.Minute, "how long a token is valid; it is renewed after half of that")
	session := flag.Duration("session", 8*time.Hour, "how long a session lasts, including all renewals of its token")
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		password := rand.Text()
		known, err := newUsers(map[string]string{"alice": password}, 12) // a cost of about 0.2 s
		if err != nil {
			return nil, "", err
		}
		s, err := newSite(known, *lifetime, *session)
		if err != nil {
			return nil, "", err
		}
		return s.handler, greeting(url, password), nil
	})
}

// users stands for the database. Of a password it has only the hash.
type users struct {
	hashes map[string][]byte
	decoy  []byte // the hash of a random password, of the same cost as the others
}

func newUsers(passwords map[string]string, cost int) (u users, err error) {
	u.hashes = map[string][]byte{}
	for name, password := range passwords {
		if u.hashes[name], err = bcrypt.GenerateFromPassword([]byte(password), cost); err != nil {
			return u, err
		}
	}
	u.decoy, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	return u, err
}

// check reports whether the password is that of the user. An unknown name takes as
// long as a wrong password, so that the time does not tell which names exist.
func (u users) check(name, password string) bool {
	hash, known := u.hashes[name]
	if !known {
		hash = u.decoy
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	// bcrypt ignores what follows 72 bytes.
	return known && err == nil && len(password) <= 72
}

// greeting returns the address, the password, and lines to paste into a shell.
func greeting(url, password string) string {
	return strings.NewReplacer("URL", url, "PASSWORD", password).Replace(`Open URL in a browser and sign in as alice with PASSWORD, or paste this into a shell:

curl -s -o /dev/null -w '%{http_code}, expected 401: no token\n' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: a browser is redirected to the login\n' -H 'Accept: text/html' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: a wrong password\n' -d 'username=alice&password=wrong' URL/login
COOKIE=$(curl -s -o /dev/null -D - -d 'username=alice&password=PASSWORD' URL/login | sed -n 's/^Set-Cookie: \(__Host-token=[^;]*\).*/\1/p')
curl -s -o /dev/null -w '%{http_code}, expected 200: signed in\n' -b "$COOKIE" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: the signature was changed\n' -b "${COOKIE}A" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: the note is saved\n' -b "$COOKIE" -d 'note=feed the cat' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 403: another site posts with the cookie\n' -b "$COOKIE" -H 'Origin: https://evil.example' -d 'note=gone' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 303: signed out\n' -b "$COOKIE" -X POST URL/logout
curl -s -o /dev/null -w '%{http_code}, expected 401: revoked\n' -b "$COOKIE" URL/account
`)
}
