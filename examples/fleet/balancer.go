package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// balancer sends each request to the next instance that accepts a connection.
type balancer struct {
	mu    sync.Mutex
	addrs []string // empty: not running
	next  int
}

func (b *balancer) set(i int, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs[i] = addr
}

// pick returns the instance of that number or, if it is empty, the next running
// one. It returns "" if that is not running.
func (b *balancer) pick(number string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(b.addrs) {
			return ""
		}
		return b.addrs[n-1]
	}
	for range b.addrs {
		b.next = (b.next + 1) % len(b.addrs)
		if addr := b.addrs[b.next]; addr != "" {
			return addr
		}
	}
	return ""
}

// direct opens a connection for each request. One that was kept open may lead to
// an instance that has died, which becomes known only after the request was sent.
var direct = &http.Transport{DisableKeepAlives: true}

// RoundTrip sends a request with the field Instance to the instance of that number.
// Without the field, it tries another instance if one does not accept a connection, because
// that one has seen nothing of the request. After any other error the request
// may have been carried out.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper must not modify the request
	err := errors.New("no instance is running")
	if r.Body != nil {
		r.Body = io.NopCloser(r.Body) // a failed dial would close it for the next one
	}
	for range len(b.addrs) {
		addr := b.pick(r.Header.Get("Instance"))
		if addr == "" {
			break
		}
		r.URL.Host = addr
		var resp *http.Response
		if resp, err = direct.RoundTrip(r); err == nil {
			return resp, nil
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			break
		}
	}
	return nil, err
}
