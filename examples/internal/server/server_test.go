package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestRun_errors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := errors.New("broken")
	for _, test := range []struct{ name, addr, want string }{
		{"beyond loopback", "0.0.0.0:0", "not a loopback address"},
		{"a port that is taken", taken.Addr().String(), "-addr chooses another address"},
		{"no address", "127.0.0.1", "-addr chooses another address"},
		{"a program that cannot be set up", "127.0.0.1:0", "broken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), test.addr, func(context.Context, string) (http.Handler, string, error) {
				return nil, "", broken
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
