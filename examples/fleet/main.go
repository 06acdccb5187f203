// Fleet is a protected API that runs three times behind one address. A user who
// signs out at one instance is signed out at all of them, also after one was
// killed and restarted. The instances share the revocations in a SQLite file or
// in Redis.
//
//	go run -C examples ./fleet
//	go run -C examples ./fleet -redis 127.0.0.1:6379
//
// It prints its address and lines to paste into a shell. The address serves a page
// that shows when each instance rejects the token.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const instances = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// run is the fleet, or with -instance one of its instances, until ctx ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	data := flags.String("data", "", "`folder` for the secret and the revocations (default: jwthttp-fleet in the user's cache folder)")
	redisAddr := flags.String("redis", "", "`address` of a Redis server to keep the revocations in (default: a SQLite file)")
	number := flags.Int("instance", 0, "used by the program itself: run as the `n`th instance until standard input ends")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if *data == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		*data = filepath.Join(cache, "jwthttp-fleet")
	}
	secret, err := openSecret(*data)
	if err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	if *number > 0 {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		go func() { // stdin ends with the process that started this one
			_, _ = io.Copy(io.Discard, stdin)
			stop()
		}()
		return runInstance(ctx, *number, secret, *data, *redisAddr, stdout, log.With("instance", *number))
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	return supervise(ctx, listener, []string{"-data", *data, "-redis", *redisAddr}, stdout, stderr, log)
}

// openSecret returns the secret in a file that only this user can read, and
// creates it if it does not exist. A secret in the source would be known to everyone.
func openSecret(folder string) ([]byte, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(folder, "secret")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		secret, err := os.ReadFile(name)
		if err == nil && len(secret) != 32 {
			err = fmt.Errorf("%s is not 32 bytes long; remove it", name)
		}
		return secret, err
	}
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	_, err = file.Write(secret)
	return secret, errors.Join(err, file.Close())
}

// supervise keeps the instances running and forwards requests to them.
func supervise(ctx context.Context, listener net.Listener, args []string, stdout, stderr io.Writer, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	b := &balancer{addrs: make([]string, instances)}
	var running sync.WaitGroup
	var starting sync.WaitGroup
	for i := range instances {
		starting.Add(1)
		first := sync.OnceFunc(starting.Done)
		running.Go(func() {
			defer first() // in case it never starts
			for ctx.Err() == nil {
				err := startInstance(ctx, i+1, args, stderr, func(addr string) {
					b.set(i, addr)
					first()
				})
				b.set(i, "")
				if ctx.Err() == nil {
					log.Warn("instance ended, starting it again", "instance", i+1, "err", err)
					<-time.After(100 * time.Millisecond) // not in a tight loop
				}
			}
		})
	}
	defer running.Wait()
	defer stop()
	starting.Wait()
	return serve(ctx, listener, b, stdout, log)
}

// serve forwards requests to the instances until ctx ends.
func serve(ctx context.Context, listener net.Listener, b *balancer, stdout io.Writer, log *slog.Logger) error {
	url := "http://" + listener.Addr().String()
	fmt.Fprintf(stdout, "%s\nListening on %s; Ctrl-C ends it.\n", greeting(url), url)
	server := &http.Server{
		Handler:           front(b),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
	}
	err := serveUntil(ctx, server, listener)
	log.Info("shutting down")
	return err
}

// serveUntil answers requests until ctx ends, and then finishes those under way.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	answered := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(answered)
		grace, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-answered
	return nil
}

// startInstance runs one instance until it or ctx ends.
func startInstance(ctx context.Context, number int, args []string, stderr io.Writer, started func(addr string)) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append(args, "-instance", strconv.Itoa(number))...)
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if _, err := cmd.StdinPipe(); err != nil { // it is closed when this process ends
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line := bufio.NewScanner(stdout)
	if line.Scan() {
		started(line.Text())
	}
	return cmd.Wait()
}

// greeting returns the address and lines to paste into a shell. Each line prints
// the answer, its status, and the expected status.
func greeting(url string) string {
	return strings.ReplaceAll(`Three instances behind URL; open it in a browser, or paste this into a shell:

TOKEN=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "down-the-rabbit-hole"}' URL/login | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -s -w '%{http_code}, expected 200: signed in at one instance, accepted by another\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 200: and by the third\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 204: signed out\n' -X POST -H "Authorization: Bearer $TOKEN" URL/logout
sleep 1
curl -s -w '%{http_code}, expected 401: revoked at the next instance\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 401: and at the next\n' -H "Authorization: Bearer $TOKEN" URL/me
kill -9 $(curl -s URL/ready | sed 's/.*pid \([0-9]*\).*/\1/')
curl -s -w '%{http_code}, expected 401: with one instance less\n' -H "Authorization: Bearer $TOKEN" URL/me
sleep 2
curl -s -w '%{http_code}, expected 401: after its restart\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 401: at the next\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 401: at all of them\n' -H "Authorization: Bearer $TOKEN" URL/me
`, "URL", url)
}
