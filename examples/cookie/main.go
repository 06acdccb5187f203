// Cookie is a small site without scripts. It has a login form and keeps the token
// in a cookie. The token is renewed while the site is used, until the session
// ends. A logout ends every token of the session. Posts from other sites are
// rejected.
//
//	go run -C examples ./cookie    # -lifetime 20s -session 1m shows both ends soon
package main

import (
	"context"
	"flag"
	"net/http"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	lifetime := flag.Duration("lifetime", 15*time.Minute, "how long a token is valid; it is renewed after half of that")
	session := flag.Duration("session", 8*time.Hour, "how long a session lasts, including all renewals of its token")
	server.Main(func(_ context.Context, url string) (http.Handler, string, error) {
		s, err := newSite(demo.NewUsers(), *lifetime, *session)
		if err != nil {
			return nil, "", err
		}
		return s.handler, greeting(url), nil
	})
}

// greeting returns the address and lines to paste into a shell.
func greeting(url string) string {
	return strings.ReplaceAll(`Open URL in a browser and sign in as alice with down-the-rabbit-hole, or paste this into a shell:

curl -s -o /dev/null -w '%{http_code}, expected 401: no token\n' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: a browser is redirected to the login\n' -H 'Accept: text/html' URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: a wrong password\n' -d 'username=alice&password=wrong' URL/login
COOKIE=$(curl -s -o /dev/null -D - -d 'username=alice&password=down-the-rabbit-hole' URL/login | sed -n 's/^Set-Cookie: \(__Host-token=[^;]*\).*/\1/p')
curl -s -o /dev/null -w '%{http_code}, expected 200: signed in\n' -b "$COOKIE" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 401: the signature was changed\n' -b "${COOKIE}A" URL/account
curl -s -o /dev/null -w '%{http_code}, expected 303: the note is saved\n' -b "$COOKIE" -d 'note=feed the cat' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 403: another site posts with the cookie\n' -b "$COOKIE" -H 'Origin: https://evil.example' -d 'note=gone' URL/note
curl -s -o /dev/null -w '%{http_code}, expected 303: signed out\n' -b "$COOKIE" -X POST URL/logout
curl -s -o /dev/null -w '%{http_code}, expected 401: revoked\n' -b "$COOKIE" URL/account
`, "URL", url)
}
