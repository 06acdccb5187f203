package grpcjwt_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/grpcjwt"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

const (
	service = "/grpc.testing.TestService/"
	patient = 30 * time.Second // longer than anything that a test waits for
)

// spy is the generated service of the tests. It notes the calls that reach it.
type spy struct {
	testpb.UnimplementedTestServiceServer
	mu    sync.Mutex
	calls []string
	// received gets the error of each read or write of a stream that failed.
	received chan error
}

func (s *spy) note(ctx context.Context, method string) string {
	user := "no user"
	if claims, ok := jwthttp.ClaimsFromContext[Claims](ctx); ok {
		user = claims.Subject
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, method+" by "+user)
	return user
}

func (s *spy) called() (calls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls, s.calls = s.calls, nil
	return calls
}

// awaitCall returns when a call has reached the service.
func (s *spy) awaitCall(t testing.TB, call string) {
	t.Helper()
	for start := time.Now(); !slices.Contains(s.called(), call); <-time.After(time.Millisecond) {
		if time.Since(start) > patient {
			t.Fatalf("%s does not reach the service", call)
		}
	}
}

func (s *spy) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.note(ctx, "EmptyCall")
	return new(testpb.Empty), nil
}

func (s *spy) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Username: s.note(ctx, "UnaryCall")}, nil
}

// StreamingOutputCall sends one message for each parameter, and then until the
// stream ends if there is none.
func (s *spy) StreamingOutputCall(r *testpb.StreamingOutputCallRequest, out grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	s.note(out.Context(), "StreamingOutputCall")
	for range r.ResponseParameters {
		if err := out.Send(new(testpb.StreamingOutputCallResponse)); err != nil {
			return err
		}
	}
	if len(r.ResponseParameters) > 0 {
		return nil
	}
	<-out.Context().Done()
	return out.Context().Err()
}

func (s *spy) StreamingInputCall(in grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	s.note(in.Context(), "StreamingInputCall")
	for n := int32(0); ; n++ {
		if _, err := in.Recv(); errors.Is(err, io.EOF) {
			return in.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: n})
		} else if err != nil {
			s.received <- err
			return err
		}
	}
}

// FullDuplexCall answers each message. It ends without an error if a read fails.
func (s *spy) FullDuplexCall(both grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	s.note(both.Context(), "FullDuplexCall")
	for {
		if _, err := both.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				s.received <- err
			}
			return nil
		}
		if err := both.Send(new(testpb.StreamingOutputCallResponse)); err != nil {
			s.received <- err
			return nil
		}
	}
}

// world is a server and a client.
type world struct {
	*spy
	issuer *jwthttptest.Issuer
	server *grpc.Server
	conn   *grpc.ClientConn
	client testpb.TestServiceClient
}

func newMiddleware(t testing.TB, issuer *jwthttptest.Issuer, change func(*jwthttp.Options)) *jwthttp.Middleware {
	t.Helper()
	opts := jwthttp.Options{Issuers: []jwthttp.Issuer{issuer.Trusted()}}
	if change != nil {
		change(&opts)
	}
	m, err := jwthttp.New[Claims](opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newCalls(t testing.TB, opts grpcjwt.Options) *grpcjwt.Interceptors {
	t.Helper()
	calls, err := grpcjwt.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// all requires a token of every method.
func all(m *jwthttp.Middleware) grpcjwt.Options {
	return grpcjwt.Options{Methods: map[string]*jwthttp.Middleware{"*": m}}
}

// serve starts a server over a bufconn, with a client of it.
func serve(t testing.TB, issuer *jwthttptest.Issuer, opts grpcjwt.Options) *world {
	t.Helper()
	listener := bufconn.Listen(64 << 10)
	w := start(t, issuer, newCalls(t, opts), listener)
	w.dial(t, "passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	return w
}

func start(t testing.TB, issuer *jwthttptest.Issuer, calls *grpcjwt.Interceptors, listener net.Listener, opts ...grpc.ServerOption) *world {
	t.Helper()
	w := &world{spy: &spy{received: make(chan error, 100)}, issuer: issuer}
	opts = append(opts, grpc.UnaryInterceptor(calls.Unary()), grpc.StreamInterceptor(calls.Stream()))
	w.server = grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(w.server, w.spy)
	healthpb.RegisterHealthServer(w.server, health.NewServer())
	reflection.Register(w.server)
	ended := make(chan error, 1)
	go func() { ended <- w.server.Serve(listener) }()
	t.Cleanup(func() {
		w.server.Stop()
		<-ended
	})
	return w
}

func (w *world) dial(t testing.TB, target string, opts ...grpc.DialOption) {
	t.Helper()
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w.conn, w.client = conn, testpb.NewTestServiceClient(conn)
}

// with returns a context with metadata, names and values in turn.
func with(t testing.TB, pairs ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func bearer(t testing.TB, token string) context.Context {
	t.Helper()
	return with(t, "authorization", "Bearer "+token)
}

// reason returns the reason of the ErrorInfo of an error, and its Reason.
func reason(t testing.TB, err error) (code, why string) {
	t.Helper()
	infos := 0
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			infos++
			code, why = info.Reason, info.Metadata["reason"]
			if info.Domain == "" {
				t.Error("an ErrorInfo without a domain")
			}
		}
	}
	if err != nil && status.Code(err) != codes.Canceled && infos != 1 {
		t.Errorf("%v has %d ErrorInfo", err, infos)
	}
	return code, why
}

// outcome is the code of an error and the Reason in its details.
func outcome(t testing.TB, err error) string {
	t.Helper()
	_, why := reason(t, err)
	if why == "" {
		return status.Code(err).String()
	}
	return status.Code(err).String() + " " + why
}

// methods calls each kind of method, and returns the error of the call.
var methods = []struct {
	name string
	call func(context.Context, testpb.TestServiceClient, ...grpc.CallOption) error
}{
	{"UnaryCall", func(ctx context.Context, c testpb.TestServiceClient, opts ...grpc.CallOption) error {
		_, err := c.UnaryCall(ctx, new(testpb.SimpleRequest), opts...)
		return err
	}},
	{"StreamingOutputCall", func(ctx context.Context, c testpb.TestServiceClient, opts ...grpc.CallOption) error {
		out, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: make([]*testpb.ResponseParameters, 2)}, opts...)
		for err == nil {
			_, err = out.Recv()
		}
		return unlessEOF(err)
	}},
	{"StreamingInputCall", func(ctx context.Context, c testpb.TestServiceClient, opts ...grpc.CallOption) error {
		in, err := c.StreamingInputCall(ctx, opts...)
		if err == nil {
			_ = in.Send(new(testpb.StreamingInputCallRequest)) // the error is that of CloseAndRecv
			_, err = in.CloseAndRecv()
		}
		return err
	}},
	{"FullDuplexCall", func(ctx context.Context, c testpb.TestServiceClient, opts ...grpc.CallOption) error {
		both, err := c.FullDuplexCall(ctx, opts...)
		if err == nil {
			_ = both.Send(new(testpb.StreamingOutputCallRequest))
			_ = both.CloseSend()
		}
		for err == nil {
			_, err = both.Recv()
		}
		return unlessEOF(err)
	}},
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
