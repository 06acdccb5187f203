package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/seed450a7203/jwthttp"
)

// A client offers two subprotocols, "chat.v1" and "bearer.<token>": the only
// field of an upgrade that a script can set. The answer is the first of them.
const (
	protocol     = "chat.v1"
	ticketPrefix = "bearer."
)

// socket is the chat over a WebSocket.
//
// Two guards look at its Origin. That of jwthttp has refused a cross-origin
// upgrade with the cookie, which the browser sends whoever asks. A ticket it
// lets pass: another site's page has none unless it was given one, so that is no
// cross-site request forgery. Accept, then, refuses every origin but our own,
// whatever the token: a page of another origin that should come with a ticket
// must be listed in its OriginPatterns (and not in Options.CrossOrigin, which
// would open the cookie to it). Neither stops programs, which send no Origin.
func (s *site) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // it has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 10)
	if conn.Subprotocol() == "" {
		_ = conn.Close(websocket.StatusPolicyViolation, "protocol")
		return
	}
	// The request's context outlives the upgrade, but no longer notices when
	// the client hangs up: listen does.
	ctx, hungUp := context.WithCancel(r.Context())
	defer hungUp()
	// When the context of a Read or Write ends, the library cuts the connection,
	// and the client never learns why. So they get one that outlives the token.
	connected := context.WithoutCancel(ctx)
	s.streams.Go(func() {
		defer hungUp()
		s.listen(ctx, connected, conn)
	})
	for message := range s.room.hear(ctx) {
		timed, cancel := context.WithTimeout(connected, writeTimeout)
		err := conn.Write(timed, websocket.MessageText, message)
		cancel()
		if err != nil {
			return
		}
	}
	// Close waits for the client's answer, but for no more than ten seconds in
	// all. An error says that it was gone before.
	_ = conn.Close(ending(ctx))
}

// listen passes on what the client says, until ctx ends or the client hangs up.
func (s *site) listen(ctx, connected context.Context, conn *websocket.Conn) {
	c, _ := jwthttp.ClaimsFromContext[claims](ctx)
	for {
		_, text, err := conn.Read(connected)
		// A client that does not answer the close frame can still speak, but
		// nobody listens to it: Close discards the rest.
		if err != nil || ctx.Err() != nil {
			return
		}
		s.room.say(c.Subject, string(text))
	}
}
