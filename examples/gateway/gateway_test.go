package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed450a7203/jwthttp/examples/internal/exampletest"
)

var secret = func() []byte {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret)
	return secret
}()

// token signs alice's claims with the scope, after change.
func token(t *testing.T, change func(*Claims)) string {
	t.Helper()
	claims := Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "alice",
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Scope: "openid " + scope,
	}
	if change != nil {
		change(&claims)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + signed
}

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
func start(t *testing.T) (url string, conn *grpc.ClientConn, service spy) {
	t.Helper()
	auth, err := newAuth(secret)
	if err != nil {
		t.Fatal(err)
	}
	service = spy{calls: make(chan metadata.MD, 8)}
	listener := bufconn.Listen(64 << 10)
	if conn, err = dial(listener); err != nil {
		t.Fatal(err)
	}
	server := newService(service)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	gateway, err := newGateway(auth, conn)
	if err != nil {
		t.Fatal(err)
	}
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
func ask(t *testing.T, method, url string, fields ...string) (status int, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
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
	url, _, service := start(t)
	for _, test := range []struct {
		name, authorization string
		status              int
		body, challenge     string
		called              bool
	}{
		{"a good token", token(t, nil), 200, `"SERVING"`, "", true},
		{"no token", "", 401, `"missing"`, `Bearer realm="restricted"`, false},
		{"an expired token", token(t, func(c *Claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }), 401, `"reason":"expired"`, `error="invalid_token"`, false},
		{"a token for another audience", token(t, func(c *Claims) { c.Audience = jwt.ClaimStrings{"https://other.example"} }), 401, `"reason":"audience"`, `error="invalid_token"`, false},
		{"without the scope", token(t, func(c *Claims) { c.Scope = "openid" }), 403, "scope health:read is required", "", false},
		{"a token without a subject", token(t, func(c *Claims) { c.Subject = "" }), 401, "no verified identity", "", false},
	} {
		status, header, body := ask(t, "GET", url+"/v1/health/x", "Authorization", test.authorization)
		if _, called := service.called(t); status != test.status || !strings.Contains(body, test.body) || called != test.called ||
			!strings.Contains(header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("%s: %d %q, challenge %q, called: %t", test.name, status, body, header.Get("WWW-Authenticate"), called)
		}
	}
}

func TestGateway_identity(t *testing.T) {
	url, _, service := start(t)
	for _, subject := range []string{"alice", "zoë", "a\nb", `"},{"sub":"root"`} {
		if status, _, body := ask(t, "GET", url+"/v1/health/x", "Authorization", token(t, func(c *Claims) { c.Subject = subject })); status != 200 {
			t.Errorf("%q: %d %s", subject, status, body)
			continue
		}
		md, _ := service.called(t)
		want := identity{issuer, subject, []string{"openid", scope}}
		if got, err := identityOf(metadata.NewIncomingContext(t.Context(), md)); err != nil || got.String() != want.String() {
			t.Errorf("%v (%v), want %v", got, err, want)
		}
	}
}

func TestGateway_clientMetadata(t *testing.T) {
	url, _, service := start(t)
	claimed := identity{issuer, "root", []string{scope}}.String()
	encoded := base64.StdEncoding.EncodeToString([]byte(claimed))
	expected := []string{":authority", "content-type", "grpc-accept-encoding", identityKey, "user-agent", "x-forwarded-for", "x-forwarded-host"}
	for _, field := range []string{
		"Grpc-Metadata-Identity-Bin", "grpc-metadata-identity-bin", "GRPC-METADATA-IDENTITY-BIN", "Identity-Bin", "identity-bin",
		"Grpc-Metadata-Grpc-Metadata-Identity-Bin", "Grpcgateway-Identity-Bin", "Grpc-Metadata-Authorization", "Grpc-Metadata-Anything",
		"Cookie", "Proxy-Authorization", "X-Identity-Bin", "Connection",
	} {
		for _, value := range []string{encoded, claimed} {
			status, _, body := ask(t, "GET", url+"/v1/health/x", "Authorization", token(t, nil), field, value)
			md, called := service.called(t)
			if !called {
				t.Errorf("%s: %d %s", field, status, body)
			}
			for key, values := range md {
				if !slices.Contains(expected, key) || len(values) != 1 || strings.Contains(values[0], "root") || strings.Contains(values[0], "eyJ") {
					t.Errorf("%s: metadata %q: %q", field, key, values)
				}
			}
			if status, _, _ := ask(t, "GET", url+"/v1/health/x", field, value); status != 401 {
				t.Errorf("%s without a token: %d", field, status)
			}
			if status, _, _ := ask(t, "GET", url+"/v1/health/x", field, value, "Authorization", token(t, func(c *Claims) { c.Scope = "" })); status != 403 {
				t.Errorf("%s without the scope: %d", field, status)
			}
			if _, called := service.called(t); called {
				t.Errorf("%s: called", field)
			}
		}
	}
}

func TestGateway_methodOverride(t *testing.T) {
	url, _, service := start(t)
	for _, override := range []string{"", "GET"} {
		status, _, body := ask(t, "POST", url+"/v1/health/x", "Authorization", token(t, nil),
			"Content-Type", "application/x-www-form-urlencoded", "X-Http-Method-Override", override)
		if _, called := service.called(t); called || status != 501 {
			t.Errorf("override %q: %d %s", override, status, body)
		}
	}
}

func TestService_identity(t *testing.T) {
	_, conn, service := start(t)
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
	alice := identity{issuer, "alice", []string{scope}}
	for _, test := range []struct {
		name string
		md   metadata.MD
		want codes.Code
	}{
		{"nothing", nil, codes.Unauthenticated},
		{"a bare token", metadata.Pairs("authorization", token(t, nil)), codes.Unauthenticated},
		{"no JSON", metadata.Pairs(identityKey, "alice"), codes.Unauthenticated},
		{"no subject", identity{issuer, "", []string{scope}}.metadata(), codes.Unauthenticated},
		{"two of them", metadata.Join(alice.metadata(), alice.metadata()), codes.Unauthenticated},
		{"no scope", identity{issuer, "alice", nil}.metadata(), codes.PermissionDenied},
	} {
		for _, method := range methods {
			ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), test.md), 5*time.Second)
			if got := status.Code(method.call(ctx)); got != test.want {
				t.Errorf("%s with %s: %v", method.name, test.name, got)
			}
			cancel()
		}
	}
	if _, called := service.called(t); called {
		t.Error("called")
	}
	ctx := metadata.NewOutgoingContext(t.Context(), alice.metadata())
	for _, method := range methods {
		if got := status.Code(method.call(ctx)); got != method.spy {
			t.Errorf("%s with an identity: %v", method.name, got)
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
	if log := program.Log(); !strings.Contains(log, `Check for "alice"`) || strings.Contains(log, "root") {
		t.Errorf("log:\n%s", log)
	}
}
