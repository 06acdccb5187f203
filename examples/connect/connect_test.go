package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// serve returns the URL of the service, and a client for each version of HTTP.
func serve(t *testing.T, opts jwthttp.Options) (url string, http1, http2 *http.Client) {
	t.Helper()
	api, err := newAPI(opts, new(orders))
	if err != nil {
		t.Fatal(err)
	}
	var both, h2c http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(api)
	server.Config.Protocols = &both
	server.Start()
	transport := &http.Transport{Protocols: &h2c}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return server.URL, server.Client(), &http.Client{Transport: transport}
}

// call calls a procedure, and returns the replies and the error.
func call(ctx context.Context, client *http.Client, url, procedure, token string, opts ...connect.ClientOption) (replies []string, err error) {
	c := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, url+procedure, opts...)
	r := connect.NewRequest(wrapperspb.String("42"))
	if token != "" {
		r.Header().Set("Authorization", "Bearer "+token)
	}
	if procedure != followProcedure {
		reply, err := c.CallUnary(ctx, r)
		if err != nil {
			return nil, err
		}
		return []string{reply.Msg.GetValue()}, nil
	}
	s, err := c.CallServerStream(ctx, r)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for s.Receive() {
		replies = append(replies, s.Msg().GetValue())
	}
	return replies, s.Err()
}

// outcome is the code, the text and the challenge of an error.
func outcome(err error) (got, challenge string) {
	var e *connect.Error
	if !errors.As(err, &e) {
		return "no error", ""
	}
	return e.Code().String() + " " + e.Message(), strings.Join(e.Meta().Values("WWW-Authenticate"), " and ")
}

func TestConnect_tokens(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	url, http1, http2 := serve(t, jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}})
	claims := map[string]any{"sub": "alice", "scope": "orders:read"}
	states := map[string][]string{getProcedure: {"packed"}, followProcedure: {"packed", "sent", "delivered"}}
	const invalid = `Bearer realm="restricted", error="invalid_token", error_description="`
	protocols := []struct {
		name   string
		client *http.Client
		opts   []connect.ClientOption
	}{
		{"Connect over HTTP/1.1", http1, nil},
		{"Connect over h2c", http2, nil},
		{"Connect with JSON", http1, []connect.ClientOption{connect.WithProtoJSON()}},
		{"gRPC over h2c", http2, []connect.ClientOption{connect.WithGRPC()}},
		{"gRPC-Web over HTTP/1.1", http1, []connect.ClientOption{connect.WithGRPCWeb()}},
		{"gRPC-Web over h2c", http2, []connect.ClientOption{connect.WithGRPCWeb()}},
	}
	for _, test := range []struct {
		name, procedure, token, want, challenge string
	}{
		{"a good token", getProcedure, issuer.Token(claims), "no error", ""},
		{"a good token", followProcedure, issuer.Token(claims), "no error", ""},
		{"no token", getProcedure, "", "unauthenticated missing", `Bearer realm="restricted"`},
		{"no token", followProcedure, "", "unauthenticated missing", `Bearer realm="restricted"`},
		{"an expired token", getProcedure, issuer.Expired(claims), "unauthenticated expired", invalid + `token expired"`},
		{"an expired token", followProcedure, issuer.Expired(claims), "unauthenticated expired", invalid + `token expired"`},
		{"a malformed credential", getProcedure, "a b", "unauthenticated malformed", `Bearer realm="restricted", error="invalid_request", error_description="malformed credential"`},
		{"without the scope", getProcedure, issuer.Token(nil), "permission_denied scope", `Bearer realm="restricted", error="insufficient_scope", error_description="insufficient scope", scope="orders:read"`},
		{"without the scope", followProcedure, issuer.Token(nil), "permission_denied scope", `Bearer realm="restricted", error="insufficient_scope", error_description="insufficient scope", scope="orders:read"`},
		{"with another scope", cancelProcedure, issuer.Token(claims), "permission_denied scope", `Bearer realm="restricted", error="insufficient_scope", error_description="insufficient scope", scope="orders:write"`},
	} {
		for _, protocol := range protocols {
			replies, err := call(t.Context(), protocol.client, url, test.procedure, test.token, protocol.opts...)
			if got, challenge := outcome(err); got != test.want || challenge != test.challenge {
				t.Errorf("%s, %s, %s: %s, challenge %s", protocol.name, test.procedure, test.name, got, challenge)
			}
			var want []string
			if test.want == "no error" {
				for _, state := range states[test.procedure] {
					want = append(want, "order 42 of alice is "+state)
				}
			}
			if !slices.Equal(replies, want) {
				t.Errorf("%s, %s, %s: replies %q", protocol.name, test.procedure, test.name, replies)
			}
		}
	}
}

func TestConnect_unavailable(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	url, http1, _ := serve(t, jwthttp.Options{
		Issuers: []jwthttp.Issuer{issuer.Trusted()},
		Revoked: func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("the store is gone") },
	})
	for _, procedure := range []string{getProcedure, followProcedure} {
		_, err := call(t.Context(), http1, url, procedure, issuer.Token(map[string]any{"scope": "orders:read"}))
		if got, challenge := outcome(err); got != "unavailable revocation_unavailable" || challenge != "" {
			t.Errorf("%s: %s, challenge %s", procedure, got, challenge)
		}
	}
}

// No spelling of a path reaches a procedure without its scope.
func TestConnect_paths(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	api, err := newAPI(jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}}, new(orders))
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := issuer.Token(map[string]any{"scope": "orders:read"}), issuer.Token(map[string]any{"scope": "orders:read orders:write"})
	ask := func(method, path, token string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(`"42"`))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		api.ServeHTTP(w, r)
		return w
	}
	if w := ask("POST", cancelProcedure, writer); w.Code != 200 || !strings.Contains(w.Body.String(), "canceled") {
		t.Errorf("with the scope: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{
		"/shop.v1.Orders/Cancel", "/shop.v1.Orders/%43ancel", "/shop.v1.Orders%2FCancel", "/shop.v1.Orders/Cancel/", "//shop.v1.Orders/Cancel",
		"/shop.v1.Orders//Cancel", "/shop.v1.Orders/./Cancel", "/shop.v1.Orders/Get/../Cancel", "/shop.v1.Orders/cancel", "/shop.v1.orders/Cancel", "/x",
	} {
		if w := ask("POST", path, reader); w.Code == 200 || strings.Contains(w.Body.String(), "canceled") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if w := ask("POST", path, ""); w.Code != 401 {
			t.Errorf("%s without a token: %d", path, w.Code)
		}
	}
	if w := ask("PUT", cancelProcedure, issuer.Expired(nil)); w.Code != 401 || !strings.Contains(w.Body.String(), `"error":"invalid_token"`) {
		t.Errorf("a request of no protocol: %d %s", w.Code, w.Body)
	}
}

// A stream ends with its token.
func TestConnect_streamEnd(t *testing.T) {
	for _, test := range []struct {
		name  string
		pause time.Duration
		want  string
	}{
		{"before the token", time.Second, `{}`},
		{"with the token", time.Hour, `{"error":{"code":"unauthenticated","message":"expired"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				api, err := newAPI(jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}}, &orders{test.pause})
				if err != nil {
					t.Fatal(err)
				}
				w, r := httptest.NewRecorder(), httptest.NewRequest("POST", followProcedure, strings.NewReader("\x00\x00\x00\x00\x04\"42\""))
				r.Header.Set("Content-Type", "application/connect+json")
				r.Header.Set("Authorization", "Bearer "+issuer.Token(map[string]any{"scope": "orders:read", "exp": time.Now().Add(time.Minute).Unix()}))
				start := time.Now()
				api.ServeHTTP(w, r)
				if body := w.Body.String(); !strings.HasSuffix(body, test.want) || strings.Contains(body, "delivered") != (test.want == "{}") {
					t.Errorf("body %q after %v", body, time.Since(start))
				}
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestProgram(t *testing.T) {
	program := exampletest.Start(t)
	if got := program.Status(t, "POST", getProcedure, "Content-Type", "application/json"); got != 401 {
		t.Errorf("no token: %d", got)
	}
	program.PasteLines(t)
	program.End(t)
}
