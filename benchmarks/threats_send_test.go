package benchmarks

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// This file sends attacks, each over a socket, to the contenders that support the
// algorithm.

// setup is a guarded handler to attack.
type setup struct {
	name    string
	handler http.Handler // nil: the configuration was refused
	server  *httptest.Server
}

// shot is one request of an attack.
type shot struct {
	label string
	f     *Fixture // configures the contenders
	send  func(*http.Request)
	// fine means that jwthttp admits it, for the reason in the row's note.
	fine bool
}

// outcome is what a contender did with a shot.
type outcome struct {
	admitted, crashed, atStart, unknown bool // unknown: unsupported algorithm
	status                              int
	body                                string
	header                              http.Header
}

func (o outcome) refusal() string {
	switch {
	case o.crashed:
		return "crash"
	case o.atStart:
		return "at the start"
	}
	return fmt.Sprint(o.status)
}

// lab measures the rows of the table.
type lab struct {
	*testing.T
	rs, hs, es *Fixture
	client     *http.Client
	built      map[*Fixture][]*setup
	row        string // being measured, for messages
}

func newLab(t *testing.T) *lab {
	l := &lab{
		T: t, rs: newFixture(t, "RS256"), hs: newFixture(t, "HS256"), es: newFixture(t, "ES256"),
		client: &http.Client{Transport: &http.Transport{}}, built: map[*Fixture][]*setup{},
	}
	t.Cleanup(l.client.CloseIdleConnections)
	return l
}

const (
	admittedField = "X-Admitted"
	inURLField    = "X-Token-In-Url"
)

// admit is the guarded handler. It reports whether it sees a token in the URL.
var admit = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(admittedField, "yes")
	if strings.Contains(r.URL.RawQuery+r.RequestURI, "jwt=") {
		w.Header().Set(inURLField, "yes")
	}
	w.WriteHeader(http.StatusNoContent)
})

const crashed = 599

// survive turns a panic into a status. A panic of expect means that the request
// was admitted with other claims.
func survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); {
			case p == nil:
			case strings.HasPrefix(fmt.Sprint(p), "claim is "):
				admit(w, r)
			default:
				w.WriteHeader(crashed)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// fire sends a request to a setup, whose server runs until the end of the test.
func (l *lab) fire(s *setup, send func(*http.Request)) outcome {
	if s.handler == nil {
		return outcome{atStart: true}
	}
	if s.server == nil {
		s.server = httptest.NewServer(survive(s.handler))
		l.Cleanup(s.server.Close)
	}
	r, err := http.NewRequestWithContext(l.Context(), http.MethodGet, s.server.URL, nil)
	if err != nil {
		l.Fatal(err)
	}
	send(r)
	res, err := l.client.Do(r)
	if err != nil {
		l.Fatalf("%s: %v", s.name, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		l.Fatal(err)
	}
	return outcome{
		admitted: res.Header.Get(admittedField) != "", crashed: res.StatusCode == crashed,
		status: res.StatusCode, body: string(body), header: res.Header,
	}
}

// isPeer reports whether a contender is another library or hand.
func isPeer(name string) bool { return name != "naive-cache" && !strings.HasPrefix(name, Ours) }

// contenders returns all contenders but naive-cache. They are built once.
func (l *lab) contenders(f *Fixture) []*setup {
	if l.built[f] != nil {
		return l.built[f]
	}
	for _, c := range Contenders() {
		if c.Name == "naive-cache" || !c.Knows(f.Alg) {
			continue
		}
		h, err := c.Guard(f, admit)
		if err != nil {
			h = nil
		}
		l.built[f] = append(l.built[f], &setup{name: c.Name, handler: h})
	}
	return l.built[f]
}

// attack measures a row whose shots go to all contenders.
func attack(shots ...shot) func(*lab) (string, string) {
	return func(l *lab) (string, string) {
		var names []string
		for _, c := range Contenders() {
			names = append(names, c.Name)
		}
		return l.volley(names, shots, func(s shot) []*setup { return l.contenders(s.f) })
	}
}

// attackOn measures a row whose shots go to the given setups.
func attackOn(build func(*lab) []*setup, shots ...shot) func(*lab) (string, string) {
	return func(l *lab) (string, string) {
		setups := build(l)
		var names []string
		for _, s := range setups {
			names = append(names, s.name)
		}
		return l.volley(names, shots, func(shot) []*setup { return setups })
	}
}

// volley fires all shots at all setups, and twice at jwthttp, because a token that
// was seen before must get the same result.
func (l *lab) volley(names []string, shots []shot, targets func(shot) []*setup) (peers, ours string) {
	outcomes := map[string][]outcome{}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "naive-cache" })
	for _, name := range names {
		for _, s := range shots {
			setups := targets(s)
			i := slices.IndexFunc(setups, func(to *setup) bool { return to.name == name })
			if i < 0 {
				outcomes[name] = append(outcomes[name], outcome{unknown: true})
				continue
			}
			o := l.fire(setups[i], s.send)
			outcomes[name] = append(outcomes[name], o)
			if !isPeer(name) {
				l.checkOurs(name, s, o)
				l.checkOurs(name, s, l.fire(setups[i], s.send))
			}
		}
	}
	return summary(names, shots, outcomes), oursIn(shots, outcomes[Ours])
}

func (l *lab) checkOurs(name string, s shot, o outcome) {
	switch {
	case o.unknown:
		l.Errorf("%s: %s does not support the algorithm of %s", l.row, name, s.label)
	case o.admitted != s.fine:
		l.Errorf("%s: %s FAILED %q: admitted %t, status %d", l.row, name, s.label, o.admitted, o.status)
	case !o.admitted && !o.atStart && (o.status < 400 || o.status > 499):
		l.Errorf("%s: %s answers %q with %d", l.row, name, s.label, o.status)
	}
}
