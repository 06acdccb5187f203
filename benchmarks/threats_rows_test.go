package benchmarks

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// This file has the rows that measure something other than which contenders admit a
// request.

// memory reports which contenders allocate more than 8 MiB for a request of 500
// KiB. Those that do allocate 25 times its size or more, the others at most 9
// times.
func memory(l *lab) (string, string) {
	shots := l.sized()
	outcomes := map[string][]string{}
	var names []string
	for _, c := range l.contenders(l.rs) {
		names = append(names, c.name)
		for _, s := range shots {
			n := allocated(survive(c.handler), s.send)
			if n > 8<<20 {
				outcomes[c.name] = append(outcomes[c.name], s.label)
			}
			if !isPeer(c.name) && n > 64<<10 {
				l.Errorf("%s FAILED %q: %d bytes allocated", c.name, s.label, n)
			}
		}
	}
	return group(names, func(name string) (string, bool) {
		if over := outcomes[name]; over != nil {
			return "allocates more than 8 MiB for " + strings.Join(over, ", "), true
		}
		return "allocates less", false
	}), "allocates less than 64 KiB for each"
}

// allocated measures the second request, because the first may fill pools.
func allocated(h http.Handler, send func(*http.Request)) uint64 {
	var before, after runtime.MemStats
	var w Discard
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	send(r)
	w.Reset()
	h.ServeHTTP(&w, r)
	w.Reset()
	runtime.ReadMemStats(&before)
	h.ServeHTTP(&w, r)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// ownAnswers lists the peers that write error responses. Those of the others are
// written by the code around them, which is this package's.
var ownAnswers = []string{Auth0, Auth0V3, "chi/jwtauth", "echo-jwt", "gin-jwt", "MCP-go-sdk"}

// openErrors reports which contenders repeat text of a token in the response.
func openErrors(l *lab) (string, string) {
	repeats := map[string][]string{}
	var names []string
	for _, c := range l.contenders(l.rs) {
		if isPeer(c.name) && !slices.Contains(ownAnswers, c.name) {
			continue
		}
		names = append(names, c.name)
		for _, s := range l.talk() {
			o := l.fire(c, s.send)
			if strings.Contains(o.body, marker) || strings.Contains(fmt.Sprint(o.header), marker) || o.header.Get("X-Injected") != "" {
				repeats[c.name] = append(repeats[c.name], "`"+s.label+"`")
				if !isPeer(c.name) {
					l.Errorf("%s FAILED: repeats %s", c.name, s.label)
				}
			}
		}
	}
	return group(names, func(name string) (string, bool) {
		if over := repeats[name]; over != nil {
			return "sends back " + strings.Join(over, ", "), true
		}
		return "sends none of it back", false
	}), "sends none of it back"
}

// texts quotes the response to a token with an invalid signature.
func texts(l *lab) (string, string) {
	var names []string
	said := map[string]string{}
	for _, c := range l.contenders(l.rs) {
		if slices.Contains(ownAnswers, c.name) || c.name == Ours {
			names = append(names, c.name)
			body := strings.TrimSpace(l.fire(c, bearing(l.rs.tokens[Signature])).body)
			said[c.name] = "answers `" + body[:min(len(body), 160)] + "`"
		}
	}
	return group(names, func(name string) (string, bool) { return said[name], true }), said[Ours]
}

// leaks reports which contenders leave a query token where it gets into logs and
// Referer fields.
func leaks(l *lab) (string, string) {
	send := func(r *http.Request) { r.URL.RawQuery = "jwt=" + l.rs.tokens[Admitted] }
	var names []string
	did := map[string]string{}
	for _, s := range inQuery(l) {
		names = append(names, s.name)
		o := l.fire(s, send)
		switch policy := o.header.Get("Referrer-Policy"); {
		case !o.admitted:
			did[s.name] = "refuses, " + o.refusal()
		case o.header.Get(inURLField) != "" && policy == "":
			did[s.name] = "leaves it in the request's URL, without a Referrer-Policy"
		case o.header.Get(inURLField) == "" && policy == "no-referrer" && o.header.Get("Cache-Control") == "private":
			did[s.name] = "removes it from URL and RequestURI, and sends `no-referrer` and `private`"
		default:
			did[s.name] = "does something else"
		}
	}
	if !strings.HasPrefix(did[Ours], "removes") {
		l.Errorf("%s FAILED: a query token: %s", Ours, did[Ours])
	}
	return group(names, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// withdrawn reports which contenders admit a token after its key was replaced:
// those that ask for the key with each request, and naive-cache.
func withdrawn(l *lab) (string, string) {
	did := map[string]string{}
	var names []string
	try := func(name string, f *Fixture, h http.Handler) {
		names = append(names, name)
		request := f.Request(Admitted)
		before := httptest.NewRecorder()
		h.ServeHTTP(before, request)
		f.Verifying = newFixture(l.T, "RS256").Verifying
		after := httptest.NewRecorder()
		h.ServeHTTP(after, request)
		if before.Header().Get(admittedField) == "" {
			l.Errorf("%s refuses the valid token", name)
		}
		did[name] = fmt.Sprintf("refuses, %d", after.Code)
		if after.Header().Get(admittedField) != "" {
			did[name] = "admits"
		}
	}
	asking := []string{Hand, "naive-cache", Auth0, Auth0V3, "gin-jwt", "MCP-go-sdk"}
	for _, c := range Contenders() {
		if slices.Contains(asking, c.Name) {
			f := *l.rs
			h, err := c.Guard(&f, admit)
			try(c.Name, &f, survive(l.must(h, err)))
		}
	}
	f := *l.rs
	opts := CachedOptions(&f, 16)
	opts.Issuers[0].Keys = jwthttp.Keyfunc(func(*jwt.Token) (any, error) { return f.Verifying, nil })
	h, err := GuardOurs[Claims](opts, admit)
	try(Ours, &f, l.must(h, err))
	if did[Ours] != "refuses, 401" {
		l.Errorf("%s FAILED: a withdrawn key: %s", Ours, did[Ours])
	}
	return "naive-cache " + did["naive-cache"] + "; " + group(names, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// hammering counts the fetches that tokens with unknown kids cause.
func hammering(l *lab) (string, string) {
	const junk = 40
	other := newFixture(l.T, "RS256")
	did := map[string]string{}
	for _, name := range remoteKeys {
		k := l.keyServer(l.goodSet())
		h := &setup{name: name, handler: l.remote(name, k)}
		if o := l.fire(h, bearing(l.rs.tokens[Admitted])); !o.admitted {
			l.Errorf("%s refuses the valid token: %d", name, o.status)
		}
		before := k.fetches.Load()
		for i := range junk {
			l.fire(h, bearing(forge(other, fmt.Sprintf(`{"alg":"RS256","kid":"junk-%d"}`, i), bodyOf(nil))))
		}
		n := k.fetches.Load() - before
		switch { // some may share a fetch that has begun
		case n > 1 && n < junk/2:
			did[name] = "makes a fetch for some of 40 tokens"
		case n > 1:
			did[name] = "makes a fetch for nearly each of 40 tokens"
		default:
			did[name] = [...]string{"makes no fetch for 40 tokens", "makes one fetch for 40 tokens"}[n]
		}
		if name == Ours && n > 1 {
			l.Errorf("%s FAILED: %s", name, did[name])
		}
	}
	return group(remoteKeys, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// down sends a valid token while the key server has never answered.
func down(l *lab) (string, string) {
	did := map[string]string{}
	own := []string{Auth0V3, Ours} // the code around the others chooses their status
	for _, name := range own {
		o := l.fire(&setup{name: name, handler: l.remote(name, l.keyServer(""))}, bearing(l.rs.tokens[Admitted]))
		did[name] = "answers " + fmt.Sprint(o.status)
		if name == Ours && (o.status != http.StatusServiceUnavailable || o.header.Get("Retry-After") == "") {
			l.Errorf("%s FAILED: a key server that is down: %d", name, o.status)
		}
	}
	return group(own, func(name string) (string, bool) { return did[name], false }), did[Ours] + " with Retry-After"
}

func oddKeys(l *lab) (string, string) {
	shots, sets := l.oddShots()
	last := len(shots) - 1
	outcomes := map[string][]outcome{}
	for _, name := range remoteKeys {
		for _, s := range shots {
			o := l.fire(&setup{name: name, handler: l.remote(name, l.keyServer(sets[s.label]))}, s.send)
			if s.fine && !o.admitted {
				l.Errorf("%s refuses %s: %d", name, s.label, o.status)
			}
			if name == Ours {
				l.checkOurs(name, s, o)
			}
			outcomes[name] = append(outcomes[name], o)
		}
		outcomes[name] = outcomes[name][:last]
	}
	return summary(remoteKeys, shots[:last], outcomes), oursIn(shots[:last], outcomes[Ours])
}

// outgoing counts the requests caused by tokens that have the address of a key.
func outgoing(l *lab) (string, string) {
	k := l.keyServer(l.goodSet())
	shots := []shot{
		l.attackers("`jwk`", "jwk"), l.attackers("`jku`", `"jku":"`+k.URL+`"`), l.attackers("`x5u`", `"x5u":"`+k.URL+`"`),
	}
	peers, ours := attack(shots...)(l)
	if n := k.fetches.Load(); n != 0 {
		return fmt.Sprintf("%s; %d requests went to the address in the token", peers, n), ours
	}
	return peers + "; no request goes to the address in the token", ours
}
