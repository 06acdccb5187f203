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

// writeTimeout is how long a client may take for one message: less than what
// server.Main gives at a shutdown.
const writeTimeout = 3 * time.Second

var errShutdown = errors.New("the server shuts down")

// stream admits a request, and hands it to next with a context that ends with
// its token, with its connection and with the server.
func (s *site) stream(auth *jwthttp.Middleware, next http.HandlerFunc) http.Handler {
	return auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.streams.Add(1)
		defer s.streams.Done()
		ctx, end := context.WithCancelCause(r.Context())
		defer end(nil) // ends Watch, too
		defer context.AfterFunc(s.closing, func() { end(errShutdown) })()
		// auth, and no other: it knows what it has admitted.
		next(w, r.WithContext(auth.Watch(ctx, s.every)))
	}))
}

// ending says to a client why its stream has ended: a word of a closed set, and
// the code of a close frame (RFC 6455 §7.4). The text of an error may tell of
// our insides, and goes to the log at the most.
func ending(ctx context.Context) (websocket.StatusCode, string) {
	var refused *jwthttp.Error
	cause := context.Cause(ctx)
	switch {
	case errors.As(cause, &refused) && refused.Status == http.StatusServiceUnavailable:
		return websocket.StatusTryAgainLater, string(refused.Reason) // our trouble: the token may be good
	case errors.As(cause, &refused):
		return websocket.StatusPolicyViolation, string(refused.Reason)
	case errors.Is(cause, errShutdown):
		return websocket.StatusGoingAway, "shutdown"
	case errors.Is(cause, context.Canceled):
		return websocket.StatusNormalClosure, "" // it was the client itself
	}
	log.Printf("a stream ended: %v", cause) // such as a panic in a hook
	return websocket.StatusInternalError, "internal"
}

// room is where everyone hears what is said. The zero value is an empty one.
type room struct {
	mu      sync.Mutex
	members map[chan []byte]bool
}

// say tells all members at once, and waits for none: one whose channel is full
// misses the message. A chat that must not have gaps would end that one's
// stream, and let it ask for what it has missed. It would also limit how often
// one may speak, and how many streams a user may have open.
func (r *room) say(from, text string) {
	// JSON has no line breaks, so nobody writes events into another's stream.
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

// hear yields what is said until ctx ends, and nothing after that.
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
				// Where both are ready, select takes either.
				if ctx.Err() != nil || !yield(message) {
					return
				}
			}
		}
	}
}

// tick tells the time until ctx ends.
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
