package benchmarks

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	auth0v2 "github.com/auth0/go-jwt-middleware/v2"
	validatorv2 "github.com/auth0/go-jwt-middleware/v2/validator"
	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	jwksv3 "github.com/auth0/go-jwt-middleware/v3/jwks"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	"github.com/go-jose/go-jose/v4"
	jwtv4 "github.com/golang-jwt/jwt/v4"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	jwxv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxv3 "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/seed450a7203/jwthttp"
)

var update = flag.Bool("update", false, "write the measured table into docs/security.md")

const threatsDoc = "../docs/security.md"

// threat is a row of the table in docs/security.md.
type threat struct {
	attack string
	// measure returns what the peers and jwthttp did; nil: not tested.
	measure func(l *lab) (peers, ours string)
	note    string // about jwthttp, in words
	tests   string // of jwthttp, that show it: names, separated by spaces
}

// The table is measured, and the document must say what was measured.
func TestTheThreatTableSaysWhatWasMeasured(t *testing.T) {
	l := newLab(t)
	tests := testFunctions(t)
	var table strings.Builder
	fmt.Fprintf(&table, "Measured with %s.\n\n", strings.Join(versions(t), ", "))
	table.WriteString("| attack or mistake | what the peers do | what jwthttp does | test |\n|---|---|---|---|\n")
	for _, row := range l.threats() {
		l.row = row.attack
		peers, ours := "not tested", ""
		if row.measure != nil {
			peers, ours = row.measure(l)
		}
		ours = strings.Trim(ours+"; "+row.note, "; ")
		var links []string
		for _, name := range strings.Fields(row.tests) {
			file, ok := tests[name]
			if !ok {
				t.Errorf("%s: no test is called %s", row.attack, name)
			}
			links = append(links, fmt.Sprintf("[%s](../%s)", name, file))
		}
		if len(links) == 0 {
			t.Errorf("%s: no test", row.attack)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", row.attack, peers, ours, strings.Join(links, ", "))
	}
	compareDoc(t, table.String())
}

// threats are the rows, in the order of the table: forged tokens, tokens for
// another use, tokens that parsers read differently, requests, answers, keys,
// and what a memory of tokens may get wrong.
func (l *lab) threats() []threat {
	return slices.Concat(l.forgeries(), l.misuses(), l.differentials(), l.requests(), l.answers(), l.keys(), l.memories())
}

func (l *lab) forgeries() []threat {
	return []threat{
		{"`alg` none, in any spelling, or none at all",
			attack(l.none()...),
			"`New` refuses none", "TestHeaders TestNewReportsEachProblem"},
		{"RS256 to HS256, with the public key's PEM, DER or JWK as the secret",
			attack(l.confusion()...),
			"an issuer cannot have HMAC beside public keys", "TestAlgorithmConfusionIsRefused"},
		{"Another algorithm, for which the same key would fit",
			attack(l.otherAlgorithms()...),
			"`Algorithms` has no default", "TestHeaders TestNewReportsEachProblem"},
		{"A public key configured as the HMAC secret",
			attack(l.publicAsSecret()...),
			"from a key function: 401 `algorithm`", "TestAlgorithmConfusionIsRefused TestNewReportsEachProblem"},
		{"A weak HMAC secret",
			attack(
				l.secretly("`secret`", []byte("secret")),
				l.secretly("31 bytes", bytes.Repeat([]byte("s"), 31)),
				l.secretly("an empty one", []byte{}),
			),
			"less than the hash's 32, 48 or 64 bytes; what is long and guessable passes", "TestNewReportsEachProblem TestKeysThatDoNotFitTheAlgorithmAreRefused"},
		{"A small RSA key",
			attack(l.weakRSA()),
			"less than 2048 bits; also an exponent that is even or below 3", "TestNewReportsEachProblem TestKeysThatDoNotFitTheAlgorithmAreRefused"},
		{"Signed by another issuer's key of the same `kid`",
			attack(l.attackers("it", "")),
			"each `Issuer` has keys of its own", "TestEachIssuerHasItsOwnKeys"},
		{"A key in the token, or the address of one (`jwk`, `jku`, `x5u`): forgery, SSRF",
			outgoing,
			"never read", "TestKeysInsideATokenAreNeverUsed"},
		{"`kid` as path, SQL or line break, over an empty secret",
			attack(l.kids()...),
			"looked up in a map; controls are refused, logs get it quoted and cut", "TestHeaders TestAKeySetWantsItsKid TestErrorsQuoteTokensSafely"},
		{"Signature checks with a time that depends on the secret",
			nil,
			"HMACs are compared by golang-jwt in constant time; refusals that need no secret come earlier, so times do tell which check refused; times are not tested", "TestJudgementsComeInOrder"},
	}
}

func (l *lab) misuses() []threat {
	hour := func(n time.Duration) int64 { return time.Now().Add(n * time.Hour).Unix() }
	typed := func(typ string) shot { return l.withMember("`"+typ+"`", `"typ":"`+typ+`"`) }
	return []threat{
		{"For another service (`aud`)",
			attack(
				l.with("another", map[string]any{"aud": "https://prices.example.com"}),
				l.with("missing", map[string]any{"aud": nil}),
				l.with("empty list", map[string]any{"aud": []string{}}),
				l.with("ours with a slash", map[string]any{"aud": audienceName + "/"}),
				l.with("a number", map[string]any{"aud": 1}),
			),
			"`Audience` has no default", "TestIssuerAndAudience"},
		{"From another issuer (`iss`)",
			attack(
				l.with("another", map[string]any{"iss": "https://evil.example/"}),
				l.with("missing", map[string]any{"iss": nil}),
				l.with("ours without the slash", map[string]any{"iss": strings.TrimSuffix(issuerName, "/")}),
				l.with("ours in upper case", map[string]any{"iss": strings.ToUpper(issuerName)}),
				l.with("a list", map[string]any{"iss": []string{issuerName}}),
			),
			"`Name` has no default", "TestIssuerAndAudience"},
		{"Of another kind by its `typ`",
			attack(typed("logout+jwt"), typed("dpop+jwt"), typed("secevent+jwt")),
			"an ID token is told apart by `typ` only if the issuer sends at+jwt: then set `Types`", "TestHeaders TestAcceptedTypesCanBeListed"},
		{"Another service's or issuer's token, or one without `exp`, and the shortest set-up of the README",
			attackOn(minimal, l.foreign()...),
			"there is no shorter set-up", "TestNewReportsEachProblem"},
		{"Without `exp`",
			attack(l.with("it", map[string]any{"exp": nil})),
			"`NoExpiry` waives it", "TestTimes"},
		{"Expired",
			attack(
				l.with("by an hour", map[string]any{"exp": hour(-1)}),
				l.with("by 30 s", map[string]any{"exp": time.Now().Add(-30 * time.Second).Unix()}),
			),
			"`Leeway` is 0 unless set, 5 min at most", "TestTimes TestATokenSeenBeforeIsJudgedAgain"},
		{"`exp` that is no date",
			attack(
				l.with("text", map[string]any{"exp": fmt.Sprint(hour(1))}),
				l.with("null", map[string]any{"exp": json.RawMessage("null")}),
				l.with("1e300", map[string]any{"exp": json.RawMessage("1e300")}),
				l.with("-1", map[string]any{"exp": -1}),
			),
			"", "TestTimes"},
		{"`nbf` in ten years",
			attack(l.with("it", map[string]any{"nbf": hour(87600)})),
			"", "TestTimes"},
		{"`iat` in ten years",
			attack(l.with("it", map[string]any{"iat": hour(87600), "exp": hour(87601)})),
			"", "TestTimes"},
		{"A sender-constrained token (`cnf`) as a bearer token",
			attack(
				l.with("`jkt`", map[string]any{"cnf": map[string]string{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
				l.with("`x5t#S256`", map[string]any{"cnf": map[string]string{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
			),
			"the proof cannot be checked yet, so no such token passes", "TestABoundTokenIsNoBearerToken"},
	}
}

func (l *lab) differentials() []threat {
	sub := "," + strings.TrimPrefix(bodyOf(map[string]any{"sub": nil}), "{")
	return []threat{
		{"Expired for one parser, valid for the next",
			attack(l.duplicates()...),
			"one name twice, or twice but for case, at any depth", "TestPayloads FuzzAuthenticate"},
		{"Two subjects in one token",
			attack(
				l.rawBody("`sub` twice", `{"sub":"alice","sub":"root"`+sub),
				l.rawBody("`sub` and `SUB`", `{"sub":"alice","SUB":"root"`+sub),
				l.rawBody("`sub` and `\u017fub`", `{"sub":"alice","`+"\u017f"+`ub":"root"`+sub),
			),
			"", "TestPayloads FuzzClaims"},
		{"`crit`, `b64`, `zip`: extensions that change what is signed",
			attack(
				l.withMember("unknown `crit`", `"crit":["x"],"x":1`),
				l.withMember("empty `crit`", `"crit":[]`),
				l.withMember("`crit` of `b64`", `"crit":["b64"],"b64":true`),
				l.withMember("`b64: false`", `"b64":false`),
				l.withMember("`zip`", `"zip":"DEF"`),
			),
			"", "TestHeaders"},
		{"A good signature under a header that says otherwise",
			attack(l.headers()...),
			"", "TestHeaders"},
		{"JWE, or JSON serialisation, in place of a compact JWS",
			attack(l.notCompact()...),
			"", "TestCompactSerialisation"},
		{"Another spelling of a good signature's base64",
			attack(l.spellings()...),
			"so a token has one spelling, where the algorithm gives its signature but one", "TestCompactSerialisation FuzzDecode"},
		{"Another ECDSA signature made of a good one (r, n-s)",
			attack(l.mirrored()),
			"it is a good signature; but a revocation ends every spelling, since it goes by `jti` or by the fingerprint of what is signed", "TestRevokeTokenEndsEverySpelling"},
	}
}

func (l *lab) requests() []threat {
	return []threat{
		{"Two Authorization lines, or two tokens in one: a proxy goes by another than we do",
			attack(l.twoFields()...),
			"", "TestBearerCredentialsInTheAuthorizationField"},
		{"Two cookies of one name (a sibling domain can set the second)",
			attackOn(inCookie, l.twoCookies()...),
			"", "TestTokensInCookies"},
		{"Two places: header and cookie, header and query",
			nil,
			"`OnlyOne` refuses both with 400; `FirstOf` never falls through a bad one", "TestOnlyOnePlaceMayHaveACredential TestTheFirstPlaceWithACredentialDecides"},
		{"CSRF: a cross-site POST with a cookie token",
			attackOn(inCookie, l.crossSite()),
			"on by default, by `net/http.CrossOriginProtection`; without the fields of a browser it passes", "TestTokensThatABrowserSendsUnaskedAreGuarded"},
		{"Cross-site WebSocket upgrade with a cookie token",
			attackOn(inCookie, l.webSocket()),
			"the library that upgrades may look at Origin as well", "TestTokensThatABrowserSendsUnaskedAreGuarded"},
		{"A token in the query, seen by logs, handlers and Referer",
			leaks,
			"proxies and middlewares before it have seen it", "TestAQueryTokenLeavesTheRequest TestAQueryTokenLeavesAFormThatWasParsedBefore"},
		{"A bad token where a token is optional: does the handler run?",
			attackOn(optional, l.badForOptional()...),
			"", "TestOptionalAdmitsAMissingTokenOnly"},
		{"A token of 16 KiB, well signed",
			attack(l.token("it", l.rs, l.rs.tokens[Large])),
			"`MaxTokenSize`, 8 KiB unless set", "TestEveryAcceptedSizeIsWithinTheLimit"},
		{"Huge garbage, within what net/http reads (1 MiB)",
			attack(l.sized()...),
			"", "TestHugeCredentialsCostNothing"},
		{"... and the memory that it takes",
			memory,
			"", "TestHugeCredentialsCostNothing"},
	}
}

func (l *lab) answers() []threat {
	return []threat{
		{"Claims, `alg` or `kid` in the answer: header injection, open errors",
			openErrors,
			"", "TestNothingOfATokenReachesTheClient TestChallenges"},
		{"What the client reads about a bad signature",
			texts,
			"one fixed text per Reason", "TestNothingOfATokenReachesTheClient TestEveryReasonHasItsAnswer"},
		{"The token in logs, through `%+v` or JSON of what the library hands out",
			nil,
			"no type of ours prints it; `Token.Raw` returns it", "TestTheRawTokenIsNeverPrinted TestErrorsHaveNoSecretsFromURLs TestPrintingKeysShowsNone"},
	}
}

func (l *lab) keys() []threat {
	return []threat{
		{"A key set's keys for other uses, or unfit ones",
			oddKeys,
			"nor oct keys; each is skipped alone, the others work", "TestWhichKeysOfASetAreUsed"},
		{"Hammering the key server through junk `kid`s",
			hammering,
			"one fetch per `MinInterval`, and none within it", "TestJunkKeysCauseAtMostOneFetchPerMinInterval TestKnownKeysNeverWaitForAFetch"},
		{"The key server is down from the start: is the token to blame?",
			down,
			"later the last good keys serve, for `MaxStale`", "TestDownAtStart TestDownLater TestFaultsOfAKeyServer"},
		{"A key server that lies: redirects, HTML, huge or slow answers",
			nil,
			"keeps the old keys; https only, beyond loopback", "TestRefusedAnswersKeepTheOldKeys TestWhereKeysMustNotComeFrom"},
	}
}

func (l *lab) memories() []threat {
	return []threat{
		{"A key replaced while tokens are remembered",
			withdrawn,
			"with `CacheSize`; a key set over HTTP notices at its next fetch, 15 min later at most", "TestACachedTokenEndsWithItsKey TestAWithdrawnKeyEndsItsTokens"},
		{"A logged-out token",
			nil,
			"refuses, 401 `revoked`, if `Revoked` is set; if it fails, 503 unless `FailOpen`", "TestTheRevocationHook TestWhatARevocationEnds TestTheListAgreesWithAModel"},
		{"Claims of another request, through a shared cache or by changing them",
			nil,
			"each request has copies, maps and slices too", "TestCachedClaimsAreEachRequestsOwn TestClaimsAndTokenAreTheRequestsOwn FuzzCache"},
		{"Filling the memory of tokens",
			nil,
			"bounded by number and by bytes; only verified tokens enter", "TestACacheKeepsWithinItsBounds TestOnlyHeadersOfVerifiedTokensAreRemembered"},
	}
}

func compareDoc(t *testing.T, table string) {
	const begin, end = "<!-- threats: written by go test -run Threat -update, in benchmarks -->\n", "<!-- threats: end -->\n"
	doc, err := os.ReadFile(threatsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table, between\n%s%s", threatsDoc, begin, end)
	}
	if old == table {
		return
	}
	if *update {
		if err := os.WriteFile(threatsDoc, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	had := strings.Split(old, "\n")
	for _, line := range strings.Split(table, "\n") {
		if !slices.Contains(had, line) {
			t.Errorf("%s differs; measured:\n%s", threatsDoc, line)
		}
	}
	t.Errorf("%s is not what was measured: see the rows above, then go test -run Threat -update", threatsDoc)
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testFunctions returns the files of the repository's tests, by function.
func testFunctions(t *testing.T) map[string]string {
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(filepath.Join("..", path))
		for _, match := range testFunction.FindAllSubmatch(text, -1) {
			name := string(match[1])
			if before, ok := found[name]; !ok || strings.Count(path, "/") < strings.Count(before, "/") {
				found[name] = path
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// versions are those of the peers' modules, out of go.mod.
func versions(t *testing.T) (list []string) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{
		"golang-jwt/jwt/v5", "MicahParks/keyfunc/v3", "auth0/go-jwt-middleware/v2", "auth0/go-jwt-middleware/v3", "go-chi/jwtauth/v5",
		"labstack/echo-jwt/v4", "appleboy/gin-jwt/v2", "coreos/go-oidc/v3", "lestrrat-go/jwx/v3", "go-jose/go-jose/v4", "modelcontextprotocol/go-sdk",
	} {
		match := regexp.MustCompile(`(?m)^\tgithub\.com/` + regexp.QuoteMeta(module) + ` (v\S+)$`).FindSubmatch(text)
		if match == nil {
			t.Fatalf("go.mod does not require %s", module)
		}
		list = append(list, regexp.MustCompile(`/v\d+$`).ReplaceAllString(module, "")+" "+string(match[1]))
	}
	return list
}

// setup is a guarded handler, ready to be attacked.
type setup struct {
	name    string
	handler http.Handler // nil: it refused its configuration
	server  *httptest.Server
}

// shot is one request of an attack.
type shot struct {
	label string
	f     *Fixture // what the contenders are configured with
	send  func(*http.Request)
	// fine means that jwthttp admits it too, and why is in the row's note.
	fine bool
}

// outcome is what became of a shot.
type outcome struct {
	admitted, crashed, atStart, unknown bool // unknown: the contender lacks the algorithm
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

// lab fires shots, each over a socket.
type lab struct {
	*testing.T
	rs, hs, es *Fixture
	client     *http.Client
	built      map[*Fixture][]*setup
	row        string // that is being measured, for messages
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

// admit is the guarded handler. It tells whether it can see a token in the URL.
var admit = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(admittedField, "yes")
	if strings.Contains(r.URL.RawQuery+r.RequestURI, "jwt=") {
		w.Header().Set(inURLField, "yes")
	}
	w.WriteHeader(http.StatusNoContent)
})

const crashed = 599

// survive turns a panic into a status. That a claim is not the one that was
// sent (expect) means that the request was admitted.
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

// fire sends a request to a set-up, whose server lives as long as the test.
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

// isPeer leaves out ourselves, and naive-cache, which is no library.
func isPeer(name string) bool { return name != "naive-cache" && !strings.HasPrefix(name, Ours) }

// contenders builds all of them, once, as contenders.go and peers.go configure them.
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

// attack is a row whose shots go to all contenders.
func attack(shots ...shot) func(*lab) (string, string) {
	return func(l *lab) (string, string) {
		var names []string
		for _, c := range Contenders() {
			names = append(names, c.Name)
		}
		return l.volley(names, shots, func(s shot) []*setup { return l.contenders(s.f) })
	}
}

// attackOn is a row whose shots go to set-ups of its own.
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

// volley fires all shots at all set-ups, twice at ours: a token must fare the
// same when it was seen before.
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
		l.Errorf("%s: %s does not know the algorithm of %s", l.row, name, s.label)
	case o.admitted != s.fine:
		l.Errorf("%s: %s DID NOT WITHSTAND %q: admitted %t, status %d", l.row, name, s.label, o.admitted, o.status)
	case !o.admitted && !o.atStart && (o.status < 400 || o.status > 499):
		l.Errorf("%s: %s answers %q with %d", l.row, name, s.label, o.status)
	}
}

// oursIn says what jwthttp did, with the Reason that its texts stand for.
func oursIn(shots []shot, outcomes []outcome) string {
	var refusals, fine []string
	for i, o := range outcomes {
		if shots[i].fine {
			fine = append(fine, shots[i].label)
			continue
		}
		text := o.refusal()
		if !o.atStart {
			text += " `" + reasonIn(o.body) + "`"
		}
		if !slices.Contains(refusals, text) {
			refusals = append(refusals, text)
		}
	}
	var parts []string
	if len(refusals) > 0 {
		parts = append(parts, "refuses, "+strings.Join(refusals, ", "))
	}
	if len(fine) > 0 {
		parts = append(parts, "admits "+strings.Join(fine, ", "))
	}
	return strings.Join(parts, "; ")
}

// reasonIn finds the Reason of a refusal by its description, which WriteError
// has for each Reason alone.
func reasonIn(body string) string {
	for _, reason := range []jwthttp.Reason{
		jwthttp.ReasonMissing, jwthttp.ReasonMalformed, jwthttp.ReasonMultiple, jwthttp.ReasonTooLarge, jwthttp.ReasonAlgorithm,
		jwthttp.ReasonType, jwthttp.ReasonIssuer, jwthttp.ReasonAudience, jwthttp.ReasonExpired, jwthttp.ReasonNotYetValid,
		jwthttp.ReasonUnknownKey, jwthttp.ReasonSignature, jwthttp.ReasonBinding, jwthttp.ReasonRevoked, jwthttp.ReasonCrossOrigin,
		jwthttp.ReasonKeysUnavailable,
	} {
		for _, code := range []string{"", "invalid_token", "invalid_request"} {
			w := httptest.NewRecorder()
			jwthttp.WriteError(w, &jwthttp.Error{Status: 401, Code: code, Reason: reason})
			if w.Body.String() == body {
				return string(reason)
			}
		}
	}
	return "?"
}

// summary says what the peers did, those that did the same together.
func summary(names []string, shots []shot, outcomes map[string][]outcome) string {
	var phrases []string
	did := map[string][]string{}
	admits := map[string]bool{}
	for _, name := range names {
		if !isPeer(name) {
			continue
		}
		phrase, admitted := sayOutcomes(shots, outcomes[name])
		if phrase == "" {
			continue
		}
		if did[phrase] == nil {
			phrases = append(phrases, phrase)
		}
		did[phrase] = append(did[phrase], name)
		admits[phrase] = admitted
	}
	return joinGroups(phrases, did, admits)
}

// joinGroups has those who admit first, and calls the largest group of the
// refusing "others".
func joinGroups(phrases []string, did map[string][]string, admits map[string]bool) string {
	others := ""
	for _, phrase := range phrases {
		if !admits[phrase] && (others == "" || len(did[phrase]) > len(did[others])) {
			others = phrase
		}
	}
	total := 0
	for _, names := range did {
		total += len(names)
	}
	many := total > 7 // with fewer, say who was there at all
	if len(phrases) == 1 && many {
		return "all " + plural(phrases[0], 2)
	}
	slices.SortStableFunc(phrases, func(a, b string) int {
		rank := map[bool]int{true: 0, false: 1}
		if a == others || b == others {
			return map[bool]int{true: 1, false: -1}[a == others]
		}
		return rank[admits[a]] - rank[admits[b]]
	})
	var parts []string
	for _, phrase := range phrases {
		who := strings.Join(did[phrase], ", ")
		n := len(did[phrase])
		if phrase == others && n > 2 && many {
			who = "others"
		}
		parts = append(parts, who+" "+plural(phrase, n))
	}
	return strings.Join(parts, "; ")
}

var verbs = map[string]string{
	"admits": "admit", "refuses": "refuse", "crashes": "crash", "leaves": "leave", "takes": "take", "sends": "send",
	"makes": "make", "allocates": "allocate", "answers": "answer",
}

// plural has the verb for n who do it.
func plural(phrase string, n int) string {
	verb, rest, _ := strings.Cut(phrase, " ")
	comma := strings.HasSuffix(verb, ",")
	verb = strings.TrimSuffix(verb, ",")
	if n > 1 {
		if many, ok := verbs[verb]; ok {
			verb = many
		}
	}
	if comma {
		verb += ","
	}
	return strings.TrimSuffix(verb+" "+rest, " ")
}

// sayOutcomes tells what one contender did about all shots of a row.
func sayOutcomes(shots []shot, outcomes []outcome) (phrase string, admitted bool) {
	var passed, refusals []string
	known := 0
	for i, o := range outcomes {
		switch {
		case o.unknown:
			continue
		case o.admitted:
			passed = append(passed, shots[i].label)
		case !slices.Contains(refusals, o.refusal()):
			refusals = append(refusals, o.refusal())
		}
		known++
	}
	slices.Sort(refusals)
	switch {
	case known == 0:
		return "", false
	case len(passed) == known:
		return "admits", true
	case len(passed) > 0:
		return "admits " + strings.Join(passed, ", "), true
	}
	return "refuses, " + strings.Join(refusals, "/"), false
}

// The forger's tools.

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge signs any two texts with f's key.
func forge(f *Fixture, header, body string) string {
	return forgeWith(f.method, f.signing, header, body)
}

func forgeWith(method jwt.SigningMethod, key any, header, body string) string {
	signed := segment(header) + "." + segment(body)
	signature, err := method.Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// headerOf is a good header with one more member, if there is one.
func headerOf(f *Fixture, member string) string {
	if member != "" {
		member = "," + member
	}
	return `{"alg":"` + f.Alg + `","kid":"` + keyID + `"` + member + `}`
}

// bodyOf is the good payload with claims replaced, added or (nil) left out.
func bodyOf(changes map[string]any) string {
	claims := payload()
	for name, v := range changes {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// with is the good token but for some claims, well signed.
func (l *lab) with(label string, changes map[string]any) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, ""), bodyOf(changes)))}
}

// withMember is the good token with one more header member, well signed.
func (l *lab) withMember(label, member string) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, member), bodyOf(nil)))}
}

// rawBody is a payload as text, well signed.
func (l *lab) rawBody(label, body string) shot {
	return shot{label: label, f: l.rs, send: bearing(forge(l.rs, headerOf(l.rs, ""), body))}
}

func (l *lab) token(label string, f *Fixture, token string) shot {
	return shot{label: label, f: f, send: bearing(token)}
}

func (l *lab) none() (shots []shot) {
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", ""} {
		shots = append(shots, l.token(fmt.Sprintf("`%q`", alg), l.rs, segment(`{"alg":"`+alg+`"}`)+"."+segment(bodyOf(nil))+"."))
	}
	return shots
}

// headers are well signed, whatever they say.
func (l *lab) headers() (shots []shot) {
	for _, header := range []string{
		`{"typ":"JWT"}`, `{"alg":"none"}`, `{"alg":"RS256","alg":"none"}`, `{"alg":"none","alg":"RS256"}`, `{"alg":"RS256","Alg":"none"}`,
	} {
		shots = append(shots, l.token("`"+header+"`", l.rs, forge(l.rs, header, bodyOf(nil))))
	}
	return shots
}

// clothes are spellings of an RSA public key that may end up as an HMAC secret.
func (l *lab) clothes() (labels []string, secrets [][]byte) {
	public := l.rs.Verifying.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		l.Fatal(err)
	}
	jwk, err := jose.JSONWebKey{Key: public}.MarshalJSON()
	if err != nil {
		l.Fatal(err)
	}
	return []string{"PEM", "DER", "JWK"}, [][]byte{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), der, jwk}
}

func (l *lab) confusion() (shots []shot) {
	labels, secrets := l.clothes()
	for i, secret := range secrets {
		shots = append(shots, l.token(labels[i], l.rs, forgeWith(jwt.SigningMethodHS256, secret, `{"alg":"HS256"}`, bodyOf(nil))))
	}
	return shots
}

// secretly is a good token under the configured secret: the mistake is the secret.
func (l *lab) secretly(label string, secret []byte) shot {
	f := &Fixture{Alg: "HS256", Verifying: secret, signing: secret, method: jwt.SigningMethodHS256}
	return l.token(label, f, forge(f, headerOf(f, ""), bodyOf(nil)))
}

func (l *lab) publicAsSecret() (shots []shot) {
	labels, secrets := l.clothes()
	for i, secret := range secrets {
		shots = append(shots, l.secretly(labels[i], secret))
	}
	return shots
}

func (l *lab) weakRSA() shot {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		l.Fatal(err)
	}
	f := &Fixture{Alg: "RS256", Verifying: &key.PublicKey, signing: key, method: jwt.SigningMethodRS256}
	return l.token("1024 bits", f, forge(f, headerOf(f, ""), bodyOf(nil)))
}

func (l *lab) otherAlgorithms() (shots []shot) {
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		shots = append(shots, l.token(m.Alg()+" for RS256", l.rs, forgeWith(m, l.rs.signing, `{"alg":"`+m.Alg()+`"}`, bodyOf(nil))))
	}
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		shots = append(shots, l.token(m.Alg()+" for HS256", l.hs, forgeWith(m, l.hs.signing, `{"alg":"`+m.Alg()+`"}`, bodyOf(nil))))
	}
	return shots
}

// attackers has the fixture of an issuer that nobody trusts, with our kid.
func (l *lab) attackers(label, member string) shot {
	other := newFixture(l.T, "RS256")
	if member == "jwk" {
		jwk, err := jose.JSONWebKey{Key: other.Verifying, KeyID: keyID, Algorithm: "RS256"}.MarshalJSON()
		if err != nil {
			l.Fatal(err)
		}
		member = `"jwk":` + string(jwk)
	}
	return l.token(label, l.rs, forge(other, headerOf(other, member), bodyOf(nil)))
}

// kids are forged tokens whose "kid" wants to be a path, a query or a log line.
func (l *lab) kids() (shots []shot) {
	for _, kid := range []string{`../../dev/null`, `' UNION SELECT '' --`, `a\r\nSet-Cookie: a=b`, `a\u0000`} {
		header := `{"alg":"HS256","kid":"` + kid + `"}`
		shots = append(shots, l.token("`"+kid+"`", l.hs, forgeWith(jwt.SigningMethodHS256, []byte{}, header, bodyOf(nil))))
	}
	return shots
}

// duplicates are tokens that expired for some readers and not for others.
func (l *lab) duplicates() []shot {
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	rest := "," + strings.TrimPrefix(bodyOf(map[string]any{"exp": nil}), "{")
	two := func(label, a string, x int64, b string, y int64) shot {
		return l.rawBody(label, fmt.Sprintf(`{"%s":%d,"%s":%d`, a, x, b, y)+rest)
	}
	return []shot{
		two("past `exp` before future `exp`", "exp", past, "exp", future),
		two("future `exp` before past `exp`", "exp", future, "exp", past),
		two("past `exp` before future `Exp`", "exp", past, "Exp", future),
		two("future `Exp` before past `exp`", "Exp", future, "exp", past),
	}
}

func (l *lab) spellings() []shot {
	good := forge(l.rs, headerOf(l.rs, ""), bodyOf(nil))
	// 256 bytes leave two bits over in the last character of the signature.
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := good[:len(good)-1] + string(digits[strings.IndexByte(digits, good[len(good)-1])+1])
	return []shot{l.token("other spare bits", l.rs, spare), l.token("padding", l.rs, good+"=="), l.token("a dot more", l.rs, good+".")}
}

// mirrored is another signature that verifies as well: (r, n-s).
func (l *lab) mirrored() shot {
	token := l.es.tokens[Admitted]
	i := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		l.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	again := l.token("it", l.es, token[:i]+base64.RawURLEncoding.EncodeToString(signature))
	again.fine = true
	return again
}

// notCompact are serialisations that are no compact JWS.
func (l *lab) notCompact() []shot {
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: l.rs.Verifying},
		(&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		l.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(bodyOf(nil)))
	if err != nil {
		l.Fatal(err)
	}
	jwe, err := object.CompactSerialize()
	if err != nil {
		l.Fatal(err)
	}
	parts := strings.Split(forge(l.rs, headerOf(l.rs, ""), bodyOf(nil)), ".")
	asJSON := fmt.Sprintf(`{"protected":"%s","payload":"%s","signature":"%s"}`, parts[0], parts[1], parts[2])
	return []shot{l.token("JWE", l.rs, jwe), l.token("JWS as JSON", l.rs, asJSON), l.token("base64 of that JSON", l.rs, segment(asJSON))}
}

// twoFields have the good token beside one that another party would go by.
func (l *lab) twoFields() []shot {
	good, bad := l.rs.tokens[Admitted], l.rs.tokens[Expired]
	fields := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	return []shot{
		{label: "good line before bad line", f: l.rs, send: fields("Bearer "+good, "Bearer "+bad)},
		{label: "bad line before good line", f: l.rs, send: fields("Bearer "+bad, "Bearer "+good)},
		{label: "Basic line before good line", f: l.rs, send: fields("Basic dTpw", "Bearer "+good)},
		{label: "joined by a comma", f: l.rs, send: fields("Bearer " + good + ", Bearer " + bad)},
	}
}

func (l *lab) sized() []shot {
	return []shot{
		l.token("900 KiB of letters", l.rs, strings.Repeat("A", 900<<10)),
		l.token("500 KiB of dots", l.rs, strings.Repeat(".", 500<<10)),
		l.token("500 KiB of nested arrays", l.rs, segment(headerOf(l.rs, ""))+"."+segment(`{"a":`+strings.Repeat("[", 370<<10))+".AAAA"),
		l.token("500 KiB of header members", l.rs, segment(`{"alg":"RS256"`+strings.Repeat(`,"a":{}`, 53<<10)+"}")+"."+segment(bodyOf(nil))+".AAAA"),
	}
}

// memory tells who allocates more than 16 times the size of a hostile request.
// The least of those have 25 times, the most of the others 9.
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
				l.Errorf("%s DID NOT WITHSTAND %q: %d bytes allocated", c.name, s.label, n)
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

// allocated is for the second request: the first may fill pools.
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

// group is summary for what is told in words. notable ones come first.
func group(names []string, say func(string) (phrase string, notable bool)) string {
	var phrases []string
	did, notable := map[string][]string{}, map[string]bool{}
	for _, name := range names {
		if !isPeer(name) {
			continue
		}
		phrase, first := say(name)
		if phrase == "" {
			continue
		}
		if did[phrase] == nil {
			phrases = append(phrases, phrase)
		}
		did[phrase], notable[phrase] = append(did[phrase], name), first
	}
	return joinGroups(phrases, did, notable)
}

// ownAnswers are the peers that answer by themselves; the others' refusals are
// written by the code around them, which is ours.
var ownAnswers = []string{Auth0, Auth0V3, "chi/jwtauth", "echo-jwt", "gin-jwt", "MCP-go-sdk"}

const marker = "marker7f3a"

// talk are tokens with something in them that must not come back.
func (l *lab) talk() []shot {
	return []shot{
		l.with("iss", map[string]any{"iss": marker + "\"\r\nX-Injected: 1"}),
		l.with("aud", map[string]any{"aud": marker + "\", scope=\"all"}),
		l.with("exp", map[string]any{"exp": marker}),
		l.with("sub", map[string]any{"sub": map[string]string{marker: marker}}),
		l.token("alg", l.rs, forge(l.rs, `{"alg":"`+marker+`"}`, bodyOf(nil))),
		l.token("kid", l.rs, forge(newFixture(l.T, "RS256"), `{"alg":"RS256","kid":"`+marker+`\r\nX-Injected: 1"}`, bodyOf(nil))),
		l.token("garbage", l.rs, marker),
	}
}

// openErrors tells who repeats what a token says, in body or header fields.
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
					l.Errorf("%s DID NOT WITHSTAND: it repeats %s", c.name, s.label)
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

// texts quotes what is said about a token that has expired.
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

// Set-ups of other kinds than the contenders'.

func (l *lab) validators() (*validatorv2.Validator, *validatorv3.Validator) {
	v2, err := validatorv2.New(func(context.Context) (any, error) { return l.rs.Verifying, nil }, validatorv2.RS256, issuerName, []string{audienceName})
	if err != nil {
		l.Fatal(err)
	}
	v3, err := validatorv3.New(validatorv3.WithKeyFunc(func(context.Context) (any, error) { return l.rs.Verifying, nil }),
		validatorv3.WithAlgorithm(validatorv3.RS256), validatorv3.WithIssuer(issuerName), validatorv3.WithAudience(audienceName))
	if err != nil {
		l.Fatal(err)
	}
	return v2, v3
}

func (l *lab) chi() *jwtauth.JWTAuth {
	return jwtauth.New("RS256", l.rs.signing, l.rs.Verifying,
		jwxv2.WithIssuer(issuerName), jwxv2.WithAudience(audienceName), jwxv2.WithRequiredClaim(jwxv2.ExpirationKey))
}

func (l *lab) must(h http.Handler, err error) http.Handler {
	if err != nil {
		l.Fatal(err)
	}
	return h
}

// inCookie and inQuery take the token from a cookie or parameter called jwt,
// each by the means that the library has for that.
func inCookie(l *lab) []*setup {
	return l.placed("cookie", auth0v2.CookieTokenExtractor("jwt"), auth0v3.CookieTokenExtractor("jwt"), jwtauth.TokenFromCookie,
		jwxv3.WithCookieKey("jwt"), jwthttp.FromCookie("jwt"))
}

func inQuery(l *lab) []*setup {
	return l.placed("query", auth0v2.ParameterTokenExtractor("jwt"), auth0v3.ParameterTokenExtractor("jwt"), jwtauth.TokenFromQuery,
		jwxv3.WithFormKey("jwt"), jwthttp.FromQuery("jwt"))
}

func (l *lab) placed(place string, e2 auth0v2.TokenExtractor, e3 auth0v3.TokenExtractor, find func(*http.Request) string, key jwxv3.ParseOption, ours jwthttp.Extractor) []*setup {
	v2, v3 := l.validators()
	m3, err := auth0v3.New(auth0v3.WithValidator(v3), auth0v3.WithTokenExtractor(e3))
	if err != nil {
		l.Fatal(err)
	}
	jwx := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := jwxv3.ParseRequest(r, jwxv3.WithKey(jwa.RS256(), l.rs.Verifying), jwxv3.WithIssuer(issuerName), jwxv3.WithAudience(audienceName), key); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
	opts := CachedOptions(l.rs, 16)
	opts.Extractor = ours
	m, err := jwthttp.New[Claims](opts)
	if err != nil {
		l.Fatal(err)
	}
	ja := l.chi()
	return []*setup{
		{name: Auth0, handler: auth0v2.New(v2.ValidateToken, auth0v2.WithTokenExtractor(e2)).CheckJWT(admit)},
		{name: Auth0V3, handler: m3.CheckJWT(admit)},
		{name: "chi/jwtauth", handler: jwtauth.Verify(ja, find)(jwtauth.Authenticator(ja)(admit))},
		{name: "echo-jwt", handler: l.placedEcho(place + ":jwt")},
		{name: "gin-jwt", handler: l.placedGin(place + ":jwt")},
		{name: "jwx-v3", handler: jwx},
		{name: Ours, handler: m.Handler(admit)},
	}
}

func (l *lab) placedEcho(lookup string) http.Handler {
	m, err := echojwt.Config{SigningKey: l.rs.Verifying, SigningMethod: "RS256", TokenLookup: lookup}.ToMiddleware()
	if err != nil {
		l.Fatal(err)
	}
	e := echo.New()
	e.Use(m)
	e.Any("/", echo.WrapHandler(admit))
	return e
}

func (l *lab) placedGin(lookup string) http.Handler {
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		KeyFunc:     func(*jwtv4.Token) (any, error) { return l.rs.Verifying, nil },
		TokenLookup: lookup,
	})
	if err != nil {
		l.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(m.MiddlewareFunc())
	e.Any("/", gin.WrapH(admit))
	return e
}

func cookies(value string, change ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Cookie", value)
		for _, f := range change {
			f(r)
		}
	}
}

// evil are the fields that a browser sends with another site's request.
func evil(r *http.Request) {
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
}

func (l *lab) crossSite() shot {
	post := func(r *http.Request) { r.Method = http.MethodPost }
	return shot{label: "it", f: l.rs, send: cookies("jwt="+l.rs.tokens[Admitted], post, evil)}
}

func (l *lab) webSocket() shot {
	upgrade := func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	return shot{label: "it", f: l.rs, send: cookies("jwt="+l.rs.tokens[Admitted], upgrade, evil)}
}

func (l *lab) twoCookies() []shot {
	good, bad := "jwt="+l.rs.tokens[Admitted], "jwt="+l.rs.tokens[Expired]
	return []shot{
		{label: "good first", f: l.rs, send: cookies(good + "; " + bad)},
		{label: "bad first", f: l.rs, send: cookies(bad + "; " + good)},
	}
}

// leaks tells who leaves a query token where logs and Referer fields find it.
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
			did[s.name] = "takes it out of URL and RequestURI, with `no-referrer` and `private` on the response"
		default:
			did[s.name] = "does something else"
		}
	}
	if !strings.HasPrefix(did[Ours], "takes") {
		l.Errorf("%s DID NOT WITHSTAND: a query token: %s", Ours, did[Ours])
	}
	return group(names, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// minimal are the first examples of the READMEs that are shorter than our
// contenders, for HS256; jwthttp's has all that must be there.
func minimal(l *lab) []*setup {
	ja := jwtauth.New("HS256", l.hs.Verifying, nil)
	e := echo.New()
	e.Use(echojwt.JWT(l.hs.Verifying))
	e.Any("/", echo.WrapHandler(admit))
	m, err := ginjwt.New(&ginjwt.GinJWTMiddleware{Key: l.hs.Verifying.([]byte)})
	if err != nil {
		l.Fatal(err)
	}
	g := gin.New()
	g.Use(m.MiddlewareFunc())
	g.Any("/", gin.WrapH(admit))
	jwx := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := jwxv3.ParseRequest(r, jwxv3.WithKey(jwa.HS256(), l.hs.Verifying)); err != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
	h, err := ours(l.hs, admit)
	return []*setup{
		{name: "chi/jwtauth", handler: jwtauth.Verifier(ja)(jwtauth.Authenticator(ja)(admit))}, {name: "echo-jwt", handler: e}, {name: "gin-jwt", handler: g}, {name: "jwx-v3", handler: jwx},
		{name: Ours, handler: survive(l.must(h, err))},
	}
}

// foreign are tokens of one secret that is used for two services.
func (l *lab) foreign() (shots []shot) {
	for _, change := range []struct {
		label  string
		claims map[string]any
	}{
		{"another `aud`", map[string]any{"aud": "https://prices.example.com"}},
		{"another `iss`", map[string]any{"iss": "https://evil.example/"}},
		{"no `exp`", map[string]any{"exp": nil}},
	} {
		shots = append(shots, l.token(change.label, l.hs, forge(l.hs, headerOf(l.hs, ""), bodyOf(change.claims))))
	}
	return shots
}

// optional admits visitors without a token, where a library has a switch for it.
func optional(l *lab) []*setup {
	v2, v3 := l.validators()
	m3, err := auth0v3.New(auth0v3.WithValidator(v3), auth0v3.WithCredentialsOptional(true))
	if err != nil {
		l.Fatal(err)
	}
	m, err := jwthttp.New[Claims](CachedOptions(l.rs, 16))
	if err != nil {
		l.Fatal(err)
	}
	return []*setup{
		{name: Auth0, handler: auth0v2.New(v2.ValidateToken, auth0v2.WithCredentialsOptional(true)).CheckJWT(admit)},
		{name: Auth0V3, handler: m3.CheckJWT(admit)},
		{name: "chi/jwtauth's Verifier without Authenticator", handler: jwtauth.Verifier(l.chi())(admit)},
		{name: Ours, handler: m.Optional().Handler(admit)},
	}
}

func (l *lab) badForOptional() []shot {
	return []shot{
		l.token("expired", l.rs, l.rs.tokens[Expired]), l.token("badly signed", l.rs, l.rs.tokens[Signature]), l.token("garbage", l.rs, "x"),
		{label: "`Bearer` without a token", f: l.rs, send: func(r *http.Request) { r.Header.Set("Authorization", "Bearer") }},
		{label: "two lines with the first empty (as a visitor)", f: l.rs, send: func(r *http.Request) {
			r.Header["Authorization"] = []string{"", "Bearer " + l.rs.tokens[Expired]}
		}},
	}
}

// withdrawn tells who admits a token after its key was replaced. It goes to
// those whose set-up asks for the key with each request, and to naive-cache.
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
			l.Errorf("%s refuses the good token", name)
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
	h, err := GuardOurs(opts, func(c Claims) string { return c.Role }, admit)
	try(Ours, &f, l.must(h, err))
	if did[Ours] != "refuses, 401" {
		l.Errorf("%s DID NOT WITHSTAND: a withdrawn key: %s", Ours, did[Ours])
	}
	return "naive-cache " + did["naive-cache"] + "; " + group(names, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// keyServer serves a key set, or nothing good.
type keyServer struct {
	*httptest.Server
	set     string
	fetches atomic.Int64
}

func (l *lab) keyServer(set string) *keyServer {
	k := &keyServer{set: set}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.fetches.Add(1)
		if k.set == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, k.set)
	}))
	l.Cleanup(k.Close)
	return k
}

// remoteKeys are those that fetch a key set here, each as its README shows.
// auth0's v2 and jwx do so too, with modules that this one does not require.
var remoteKeys = []string{"keyfunc+hand", Auth0V3, "go-oidc", Ours}

func (l *lab) remote(name string, k *keyServer) http.Handler {
	u, err := url.Parse(k.URL)
	if err != nil {
		l.Fatal(err)
	}
	issuer, _ := url.Parse(issuerName)
	next := admit
	switch name {
	case "keyfunc+hand":
		keys, err := keyfunc.NewDefaultCtx(l.Context(), []string{k.URL})
		if err != nil {
			l.Fatal(err)
		}
		parser := newParser(l.rs)
		return guardAny(func(ctx context.Context, token string) error {
			_, err := parser.Parse(token, keys.KeyfuncCtx(ctx))
			return err
		})
	case Auth0V3:
		return l.remoteV3(issuer, u)
	case "go-oidc":
		v := oidc.NewVerifier(issuerName, oidc.NewRemoteKeySet(l.Context(), k.URL), &oidc.Config{ClientID: audienceName, SupportedSigningAlgs: []string{"RS256"}})
		return guardAny(func(ctx context.Context, token string) error {
			_, err := v.Verify(ctx, token)
			return err
		})
	}
	keys, err := jwthttp.NewJWKS(l.Context(), k.URL, jwthttp.JWKSOptions{})
	if err != nil {
		l.Fatal(err)
	}
	opts := CachedOptions(l.rs, 16)
	opts.Issuers[0].Keys = keys
	m, err := jwthttp.New[Claims](opts)
	if err != nil {
		l.Fatal(err)
	}
	return m.Handler(next)
}

func (l *lab) remoteV3(issuer, keys *url.URL) http.Handler {
	provider, err := jwksv3.NewCachingProvider(jwksv3.WithIssuerURL(issuer), jwksv3.WithCustomJWKSURI(keys))
	if err != nil {
		l.Fatal(err)
	}
	v, err := validatorv3.New(validatorv3.WithKeyFunc(provider.KeyFunc), validatorv3.WithAlgorithm(validatorv3.RS256),
		validatorv3.WithIssuer(issuerName), validatorv3.WithAudience(audienceName))
	if err != nil {
		l.Fatal(err)
	}
	m, err := auth0v3.New(auth0v3.WithValidator(v))
	if err != nil {
		l.Fatal(err)
	}
	return m.CheckJWT(admit)
}

// guardAny is guard without claims.
func guardAny(check func(context.Context, string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := bearer(r); !ok || check(r.Context(), token) != nil {
			http.Error(w, "bad token", http.StatusUnauthorized)
			return
		}
		admit(w, r)
	})
}

// jwk is a public RSA key as a member of a set.
func (l *lab) jwk(f *Fixture, kid, members string) string {
	public := f.Verifying.(*rsa.PublicKey)
	if !strings.Contains(members, `"alg"`) {
		members += `,"alg":"RS256"` // auth0-v3 asks for it
	}
	return fmt.Sprintf(`{"kty":"RSA","kid":"%s","n":"%s","e":"AQAB"%s}`, kid, base64.RawURLEncoding.EncodeToString(public.N.Bytes()), members)
}

func (l *lab) goodSet() string { return `{"keys":[` + l.jwk(l.rs, keyID, "") + `]}` }

// hammering counts the fetches that tokens with made-up kids cause.
func hammering(l *lab) (string, string) {
	const junk = 40
	other := newFixture(l.T, "RS256")
	did := map[string]string{}
	for _, name := range remoteKeys {
		k := l.keyServer(l.goodSet())
		h := &setup{name: name, handler: l.remote(name, k)}
		if o := l.fire(h, bearing(l.rs.tokens[Admitted])); !o.admitted {
			l.Errorf("%s refuses the good token: %d", name, o.status)
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
			l.Errorf("%s DID NOT WITHSTAND: %s", name, did[name])
		}
	}
	return group(remoteKeys, func(name string) (string, bool) { return did[name], false }), did[Ours]
}

// down asks for a good token while the key server has never answered.
func down(l *lab) (string, string) {
	did := map[string]string{}
	own := []string{Auth0V3, Ours} // the others' status is that of the code around them
	for _, name := range own {
		o := l.fire(&setup{name: name, handler: l.remote(name, l.keyServer(""))}, bearing(l.rs.tokens[Admitted]))
		did[name] = "answers " + fmt.Sprint(o.status)
		if name == Ours && (o.status != http.StatusServiceUnavailable || o.header.Get("Retry-After") == "") {
			l.Errorf("%s DID NOT WITHSTAND: a key server that is down: %d", name, o.status)
		}
	}
	return group(own, func(name string) (string, bool) { return did[name], false }), did[Ours] + " with Retry-After"
}

// oddShots are well signed with keys that a set has for other purposes, or
// that are unfit, and last, to show that the others could pass, with a good one.
// Each shot's set is by its label.
func (l *lab) oddShots() (shots []shot, sets map[string]string) {
	odd, small := newFixture(l.T, "RS256"), l.weakRSA().f
	private, err := jose.JSONWebKey{Key: odd.signing, KeyID: "odd", Algorithm: "RS256"}.MarshalJSON()
	if err != nil {
		l.Fatal(err)
	}
	sets = map[string]string{}
	for _, key := range []struct {
		label string
		f     *Fixture
		jwk   string
	}{
		{"`use: enc`", odd, l.jwk(odd, "odd", `,"use":"enc"`)},
		{"`key_ops: wrapKey`", odd, l.jwk(odd, "odd", `,"key_ops":["wrapKey"]`)},
		{"`alg: RSA-OAEP`", odd, l.jwk(odd, "odd", `,"alg":"RSA-OAEP"`)},
		{"`alg: PS256`", odd, l.jwk(odd, "odd", `,"alg":"PS256"`)},
		{"1024 bits", small, l.jwk(small, "odd", "")},
		{"a private key", odd, string(private)},
		{"a good key", odd, l.jwk(odd, "odd", `,"use":"sig"`)},
	} {
		s := l.token(key.label, key.f, forge(key.f, `{"alg":"RS256","kid":"odd"}`, bodyOf(nil)))
		shots = append(shots, s)
		sets[key.label] = `{"keys":[` + l.jwk(l.rs, keyID, "") + `,` + key.jwk + `]}`
	}
	shots[len(shots)-1].fine = true
	return shots, sets
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

// outgoing counts the requests that tokens cause which point to keys.
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
