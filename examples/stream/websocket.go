package main

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/seed450a7203/jwthttp"
)

// A client offers two subprotocols, "chat.v1" and "bearer.<token>", because
// Sec-WebSocket-Protocol is the only field that a script can set. The server
// selects the first.
const (
	protocol     = "chat.v1"
	ticketPrefix = "bearer."
)

// firstMessage is how long a client may take to send its ticket.
const firstMessage = 5 * time.Second

// socket is the chat over a WebSocket whose upgrade had a token.
//
// Its Origin is checked twice. jwthttp has refused a cross-origin upgrade with the
// cookie, because the browser sends the cookie for every page. It does not check
// the origin for a ticket: a page of another site has none unless it was given
// one. Accept refuses every origin but ours, regardless of the token. A page of
// another origin that should use tickets must be listed in OriginPatterns. Do not
// list it in Options.CrossOrigin, which would admit it with the cookie. Programs
// send no Origin and are not affected.
func (s *site) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	if conn.Subprotocol() == "" {
		_ = conn.Close(websocket.StatusPolicyViolation, "protocol")
		return
	}
	s.chat(r.Context(), conn)
}

// socketByMessage is the chat for clients that send the ticket as their first
// message. The route is open to everyone, so Accept alone checks the Origin, and
// the time and size of the first message are limited. The cookie is not read.
func (s *site) socketByMessage(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 10)
	ctx, done := s.begin(r.Context())
	defer done()
	timed, cancel := context.WithTimeout(ctx, firstMessage)
	_, ticket, err := conn.Read(timed)
	cancel()
	if err != nil {
		return // Read has cut the connection
	}
	verified, err := s.sockets.Verify(ctx, string(ticket))
	if err != nil {
		_ = conn.Close(closing(err))
		return
	}
	verified, stop := s.sockets.Watch(verified, s.every)
	defer stop()
	s.chat(verified, conn)
}

// chat serves a connection until ctx ends or the client hangs up.
func (s *site) chat(ctx context.Context, conn *websocket.Conn) {
	conn.SetReadLimit(1 << 10)
	// After the upgrade, the context of the request does not end when the client
	// hangs up. listen notices it.
	ctx, hungUp := context.WithCancel(ctx)
	defer hungUp()
	// When the context of a Read or Write ends, the library cuts the connection,
	// and the client never learns why. So they get a context that does not end
	// with the token.
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
	// Close waits up to ten seconds for the client's answer. An error means that
	// the client is gone.
	_ = conn.Close(closing(context.Cause(ctx)))
}

// listen sends the client's messages to the room until ctx ends or the client
// hangs up.
func (s *site) listen(ctx, connected context.Context, conn *websocket.Conn) {
	c := jwthttp.MustClaims[claims](ctx)
	for {
		_, text, err := conn.Read(connected)
		// A client that does not answer the close frame can still send messages.
		// They are discarded.
		if err != nil || ctx.Err() != nil {
			return
		}
		s.room.say(c.Subject, string(text))
	}
}
