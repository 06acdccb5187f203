// Stream is a small chat with a clock, over a WebSocket and over server-sent
// events. A stream ends when its token expires or is revoked, and tells the
// client why. It uses Middleware.Watch.
//
//	go run -C examples ./stream    # -lifetime 20s: watch the token expire
//
// The streams are in stream.go, websocket.go and sse.go. Login and logout are in
// site.go. web/app.js shows what a browser does when a stream ends.
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
	lifetime := flag.Duration("lifetime", 15*time.Minute, "how long a token is valid")
	every := flag.Duration("every", 2*time.Second, "how long after a logout a stream may continue")
	var s *site
	server.Main(func(ctx context.Context, url string) (_ http.Handler, _ string, err error) {
		if s, err = newSite(ctx, demo.NewUsers(), *lifetime, *every, time.Second); err != nil {
			return nil, "", err
		}
		return s.handler, strings.ReplaceAll(greeting, "URL", url), nil
	})
	// http.Server.Shutdown does not wait for WebSockets. Without this, the program
	// would end before their clients are told.
	s.streams.Wait()
}

// greeting has lines to paste into a shell.
const greeting = `Open URL in a browser and sign in as alice with down-the-rabbit-hole, or paste this into a shell:

curl -s -o /dev/null -w '%{http_code}, expected 401: no token\n' URL/events
COOKIE=$(curl -s -o /dev/null -D - -d 'username=alice&password=down-the-rabbit-hole' URL/login | sed -n 's/^Set-Cookie: \(__Host-token=[^;]*\).*/\1/p')
curl -s -m 2 -w '%{http_code}, expected 200: two seconds of events\n' -b "$COOKIE" URL/events
TICKET=$(curl -s -X POST -b "$COOKIE" URL/ticket | sed 's/.*"ticket":"\([^"]*\)".*/\1/')
upgrade() { curl -s -m 1 -o /dev/null --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H "Sec-WebSocket-Key: $(head -c 16 /dev/urandom | base64)" "$@" URL/socket; }
upgrade -w '%{http_code}, expected 101: a WebSocket, by ticket\n' -H "Sec-WebSocket-Protocol: chat.v1, bearer.$TICKET"
upgrade -w '%{http_code}, expected 101: a WebSocket, by cookie\n' -H 'Sec-WebSocket-Protocol: chat.v1' -b "$COOKIE"
upgrade -w '%{http_code}, expected 403: another site opens one with the cookie\n' -H 'Sec-WebSocket-Protocol: chat.v1' -b "$COOKIE" -H 'Origin: https://evil.example'
upgrade -w '%{http_code}, expected 401: a ticket with an invalid signature\n' -H "Sec-WebSocket-Protocol: chat.v1, bearer.${TICKET}A"
curl -s -o /dev/null -w '%{http_code}, expected 401: a ticket is not valid elsewhere\n' -b "__Host-token=$TICKET" URL/events
(sleep 1; curl -s -X POST -b "$COOKIE" URL/logout) & curl -s -m 10 -w '%{http_code}, expected 200: these events end at the logout\n' -b "$COOKIE" URL/events
curl -s -o /dev/null -w '%{http_code}, expected 401: revoked\n' -b "$COOKIE" URL/events
`
