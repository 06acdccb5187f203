// Login is a small service with a sign-in. A user sends a password, gets a token,
// and sends the token with every other request.
//
//	go run -C examples ./login
//
// It prints its address and curl lines to try. The address serves a page with
// the same requests. You can copy everything but the users, who are made up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed450a7203/jwthttp/examples/internal/demo"
)

func main() {
	// After either signal, requests under way are answered before the program ends.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints the greeting to stdout and logs to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	keysFile := flags.String("keys", "", "`file` for the signing keys, created if it does not exist (default: new keys at each start)")
	origin := flags.String("allow-origin", "", "`origin` of another site whose pages may send requests, such as http://localhost:5173 (default: none)")
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a token is valid")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *lifetime < time.Second {
		return fmt.Errorf("-lifetime: %v is less than a second", *lifetime)
	}
	keys, err := openKeyring(*keysFile)
	if err != nil {
		return fmt.Errorf("-keys: %w", err)
	}
	app := &app{
		users:       demo.NewUsers(),
		keys:        keys,
		lifetime:    *lifetime,
		allowOrigin: *origin,
		log:         slog.New(slog.NewTextHandler(stderr, nil)),
	}
	handler, err := app.handler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("%w (-addr chooses another address)", err)
	}
	url := "http://" + reachable(listener.Addr().(*net.TCPAddr))
	fmt.Fprintf(stdout, "%s\nListening on %s; Ctrl-C ends it.\n", greeting(url), url)
	return serve(ctx, listener, handler, app.log)
}

// serve answers requests until ctx ends, and then finishes those under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second, // without timeouts, slow clients hold connections forever
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}

// reachable returns an address that a client on this machine can use.
func reachable(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", addr.Port)
	}
	return addr.String()
}

// greeting returns the address and lines to paste into a shell. Each line prints
// the answer, its status, and the expected status.
func greeting(url string) string {
	return strings.ReplaceAll(`Open URL in a browser, or paste this into a shell:

curl -s -w '%{http_code}, expected 401: no token\n' URL/list
TOKEN=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "down-the-rabbit-hole"}' URL/login | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -s -w '%{http_code}, expected 200: the list\n' -H "Authorization: Bearer $TOKEN" URL/list
curl -s -w '%{http_code}, expected 200: who I am\n' -H "Authorization: Bearer $TOKEN" URL/validate
curl -s -w '%{http_code}, expected 401: the signature was changed\n' -H "Authorization: Bearer ${TOKEN}A" URL/list
curl -s -w '%{http_code}, expected 403: alice is not an admin\n' -H "Authorization: Bearer $TOKEN" URL/admin
ADMIN=$(curl -s -H 'Content-Type: application/json' -d '{"username": "ada", "password": "analytical-engine"}' URL/login | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -s -w '%{http_code}, expected 200: ada is an admin\n' -H "Authorization: Bearer $ADMIN" URL/admin
curl -s -w '%{http_code}, expected 200: a new key signs\n' -X POST -H "Authorization: Bearer $ADMIN" URL/rotate
curl -s -w '%{http_code}, expected 200: tokens of the old key stay valid\n' -H "Authorization: Bearer $TOKEN" URL/list
curl -s -w '%{http_code}, expected 204: signed out\n' -X POST -H "Authorization: Bearer $TOKEN" URL/logout
curl -s -w '%{http_code}, expected 401: revoked\n' -H "Authorization: Bearer $TOKEN" URL/list
curl -s -w '%{http_code}, expected 204: every token becomes invalid\n' -X POST -H "Authorization: Bearer $ADMIN" URL/change-secret
curl -s -w '%{http_code}, expected 401: this one, too\n' -H "Authorization: Bearer $ADMIN" URL/admin
`, "URL", url)
}
