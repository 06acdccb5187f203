// Package storetest disturbs a revocation store and its followers, for the tests of
// the modules that keep revocations outside of the program.
package storetest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a server, and can disturb them. Its methods
// are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool // of both sides
	closed bool              // refuses connections
	silent bool              // passes nothing
	delay  time.Duration
}

// NewProxy starts a Proxy on a free loopback port; the test's end stops it.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr is what clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections, and new ones at once.
func (p *Proxy) Cut() { p.set(true, false, 0, true) }

// Delay lets every chunk of data wait.
func (p *Proxy) Delay(d time.Duration) { p.set(false, false, d, false) }

// HalfOpen keeps all connections open and passes nothing any more.
func (p *Proxy) HalfOpen() { p.set(false, true, 0, false) }

// Heal ends all disturbances. Connections that were half open are closed.
func (p *Proxy) Heal() {
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	p.set(false, false, 0, silent)
}

// Redirect closes all connections, and passes later ones on to another server.
func (p *Proxy) Redirect(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.set(false, false, 0, true)
}

func (p *Proxy) set(closed, silent bool, delay time.Duration, closeAll bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.silent, p.delay = closed, silent, delay
	if closeAll {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || !p.keep(target, client, server) {
		_ = client.Close()
		if err == nil {
			_ = server.Close()
		}
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client) })
	both.Go(func() { p.pass(client, server) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *Proxy) keep(target string, conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.target != target {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

// pass copies one direction until it ends, and ends the other one with it.
func (p *Proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		silent, delay := p.silent, p.delay
		p.mu.Unlock()
		if silent {
			continue // lost, as on a dead line
		}
		if delay > 0 {
			<-time.After(delay)
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
