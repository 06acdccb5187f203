package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/seed450a7203/jwthttp"
)

// writeTimeout is how long a client may take for one message. It is shorter than
// the time that server.Main allows for a shutdown.
const writeTimeout = 3 * time.Second

var errShutdown = errors.New("the server shuts down")

// stream calls next for an admitted request, with a context that ends with its
// token, its connection or the server.
func (s *site) stream(auth *jwthttp.Middleware, next http.HandlerFunc) http.Handler {
	return auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done := s.begin(r.Context())
		defer done()
		// Only the Middleware that admitted the request can watch it.
		ctx, stop := auth.Watch(ctx, s.every)
		defer stop()
		next(w, r.WithContext(ctx))
	}))
}

// begin counts a stream until done is called, and returns a context that ends when
// the server shuts down.
func (s *site) begin(ctx context.Context) (_ context.Context, done func()) {
	s.streams.Add(1)
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closing, func() { end(errShutdown) })
	return ctx, func() {
		stop()
		end(nil)
		s.streams.Done()
	}
}

// closing returns the code of a close frame (RFC 6455 §7.4) and a word of a closed
// set, which tell a client why its stream has ended. The text of an error may
// reveal internals, so it only goes to the log.
func closing(cause error) (websocket.StatusCode, string) {
	var refused *jwthttp.Error
	switch {
	case errors.As(cause, &refused) && refused.Status == http.StatusServiceUnavailable:
		return websocket.StatusTryAgainLater, string(refused.Reason) // the server failed; the token may be good
	case errors.As(cause, &refused):
		return websocket.StatusPolicyViolation, string(refused.Reason)
	case errors.Is(cause, errShutdown):
		return websocket.StatusGoingAway, "shutdown"
	case errors.Is(cause, context.Canceled):
		return websocket.StatusNormalClosure, "" // the client hung up
	}
	log.Printf("a stream ended: %v", cause) // such as a panic in a hook
	return websocket.StatusInternalError, "internal"
}

// room sends each message to all members. The zero value is an empty room.
type room struct {
	mu      sync.Mutex
	members map[chan []byte]bool
}

// say sends a message to all members without waiting. A member whose channel is
// full misses it. A chat without gaps would end the stream of that member, and let
// the client ask for what it has missed. It would also limit the messages and
// streams of each user.
func (r *room) say(from, text string) {
	// JSON has no line breaks, so a message cannot contain an event.
	message, _ := json.Marshal(map[string]string{"from": from, "text": text}) // strings always marshal
	r.mu.Lock()
	defer r.mu.Unlock()
	for member := range r.members {
		select {
		case member <- message:
		default:
		}
	}
}

// hear yields messages until ctx ends, and none after that.
func (r *room) hear(ctx context.Context) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		member := make(chan []byte, 16)
		r.mu.Lock()
		if r.members == nil {
			r.members = map[chan []byte]bool{}
		}
		r.members[member] = true
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.members, member)
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case message := <-member:
				// If both are ready, select takes either.
				if ctx.Err() != nil || !yield(message) {
					return
				}
			}
		}
	}
}

// tick sends the time until ctx ends.
func (r *room) tick(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.say("clock", now.Format(time.TimeOnly))
		}
	}
}
