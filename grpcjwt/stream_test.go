package grpcjwt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed450a7203/jwthttp"
	"github.com/seed450a7203/jwthttp/jwthttptest"
)

// streams are the calls that go on until something ends them. Each returns how the
// client waits for the end.
var streams = []struct {
	name string
	open func(context.Context, testpb.TestServiceClient) (wait func() error, err error)
}{
	{"StreamingOutputCall", func(ctx context.Context, c testpb.TestServiceClient) (func() error, error) {
		out, err := c.StreamingOutputCall(ctx, new(testpb.StreamingOutputCallRequest))
		return func() error { _, err := out.Recv(); return err }, err
	}},
	{"StreamingInputCall", func(ctx context.Context, c testpb.TestServiceClient) (func() error, error) {
		in, err := c.StreamingInputCall(ctx)
		return func() error { return in.RecvMsg(new(testpb.StreamingInputCallResponse)) }, err
	}},
	{"FullDuplexCall", func(ctx context.Context, c testpb.TestServiceClient) (func() error, error) {
		both, err := c.FullDuplexCall(ctx)
		if err == nil {
			err = both.Send(new(testpb.StreamingOutputCallRequest))
		}
		if err == nil {
			_, err = both.Recv()
		}
		return func() error { _, err := both.Recv(); return err }, err
	}},
}

func TestInterceptors_Stream_ends(t *testing.T) {
	for _, tt := range []struct {
		name    string
		recheck time.Duration
		life    time.Duration // of the token
		revoke  bool
		want    string
	}{
		{"with the token", time.Minute, time.Second, false, "Unauthenticated expired"},
		{"with the token, without checks", -1, time.Second, false, "Unauthenticated expired"},
		{"with its revocation", time.Millisecond, time.Hour, true, "Unauthenticated revoked"},
	} {
		for _, stream := range streams {
			t.Run(tt.name+", "+stream.name, func(t *testing.T) {
				t.Parallel()
				issuer := jwthttptest.New(t, "ES256")
				var revoked atomic.Bool
				m := newMiddleware(t, issuer, func(o *jwthttp.Options) {
					o.Leeway = -1
					o.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { return revoked.Load(), nil }
				})
				opts := all(m)
				opts.Recheck = tt.recheck
				w := serve(t, issuer, opts)
				wait, err := stream.open(bearer(t, issuer.Token(map[string]any{"sub": "alice", "exp": time.Now().Add(tt.life + time.Second).Unix()})), w.client)
				if err != nil {
					t.Fatal(err)
				}
				w.awaitCall(t, stream.name+" by alice")
				revoked.Store(tt.revoke)
				if got := outcome(t, wait()); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				if stream.name == "StreamingOutputCall" {
					return
				}
				select {
				case err := <-w.received:
					if got := outcome(t, err); got != tt.want {
						t.Errorf("the handler got %s, want %s", got, tt.want)
					}
				case <-time.After(patient):
					t.Error("the handler was not told")
				}
			})
		}
	}
}

// Recheck is how often the token of a stream is checked.
func TestOptions_Recheck(t *testing.T) {
	for _, tt := range []struct {
		name    string
		recheck time.Duration
		want    time.Duration // until a revocation ends the stream
	}{
		{"a minute by default", 0, time.Minute},
		{"a second", time.Second, time.Second},
		{"never", -1, 24 * time.Hour}, // when the token expires
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				asked := 0
				opts := all(newMiddleware(t, issuer, func(o *jwthttp.Options) {
					o.Leeway = -1
					o.Revoked = func(context.Context, *jwthttp.Token) (bool, error) { asked++; return asked > 1, nil }
				}))
				opts.Recheck = tt.recheck
				start := time.Now()
				token := issuer.Token(map[string]any{"exp": start.Add(24 * time.Hour).Unix()})
				ss := &blockedStream{ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token))}
				_ = newCalls(t, opts).Stream()(nil, ss, &grpc.StreamServerInfo{FullMethod: "/a.B/M"}, func(_ any, ss grpc.ServerStream) error {
					<-ss.Context().Done()
					return ss.Context().Err()
				})
				if took := time.Since(start); took != tt.want {
					t.Errorf("ended after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// A client that ends its call gets its own end, and the handler its error.
func TestInterceptors_Stream_canceled(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	w := serve(t, issuer, all(newMiddleware(t, issuer, nil)))
	ctx, cancel := context.WithCancel(bearer(t, issuer.Token(nil)))
	both, err := w.client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := both.Send(new(testpb.StreamingOutputCallRequest)); err != nil {
		t.Fatal(err)
	}
	if _, err := both.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := both.Recv(); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	if err := <-w.received; status.Code(err) != codes.Canceled {
		t.Errorf("the handler got %v", err)
	}
}

// A client that does not read blocks the writes of the handler, but not the end.
func TestInterceptors_Stream_blocked(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(grpc.ServerStream) error
	}{
		{"a read", func(ss grpc.ServerStream) error { return ss.RecvMsg(nil) }},
		{"a write", func(ss grpc.ServerStream) error { return ss.SendMsg(nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				opts := all(newMiddleware(t, issuer, nil))
				ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+issuer.Token(nil)))
				ss := &blockedStream{ctx: ctx, end: make(chan struct{})}
				start := time.Now()
				var told [2]error
				err := newCalls(t, opts).Stream()(nil, ss, &grpc.StreamServerInfo{FullMethod: "/a.B/M"}, func(_ any, ss grpc.ServerStream) error {
					told[0] = tt.do(ss)
					told[1] = tt.do(ss)
					return nil
				})
				for _, err := range append(told[:], err) {
					if got := outcome(t, err); got != "Unauthenticated expired" {
						t.Error(got)
					}
				}
				if took := time.Since(start); took > 2*time.Hour {
					t.Errorf("after %v", took)
				}
				synctest.Wait()
				if ss.calls.Load() != 1 {
					t.Errorf("%d calls of the stream, want none after the end", ss.calls.Load())
				}
				if len(ss.trailer.Get("www-authenticate")) != 1 {
					t.Errorf("trailer %v", ss.trailer)
				}
				close(ss.end)
			})
		})
	}
}

// blockedStream has a client that neither reads nor writes.
type blockedStream struct {
	grpc.ServerStream
	ctx     context.Context
	end     chan struct{}
	calls   atomic.Int64
	trailer metadata.MD
}

func (s *blockedStream) Context() context.Context    { return s.ctx }
func (s *blockedStream) SetHeader(metadata.MD) error { return errors.New("the header has been sent") }
func (s *blockedStream) SetTrailer(md metadata.MD)   { s.trailer = metadata.Join(s.trailer, md) }
func (s *blockedStream) RecvMsg(any) error           { return s.SendMsg(nil) }
func (s *blockedStream) SendMsg(any) error           { s.calls.Add(1); <-s.end; return nil }

// What the client gets when a handler returns, and the end of its context.
func TestInterceptors_Stream_returns(t *testing.T) {
	mine := errors.New("mine")
	for _, tt := range []struct {
		name         string
		after        time.Duration // the token lives for an hour
		cancel       bool          // the call, before
		err          error         // of the handler
		want         error
		unauthorized bool // instead
	}{
		{"success", time.Minute, false, nil, nil, false},
		{"success after the token has ended, unnoticed", 3 * time.Hour, false, nil, nil, false},
		{"an error", time.Minute, false, mine, mine, false},
		{"an error after the token has ended", 3 * time.Hour, false, mine, nil, true},
		{"an error after the call has ended", time.Minute, true, mine, mine, false},
		{"an error after both have ended", 3 * time.Hour, true, mine, mine, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				stream := newCalls(t, all(newMiddleware(t, issuer, nil))).Stream()
				ctx, cancel := context.WithCancel(metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+issuer.Token(nil))))
				defer cancel()
				ss := &blockedStream{ctx: ctx}
				var seen context.Context
				err := stream(nil, ss, &grpc.StreamServerInfo{FullMethod: "/a.B/M"}, func(_ any, ss grpc.ServerStream) error {
					seen = ss.Context()
					if tt.cancel {
						cancel()
					}
					<-time.After(tt.after)
					return tt.err
				})
				if tt.unauthorized {
					if got := outcome(t, err); got != "Unauthenticated expired" || len(ss.trailer) == 0 {
						t.Errorf("%s with %v", got, ss.trailer)
					}
				} else if err != tt.want || len(ss.trailer) > 0 {
					t.Errorf("%v with %v, want %v", err, ss.trailer, tt.want)
				}
				if seen.Err() == nil {
					t.Error("the context of the handler has not ended")
				}
			})
		})
	}
}

// A panic of an interceptor that stands before must reach the handler's goroutine, where
// another one may recover it. Elsewhere it would end the program.
func TestInterceptors_Stream_panic(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(grpc.ServerStream) error
		end  func()
		want any
	}{
		{"a read panics", func(ss grpc.ServerStream) error { return ss.RecvMsg(nil) }, func() { panic("mine") }, "mine"},
		{"a write panics", func(ss grpc.ServerStream) error { return ss.SendMsg(nil) }, func() { panic("mine") }, "mine"},
		{"a read ends its goroutine", func(ss grpc.ServerStream) error { return ss.RecvMsg(nil) }, runtime.Goexit, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwthttptest.New(t, "ES256")
				stream := newCalls(t, all(newMiddleware(t, issuer, nil))).Stream()
				ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+issuer.Token(nil)))
				start, panicked := time.Now(), make(chan any)
				go func() {
					defer func() { panicked <- recover() }()
					err := stream(nil, &endingStream{ctx: ctx, end: tt.end}, &grpc.StreamServerInfo{FullMethod: "/a.B/M"}, func(_ any, ss grpc.ServerStream) error {
						return tt.do(ss)
					})
					t.Errorf("returned %v", err)
				}()
				if got := <-panicked; got != tt.want || time.Since(start) > 0 {
					t.Errorf("panic %v after %v, want %v at once", got, time.Since(start), tt.want)
				}
			})
		})
	}
}

// endingStream runs code of the program for each message.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
	end func()
}

func (s *endingStream) Context() context.Context { return s.ctx }
func (s *endingStream) RecvMsg(any) error        { s.end(); return nil }
func (s *endingStream) SendMsg(any) error        { s.end(); return nil }

func TestInterceptors_Stream_panickingHook(t *testing.T) {
	issuer := jwthttptest.New(t, "ES256")
	var asked atomic.Int64
	m := newMiddleware(t, issuer, func(o *jwthttp.Options) {
		trusted := issuer.Trusted()
		keys := trusted.Keys
		trusted.Keys = panicking{keys, &asked}
		o.Issuers = []jwthttp.Issuer{trusted}
	})
	opts := all(m)
	opts.Recheck = time.Millisecond
	w := serve(t, issuer, opts)
	wait, err := streams[2].open(bearer(t, issuer.Token(nil)), w.client)
	if err == nil {
		err = wait()
	}
	if status.Code(err) != codes.Internal {
		t.Error(err)
	}
}

// certificate returns a self-signed certificate and its thumbprint (RFC 8705 §3.1).
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.RawURLEncoding.EncodeToString(sum[:])
}

// panicking is a KeySource that panics after its first answer.
type panicking struct {
	jwthttp.KeySource
	asked *atomic.Int64
}

func (p panicking) KeyfuncCtx(ctx context.Context) jwt.Keyfunc {
	if p.asked.Add(1) > 1 {
		panic("mine")
	}
	return p.KeySource.KeyfuncCtx(ctx)
}
