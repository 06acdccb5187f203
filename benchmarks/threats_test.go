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
				l.with("ours without the slash", map[string]any{"iss": strings.TrimSuffix(IssuerName, "/")}),
				l.with("ours in upper case", map[string]any{"iss": strings.ToUpper(IssuerName)}),
				l.with("a list", map[string]any{"iss": []string{IssuerName}}),
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
