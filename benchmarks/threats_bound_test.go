package benchmarks

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// This file attacks tokens that are bound to a key. Of the other libraries, only
// auth0-v3 knows DPoP.

// proofShot is a request with a token that is bound to the client's key.
type proofShot struct {
	label string
	// change may change the header and claims of the proof, the request and the
	// key of the proof.
	change func(s *proofRequest)
	twice  bool // the second request counts
}

// proofRequest is what a proofShot may change.
type proofRequest struct {
	*http.Request
	header, claims jwt.MapClaims
	method         jwt.SigningMethod
	key            any
}

func (l *lab) proofs() []threat {
	return []threat{
		{"A token that is bound to a key, with a proof by the thief's key",
			proofAttack(proofShot{label: "it", change: func(s *proofRequest) { s.thief(l) }}),
			"", "TestAuthenticate_proof"},
		{"A proof that was copied, used a second time",
			proofAttack(proofShot{label: "it", twice: true}),
			"several machines need a store that they share", "TestAuthenticate_replay TestAuthenticate_replayLate TestAuthenticate_replaySimultaneous TestCache_Fresh_clock"},
		{"A proof for another server, method or token",
			proofAttack(
				proofShot{label: "another server, with its name in Host", change: func(s *proofRequest) {
					s.Host, s.claims["htu"] = "evil.example", "http://evil.example/"
				}},
				proofShot{label: "another server, with its name in X-Forwarded-Host", change: func(s *proofRequest) {
					s.Header.Set("X-Forwarded-Host", "evil.example")
					s.claims["htu"] = "http://evil.example/"
				}},
				proofShot{label: "another method", change: func(s *proofRequest) { s.claims["htm"] = "POST" }},
				proofShot{label: "another token", change: func(s *proofRequest) { s.claims["ath"] = hashOf("another") }},
				proofShot{label: "no token", change: func(s *proofRequest) { delete(s.claims, "ath") }},
			),
			"`BaseURLs` are set, and Host does not count", "TestAuthenticate_proof TestHandler_proofURL TestHandler_proofOnConnection"},
		{"A proof that is malformed, or whose key is weak or private",
			proofAttack(
				proofShot{label: "two fields", change: func(s *proofRequest) { s.Header.Add("DPoP", "x") }},
				proofShot{label: "a private key", change: func(s *proofRequest) { s.jwk()["d"] = "AAAA" }},
				proofShot{label: "`typ` JWT", change: func(s *proofRequest) { s.header["typ"] = "JWT" }},
				proofShot{label: "`crit`", change: func(s *proofRequest) { s.header["crit"] = []string{"x"} }},
				proofShot{label: "no `jti`", change: func(s *proofRequest) { delete(s.claims, "jti") }},
				proofShot{label: "an hour old", change: func(s *proofRequest) { s.claims["iat"] = time.Now().Add(-time.Hour).Unix() }},
				proofShot{label: "four minutes old", change: func(s *proofRequest) { s.claims["iat"] = time.Now().Add(-4 * time.Minute).Unix() }},
			),
			"`MaxAge` is 1 min unless set; duplicate names, keys off their curve or of low order, and RSA keys below 2048 or above 4096 bits are refused, too", "TestAuthenticate_proof TestParsePublic"},
		{"Filling the memory for used proofs",
			nil,
			"only good proofs with good tokens are remembered; one key and one subject can fill an eighth of a `ReplayCache`, and get 503 then; nothing is forgotten early", "TestReplayCache_share TestCache_Fresh_owners TestAuthenticate_replayAsked"},
		{"A field with a certificate that the client has set itself",
			nil,
			"`ClientCertFromProxy` reads it only in requests from the proxy's addresses", "TestClientCertFromProxy"},
	}
}

// jwk returns the key in the header of the proof, to change it.
func (s *proofRequest) jwk() map[string]any {
	own := map[string]any{}
	for name, v := range s.header["jwk"].(map[string]string) {
		own[name] = v
	}
	s.header["jwk"] = own
	return own
}

// thief signs with another key.
func (s *proofRequest) thief(l *lab) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		l.Fatal(err)
	}
	jwk, _, err := publicJWK(public)
	if err != nil {
		l.Fatal(err)
	}
	s.method, s.key = jwt.SigningMethodEdDSA, crypto.Signer(private)
	s.header["alg"], s.header["jwk"] = "EdDSA", jwk
}

// proofAttack sends each shot to auth0-v3 and to jwthttp.
func proofAttack(shots ...proofShot) func(*lab) (peers, ours string) {
	return func(l *lab) (string, string) {
		client := newFixture(l.T, "ES256")
		jwk, thumbprint, err := publicJWK(client.Verifying)
		if err != nil {
			l.Fatal(err)
		}
		claims := payload()
		claims["cnf"] = map[string]string{"jkt": thumbprint}
		token, err := sign(l.es.method, l.es.signing, claims)
		if err != nil {
			l.Fatal(err)
		}
		b := &bound{f: l.es, client: client, jwk: jwk, next: admit}
		answers := map[string][]string{}
		for _, name := range []string{BoundAuth0, Ours} {
			server := httptest.NewUnstartedServer(nil)
			handler, err := b.guard(name, "http://"+server.Listener.Addr().String())
			if err != nil {
				l.Fatal(err)
			}
			server.Config.Handler = handler
			server.Start()
			for _, shot := range append([]proofShot{{label: "good"}}, shots...) {
				answers[name] = append(answers[name], b.shoot(l, server, token, shot))
			}
			server.Close()
			if answers[name][0] != "" {
				l.Fatalf("%s refuses a good proof: %s", name, answers[name][0])
			}
		}
		peers := "auth0-v3 refuses, " + listed(answers[BoundAuth0][1:])
		if admitted := labels(shots, answers[BoundAuth0][1:]); len(admitted) == len(shots) {
			peers = "auth0-v3 admits"
		} else if len(admitted) > 0 {
			peers = "auth0-v3 admits " + strings.Join(admitted, ", ")
		}
		if admitted := labels(shots, answers[Ours][1:]); len(admitted) > 0 {
			l.Errorf("%s: jwthttp admits %q", l.row, admitted)
		}
		return peers, "refuses, " + listed(answers[Ours][1:])
	}
}

// guard returns a contender for requests to a base URL.
func (b *bound) guard(name, base string) (http.Handler, error) {
	if name == BoundAuth0 {
		return b.auth0Guard()
	}
	o := OurOptions(b.f)
	o.DPoP = &jwthttp.DPoP{BaseURLs: []string{base}}
	return GuardOurs[Claims](o, b.next)
}

// shoot returns the refusal, or nothing.
func (b *bound) shoot(l *lab, server *httptest.Server, token string, shot proofShot) string {
	r, err := http.NewRequest(http.MethodGet, server.URL+"/", http.NoBody)
	if err != nil {
		l.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+token)
	s := &proofRequest{Request: r, method: b.client.method, key: b.client.signing,
		header: jwt.MapClaims{"typ": "dpop+jwt", "alg": b.client.Alg, "jwk": b.jwk},
		claims: jwt.MapClaims{"jti": fmt.Sprint(time.Now().UnixNano()), "htm": http.MethodGet, "htu": server.URL + "/", "iat": time.Now().Unix(), "ath": hashOf(token)}}
	if shot.change != nil {
		shot.change(s)
	}
	t := jwt.NewWithClaims(s.method, s.claims)
	t.Header = maps.Clone(map[string]any(s.header))
	proof, err := t.SignedString(s.key)
	if err != nil {
		l.Fatal(err)
	}
	r.Header["Dpop"] = append([]string{proof}, r.Header["Dpop"]...)
	var refusal string
	for range map[bool]int{false: 1, true: 2}[shot.twice] {
		resp, err := l.client.Do(r.Clone(l.Context()))
		if err != nil {
			l.Fatal(err)
		}
		var body struct{ Reason string }
		_ = json.NewDecoder(resp.Body).Decode(&body)
		_ = resp.Body.Close()
		refusal = ""
		if resp.Header.Get(admittedField) == "" {
			refusal = strings.TrimSpace(fmt.Sprintf("%d `%s`", resp.StatusCode, body.Reason))
		}
	}
	return strings.TrimSuffix(refusal, " ``")
}

// labels returns the shots that were admitted.
func labels(shots []proofShot, refusals []string) (admitted []string) {
	for i, refusal := range refusals {
		if refusal == "" {
			admitted = append(admitted, shots[i].label)
		}
	}
	return admitted
}

// listed returns the refusals, each once.
func listed(refusals []string) string {
	var list []string
	for _, refusal := range refusals {
		if refusal != "" && !slices.Contains(list, refusal) {
			list = append(list, refusal)
		}
	}
	return strings.Join(list, ", ")
}
