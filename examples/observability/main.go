// Observability is an API with a log (log/slog), metrics for Prometheus, and
// metrics and trace events for OpenTelemetry. Each is an Options.Observer, in
// slog.go, prometheus.go and otel.go. Copy the one that you use.
//
//	go run -C examples ./observability
//
// It prints its address and lines to paste, which read the counters. The log,
// spans and OpenTelemetry's metrics go to standard error. Prometheus reads
// /metrics.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/server"
	"github.com/seed450a7203/jwthttp/jwks"
	"github.com/seed450a7203/jwthttp/revocation"
)

const audience = "https://api.example"

func main() {
	spans, _ := stdouttrace.New(stdouttrace.WithWriter(os.Stderr)) // neither fails with these options
	points, _ := stdoutmetric.New(stdoutmetric.WithWriter(os.Stderr))
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points)))
	server.Main(func(ctx context.Context, url string) (http.Handler, string, error) {
		keys, err := newKeyServer(url)
		if err != nil {
			return nil, "", err
		}
		handler, err := newAPI(ctx, keys, os.Stderr, traces, meters)
		return handler, strings.ReplaceAll(greeting, "URL", url), err
	})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(traces.Shutdown(ctx), meters.Shutdown(ctx)); err != nil { // writes what is not exported yet
		slog.Error("telemetry was lost", "cause", err)
	}
}

// newAPI returns the API that is observed: two routes, and routes that break the
// issuer and the revocation store.
func newAPI(ctx context.Context, issuer *keyServer, logTo io.Writer, traces trace.TracerProvider, meters metric.MeterProvider) (http.Handler, error) {
	log := slog.New(slog.NewTextHandler(logTo, nil))
	registry := prometheus.NewRegistry()
	toPrometheus, countKeyError := prometheusObserver(registry)
	toOtel, measureKeyError, err := otelObserver(meters)
	if err != nil {
		return nil, err
	}
	keys, err := jwks.New(ctx, issuer.url+"/keys", jwks.Options{OnError: func(err error) {
		logKeyErrors(log)(err)
		countKeyError(err)
		measureKeyError(err)
	}})
	if err != nil {
		return nil, err
	}
	revocations := &store{}
	prometheusStore(registry, revocations.stats)
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer.url, Audience: []string{audience}, Algorithms: []string{"ES256"}, Keys: keys,
		}},
		Revoked:            revocations.revoked,
		RevocationFailOpen: true, // so that there is something to count; without it the answer is a 503
		CacheSize:          1000,
		Observer:           observers(logDecisions(log), toPrometheus, toOtel),
	})
	if err != nil {
		return nil, err
	}
	mux := newMux(auth, issuer, revocations)
	// The metrics are public only because the program listens on loopback. In
	// production, serve them on another port that only Prometheus can reach.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// otelhttp is outside of auth.Handler, because the observer needs the span.
	// Without a server name, the host and port that clients send would become
	// attributes of metrics.
	return otelhttp.NewHandler(mux, "api", otelhttp.WithServerName("api:443"),
		otelhttp.WithFilter(func(r *http.Request) bool { return r.URL.Path != "/metrics" }),
		otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(meters)), nil
}

// newMux returns the routes of the API, without the one for metrics.
func newMux(auth *jwthttp.Middleware, issuer *keyServer, revocations *store) *http.ServeMux {
	mux := http.NewServeMux()
	// Handler is on the routes, so that the log has their patterns. A Handler
	// inside another one is a second decision, with Event.Nested set.
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("GET /reports", auth.Require(hasPaid).Handler(http.HandlerFunc(me)))
	mux.HandleFunc("POST /token", issuer.issue)
	mux.HandleFunc("GET /keys", issuer.serve)
	mux.HandleFunc("POST /keys/break", func(http.ResponseWriter, *http.Request) { issuer.broken.Store(true) })
	mux.HandleFunc("POST /revocations/break", func(http.ResponseWriter, *http.Request) { revocations.broken.Store(true) })
	return mux
}

func me(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context()) // there is one behind auth.Handler
	_ = json.NewEncoder(w).Encode(token.Subject)
}

// hasPaid returns an Error whose Reason is not in reasons. It counts as "other".
func hasPaid(r *http.Request) error {
	if jwthttp.MustClaims[jwt.MapClaims](r.Context())["plan"] != "paid" {
		return &jwthttp.Error{Status: http.StatusPaymentRequired, Reason: "plan", Description: "paid plan required"}
	}
	return nil
}

// store is a revocation store that can be broken.
type store struct{ broken atomic.Bool }

func (s *store) revoked(context.Context, *jwthttp.Token) (bool, error) {
	if s.broken.Load() {
		return false, errors.New("connection refused")
	}
	return false, nil
}

// stats is what the Stats of a shared store says. When the store is out of reach, its
// copy grows older.
func (s *store) stats() revocation.Stats {
	stats := revocation.Stats{Entries: 3, Loads: 1}
	if s.broken.Load() {
		stats.Staleness = time.Minute
	}
	return stats
}
