package main

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed450a7203/jwthttp"
)

// otelObserver returns an Options.Observer and a jwks.Options.OnError. The
// observer adds events to the span of the context, which otelhttp or another
// instrumentation outside of auth.Handler has started. Copy it together with
// result.go.
//
// All attributes have closed sets of values. The semantic conventions also have
// enduser.id for "sub" and enduser.pseudo.id. Both are marked as sensitive, and
// more people see traces than logs. If you need one, take it from e.Token, which
// is nil unless the signature was verified.
func otelObserver(meters metric.MeterProvider) (observe func(context.Context, jwthttp.Event), onKeyError func(error), err error) {
	meter := meters.Meter("github.com/seed450a7203/jwthttp/examples/observability")
	took, err1 := meter.Float64Histogram("jwt.decision.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to a decision about a request's token."),
		metric.WithExplicitBucketBoundaries(1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1, 5))
	keyErrors, err2 := meter.Int64Counter("jwt.key_set.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Failed fetches of the key set."))
	observe = func(ctx context.Context, e jwthttp.Event) {
		// The count of this histogram is the number of decisions, so requests,
		// cache hits and unchecked admissions need no counters.
		attrs := []attribute.KeyValue{attribute.Bool("jwt.cached", e.Cached), attribute.Bool("jwt.unchecked", e.Unchecked)}
		if !e.Admitted {
			attrs = append(attrs, errorType(e)) // by convention, success has none
		}
		took.Record(ctx, e.Took.Seconds(), metric.WithAttributes(attrs...))
		span := trace.SpanFromContext(ctx)
		switch {
		case !e.Admitted:
			// otelhttp sets the status of the span. A 4xx is no server error.
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
	return semconv.ErrorTypeOther // the word of the conventions
}
