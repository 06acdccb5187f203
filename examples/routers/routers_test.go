package main

import (
	"crypto/rand"
	"crypto/sha256"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

var secret = func() []byte {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret)
	return secret
}()

// token signs alice's claims, of acme and with the scope, after change.
func token(t *testing.T, change func(*Claims)) string {
	t.Helper()
	claims := Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "alice",
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Tenant: "acme",
		Scope:  "orders:write",
	}
	if change != nil {
		change(&claims)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + signed
}

func tenant(name string) func(*Claims) { return func(c *Claims) { c.Tenant = name } }

func mustAuth(t *testing.T) *jwthttp.Middleware {
	t.Helper()
	auth, err := newAuth(secret)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// count returns the number of orders, which shows whether the handler ran.
func (o *orders) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.tenants)
}

func (o *orders) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tenants[len(o.tenants)-1]
}

func serve(t *testing.T, handler http.Handler) (url string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // without the panics of the tests
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// listen serves with fiber's own server.
func listen(t *testing.T, app *fiber.App) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		// Closing the listener ends it even if it has not begun to serve.
		if err := app.ShutdownWithTimeout(5 * time.Second); err != nil {
			t.Error(err)
		}
		listener.Close()
		<-ended
	})
	return "http://" + listener.Addr().String()
}

// onAll runs test against each router, and against fiber's own server too.
func onAll(t *testing.T, auth *jwthttp.Middleware, test func(t *testing.T, name, url string, o *orders)) {
	for _, name := range slices.Sorted(maps.Keys(routers)) {
		t.Run(name, func(t *testing.T) {
			o := new(orders)
			test(t, name, serve(t, routers[name](auth, o)), o)
		})
	}
	t.Run("fiber's own server", func(t *testing.T) {
		o := new(orders)
		test(t, "fiber", listen(t, newFiber(auth, o)), o)
	})
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. It follows no redirect.
func ask(t *testing.T, method, url string, authorization ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"] = authorization
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestRouters(t *testing.T) {
	const (
		ownOrders    = "/tenants/acme/orders"
		missing      = `Bearer realm="restricted"`
		invalidToken = `Bearer realm="restricted", error="invalid_token", error_description="`
		noScope      = `Bearer realm="restricted", error="insufficient_scope", error_description="insufficient scope", scope="orders:write"`
		forbidden    = `{"error":"forbidden","error_description":"request not allowed","reason":"forbidden"}`
	)
	good := token(t, nil)
	expired := token(t, func(c *Claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) })
	elsewhere := token(t, func(c *Claims) { c.Audience = jwt.ClaimStrings{"https://other.example"} })
	reader := token(t, func(c *Claims) { c.Scope = "orders:read" })
	notFound, noMethod := []int{404}, []int{404, 405}
	tests := []struct {
		name, method, path, authorization string
		status                            []int // the router's own answers differ
		challenge, body                   string
		placed                            bool
	}{
		{"health without a token", "GET", "/health", "", []int{200}, "", "healthy", false},
		{"health with an expired token", "GET", "/health", expired, []int{200}, "", "healthy", false},
		{"a good token", "GET", "/me", good, []int{200}, "", "alice of acme", false},
		{"a good token and a query", "GET", "/me?a=b&c=%26", good, []int{200}, "", "alice of acme", false},
		{"no token", "GET", "/me", "", []int{401}, missing, `"missing"`, false},
		{"a foreign scheme", "GET", "/me", "Basic YTpi", []int{401}, missing, `"missing"`, false},
		{"an expired token", "GET", "/me", expired, []int{401}, invalidToken, "expired", false},
		{"a token for another audience", "GET", "/me", elsewhere, []int{401}, invalidToken, "audience", false},
		{"an altered token", "GET", "/me", good[:len(good)-4] + "AAAA", []int{401}, invalidToken, "signature", false},
		{"a broken credential", "GET", "/me", "Bearer a b", []int{400}, `Bearer realm="restricted", error="invalid_request"`, "invalid_request", false},

		{"an order for her tenant", "POST", ownOrders, good, []int{201}, "", "for acme by alice", true},
		{"an order for another tenant", "POST", "/tenants/globex/orders", good, []int{403}, "", forbidden, false},
		{"an order without the scope", "POST", ownOrders, reader, []int{403}, noScope, "insufficient_scope", false},
		{"an order without scope and tenant", "POST", "/tenants/globex/orders", reader, []int{403}, noScope, "insufficient_scope", false},
		{"an order without a token", "POST", ownOrders, "", []int{401}, missing, `"missing"`, false},
		{"an order with an expired token", "POST", ownOrders, expired, []int{401}, invalidToken, "expired", false},
		{"an order by a token without a tenant", "POST", ownOrders, token(t, tenant("")), []int{403}, "", forbidden, false},
		{"an order for another tenant, with ours in the query", "POST", "/tenants/globex/orders?tenant=acme&:tenant=acme", good, []int{403}, "", forbidden, false},
		{"an order for her tenant, with another in the query", "POST", ownOrders + "?tenant=globex", good, []int{201}, "", "for acme", true},

		{"an unknown path with a token", "GET", "/nothing", good, notFound, "", "", false},
		{"an unknown path without one", "GET", "/nothing", "", []int{401, 404}, "*", "", false},
		{"a wrong method with a token", "DELETE", "/me", good, noMethod, "", "", false},
		{"a wrong method without one", "DELETE", "/me", "", []int{401, 404, 405}, "*", "", false},
		{"a GET of orders", "GET", ownOrders, good, noMethod, "", "", false},
		{"HEAD with a token", "HEAD", "/me", good, []int{200, 404, 405}, "", "", false},
		{"HEAD without one", "HEAD", "/me", "", []int{401, 404, 405}, "*", "", false},
	}
	onAll(t, mustAuth(t), func(t *testing.T, _, url string, o *orders) {
		for _, test := range tests {
			var authorization []string
			if test.authorization != "" {
				authorization = []string{test.authorization}
			}
			before := o.count()
			got := ask(t, test.method, url+test.path, authorization...)
			challenge := got.header.Get("WWW-Authenticate")
			if !slices.Contains(test.status, got.status) || !strings.Contains(got.body, test.body) {
				t.Errorf("%s: %d %q, want %d %q", test.name, got.status, got.body, test.status, test.body)
			}
			if test.challenge != "*" && (!strings.HasPrefix(challenge, test.challenge) || test.challenge == "" && challenge != "") {
				t.Errorf("%s: challenge %q, want %q", test.name, challenge, test.challenge)
			}
			if got.status == 401 && (challenge == "" || len(got.header.Values("WWW-Authenticate")) != 1) {
				t.Errorf("%s: challenges %q", test.name, got.header.Values("WWW-Authenticate"))
			}
			if refused := got.status == 400 || got.status == 401 || got.status == 403; refused &&
				(got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json") {
				t.Errorf("%s: headers %v", test.name, got.header)
			}
			if placed := o.count() > before; placed != test.placed {
				t.Errorf("%s: the handler ran: %t", test.name, placed)
			}
		}
	})
}

// spellings are paths that some router, proxy or file system considers equal.
var spellings = []string{
	"/tenants/TENANT/orders",
	"/tenants/TENANT/orders/",
	"/tenants/TENANT//orders",
	"/tenants//TENANT/orders",
	"//tenants/TENANT/orders",
	"/TENANTS/TENANT/orders",
	"/tenants/TENANT/ORDERS",
	"/tenants/acme/../TENANT/orders",
	"/tenants/acme/%2e%2e/TENANT/orders",
	"/tenants/acme%2F..%2FTENANT/orders",
	"/tenants/TENANT%2F..%2Facme/orders",
	"/tenants/acme/orders/../../TENANT/orders",
	"/./tenants/./TENANT/./orders",
	"/tenants%2FTENANT%2Forders",
	"/tenants/TENANT%2Forders",
	"/tenants/TENANT%00/orders",
	"/tenants/acme%00TENANT/orders",
	"/tenants/TENANT%20/orders",
	"/tenants/TENANT./orders",
	"/tenants/TENANT;acme/orders",
	"/tenants/acme;TENANT/orders",
	"/tenants/acme,TENANT/orders",
	"/tenants/acme%5C..%5CTENANT/orders",
	"/tenants/TENANT%3Facme/orders",
	"/tenants/TENANT%23acme/orders",
	"/tenants/TENANT/orders?tenant=acme",
	"/tenants/acme%0d%0aTENANT/orders",
	"/tenants//orders",
	"/tenants/%20/orders",
	"/tenants/./orders",
	"/tenants/../orders",
}

// escapings of a name's last letter.
func escapings(name string) []string {
	start, last := name[:len(name)-1], name[len(name)-1]
	const digits = "0123456789abcdef"
	hex := string([]byte{digits[last>>4], digits[last&15]})
	return []string{name, start + "%" + hex, start + "%25" + hex, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]}
}

func TestRouters_pathSpellings(t *testing.T) {
	tokens := map[string]string{}
	for _, own := range []string{"acme", "", "..", " ", "acme/../globex"} {
		tokens[own] = token(t, tenant(own))
	}
	var paths []string
	for _, spelling := range spellings {
		for _, other := range append(escapings("globex"), escapings("acme")...) {
			paths = append(paths, strings.ReplaceAll(spelling, "TENANT", other))
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	onAll(t, mustAuth(t), func(t *testing.T, _, url string, o *orders) {
		for own, authorization := range tokens {
			for _, path := range paths {
				before := o.count()
				got := ask(t, "POST", url+path, authorization)
				placed := o.count() > before
				if placed != (got.status == 201) || placed && (o.last() != own || own == "") {
					t.Errorf("%s with a token of %q: %d, placed: %t, orders %q", path, own, got.status, placed, got.body)
				}
			}
		}
		if o.count() == 0 {
			t.Error("no spelling was the right one")
		}
	})
}

// A router that does not decode a parameter shows the encoded form to both rule
// and handler, so the request is refused.
func TestRouters_encodedParameters(t *testing.T) {
	for _, test := range []struct {
		path, tenant string
		admittedBy   []string
	}{
		{"/tenants/ac%6De/orders", "acme", []string{"gin", "gorilla", "httprouter", "servemux"}},
		{"/tenants/ac%6De/orders", "ac%6De", []string{"chi", "echo", "fiber"}},
		{"/tenants/a%2Fb/orders", "a/b", []string{"servemux"}},
		{"/tenants/a%2Fb/orders", "a%2Fb", []string{"chi", "echo", "fiber"}},
		{"/tenants/a%252Fb/orders", "a/b", nil}, // decoded twice
		{"/tenants/ACME/orders", "acme", nil},
	} {
		authorization := token(t, tenant(test.tenant))
		onAll(t, mustAuth(t), func(t *testing.T, name, url string, o *orders) {
			got := ask(t, "POST", url+test.path, authorization)
			want := slices.Contains(test.admittedBy, name)
			if admitted := got.status == 201; admitted != want || admitted != (o.count() == 1) || admitted && o.last() != test.tenant {
				t.Errorf("%s with a token of %q: %d %q, want it admitted: %t", test.path, test.tenant, got.status, got.body, want)
			}
		})
	}
}

func TestRouters_verifyOnce(t *testing.T) {
	var asked atomic.Int32
	auth, err := jwthttp.New[Claims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: issuer, Audience: []string{audience}, Algorithms: []string{"HS256"},
		Keys: jwthttp.Keyfunc(func(*jwt.Token) (any, error) { asked.Add(1); return secret, nil }),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	good := token(t, nil)
	onAll(t, auth, func(t *testing.T, _, url string, _ *orders) {
		asked.Store(0)
		if got := ask(t, "POST", url+"/tenants/acme/orders", good); got.status != 201 || asked.Load() != 1 {
			t.Errorf("%d, and the key was asked for %d times", got.status, asked.Load())
		}
	})
}

// Without Config.Immutable, later requests overwrite fiber's parameters.
func TestRouters_keptParameters(t *testing.T) {
	good := token(t, nil)
	onAll(t, mustAuth(t), func(t *testing.T, _, url string, o *orders) {
		ask(t, "POST", url+"/tenants/acme/orders", good)
		for range 20 {
			ask(t, "POST", url+"/tenants/globex/orders", good)
		}
		if o.count() != 1 || o.last() != "acme" {
			t.Errorf("%d orders, for %q", o.count(), o.last())
		}
	})
}

func TestRouters_twoCredentials(t *testing.T) {
	good := token(t, nil)
	other := token(t, tenant("globex"))
	onAll(t, mustAuth(t), func(t *testing.T, _, url string, o *orders) {
		got := ask(t, "POST", url+"/tenants/acme/orders", good, other)
		if strings.HasSuffix(t.Name(), "/fiber") { // adaptor.FiberApp shows the last one only
			if got.status != 403 || o.count() > 0 {
				t.Errorf("%d: the last credential does not decide", got.status)
			}
			return
		}
		if got.status != 400 || !strings.Contains(got.body, "invalid_request") || o.count() > 0 {
			t.Errorf("%d %q", got.status, got.body)
		}
	})
}

// The handler panics, because orders is nil. The server must see the panic and
// close the connection.
func TestRouters_panic(t *testing.T) {
	for name, router := range routers {
		t.Run(name, func(t *testing.T) {
			url := serve(t, router(mustAuth(t), nil))
			r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/tenants/acme/orders", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", token(t, nil))
			if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
				resp.Body.Close()
				t.Errorf("status %d", resp.StatusCode)
			}
			if got := ask(t, "GET", url+"/me", token(t, nil)); got.status != 200 {
				t.Errorf("afterwards: %d", got.status)
			}
		})
	}
}

func TestProgram(t *testing.T) {
	for _, name := range []string{"servemux", "gin", "fiber"} { // gin and fiber like to print
		t.Run(name, func(t *testing.T) {
			program := exampletest.Start(t, "-router", name)
			if got := program.Status(t, "GET", "/health"); got != 200 {
				t.Errorf("health: %d", got)
			}
			if got := program.Status(t, "GET", "/me"); got != 401 {
				t.Errorf("no token: %d", got)
			}
			program.PasteLines(t)
			program.End(t)
		})
	}
}
