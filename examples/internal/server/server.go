// Package server starts and ends the programs of the examples.
package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main serves the handler that setup returns, at the address of the flag -addr,
// until the program is interrupted. Then ctx ends, and requests under way get five
// seconds to finish. The url is that of the server. Main prints the greeting, which
// usually has lines to try. It parses the flags of the program together with -addr.
func Main(setup func(ctx context.Context, url string) (handler http.Handler, greeting string, err error)) {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, setup); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string, setup func(context.Context, string) (http.Handler, string, error)) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (-addr chooses another address)", err)
	}
	defer listener.Close()
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("-addr %s: not a loopback address, which http requires", addr)
	}
	handler, greeting, err := setup(ctx, "http://"+listener.Addr().String())
	if err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // for clients of gRPC
	server := &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 5 * time.Second, // without timeouts, slow clients hold connections forever
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second, // a handler that streams sets its own deadline
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("%s\nListening on http://%s; Ctrl-C ends it.\n", greeting, listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Print("shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}
