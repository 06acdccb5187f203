// Package statuswriter has a ResponseWriter with a default status other than 200.
package statuswriter

import (
	"bufio"
	"net"
	"net/http"
)

// Writer sends Status unless its user sends another one.
type Writer struct {
	http.ResponseWriter
	Status int
	wrote  bool
}

// WriteStatus sends Status if nothing was sent yet.
func (w *Writer) WriteStatus() {
	if !w.wrote {
		w.WriteHeader(w.Status)
	}
}

// WriteHeader sends another status.
func (w *Writer) WriteHeader(status int) {
	w.wrote = w.wrote || status >= 200 || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

// Write sends Status first.
func (w *Writer) Write(b []byte) (int, error) {
	w.WriteStatus() // net/http would send 200
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController, which finds other features of the
// ResponseWriter by Unwrap.
func (w *Writer) FlushError() error {
	w.WriteStatus()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is for handlers that take over the connection.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
