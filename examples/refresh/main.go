// Refresh is a token endpoint with refresh tokens that are used once. Who uses one
// a second time ends the session, including its access tokens.
//
//	go run -C examples ./refresh
//
// It prints its address and lines to paste into a shell. The sessions are in a
// SQLite file, which has no refresh token in it. The users are made up.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
)

func main() {
	data := flag.String("data", "", "`folder` for the sessions (default: jwthttp-refresh in the user's cache folder)")
	rotate := flag.Duration("rotate", time.Hour, "how long a key signs; the next key is published that long before it signs")
	grace := flag.Duration("grace", 10*time.Second, "how long a used refresh token gets the same answer again, for a client that has lost it")
	server.Main(func(ctx context.Context, url string) (http.Handler, string, error) {
		if *data == "" {
			cache, err := os.UserCacheDir()
			if err != nil {
				return nil, "", fmt.Errorf("-data: %w", err)
			}
			*data = filepath.Join(cache, "jwthttp-refresh")
		}
		s, err := newSite(ctx, config{url: url, data: *data, rotate: *rotate, grace: *grace, users: demo.NewUsers(), now: time.Now})
		if err != nil {
			return nil, "", err
		}
		return s.handler, greeting(url, *grace), nil
	})
}

func greeting(url string, grace time.Duration) string {
	return strings.NewReplacer("ADDRESS", url, "GRACE", grace.String(), "SECONDS", fmt.Sprint(int(grace.Seconds())+1)).Replace(
		`A refresh token is used once, and its second use ends the session. Paste this into a shell:

URL=ADDRESS
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
refresh() { curl -s -d "grant_type=refresh_token&client_id=cli&refresh_token=$1" "${@:2}" $URL/token; }
FIRST=$(curl -s -d 'username=alice&password=down-the-rabbit-hole&client_id=cli' $URL/login)
R1=$(echo $FIRST | field refresh_token); A1=$(echo $FIRST | field access_token)
curl -s -o /dev/null -w '%{http_code}, expected 200: the access token is accepted\n' -H "Authorization: Bearer $A1" $URL/me
R2=$(refresh $R1 | field refresh_token)
refresh $R1 -o /dev/null -w '%{http_code}, expected 200: the answer again, in case the client has lost it\n'
sleep SECONDS
refresh $R1 -o /dev/null -w '%{http_code}, expected 400: after GRACE the token counts as stolen\n'
refresh $R2 -o /dev/null -w '%{http_code}, expected 400: so the session has ended\n'
curl -s -o /dev/null -w '%{http_code}, expected 401: and with it the access token\n' -H "Authorization: Bearer $A1" $URL/me
curl -s -o /dev/null -w '%{http_code}, expected 200: the key set, with the next key\n' $URL/keys
`)
}
