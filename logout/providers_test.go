package logout_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed450a7203/jwthttp/jwthttptest"
	"github.com/seed450a7203/jwthttp/logout"
	"github.com/seed450a7203/jwthttp/revocation"
)

// What providers send, rebuilt from their documentation with keys and values of
// this test. NAME stands for the issuer and NOW for the time.
var providerMessages = []struct {
	name, source string
	push         bool // security event token, not logout token
	header       object
	payload      string
	change       func(*logout.PushOptions)
	want         string // entries; "": none
	status       int
}{
	{
		name: "Auth0: access tokens have no sid", source: "https://auth0.com/docs/authenticate/login/logout/back-channel-logout",
		header: object{"typ": "logout+jwt"},
		payload: `{"iss":"NAME","sub":"auth0|602e93","aud":"client-1","iat":NOW,"exp":NOW120,"jti":"44552f0a","trace_id":"6d1f",
			"events":{"http://schemas.openid.net/event/backchannel-logout":{}},"sid":"8zE4hr"}`,
		change: func(o *logout.PushOptions) { o.BySubject = true },
		want:   "session 8zE4hr of https://issuer.test 1m0s 1h1m30s\nsubject auth0|602e93 of https://issuer.test 0s 1h0m30s", status: 200,
	},
	{
		name: "Keycloak 25 and later", source: "https://github.com/keycloak/keycloak/pull/29260",
		header: object{"typ": "logout+jwt"},
		payload: `{"exp":NOW120,"iat":NOW,"jti":"a2836698-71ba","iss":"NAME","aud":"client-1","sub":"9b7c-4e1f","typ":"Logout","sid":"c4d5-4a5e",
			"events":{"http://schemas.openid.net/event/backchannel-logout":{},"revoke_offline_access":true}}`,
		want: "session c4d5-4a5e of https://issuer.test 1m0s 1h1m30s", status: 200,
	},
	{
		name: "Keycloak 23.0.4 to 24", source: "https://github.com/keycloak/keycloak/issues/28939",
		header: object{"typ": "JWT"},
		payload: `{"exp":NOW120,"iat":NOW,"jti":"a2836698-71ba","iss":"NAME","aud":"client-1","sub":"9b7c-4e1f","typ":"Logout",
			"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`,
		want: "subject 9b7c-4e1f of https://issuer.test 0s 1h0m30s", status: 200,
	},
	{
		name: "Keycloak before 23.0.4, without exp", source: "https://github.com/keycloak/keycloak/issues/25753",
		header: object{"typ": "JWT"},
		payload: `{"iat":NOW,"jti":"a2836698-71ba","iss":"NAME","aud":"client-1","sub":"9b7c-4e1f","typ":"Logout","sid":"c4d5-4a5e",
			"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`,
		status: 400,
	},
	{
		name: "Entra ID: an ID token is no logout token", source: "https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference",
		header: object{"typ": "JWT"},
		payload: `{"aud":"client-1","iss":"NAME","iat":NOW,"nbf":NOW,"exp":NOW120,"aio":"AXQAi/8","name":"A","oid":"690222be","rh":"I","sid":"0041",
			"sub":"HKZpfaHy","tid":"fa15d692","uti":"fqiBqXLP","ver":"2.0"}`,
		status: 400,
	},
	{
		name: "Okta: session-revoked by user", source: "https://developer.okta.com/docs/reference/ssf-transmitter-sets",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"jti":"set-24c63fb5","events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":
			{"event_timestamp":NOW,"current_ip_address":"192.0.2.1","initiating_entity":"user","reason_admin":{"en":"x"},
			"subject":{"user":{"format":"iss_sub","iss":"NAME","sub":"00u1"},"tenant":{"format":"opaque","id":"00o1"}}}}}`,
		change: func(o *logout.PushOptions) {
			o.TokenIssuer = func(sender string) []string { return []string{sender + "/oauth2/default"} }
		},
		want: "subject 00u1 of https://issuer.test/oauth2/default 0s 1h0m30s", status: 202,
	},
	{
		name: "Okta: session-revoked by email", source: "https://developer.okta.com/docs/reference/ssf-transmitter-sets",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"jti":"set-24c63fb5","events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":
			{"event_timestamp":NOW,"initiating_entity":"policy","subject":{"user":{"format":"email","email":"a@example.com"}}}}}`,
		change: func(o *logout.PushOptions) {
			o.Entries = func(_ context.Context, e logout.SecurityEvent) ([]revocation.Entry, error) {
				return []revocation.Entry{{Kind: revocation.BySubject, Issuer: e.Issuer + "/oauth2/default", Value: e.Subject.User.Email, IssuedUntil: e.Time}}, nil
			}
		},
		want: "subject a@example.com of https://issuer.test/oauth2/default 0s 1h0m30s", status: 202,
	},
	{
		name: "Google: account-disabled", source: "https://developers.google.com/identity/protocols/risc",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":["other","client-1"],"iat":NOW,"jti":"756E6971","events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":
			{"subject":{"subject_type":"iss-sub","iss":"NAME","sub":"7375626A656374"},"reason":"hijacking"}}}`,
		want: "subject 7375626A656374 of https://issuer.test 0s 1h0m30s", status: 202,
	},
	{
		name: "Google: sessions-revoked", source: "https://developers.google.com/identity/protocols/risc",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"jti":"756E6971","events":{"https://schemas.openid.net/secevent/risc/event-type/sessions-revoked":
			{"subject":{"subject_type":"iss-sub","iss":"NAME","sub":"7375626A656374"}}}}`,
		want: "subject 7375626A656374 of https://issuer.test 0s 1h0m30s", status: 202,
	},
	{
		name: "Google: token-revoked names a refresh token", source: "https://developers.google.com/identity/protocols/risc",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"jti":"756E6971","events":{"https://schemas.openid.net/secevent/oauth/event-type/token-revoked":
			{"subject":{"subject_type":"oauth_token","token_type":"refresh_token","token_identifier_alg":"hash_SHA512_double","token":"double-hash"}}}}`,
		status: 202,
	},
	{
		name: "Google: verification", source: "https://developers.google.com/identity/protocols/risc",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"jti":"756E6971","events":{"https://schemas.openid.net/secevent/risc/event-type/verification":{"state":"x"}}}`,
		status:  202,
	},
	{
		name: "Apple: its events are a text, in a JSON body", source: "https://developer.apple.com/documentation/signinwithapple/processing-changes-for-sign-in-with-apple-accounts",
		push: true, header: object{"typ": nil},
		payload: `{"iss":"NAME","aud":"client-1","iat":NOW,"exp":NOW120,"jti":"abede0",
			"events":"{\"type\":\"account-deleted\",\"sub\":\"820417.faa325\",\"event_time\":1508184845000}"}`,
		status: 400,
	},
	{
		name: "CAEP 1.0, session-revoked of a complex subject", source: "https://openid.net/specs/openid-caep-1_0-final.html",
		push: true, header: object{"typ": "secevent+jwt"},
		payload: `{"iss":"NAME","jti":"24c63fb5","iat":NOW,"aud":"client-1","txn":8675309,
			"sub_id":{"format":"complex","session":{"format":"opaque","id":"dMTlD|1600802906337.16|16008.16"},"user":{"format":"iss_sub","iss":"NAME","sub":"99beb27c"},
			"tenant":{"format":"opaque","id":"123456789"}},"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":
			{"initiating_entity":"policy","reason_admin":{"en":"x"},"event_timestamp":NOW}}}`,
		want: "session dMTlD|1600802906337.16|16008.16 of https://issuer.test 1m0s 1h1m30s", status: 202,
	},
}

func TestReceivers_providers(t *testing.T) {
	for _, tt := range providerMessages {
		bubble(t, tt.name, func(t *testing.T) {
			var store recorder
			sender := jwthttptest.New(t, "RS256")
			opts := logout.PushOptions{Options: newOptions(sender, store.Revoke)}
			if tt.change != nil {
				tt.change(&opts)
			}
			payload := strings.NewReplacer("NAME", sender.Name(), "NOW120", "946684920", "NOW", "946684800").Replace(tt.payload)
			token := sender.Sign(tt.header, json.RawMessage(payload))
			var h http.Handler
			r := postForm(token)
			if tt.push {
				h, r = mustPush(t, opts), postToken(token)
			} else {
				h = mustBackChannel(t, opts.Options)
			}
			w := serve(h, r)
			if diff := cmp.Diff(tt.want, spellAll(store.entries)); diff != "" || w.Code != tt.status {
				t.Errorf("%d %q, entries (-want +got):\n%s", w.Code, w.Body, diff)
			}
		})
	}
}
