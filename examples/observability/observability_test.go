package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

func TestProgram(t *testing.T) {
	p := exampletest.Start(t)
	p.PasteLines(t) // first, since the lines count
	if got := p.Status(t, "GET", "/me"); got != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got)
	}
	if got := p.Status(t, "GET", "/metrics"); got != http.StatusOK {
		t.Errorf("metrics: %d", got)
	}
	p.End(t)
	for _, want := range []string{`"Name":"jwt.refused"`, `"Name":"jwt.decision.duration"`, "reason=expired", "cannot be fetched"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if got := strings.Count(p.Log(), "level=ERROR"); got != 2 { // the broken key server, and the request that needed it
		t.Errorf("%d lines of level ERROR, want 2", got)
	}
}

// observed is a running API whose log, metrics and spans stay in memory.
type observed struct {
	*testing.T
	issuer  *keyServer
	server  *httptest.Server
	log     exampletest.Buffer
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
}

func start(t *testing.T) *observed {
	t.Helper()
	o := &observed{T: t, server: httptest.NewUnstartedServer(nil), spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader()}
	t.Cleanup(o.server.Close)
	var err error
	if o.issuer, err = newKeyServer("http://" + o.server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(o.spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(o.metrics))
	o.server.Config.Handler, err = newAPI(t.Context(), o.issuer, &o.log, traces, meters)
	if err != nil {
		t.Fatal(err)
	}
	o.server.Start()
	return o
}

// sign returns a good token, changed by header and claims.
func (o *observed) sign(header, claims map[string]any) string {
	o.Helper()
	c := jwt.MapClaims{"iss": o.issuer.url, "aud": audience, "sub": "alice", "jti": "id", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, claims)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = keyID
	maps.Copy(t.Header, header)
	compact, err := t.SignedString(o.issuer.private)
	if err != nil {
		o.Fatal(err)
	}
	return compact
}

func (o *observed) do(method, path, bearer, host string) (status int, body string) {
	o.Helper()
	r, err := http.NewRequestWithContext(o.Context(), method, o.server.URL+path, nil)
	if err != nil {
		o.Fatal(err)
	}
	r.Host = host
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := o.server.Client().Do(r)
	if err != nil {
		o.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// series returns the series of /metrics that are not zero, without the sum and
// buckets of the histogram.
func (o *observed) series() map[string]int {
	o.Helper()
	_, text := o.do("GET", "/metrics", "", "")
	found := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(value); err == nil && n > 0 && !strings.Contains(name, "_bucket") {
			found[name] = n
		}
	}
	return found
}

// points returns the counts of our OpenTelemetry metrics by name and attributes.
func (o *observed) points() map[string]int {
	o.Helper()
	found := map[string]int{}
	for _, scope := range o.collect().ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					if strings.HasPrefix(m.Name, "jwt.") {
						found[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += int(p.Count)
					}
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					found[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += int(p.Value)
				}
			}
		}
	}
	return found
}

func (o *observed) collect() metricdata.ResourceMetrics {
	o.Helper()
	var all metricdata.ResourceMetrics
	if err := o.metrics.Collect(context.Background(), &all); err != nil {
		o.Fatal(err)
	}
	return all
}

// eventually waits for an effect of another goroutine, such as a fetch.
func (o *observed) eventually(what string, holds func() bool) {
	o.Helper()
	timeout := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-timeout:
			o.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// TestAPI_counters sends requests one after the other, and compares all counters
// of both kinds at the end.
func TestAPI_counters(t *testing.T) {
	o := start(t)
	good := o.sign(nil, nil)
	for _, step := range []struct {
		name, method, path, bearer string
		want                       int
	}{
		{"a good token", "GET", "/me", good, 200},
		{"the same token, cached", "GET", "/me", good, 200},
		{"another token", "GET", "/me", o.sign(nil, map[string]any{"jti": "2"}), 200},
		{"an expired token", "GET", "/me", o.sign(nil, map[string]any{"exp": 1}), 401},
		{"not a JWT", "GET", "/me", "a.b.c", 401},
		{"no credential", "GET", "/me", "", 401},
		{"another audience", "GET", "/me", o.sign(nil, map[string]any{"aud": "another"}), 401},
		{"a rule with another Reason", "GET", "/reports", good, 402},
		{"a token that satisfies the rule", "GET", "/reports", o.sign(nil, map[string]any{"plan": "paid"}), 200},
		{"a route that needs no token", "GET", "/keys", "", 200},
		{"the store breaks", "POST", "/revocations/break", "", 200},
		{"admitted unchecked, from the cache", "GET", "/me", good, 200},
		{"admitted unchecked, another token", "GET", "/me", o.sign(nil, map[string]any{"jti": "3"}), 200},
		{"refused by the rule, so not admitted unchecked", "GET", "/reports", good, 402},
		{"the key server breaks", "POST", "/keys/break", "", 200},
		{"an unknown key", "GET", "/me", o.sign(map[string]any{"kid": "2"}, nil), 503},
		{"a changed signature, last: it asks for new keys too", "GET", "/me", good[:len(good)-4] + "AAAA", 401},
	} {
		if got, _ := o.do(step.method, step.path, step.bearer, ""); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
	o.eventually("the key set's error is counted", func() bool { return o.series()["jwt_key_set_errors_total"] > 0 })
	o.eventually("the same by OpenTelemetry", func() bool { return o.points()["jwt.key_set.errors "] > 0 })
	same(t, o.series(), map[string]int{
		`jwt_decisions_total{result="ok"}`:               6,
		`jwt_decisions_total{result="expired"}`:          1,
		`jwt_decisions_total{result="malformed"}`:        1,
		`jwt_decisions_total{result="missing"}`:          1,
		`jwt_decisions_total{result="signature"}`:        1,
		`jwt_decisions_total{result="audience"}`:         1,
		`jwt_decisions_total{result="keys_unavailable"}`: 1,
		`jwt_revocation_entries`:                         3,
		`jwt_revocation_loads`:                           1,
		`jwt_revocation_staleness_seconds`:               60,
		`jwt_decisions_total{result="other"}`:            2,
		`jwt_decision_seconds_count{cached="true"}`:      4,
		`jwt_decision_seconds_count{cached="false"}`:     10,
		`jwt_unchecked_total`:                            2,
		`jwt_key_set_errors_total`:                       1,
	})
	same(t, o.points(), map[string]int{
		"jwt.decision.duration jwt.cached=false,jwt.unchecked=false":                             3,
		"jwt.decision.duration jwt.cached=true,jwt.unchecked=false":                              1,
		"jwt.decision.duration jwt.cached=false,jwt.unchecked=true":                              1,
		"jwt.decision.duration jwt.cached=true,jwt.unchecked=true":                               1,
		"jwt.decision.duration error.type=expired,jwt.cached=false,jwt.unchecked=false":          1,
		"jwt.decision.duration error.type=malformed,jwt.cached=false,jwt.unchecked=false":        1,
		"jwt.decision.duration error.type=missing,jwt.cached=false,jwt.unchecked=false":          1,
		"jwt.decision.duration error.type=signature,jwt.cached=false,jwt.unchecked=false":        1,
		"jwt.decision.duration error.type=audience,jwt.cached=false,jwt.unchecked=false":         1,
		"jwt.decision.duration error.type=keys_unavailable,jwt.cached=false,jwt.unchecked=false": 1,
		"jwt.decision.duration error.type=_OTHER,jwt.cached=true,jwt.unchecked=false":            2,
		"jwt.key_set.errors ": 1,
	})
	for level, want := range map[string]int{
		"INFO":  6, // expired, malformed, missing, audience, and the rule's two
		"WARN":  3, // the signature, and two admitted unchecked
		"ERROR": 2, // the key set, and the request that waited for it
	} {
		if got := strings.Count(o.log.String(), " level="+level+" "); got != want {
			t.Errorf("%d lines of level %s, want %d:\n%s", got, level, want, o.log.String())
		}
	}
}

func same(t *testing.T, got, want map[string]int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] != got[name] {
			t.Errorf("%s: %d, want %d", name, got[name], want[name])
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s: not there", name)
		}
	}
}

func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../error.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []jwthttp.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, jwthttp.Reason(text))
		}
		return true
	})
	if len(declared) < 24 {
		t.Fatalf("found %d reasons only: %q", len(declared), declared)
	}
	if a, b := slices.Sorted(slices.Values(declared)), slices.Sorted(slices.Values(reasons)); !slices.Equal(a, b) {
		t.Errorf("jwthttp has\n%q, reasons has\n%q", a, b)
	}
	for _, reason := range declared {
		if got := result(jwthttp.Event{Err: &jwthttp.Error{Reason: reason}}); got != string(reason) {
			t.Errorf("%s counts as %s", reason, got)
		}
	}
}

func TestResult_closedSet(t *testing.T) {
	for _, reason := range []jwthttp.Reason{"", "ok", "anonymous", "plan of alice", "Expired", "expired "} {
		if got := result(jwthttp.Event{Err: &jwthttp.Error{Reason: reason}}); got != resultOther {
			t.Errorf("%q counts as %q", reason, got)
		}
	}
	for _, tt := range []struct {
		name  string
		event jwthttp.Event
		want  string
	}{
		{"a good token", jwthttp.Event{Admitted: true, Token: &jwthttp.Token{}}, resultOK},
		{"no token", jwthttp.Event{Admitted: true}, resultAnonymous},
		{"an ignored token", jwthttp.Event{Admitted: true, Err: &jwthttp.Error{Reason: jwthttp.ReasonExpired}}, resultAnonymous},
		{"an ignored token with a good signature", jwthttp.Event{Admitted: true, Token: &jwthttp.Token{}, Err: &jwthttp.Error{Reason: jwthttp.ReasonRevoked}}, resultAnonymous},
	} {
		if got := result(tt.event); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPrometheusObserver_seriesAtStart(t *testing.T) {
	registry := prometheus.NewRegistry()
	prometheusObserver(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "jwt_decisions_total" && len(family.GetMetric()) == len(reasons)+3 {
			return
		}
	}
	t.Errorf("not all of jwt_decisions_total is there: %v", families)
}

// TestAPI_labels sends tokens with "marker" in all places. The log may quote it in
// a cause. A label or attribute must not contain it.
func TestAPI_labels(t *testing.T) {
	o := start(t)
	marked := map[string]any{"sub": "marker-sub", "jti": "marker-jti", "sid": "marker", "scope": "marker", "client_id": "marker"}
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(marked)
		claims[name] = value
		return claims
	}
	good := o.sign(nil, marked)
	tokens := []string{
		good,
		good[:len(good)-4] + "AAAA",
		o.sign(map[string]any{"alg": "marker"}, marked),
		o.sign(map[string]any{"typ": "marker"}, marked),
		o.sign(map[string]any{"kid": "marker"}, marked),
		o.sign(nil, with("iss", "marker")),
		o.sign(nil, with("aud", "marker")),
		o.sign(nil, with("exp", 1)),
		o.sign(nil, with("exp", "marker")),
		o.sign(nil, with("iss", "marker\nlevel=ERROR msg=\x1b[31mmarker")),
		"marker.marker.marker",
	}
	for _, token := range tokens {
		for _, path := range []string{"/me", "/reports", "/me?access_token=" + token} {
			o.do("GET", path, token, "marker.example:54321") // Host is the client's text too
		}
	}
	o.do("MARKER", "/me", good, "")
	o.do("POST", "/revocations/break", "", "")
	o.do("GET", "/me", good, "marker.example:54321")
	_, text := o.do("GET", "/metrics", "", "")
	points, err := json.Marshal(o.collect())
	if err != nil {
		t.Fatal(err)
	}
	for name, told := range map[string]string{"/metrics": text, "OpenTelemetry's metrics": string(points)} {
		if strings.Contains(strings.ToLower(told), "marker") || strings.Contains(told, "54321") {
			t.Errorf("a marker in %s:\n%s", name, told)
		}
	}
	o.server.Close() // with the last span
	refused, unchecked := 0, 0
	for _, span := range o.spans.GetSpans() {
		for _, event := range span.Events {
			switch event.Name {
			case "jwt.refused":
				refused++
			case "jwt.unchecked":
				unchecked++
			}
		}
		if told := fmt.Sprint(span.Name, span.Attributes, span.Events, span.Status); strings.Contains(told, "marker") {
			t.Errorf("a marker in a span: %s", told)
		}
	}
	// All but the good one, on three paths; and the good one on the path with the rule.
	if want := 3*(len(tokens)-1) + 1; refused != want || unchecked != 1 {
		t.Errorf("%d refusals, want %d; %d unchecked, want 1", refused, want, unchecked)
	}
	for _, token := range tokens[:len(tokens)-1] {
		for segment := range strings.SplitSeq(token, ".") {
			if strings.Contains(o.log.String(), segment) {
				t.Errorf("%s... in the log", segment[:20])
			}
		}
	}
	for line := range strings.Lines(o.log.String()) {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "\x1b") {
			t.Errorf("a token has written to the log: %q", line)
		}
	}
}

func TestLogDecisions(t *testing.T) {
	refusal := func(status int, reason jwthttp.Reason) jwthttp.Event {
		return jwthttp.Event{Err: &jwthttp.Error{Status: status, Reason: reason, Err: errors.New("two\nlines")}}
	}
	for _, test := range []struct {
		name  string
		event jwthttp.Event
		want  string
	}{
		{"an admission", jwthttp.Event{Admitted: true}, "level=DEBUG msg=admitted"},
		{"an unchecked admission", jwthttp.Event{Admitted: true, Unchecked: true}, `level=WARN msg="admitted, not checked for revocation"`},
		{"a client that waited too long", refusal(401, jwthttp.ReasonExpired), `reason=expired status=401 cause="two\nlines"`},
		{"a client without a token", refusal(401, jwthttp.ReasonMissing), "level=INFO msg=refused"},
		{"a forged token", refusal(401, jwthttp.ReasonSignature), "level=WARN msg=refused"},
		{"an algorithm that is not ours", refusal(401, jwthttp.ReasonAlgorithm), "level=WARN msg=refused"},
		{"a client that hung up", refusal(499, jwthttp.ReasonCanceled), "level=DEBUG msg=refused"},
		{"an ignored token", jwthttp.Event{Admitted: true, Err: &jwthttp.Error{Status: 401, Reason: jwthttp.ReasonExpired}}, `level=INFO msg="admitted without the token"`},
		{"another site", refusal(403, jwthttp.ReasonCrossOrigin), "level=WARN msg=refused"},
		{"no keys", refusal(503, jwthttp.ReasonKeysUnavailable), "level=ERROR msg=refused"},
		{"no revocation store", refusal(503, jwthttp.ReasonRevocationUnavailable), "level=ERROR msg=refused"},
		{"a rule that failed", refusal(500, "directory"), "level=ERROR msg=refused"},
		{"the subject of a verified token", jwthttp.Event{Admitted: true, Token: &jwthttp.Token{Subject: "alice", ID: "7"}}, "sub=alice jti=7"},
		{"a rule's Error without a cause", jwthttp.Event{Err: &jwthttp.Error{Status: 402, Reason: "plan"}}, "reason=plan status=402\n"},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		test.event.Request = httptest.NewRequest("GET", "/me?access_token=secret", nil)
		logDecisions(log)(t.Context(), test.event)
		if got := out.String(); !strings.Contains(got, test.want) || strings.Contains(got, "secret") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestLogDecisions_verify(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	logDecisions(log)(t.Context(), jwthttp.Event{Err: &jwthttp.Error{Status: 401, Reason: jwthttp.ReasonExpired}})
	if got := out.String(); !strings.Contains(got, "reason=expired") || strings.Contains(got, "route") {
		t.Errorf("%s", got)
	}
}

func TestObservers(t *testing.T) {
	var asked []int
	note := func(n int) func(context.Context, jwthttp.Event) {
		return func(context.Context, jwthttp.Event) { asked = append(asked, n) }
	}
	observers(note(1), note(2), note(3))(t.Context(), jwthttp.Event{})
	if !slices.Equal(asked, []int{1, 2, 3}) {
		t.Errorf("%v", asked)
	}
}
