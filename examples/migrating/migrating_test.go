package migrating

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	jwtv4 "github.com/golang-jwt/jwt/v4"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"

	auth0v2after "github.com/seed450a7203/jwthttp/examples/migrating/auth0v2/after"
	auth0v2before "github.com/seed450a7203/jwthttp/examples/migrating/auth0v2/before"
	auth0v3after "github.com/seed450a7203/jwthttp/examples/migrating/auth0v3/after"
	auth0v3before "github.com/seed450a7203/jwthttp/examples/migrating/auth0v3/before"
	handafter "github.com/seed450a7203/jwthttp/examples/migrating/byhand/after"
	handbefore "github.com/seed450a7203/jwthttp/examples/migrating/byhand/before"
	echoafter "github.com/seed450a7203/jwthttp/examples/migrating/echojwt/after"
	echobefore "github.com/seed450a7203/jwthttp/examples/migrating/echojwt/before"
	ginafter "github.com/seed450a7203/jwthttp/examples/migrating/ginjwt/after"
	ginbefore "github.com/seed450a7203/jwthttp/examples/migrating/ginjwt/before"
	chiafter "github.com/seed450a7203/jwthttp/examples/migrating/jwtauth/after"
	chibefore "github.com/seed450a7203/jwthttp/examples/migrating/jwtauth/before"
)

const (
	document = "../../docs/migrating.md"
	updates  = "go test -C examples ./migrating -update" // from the root
	audience = "https://api.example"
)

var update = flag.Bool("update", false, "write programs and answers into "+document)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode) // which does not print its routes
	// A key set logs when its context, that of a test, ends.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

// A peer is a folder with a program before and after.
type peer struct {
	folder  string
	column  string // its name in the document's table
	alg     string
	cookie  bool   // it accepts the cookie "jwt", too
	forbids string // its answer to other users than admins after the move; "": it has no such route
	own     string // what its ErrorHandler writes for every refusal, after the move
	own401  string // what its ErrorHandler writes for a 401 only
	before  func(*desk) (http.Handler, error)
	after   func(*desk) (http.Handler, error)
}

var peers = []peer{
	{
		folder: "auth0v2", column: "auth0 v2", alg: "RS256", forbids: "insufficient scope",
		before: func(d *desk) (http.Handler, error) { return auth0v2before.New(d.iss, audience) },
		after:  func(d *desk) (http.Handler, error) { return auth0v2after.New(d.ctx, d.iss, audience) },
	},
	{
		folder: "auth0v3", column: "auth0 v3", alg: "RS256", forbids: "request not allowed",
		before: func(d *desk) (http.Handler, error) { return auth0v3before.New(d.iss, audience) },
		after:  func(d *desk) (http.Handler, error) { return auth0v3after.New(d.ctx, d.iss, audience) },
	},
	{folder: "jwtauth", column: "jwtauth", alg: "HS256", cookie: true, forbids: "request not allowed", before: withSecret(chibefore.New), after: withSecret(chiafter.New)},
	{folder: "echojwt", column: "echo-jwt", alg: "HS256", cookie: true, forbids: `{"message":"admins only"}`, own401: `{"message":"please sign in"}`, before: withSecret(echobefore.New), after: withSecret(echoafter.New)},
	{folder: "ginjwt", column: "gin-jwt", alg: "HS256", cookie: true, forbids: "request not allowed", before: withSecret(ginbefore.New), after: withSecret(ginafter.New)},
	{folder: "byhand", column: "by hand", alg: "HS256", own: "unauthorized", before: withSecret(handbefore.New), after: withSecret(handafter.New)},
}

func withSecret(build func([]byte) (http.Handler, error)) func(*desk) (http.Handler, error) {
	return func(d *desk) (http.Handler, error) { return build(d.secret()) }
}

// A desk issues the tokens for one peer.
type desk struct {
	*jwthttptest.Issuer
	ctx context.Context
	t   *testing.T
	alg string
	iss string
	key []byte // nil: the issuer's own
}

func newDesk(t *testing.T, alg string) *desk {
	d := &desk{Issuer: jwthttptest.Start(t, alg), ctx: t.Context(), t: t, alg: alg}
	d.iss = d.Name()
	if alg == "HS256" {
		d.iss = "https://login.example" // nothing to discover there
	}
	return d
}

// secret returns the HMAC secret of the issuer.
func (d *desk) secret() []byte {
	if d.key != nil {
		return d.key
	}
	key, err := d.Trusted().Keys.KeyfuncCtx(d.ctx)(&jwt.Token{Header: map[string]any{"kid": d.KeyID()}})
	if err != nil {
		d.t.Fatal(err)
	}
	return key.([]byte)
}

// middleware accepts the desk's tokens.
func (d *desk) middleware(place jwthttp.Extractor) *jwthttp.Middleware {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Extractor: place, Issuers: []jwthttp.Issuer{{
		Name: d.iss, Audience: []string{audience}, Algorithms: []string{d.alg}, Keys: d.Trusted().Keys,
	}}})
	if err != nil {
		d.t.Fatal(err)
	}
	return auth
}

type members = map[string]any

// claims returns good claims with changes; nil removes a claim.
func (d *desk) claims(changes members) members {
	now := time.Now()
	c := members{
		"iss": d.iss, "aud": audience, "sub": "alice", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"role": "admin", "org_id": "acme", "scope": "reports:write", "permissions": []string{"write:reports"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (d *desk) token(changes members) string { return d.Sign(nil, d.claims(changes)) }

// unsigned is a token of the algorithm none.
func (d *desk) unsigned() string {
	segment := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			d.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return segment(members{"alg": "none", "typ": "JWT"}) + "." + segment(d.claims(nil)) + "."
}

// A question is a request that both programs of a peer answer.
type question struct {
	name  string // as the document has it
	ask   func(*desk, *http.Request)
	after string // what jwthttp answers: status and error_description, or asBefore
	path  string // "": /me

	anyBody bool // only the status counts

	cookie bool // only for peers that take cookies
	query  bool // only for gin-jwt, whose README has a place in the query
	jwks   bool // only for peers that fetch keys
	scope  bool // only where the program has a route for admins
	org    bool // only where org_id is required
	down   bool // the key server does not answer
}

// asBefore is the answer where jwthttp does not decide: a path that required a
// token still does.
const asBefore = "as before"

func bearer(token func(*desk) string) func(*desk, *http.Request) {
	return func(d *desk, r *http.Request) { r.Header.Set("Authorization", "Bearer "+token(d)) }
}

func with(changes func() members) func(*desk, *http.Request) {
	return bearer(func(d *desk) string { return d.token(changes()) })
}

func withHeader(header members) func(*desk, *http.Request) {
	return bearer(func(d *desk) string { return d.Sign(header, d.claims(nil)) })
}

func claim(name string, value any) func(*desk, *http.Request) {
	return with(func() members { return members{name: value} })
}

func later(name string, d time.Duration) func(*desk, *http.Request) {
	return with(func() members { return members{name: time.Now().Add(d).Unix()} })
}

var questions = []question{
	{name: "a good token", ask: claim("x", 1), after: "200"},
	{name: "a good token behind `bearer`, in lower case", after: "200", ask: func(d *desk, r *http.Request) {
		r.Header.Set("Authorization", "bearer "+d.token(nil))
	}},
	{name: "no token, public route", path: "/public", ask: func(*desk, *http.Request) {}, after: "200"},
	{name: "no token", ask: func(*desk, *http.Request) {}, after: "401 authentication required"},
	{name: "no token, a path without a route", path: "/forgotten", ask: func(*desk, *http.Request) {}, after: asBefore},
	{name: "`Authorization: Basic ...`", after: "401 authentication required", ask: func(_ *desk, r *http.Request) {
		r.SetBasicAuth("alice", "secret")
	}},
	{name: "two `Authorization` lines", after: "400 more than one token", ask: func(d *desk, r *http.Request) {
		r.Header["Authorization"] = []string{"Bearer " + d.token(nil), "Bearer " + d.token(nil)}
	}},
	{name: "not a JWT", ask: bearer(func(*desk) string { return "junk" }), after: "401 malformed token"},
	{name: "`alg: none`", ask: bearer((*desk).unsigned), after: "401 token algorithm not accepted"},
	{name: "signed by another key", after: "401 invalid token signature", ask: bearer(func(d *desk) string {
		return jwthttptest.New(d.t, d.alg).Sign(members{"kid": d.KeyID()}, d.claims(nil))
	})},
	{name: "expired", ask: later("exp", -10*time.Minute), after: "401 token expired"},
	{name: "`nbf` in the future", ask: later("nbf", time.Hour), after: "401 token not valid yet"},
	{name: "`iat` in the future", ask: later("iat", time.Hour), after: "401 token not valid yet"},
	{name: "without `exp`", ask: claim("exp", nil), after: "401 malformed token"},
	{name: "of another `iss`", ask: claim("iss", "https://evil.example"), after: "401 token issuer not accepted"},
	{name: "without `iss`", ask: claim("iss", nil), after: "401 token issuer not accepted"},
	{name: "for another `aud`", ask: claim("aud", "https://shop.example"), after: "401 token is for another audience"},
	{name: "without `aud`", ask: claim("aud", nil), after: "401 token is for another audience"},
	{name: "`typ: dpop+jwt` in the header", ask: withHeader(members{"typ": "dpop+jwt"}), after: "401 token type not accepted"},
	{name: "`crit` in the header", ask: withHeader(members{"crit": []string{"x"}, "x": 1}), after: "401 malformed token"},
	{name: "no `kid` in the header", ask: withHeader(members{"kid": nil}), after: "200", jwks: true},
	{name: "`Sub` and `sub`", ask: claim("Sub", "mallory"), after: "401 malformed token"},
	{name: "`\"sub\": null`", ask: claim("sub", json.RawMessage("null")), after: "200", anyBody: true},
	{name: "without `org_id`, which `Validate` wants", org: true, ask: claim("org_id", nil), after: "401 token claims not accepted"},
	{name: "bound to a key (`cnf`)", ask: claim("cnf", members{"jkt": "x"}), after: "401 token binding not proved"},
	{name: "longer than 8 KiB", ask: claim("x", strings.Repeat("x", 9<<10)), after: "401 token too large"},
	{name: "good, but not of an admin", path: "/reports", scope: true, after: "403", ask: with(func() members {
		return members{"role": "user", "scope": "reports:read", "permissions": nil}
	})},
	{name: "good, in the cookie", cookie: true, after: "200", ask: func(d *desk, r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "jwt", Value: d.token(nil)})
	}},
	{name: "two cookies `jwt`", cookie: true, after: "400 more than one token", ask: func(d *desk, r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "jwt", Value: d.token(nil)})
		r.AddCookie(&http.Cookie{Name: "jwt", Value: d.token(nil)})
	}},
	{name: "expired in the header, good in the cookie", cookie: true, after: "401 token expired", ask: func(d *desk, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+d.token(members{"exp": 1}))
		r.AddCookie(&http.Cookie{Name: "jwt", Value: d.token(nil)})
	}},
	{name: "a POST from another site, by cookie", path: "/reports", cookie: true, after: "403 cross-origin request refused", ask: func(d *desk, r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.AddCookie(&http.Cookie{Name: "jwt", Value: d.token(nil)})
	}},
	{name: "good, in the query", query: true, after: "200", ask: func(d *desk, r *http.Request) {
		r.URL.RawQuery = "token=" + d.token(nil)
	}},
	{name: "the key server is down from the start", jwks: true, down: true, ask: claim("x", 1), after: "503 token cannot be verified at the moment"},
}

// concerns reports whether q is a question for p.
func (q *question) concerns(p *peer) bool {
	return (!q.cookie || p.cookie) && (!q.query || p.folder == "ginjwt") && (!q.jwks || p.alg == "RS256") &&
		(!q.scope || p.forbids != "") && (!q.org || p.folder == "auth0v3")
}

// A reply is what a client sees.
type reply struct {
	status          int
	body, challenge string
}

// answer puts q to a handler behind a socket.
func (q *question) answer(t *testing.T, d *desk, build func(*desk) (http.Handler, error)) reply {
	t.Helper()
	d.Down(q.down)
	defer d.Down(false)
	handler, err := build(d)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	method, path := http.MethodGet, "/me"
	if q.path != "" {
		path = q.path
	}
	if path == "/reports" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.ask(d, r)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, strings.TrimSpace(string(body)), resp.Header.Get("WWW-Authenticate")}
}

// text is the status with the error_description, or with the whole body if it
// is not a refusal by jwthttp and nothing else.
func (r reply) text() string {
	var refusal struct {
		Description string `json:"error_description"`
	}
	if json.Unmarshal([]byte(r.body), &refusal) == nil && refusal.Description != "" {
		return fmt.Sprint(r.status, " ", refusal.Description)
	}
	return fmt.Sprint(r.status, " ", r.body)
}

// wanted is the text of what p after the move should answer.
func (q *question) wanted(p *peer) string {
	switch {
	case q.after == "200" && q.path == "/public":
		return "200 welcome"
	case q.after == "200":
		return "200 alice"
	case q.after == "403":
		return "403 " + p.forbids
	case p.own != "":
		return q.after[:3] + " " + p.own
	case p.own401 != "" && strings.HasPrefix(q.after, "401"):
		return "401 " + p.own401
	}
	return q.after
}

// answers are what the programs before the move said, by folder and question.
type answers map[string]map[string]reply

// askAll checks the answers of the programs after the move, and returns those of
// the programs before it.
func askAll(t *testing.T) answers {
	all := answers{}
	for _, p := range peers {
		d := newDesk(t, p.alg)
		all[p.folder] = map[string]reply{}
		for _, q := range questions {
			if !q.concerns(&p) {
				continue
			}
			was, got := q.answer(t, d, p.before), q.answer(t, d, p.after)
			all[p.folder][q.name] = was
			if q.after == asBefore {
				if got.status != was.status {
					t.Errorf("%s, %s: jwthttp answers %d, was %d", p.folder, q.name, got.status, was.status)
				}
				continue
			}
			if want := q.wanted(&p); got.text() != want && !(q.anyBody && got.status == http.StatusOK) {
				t.Errorf("%s, %s: jwthttp answers %d %q, want %s", p.folder, q.name, got.status, got.body, want)
			}
		}
	}
	return all
}

// table returns a row for each question that some peer answers with another
// status than jwthttp. A bold status is a request that jwthttp refuses.
func (a answers) table() string {
	var b strings.Builder
	var same []string
	b.WriteString("| request | jwthttp |")
	for _, p := range peers {
		b.WriteString(" " + p.column + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(peers)) + "\n")
	for _, q := range questions {
		row, differs := "| "+q.name+" | "+q.after+" |", false
		for _, p := range peers {
			status := fmt.Sprint(a[p.folder][q.name].status)
			differs = differs || status != "0" && status != q.after[:3]
			switch {
			case status == "0":
				status = "–"
			case status == "200" && q.after[:3] != "200":
				status = "**200**"
			}
			row += " " + status + " |"
		}
		if differs {
			b.WriteString(row + "\n")
		} else {
			same = append(same, q.name+" ("+q.after[:3]+")")
		}
	}
	b.WriteString("\nNo difference in: " + strings.Join(same, "; ") + ".\n")
	return b.String()
}

// bodies returns the refusals of each peer.
func (a answers) bodies() string {
	var b strings.Builder
	b.WriteString("| | no token | an expired token | its challenge |\n|---|---|---|---|\n")
	for _, p := range peers {
		missing, expired := a[p.folder]["no token"], a[p.folder]["expired"]
		if expired.challenge == "" {
			expired.challenge = "–"
		} else {
			expired.challenge = "`" + expired.challenge + "`"
		}
		fmt.Fprintf(&b, "| %s | %d `%s` | %d `%s` | %s |\n",
			p.column, missing.status, missing.body, expired.status, expired.body, expired.challenge)
	}
	return b.String()
}

func TestDocument(t *testing.T) {
	all := askAll(t)
	blocks := map[string]string{
		"answers": all.table(),
		"bodies":  all.bodies(),
	}
	for _, name := range []string{"shadow", "bridge", "encode", "secrets"} {
		blocks[name] = "```go\n" + strings.Join(program(t, name+".go"), "\n") + "\n```\n"
	}
	for _, p := range peers {
		blocks[p.folder] = "```diff\n" + diff(program(t, p.folder+"/before/api.go"), program(t, p.folder+"/after/api.go")) + "```\n"
	}
	was, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	is := string(was)
	for name, block := range blocks {
		begin, end := "<!-- "+name+": "+updates+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(is, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s: no place for %q", document, name)
		}
		is = before + begin + block + end + after
	}
	if is == string(was) {
		return
	}
	if !*update {
		t.Errorf("%s is not what the programs are and answer:\n%s\n%s writes it anew",
			document, diff(strings.Split(string(was), "\n"), strings.Split(is, "\n")), updates)
		return
	}
	if err := os.WriteFile(document, []byte(is), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDocument_versions(t *testing.T) {
	page, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	intro, _, _ := strings.Cut(string(page), "\n## ")
	for _, module := range []string{
		"auth0/go-jwt-middleware/v2", "auth0/go-jwt-middleware/v3", "go-chi/jwtauth/v5", "labstack/echo-jwt/v4",
		"labstack/echo/v4", "appleboy/gin-jwt/v2", "gin-gonic/gin", "golang-jwt/jwt/v5",
	} {
		_, rest, _ := strings.Cut(string(modules), "\tgithub.com/"+module+" ")
		if version, _, _ := strings.Cut(rest, "\n"); version == "" || !strings.Contains(intro, version) {
			t.Errorf("%s: go.mod has %q, and the page does not", module, version)
		}
	}
}

func TestGin_queryToken(t *testing.T) {
	d := newDesk(t, "HS256")
	build := withSecret(ginafter.New)
	handler, err := build(d)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/me?token=" + d.token(nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "private" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestNew_shortSecret(t *testing.T) {
	for _, p := range peers {
		if p.alg != "HS256" {
			continue
		}
		short := func(build func(*desk) (http.Handler, error)) error {
			d := &desk{key: []byte("secret")}
			_, err := build(d)
			return err
		}
		if err := short(p.before); err != nil {
			t.Errorf("%s: %v", p.folder, err)
		}
		if err := short(p.after); err == nil || !strings.Contains(err.Error(), "at least 32") {
			t.Errorf("%s: jwthttp says %v", p.folder, err)
		}
	}
}

func TestTokens_issuerAndAudience(t *testing.T) {
	d := newDesk(t, "HS256")
	for _, issuer := range []struct {
		name  string
		token func(members) (string, error)
	}{
		{"gin-jwt's LoginHandler and TokenGenerator", func(claims members) (string, error) {
			login, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
				Key: d.secret(), PayloadFunc: func(any) ginjwt.MapClaims { return ginjwt.MapClaims(claims) },
			})
			if err != nil {
				return "", err
			}
			token, _, err := login.TokenGenerator(nil)
			return token, err
		}},
		{"jwtauth's Encode", func(claims members) (string, error) {
			jwtauth.SetExpiryIn(claims, time.Hour)
			_, token, err := jwtauth.New("HS256", d.secret(), nil).Encode(claims)
			return token, err
		}},
	} {
		for _, claims := range []members{
			{"sub": "alice"},
			{"sub": "alice", "iss": d.iss, "aud": audience},
		} {
			q := question{ask: bearer(func(*desk) string {
				text, err := issuer.token(claims)
				if err != nil {
					t.Fatal(err)
				}
				return text
			})}
			want := http.StatusUnauthorized
			if claims["iss"] != nil {
				want = http.StatusOK
			}
			if got := q.answer(t, d, withSecret(ginafter.New)); got.status != want {
				t.Errorf("%s, %v: %v, want %d", issuer.name, claims, got, want)
			}
		}
	}
}

func TestJWTAuth_verifierAlone(t *testing.T) {
	auth := jwtauth.New("HS256", []byte("secret"), nil)
	q := question{ask: bearer(func(*desk) string { return "junk" })}
	got := q.answer(t, newDesk(t, "HS256"), func(*desk) (http.Handler, error) {
		return jwtauth.Verifier(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _, err := jwtauth.FromContext(r.Context())
			fmt.Fprint(w, "let in: ", err)
		})), nil
	})
	if got.status != http.StatusOK || got.body != "let in: token is unauthorized" {
		t.Error(got)
	}
}

func TestBothMiddlewares(t *testing.T) {
	for _, p := range peers {
		d := newDesk(t, p.alg)
		around := func(place jwthttp.Extractor) func(*desk) (http.Handler, error) {
			return func(d *desk) (http.Handler, error) {
				old, err := p.before(d)
				return d.middleware(place).Handler(old), err
			}
		}
		q := question{ask: claim("x", 1)}
		if got := q.answer(t, d, around(nil)); got.status != http.StatusOK || got.body != "alice" {
			t.Errorf("%s, good: %v", p.folder, got)
		}
		q.ask = claim("exp", nil)
		if got := q.answer(t, d, around(nil)); got.status != http.StatusUnauthorized || !strings.Contains(got.body, "error_description") {
			t.Errorf("%s, without exp: %v", p.folder, got)
		}
		if p.folder != "ginjwt" {
			continue
		}
		q.ask = func(d *desk, r *http.Request) { r.URL.RawQuery = "token=" + d.token(nil) }
		if got := q.answer(t, d, around(jwthttp.FromQuery("token"))); got.status != http.StatusUnauthorized || !strings.Contains(got.body, "is empty") {
			t.Errorf("a query token is not gone for the inner one: %v", got)
		}
	}
}

func TestEncode(t *testing.T) {
	d := newDesk(t, "HS256")
	q := question{ask: bearer(func(d *desk) string {
		token, err := Encode(d.secret(), "alice", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token
	})}
	if got := q.answer(t, d, withSecret(chiafter.New)); got.status != http.StatusOK || got.body != "alice" {
		t.Error(got)
	}
}

func TestBridge(t *testing.T) {
	d := newDesk(t, "HS256")
	const day = 24 * time.Hour
	build := func(maxAge time.Duration) func(*desk) (http.Handler, error) {
		return withSecret(func(secret []byte) (http.Handler, error) {
			auth, err := Bridge(secret, maxAge)
			if err != nil {
				return nil, err
			}
			return auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, jwthttp.MustClaims[BridgeClaims](r.Context()).Subject)
			})), nil
		})
	}
	bare := func(changes members) func(*desk, *http.Request) {
		return with(func() members {
			c := members{"iss": nil, "aud": nil, "exp": nil}
			maps.Copy(c, changes)
			return c
		})
	}
	for _, tt := range []struct {
		name   string
		maxAge time.Duration
		ask    func(*desk, *http.Request)
		want   string
	}{
		{"a new token", day, bare(members{"iss": d.iss, "aud": audience, "exp": time.Now().Add(time.Hour).Unix()}), "200 alice"},
		{"an old token", day, bare(nil), "200 alice"},
		{"an old token with exp", day, bare(members{"exp": time.Now().Add(time.Hour).Unix()}), "200 alice"},
		{"an expired token", day, bare(members{"exp": time.Now().Add(-time.Hour).Unix()}), "401 token expired"},
		{"an old token past maxAge", day, bare(members{"iat": time.Now().Add(-25 * time.Hour).Unix()}), "401 token too old"},
		{"an old token without iat", day, bare(members{"iat": nil}), "401 token too old"},
		{"another issuer", day, bare(members{"iss": "https://evil.example"}), "401 token claims not accepted"},
		{"another audience", day, bare(members{"aud": "https://shop.example"}), "401 token claims not accepted"},
		{"without maxAge, a token without iat", 0, bare(members{"iat": nil, "exp": time.Now().Add(time.Hour).Unix()}), "200 alice"},
		{"without maxAge, a token without exp", 0, bare(nil), "401 malformed token"},
	} {
		q := question{name: tt.name, ask: tt.ask}
		if got := q.answer(t, d, build(tt.maxAge)); got.text() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.text(), tt.want)
		}
	}
}

func TestSecrets(t *testing.T) {
	now, before := bytes.Repeat([]byte("n"), 32), bytes.Repeat([]byte("b"), 32)
	keys := Secrets(now, before)
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example", Audience: []string{audience}, Algorithms: []string{"HS256"}, Keys: jwthttp.Keyfunc(keys),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		secret []byte
		good   bool
	}{
		{"the new secret", now, true},
		{"the previous secret", before, true},
		{"another secret", bytes.Repeat([]byte("x"), 32), false},
	} {
		token, err := Encode(tt.secret, "alice", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Verify(t.Context(), token); (err == nil) != tt.good {
			t.Errorf("jwthttp, %s: %v", tt.name, err)
		}
		if _, err := jwt.Parse(token, keys, jwt.WithValidMethods([]string{"HS256"})); (err == nil) != tt.good {
			t.Errorf("golang-jwt, %s: %v", tt.name, err)
		}
	}
}

// The old libraries can verify with two secrets, as the document says.
func TestSecrets_oldLibraries(t *testing.T) {
	secret, short := bytes.Repeat([]byte("n"), 32), []byte("secret")
	changed := time.Now()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	echoServer := echo.New()
	echoServer.Use(echojwt.WithConfig(echojwt.Config{KeyFunc: Secrets(secret, short)}))
	echoServer.GET("/me", echo.WrapHandler(ok))
	ginServer := gin.New()
	ginAuth, err := ginjwt.New(&ginjwt.GinJWTMiddleware{Key: secret, KeyFunc: func(token *jwtv4.Token) (any, error) {
		if issued, _ := token.Claims.(jwtv4.MapClaims)["orig_iat"].(float64); int64(issued) < changed.Unix() {
			return short, nil
		}
		return secret, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ginServer.GET("/me", ginAuth.MiddlewareFunc(), gin.WrapH(ok))
	current, previous := jwtauth.New("HS256", secret, nil), jwtauth.New("HS256", short, nil)
	chiServer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := jwtauth.VerifyRequest(current, r, jwtauth.TokenFromHeader)
		if err != nil {
			token, err = jwtauth.VerifyRequest(previous, r, jwtauth.TokenFromHeader)
		}
		jwtauth.Authenticator(current)(ok).ServeHTTP(w, r.WithContext(jwtauth.NewContext(r.Context(), token, err)))
	})
	d := newDesk(t, "HS256")
	for _, library := range []struct {
		name    string
		handler http.Handler
	}{{"echo-jwt", echoServer}, {"gin-jwt", ginServer}, {"jwtauth", chiServer}} {
		for _, tt := range []struct {
			name   string
			secret []byte
			issued time.Time
			want   int
		}{
			{"the new secret", secret, changed, 200},
			{"the short secret", short, changed.Add(-time.Minute), 200},
			{"another secret", bytes.Repeat([]byte("x"), 32), changed, 401},
		} {
			q := question{ask: bearer(func(d *desk) string {
				token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(d.claims(members{"orig_iat": tt.issued.Unix()}))).SignedString(tt.secret)
				if err != nil {
					t.Fatal(err)
				}
				return token
			})}
			if got := q.answer(t, d, func(*desk) (http.Handler, error) { return library.handler, nil }); got.status != tt.want {
				t.Errorf("%s, %s: %v, want %d", library.name, tt.name, got, tt.want)
			}
		}
	}
}

// A short secret from a Keyfunc is refused for each token, not by New.
func TestSecrets_short(t *testing.T) {
	auth, err := jwthttp.New[jwt.MapClaims](jwthttp.Options{Issuers: []jwthttp.Issuer{{
		Name: "https://login.example", Audience: []string{audience}, Algorithms: []string{"HS256"},
		Keys: jwthttp.Keyfunc(Secrets(bytes.Repeat([]byte("n"), 32), []byte("secret"))),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := Encode([]byte("secret"), "alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.Verify(t.Context(), token); err == nil {
		t.Error("a token of a short secret was admitted")
	}
}

func TestShadow(t *testing.T) {
	d := newDesk(t, "ES256")
	auth := d.middleware(nil)
	for _, tt := range []struct {
		name    string
		changes members
		want    string // of the log; "": nothing
	}{
		{"a token that both admit", nil, ""},
		{"a token without exp", members{"exp": nil}, `msg="jwthttp would refuse" reason=malformed method=GET path=/me`},
		{"an expired token", members{"exp": 1}, `reason=expired`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			shadow := Shadow(auth, slog.New(slog.NewTextHandler(&log, nil)))
			mux := http.NewServeMux()
			mux.Handle("GET /me", shadow(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, claims := jwthttp.ClaimsFromContext[jwt.MapClaims](r.Context())
				fmt.Fprint(w, "let in, claims: ", claims)
			})))
			q := question{ask: with(func() members { return tt.changes })}
			got := q.answer(t, d, func(*desk) (http.Handler, error) { return mux, nil })
			if got.status != http.StatusOK || got.body != "let in, claims: false" {
				t.Error(got)
			}
			if text := log.String(); !strings.Contains(text, tt.want) || tt.want == "" && text != "" || strings.Contains(text, "eyJ") {
				t.Errorf("log is %q, want %q", text, tt.want)
			}
		})
	}
}
