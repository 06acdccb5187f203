package providers

import (
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// redirect is the redirect URI of all clients. Nothing listens there.
const redirect = "http://127.0.0.1/callback"

// secret is the secret of all clients.
const secret = "secret-of-a-test-client"

// flow is an OAuth client, and the browser of its user.
type flow struct {
	*testing.T
	issuer, client string
	browser        *http.Client
}

// tokens are the answer of a token endpoint.
type tokens struct {
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
}

func newFlow(t *testing.T, issuer, client string) *flow {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &flow{t, issuer, client, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// do sends a request and returns its answer and the body of that.
func (f *flow) do(r *http.Request, err error) (*http.Response, []byte) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	resp, err := f.browser.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatal(err)
	}
	if resp.StatusCode >= 400 {
		f.Fatalf("%s %s: %s\n%s", r.Method, r.URL, resp.Status, body)
	}
	return resp, body
}

func (f *flow) open(address string) (*http.Response, []byte) {
	f.Helper()
	return f.do(http.NewRequestWithContext(f.Context(), http.MethodGet, address, nil))
}

// endpoint returns the URL that the metadata of the issuer has under name.
func (f *flow) endpoint(name string) string {
	f.Helper()
	_, body := f.open(f.issuer + "/.well-known/openid-configuration")
	var metadata map[string]any
	if err := json.Unmarshal(body, &metadata); err != nil {
		f.Fatal(err)
	}
	endpoint, _ := metadata[name].(string)
	return endpoint
}

// token asks the token endpoint.
func (f *flow) token(grant string, params url.Values) (got tokens) {
	f.Helper()
	form := url.Values{"grant_type": {grant}}
	maps.Copy(form, params)
	r, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.endpoint("token_endpoint"), strings.NewReader(form.Encode()))
	if err == nil {
		r.SetBasicAuth(f.client, secret)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	_, body := f.do(r, err)
	if err := json.Unmarshal(body, &got); err != nil || got.Access == "" {
		f.Fatalf("%v: %s", err, body)
	}
	return got
}

// login gets tokens for a user by the authorization code flow. The fields are what
// the user types into the forms of the provider.
func (f *flow) login(params, fields url.Values) tokens {
	f.Helper()
	query := url.Values{"response_type": {"code"}, "client_id": {f.client}, "redirect_uri": {redirect}, "state": {"state-of-a-test"}, "nonce": {"nonce-of-a-test"}}
	maps.Copy(query, params)
	resp, page := f.open(f.endpoint("authorization_endpoint") + "?" + query.Encode())
	for range 3 { // a form for the login, and one for the consent
		if resp.StatusCode == http.StatusOK {
			resp, page = f.submit(resp.Request.URL, string(page), fields)
		}
	}
	back, err := resp.Location()
	if err != nil || back.Query().Get("code") == "" {
		f.Fatalf("no code: %s, sent to %v\n%s", resp.Status, back, page)
	}
	return f.token("authorization_code", url.Values{"code": {back.Query().Get("code")}, "redirect_uri": {redirect}})
}

var (
	formAction  = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// submit sends the form in a page with its hidden fields and these.
func (f *flow) submit(page *url.URL, text string, fields url.Values) (*http.Response, []byte) {
	f.Helper()
	action := formAction.FindStringSubmatch(text)
	if action == nil {
		f.Fatalf("no form in %s:\n%s", page, text)
	}
	form := maps.Clone(fields)
	for _, field := range hiddenField.FindAllStringSubmatch(text, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	target, err := page.Parse(html.UnescapeString(action[1]))
	if err != nil {
		f.Fatal(err)
	}
	r, err := http.NewRequestWithContext(f.Context(), http.MethodPost, target.String(), strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return f.do(r, err)
}
