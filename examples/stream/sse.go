package main

import (
	"fmt"
	"net/http"
	"time"
)

// events is the chat as server-sent events, to listen only.
//
// It is a GET that changes nothing, so nobody gains by making a browser send it
// from another site; what it answers, only a page of our own origin can read,
// as long as no CORS header says otherwise. (SameSite keeps the cookie at home,
// too.)
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(format string, text any) bool {
		// In place of the server's WriteTimeout, which is for the whole answer.
		err := out.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = fmt.Fprintf(w, format, text)
		}
		return err == nil && out.Flush() == nil
	}
	if !send("retry: %d\n\n", 2000) { // ms until the browser comes back by itself
		return
	}
	for message := range s.room.hear(r.Context()) {
		if !send("data: %s\n\n", message) {
			return
		}
	}
	_, reason := ending(r.Context())
	send("event: end\ndata: %s\n\n", reason)
}
