package statuswriter_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed450a7203/jwthttp/internal/statuswriter"
)

func TestWriter(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(*statuswriter.Writer)
		want int
	}{
		{"nothing", func(*statuswriter.Writer) {}, 401},
		{"a body", func(w *statuswriter.Writer) { _, _ = io.WriteString(w, "x") }, 401},
		{"another status", func(w *statuswriter.Writer) { w.WriteHeader(302) }, 302},
		{"another status and a body", func(w *statuswriter.Writer) { w.WriteHeader(302); _, _ = io.WriteString(w, "x") }, 302},
		{"a flush", func(w *statuswriter.Writer) { _ = http.NewResponseController(w).Flush() }, 401},
		{"a flush after a status", func(w *statuswriter.Writer) { w.WriteHeader(200); _ = w.FlushError() }, 200},
		{"an informational status", func(w *statuswriter.Writer) { w.WriteHeader(103) }, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			final := new(finalStatus)
			w := &statuswriter.Writer{ResponseWriter: final, Status: 401}
			tt.use(w)
			w.WriteStatus()
			if len(final.sent) != 1 || final.sent[0] != tt.want {
				t.Errorf("sent %v, want %d once", final.sent, tt.want)
			}
			if w.Unwrap() != http.ResponseWriter(final) {
				t.Error("Unwrap returns something else")
			}
		})
	}
}

// finalStatus records each status but the informational ones.
type finalStatus struct {
	httptest.ResponseRecorder
	sent []int
}

func (f *finalStatus) Header() http.Header         { return http.Header{} }
func (f *finalStatus) Write(b []byte) (int, error) { return len(b), nil }
func (f *finalStatus) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		f.sent = append(f.sent, status)
	}
}

type hijackable struct {
	finalStatus
	err error
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, h.err }

func TestWriter_Hijack(t *testing.T) {
	inner := &hijackable{err: errors.New("gone")}
	w := &statuswriter.Writer{ResponseWriter: inner, Status: 401}
	if _, _, err := w.Hijack(); !errors.Is(err, inner.err) {
		t.Errorf("error %v", err)
	}
	if w.WriteStatus(); len(inner.sent) > 0 {
		t.Errorf("status %v after a hijack", inner.sent)
	}
}

func TestWriter_switchingProtocols(t *testing.T) {
	inner := new(finalStatus)
	w := &statuswriter.Writer{ResponseWriter: inner, Status: 401}
	w.WriteHeader(http.StatusSwitchingProtocols)
	if w.WriteStatus(); len(inner.sent) != 1 || inner.sent[0] != http.StatusSwitchingProtocols {
		t.Errorf("sent %v", inner.sent)
	}
}

// No ResponseWriter of net/http lacks these, but those of other packages may.
func TestWriter_unsupported(t *testing.T) {
	w := &statuswriter.Writer{ResponseWriter: struct{ http.ResponseWriter }{new(finalStatus)}, Status: 401}
	if err := w.FlushError(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("flush: error %v", err)
	}
	if _, _, err := w.Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("hijack: error %v", err)
	}
}
