package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
)

// A request whose instance is down goes to another one, with its body.
func TestBalancer(t *testing.T) {
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer live.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	b := &balancer{addrs: []string{strings.TrimPrefix(live.URL, "http://"), l.Addr().String(), ""}}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "fleet" },
		Transport: b,
	})
	defer front.Close()
	for range 4 {
		resp, err := http.Post(front.URL, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(text) != "hello" {
			t.Errorf("%d %q, %v", resp.StatusCode, text, err)
		}
	}
	for _, test := range []struct {
		number string
		want   int
	}{{"1", 200}, {"2", 502}, {"3", 502}, {"4", 502}, {"0", 502}, {"x", 502}} {
		r := httptest.NewRequest("GET", "http://fleet/", nil)
		r.Header.Set("Instance", test.number)
		w := httptest.NewRecorder()
		front.Config.Handler.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("instance %q: %d, want %d", test.number, w.Code, test.want)
		}
	}
	b.set(0, "")
	if resp, err := http.Get(front.URL); err != nil || resp.StatusCode != http.StatusBadGateway {
		t.Errorf("without any instance: %v, %v", resp, err)
	}
}
