package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// provingTransport makes a proof for each request that needs one. The SDK knows
// only Bearer, in requests as in challenges, so both are rewritten.
type provingTransport struct{ *jwthttptest.Prover }

func (p provingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, hasToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if hasToken || r.URL.Path == "/token" {
		r = r.Clone(r.Context())
		r.Header.Set("DPoP", p.Proof(r.Method, r.URL.String(), token, nil))
	}
	if hasToken {
		r.Header.Set("Authorization", "DPoP "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		for i, challenge := range resp.Header["Www-Authenticate"] {
			resp.Header["Www-Authenticate"][i] = strings.Replace(challenge, "DPoP ", "Bearer ", 1)
		}
	}
	return resp, err
}

// A client of the SDK gets bound tokens, steps up, and calls.
func TestProgram_dpop(t *testing.T) {
	p := exampletest.Start(t, "-dpop")
	p.PasteLines(t)
	var out bytes.Buffer
	client := &http.Client{Transport: provingTransport{jwthttptest.NewProver(t, "ES256")}}
	if err := runClient(t.Context(), p.URL+"/mcp", client, &out); err != nil || !strings.Contains(out.String(), `create_order: {"for":"alice","ordered":"tea"}`) {
		t.Errorf("%v\n%s", err, &out)
	}
	if err := runClient(t.Context(), p.URL+"/mcp", http.DefaultClient, &out); err == nil {
		t.Error("a client without proofs is accepted")
	}
	p.End(t)
}

// TestSession_refreshDPoP refreshes bound tokens, which last two seconds.
func TestSession_refreshDPoP(t *testing.T) {
	s := startWith(t, time.Nanosecond, jwthttp.NewReplayCache(100), newTools())
	s.as.lifetime = 2 * time.Second
	client := &http.Client{Transport: provingTransport{jwthttptest.NewProver(t, "ES256")}}
	session, err := connect(t.Context(), s.resource, client, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	first, second := receive(t, s.gets), receive(t, s.gets)
	if !strings.HasPrefix(first, "DPoP ") || !strings.HasPrefix(second, "DPoP ") || first == second {
		t.Errorf("streams with %q and %q", first, second)
	}
}

func TestResource_dpop(t *testing.T) {
	s := startWith(t, time.Nanosecond, jwthttp.NewReplayCache(100), newTools())
	key, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	token := s.token("alice", scopeUse, nil, map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}})
	once := key.Proof("POST", s.resource, token, nil)
	for _, test := range []struct {
		name, authorization, proof string
		status                     int
	}{
		{"a proof", "DPoP " + token, once, 200},
		{"the proof again", "DPoP " + token, once, 401},
		{"no proof", "DPoP " + token, "", 401},
		{"as Bearer", "Bearer " + token, key.Proof("POST", s.resource, token, nil), 401},
		{"another key", "DPoP " + token, other.Proof("POST", s.resource, token, nil), 401},
		{"another URL", "DPoP " + token, key.Proof("POST", s.server.URL+"/", token, nil), 401},
		{"another algorithm", "DPoP " + token, jwthttptest.NewProver(t, "EdDSA").Proof("POST", s.resource, token, nil), 401},
		{"a token without a key", "Bearer " + s.token("alice", scopeUse, nil, nil), "", 401},
	} {
		resp := s.do("POST", initialize, "Authorization", test.authorization, "DPoP", test.proof)
		s.text(resp)
		challenge := strings.Join(resp.Header.Values("WWW-Authenticate"), "\n")
		if resp.StatusCode != test.status || test.status == 401 && !(strings.HasPrefix(challenge, "DPoP ") && strings.Contains(challenge, `algs="ES256"`)) {
			t.Errorf("%s: %d, %s", test.name, resp.StatusCode, challenge)
		}
	}
	for address, members := range map[string][]string{
		s.server.URL + "/.well-known/oauth-protected-resource/mcp": {"dpop_signing_alg_values_supported", "dpop_bound_access_tokens_required"},
		s.as.url + "/.well-known/oauth-authorization-server":       {"dpop_signing_alg_values_supported", "token_endpoint"},
	} {
		resp, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
			t.Fatal(err)
		}
		for _, name := range members {
			if document[name] == nil {
				t.Errorf("%s has no %s", address, name)
			}
		}
	}
}

// The authorization server binds access tokens and refresh tokens to the key.
func TestToken_dpop(t *testing.T) {
	l := startLogin(t)
	l.as.used = jwthttp.NewReplayCache(100)
	key, other := jwthttptest.NewProver(t, "ES256"), jwthttptest.NewProver(t, "ES256")
	endpoint := l.as.url + "/token"
	proof := func(p *jwthttptest.Prover) string { return p.Proof("POST", endpoint, "", nil) }
	send := func(form url.Values, proof string) (map[string]any, string) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", endpoint, strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("DPoP", proof)
		}
		_, answer := l.send(r, err)
		problem, _ := answer["error"].(string)
		return answer, problem
	}
	code := func() url.Values {
		verifier := oauth2.GenerateVerifier()
		_, back := l.authorize(verifier, nil)
		return url.Values{
			"grant_type": {"authorization_code"}, "code": {back.Get("code")}, "code_verifier": {verifier},
			"redirect_uri": {callback}, "client_id": {l.client}, "resource": {l.as.resource},
		}
	}
	once := proof(key)
	answer, problem := send(code(), once)
	if problem != "" || answer["token_type"] != "DPoP" {
		t.Fatalf("answer %v", answer)
	}
	refresh := func(answer map[string]any) url.Values {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {answer["refresh_token"].(string)}, "client_id": {l.client}}
	}
	for _, test := range []struct {
		name, proof string
		form        url.Values
		want        string
	}{
		{"no proof", "", code(), "invalid_dpop_proof"},
		{"the same proof", once, code(), "invalid_dpop_proof"},
		{"a proof for another URL", key.Proof("POST", l.as.url+"/register", "", nil), code(), "invalid_dpop_proof"},
		{"a refresh token with its key", proof(key), refresh(answer), ""},
	} {
		if _, problem := send(test.form, test.proof); problem != test.want {
			t.Errorf("%s: %q, want %q", test.name, problem, test.want)
		}
	}
	answer, _ = send(code(), proof(key))
	if _, problem := send(refresh(answer), proof(other)); problem != "invalid_grant" {
		t.Errorf("a refresh token with another key: %q", problem)
	}
}
