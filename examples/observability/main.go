// Observability shows what a protected API tells its operators: a log
// (log/slog), metrics for Prometheus, and a trace event on the request's span
// with metrics by OpenTelemetry. Each is an Options.Observer of its own, in
// slog.go, prometheus.go and otel.go; take the one that you use.
//
//	go run -C examples ./observability
//
// It prints its address and lines to paste, which count. Log, spans and
// OpenTelemetry's metrics go to the standard error, Prometheus reads /metrics.
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
)

const audience = "https://api.example"

func main() {
	spans, _ := stdouttrace.New(stdouttrace.WithWriter(os.Stderr)) // neither fails without options that can
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
	if err := errors.Join(traces.Shutdown(ctx), meters.Shutdown(ctx)); err != nil { // writes what is still waiting
		slog.Error("telemetry was lost", "cause", err)
	}
}

// newAPI is what is observed: two routes, and an issuer of tokens that can be broken.
func newAPI(ctx context.Context, issuer *keyServer, logTo io.Writer, traces trace.TracerProvider, meters metric.MeterProvider) (http.Handler, error) {
	log := slog.New(slog.NewTextHandler(logTo, nil))
	registry := prometheus.NewRegistry()
	toPrometheus, countKeyError := prometheusObserver(registry)
	toOtel, measureKeyError, err := otelObserver(meters)
	if err != nil {
		return nil, err
	}
	keys, err := jwthttp.NewJWKS(ctx, issuer.url+"/keys", jwthttp.JWKSOptions{OnError: func(err error) {
		logKeyErrors(log)(err)
		countKeyError(err)
		measureKeyError(err)
	}})
	if err != nil {
		return nil, err
	}
	revocations := &store{}
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{
		Issuers: []jwthttp.Issuer{{
			Name: issuer.url, Audience: []string{audience}, Algorithms: []string{"ES256"}, Keys: keys,
		}},
		Revoked:   revocations.revoked,
		FailOpen:  true, // so that there is something to count; without it the answer is a 503
		CacheSize: 1000,
		Observer:  observers(logDecisions(log), toPrometheus, toOtel),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	// On the routes, where the log learns which one it is. A Handler inside
	// another one is a decision more, and is counted as such.
	mux.Handle("GET /me", auth.Handler(http.HandlerFunc(me)))
	mux.Handle("GET /reports", auth.Require(hasPaid).Handler(http.HandlerFunc(me)))
	mux.HandleFunc("POST /token", issuer.issue)
	mux.HandleFunc("GET /keys", issuer.serve)
	mux.HandleFunc("POST /keys/break", func(http.ResponseWriter, *http.Request) { issuer.broken.Store(true) })
	mux.HandleFunc("POST /revocations/break", func(http.ResponseWriter, *http.Request) { revocations.broken.Store(true) })
	// Public only because all of this is on loopback. In production it is on a
	// port of its own that only Prometheus reaches.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// Outside of auth.Handler, whose observer looks for the span. Without a
	// server name and port, those of the client's Host would be attributes of
	// metrics, and there are 65,535 ports.
	return otelhttp.NewHandler(mux, "api", otelhttp.WithServerName("api:443"),
		otelhttp.WithFilter(func(r *http.Request) bool { return r.URL.Path != "/metrics" }),
		otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(meters)), nil
}

func me(w http.ResponseWriter, r *http.Request) {
	token, _ := jwthttp.TokenFromContext(r.Context())
	_ = json.NewEncoder(w).Encode(token.Subject)
}

// hasPaid has a Reason that is not in reasons, and so counts as "other".
func hasPaid(r *http.Request) error {
	if claims, _ := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context()); claims["plan"] != "paid" {
		return &jwthttp.Error{Status: http.StatusPaymentRequired, Reason: "plan"}
	}
	return nil
}

// store is a revocation store that can be out of reach.
type store struct{ broken atomic.Bool }

func (s *store) revoked(context.Context, *jwthttp.Token) (bool, error) {
	if s.broken.Load() {
		return false, errors.New("connection refused")
	}
	return false, nil
}
