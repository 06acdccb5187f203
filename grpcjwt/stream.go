package grpcjwt

import (
	"context"
	"runtime"
	"sync/atomic"

	"google.golang.org/grpc"
)

// stream is a ServerStream that ends with its token.
type stream struct {
	grpc.ServerStream
	ctx  context.Context // of Watch
	told atomic.Bool     // the handler knows that the token has ended
}

// Context returns the context with the claims.
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg is that of the stream, or returns when the token ends.
func (s *stream) RecvMsg(message any) error {
	return s.untilEnd(func() error { return s.ServerStream.RecvMsg(message) })
}

// SendMsg is that of the stream, or returns when the token ends.
func (s *stream) SendMsg(message any) error {
	return s.untilEnd(func() error { return s.ServerStream.SendMsg(message) })
}

// untilEnd returns what do returns, or the refusal if the token ends before. Then do
// goes on until the interceptor has returned: the message must not be used again.
func (s *stream) untilEnd(do func() error) error {
	if err := s.refusal(); err != nil {
		return err
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover() // on this goroutine it would end the program
			done <- r
		}()
		r.err = do()
		r.returned = true
	}()
	select {
	case r := <-done:
		return r.get()
	case <-s.ctx.Done():
	}
	if err := s.refusal(); err != nil {
		return err
	}
	r := <-done // the call itself has ended, and do with it
	return r.get()
}

// result is how a read or write ended on another goroutine.
type result struct {
	err      error
	returned bool
	panicked any // nil: runtime.Goexit, unless it has returned
}

// get ends the caller's goroutine as the other one ended.
func (r result) get() error {
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case !r.returned:
		runtime.Goexit()
	}
	return r.err
}

// refusal returns why the token has ended, as a status, or nil.
func (s *stream) refusal() error {
	err := s.ended()
	if err == nil {
		return nil
	}
	s.told.Store(true)
	return answerTo(err).status.Err()
}

// ended returns why the token has ended, or nil. The end of the call is no such reason.
func (s *stream) ended() error {
	if s.ctx.Err() == nil || s.ServerStream.Context().Err() != nil {
		return nil
	}
	return context.Cause(s.ctx)
}
