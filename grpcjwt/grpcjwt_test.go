package grpcjwt_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/grpcjwt"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

func TestNew_problems(t *testing.T) {
	m := newMiddleware(t, jwthttptest.New(t, "ES256"), nil)
	methods := func(pattern string) grpcjwt.Options {
		return grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{pattern: m}}
	}
	for _, tt := range []struct {
		name string
		opts grpcjwt.Options
		want []string // in the error; nil: no error
	}{
		{"a method", methods("/pkg.Service/Method"), nil},
		{"a service", methods("/pkg.Service/*"), nil},
		{"everything", methods("*"), nil},
		{"a service without a package", methods("/Service/Method"), nil},
		{"only public methods", grpcjwt.Options{Public: []string{"/pkg.Service/*"}}, nil},
		{"a negative Recheck", grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"*": m}, Recheck: -1}, nil},
		{"nothing", grpcjwt.Options{}, []string{"Methods"}},
		{"no Middleware", grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"*": nil}}, []string{`Methods "*"`, "no Middleware"}},
		{"an empty name", methods(""), []string{`Methods ""`}},
		{"no slash at the start", methods("pkg.Service/Method"), []string{"pkg.Service/Method"}},
		{"no method", methods("/pkg.Service"), []string{"/pkg.Service"}},
		{"an empty method", methods("/pkg.Service/"), []string{"/pkg.Service/"}},
		{"an empty service", methods("//Method"), []string{"//Method"}},
		{"three parts", methods("/pkg.Service/Method/x"), []string{"/pkg.Service/Method/x"}},
		{"a part of a method", methods("/pkg.Service/Get*"), []string{"/pkg.Service/Get*"}},
		{"a part of a service", methods("/pkg.*/Method"), []string{"/pkg.*/Method"}},
		{"all services", methods("/*"), []string{`"/*"`}},
		{"a bad public method", grpcjwt.Options{Public: []string{"*", "x"}}, []string{"Public[1]", `"x"`}},
		{"a method in both", grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"/pkg.Service/*": m}, Public: []string{"/pkg.Service/*"}}, []string{"Public[0]", "named twice"}},
		{"a public method twice", grpcjwt.Options{Public: []string{"*", "*"}}, []string{"Public[1]", "named twice"}},
		{"several", grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"a": nil}, Public: []string{"b"}}, []string{`"a": want`, `"a": no Middleware`, `"b"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls, err := grpcjwt.New(tt.opts)
			if (err == nil) != (tt.want == nil) || (calls == nil) != (err != nil) {
				t.Fatalf("%v, %v", calls, err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not have %q", err, part)
				}
			}
		})
	}
}

func TestInterceptors_tokens(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	w := serve(t, issuer, all(newMiddleware(t, issuer, nil).RequireScopes("read")))
	claims := map[string]any{"sub": "alice", "scope": "read"}
	good := issuer.Token(claims)
	for _, tt := range []struct {
		name      string
		metadata  []string
		want      string
		challenge string // in www-authenticate
	}{
		{"a good token", []string{"authorization", "Bearer " + good}, "OK", ""},
		{"the scheme by case", []string{"Authorization", "bearer " + good}, "OK", ""},
		{"no token", nil, "Unauthenticated missing", `Bearer realm="restricted"`},
		{"another scheme", []string{"authorization", "Basic x"}, "Unauthenticated missing", `Bearer realm=`},
		{"an expired token", []string{"authorization", "Bearer " + issuer.Expired(claims)}, "Unauthenticated expired", `error="invalid_token"`},
		{"a forged token", []string{"authorization", "Bearer " + issuer.Forged(claims)}, "Unauthenticated signature", `error="invalid_token"`},
		{"junk", []string{"authorization", "Bearer junk"}, "Unauthenticated malformed", `error="invalid_token"`},
		{"no token after the scheme", []string{"authorization", "Bearer"}, "Unauthenticated malformed", `error="invalid_request"`},
		{"two values", []string{"authorization", "Bearer " + good, "authorization", "Bearer " + good}, "Unauthenticated multiple", `error="invalid_request"`},
		{"no scope", []string{"authorization", "Bearer " + issuer.Token(map[string]any{"sub": "alice"})}, "PermissionDenied scope", `error="insufficient_scope"`},
	} {
		for _, method := range methods {
			t.Run(tt.name+", "+method.name, func(t *testing.T) {
				var header, trailer metadata.MD
				err := method.call(with(t, tt.metadata...), w.client, grpc.Header(&header), grpc.Trailer(&trailer))
				if got := outcome(t, err); got != tt.want {
					t.Errorf("%s (%v), want %s", got, err, tt.want)
				}
				if len(trailer.Get("www-authenticate")) > 0 {
					t.Error("a challenge in the trailer")
				}
				challenges := header.Get("www-authenticate")
				if tt.challenge == "" && len(challenges) > 0 || tt.challenge != "" && (len(challenges) != 1 || !strings.Contains(challenges[0], tt.challenge)) {
					t.Errorf("challenges %q, want %s", challenges, tt.challenge)
				}
				var want []string
				if tt.want == "OK" {
					want = []string{method.name + " by alice"}
				}
				if calls := w.called(); !slices.Equal(calls, want) {
					t.Errorf("calls %q, want %q", calls, want)
				}
				if strings.Contains(fmt.Sprint(err), good) {
					t.Error("the error shows the token")
				}
			})
		}
	}
}

// The most exact pattern applies, across Methods and Public.
func TestInterceptors_patterns(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	user := newMiddleware(t, issuer, nil)
	admin := user.RequireScopes("admin")
	for _, tt := range []struct {
		name            string
		methods         map[string]*jwthttp.Middleware
		public          []string
		method          string
		nothing, asUser string
	}{
		{"everything", map[string]*jwthttp.Middleware{"*": user}, nil, "/a.B/M", "Unauthenticated missing", "OK"},
		{"a method before its service", map[string]*jwthttp.Middleware{"/a.B/*": user, "/a.B/M": admin}, nil, "/a.B/M", "Unauthenticated missing", "PermissionDenied scope"},
		{"another method of the service", map[string]*jwthttp.Middleware{"/a.B/*": user, "/a.B/M": admin}, nil, "/a.B/N", "Unauthenticated missing", "OK"},
		{"a service before everything", map[string]*jwthttp.Middleware{"*": user, "/a.B/*": admin}, nil, "/a.B/M", "Unauthenticated missing", "PermissionDenied scope"},
		{"a longer name of a service", map[string]*jwthttp.Middleware{"/a.B/*": user}, nil, "/a.B2/M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"a shorter name of a service", map[string]*jwthttp.Middleware{"/a.B/*": user}, nil, "/a./M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"another method", map[string]*jwthttp.Middleware{"/a.B/M": user}, nil, "/a.B/M2", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"by case", map[string]*jwthttp.Middleware{"/a.B/M": user}, nil, "/a.B/m", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"a public method of a service", map[string]*jwthttp.Middleware{"/a.B/*": admin}, []string{"/a.B/M"}, "/a.B/M", "OK", "OK"},
		{"a method of a public service", map[string]*jwthttp.Middleware{"/a.B/M": admin}, []string{"/a.B/*"}, "/a.B/M", "Unauthenticated missing", "PermissionDenied scope"},
		{"a public service", map[string]*jwthttp.Middleware{"*": admin}, []string{"/a.B/*"}, "/a.B/M", "OK", "OK"},
		{"public by a star", map[string]*jwthttp.Middleware{"/a.B/M": admin}, []string{"*"}, "/c.D/M", "OK", "OK"},
		{"no slash at the start", map[string]*jwthttp.Middleware{"*": user, "/a.B/M": admin}, nil, "a.B/M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"no slash at the start, public by a star", map[string]*jwthttp.Middleware{"/a.B/M": admin}, []string{"*"}, "a.B/M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"two slashes at the start", map[string]*jwthttp.Middleware{"*": user}, nil, "//a.B/M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"a slash more", map[string]*jwthttp.Middleware{"*": user}, nil, "/a.B/x/M", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"no name", map[string]*jwthttp.Middleware{"*": user}, nil, "", "PermissionDenied forbidden", "PermissionDenied forbidden"},
		{"a star as the method", map[string]*jwthttp.Middleware{"/a.B/*": user}, nil, "/a.B/*", "Unauthenticated missing", "OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unary := newCalls(t, grpcjwt.Options{Methods: tt.methods, Public: tt.public}).Unary()
			for want, token := range map[string]string{tt.nothing: "", tt.asUser + " ": "Bearer " + issuer.Token(nil)} {
				ctx := context.Background()
				if token != "" {
					ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", token))
				}
				called := false
				_, err := unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: tt.method}, func(context.Context, any) (any, error) {
					called = true
					return nil, nil
				})
				if got, want := outcome(t, err), strings.TrimSpace(want); got != want || called != (want == "OK") {
					t.Errorf("with %.10q: %s, called %v, want %s", token, got, called, want)
				}
			}
		})
	}
}

func TestInterceptors_zero(t *testing.T) {
	var calls grpcjwt.Interceptors
	_, err := calls.Unary()(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/M"}, nil)
	if status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}

func TestInterceptors_public(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	opts := grpcjwt.Options{
		Methods: map[string]*jwthttp.Middleware{"/grpc.testing.TestService/*": newMiddleware(t, issuer, nil)},
		Public:  []string{"/grpc.health.v1.Health/*", service + "EmptyCall"},
	}
	w := serve(t, issuer, opts)
	if _, err := healthpb.NewHealthClient(w.conn).Check(with(t), new(healthpb.HealthCheckRequest)); err != nil {
		t.Error("health:", err)
	}
	watch, err := healthpb.NewHealthClient(w.conn).Watch(with(t), new(healthpb.HealthCheckRequest))
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Error("health:", err)
	}
	for _, ctx := range []context.Context{with(t), bearer(t, issuer.Expired(nil)), bearer(t, issuer.Token(nil))} {
		if _, err := w.client.EmptyCall(ctx, new(testpb.Empty)); err != nil {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(w.called()); strings.Count(got, "EmptyCall by no user") != 3 {
		t.Errorf("calls %s: a token is looked at", got)
	}
	info, err := reflectionpb.NewServerReflectionClient(w.conn).ServerReflectionInfo(bearer(t, issuer.Token(nil)))
	if err == nil {
		_, err = info.Recv()
	}
	if got := outcome(t, err); got != "PermissionDenied forbidden" {
		t.Errorf("reflection, which is not named: %s", got)
	}
}

func TestInterceptors_Check(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	m := newMiddleware(t, issuer, nil)
	w := serve(t, issuer, all(m))
	for _, tt := range []struct {
		name string
		opts grpcjwt.Options
		want []string
	}{
		{"everything", all(m), nil},
		{"all services", grpcjwt.Options{
			Methods: map[string]*jwthttp.Middleware{service + "*": m},
			Public:  []string{"/grpc.health.v1.Health/*", "/grpc.reflection.v1.ServerReflection/*", "/grpc.reflection.v1alpha.ServerReflection/*"},
		}, nil},
		{"one method", grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{service + "EmptyCall": m}, Public: []string{"/grpc.reflection.v1.ServerReflection/*"}}, []string{
			"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
			service + "CacheableUnaryCall", service + "FullDuplexCall", service + "HalfDuplexCall", service + "StreamingInputCall",
			service + "StreamingOutputCall", service + "UnaryCall", service + "UnimplementedCall",
		}},
	} {
		err := newCalls(t, tt.opts).Check(w.server)
		if (err == nil) != (tt.want == nil) || err != nil && !strings.HasSuffix(err.Error(), "names "+strings.Join(tt.want, ", ")) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What a Middleware sees of a call.
func TestInterceptors_request(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	var seen *http.Request
	m := newMiddleware(t, issuer, func(o *jwthttp.Options) {
		o.Extractor = jwthttp.FirstOf(jwthttp.FromHeader("X-Token", ""), jwthttp.FromCookie("jwt"))
		o.Observer = func(_ context.Context, e jwthttp.Event) { seen = e.Request }
	})
	w := serve(t, issuer, all(m))
	token := issuer.Token(nil)
	_, err := w.client.UnaryCall(with(t, "x-token", token, "a-field", "1", "a-field", "2"), new(testpb.SimpleRequest))
	if err != nil {
		t.Fatal(err)
	}
	if seen.Method != "POST" || seen.URL.Path != service+"UnaryCall" || seen.RequestURI != service+"UnaryCall" || seen.Host != "bufconn" ||
		seen.RemoteAddr != "bufconn" || seen.ProtoMajor != 2 || seen.Body == nil || seen.TLS != nil {
		t.Errorf("%s %s %s of %s from %s", seen.Method, seen.URL, seen.RequestURI, seen.Host, seen.RemoteAddr)
	}
	if got := seen.Header["A-Field"]; !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("fields %q", got)
	}
	for name := range seen.Header {
		if strings.HasPrefix(name, ":") {
			t.Errorf("%s is a field", name)
		}
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want string
	}{
		{"a cookie", with(t, "cookie", "jwt="+token), "OK"},
		{"a cookie of the same origin", with(t, "cookie", "jwt="+token, "sec-fetch-site", "same-origin"), "OK"},
		{"a cookie of another site", with(t, "cookie", "jwt="+token, "sec-fetch-site", "cross-site"), "PermissionDenied cross_origin"},
		{"a cookie of another origin", with(t, "cookie", "jwt="+token, "origin", "https://evil.example"), "PermissionDenied cross_origin"},
	} {
		for _, method := range methods {
			if got := outcome(t, method.call(tt.ctx, w.client)); got != tt.want {
				t.Errorf("%s, %s: %s, want %s", tt.name, method.name, got, tt.want)
			}
		}
	}
}

func TestInterceptors_rules(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	rule := func(r *http.Request, c Claims) error {
		if !strings.HasSuffix(r.URL.Path, "/UnaryCall") {
			return &jwthttp.Error{Status: http.StatusTooManyRequests, Description: "too many calls"}
		}
		if c.Subject != "alice" {
			return errors.New("secret text")
		}
		return nil
	}
	w := serve(t, issuer, all(newMiddleware(t, issuer, nil).Require(jwthttp.Rule(rule))))
	if err := methods[0].call(bearer(t, issuer.Token(map[string]any{"sub": "alice"})), w.client); err != nil {
		t.Error(err)
	}
	err := methods[0].call(bearer(t, issuer.Token(map[string]any{"sub": "bob"})), w.client)
	if got := outcome(t, err); got != "PermissionDenied forbidden" || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	for _, method := range methods[1:] {
		err := method.call(bearer(t, issuer.Token(map[string]any{"sub": "alice"})), w.client)
		if got := status.Code(err); got != codes.ResourceExhausted || status.Convert(err).Message() != "too many calls" {
			t.Errorf("%s: %v", method.name, err)
		}
	}
}

func TestInterceptors_visitors(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	w := serve(t, issuer, all(newMiddleware(t, issuer, nil).Optional()))
	for _, method := range methods {
		if err := method.call(with(t), w.client); err != nil {
			t.Errorf("%s: %v", method.name, err)
		}
		if got := outcome(t, method.call(bearer(t, issuer.Expired(nil)), w.client)); got != "Unauthenticated expired" {
			t.Errorf("%s with an expired token: %s", method.name, got)
		}
	}
	if got := w.called(); len(got) != len(methods) || !strings.HasSuffix(got[0], "by no user") {
		t.Error(got)
	}
}

// No message is read before the decision.
func TestInterceptors_Stream_unread(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	stream := newCalls(t, all(newMiddleware(t, issuer, nil))).Stream()
	ss := &unreadStream{t: t, ctx: t.Context()}
	err := stream(nil, ss, &grpc.StreamServerInfo{FullMethod: "/a.B/M"}, func(any, grpc.ServerStream) error {
		t.Error("called")
		return nil
	})
	if got := outcome(t, err); got != "Unauthenticated missing" || len(ss.header.Get("www-authenticate")) != 1 {
		t.Error(got, ss.header)
	}
}

type unreadStream struct {
	grpc.ServerStream
	t      *testing.T
	ctx    context.Context
	header metadata.MD
}

func (s *unreadStream) Context() context.Context { return s.ctx }
func (s *unreadStream) SetHeader(md metadata.MD) error {
	s.header = metadata.Join(s.header, md)
	return nil
}
func (s *unreadStream) RecvMsg(any) error {
	s.t.Error("a message is read")
	return nil
}

// Peers of other networks, and certificates.
func TestInterceptors_networks(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	cert, thumbprint := certificate(t)
	bound := issuer.Token(map[string]any{"cnf": map[string]any{"x5t#S256": thumbprint}})
	calls := newCalls(t, all(newMiddleware(t, issuer, nil)))
	local := insecure.NewCredentials()
	secure := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}})
	asClient := func(certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: certs}) // the server's name is no part of the test
	}
	other, _ := certificate(t)
	for _, tt := range []struct {
		name, network  string
		server, client credentials.TransportCredentials
		token, want    string
	}{
		{"TCP", "tcp", local, local, issuer.Token(nil), "OK"},
		{"a Unix socket", "unix", local, local, issuer.Token(nil), "OK"},
		{"a bound token without TLS", "tcp", local, local, bound, "Unauthenticated binding"},
		{"a bound token with its certificate", "tcp", secure, asClient(cert), bound, "OK"},
		{"a bound token with another certificate", "tcp", secure, asClient(other), bound, "Unauthenticated binding"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := "127.0.0.1:0"
			if tt.network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			listener, err := net.Listen(tt.network, address)
			if err != nil {
				t.Fatal(err)
			}
			w := start(t, issuer, calls, listener, grpc.Creds(tt.server))
			target := listener.Addr().String()
			if tt.network == "unix" {
				target = "unix:" + target
			}
			w.dial(t, target, grpc.WithTransportCredentials(tt.client))
			for _, method := range methods {
				if got := outcome(t, method.call(bearer(t, tt.token), w.client)); got != tt.want {
					t.Errorf("%s: %s, want %s", method.name, got, tt.want)
				}
			}
		})
	}
}

// A peer without an address.
func TestInterceptors_noAddress(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	unary := newCalls(t, all(newMiddleware(t, issuer, nil))).Unary()
	for _, ctx := range []context.Context{t.Context(), peer.NewContext(t.Context(), new(peer.Peer))} {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+issuer.Token(nil)))
		_, err := unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/M"}, func(context.Context, any) (any, error) { return nil, nil })
		if err != nil {
			t.Error(err)
		}
	}
}

func TestInterceptors_DPoP(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	m := newMiddleware(t, issuer, func(o *jwthttp.Options) {
		o.DPoP = &jwthttp.DPoP{BaseURLs: []string{"https://api.example"}, NonceSecrets: [][]byte{[]byte(strings.Repeat("n", 32))}}
	})
	w := serve(t, issuer, all(m))
	prover := jwthttptest.NewProver(t, "ES256")
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": prover.Thumbprint()}})
	for _, method := range methods {
		ask := func(url, nonce string) (string, metadata.MD) {
			proof := prover.Proof("POST", url, token, func(_, claims map[string]any) {
				if nonce != "" {
					claims["nonce"] = nonce
				}
			})
			var header, trailer metadata.MD
			err := method.call(with(t, "authorization", "DPoP "+token, "dpop", proof), w.client, grpc.Header(&header), grpc.Trailer(&trailer))
			return outcome(t, err), metadata.Join(header, trailer)
		}
		url := "https://api.example" + service + method.name
		got, md := ask(url, "")
		nonces := md.Get("dpop-nonce")
		if got != "Unauthenticated nonce" || len(nonces) != 1 || len(md.Get("www-authenticate")) != 2 {
			t.Fatalf("%s without a nonce: %s, %v", method.name, got, md)
		}
		if got, md := ask(url, nonces[0]); got != "OK" || len(md.Get("www-authenticate")) > 0 {
			t.Errorf("%s: %s", method.name, got)
		}
		if got, _ := ask("https://api.example"+service+"EmptyCall", nonces[0]); got != "Unauthenticated proof" {
			t.Errorf("%s with a proof of another method: %s", method.name, got)
		}
		if got := outcome(t, method.call(bearer(t, token), w.client)); got != "Unauthenticated binding" {
			t.Errorf("%s without a proof: %s", method.name, got)
		}
	}
}

func TestInterceptors_unavailable(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	m := newMiddleware(t, issuer, func(o *jwthttp.Options) {
		o.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return false, errors.New("store is gone") }
	})
	w := serve(t, issuer, all(m))
	for _, method := range methods {
		err := method.call(bearer(t, issuer.Token(nil)), w.client)
		if got := outcome(t, err); got != "Unavailable revocation_unavailable" || strings.Contains(err.Error(), "gone") {
			t.Errorf("%s: %v", method.name, err)
		}
		var retry []time.Duration
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				retry = append(retry, info.RetryDelay.AsDuration())
			}
		}
		if !slices.Equal(retry, []time.Duration{5 * time.Second}) {
			t.Errorf("%s: RetryInfo %v", method.name, retry)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		code   codes.Code
		reason string // of the ErrorInfo
		text   string
	}{
		{"no error", nil, codes.OK, "", ""},
		{"an error code", &jwthttp.Error{Status: 401, Code: "invalid_token", Reason: jwthttp.ReasonExpired, Err: errors.New("secret")}, codes.Unauthenticated, "invalid_token", "token expired"},
		{"no code", &jwthttp.Error{Status: 401, Reason: jwthttp.ReasonMissing}, codes.Unauthenticated, "missing", "authentication required"},
		{"wrapped", fmt.Errorf("secret: %w", &jwthttp.Error{Status: 403, Reason: jwthttp.ReasonForbidden}), codes.PermissionDenied, "forbidden", "request not allowed"},
		{"400", &jwthttp.Error{Status: 400, Code: "invalid_request", Reason: jwthttp.ReasonMultiple}, codes.Unauthenticated, "invalid_request", "more than one token"},
		{"404", &jwthttp.Error{Status: 404, Description: "no such thing"}, codes.NotFound, "forbidden", "no such thing"},
		{"409", &jwthttp.Error{Status: 409}, codes.Aborted, "forbidden", "request not allowed"},
		{"429", &jwthttp.Error{Status: 429}, codes.ResourceExhausted, "forbidden", "request not allowed"},
		{"418", &jwthttp.Error{Status: 418}, codes.PermissionDenied, "forbidden", "request not allowed"},
		{"500", &jwthttp.Error{Status: 500, Reason: jwthttp.ReasonMisconfigured}, codes.Internal, "misconfigured", "server is misconfigured"},
		{"503", &jwthttp.Error{Status: 503, Reason: jwthttp.ReasonKeysUnavailable}, codes.Unavailable, "keys_unavailable", "token cannot be verified at the moment"},
		{"502", &jwthttp.Error{Status: 502}, codes.Internal, "server_error", ""},
		{"no status", &jwthttp.Error{}, codes.Internal, "server_error", ""},
		{"canceled", &jwthttp.Error{Status: 499, Reason: jwthttp.ReasonCanceled}, codes.Canceled, "", "request canceled"},
		{"another error", errors.New("secret"), codes.Internal, "server_error", ""},
		{"a nil *Error", (*jwthttp.Error)(nil), codes.Internal, "server_error", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := grpcjwt.Status(tt.err)
			code, _ := reason(t, got.Err())
			if got.Code() != tt.code || code != tt.reason || tt.text != "" && got.Message() != tt.text || strings.Contains(got.String(), "secret") {
				t.Errorf("%v %q %q, want %v %q %q", got.Code(), code, got.Message(), tt.code, tt.reason, tt.text)
			}
		})
	}
}

// The code in README.md is that of the example.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no code")
	}
	for _, block := range blocks {
		if indented := regexp.MustCompile("(?m)^(.)").ReplaceAllString(block[1], "\t$1"); !strings.Contains(string(example), indented) {
			t.Errorf("example_test.go does not have\n%s", block[1])
		}
	}
}
