package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seed450a7203/jwthttp"
)

// program stands for a program of the user, such as a script. It sends the bearer
// token of a session to the second instance of a site again and again, until it is
// refused.
type program struct {
	url, where string
	board      *board
	closing    *sync.WaitGroup
	log        *slog.Logger

	mu      sync.Mutex
	running map[string]bool // by session
}

func newProgram(url, site string, cfg config, log *slog.Logger) *program {
	return &program{
		url: url, where: site + ", second instance: the program's bearer token",
		board: cfg.board, closing: cfg.closing, log: log, running: map[string]bool{},
	}
}

// maxPrograms is the number of sessions whose tokens are in use at a time.
const maxPrograms = 20

// start begins to use a token. It ends with ctx.
func (p *program) start(ctx context.Context, t *jwthttp.Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[t.SessionID] || len(p.running) >= maxPrograms {
		return
	}
	p.running[t.SessionID] = true
	p.board.expect(t.SessionID, p.where)
	p.closing.Go(func() {
		status := p.use(ctx, t.Raw())
		p.board.reached(t.SessionID, p.where)
		p.log.Info("the program ends", "status", status)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, t.SessionID)
	})
}

// use sends requests until one is refused, and returns its status.
func (p *program) use(ctx context.Context, token string) int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := p.send(ctx, token)
		if err != nil || status != http.StatusOK {
			return status
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0
		}
	}
}

func (p *program) send(ctx context.Context, token string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/me", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// uses reports whether the program uses a token of the session.
func (p *program) uses(session string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[session]
}
