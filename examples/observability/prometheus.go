package main

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/revocation"
)

// prometheusObserver returns an Options.Observer and a jwks.Options.OnError. All
// labels have closed sets of values. Nothing that a client sends becomes a
// label, not even its method. Copy it together with result.go.
func prometheusObserver(registry prometheus.Registerer) (observe func(context.Context, jwthttp.Event), onKeyError func(error)) {
	metrics := promauto.With(registry)
	decisions := metrics.NewCounterVec(prometheus.CounterOpts{
		Name: "jwt_decisions_total", Help: "Requests admitted (ok, anonymous) and refused, by reason.",
	}, []string{"result"})
	took := metrics.NewHistogramVec(prometheus.HistogramOpts{
		Name: "jwt_decision_seconds", Help: "Time to a decision; cached: the signature was verified for an earlier request.",
		// A cached token takes 1 µs, a signature 5 to 200 µs. Above 1 ms the
		// request has waited for a revocation check or a key server.
		Buckets: []float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1, 5},
	}, []string{"cached"})
	unchecked := metrics.NewCounter(prometheus.CounterOpts{
		Name: "jwt_unchecked_total", Help: "Tokens admitted although the revocation check failed (RevocationFailOpen).",
	})
	keyErrors := metrics.NewCounter(prometheus.CounterOpts{
		Name: "jwt_key_set_errors_total", Help: "Failed fetches of the key set.",
	})
	// Create all series with 0. A series that begins with 1 has no rate, so an
	// alert would miss the first refusal.
	for _, reason := range append([]jwthttp.Reason{resultOK, resultAnonymous, resultOther}, reasons...) {
		decisions.WithLabelValues(string(reason))
	}
	return func(_ context.Context, e jwthttp.Event) {
		decisions.WithLabelValues(result(e)).Inc()
		took.WithLabelValues(strconv.FormatBool(e.Cached)).Observe(e.Took.Seconds())
		if e.Unchecked {
			unchecked.Inc()
		}
	}, func(error) { keyErrors.Inc() }
}

// prometheusStore registers the Stats of a Store of redisrevocation or sqlrevocation.
// Alert if jwt_revocation_lost stays above 0: then instances that start later do not
// have these entries. Alert if the staleness comes near the MaxStale of the store.
func prometheusStore(registry prometheus.Registerer, stats func() revocation.Stats) {
	metrics := promauto.With(registry)
	for _, m := range []struct {
		name, help string
		value      func(revocation.Stats) float64
	}{
		{"jwt_revocation_entries", "Revocations on this instance.", func(s revocation.Stats) float64 { return float64(s.Entries) }},
		{"jwt_revocation_lost", "Revocations that the store has lost and that are not written back yet.", func(s revocation.Stats) float64 { return float64(s.Lost) }},
		{"jwt_revocation_healed", "Lost revocations that were written back.", func(s revocation.Stats) float64 { return float64(s.Healed) }},
		{"jwt_revocation_loading", "1 while the whole store is read again.", func(s revocation.Stats) float64 {
			if s.Loading {
				return 1
			}
			return 0
		}},
		{"jwt_revocation_loads", "How often the whole store was read.", func(s revocation.Stats) float64 { return float64(s.Loads) }},
		{"jwt_revocation_staleness_seconds", "Age of the copy on this instance.", func(s revocation.Stats) float64 { return s.Staleness.Seconds() }},
	} {
		metrics.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, func() float64 { return m.value(stats()) })
	}
}
