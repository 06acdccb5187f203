// Cookie is a small site whose pages are made by the server, without scripts: a
// login form, the token in a cookie, which is renewed while the site is used, a
// session that ends all the same, a logout that ends every token of it, and a
// refusal for other sites that post here.
//
//	go run -C examples ./cookie    # -lifetime 20s -session 1m: watch both end
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
	session := flag.Duration("session", 8*time.Hour, "how long after the sign-in a session ends, however often its token was renewed")
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		password := rand.Text()
		known, err := newUsers(map[string]string{"alice": password}, 12) // a cost of a fifth of a second on a machine of today
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

// users stands for the database: of a password it has a hash only.
type users struct {
	hashes map[string][]byte
	decoy  []byte // a hash of no one's password, as costly as the others
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

// check reports whether the password is that of the user. A name that nobody
// has takes as long as a wrong password: otherwise the clock would tell which
// names exist.
func (u users) check(name, password string) bool {
	hash, known := u.hashes[name]
	if !known {
		hash = u.decoy
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	// bcrypt reads 72 bytes: anything with the same beginning would do.
	return known && err == nil && len(password) <= 72
}

// greeting has the address, a password, and lines to paste into a shell.
func greeting(url, password string) string {
	return strings.NewReplacer("URL", url, "PASSWORD", password).Replace(`Open URL in a browser and sign in as alice with PASSWORD, or paste this into a shell:

curl -s -o /dev/null -w '%{http_code}, expected 401: no token\n' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: a browser is sent to the login\n' -H 'Accept: text/html' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: a wrong password\n' -d 'username=alice&password=wrong' URL/login
COOKIE=$(curl -s -o /dev/null -D - -d 'username=alice&password=PASSWORD' URL/login | sed -n 's/^Set-Cookie: \(__Host-token=[^;]*\).*/\1/p')
curl -s -o /dev/null -w '%{http_code}, expected 200: signed in\n' -b "$COOKIE" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: not as it was signed\n' -b "${COOKIE}A" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: the note is kept\n' -b "$COOKIE" -d 'note=feed the cat' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 403: another site posts with the cookie\n' -b "$COOKIE" -H 'Origin: https://evil.example' -d 'note=gone' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 303: signed out\n' -b "$COOKIE" -X POST URL/logout
curl -s -o /dev/null -w '%{http_code}, expected 401: revoked\n' -b "$COOKIE" URL/account
`)
}
