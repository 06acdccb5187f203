package benchmarks

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the measured table into docs/security.md")

const threatsDoc = "../docs/security.md"

// threat is a row of the table in docs/security.md.
type threat struct {
	attack string
	// measure returns what the peers and jwthttp did; nil: not tested.
	measure func(l *lab) (peers, ours string)
	note    string // about jwthttp
	tests   string // names of jwthttp's tests, separated by spaces
}

// TestThreatTable measures the table of docs/security.md, and fails if the document
// says something else.
func TestThreatTable(t *testing.T) {
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
				t.Errorf("%s: unknown test %s", row.attack, name)
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

// threats returns the rows in the order of the table.
func (l *lab) threats() []threat {
	return slices.Concat(l.forgeries(), l.misuses(), l.differentials(), l.requests(), l.answers(), l.keys(), l.caches(), l.proofs())
}

func (l *lab) forgeries() []threat {
	return []threat{
		{"`alg` none in any spelling, or no signature",
			attack(l.none()...),
			"`New` refuses none", "TestAuthenticate_header TestNew_problem"},
		{"RS256 to HS256, with the public key's PEM, DER or JWK as the secret",
			attack(l.confusion()...),
			"an issuer cannot have both HMAC and public-key algorithms", "TestAuthenticate_algorithmConfusion"},
		{"Another algorithm, for which the same key would fit",
			attack(l.otherAlgorithms()...),
			"`Algorithms` has no default", "TestAuthenticate_header TestNew_problem"},
		{"A public key configured as the HMAC secret",
			attack(l.publicAsSecret()...),
			"from a key function: 401 `algorithm`", "TestAuthenticate_algorithmConfusion TestNew_problem"},
		{"A weak HMAC secret",
			attack(
				l.secretly("`secret`", []byte("secret")),
				l.secretly("31 bytes", bytes.Repeat([]byte("s"), 31)),
				l.secretly("an empty one", []byte{}),
			),
			"the minimum is the size of the hash: 32, 48 or 64 bytes; a long secret that can be guessed is not noticed", "TestNew_problem TestKeyfunc_fit"},
		{"A small RSA key",
			attack(l.weakRSA()),
			"the minimum is 2048 bits; an exponent that is even or below 3 is refused, too", "TestNew_problem TestKeyfunc_fit"},
		{"Signed by another issuer's key of the same `kid`",
			attack(l.attackers("it", "")),
			"each `Issuer` has its own keys", "TestOptions_Issuers_keys"},
		{"A key in the token, or the URL of a key (`jwk`, `jku`, `x5u`): forgery, SSRF",
			outgoing,
			"never read", "TestAuthenticate_keysInHeader"},
		{"`kid` as path, SQL or line break, over an empty secret",
			attack(l.kids()...),
			"used only to look up a key in a map; control characters are refused, and errors quote and shorten it", "TestAuthenticate_header TestKeySet TestError_quoting"},
		{"Timing attacks on the signature check",
			nil,
			"golang-jwt compares HMACs in constant time; checks that need no secret come first, so the time tells which check failed; times are not tested", "TestAuthenticate_order"},
	}
}

func (l *lab) misuses() []threat {
	hour := func(n time.Duration) int64 { return time.Now().Add(n * time.Hour).Unix() }
	within := l.with("one that expired 10 s ago", map[string]any{"exp": time.Now().Add(-10 * time.Second).Unix()})
	within.fine = true // less than the default Leeway
	typed := func(typ string) shot { return l.withMember("`"+typ+"`", `"typ":"`+typ+`"`) }
	return []threat{
		{"A token for another service (`aud`)",
			attack(
				l.with("another", map[string]any{"aud": "https://prices.example.com"}),
				l.with("missing", map[string]any{"aud": nil}),
				l.with("empty list", map[string]any{"aud": []string{}}),
				l.with("ours with a slash", map[string]any{"aud": audienceName + "/"}),
				l.with("a number", map[string]any{"aud": 1}),
			),
			"`Audience` has no default", "TestAuthenticate_issuerAndAudience"},
		{"A token from another issuer (`iss`)",
			attack(
				l.with("another", map[string]any{"iss": "https://evil.example/"}),
				l.with("missing", map[string]any{"iss": nil}),
				l.with("ours without the slash", map[string]any{"iss": strings.TrimSuffix(IssuerName, "/")}),
				l.with("ours in upper case", map[string]any{"iss": strings.ToUpper(IssuerName)}),
				l.with("a list", map[string]any{"iss": []string{IssuerName}}),
			),
			"`Name` has no default", "TestAuthenticate_issuerAndAudience"},
		{"A token of another type (`typ`)",
			attack(typed("logout+jwt"), typed("dpop+jwt"), typed("secevent+jwt")),
			"an ID token has another `typ` only if the issuer's access tokens have at+jwt; then set `Types`", "TestAuthenticate_header TestIssuer_Types"},
		{"A token for another service, from another issuer or without `exp`, with the shortest setup of the README",
			attackOn(minimal, l.foreign()...),
			"there is no shorter setup", "TestNew_problem"},
		{"A token without `exp`",
			attack(l.with("it", map[string]any{"exp": nil})),
			"`NoExpiry` waives it", "TestAuthenticate_times"},
		{"An expired token",
			attack(
				l.with("expired an hour ago", map[string]any{"exp": hour(-1)}),
				l.with("expired a minute ago", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
				within,
			),
			"`Leeway` is 30 s unless set; negative means none", "TestAuthenticate_times TestCache_laterChecks"},
		{"An `exp` that is not a date",
			attack(
				l.with("text", map[string]any{"exp": fmt.Sprint(hour(1))}),
				l.with("null", map[string]any{"exp": json.RawMessage("null")}),
				l.with("1e300", map[string]any{"exp": json.RawMessage("1e300")}),
				l.with("-1", map[string]any{"exp": -1}),
			),
			"", "TestAuthenticate_times"},
		{"`nbf` in ten years",
			attack(l.with("it", map[string]any{"nbf": hour(87600)})),
			"", "TestAuthenticate_times"},
		{"`iat` in ten years",
			attack(l.with("it", map[string]any{"iat": hour(87600), "exp": hour(87601)})),
			"", "TestAuthenticate_times"},
		{"A sender-constrained token (`cnf`) as a bearer token",
			attack(
				l.with("`jkt`", map[string]any{"cnf": map[string]string{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
				l.with("`x5t#S256`", map[string]any{"cnf": map[string]string{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
			),
			"accepted with its certificate or a proof only", "TestAuthenticate_boundToken TestAuthenticate_certificate TestAuthenticate_downgrade"},
	}
}

func (l *lab) differentials() []threat {
	sub := "," + strings.TrimPrefix(bodyOf(map[string]any{"sub": nil}), "{")
	return []threat{
		{"Expired for one parser, valid for the next",
			attack(l.duplicates()...),
			"duplicate names are refused at any depth, and top-level names that differ by case only", "TestAuthenticate_payload FuzzAuthenticate"},
		{"Two subjects in one token",
			attack(
				l.rawBody("`sub` twice", `{"sub":"alice","sub":"root"`+sub),
				l.rawBody("`sub` and `SUB`", `{"sub":"alice","SUB":"root"`+sub),
				l.rawBody("`sub` and `\u017fub`", `{"sub":"alice","`+"\u017f"+`ub":"root"`+sub),
			),
			"", "TestAuthenticate_payload FuzzClaims"},
		{"`crit`, `b64`, `zip`: extensions that change what is signed",
			attack(
				l.withMember("unknown `crit`", `"crit":["x"],"x":1`),
				l.withMember("empty `crit`", `"crit":[]`),
				l.withMember("`crit` of `b64`", `"crit":["b64"],"b64":true`),
				l.withMember("`b64: false`", `"b64":false`),
				l.withMember("`zip`", `"zip":"DEF"`),
			),
			"", "TestAuthenticate_header"},
		{"A valid signature with a header that names another algorithm",
			attack(l.headers()...),
			"", "TestAuthenticate_header"},
		{"JWE or the JSON serialization instead of a compact JWS",
			attack(l.notCompact()...),
			"", "TestAuthenticate_serialization"},
		{"Another base64 encoding of a valid signature",
			attack(l.spellings()...),
			"so a token has one encoding, if its signature has one value", "TestAuthenticate_serialization FuzzDecode"},
		{"Another ECDSA signature derived from a valid one (r, n-s)",
			attack(l.mirrored()),
			"it is valid; a revocation applies to both, because it uses the `jti` or the fingerprint of the signed text", "TestList_RevokeToken"},
	}
}

func (l *lab) requests() []threat {
	return []threat{
		{"Two Authorization fields, or two tokens in one: a proxy may use the other",
			attack(l.twoFields()...),
			"", "TestFromHeader_bearer"},
		{"Two cookies of one name (a sibling domain can set the second)",
			attackOn(inCookie, l.twoCookies()...),
			"", "TestFromCookie"},
		{"Two places: header and cookie, header and query",
			nil,
			"`OnlyOne` refuses both with 400; `FirstOf` does not try the next place after an invalid credential", "TestOnlyOne TestFirstOf"},
		{"CSRF: a cross-site POST with a cookie token",
			attackOn(inCookie, l.crossSite()),
			"on by default, with `net/http.CrossOriginProtection`; a request without a browser's fields is admitted", "TestOptions_crossOrigin"},
		{"Cross-site WebSocket upgrade with a cookie token",
			attackOn(inCookie, l.webSocket()),
			"the WebSocket library may check Origin as well", "TestOptions_crossOrigin"},
		{"A token in the query, seen by logs, handlers and Referer",
			leaks,
			"proxies and outer middleware have seen it", "TestFromQuery_removal TestFromQuery_removal_form"},
		{"An invalid token where a token is optional: does the handler run?",
			attackOn(optional, l.badForOptional()...),
			"", "TestMiddleware_Optional"},
		{"A token of 16 KiB with a valid signature",
			attack(l.token("it", l.rs, l.rs.tokens[Large])),
			"`MaxTokenSize`, 8 KiB unless set", "TestOptions_MaxTokenSize"},
		{"Garbage of up to 1 MiB, the limit of net/http",
			attack(l.sized()...),
			"", "TestExtractor_size"},
		{"... and the memory for it",
			memory,
			"", "TestOptions_MaxTokenSize_allocation"},
	}
}

func (l *lab) answers() []threat {
	return []threat{
		{"Claims, `alg` or `kid` in the response: header injection, verbose errors",
			openErrors,
			"", "TestHandler_unverifiedValues TestError_injection"},
		{"What the client learns about an invalid signature",
			texts,
			"each Reason has a fixed text", "TestHandler_unverifiedValues TestReason"},
		{"The token in logs, through `%+v` or JSON of the library's types",
			nil,
			"no type prints it; `Token.Raw` returns it", "TestPrinting TestSet_secretsOfURLs TestKeySource_printing"},
	}
}

func (l *lab) keys() []threat {
	return []threat{
		{"Keys of a key set that are unfit or for other uses",
			oddKeys,
			"oct keys are ignored, too; the other keys of the set are used", "TestParse_usableKeys"},
		{"Flooding the key server with unknown `kid`s",
			hammering,
			"at most one fetch per `MinInterval`", "TestOptions_MinInterval"},
		{"The key server is down from the start",
			down,
			"after the first fetch, the last good keys are used for up to `MaxStale`", "TestSet_outage TestOptions_MaxStale TestSet_faults"},
		{"Redirects, HTML, huge or slow answers from the key server",
			nil,
			"keeps the old keys; requires https except on loopback", "TestSet_refusedAnswers TestNew_arguments"},
	}
}

func (l *lab) caches() []threat {
	return []threat{
		{"A key is replaced while its tokens are cached",
			withdrawn,
			"with `CacheSize`; a key set over HTTP notices at its next fetch, after 15 min at most", "TestCache_key TestSet_rotation"},
		{"A token after logout",
			nil,
			"refuses, 401 `revoked`, if `Revoked` is set; if it fails, 503 unless `RevocationFailOpen` is set", "TestOptions_revoked TestList_Revoke TestList_model"},
		{"A forged, replayed or late message about a logout at the provider",
			nil,
			"refuses, 400, what is forged or no such message; a replay ends no later login", "TestBackChannel_otherTokens TestBackChannel_replay TestPush_token TestReceivers_flood"},
		{"A revoked token after the store has lost the revocation",
			nil,
			"refuses, on each instance that had it, and on all when it is written back", "TestCopy_Heal TestStore_heals"},
		{"A revoked token on an instance whose clock jumps",
			nil,
			"refuses", "TestCopy_clockJumps"},
		{"Claims of another request, through the cache or a change",
			nil,
			"each request has its own copy, including maps and slices", "TestCache_ownClaims TestTokenFromContext_copies FuzzCache"},
		{"Filling the cache",
			nil,
			"limited by number and size; only verified tokens are cached", "TestCache_bounds"},
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
	if *update && !t.Failed() {
		if err := os.WriteFile(threatsDoc, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	had := strings.Split(old, "\n")
	for _, line := range strings.Split(table, "\n") {
		if !slices.Contains(had, line) {
			t.Errorf("%s lacks:\n%s", threatsDoc, line)
		}
	}
	t.Errorf("%s differs from the measurement above; go test -run Threat -update writes the table", threatsDoc)
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testFunctions maps the names of the repository's tests to their files.
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

// versions returns the versions of the peers in go.mod.
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
