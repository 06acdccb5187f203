package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// events is the chat as server-sent events, for listening only.
//
// It is a GET that changes nothing, so a cross-site request has no effect. Only
// pages of our origin can read the response, because it has no CORS header. The
// cookie is also SameSite.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(format string, text any) bool {
		// This replaces the server's WriteTimeout, which is for the whole response.
		err := out.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = fmt.Fprintf(w, format, text)
		}
		return err == nil && out.Flush() == nil
	}
	if !send("retry: %d\n\n", 2000) { // ms until the browser reconnects
		return
	}
	for message := range s.room.hear(r.Context()) {
		if !send("data: %s\n\n", message) {
			return
		}
	}
	_, reason := closing(context.Cause(r.Context()))
	send("event: end\ndata: %s\n\n", reason)
}
