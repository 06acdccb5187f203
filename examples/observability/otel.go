package main

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed450a7203/jwthttp"
)

// otelObserver returns an Options.Observer and a JWKSOptions.OnError. The
// observer writes on the request's span, which is there if otelhttp (or another
// instrumentation) is outside of auth.Handler. Copy it together with result.go.
//
// What it writes is of closed sets. The semantic conventions also have
// enduser.id for "sub" and enduser.pseudo.id; both are marked as sensitive, and
// traces go to more people than logs do. Who needs one adds it here, from
// e.Token alone: that is nil unless the signature was verified.
func otelObserver(meters metric.MeterProvider) (observe func(*http.Request, jwthttp.Event), onKeyError func(error), err error) {
	meter := meters.Meter("github.com/seed450a7203/jwthttp/examples/observability")
	took, err1 := meter.Float64Histogram("jwt.decision.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to a decision about a request's token."),
		metric.WithExplicitBucketBoundaries(1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1, 5))
	keyErrors, err2 := meter.Int64Counter("jwt.key_set.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Failed fetches of the key set."))
	observe = func(r *http.Request, e jwthttp.Event) {
		// The count of this one histogram answers for requests, cache hits and
		// unchecked admissions too.
		attrs := []attribute.KeyValue{attribute.Bool("jwt.cached", e.Cached), attribute.Bool("jwt.unchecked", e.Unchecked)}
		if e.Err != nil {
			attrs = append(attrs, errorType(e)) // by convention there is none on success
		}
		took.Record(r.Context(), e.Took.Seconds(), metric.WithAttributes(attrs...))
		span := trace.SpanFromContext(r.Context())
		switch {
		case e.Err != nil:
			// The span's own status stays otelhttp's: a 4xx is no error of the server.
			span.AddEvent("jwt.refused", trace.WithAttributes(attrs...))
		case e.Unchecked:
			span.AddEvent("jwt.unchecked")
		}
	}
	return observe, func(error) { keyErrors.Add(context.Background(), 1) }, errors.Join(err1, err2)
}

func errorType(e jwthttp.Event) attribute.KeyValue {
	if word := result(e); word != resultOther {
		return semconv.ErrorTypeKey.String(word)
	}
	return semconv.ErrorTypeOther // the convention's own word
}
