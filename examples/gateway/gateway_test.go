package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// spy is a service that records the metadata of its calls.
type spy struct {
	grpc_health_v1.UnimplementedHealthServer
	calls chan metadata.MD
}

func (s spy) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.calls <- md
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// called returns the metadata of the call since the last time, if there was one.
func (s spy) called(t *testing.T) (metadata.MD, bool) {
	t.Helper()
	if len(s.calls) > 1 {
		t.Errorf("%d calls", len(s.calls))
	}
	select {
	case md := <-s.calls:
		return md, true
	default:
		return nil, false
	}
}

// start serves a spy. It also returns a connection that bypasses the gateway.
func start(t *testing.T, opts jwthttp.Options) (url string, conn *grpc.ClientConn, service spy) {
	t.Helper()
	auth, err := jwthttp.New[Claims](opts)
	if err != nil {
		t.Fatal(err)
	}
	service = spy{calls: make(chan metadata.MD, 64)}
	server, err := newService(auth, service)
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(64 << 10)
	if conn, err = dial(listener); err != nil {
		t.Fatal(err)
	}
	gateway, err := newGateway(conn)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	front := httptest.NewServer(gateway)
	t.Cleanup(func() {
		front.Close()
		conn.Close()
		server.Stop()
		<-ended
	})
	return front.URL, conn, service
}

// ask sends header fields, name and value in turn.
func ask(t *testing.T, url string, fields ...string) (status int, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header[fields[i]] = append(r.Header[fields[i]], fields[i+1]) // as it is spelled
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestGateway_tokens(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	url, _, service := start(t, jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}})
	const invalid = `Bearer realm="restricted", error="invalid_token", error_description="`
	claims := map[string]any{"sub": "alice", "scope": "openid " + scope}
	good := "Bearer " + issuer.Token(claims)
	for _, test := range []struct {
		name              string
		fields            []string
		status            int
		reason, challenge string // reason: of the ErrorInfo
	}{
		{"a good token", []string{"Authorization", good}, 200, "", ""},
		{"no token", nil, 401, "missing", `Bearer realm="restricted", scope="health:read"`},
		{"another scheme", []string{"Authorization", "Basic YTpi"}, 401, "missing", `Bearer realm="restricted", scope="health:read"`},
		{"an expired token", []string{"Authorization", "Bearer " + issuer.Expired(claims)}, 401, "invalid_token", invalid + `token expired"`},
		{"a forged token", []string{"Authorization", "Bearer " + issuer.Forged(claims)}, 401, "invalid_token", invalid + `invalid token signature"`},
		{"two tokens", []string{"Authorization", good, "Authorization", good}, 401, "invalid_request", `Bearer realm="restricted", error="invalid_request", error_description="more than one token"`},
		{"a bound token", []string{"Authorization", "Bearer " + issuer.Token(map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}})}, 401, "invalid_token", invalid + `token binding not proved"`},
		{"without the scope", []string{"Authorization", "Bearer " + issuer.Token(nil)}, 403, "insufficient_scope", `Bearer realm="restricted", error="insufficient_scope", error_description="insufficient scope", scope="health:read"`},
	} {
		status, header, body := ask(t, url+"/v1/health/x", test.fields...)
		var challenges []string
		if test.challenge != "" {
			challenges = []string{test.challenge}
		}
		if got := header.Values("WWW-Authenticate"); status != test.status || !slices.Equal(got, challenges) {
			t.Errorf("%s: %d, challenges %q", test.name, status, got)
		}
		if got := reasonIn(t, body); got != test.reason {
			t.Errorf("%s: reason %q, want %q: %s", test.name, got, test.reason, body)
		}
		if _, called := service.called(t); called != (test.status == 200) {
			t.Errorf("%s: called: %t", test.name, called)
		}
	}
}

// reasonIn returns the reason of the ErrorInfo in a body.
func reasonIn(t *testing.T, body string) string {
	t.Helper()
	var answer struct {
		Details []struct{ Reason string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if len(answer.Details) == 0 {
		return ""
	}
	return answer.Details[0].Reason
}

func TestGateway_unavailable(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	url, _, service := start(t, jwthttp.Options{
		Issuers: []jwthttp.Issuer{issuer.Trusted()},
		Revoked: func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("the store is gone") },
	})
	status, header, body := ask(t, url+"/v1/health/x", "Authorization", "Bearer "+issuer.Token(map[string]any{"scope": scope}))
	if status != 503 || header.Get("Retry-After") != "5" || len(header.Values("WWW-Authenticate")) > 0 || strings.Contains(body, "gone") {
		t.Errorf("%d %v %s", status, header, body)
	}
	if _, called := service.called(t); called {
		t.Error("called")
	}
}

func TestGateway_clientMetadata(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	url, _, service := start(t, jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}})
	good := "Bearer " + issuer.Token(map[string]any{"scope": scope})
	expected := []string{":authority", "authorization", "content-type", "grpc-accept-encoding", "user-agent", "x-forwarded-for", "x-forwarded-host"}
	for _, field := range []string{
		"Grpc-Metadata-Authorization", "grpc-metadata-authorization", "Grpcgateway-Authorization", "Grpc-Metadata-Client-Cert",
		"Grpc-Metadata-Anything", "Grpc-Metadata-Anything-Bin", "Client-Cert", "Cookie", "Proxy-Authorization",
	} {
		if status, _, body := ask(t, url+"/v1/health/x", "Authorization", good, field, good); status != 200 {
			t.Errorf("%s: %d %s", field, status, body)
		}
		md, _ := service.called(t)
		for key, values := range md {
			if !slices.Contains(expected, key) || len(values) != 1 {
				t.Errorf("%s: metadata %q: %q", field, key, values)
			}
		}
		if status, _, _ := ask(t, url+"/v1/health/x", field, good); status != 401 {
			t.Errorf("%s instead of a token: %d", field, status)
		}
	}
}

func TestService_tokens(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	_, conn, service := start(t, jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}})
	client := grpc_health_v1.NewHealthClient(conn)
	methods := []struct {
		name string
		call func(context.Context) error
		spy  codes.Code // what the spy answers, which has Check only
	}{
		{"Check", func(ctx context.Context) error {
			_, err := client.Check(ctx, new(grpc_health_v1.HealthCheckRequest))
			return err
		}, codes.OK},
		{"List", func(ctx context.Context) error {
			_, err := client.List(ctx, new(grpc_health_v1.HealthListRequest))
			return err
		}, codes.Unimplemented},
		{"Watch", func(ctx context.Context) error {
			stream, err := client.Watch(ctx, new(grpc_health_v1.HealthCheckRequest))
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.Unimplemented},
	}
	good := issuer.Token(map[string]any{"scope": scope})
	for _, method := range methods {
		for _, test := range []struct {
			name, token string
			want        codes.Code
		}{
			{"nothing", "", codes.Unauthenticated},
			{"an expired token", issuer.Expired(map[string]any{"scope": scope}), codes.Unauthenticated},
			{"a token without the scope", issuer.Token(nil), codes.PermissionDenied},
			{"a good token", good, method.spy},
		} {
			ctx := t.Context()
			if test.token != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+test.token)
			}
			if got := status.Code(method.call(ctx)); got != test.want {
				t.Errorf("%s with %s: %v", method.name, test.name, got)
			}
			if _, called := service.called(t); called != (test.want == codes.OK) {
				t.Errorf("%s with %s: called: %t", method.name, test.name, called)
			}
		}
	}
}

func TestProgram(t *testing.T) {
	program := exampletest.Start(t)
	if got := program.Status(t, "GET", "/v1/health/"); got != 401 {
		t.Errorf("no token: %d", got)
	}
	_, rest, _ := strings.Cut(program.Greeting, "READER=")
	reader, _, _ := strings.Cut(rest, "\n")
	if got := program.Status(t, "GET", "/v1/health/", "Authorization", "Bearer "+reader); got != 200 {
		t.Errorf("a good token: %d", got)
	}
	program.PasteLines(t)
	program.End(t)
	if log := program.Log(); !strings.Contains(log, `Check for "alice"`) {
		t.Errorf("log:\n%s", log)
	}
}
